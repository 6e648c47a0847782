/* The bits of an answer are those it gets alone on a cold engine, whatever else runs: random requests with shared
 * beginnings, forks (the same prompt several times at once), further turns, tenants, beginnings that are public,
 * clients that leave, KV policies of all kinds side by side, and a pool far too small for all. Tokens,
 * log-probabilities and alternatives are compared as bytes, on a tiny model of every
 * architecture and, shortly, on the real default model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/rng.h"
#include "support/sanitized.h"
#include "support/still.h"

enum {
    N_CTX_MAX = 512,
    N_ASK_MAX = 256,
    N_TINY = SANITIZED ? 36 : 70,
    N_REAL = SANITIZED ? 2 : 16,
    N_FAMILY = 4,
    N_ALTERNATIVES = 3
};

/* One request, and all that was told of it. */
struct ask {
    int32_t ids[N_CTX_MAX];
    struct akv_request request;
    uint64_t id;
    bool done;
    enum akv_stop stop;
    uint32_t n_cached, n_token;
    bool cached_public;
    int32_t answer[N_CTX_MAX];
    struct buf told, rows; // tokens; rows of the prompt
};

struct world {
    struct still *still;
    struct rng rng;
    uint32_t n_ctx, n_vocab;
    size_t kv_bytes;
    struct ask ask[N_ASK_MAX];
    uint32_t n_ask, n_done;
    uint64_t n_cached, n_pause, n_evicted;
    uint32_t n_of_public; // requests that reused what is public
};

/* ---- requests ---- */

static const char *some_salt(struct rng *rng)
{
    static const char *const salt[] = { NULL, "a", "a/b" };
    return salt[rng_below(rng, 3)];
}

/* NULL: everything stays. */
static const char *some_policy(struct rng *rng, uint32_t n)
{
    if (n < 60 && rng_below(rng, 4) == 0)
        return "kvzip:budget=50%"; /* its replay wants as much again */
    if (n < 200 &&
        rng_below(rng, 4) == 0) /* so does the text of an episode, beside what it keeps */
        return rng_below(rng, 2)
                   ? "epicache:budget=30%,block=64,episodes=3,recent=4"
                   : "epicache:budget=24,recent=4,block=32,embed=self,support=all,park=ram";
    static const char *const policy[] = {
        NULL,
        NULL,
        NULL,
        "window:budget=40,sinks=4",
        "window:budget=70,sinks=5,block=64,every=9,pos=rolling",
        "random:budget=50%",
        "h2o:budget=30%,recent=8",
        "h2o-chunked:budget=70,block=64",
        "snapkv:budget=25%",
        "tova:budget=64,block=32",
        "keydiff:budget=60%,block=128",
        "expected:budget=20%",
        "auto:budget=40%,block=96,every=16",
        "quest:budget=40,dense=0",
        "sentencekv:budget=40",
        "sentencekv:budget=30,keep_factor=2,window=8,recent=8",
        "sentencekv:budget=30,recent=8,rerank=drift,drift=0.5",
        "sentencekv:budget=12%,keep_factor=3,window=8,block=64,least=1,recent=6",
        "sentencekv:preset=paper,budget=60,sinks=4,recent=10,boundaries=fixed,longest=9",
        "quest:budget=25%,page=8,dense=1,heads=max",
    };
    return policy[rng_below(rng, sizeof policy / sizeof *policy)];
}

/* A prompt that begins like others of its family, or that goes on where an earlier request ended. */
static uint32_t some_prompt(struct world *w, int32_t *ids)
{
    struct rng *rng = &w->rng;
    const uint32_t most = w->n_ctx - 24;
    const struct ask *before = w->n_ask ? &w->ask[rng_below(rng, w->n_ask)] : NULL;
    uint32_t n = 1 + rng_below(rng, most), from = 0;
    if (before && before->done && rng_below(rng, 3) == 0) {
        from = (uint32_t)before->request.n_id;
        memcpy(ids, before->ids, from * sizeof *ids);
        for (uint32_t i = 0; i < before->n_token && from < most; i++)
            ids[from++] = before->answer[i];
        n = from + rng_below(rng, most - from + 1);
    }
    const uint32_t family = rng_below(rng, N_FAMILY), n_shared = rng_below(rng, most);
    for (uint32_t p = from; p < n; p++)
        ids[p] = (int32_t)(from == 0 && p < n_shared ? (p * 7 + family * 31) % 251
                                                     : rng_below(rng, 251));
    return n;
}

