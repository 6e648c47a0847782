/* A context that many policies are compared on is read once, and every bit of every one of them is that of the same
 * request alone, which reads the context itself: the rows that are told, and how many were kept. */
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

enum { CONTEXT = 200, TAIL = 12, N = CONTEXT + TAIL, ASKS = 2, N_TOP = 3 };

/* They judge by what reading the context has shown. */
static const char *const judging[] = {
    "window:budget=20%",
    "random:budget=20%",
    "h2o:budget=20%",
    "h2o:budget=40",
    "expected:budget=20%",
    "auto:budget=20%",
    "auto:budget=10%",
    "auto:preset=paper,budget=20%",
    "snapkv:budget=20%,window=90",
    "tova:budget=20%",
    "keydiff:budget=20%",
    "auto:budget=100%",
};
/* They read it again, look on while it is read, or prune inside it. */
static const char *const others[] = {
    "full",
    "kvzip:budget=20%",
    "quest:budget=40,dense=0",
    "sentencekv:budget=30,keep_factor=2,window=8,recent=8",
    "epicache:budget=40,recent=4,block=64,episodes=2",
    "auto:budget=40,block=64",
};
enum {
    N_JUDGING = sizeof judging / sizeof *judging,
    N_OTHER = sizeof others / sizeof *others,
    N_ASK = ASKS * (N_JUDGING + N_OTHER)
};

struct ask {
    int32_t ids[N];
    const char *policy;
    struct buf rows; // from the context's last one on
    struct akv_usage usage;
    bool done;
};

/* Of one context, with a tail of its own. */
static void ask_make(struct ask *a, const char *policy, uint32_t tail, uint32_t n_vocab)
{
    struct rng context = rng_seeded(1, 1), rest = rng_seeded(1, 2 + tail);
    *a = (struct ask){ .policy = policy };
    for (uint32_t i = 0; i < N; i++)
        a->ids[i] = (int32_t)rng_below(i < CONTEXT ? &context : &rest, n_vocab);
}

static void submit(struct still *s, struct ask *a, bool compare)
{
    const struct akv_request request = {
        .ids = a->ids,
        .n_id = N,
        .prompt_logprobs = true,
        .n_logprob = N_TOP,
        .sampling = akv_sampling_default(),
        .kv_policy = a->policy,
        .kv_context = CONTEXT,
        .kv_question = TAIL / 2,
        .kv_compare = compare,
        .user = a,
    };
    struct note why = { "" };
    uint64_t id;
    if (engine_submit(s->engine, &request, 1, &id, &why) != OK)
        fail_msg("%s: %s", a->policy, why.text);
}

static void take(const struct akv_event *e)
{
    struct ask *a = e->user;
    if (e->kind == AKV_EVENT_DONE) {
        if (e->stop == AKV_STOP_ERROR)
            fail_msg("%s: %s", a->policy, e->message);
        a->usage = e->usage;
        a->done = true;
        return;
    }
    assert_int_equal(e->kind, AKV_EVENT_PROMPT);
    for (uint32_t i = 0; i < e->n; i++) {
        if (e->first + i < CONTEXT - 1)
            continue;
        buf_add(&a->rows, &e->next[i], sizeof *e->next);
        buf_add(&a->rows, e->top + (size_t)i * e->n_top, e->n_top * sizeof *e->top);
    }
}

static void turn(struct still *s)
{
    struct outbox_event *event;
    still_turn(s);
    while ((event = still_event(s))) {
        take(&event->event);
        outbox_event_free(event);
    }
}

/* All of them in one engine; *n_read: positions that were computed. */
static void together(struct still *s, struct ask *ask, uint32_t n, const struct akv_limits *limits,
                     uint64_t *n_read)
{
    still_engine_open(s, limits);
    for (uint32_t i = 0; i < n; i++)
        submit(s, &ask[i], true);
    while (!still_is_idle(s))
        turn(s);
    *n_read = s->engine->n_token_prompt;
    still_engine_close(s);
}

static void expect_same(const struct ask *got, const struct ask *alone)
{
    assert_true(got->done && alone->done);
    if (got->rows.len != alone->rows.len ||
        memcmp(got->rows.bytes, alone->rows.bytes, got->rows.len) != 0)
        fail_msg("%s: other rows than alone", got->policy);
    if (got->usage.n_kept != alone->usage.n_kept)
        fail_msg("%s: %u rows kept, %u alone", got->policy, got->usage.n_kept, alone->usage.n_kept);
}

static void expect_bits_of_alone(struct still *s, const struct ask *ask, uint32_t n,
                                 const struct akv_limits *limits)
{
    struct akv_limits one = *limits;
    one.n_parallel = 1;
    for (uint32_t i = 0; i < n; i++) {
        struct ask alone = ask[i];
        alone.rows = (struct buf){ 0 };
        still_engine_open(s, &one);
        submit(s, &alone, false);
        while (!still_is_idle(s))
            turn(s);
        still_engine_close(s);
        expect_same(&ask[i], &alone);
        buf_close(&alone.rows);
    }
}

static void asks_make(struct ask *ask, const char *const *policy, uint32_t n_policy,
                      uint32_t n_vocab)
{
    for (uint32_t i = 0; i < n_policy * ASKS; i++)
        ask_make(&ask[i], policy[i / ASKS], i % ASKS, n_vocab);
}

