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
#include "base/rng.h"
#include "support/sanitized.h"
#include "support/still.h"

enum { PREFIX = 201, SHARED = 192, TAIL = 40, N = PREFIX + TAIL, N_ANSWER = 12, N_TOP = 2 };

struct ask {
    int32_t ids[N];
    struct akv_request request;
    struct buf told; // tokens and what else was likely
    struct akv_usage usage;
    bool done;
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
        if (e->stop == AKV_STOP_ERROR)
            fail_msg("%s: %s", a->request.kv_policy, e->message);
        a->usage = e->usage;
        a->done = true;
        return;
    }
    buf_add(&a->told, &e->token, sizeof e->token);
    buf_add(&a->told, e->top, e->n_top * sizeof *e->top);
}

static void finish(struct still *s)
{
    while (!still_is_idle(s)) {
        struct outbox_event *event;
        still_turn(s);
        while ((event = still_event(s))) {
            take(&event->event);
            outbox_event_free(event);
        }
    }
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
