#include "api/live.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "api/api.h"
#include "api/sight.h"
#include "base/mem.h"
#include "http/sse.h"
#include "os/clock.h"

enum { SOON_MS = 50 }; // at least between two rounds

/* One that looks. Its fields are the live thread's. */
struct watcher {
    struct watcher *next;
    struct http_request *http;
    char tenant[sizeof(((struct tenant *)0)->salt)];
    enum live_kind kind;
    struct cell *told; // [n_block] LIVE_STREAM
    uint64_t tree;     // hash of the tree that was told
    uint64_t request;  // number of the last one told
    bool behind;       // what it was told is not what it has: W2
    bool done;
};

/* What a round of the thread works on. */
struct round {
    struct live *live;
    struct akv_snapshot *snapshot; // NULL while nobody looks
    struct histogram tokens;       // as they were at the last round
    struct sight_totals totals;
    uint64_t n;
};

/* ---- one watcher's share ---- */

static void watcher_free(struct watcher *w)
{
    mem_free(w->told);
    mem_free(w);
}

/* What one path answers, or one event of the stream. */
static void write_part(const struct round *r, const struct sight *v, struct watcher *w,
                       enum live_kind kind, struct buf *out)
{
    if (kind == LIVE_MAP)
        sight_map(v, w->told, w->behind, out);
    else if (kind == LIVE_SEQUENCES)
        sight_sequences(v, &r->totals, out);
    else if (kind == LIVE_TREE)
        sight_tree(v, out);
    else
        sight_requests(&r->live->api->recent, w->tenant, w->request, out);
}

static void add_part(const struct round *r, const struct sight *v, struct watcher *w,
                     enum live_kind kind, struct buf *out)
{
    static const char *const name[] = { "", "map", "sequences", "tree", "requests" };
    struct buf json = { 0 };
    write_part(r, v, w, kind, &json);
    if (json.len)
        sse_add_event(out, name[kind], json.bytes, json.len);
    out->failed |= json.failed;
    buf_close(&json);
}

/* The tree is long and changes seldom: it is told where it is another. */
static void add_tree(const struct round *r, const struct sight *v, struct watcher *w,
                     struct buf *out)
{
    struct buf json = { 0 };
    if (!w->behind && r->n % LIVE_TREE_TICKS != 0)
        return;
    sight_tree(v, &json);
    const size_t len = json.len - (json.len ? strlen(strrchr(json.bytes, ',')) : 0); /* step */
    const uint64_t hash = json.len ? XXH3_64bits(json.bytes, len) : 0;
    if (w->behind || hash != w->tree)
        sse_add_event(out, "tree", buf_text(&json), json.len);
    out->failed |= json.failed;
    w->tree = hash;
    buf_close(&json);
}

static void tell(const struct round *r, const struct sight *v, struct watcher *w)
{
    struct buf out = { 0 };
    const uint64_t n_request = recent_count(&r->live->api->recent);
    if (w->behind) {
        memset(w->told, 0, sight_n_block(v->s) * sizeof *w->told);
        w->request = 0;
    }
    add_part(r, v, w, LIVE_SEQUENCES, &out);
    add_part(r, v, w, LIVE_MAP, &out);
    add_tree(r, v, w, &out);
    if (n_request > w->request || w->behind)
        add_part(r, v, w, LIVE_REQUESTS, &out);
    const enum status st = out.failed ? FULL : http_stream_write(w->http, out.bytes, out.len);
    w->request = n_request;
    w->behind = st == FULL;
    w->done = st == CANCELED;
    if (w->done)
        http_stream_abort(w->http); /* nobody is there */
    buf_close(&out);
}

static void answer(const struct round *r, const struct sight *v, struct watcher *w)
{
    struct buf out = { 0 };
    write_part(r, v, w, w->kind, &out);
    if (out.failed) {
        struct api_error error = { .kind = API_NONE };
        api_error_set(&error, API_BUSY, NULL, "no memory for the answer");
        api_answer_error(r->live->api, w->http, &error);
    } else {
        api_answer_json(w->http, 200, &out);
    }
    w->done = true;
    buf_close(&out);
}

