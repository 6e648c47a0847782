/* Prompts with a common beginning under KV policies: from its third time on, or at once where they come together, it is
 * not computed again, also where the policy judges by all that was read; and every bit is that of the same request
 * alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "support/sanitized.h"
#include "support/still.h"

enum { PREFIX = 201, SHARED = 192, TAIL = 40, N = PREFIX + TAIL, N_ANSWER = 12, N_TOP = 2 };

struct ask {
    int32_t ids[N];
    struct akv_request request;
    struct buf told; // tokens and what else was likely
    struct akv_usage usage;
    bool done, failed;
};

static void ask_make(struct ask *a, const char *policy, uint32_t prefix, uint32_t tail,
                     uint32_t n_vocab)
{
    struct rng begin = rng_seeded(prefix, 1), end = rng_seeded(tail, 2);
    *a = (struct ask){ .request = { .n_id = N,
                                    .n_predict = N_ANSWER,
                                    .n_logprob = N_TOP,
                                    .ignore_eos = true,
                                    .sampling = akv_sampling_default(),
                                    .kv_policy = policy } };
    for (uint32_t i = 0; i < N; i++)
        a->ids[i] = (int32_t)rng_below(i < PREFIX ? &begin : &end, n_vocab);
}

static void submit(struct still *s, struct ask *a)
{
    struct note why = { "" };
    uint64_t id;
    a->request.ids = a->ids;
    a->request.user = a;
    if (engine_submit(s->engine, &a->request, 1, &id, &why) != OK)
        fail_msg("%s: %s", a->request.kv_policy, why.text);
}

static void take(const struct akv_event *e)
{
    struct ask *a = e->user;
    if (e->kind == AKV_EVENT_DONE) {
        a->failed = e->stop == AKV_STOP_ERROR;
        a->usage = e->usage;
        a->done = true;
        return;
    }
    buf_add(&a->told, &e->token, sizeof e->token);
    buf_add(&a->told, e->top, e->n_top * sizeof *e->top);
}

/* Until nothing is under way; what failed. */
static const struct ask *finish_any(struct still *s)
{
    const struct ask *failed = NULL;
    while (!still_is_idle(s)) {
        struct outbox_event *event;
        still_turn(s);
        while ((event = still_event(s))) {
            struct ask *a = event->event.user;
            take(&event->event);
            failed = a->failed ? a : failed;
            outbox_event_free(event);
        }
    }
    return failed;
}

static void finish(struct still *s)
{
    const struct ask *failed = finish_any(s);
    if (failed)
        fail_msg("%s: it failed", failed->request.kv_policy);
}

static void expect_bits_of_alone(struct still *s, const struct ask *got,
                                 const struct akv_limits *limits)
{
    struct ask alone = *got;
    alone.told = (struct buf){ 0 };
    alone.done = false;
    still_engine_open(s, limits);
    submit(s, &alone);
    finish(s);
    still_engine_close(s);
    assert_true(got->done && alone.done);
    assert_int_equal(got->usage.n_kept, alone.usage.n_kept);
    assert_int_equal(got->told.len, alone.told.len);
    if (memcmp(got->told.bytes, alone.told.bytes, alone.told.len) != 0)
        fail_msg("%s: other bits behind %u reused positions than alone", got->request.kv_policy,
                 got->usage.n_cached);
    buf_close(&alone.told);
}

static const char *const policies[] = {
    "h2o:budget=30%",      "h2o:budget=60,score=ema", "h2o-chunked:budget=70,block=230",
    "expected:budget=30%", "auto:budget=20%",         "auto:preset=paper,budget=40%",
    "snapkv:budget=20%",   "window:budget=50",        "tova:budget=25%",
    "keydiff:budget=70",
};
enum { N_POLICY = sizeof policies / sizeof *policies };

/* One behind the other: the first is cold, the second finds that another began so, the others take what it left. */
static void one_by_one(struct still *s, const struct akv_limits *limits)
{
    enum { N_ASK = 4 };
    static struct ask ask[N_ASK];
    for (uint32_t p = 0; p < N_POLICY; p++) {
        still_engine_open(s, limits);
        for (uint32_t i = 0; i < N_ASK; i++) {
            ask_make(&ask[i], policies[p], 1, i, model_hparams(s->model)->n_vocab);
            submit(s, &ask[i]);
            finish(s);
            assert_int_equal(ask[i].usage.n_cached < SHARED, i < 2);
        }
        still_engine_close(s);
        for (uint32_t i = 0; i < N_ASK; i++) {
            expect_bits_of_alone(s, &ask[i], limits);
            buf_close(&ask[i].told);
        }
    }
}