static void ask_make(struct world *w, struct ask *a)
{
    struct rng *rng = &w->rng;
    *a = (struct ask){ 0 };
    const uint32_t n = some_prompt(w, a->ids);
    a->request = (struct akv_request){
        .ids = a->ids,
        .n_id = n,
        .n_predict = 1 + rng_below(rng, rng_below(rng, 4) ? 20 : 80),
        .sampling = { .temperature = 1.2f,
                      .top_p = 0.98f,
                      .typical_p = 1,
                      .repeat_penalty = 1.05f,
                      .repeat_last_n = 20,
                      .seed = rng_u32(rng) },
        .ignore_eos = true,
        .n_logprob = N_ALTERNATIVES,
        .prompt_logprobs = rng_below(rng, 10) == 0,
        .cache_salt = some_salt(rng),
        .n_public = rng_below(rng, 2) ? n - rng_below(rng, n / 3 + 1) : 0,
        .cache_no_read = rng_below(rng, 12) == 0,
        .cache_no_write = rng_below(rng, 12) == 0,
        .kv_policy = some_policy(rng, n),
        .user = a,
    };
    if (a->request.kv_policy && !a->request.prompt_logprobs && rng_below(rng, 3) == 0)
        a->request.kv_context = 1 + rng_below(rng, n);
    a->request.kv_compare = rng_below(rng, 2);
}

static void submit(struct world *w, struct ask *a)
{
    struct note why = { "" };
    if (engine_submit(w->still->engine, &a->request, 1, &a->id, &why) != OK)
        fail_msg("%s", why.text);
}

/* Up to four of the same prompt, with seeds of their own: what `n` of a request becomes, or policies that are
 * compared. */
static void submit_forks(struct world *w, uint32_t n_ask)
{
    struct ask *first = &w->ask[w->n_ask];
    const uint32_t left = n_ask - w->n_ask, want = rng_below(&w->rng, 3) ? 1 : 4;
    ask_make(w, first);
    for (uint32_t i = 0; i < (want < left ? want : left); i++) {
        struct ask *a = first + i;
        memcpy(a->ids, first->ids, sizeof a->ids);
        a->request = first->request;
        a->request.ids = a->ids;
        a->request.user = a;
        a->request.sampling.seed += i;
        if (a->request.n_public) /* of several tenants */
            a->request.cache_salt = some_salt(&w->rng);
        else if (i && a->request.kv_context && a->request.kv_compare)
            a->request.kv_policy = some_policy(&w->rng, (uint32_t)a->request.n_id);
        submit(w, a);
        w->n_ask++;
    }
}

/* ---- what is told ---- */

static void take(const struct akv_event *event, struct ask *a)
{
    assert_false(a->done);
    if (event->kind == AKV_EVENT_TOKEN) {
        a->answer[a->n_token++] = event->token;
        buf_add(&a->told, &event->token, sizeof event->token);
        buf_add(&a->told, &event->logprob, sizeof event->logprob);
        buf_add(&a->told, event->top, event->n_top * sizeof *event->top);
    } else if (event->kind == AKV_EVENT_PROMPT) {
        for (uint32_t i = 0; i < event->n; i++) {
            buf_add(&a->rows, &event->next[i], sizeof *event->next);
            buf_add(&a->rows, event->top + (size_t)i * event->n_top,
                    event->n_top * sizeof *event->top);
        }
    } else {
        a->done = true;
        a->stop = event->stop;
        a->n_cached = event->usage.n_cached;
        a->cached_public = event->usage.cached_public;
        if (a->stop == AKV_STOP_ERROR)
            fail_msg("%s", event->message);
    }
}

