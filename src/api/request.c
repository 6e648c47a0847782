#include "api/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api/prompt.h"
#include "api/public.h"
#include "base/json.h"
#include "base/mem.h"
#include "kv/policy.h"

/* ---- sampling ---- */

/* llama-server's seeds have 32 bits, so that its -1 is UINT32_MAX too. */
static uint64_t seed_of(const struct fields *f)
{
    uint64_t seed = 0;
    const int64_t x = field_int(f, "seed", -1);
    const bool given = x != -1 && !((f->in & IN_LLAMA) && x == UINT32_MAX);
    if (!given && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = 0;
    return given ? (uint64_t)x : seed;
}

static struct akv_sampling sampling_of(const struct fields *f, const struct akv_sampling *d)
{
    struct akv_sampling s = *d;
    s.temperature = (float)field_number(f, "temperature", (double)d->temperature);
    s.top_p = (float)field_number(f, "top_p", (double)d->top_p);
    s.min_p = (float)field_number(f, "min_p", (double)d->min_p);
    s.typical_p = (float)field_number(f, "typical_p", (double)d->typical_p);
    s.top_k = (int32_t)field_int(f, "top_k", d->top_k);
    s.top_k = s.top_k < 0 ? 0 : s.top_k; /* vLLM: -1 is off */
    s.repeat_penalty =
        (float)field_number(f, "repetition_penalty|repeat_penalty", (double)d->repeat_penalty);
    s.repeat_last_n = (int32_t)field_int(f, "repeat_last_n", d->repeat_last_n);
    s.presence_penalty = (float)field_number(f, "presence_penalty", (double)d->presence_penalty);
    s.frequency_penalty = (float)field_number(f, "frequency_penalty", (double)d->frequency_penalty);
    s.seed = seed_of(f);
    return s;
}

/* False: it is none, and *error names it. */
static bool is_token(const struct fields *f, bool whole, int64_t id, const char *name,
                     uint32_t n_vocab)
{
    if (whole && id >= 0 && id < n_vocab)
        return true;
    api_error_set(f->error, API_BAD, "logit_bias",
                  "logit_bias names '%.40s', which is no token: the vocabulary has ids 0 to %u",
                  name, n_vocab - 1);
    return false;
}

static void add_bias(struct gen_request *r, const struct fields *f, int64_t id, const json_t *value)
{
    const bool forbids = json_is_false(value); /* llama-server: [id, false] */
    const double bias = forbids ? -INFINITY : json_number_value(value);
    if (!forbids && !(json_is_number(value) && fabs(bias) <= 100))
        api_error_set(f->error, API_BAD, "logit_bias",
                      "logit_bias of token %lld is not a number from -100 to 100", (long long)id);
    if (f->error->kind)
        return;
    r->bias_id[r->like.sampling.n_bias] = (int32_t)id;
    r->bias[r->like.sampling.n_bias++] = bias == -100 ? -INFINITY : (float)bias;
}

/* {"15043": -100, ...} or llama-server's [[15043, false], ...]. */
static void read_bias(struct gen_request *r, const struct fields *f, uint32_t n_vocab)
{
    const json_t *v = field_find(f, "logit_bias", NULL);
    const size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v);
    if (!v)
        return;
    if ((!json_is_array(v) && !json_is_object(v)) || n > BIAS_MAX) {
        api_error_set(f->error, API_BAD, "logit_bias",
                      "logit_bias must be an object of up to %d token ids and numbers", BIAS_MAX);
        return;
    }
    r->bias_id = mem_new(n, sizeof *r->bias_id);
    r->bias = mem_new(n, sizeof *r->bias);
    if (!r->bias_id || !r->bias) {
        api_error_set(f->error, API_BUSY, NULL, "no memory for %zu logit biases", n);
        return;
    }
    const char *key;
    const json_t *value;
    size_t i;
    if (json_is_array(v)) {
        json_array_foreach(v, i, value)
        {
            int64_t id;
            struct buf name = { 0 };
            json_to_text(json_array_get(value, 0), &name);
            const bool whole = field_whole(json_array_get(value, 0), &id);
            if (is_token(f, whole, id, buf_text(&name), n_vocab))
                add_bias(r, f, id, json_array_get(value, 1));
            buf_close(&name);
        }
    } else {
        json_object_foreach((json_t *)v, key, value)
        {
            const bool whole = *key && strlen(key) < 11 && !key[strspn(key, "0123456789")];
            const long long id = strtoll(key, NULL, 10);
            if (is_token(f, whole, id, key, n_vocab))
                add_bias(r, f, id, value);
        }
    }
    r->like.sampling.bias_id = r->bias_id;
    r->like.sampling.bias = r->bias;
}

