#include "api/api.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "api/job.h"
#include "api/log.h"
#include "base/json.h"
#include "base/mem.h"

enum { PUMP_WAIT_MS = 200 };

/* ---- answers ---- */

void api_answer_json(struct http_request *http, unsigned status, const struct buf *json)
{
    http_answer(http, status, "application/json", buf_text(json), json->len, NULL, 0);
}

void api_error_text(struct buf *out, unsigned status, const char *sentence)
{
    api_error_json_of(status, sentence, out);
}

/* ---- keys ---- */

static const char *key_of(const struct http_request *http)
{
    const char *bearer = http_header(http, "Authorization");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
        return bearer + 7;
    const char *key = http_header(http, "X-Api-Key");
    return key ? key : "";
}

/* False: no key is that long. */
static bool pad_key(char padded[API_KEY_MAX + 1], const char *key)
{
    const size_t len = strlen(key);
    memset(padded, 0, API_KEY_MAX + 1);
    if (len <= API_KEY_MAX)
        memcpy(padded, key, len);
    return len > 0 && len <= API_KEY_MAX;
}

/* Looks at every key, and at all bytes of each: how long it takes tells nothing. */
static const struct tenant *tenant_of(const struct api *a, const char *key)
{
    const struct tenant *found = NULL;
    char padded[API_KEY_MAX + 1];
    const bool may_be = pad_key(padded, key);
    for (uint32_t i = 0; i < a->n_tenant; i++) {
        const bool same = CRYPTO_memcmp(a->tenant[i].key, padded, sizeof padded) == 0;
        found = same && may_be ? &a->tenant[i] : found;
    }
    return found;
}

/* Its name; "all" without keys, NULL where the key is nobody's. */
static const char *name_of(const struct api *a, const struct http_request *http)
{
    const struct tenant *t = a->n_tenant ? tenant_of(a, key_of(http)) : NULL;
    return t ? t->name : a->n_tenant ? NULL : "all";
}

bool api_is_operator(const struct api *a, const struct http_request *http)
{
    char padded[API_KEY_MAX + 1];
    return pad_key(padded, key_of(http)) &&
           CRYPTO_memcmp(a->metrics_key, padded, sizeof padded) == 0;
}

const char *api_tenant(struct api *a, struct http_request *http)
{
    if (a->n_tenant == 0)
        return "";
    const struct tenant *t = tenant_of(a, key_of(http));
    if (t)
        return t->salt;
    struct api_error error = { .kind = API_NONE };
    api_error_set(&error, API_NO_KEY, NULL,
                  "Invalid API key: send it as 'Authorization: Bearer KEY'");
    api_answer_error(a, http, &error);
    return NULL;
}

const char *api_tenant_name(const struct api *a, const char *salt)
{
    const char *name = strcmp(salt, API_SALT_PUBLIC) == 0 ? TENANT_PUBLIC : "all";
    for (uint32_t i = 0; i < a->n_tenant; i++) {
        if (strncmp(salt, a->tenant[i].salt, strlen(a->tenant[i].salt)) == 0)
            name = a->tenant[i].name;
    }
    return name;
}

/* ---- errors ---- */

static void tell_refusal(const struct api *a, const struct http_request *http, unsigned status,
                         const char *type, const char *param)
{
    const struct log_refusal r = {
        .id = http_id(http),
        .tenant = name_of(a, http),
        .method = http_method(http),
        .path = http_path(http),
        .status = status,
        .type = type,
        .param = param,
    };
    log_refused(a->log, &r);
}

void api_refused(void *api, const struct http_request *http, unsigned status)
{
    tell_refusal(api, http, status, api_error_type_of(status), "");
}

void api_answer_error(const struct api *a, struct http_request *http, const struct api_error *error)
{
    const struct http_field retry = { "Retry-After", "1" };
    const struct http_field key = { "WWW-Authenticate", "Bearer" };
    const bool busy = error->kind == API_BUSY, no_key = error->kind == API_NO_KEY;
    struct buf out = { 0 };
    api_error_json(error, &out);
    tell_refusal(a, http, api_error_http(error), api_error_type(error), error->param);
    http_answer(http, api_error_http(error), "application/json", buf_text(&out), out.len,
                busy ? &retry : &key, busy || no_key);
    buf_close(&out);
}

/* ---- bodies ---- */

json_t *api_body(struct api *a, struct http_request *http)
{
    struct api_error error = { .kind = API_NONE };
    struct note why = { "" };
    json_t *body = NULL;
    size_t len;
    if (!api_tenant(a, http))
        return NULL;
    const char *bytes = http_body(http, &len);
    if (json_from_text(&body, bytes, len, &why) != OK)
        api_error_set(&error, API_BAD, NULL, "%s", why.text);
    else if (!json_is_object(body))
        api_error_set(&error, API_BAD, NULL, "the body must be a JSON object");
    if (error.kind == API_NONE)
        return body;
    json_decref(body);
    api_answer_error(a, http, &error);
    return NULL;
}

