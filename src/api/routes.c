/* Which path does what, and the answers that need no generation. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/explain.h"
#include "api/job.h"
#include "api/openapi.h"
#include "api/page.h"
#include "api/prompt.h"
#include "api/sight.h"
#include "base/json.h"
#include "base/utf8.h"
#include "http/router.h"
#include "http/sse.h"

/* ---- generation ---- */

static void chat(void *api, struct http_request *http)
{
    job_start(api, http, REQUEST_CHAT, &openai_chat);
}

static void text(void *api, struct http_request *http)
{
    job_start(api, http, REQUEST_TEXT, &openai_text);
}

static void completion(void *api, struct http_request *http)
{
    job_start(api, http, REQUEST_LLAMA, &llama_completion);
}

/* ---- what is there ---- */

static void health(void *api, struct http_request *http)
{
    const struct api *a = api;
    const bool stops = atomic_load(&a->draining);
    const char *json = stops ? "{\"status\":\"stopping\"}" : "{\"status\":\"ok\"}";
    http_answer(http, stops ? 503 : 200, "application/json", json, strlen(json), NULL, 0);
}

static void version(void *api, struct http_request *http)
{
    struct buf out = { 0 };
    (void)api;
    buf_addf(&out, "{\"version\":\"%s\"}", akv_version());
    api_answer_json(http, 200, &out);
    buf_close(&out);
}

static void add_model(const struct api *a, struct buf *out)
{
    buf_add_text(out, "{\"id\":");
    buf_add_json_text(out, a->name, strlen(a->name));
    buf_addf(out,
             ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"akvifer\",\"max_model_len\":%u,"
             "\"meta\":{\"n_vocab\":%u,\"n_ctx_train\":%u,\"n_embd\":%u,\"n_params\":%llu,"
             "\"size\":%zu}}",
             a->started, a->by_default.n_ctx, a->info.n_vocab, a->info.n_ctx_train, a->info.n_embd,
             (unsigned long long)a->info.n_param, a->info.weight_bytes);
}

static void models(void *api, struct http_request *http)
{
    struct api *a = api;
    struct buf out = { 0 };
    if (!api_tenant(a, http))
        return;
    buf_add_text(&out, "{\"object\":\"list\",\"data\":[");
    add_model(a, &out);
    buf_add_text(&out, "]}");
    api_answer_json(http, 200, &out);
    buf_close(&out);
}

static void model(void *api, struct http_request *http)
{
    struct api *a = api;
    struct buf out = { 0 };
    if (!api_tenant(a, http))
        return;
    if (strcmp(http_name(http), a->name) == 0) {
        add_model(a, &out);
        api_answer_json(http, 200, &out);
    } else {
        struct api_error error = { .kind = API_NONE };
        api_error_set(&error, API_NOT_FOUND, "model",
                      "the model '%.200s' is not served here; '%.200s' is", http_name(http),
                      a->name);
        api_answer_error(a, http, &error);
    }
    buf_close(&out);
}

/* ---- watching ---- */

static bool is_on(const struct api *a, bool on, const char *flag, struct http_request *http)
{
    struct api_error error = { .kind = API_NONE };
    if (on)
        return true;
    api_error_set(&error, API_NOT_SUPPORTED, NULL,
                  "This server does not support this path; start it with %s", flag);
    api_answer_error(a, http, &error);
    return false;
}

static void metrics(void *api, struct http_request *http)
{
    struct api *a = api;
    const char *tenant = api_is_operator(a, http) ? "" : api_tenant(a, http);
    if (tenant && is_on(a, a->options.metrics, "--metrics", http))
        live_watch(&a->live, http, tenant, LIVE_METRICS);
}