/* Together: one of them computes it, the others wait and take it. */
static void at_once(struct still *s, struct akv_limits limits)
{
    enum { N_ASK = 5 };
    static struct ask ask[N_ASK];
    limits.n_parallel = N_ASK;
    for (uint32_t p = 0; p < N_POLICY; p++) {
        still_engine_open(s, &limits);
        for (uint32_t i = 0; i < N_ASK; i++) {
            ask_make(&ask[i], policies[p], 1, i, model_hparams(s->model)->n_vocab);
            submit(s, &ask[i]);
        }
        finish(s);
        const uint64_t n_read = s->engine->n_token_prompt;
        still_engine_close(s);
        if (n_read > N + (N_ASK - 1) * (N - SHARED))
            fail_msg("%s: %llu positions read", policies[p], (unsigned long long)n_read);
        for (uint32_t i = 0; i < N_ASK; i++) {
            expect_bits_of_alone(s, &ask[i], &limits);
            buf_close(&ask[i].told);
        }
    }
}

/* What is declared public is shared from its first time on, and by all tenants. */
static void of_all_tenants(struct still *s, const struct akv_limits *limits)
{
    static struct ask ask[2];
    static const char *const tenant[] = { "t-1", "t-2" };
    still_engine_open(s, limits);
    for (uint32_t i = 0; i < 2; i++) {
        ask_make(&ask[i], "auto:budget=30%", 1, i, model_hparams(s->model)->n_vocab);
        ask[i].request.cache_salt = tenant[i];
        ask[i].request.n_public = SHARED;
        submit(s, &ask[i]);
        finish(s);
    }
    still_engine_close(s);
    assert_int_equal(ask[1].usage.n_cached, SHARED);
    assert_true(ask[1].usage.cached_public);
    for (uint32_t i = 0; i < 2; i++) {
        expect_bits_of_alone(s, &ask[i], limits);
        buf_close(&ask[i].told);
    }
}

/* Marks of many beginnings: no more than their part of the cap (kv_index_check looks after each step), and the newest
 * are those that are there. */
static void of_many_beginnings(struct still *s, const struct akv_limits *limits)
{
    enum { N_PREFIX = 12 };
    static struct ask ask;
    struct kv_index_stats index;
    uint32_t n_most = 0;
    still_engine_open(s, limits);
    for (uint32_t i = 0; i < 2 * N_PREFIX; i++) {
        ask_make(&ask, "expected:budget=30%", i / 2, i, model_hparams(s->model)->n_vocab);
        submit(s, &ask);
        finish(s);
        buf_close(&ask.told);
        kv_index_stats(s->engine->index, &index);
        n_most = index.n_mark > n_most ? index.n_mark : n_most;
    }
    assert_in_range(n_most, 1, N_PREFIX - 1);
    ask_make(&ask, "expected:budget=30%", N_PREFIX - 1, 2 * N_PREFIX,
             model_hparams(s->model)->n_vocab);
    submit(s, &ask);
    finish(s);
    assert_int_equal(ask.usage.n_cached, SHARED);
    buf_close(&ask.told);
    ask_make(&ask, "expected:budget=30%", 0, 2 * N_PREFIX + 1, model_hparams(s->model)->n_vocab);
    submit(s, &ask);
    finish(s);
    assert_int_equal(ask.usage.n_cached, 0);
    buf_close(&ask.told);
    still_engine_close(s);
}

/* Another beginning from its n-th id on. */
static void part_at(struct ask *a, uint32_t n, uint32_t n_vocab)
{
    struct rng rng = rng_seeded(n, 3);
    for (; n < N; n++)
        a->ids[n] = (int32_t)rng_below(&rng, n_vocab);
}

static void begin_public(struct still *s, struct ask *a, const char *salt, uint32_t tail)
{
    ask_make(a, "auto:budget=30%", 1, tail, model_hparams(s->model)->n_vocab);
    a->request.cache_salt = salt;
    a->request.n_public = SHARED;
}

/* The same beginning lies under a salt and for everybody; blocks that a window has passed go in one of the two first. What is
 * taken is of the tree whose marks were found. */
static void where_windows_have_passed(struct still *s, const struct akv_limits *limits)
{
    static struct ask ask[4];
    for (uint32_t n_gone = 0; n_gone < 10; n_gone++) {
        still_engine_open(s, limits);
        for (uint32_t i = 0; i < 4; i++) {
            begin_public(s, &ask[i], i == 1 ? "t-2" : "t-1", i);
            if (i == 2) { /* it uses some of it */
                part_at(&ask[i], 128, model_hparams(s->model)->n_vocab);
                ask[i].request.kv_policy = NULL;
                ask[i].request.n_public = 0;
            }
            for (uint32_t k = 0; i == 3 && k < n_gone; k++)
                kv_index_evict(s->engine->index);
            submit(s, &ask[i]);
            finish(s);
            if (i < 3)
                buf_close(&ask[i].told);
        }
        still_engine_close(s);
        expect_bits_of_alone(s, &ask[3], limits);
        buf_close(&ask[3].told);
    }
}

