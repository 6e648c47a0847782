/* api/api.h - the server's side of a model: routes, jobs, keys, counters.
 *
 *   http/server --request--> route --> job (generates) or an answer at once (models, tokenize, health, metrics, ...)
 *   engine --events--> pump thread --> job --> http/request
 *
 * A1  Every request that reached a route is answered exactly once (http/request.h R1), also when the engine fails or
 *     the server stops.
 * A2  A tenant is an API key: what it may reuse begins with its salt, which is made of the key and never shown.
 * A3  Prompts and answers are never logged, nor the words of a refusal, which may quote them.
 *
 * Lifetime  opened over an open model and engine, closed after the HTTP server was freed. Threads  any. */
#ifndef API_API_H
#define API_API_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/errands.h"
#include "api/live.h"
#include "api/metrics.h"
#include "api/recent.h"
#include "api/request.h"
#include "http/server.h"

enum { KEYS_MAX = 256, API_KEY_MAX = 255 };
#define API_SALT_PUBLIC "*" // of blocks that everybody may share (akv_snapshot)

struct api_key {
    const char *key, *name; // the tenant's, for metrics and logs
};

struct api_options {
    akv_model *model;
    akv_engine *engine;
    const char *name;          // the served model's (--alias)
    const char *path;          // of its file, for /props
    const char *kv_type;       // "f16": a word of the engine's
    const struct api_key *key; // [n_key]; none: everybody may
    uint32_t n_key;
    const char
        *metrics_key; // of who may see all tenants in /metrics; NULL: nobody, where there are keys
    struct akv_sampling sampling; // where requests do not say
    int32_t n_predict;
    int32_t ping_s;      // between SSE pings of a silent stream; 0: none
    bool metrics, slots; // which of llama-server's monitoring paths answer
    bool page;           // whether / is a page
    FILE *log;           // JSON lines; NULL: none
};

struct tenant {
    char key[API_KEY_MAX + 1];
    size_t len;
    char salt[40]; // "t-" and 32 hexadecimal digits of the key's hash
    char name[64];
};

struct log;

struct api {
    akv_model *model;
    akv_engine *engine;
    struct akv_model_info info;
    char *name, *path;
    struct tenant *tenant; // [n_tenant]; none: everybody shares the salt ""
    uint32_t n_tenant;
    char metrics_key[API_KEY_MAX + 1];  // "": none
    struct request_defaults by_default; // but for the tenant
    struct api_options options;
    struct metrics metrics;
    struct log *log; // NULL: none
    struct recent recent;
    struct live live;
    struct errands errands;
    atomic_uint n_job; // open
    atomic_bool quit, draining;
    pthread_t pump;
    bool pump_runs;
    long long started; // seconds since 1970
};

must_use enum status api_open(struct api *a, const struct api_options *options, struct note *why);
void api_drain(struct api *a); // new generations are refused with 503 from now on
void api_close(
    struct api *a); // waits for the jobs: the HTTP server was freed, so all were canceled

/* The HTTP server's handler, error text, and who is told of what it refuses; `arg` is the api. */
void api_handle(void *api, struct http_request *http);
void api_error_text(struct buf *out, unsigned status, const char *sentence);
void api_refused(void *api, const struct http_request *http, unsigned status);

/* Answers with JSON; an error of the api's kind, which the log gets a line of. */
void api_answer_json(struct http_request *http, unsigned status, const struct buf *json);
void api_answer_error(const struct api *a, struct http_request *http,
                      const struct api_error *error);

/* The request's JSON object, for a tenant; NULL: it was answered. And the answer to that: the error, or `out`; frees
 * both. */
json_t *api_body(struct api *a, struct http_request *http);
void api_finish(const struct api *a, struct http_request *http, json_t *body,
                const struct api_error *error, struct buf *out);

/* The tenant's salt of a request, or NULL where its key is missing or wrong: then it was answered. */
const char *api_tenant(struct api *a, struct http_request *http);

/* Whether it brings the key of the metrics: it may see all tenants there. */
bool api_is_operator(const struct api *a, const struct http_request *http);

/* The name of the tenant whom a salt (of KV: maybe with a request's own behind it) belongs to; "all" without keys,
 * "public" of what everybody may share. */
const char *api_tenant_name(const struct api *a, const char *salt);

#endif