void api_finish(const struct api *a, struct http_request *http, json_t *body,
                const struct api_error *error, struct buf *out)
{
    if (error->kind)
        api_answer_error(a, http, error);
    else
        api_answer_json(http, 200, out);
    buf_close(out);
    json_decref(body);
}

/* ---- tenants ---- */

static enum status tenants_new(struct api *a, const struct api_options *o, struct note *why)
{
    a->tenant = mem_new(o->n_key, sizeof *a->tenant);
    if (!a->tenant) {
        note_set(why, "no memory for %u API keys", o->n_key);
        return FULL;
    }
    for (; a->n_tenant < o->n_key; a->n_tenant++) {
        struct tenant *t = &a->tenant[a->n_tenant];
        const struct api_key *k = &o->key[a->n_tenant];
        t->len = strlen(k->key);
        if (t->len == 0 || t->len >= sizeof t->key) {
            note_set(why, "API key %u has %zu characters; it must have 1 to %zu", a->n_tenant + 1,
                     t->len, sizeof t->key - 1);
            return BAD_INPUT;
        }
        memcpy(t->key, k->key, t->len);
        snprintf(t->name, sizeof t->name, "%s", k->name);
        const XXH128_hash_t h = XXH3_128bits(t->key, t->len);
        snprintf(t->salt, sizeof t->salt, "t-%016llx%016llx", (unsigned long long)h.high64,
                 (unsigned long long)h.low64);
    }
    return OK;
}

static enum status metrics_key_new(struct api *a, const char *key, struct note *why)
{
    if (!key || pad_key(a->metrics_key, key))
        return OK;
    note_set(why, "the key of the metrics has %zu characters; it must have 1 to %d", strlen(key),
             API_KEY_MAX);
    return BAD_INPUT;
}

/* ---- the pump: engine events to jobs ---- */

static void *pump_main(void *arg)
{
    struct api *a = arg;
    struct akv_event event;
    while (!atomic_load(&a->quit) || atomic_load(&a->n_job) > 0) {
        if (akv_next_event(a->engine, &event, PUMP_WAIT_MS) == AKV_OK)
            job_event(&event);
    }
    return NULL;
}

/* ---- birth and death ---- */

static enum status names_new(struct api *a, const struct api_options *o, struct note *why)
{
    a->name = mem_copy_text(o->name, strlen(o->name));
    a->path = mem_copy_text(o->path, strlen(o->path));
    if (a->name && a->path)
        return OK;
    note_set(why, "no memory for the model's name");
    return FULL;
}

/* Of one request: more than ever fit the queue would be told to try again for ever. */
static uint32_t answers_max(const struct akv_stats *s)
{
    const uint64_t most = (uint64_t)s->n_parallel + s->n_queue;
    return most < PROMPTS_MAX ? (uint32_t)most : PROMPTS_MAX;
}

enum status api_open(struct api *a, const struct api_options *o, struct note *why)
{
    struct akv_stats stats;
    *a = (struct api){ .model = o->model, .engine = o->engine, .options = *o };
    metrics_open(&a->metrics);
    recent_open(&a->recent);
    akv_model_info(o->model, &a->info);
    akv_stats(o->engine, &stats);
    enum status st = names_new(a, o, why);
    if (st == OK)
        st = tenants_new(a, o, why);
    if (st == OK)
        st = metrics_key_new(a, o->metrics_key, why);
    if (st == OK && o->log)
        st = log_open(&a->log, o->log, why);
    if (st == OK) {
        a->started = (long long)time(NULL);
        a->by_default = (struct request_defaults){
            .model = a->model,
            .name = a->name,
            .n_vocab = a->info.n_vocab,
            .n_ctx = stats.n_ctx,
            .n_answer_max = answers_max(&stats),
            .sampling = o->sampling,
            .n_predict = o->n_predict,
            .ping_s = o->ping_s,
        };
        const int error = pthread_create(&a->pump, NULL, pump_main, a);
        a->pump_runs = error == 0;
        if (error) {
            note_set(why, "cannot start the thread of events: %s", strerror(error));
            st = FULL;
        }
    }
    if (st == OK)
        st = errands_open(&a->errands, why);
    if (st == OK)
        st = live_open(&a->live, a, why);
    if (st != OK)
        api_close(a);
    return st;
}

void api_drain(struct api *a)
{
    atomic_store(&a->draining, true);
    live_wake(&a->live);
}

void api_close(struct api *a)
{
    atomic_store(&a->quit, true);
    if (a->pump_runs)
        pthread_join(a->pump, NULL);
    errands_close(&a->errands);
    live_close(&a->live);
    recent_close(&a->recent);
    log_close(a->log);
    metrics_close(&a->metrics);
    mem_free(a->tenant);
    mem_free(a->name);
    mem_free(a->path);
    *a = (struct api){ 0 };
}