/* We have no slots: as many entries as may run, the first of them busy, for tools that count. */
static void slots(void *api, struct http_request *http)
{
    struct api *a = api;
    struct akv_stats s;
    struct buf out = { 0 };
    if (!api_tenant(a, http) || !is_on(a, a->options.slots, "--slots", http))
        return;
    akv_stats(a->engine, &s);
    buf_add_byte(&out, '[');
    for (uint32_t i = 0; i < s.n_parallel; i++)
        buf_addf(&out, "%s{\"id\":%u,\"n_ctx\":%u,\"is_processing\":%s}", i ? "," : "", i, s.n_ctx,
                 i < s.n_running ? "true" : "false");
    buf_add_byte(&out, ']');
    api_answer_json(http, 200, &out);
    buf_close(&out);
}

static void add_token_text(const struct api *a, const char *name, int32_t id, struct buf *out)
{
    size_t len;
    const char *bytes = akv_token_bytes(a->model, id, true, &len);
    buf_addf(out, ",\"%s\":", name);
    buf_add_json_text(out, bytes, len);
}

static void props(void *api, struct http_request *http)
{
    struct api *a = api;
    struct akv_stats s;
    struct buf out = { 0 };
    const struct akv_sampling *d = &a->options.sampling;
    if (!api_tenant(a, http))
        return;
    akv_stats(a->engine, &s);
    buf_addf(&out,
             "{\"default_generation_settings\":{\"n_ctx\":%u,\"params\":{\"n_predict\":%d,"
             "\"temperature\":%g,\"top_k\":%d,\"top_p\":%g,\"min_p\":%g,\"typical_p\":%g,"
             "\"repeat_penalty\":%g,\"repeat_last_n\":%d}},\"total_slots\":%u,\"model_alias\":",
             s.n_ctx, a->options.n_predict, (double)d->temperature, d->top_k, (double)d->top_p,
             (double)d->min_p, (double)d->typical_p, (double)d->repeat_penalty, d->repeat_last_n,
             s.n_parallel);
    buf_add_json_text(&out, a->name, strlen(a->name));
    buf_add_text(&out, ",\"model_path\":");
    buf_add_json_text(&out, a->path, strlen(a->path));
    buf_add_text(&out, ",\"chat_template\":");
    buf_add_json_text(&out, a->info.chat_template, strlen(a->info.chat_template));
    add_token_text(a, "bos_token", a->info.bos, &out);
    add_token_text(a, "eos_token", a->info.eos, &out);
    buf_add_text(&out, ",\"kernels\":");
    buf_add_json_text(&out, a->info.kernels, strlen(a->info.kernels));
    buf_addf(&out,
             ",\"kv_bytes_cap\":%zu,\"kv_bytes_per_token\":%zu,\"build_info\":\"akvifer %s\"}",
             s.kv_bytes_max, s.kv_bytes_per_token, akv_version());
    api_answer_json(http, 200, &out);
    buf_close(&out);
}

static void watch(void *api, struct http_request *http, enum live_kind kind)
{
    struct api *a = api;
    const char *tenant = api_tenant(a, http);
    if (tenant && kind == LIVE_STREAM && strcmp(http_method(http), "HEAD") == 0)
        http_answer(http, 200, SSE_TYPE, NULL, 0, NULL, 0);
    else if (tenant)
        live_watch(&a->live, http, tenant, kind);
}

static void kv_live(void *api, struct http_request *http)
{
    watch(api, http, LIVE_STREAM);
}

static void kv_map(void *api, struct http_request *http)
{
    watch(api, http, LIVE_MAP);
}

static void kv_sequences(void *api, struct http_request *http)
{
    watch(api, http, LIVE_SEQUENCES);
}

static void kv_tree(void *api, struct http_request *http)
{
    watch(api, http, LIVE_TREE);
}

static void kv_requests(void *api, struct http_request *http)
{
    watch(api, http, LIVE_REQUESTS);
}

static bool whole_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