/* ---- where it ends ---- */

static void read_stops(struct gen_request *r, const struct fields *f)
{
    uint32_t n;
    const char **text = field_texts(f, "stop", STOPS_MAX, &n);
    r->stop = n ? mem_new(n, sizeof *r->stop) : NULL;
    for (uint32_t i = 0; i < n && r->stop; i++) {
        r->stop[i] = mem_copy_text(text[i], strlen(text[i]));
        r->like.n_stop += r->stop[i] != NULL;
    }
    if (r->like.n_stop < n)
        api_error_set(f->error, API_BUSY, NULL, "no memory for %u stop texts", n);
    mem_free(text);
    r->like.stop = (const char *const *)r->stop;
}

static void read_stop_ids(struct gen_request *r, const struct fields *f, uint32_t n_vocab)
{
    const json_t *v = field_find(f, "stop_token_ids", NULL);
    if (!v)
        return;
    const size_t n = json_array_size(v);
    if (!json_is_array(v) || n > STOPS_MAX) {
        api_error_set(f->error, API_BAD, "stop_token_ids",
                      "stop_token_ids must be an array of up to %d token ids", STOPS_MAX);
        return;
    }
    r->stop_id = mem_new(n, sizeof *r->stop_id);
    for (size_t i = 0; r->stop_id && i < n; i++) {
        int64_t x;
        if (!field_whole(json_array_get(v, i), &x) || x < 0 || x >= n_vocab) {
            api_error_set(f->error, API_BAD, "stop_token_ids",
                          "stop_token_ids[%zu] is no token; the vocabulary has ids 0 to %u", i,
                          n_vocab - 1);
            return;
        }
        r->stop_id[i] = (int32_t)x;
    }
    if (!r->stop_id)
        api_error_set(f->error, API_BUSY, NULL, "no memory for %zu stop tokens", n);
    r->like.stop_id = r->stop_id;
    r->like.n_stop_id = r->stop_id ? (uint32_t)n : 0;
}

static void read_lengths(struct gen_request *r, const struct fields *f,
                         const struct request_defaults *d)
{
    const char *names = r->kind == REQUEST_CHAT   ? "max_completion_tokens|max_tokens"
                        : r->kind == REQUEST_TEXT ? "max_tokens"
                                                  : "n_predict|max_tokens";
    const int64_t by_default = r->kind == REQUEST_TEXT ? 16 : d->n_predict; /* OpenAI: 16 */
    const int64_t n = field_int(f, names, by_default);
    r->like.n_predict = n < 0 ? UINT32_MAX : (uint32_t)n;
    r->like.n_predict_min = (uint32_t)field_int(f, "min_tokens", 0);
    r->like.ignore_eos = field_bool(f, "ignore_eos", false);
    const int64_t limit_ms = field_int(f, "t_max_predict_ms", 0);
    r->like.line_limit_ms = limit_ms > 0 ? (uint32_t)limit_ms : 0;
    if (r->like.n_predict_min > r->like.n_predict)
        api_error_set(f->error, API_BAD, "min_tokens",
                      "min_tokens is %u, but at most %u may be generated", r->like.n_predict_min,
                      r->like.n_predict);
}

