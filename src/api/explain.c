#include "api/explain.h"

#include <string.h>

#include "api/api.h"
#include "base/mem.h"

enum { TEXT_TOKENS = 16 };

void evicted_json(const struct akv_evicted *e, struct buf *out)
{
    if (e->why)
        buf_addf(out,
                 ",\"evicted\":{\"why\":\"%s\",\"from\":\"%s\",\"steps_ago\":%llu,"
                 "\"seconds_ago\":%.3f}",
                 e->why, e->from, (unsigned long long)e->steps_ago, (double)e->ns_ago / 1e9);
}

void cache_json(const struct akv_usage *u, struct buf *out)
{
    buf_addf(out,
             ",\"akvifer\":{\"cached_tokens\":%u,\"cached_public\":%s,\"cache_miss\":\"%s\","
             "\"cache_miss_at\":%u",
             u->n_cached, u->cached_public ? "true" : "false",
             u->cache_miss ? u->cache_miss : "none", u->cache_miss_at);
    evicted_json(&u->evicted, out);
    if (u->kv_policy[0]) {
        buf_add_text(out, ",\"kv\":{\"policy\":");
        buf_add_json_text(out, u->kv_policy, strlen(u->kv_policy));
        if (u->kv_shares)
            buf_addf(out, ",\"shares\":\"%s\"", u->kv_shares);
        buf_addf(out, ",\"kept_tokens\":%u,\"dropped_tokens\":%u,\"bytes\":%zu,\"peak_bytes\":%zu",
                 u->n_kept, u->n_dropped, u->kv_bytes_end, u->kv_bytes_peak);
        if (u->kv_windowed)
            buf_addf(out, ",\"windowed_layers\":%u", u->kv_windowed);
        if (u->kv_n_episode)
            buf_addf(out, ",\"episodes\":%u,\"episode\":%u,\"similarity\":%.4f", u->kv_n_episode,
                     u->kv_episode, (double)u->kv_similarity);
        if (u->n_there)
            buf_addf(out, ",\"read_tokens\":%u,\"of_tokens\":%u,\"book_bytes\":%zu", u->n_read,
                     u->n_there, u->kv_book_bytes);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, '}');
}

static void add_pieces(const struct api *a, const char *name, const int32_t *id, size_t n,
                       struct buf *out)
{
    struct buf text = { 0 };
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *bytes = akv_token_bytes(a->model, id[i], true, &len);
        buf_add(&text, bytes, len);
    }
    buf_addf(out, ",\"%s\":", name);
    buf_add_json_text(out, buf_text(&text), text.len);
    buf_close(&text);
}

/* What blocks are found by besides their tokens. One model without adapters and one KV type serve all requests of a
 * process, so that neither is ever the reason of a miss. */
static void add_key(const struct api *a, const struct gen_request *r, struct buf *out)
{
    buf_addf(out, ",\"key\":{\"model\":");
    buf_add_json_text(out, a->name, strlen(a->name));
    buf_addf(out, ",\"adapter\":null,\"kv_type\":\"%s\",\"tenant\":", a->options.kv_type);
    const char *tenant = api_tenant_name(a, r->salt), *salt = strchr(r->salt, '/');
    buf_add_json_text(out, tenant, strlen(tenant));
    buf_add_text(out, ",\"cache_salt\":");
    if (salt)
        buf_add_json_text(out, salt + 1, strlen(salt + 1));
    else
        buf_add_text(out, "null");
    buf_addf(out, ",\"public_tokens\":%u}",
             r->n_public ? r->n_public[0] / AKV_BLOCK_TOKENS * AKV_BLOCK_TOKENS : 0);
}

static void add_found(const struct api *a, const struct gen_request *r,
                      const struct akv_cache_find *found, struct buf *out)
{
    const struct ids *p = &r->prompt[0];
    const size_t left = p->n - found->miss_at;
    buf_addf(out,
             "{\"prompt_tokens\":%zu,\"cached_tokens\":%u,\"cached_public\":%s,\"reason\":\"%s\","
             "\"at\":%u",
             p->n, found->n_cached, found->cached_public ? "true" : "false", found->miss,
             found->miss_at);
    evicted_json(&found->evicted, out);
    add_key(a, r, out);
    if (found->n_instead) {
        add_pieces(a, "prompt_text", p->id + found->miss_at,
                   left < TEXT_TOKENS ? left : TEXT_TOKENS, out);
        add_pieces(a, "cached_text", found->instead, found->n_instead, out);
    }
    buf_add_byte(out, '}');
}

struct explain_errand {
    struct errand errand;
    struct api *api;
    struct http_request *http;
};

static void explain(struct api *a, struct http_request *http, bool may_wait);

static void explain_errand(struct errand *e)
{
    struct explain_errand *x = (struct explain_errand *)(void *)e;
    explain(x->api, x->http, true);
    mem_free(x);
}

/* False: no memory. */
static bool explain_later(struct api *a, struct http_request *http)
{
    struct explain_errand *e = mem_new(1, sizeof *e);
    if (!e)
        return false;
    *e = (struct explain_errand){ { .run = explain_errand }, a, http };
    errands_add(&a->errands, &e->errand);
    return true;
}

static void explain(struct api *a, struct http_request *http, bool may_wait)
{
    struct api_error error = { .kind = API_NONE };
    struct akv_note why = { "" };
    struct akv_cache_find found;
    struct buf out = { 0 };
    struct gen_request r;
    bool later = false;
    const char *tenant = api_tenant(a, http);
    json_t *body = tenant ? api_body(a, http) : NULL;
    if (!body)
        return;
    struct request_defaults d = a->by_default;
    d.tenant = tenant;
    const enum request_kind kind = json_object_get(body, "messages") ? REQUEST_CHAT : REQUEST_LLAMA;
    if (request_read(&r, kind, body, &d, &error)) {
        const struct akv_request first = request_of(&r, 0, 0, NULL);
        later = !may_wait && akv_submit_is_long(a->engine, &first) && explain_later(a, http);
        const enum akv_status st = later ? AKV_OK : akv_cache_find(a->engine, &first, &found, &why);
        if (st == AKV_OK && !later)
            add_found(a, &r, &found, &out);
        else if (st != AKV_OK)
            api_error_from(&error, st, &why);
    }
    request_close(&r);
    if (later)
        json_decref(body);
    else
        api_finish(a, http, body, &error, &out);
}

void explain_post(void *api, struct http_request *http)
{
    explain(api, http, false);
}