static uint32_t turn(struct still *s)
{
    struct outbox_event *event;
    uint32_t n_done = 0;
    still_turn(s);
    while ((event = still_event(s))) {
        take(&event->event, event->event.user);
        n_done += event->event.kind == AKV_EVENT_DONE;
        outbox_event_free(event);
    }
    return n_done;
}

/* ---- what may be shared ---- */

/* Positions that both begin with, answers included. */
static uint32_t same_beginning(const struct ask *a, const struct ask *of)
{
    const uint32_t n_prompt = (uint32_t)of->request.n_id, n_of = n_prompt + of->n_token;
    uint32_t i = 0;
    while (i < a->request.n_id && i < n_of &&
           a->ids[i] == (i < n_prompt ? of->ids[i] : of->answer[i - n_prompt]))
        i++;
    return i;
}

static uint32_t public_of(const struct ask *a)
{
    return a->request.n_public / 64 * 64;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What was reused came from a request of the same salt, or is inside of what both declared public: never a position of
 * anybody's private tail. */
static void expect_allowed(const struct world *w, const struct ask *a)
{
    uint32_t own = 0, others = 0;
    for (uint32_t i = 0; i < w->n_ask; i++) {
        const struct ask *of = &w->ask[i];
        const char *x = a->request.cache_salt, *y = of->request.cache_salt;
        const uint32_t same = of == a ? 0 : same_beginning(a, of);
        const uint32_t open = least(same, least(public_of(a), public_of(of)));
        if (strcmp(x ? x : "", y ? y : "") == 0)
            own = same > own ? same : own;
        others = open > others ? open : others;
    }
    assert_true(a->n_cached <= (a->cached_public ? others : own));
}

/* ---- together, and alone ---- */

static void together(struct world *w, uint32_t n_ask, const struct akv_limits *limits)
{
    still_engine_open(w->still, limits);
    const struct engine *e = w->still->engine;
    while (w->n_done < n_ask) {
        const bool room = e->n_inside + 4 <= e->n_inside_max;
        if (w->n_ask < n_ask && room && (still_is_idle(w->still) || rng_below(&w->rng, 6) == 0))
            submit_forks(w, n_ask);
        if (rng_below(&w->rng, 40) == 0 && w->n_ask)
            engine_cancel(w->still->engine, w->ask[rng_below(&w->rng, w->n_ask)].id);
        w->n_done += turn(w->still);
    }
    struct kv_index_stats index;
    kv_index_stats(e->index, &index);
    w->n_cached = e->n_token_cached;
    w->n_pause = e->n_pause;
    w->n_evicted = index.n_evicted;
    still_engine_close(w->still);
}

static void alone(struct world *w, const struct ask *like, struct ask *a)
{
    /* The same cap: how long a request may get depends on it. */
    const struct akv_limits limits = { .n_ctx = w->n_ctx,
                                       .n_parallel = 1,
                                       .kv_bytes = w->kv_bytes };
    *a = (struct ask){ .request = like->request };
    a->request.user = a;
    a->request.kv_compare = false;
    still_engine_open(w->still, &limits);
    submit(w, a);
    while (!a->done)
        turn(w->still);
    assert_int_equal(a->n_cached, 0);
    still_engine_close(w->still);
}

static void begins_alike(const struct buf *got, const struct buf *expected, const struct ask *a,
                         const char *what)
{
    const size_t n = got->len < expected->len ? got->len : expected->len;
    for (size_t i = 0; i < n; i++) {
        if (got->bytes[i] != expected->bytes[i])
            fail_msg(
                "request %llu (%zu ids, %u of them reused, %u tokens; KV policy %s, context %u): "
                "%s differ at byte %zu",
                (unsigned long long)a->id, a->request.n_id, a->n_cached, a->n_token,
                a->request.kv_policy ? a->request.kv_policy : "full", a->request.kv_context, what,
                i);
    }
}

/* Who left got the beginning; all others got everything. */
static void expect_bits_of_alone(struct world *w, const struct ask *got)
{
    static struct ask cold;
    alone(w, got, &cold);
    begins_alike(&got->told, &cold.told, got, "tokens");
    begins_alike(&got->rows, &cold.rows, got, "rows of the prompt");
    if (got->stop != AKV_STOP_CANCELED) {
        assert_int_equal(got->stop, cold.stop);
        assert_int_equal(got->told.len, cold.told.len);
        assert_int_equal(got->rows.len, cold.rows.len);
    }
    buf_close(&cold.told);
    buf_close(&cold.rows);
}

/* What a workload made the engine do. */
struct events {
    uint64_t n_cached, n_pause, n_evicted, n_of_public;
};

static struct events workload(struct still *s, uint32_t n_ask, uint64_t seed,
                              struct akv_limits limits)
{
    static struct world w;
    w = (struct world){
        .still = s, .rng = rng_seeded(seed, 23), .n_ctx = limits.n_ctx, .kv_bytes = limits.kv_bytes
    };
    together(&w, n_ask, &limits);
    for (uint32_t i = 0; i < n_ask; i++) {
        expect_allowed(&w, &w.ask[i]);
        w.n_of_public += w.ask[i].cached_public;
        expect_bits_of_alone(&w, &w.ask[i]);
        buf_close(&w.ask[i].told);
        buf_close(&w.ask[i].rows);
    }
    print_message("%u requests, %u at once, %u rows a step: %llu positions reused, %llu pauses, "
                  "%llu blocks evicted, %u reused what is public\n",
                  n_ask, limits.n_parallel, limits.n_ubatch, (unsigned long long)w.n_cached,
                  (unsigned long long)w.n_pause, (unsigned long long)w.n_evicted, w.n_of_public);
    return (struct events){ w.n_cached, w.n_pause, w.n_evicted, w.n_of_public };
}

static void tiny(const char *arch)
{
    struct still s;
    struct events sum = { 0 };
    still_open(&s, arch);
    for (uint32_t i = 0; i < 2; i++) {
        struct akv_limits limits = {
            .n_ctx = i ? 448 : 300,
            .n_parallel = i ? 8 : 5,
            .n_ubatch = i ? 100 : 33,
            .n_queue = 16,
            .kv_map = i ? "table" : "space",
        };
        limits.kv_bytes = still_kv_bytes(&s, 1.9, limits.n_ctx, limits.n_ubatch);
        const struct events e = workload(&s, N_TINY, 5 + i, limits);
        sum.n_cached += e.n_cached;
        sum.n_pause += e.n_pause;
        sum.n_evicted += e.n_evicted;
        sum.n_of_public += e.n_of_public;
    }
    assert_true(sum.n_cached > 0 && sum.n_pause > 0 && sum.n_evicted > 0 && sum.n_of_public > 0);
    still_close(&s);
}

static void tiny_llama(void **state)
{
    (void)state;
    tiny("llama");
}

static void tiny_qwen2(void **state)
{
    (void)state;
    tiny("qwen2");
}

static void tiny_qwen3(void **state)
{
    (void)state;
    tiny("qwen3");
}

static void tiny_gemma3(void **state)
{
    (void)state;
    tiny("gemma3");
}

static void real_default_model(void **state)
{
    struct still s;
    struct akv_limits limits = { .n_ctx = 192, .n_parallel = 4, .n_ubatch = 64, .n_queue = 16 };
    (void)state;
    still_open_file(&s, "models/SmolLM2-135M-Instruct.Q4_1.gguf");
    limits.kv_bytes = still_kv_bytes(&s, 2.4, limits.n_ctx, limits.n_ubatch);
    workload(&s, N_REAL, 3, limits);
    still_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_llama),         cmocka_unit_test(tiny_qwen2),
        cmocka_unit_test(tiny_qwen3),         cmocka_unit_test(tiny_gemma3),
        cmocka_unit_test(real_default_model),
    };
    return cmocka_run_group_tests_name("bits under load", tests, NULL, NULL);
}