/* What /metrics counts is of all tenants, by their configured names; a tenant is not told those of others. */
static void answer_metrics(const struct round *r, struct watcher *w)
{
    struct api *a = r->live->api;
    const struct akv_stats *stats = &r->totals.stats;
    const struct http_counts counts = http_server_counts(http_server_of(w->http));
    struct holdings kv;
    struct buf out = { 0 };
    if (!holdings_open(&kv, a, r->snapshot, stats))
        return; /* the next round tries again */
    const struct metrics_sources from = {
        .engine = stats,
        .http = &counts,
        .kv = &kv,
        .model = a->name,
        .kv_type = a->options.kv_type,
        .tenant = w->tenant[0] ? api_tenant_name(a, w->tenant) : NULL,
    };
    metrics_text(&a->metrics, &from, &out);
    http_answer(w->http, out.failed ? 503 : 200, "text/plain; version=0.0.4; charset=utf-8",
                buf_text(&out), out.len, NULL, 0);
    w->done = true;
    holdings_close(&kv);
    buf_close(&out);
}

static void serve(const struct round *r, struct watcher *w)
{
    struct sight v;
    if (w->kind == LIVE_METRICS) {
        answer_metrics(r, w);
        return;
    }
    if (!sight_open(&v, r->snapshot, r->live->api->model, w->tenant))
        return; /* the next round tries again */
    if (!w->told)
        w->told = mem_new(sight_n_block(r->snapshot), sizeof *w->told);
    if (w->told && w->kind == LIVE_STREAM)
        tell(r, &v, w);
    else if (w->told)
        answer(r, &v, w);
    sight_close(&v);
}

/* ---- a round ---- */