/* ---- log-probabilities ---- */

static void read_logprobs(struct gen_request *r, const struct fields *f)
{
    uint32_t n = 0;
    if (r->kind == REQUEST_CHAT) {
        r->want_logprobs = field_bool(f, "logprobs", false);
        n = (uint32_t)field_int(f, "top_logprobs", 0);
        if (n > 0 && !r->want_logprobs)
            api_error_set(f->error, API_BAD, "top_logprobs", "top_logprobs needs logprobs: true");
    } else {
        const int64_t asked = field_int(f, r->kind == REQUEST_TEXT ? "logprobs" : "n_probs", -1);
        r->want_logprobs = r->kind == REQUEST_TEXT ? asked >= 0 : asked > 0;
        n = asked > 0 ? (uint32_t)asked : 0;
    }
    r->echo = r->kind == REQUEST_TEXT && field_bool(f, "echo", false);
    r->like.n_logprob = r->want_logprobs ? (n ? n : 1) : 0;
    r->like.prompt_logprobs = r->echo && r->want_logprobs;
    r->n_top = n;
}

/* ---- sharing ---- */

static void read_sharing(struct gen_request *r, const struct fields *f, const char *tenant)
{
    size_t len = 0;
    const char *salt = field_text(f, "cache_salt", &len);
    const bool use = field_bool(f, "cache_prompt", true);
    if (salt && (len == 0 || len > 128 || strlen(salt) < len)) {
        api_error_set(f->error, API_BAD, "cache_salt",
                      "cache_salt has %zu bytes; it must have 1 to 128, none of them zero", len);
        return;
    }
    struct buf all = { 0 };
    buf_addf(&all, "%s%s%s", tenant, salt ? "/" : "", salt ? salt : "");
    r->salt = all.failed ? NULL : mem_copy_text(buf_text(&all), all.len);
    buf_close(&all);
    if (!r->salt)
        api_error_set(f->error, API_BUSY, NULL, "no memory for a request");
    r->like.cache_salt = r->salt;
    r->like.cache_no_read = r->like.cache_no_write = !use;
}

/* ---- what stays of the KV ---- */

/* One member of "kv" as the policy's option: numbers, texts and true or false as they are typed on a command line. */
static void add_kv_option(struct buf *out, const char *name, const json_t *value,
                          struct api_error *error)
{
    const char *option = strcmp(name, "budget_tokens") == 0 ? "budget" : name;
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    if (strpbrk(name, ":=,") || strpbrk(text, ":=,"))
        api_error_set(error, API_BAD, "kv", "kv.%.64s is one option and one value of it", name);
    else if (option != name && !json_is_integer(value))
        api_error_set(error, API_BAD, "kv",
                      "kv.budget_tokens must be a number of tokens; kv.budget takes shares, too");
    else if (json_is_string(value))
        buf_addf(out, "%s=%s", option, text);
    else if (json_is_integer(value))
        buf_addf(out, "%s=%lld", option, (long long)json_integer_value(value));
    else if (json_is_real(value))
        buf_addf(out, "%s=%.9g", option, json_real_value(value));
    else if (json_is_boolean(value))
        buf_addf(out, "%s=%s", option, json_is_true(value) ? "on" : "off");
    else
        api_error_set(error, API_BAD, "kv", "kv.%.64s must be a number, a text, true or false",
                      name);
}

/* {"policy": "h2o", "budget_tokens": 512, "recent": 256} as "h2o:budget=512,recent=256"; a policy may have options in
 * its text, too. */