/* Of a request of the tenant's own; of others it says what it says of none. */
static void kv_rows(void *api, struct http_request *http)
{
    struct api *a = api;
    struct api_error error = { 0 };
    struct akv_note why = { "" };
    struct akv_rows *rows = NULL;
    struct buf out = { 0 };
    const char *tenant = api_tenant(a, http);
    uint64_t id;
    if (!tenant)
        return;
    if (whole_number(http_name(http), &id) &&
        akv_rows_take(&rows, a->engine, id, &why) == AKV_FULL) {
        api_error_set(&error, API_BUSY, NULL, "%s", why.text);
    } else if (!rows || !sight_is_own(tenant, rows->salt)) {
        api_error_set(&error, API_NOT_FOUND, NULL,
                      "No request '%s' of yours runs; /v1/kv/sequences tells which do",
                      http_name(http));
    } else {
        sight_rows(rows, id, &out);
        api_answer_json(http, 200, &out);
    }
    if (error.kind)
        api_answer_error(a, http, &error);
    akv_rows_free(rows);
    buf_close(&out);
}

static void page(void *api, struct http_request *http)
{
    const struct api *a = api;
    if (a->options.page)
        page_get(http);
    else
        http_refuse(http, 404, NULL, 0, "there is no page here: it was turned off with --no-page");
}

/* ---- tokens and templates ---- */

/* llama-server's: its text, or its bytes where they are none. */
static void add_piece(const struct api *a, int32_t id, struct buf *out)
{
    size_t len;
    const char *bytes = akv_token_bytes(a->model, id, true, &len);
    buf_addf(out, "{\"id\":%d,\"piece\":", id);
    if (utf8_valid(bytes, len)) {
        buf_add_json_text(out, bytes, len);
    } else {
        for (size_t i = 0; i < len; i++)
            buf_addf(out, "%c%u", i ? ',' : '[', (unsigned char)bytes[i]);
        buf_add_byte(out, ']');
    }
    buf_add_byte(out, '}');
}

/* pieces: llama-server's form of them; texts: vLLM's, a list beside. */
static void add_tokens(const struct api *a, const struct ids *ids, bool pieces, bool texts,
                       struct buf *out)
{
    buf_add_text(out, "{\"tokens\":[");
    for (size_t i = 0; i < ids->n; i++) {
        buf_add_text(out, i ? "," : "");
        if (pieces)
            add_piece(a, ids->id[i], out);
        else
            buf_addf(out, "%d", ids->id[i]);
    }
    buf_add_text(out, texts ? "],\"token_strs\":[" : "");
    for (size_t i = 0; texts && i < ids->n; i++) {
        buf_add_text(out, i ? "," : "");
        token_json(out, a->model, ids->id[i]);
    }
    buf_addf(out, "],\"count\":%zu,\"max_model_len\":%u}", ids->n, a->by_default.n_ctx);
}

/* {"content": text, "add_special", "parse_special", "with_pieces"}, or vLLM's {"prompt"} or {"messages"}. */
static void tokenize(void *api, struct http_request *http)
{
    struct api *a = api;
    struct api_error error = { .kind = API_NONE };
    struct buf out = { 0 };
    struct ids ids = { 0 };
    size_t len = 0;
    json_t *body = api_body(a, http);
    if (!body)
        return;
    const struct fields f = { body, IN_TOKENIZE, &error };
    const bool bos = field_bool(&f, "add_special|add_special_tokens", false);
    const bool special = field_bool(&f, "parse_special", true);
    const bool pieces = field_bool(&f, "with_pieces", false);
    const bool texts = field_bool(&f, "return_token_strs", false);
    if (field_find(&f, "messages", NULL)) {
        prompt_conversation(&ids, a->model, &f);
    } else {
        const char *content = field_text(&f, "content|prompt", &len);
        if (!content)
            api_error_set(&error, API_BAD, "content", "content is missing: the text to tokenize");
        else if (error.kind == API_NONE)
            prompt_text(&ids, a->model, content, len, special, bos, &error);
    }
    add_tokens(a, &ids, pieces, texts, &out);
    ids_close(&ids);
    api_finish(a, http, body, &error, &out);
}

static void add_text_of(const struct api *a, const struct ids *ids, struct buf *text)
{
    for (size_t i = 0; i < ids->n; i++) {
        size_t len;
        const char *bytes = akv_token_bytes(a->model, ids->id[i], true, &len);
        buf_add(text, bytes, len);
    }
}