/* The engine ends, or there is no memory for a snapshot. */
static void send_away(const struct live *l, struct watcher *w, const char *why)
{
    struct api_error error = { .kind = API_NONE };
    api_error_set(&error, API_UNAVAILABLE, NULL, "%s", why);
    if (w->kind == LIVE_STREAM)
        http_stream_end(w->http);
    else
        api_answer_error(l->api, w->http, &error);
    w->done = true;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static enum akv_status look(struct round *r, struct akv_note *why)
{
    struct api *a = r->live->api;
    struct histogram now;
    metrics_inter_token(&a->metrics, &now);
    if (!r->snapshot) {
        const enum akv_status st = akv_snapshot_new(&r->snapshot, a->engine, why);
        if (st != AKV_OK)
            return st;
        r->tokens = now;
    }
    r->totals.inter_token_p50_ms = 1e3 * metrics_quantile(&now, &r->tokens, 0.5);
    r->totals.inter_token_p99_ms = 1e3 * metrics_quantile(&now, &r->tokens, 0.99);
    r->totals.time_ms = now_ms();
    r->tokens = now;
    r->n++;
    akv_stats(a->engine, &r->totals.stats);
    return akv_snapshot_take(a->engine, r->snapshot, why);
}

static void round_of(struct round *r, struct watcher *all)
{
    struct akv_note why = { "" };
    const bool drains = atomic_load(&r->live->api->draining);
    const bool seen = look(r, &why) == AKV_OK;
    for (struct watcher *w = all; w; w = w->next) {
        if (!seen)
            send_away(r->live, w, why.text);
        else
            serve(r, w);
        if (!w->done && drains)
            send_away(r->live, w, "the server is stopping"); /* W3 */
    }
}

/* ---- the thread ---- */

static struct watcher *drop_done(struct live *l, struct watcher *all)
{
    uint32_t n = 0;
    for (struct watcher **at = &all, *w; (w = *at);) {
        if (!w->done) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        watcher_free(w);
        n++;
    }
    pthread_mutex_lock(&l->lock);
    l->n_watcher -= n;
    pthread_mutex_unlock(&l->lock);
    return all;
}

static struct timespec later(uint64_t ns)
{
    return (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
}

/* Waits until it is time for a round: soon where somebody came, never where nobody looks. False: the end. */
static bool await_round(struct live *l, struct watcher **all, uint64_t last_ns)
{
    pthread_mutex_lock(&l->lock);
    while (!l->quit && !*all && !l->arrived)
        pthread_cond_wait(&l->woken, &l->lock);
    for (;;) {
        const bool soon = l->arrived || atomic_load(&l->api->draining);
        const uint64_t due_ns = last_ns + (soon ? SOON_MS : LIVE_MS) * 1000000ull;
        const struct timespec until = later(due_ns);
        if (l->quit || os_now_ns() >= due_ns)
            break;
        pthread_cond_timedwait(&l->woken, &l->lock, &until);
    }
    while (l->arrived) {
        struct watcher *w = l->arrived;
        l->arrived = w->next;
        w->next = *all;
        *all = w;
    }
    const bool goes_on = !l->quit;
    pthread_mutex_unlock(&l->lock);
    return goes_on;
}

static void *live_main(void *arg)
{
    struct live *l = arg;
    struct round r = { .live = l };
    struct watcher *all = NULL;
    for (uint64_t last_ns = 0; await_round(l, &all, last_ns); last_ns = os_now_ns()) {
        round_of(&r, all);
        all = drop_done(l, all);
        if (!all) { /* W1 */
            akv_snapshot_free(r.snapshot);
            r.snapshot = NULL;
        }
    }
    for (struct watcher *w = all; w; w = w->next)
        send_away(l, w, "the server is stopping");
    drop_done(l, all);
    akv_snapshot_free(r.snapshot);
    return NULL;
}

/* ---- what others call ---- */

void live_watch(struct live *l, struct http_request *http, const char *tenant, enum live_kind kind)
{
    struct api_error error = { .kind = API_NONE };
    struct watcher *w = mem_new(1, sizeof *w);
    pthread_mutex_lock(&l->lock);
    const bool fits = w && l->n_watcher < WATCHERS_MAX;
    l->n_watcher += fits;
    pthread_mutex_unlock(&l->lock);
    if (!w)
        api_error_set(&error, API_BUSY, NULL, "no memory for one more who looks on");
    else if (!fits)
        api_error_set(&error, API_BUSY, NULL, "%d look on already, which is the limit",
                      WATCHERS_MAX);
    if (!fits) {
        api_answer_error(l->api, http, &error);
        mem_free(w);
        return;
    }
    w->http = http;
    w->kind = kind;
    w->behind = true;
    snprintf(w->tenant, sizeof w->tenant, "%s", tenant);
    if (kind == LIVE_STREAM) {
        http_stream_begin(http, 200, SSE_TYPE, NULL, 0);
        if (l->api->options.ping_s > 0)
            http_stream_ping(http, (uint32_t)l->api->options.ping_s * 1000, SSE_PING);
    }
    pthread_mutex_lock(&l->lock);
    w->next = l->arrived;
    l->arrived = w;
    pthread_cond_signal(&l->woken);
    pthread_mutex_unlock(&l->lock);
}

void live_wake(struct live *l)
{
    pthread_mutex_lock(&l->lock);
    pthread_cond_signal(&l->woken);
    pthread_mutex_unlock(&l->lock);
}

enum status live_open(struct live *l, struct api *api, struct note *why)
{
    pthread_condattr_t clock;
    *l = (struct live){ .api = api };
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&l->woken, &clock);
    pthread_condattr_destroy(&clock);
    const int error = pthread_create(&l->thread, NULL, live_main, l);
    l->runs = error == 0;
    if (error)
        note_set(why, "cannot start the thread for those who look on: %s", strerror(error));
    return error ? FULL : OK;
}

void live_close(struct live *l)
{
    if (!l->api)
        return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_signal(&l->woken);
    pthread_mutex_unlock(&l->lock);
    if (l->runs)
        pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->woken);
    pthread_mutex_destroy(&l->lock);
    *l = (struct live){ 0 };
}