static void write_kv(struct buf *out, const json_t *kv, struct api_error *error)
{
    const json_t *policy = json_object_get(kv, "policy"), *value;
    const char *name, *sign = ":";
    if (!json_is_string(policy)) {
        api_error_set(error, API_BAD, "kv", "kv.policy is missing: the name of a KV policy");
        return;
    }
    if (json_object_get(kv, "budget") && json_object_get(kv, "budget_tokens")) {
        api_error_set(error, API_BAD, "kv",
                      "kv.budget and kv.budget_tokens are the same: give one");
        return;
    }
    buf_add_text(out, json_string_value(policy));
    if (strchr(json_string_value(policy), ':'))
        sign = ",";
    json_object_foreach((json_t *)kv, name, value)
    {
        if (value == policy || strcmp(name, "context") == 0 || json_is_null(value))
            continue;
        buf_add_text(out, sign);
        add_kv_option(out, name, value, error);
        sign = ",";
    }
}

static void read_kv(struct gen_request *r, const struct fields *f)
{
    const json_t *kv = field_find(f, "kv", NULL), *context = json_object_get(kv, "context");
    struct buf text = { 0 };
    struct kv_choice choice;
    struct note why = { "" };
    int64_t n_context = 0;
    if (!kv)
        return;
    if (json_is_string(kv))
        buf_add_text(&text, json_string_value(kv));
    else if (json_is_object(kv))
        write_kv(&text, kv, f->error);
    else
        api_error_set(f->error, API_BAD, "kv", "kv must be an object with a policy, or a text");
    if (context && !json_is_null(context) &&
        (!field_whole(context, &n_context) || n_context < 1 || n_context > UINT32_MAX))
        api_error_set(f->error, API_BAD, "kv", "kv.context must be a number of tokens, 1 or more");
    if (f->error->kind == API_NONE && kv_choice_parse(&choice, buf_text(&text), &why) != OK)
        api_error_set(f->error, API_BAD, "kv", "%s", why.text);
    r->kv_policy = text.failed ? NULL : mem_copy_text(buf_text(&text), text.len);
    buf_close(&text);
    if (!r->kv_policy)
        api_error_set(f->error, API_BUSY, NULL, "no memory for a request");
    r->like.kv_policy = r->kv_policy;
    r->like.kv_context = (uint32_t)n_context;
}

/* ---- all of it ---- */

static void read_stream(struct gen_request *r, const struct fields *f,
                        const struct request_defaults *d)
{
    r->stream = field_bool(f, "stream", false);
    r->ping_s = (int32_t)field_int(f, "sse_ping_interval", d->ping_s);
    r->return_ids = field_bool(f, "return_token_ids|return_tokens",
                               r->stream && r->kind == REQUEST_LLAMA); /* as llama-server */
    const json_t *options = field_find(f, "stream_options", NULL);
    if (!options)
        return;
    if (!r->stream || !json_is_object(options)) {
        api_error_set(f->error, API_BAD, "stream_options",
                      "stream_options must be an object, and needs stream: true");
        return;
    }
    const struct fields inner = { options, IN_STREAM_OPTIONS, f->error };
    members_refuse(options, IN_STREAM_OPTIONS, f->error);
    r->include_usage = field_bool(&inner, "include_usage", false);
    r->continuous_usage = field_bool(&inner, "continuous_usage_stats", false);
}

static void read_model(const struct fields *f, const char *name)
{
    size_t len = 0;
    const char *asked = field_text(f, "model", &len);
    if (asked && len && strcmp(asked, name) != 0)
        api_error_set(f->error, API_NOT_FOUND, "model",
                      "the model '%.200s' is not served here; '%.200s' is", asked, name);
}

/* A prompt that leaves no room for an answer: both numbers, here and not from the engine. */
static void check_context(const struct gen_request *r, uint32_t n_ctx, struct api_error *error)
{
    for (uint32_t p = 0; p < r->n_prompt; p++) {
        const size_t n = r->prompt[p].n + (r->like.n_predict > 0);
        if (n <= n_ctx)
            continue;
        api_error_set(error, API_CONTEXT, r->kind == REQUEST_CHAT ? "messages" : "prompt",
                      "the prompt has %zu tokens and the context holds %u, an answer included; "
                      "shorten it or start the server with a larger -c",
                      r->prompt[p].n, n_ctx);
        error->n_prompt_tokens = (uint32_t)r->prompt[p].n;
        error->n_ctx = n_ctx;
    }
}