static void detokenize(void *api, struct http_request *http)
{
    struct api *a = api;
    struct api_error error = { .kind = API_NONE };
    struct buf out = { 0 }, content = { 0 };
    struct ids ids = { 0 };
    json_t *body = api_body(a, http);
    size_t i;
    const json_t *id;
    if (!body)
        return;
    const json_t *tokens = json_object_get(body, "tokens");
    if (!json_is_array(tokens))
        api_error_set(&error, API_BAD, "tokens", "tokens must be an array of token ids");
    json_array_foreach(tokens, i, id)
    {
        int64_t x;
        if (!field_whole(id, &x) || x < 0 || x >= a->info.n_vocab) {
            api_error_set(&error, API_BAD, "tokens",
                          "tokens[%zu] is no id of the vocabulary, 0 to %u", i,
                          a->info.n_vocab - 1);
            break;
        }
        ids_add(&ids, (int32_t)x);
    }
    add_text_of(a, &ids, &content);
    buf_add_text(&out, "{\"content\":");
    buf_add_json_text(&out, buf_text(&content), content.len);
    buf_add_text(&out, ",\"prompt\":");
    buf_add_json_text(&out, buf_text(&content), content.len);
    buf_add_byte(&out, '}');
    buf_close(&content);
    ids_close(&ids);
    api_finish(a, http, body, &error, &out);
}

static void apply_template(void *api, struct http_request *http)
{
    struct api *a = api;
    struct api_error error = { .kind = API_NONE };
    struct buf out = { 0 }, rendered = { 0 };
    struct ids ids = { 0 };
    json_t *body = api_body(a, http);
    if (!body)
        return;
    const struct fields f = { body, IN_TEMPLATE, &error };
    prompt_conversation(&ids, a->model, &f);
    add_text_of(a, &ids, &rendered);
    buf_add_text(&out, "{\"prompt\":");
    buf_add_json_text(&out, buf_text(&rendered), rendered.len);
    buf_add_byte(&out, '}');
    buf_close(&rendered);
    ids_close(&ids);
    api_finish(a, http, body, &error, &out);
}

/* ---- what comes next ---- */

static void not_yet(void *api, struct http_request *http)
{
    struct api_error error = { .kind = API_NONE };
    if (!api_tenant(api, http))
        return;
    api_error_set(&error, API_NOT_SUPPORTED, NULL, "%s %s is not supported yet", http_method(http),
                  http_path(http));
    api_answer_error(api, http, &error);
}

#define ABOUT(...) (&(const struct route_about){ __VA_ARGS__ })
#define ABSENT ABOUT("Not there yet.", 0, "Error", ROUTE_ABSENT)
#define CHAT ABOUT("Answers a conversation.", IN_CHAT, "Chat", ROUTE_STREAMS)
#define LLAMA                                                                                      \
    ABOUT("Goes on with a text (llama-server's own).", IN_LLAMA, "Completion", ROUTE_STREAMS)
#define MODELS ABOUT("The one model that is served.", 0, "Models", 0)
#define HEALTH ABOUT("Whether it serves.", 0, "Health", ROUTE_OPEN | ROUTE_STOPS)

static void openapi(void *api, struct http_request *http);