/* A prefix that is there, but that the policy has to compute again, is there twice, in room for little more than one. */
static void twice_in_room_for_one(struct still *s, struct akv_limits limits)
{
    static const char *const policy[] = { "full", "auto:budget=30%", "h2o:budget=40%" };
    static struct ask ask[3];
    for (uint32_t room = 0; room < 3; room++) {
        limits.kv_bytes = still_kv_bytes(s, 1.5 + 0.25 * room, limits.n_ctx, limits.n_ubatch);
        still_engine_open(s, &limits);
        for (uint32_t i = 0; i < 3; i++) {
            ask_make(&ask[i], policy[i], 1, 0, model_hparams(s->model)->n_vocab);
            submit(s, &ask[i]);
            finish(s);
        }
        still_engine_close(s);
        for (uint32_t i = 0; i < 3; i++) {
            expect_bits_of_alone(s, &ask[i], &limits);
            buf_close(&ask[i].told);
        }
    }
}

/* Wherever memory is refused, it ends, and nothing stays pinned (the index is checked when it is closed). */
static void without_memory(struct still *s, const struct akv_limits *limits)
{
    static struct ask ask[2];
    for (uint64_t k = 1; k < (SANITIZED ? 20 : 60); k++) {
        still_engine_open(s, limits);
        for (uint32_t i = 0; i < 2; i++) {
            begin_public(s, &ask[i], i ? "t-2" : "t-1", i);
            submit(s, &ask[i]);
            mem_fail_at(i ? k : 0);
            finish_any(s);
            mem_fail_at(0);
            assert_true(ask[i].done);
            buf_close(&ask[i].told);
        }
        still_engine_close(s);
    }
}

/* The one that the others wait for is paused on its way: what they asked for is put aside when it comes by again. */
static void behind_a_pause(struct still *s, struct akv_limits limits)
{
    static struct ask ask[2];
    limits.n_parallel = 2;
    still_engine_open(s, &limits);
    for (uint32_t i = 0; i < 2; i++) {
        ask_make(&ask[i], "expected:budget=30%", 1, i, model_hparams(s->model)->n_vocab);
        submit(s, &ask[i]);
    }
    still_turn(s);
    engine_pause(s->engine, s->engine->running[0]);
    finish(s);
    const uint64_t n_read = s->engine->n_token_prompt;
    still_engine_close(s);
    assert_int_equal(ask[1].usage.n_cached, SHARED);
    assert_in_range(n_read, N + N - SHARED, N + N - SHARED + limits.n_ubatch);
    for (uint32_t i = 0; i < 2; i++) {
        expect_bits_of_alone(s, &ask[i], &limits);
        buf_close(&ask[i].told);
    }
}

static void tiny(const char *arch)
{
    struct akv_limits limits = { .n_ctx = 320, .n_ubatch = 48, .n_parallel = 1, .n_queue = 8 };
    struct still s;
    still_open(&s, arch);
    limits.kv_bytes = still_kv_bytes(&s, 12, limits.n_ctx, limits.n_ubatch);
    one_by_one(&s, &limits);
    at_once(&s, limits);
    of_all_tenants(&s, &limits);
    of_many_beginnings(&s, &limits);
    where_windows_have_passed(&s, &limits);
    twice_in_room_for_one(&s, limits);
    without_memory(&s, &limits);
    behind_a_pause(&s, limits);
    still_close(&s);
}

static void tiny_llama(void **state)
{
    (void)state;
    tiny("llama");
}

static void tiny_gemma3(void **state)
{
    (void)state;
    tiny("gemma3");
}

/* It has a probe, and shares of its heads. */
static void real_default_model(void **state)
{
    static struct ask ask[3];
    const struct akv_limits limits = {
        .n_ctx = 320, .n_ubatch = 64, .n_parallel = 1, .kv_bytes = 64 << 20
    };
    struct still s;
    (void)state;
    still_open_file(&s, "models/SmolLM2-135M-Instruct.Q4_1.gguf");
    still_engine_open(&s, &limits);
    for (uint32_t i = 0; i < 3; i++) {
        ask_make(&ask[i], "auto:budget=20%", 1, i, model_hparams(s.model)->n_vocab);
        submit(&s, &ask[i]);
        finish(&s);
        assert_int_equal(ask[i].usage.n_cached, i < 2 ? 0 : SHARED);
    }
    still_engine_close(&s);
    expect_bits_of_alone(&s, &ask[2], &limits);
    for (uint32_t i = 0; i < 3; i++)
        buf_close(&ask[i].told);
    still_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_llama),
        cmocka_unit_test(tiny_gemma3),
        cmocka_unit_test(real_default_model),
    };
    return cmocka_run_group_tests_name("prefixes under policies", tests, NULL, NULL);
}