/* A context that is longer than the prompt it begins. */
static void check_kv_context(const struct gen_request *r, struct api_error *error)
{
    for (uint32_t p = 0; p < r->n_prompt; p++)
        if (r->like.kv_context > r->prompt[p].n)
            api_error_set(error, API_BAD, "kv", "kv.context is %u tokens, but the prompt has %zu",
                          r->like.kv_context, r->prompt[p].n);
}

unsigned request_members(enum request_kind kind)
{
    static const unsigned in[] = {
        [REQUEST_CHAT] = IN_CHAT, [REQUEST_TEXT] = IN_TEXT, [REQUEST_LLAMA] = IN_LLAMA
    };
    return in[kind];
}

bool request_read(struct gen_request *r, enum request_kind kind, const json_t *body,
                  const struct request_defaults *d, struct api_error *error)
{
    const struct fields f = { body, request_members(kind), error };
    *r = (struct gen_request){ .kind = kind };
    if (!json_is_object(body)) {
        api_error_set(error, API_BAD, NULL, "the body must be a JSON object");
        return false;
    }
    read_model(&f, d->name);
    members_refuse(body, f.in, error);
    r->n = (uint32_t)field_int(&f, kind == REQUEST_LLAMA ? "n_cmpl|n" : "n", 1);
    if (field_int(&f, "best_of", r->n) != r->n)
        api_error_set(error, API_NOT_SUPPORTED, "best_of", "best_of other than n is not supported");
    r->like.sampling = sampling_of(&f, &d->sampling);
    read_bias(r, &f, d->n_vocab);
    read_stops(r, &f);
    read_stop_ids(r, &f, d->n_vocab);
    read_lengths(r, &f, d);
    read_logprobs(r, &f);
    read_sharing(r, &f, d->tenant);
    read_kv(r, &f);
    read_stream(r, &f, d);
    if (error->kind == API_NONE)
        prompt_read(r, &f, d);
    if (error->kind == API_NONE)
        public_read(r, &f, d);
    if (error->kind == API_NONE)
        check_context(r, d->n_ctx, error);
    if (error->kind == API_NONE)
        check_kv_context(r, error);
    if (error->kind == API_NONE && (uint64_t)r->n * r->n_prompt > d->n_answer_max)
        api_error_set(
            error, API_BAD, r->n > 1 ? "n" : "prompt",
            "%u answers to each of %u prompts; a request may ask for %u in all (up to %d; "
            "no more than --parallel and --queue take together)",
            r->n, r->n_prompt, d->n_answer_max, PROMPTS_MAX);
    return error->kind == API_NONE;
}

void request_close(struct gen_request *r)
{
    for (uint32_t i = 0; i < r->n_prompt; i++)
        ids_close(&r->prompt[i]);
    for (uint32_t i = 0; i < r->like.n_stop; i++)
        mem_free(r->stop[i]);
    mem_free(r->prompt);
    mem_free(r->n_public);
    mem_free(r->stop);
    mem_free(r->stop_id);
    mem_free(r->bias_id);
    mem_free(r->bias);
    mem_free(r->salt);
    mem_free(r->kv_policy);
    *r = (struct gen_request){ 0 };
}

struct akv_request request_of(const struct gen_request *r, uint32_t p, uint32_t i, void *user)
{
    struct akv_request one = r->like;
    one.ids = r->prompt[p].id;
    one.n_id = r->prompt[p].n;
    one.n_public = r->n_public ? r->n_public[p] : 0;
    one.sampling.seed += i; /* answers to one prompt differ */
    one.user = user;
    return one;
}