static void asks_close(struct ask *ask, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        buf_close(&ask[i].rows);
}

/* Those that judge: every position of the context once, and of each tail; but snapkv wants more queries than are
 * written down for policies that are not known yet, so it reads the context again. */
static void read_once(struct still *s, struct akv_limits limits)
{
    static struct ask ask[N_ASK];
    const uint32_t n = N_JUDGING * ASKS;
    uint64_t n_read;
    limits.kv_bytes = still_kv_bytes(s, 12, limits.n_ctx, limits.n_ubatch);
    asks_make(ask, judging, N_JUDGING, model_hparams(s->model)->n_vocab);
    for (limits.n_parallel = 1; limits.n_parallel <= 8; limits.n_parallel += 7) {
        together(s, ask, n, &limits, &n_read);
        assert_int_equal(n_read, 2 * CONTEXT + n * TAIL);
        expect_bits_of_alone(s, ask, n, &limits);
        asks_close(ask, n);
        asks_make(ask, judging, N_JUDGING, model_hparams(s->model)->n_vocab);
    }
}

/* With those that do not, in a pool that has not room for what is read beside what is kept. */
static void side_by_side(struct still *s, struct akv_limits limits)
{
    static struct ask ask[N_ASK];
    uint64_t n_read;
    asks_make(ask, judging, N_JUDGING, model_hparams(s->model)->n_vocab);
    asks_make(ask + N_JUDGING * ASKS, others, N_OTHER, model_hparams(s->model)->n_vocab);
    limits.n_parallel = 4;
    limits.kv_bytes = still_kv_bytes(s, 3.2, limits.n_ctx, limits.n_ubatch);
    together(s, ask, N_ASK, &limits, &n_read);
    print_message("%llu positions read, %u asked for\n", (unsigned long long)n_read, N_ASK * N);
    assert_true(n_read < N_ASK * N / 2);
    expect_bits_of_alone(s, ask, N_ASK, &limits);
    asks_close(ask, N_ASK);
}

/* Policies that select: the context's last row and the question's are those of full, what follows reads less. */
static void question_is_whole(struct still *s, struct akv_limits limits)
{
    static const char *const policy[] = { "full", "quest:budget=40,dense=0", "sentencekv:budget=40",
                                          "sentencekv:budget=40,by_rows=inf,rerank=every" };
    enum { N_POLICY = sizeof policy / sizeof *policy };
    struct ask ask[N_POLICY];
    uint64_t n_read;
    limits.kv_bytes = 0;
    for (uint32_t i = 0; i < N_POLICY; i++)
        ask_make(&ask[i], policy[i], 0, model_hparams(s->model)->n_vocab);
    together(s, ask, N_POLICY, &limits, &n_read);
    const size_t whole = ask[0].rows.len / (TAIL + 1) * (TAIL / 2 + 1);
    for (uint32_t i = 1; i < N_POLICY; i++) {
        assert_int_equal(ask[i].rows.len, ask[0].rows.len);
        assert_memory_equal(ask[i].rows.bytes, ask[0].rows.bytes, whole);
        assert_memory_not_equal(ask[i].rows.bytes, ask[0].rows.bytes, ask[0].rows.len);
        assert_true(ask[i].usage.n_read < ask[i].usage.n_there);
    }
    asks_close(ask, N_POLICY);
}

static void question_is_too_long(struct still *s, struct akv_limits limits)
{
    struct ask ask;
    struct note why = { "" };
    uint64_t id;
    limits.kv_bytes = 0;
    ask_make(&ask, "sentencekv", 0, model_hparams(s->model)->n_vocab);
    const struct akv_request request = { .ids = ask.ids,
                                         .n_id = N,
                                         .sampling = akv_sampling_default(),
                                         .kv_policy = ask.policy,
                                         .kv_context = CONTEXT,
                                         .kv_question = TAIL + 1 };
    still_engine_open(s, &limits);
    assert_int_equal(engine_submit(s->engine, &request, 1, &id, &why), BAD_INPUT);
    assert_string_equal(why.text, "the question is 13 tokens, but 12 follow the context");
    still_engine_close(s);
}

static void tiny(const char *arch)
{
    const struct akv_limits limits = { .n_ctx = 320, .n_ubatch = 48, .n_queue = 2 * N_ASK };
    struct still s;
    still_open(&s, arch);
    read_once(&s, limits);
    side_by_side(&s, limits);
    question_is_whole(&s, limits);
    question_is_too_long(&s, limits);
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
    static struct ask ask[4];
    static const char *const policy[] = { "h2o:budget=20%", "auto:budget=20%" };
    const struct akv_limits limits = { .n_ctx = 256, .n_ubatch = 64, .n_parallel = 4 };
    struct still s;
    uint64_t n_read;
    (void)state;
    still_open_file(&s, "models/SmolLM2-135M-Instruct.Q4_1.gguf");
    asks_make(ask, policy, 2, model_hparams(s.model)->n_vocab);
    together(&s, ask, 4, &limits, &n_read);
    assert_int_equal(n_read, CONTEXT + 4 * TAIL);
    expect_bits_of_alone(&s, ask, SANITIZED ? 3 : 4, &limits);
    asks_close(ask, 4);
    still_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_llama),
        cmocka_unit_test(tiny_gemma3),
        cmocka_unit_test(real_default_model),
    };
    return cmocka_run_group_tests_name("policies compared", tests, NULL, NULL);
}