static const struct http_route routes[] = {
    { "POST", "/v1/chat/completions", chat, CHAT },
    { "POST", "/chat/completions", chat, CHAT },
    { "POST", "/v1/completions", text,
      ABOUT("Goes on with texts.", IN_TEXT, "Text", ROUTE_STREAMS) },
    { "POST", "/completion", completion, LLAMA },
    { "POST", "/completions", completion, LLAMA },
    { "GET", "/v1/models", models, MODELS },
    { "GET", "/models", models, MODELS },
    { "GET", "/v1/models/{model*}", model, ABOUT("A model by its name.", 0, "Model", 0) },
    { "GET", "/health", health, HEALTH },
    { "GET", "/v1/health", health, HEALTH },
    { "GET", "/ready", health, HEALTH },
    { "GET", "/version", version, ABOUT("The server's version.", 0, "Version", ROUTE_OPEN) },
    { "GET", "/openapi.json", openapi,
      ABOUT("This description.", 0, "application/json", ROUTE_OPEN) },
    { "GET", "/metrics", metrics,
      ABOUT("Counters in Prometheus' format (--metrics).", 0, "text/plain", 0) },
    { "GET", "/slots", slots, ABOUT("What runs (--slots).", 0, "Slots", 0) },
    { "GET", "/props", props, ABOUT("The server's settings.", 0, "Props", 0) },
    { "POST", "/tokenize", tokenize, ABOUT("Text to tokens.", IN_TOKENIZE, "Tokens", 0) },
    { "POST", "/detokenize", detokenize, ABOUT("Tokens to text.", IN_DETOKENIZE, "Content", 0) },
    { "POST", "/apply-template", apply_template,
      ABOUT("A conversation as the model reads it.", IN_TEMPLATE, "Rendered", 0) },
    { "POST", "/v1/cache/explain", explain_post,
      ABOUT("What of a prompt would be reused, and what stands in the way.", IN_CHAT | IN_LLAMA,
            "Explained", 0) },
    { "GET", "/", page, ABOUT("The page.", 0, "text/html", ROUTE_OPEN) },
    { "GET", "/page/{file}", page, ABOUT("What the page is made of.", 0, "text/html", ROUTE_OPEN) },
    { "GET", "/v1/kv/live", kv_live,
      ABOUT("The KV memory as it changes.", 0, "text/event-stream", 0) },
    { "GET", "/v1/kv/map", kv_map, ABOUT("Every block of KV memory.", 0, "application/json", 0) },
    { "GET", "/v1/kv/sequences", kv_sequences,
      ABOUT("What the step works on.", 0, "application/json", 0) },
    { "GET", "/v1/kv/rows/{sequence}", kv_rows,
      ABOUT("Which rows of a running request its KV policy kept.", 0, "application/json", 0) },
    { "GET", "/v1/kv/tree", kv_tree,
      ABOUT("The prefixes that can be reused.", 0, "application/json", 0) },
    { "GET", "/v1/kv/requests", kv_requests,
      ABOUT("The last requests, and why each missed.", 0, "application/json", 0) },
    { "POST", "/v1/responses", not_yet, ABSENT },
    { "POST", "/responses", not_yet, ABSENT },
    { "POST", "/v1/responses/input_tokens", not_yet, ABSENT },
    { "POST", "/v1/chat/completions/input_tokens", not_yet, ABSENT },
    { "POST", "/v1/messages", not_yet, ABSENT },
    { "POST", "/v1/messages/count_tokens", not_yet, ABSENT },
    { "POST", "/v1/embeddings", not_yet, ABSENT },
    { "POST", "/embeddings", not_yet, ABSENT },
    { "POST", "/embedding", not_yet, ABSENT },
    { "POST", "/v1/rerank", not_yet, ABSENT },
    { "POST", "/rerank", not_yet, ABSENT },
    { "POST", "/v1/reranking", not_yet, ABSENT },
    { "POST", "/reranking", not_yet, ABSENT },
    { "POST", "/infill", not_yet, ABSENT },
    { "POST", "/props", not_yet, ABSENT },
    { "POST", "/slots/{id}", not_yet, ABSENT },
    { "GET", "/lora-adapters", not_yet, ABSENT },
    { "POST", "/lora-adapters", not_yet, ABSENT },
    { "GET", "/tokenizer_info", not_yet, ABSENT },
    { "POST", "/reset_prefix_cache", not_yet, ABSENT },
    { "POST", "/v1/files", not_yet, ABSENT },
    { "POST", "/v1/batches", not_yet, ABSENT },
};

enum { N_ROUTE = sizeof routes / sizeof *routes };

static void openapi(void *api, struct http_request *http)
{
    struct buf out = { 0 };
    openapi_text(api, routes, N_ROUTE, &out);
    api_answer_json(http, 200, &out);
    buf_close(&out);
}

void api_handle(void *api, struct http_request *http)
{
    struct http_router router = { .route = routes, .n_route = N_ROUTE, .arg = api };
    http_router_handle(&router, http);
}
