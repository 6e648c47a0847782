/* Given ids that a policy takes for an answer (akv_request.kv_written) are read with the bits of that answer: of each policy
 * its own schedule, token by token or each so many, alone and beside others. With a `block` they are read as a prompt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "support/still.h"

enum { N = 180, N_PARALLEL = 4 };

struct telling {
    const char *policy;
    int32_t ids[N];
    float next[N]; // [i]: of ids[i + 1]
    uint32_t n;    // ids that are there
    uint32_t n_kept, n_dropped;
    bool done;
};

static void take(const struct akv_event *e)
{
    struct telling *t = e->user;
    if (e->kind == AKV_EVENT_DONE) {
        if (e->stop == AKV_STOP_ERROR)
            fail_msg("%s: %s", t->policy, e->message);
        t->n_kept = e->usage.n_kept;
        t->n_dropped = e->usage.n_dropped;
        t->done = true;
    } else if (e->kind == AKV_EVENT_TOKEN && e->token >= 0) {
        t->next[t->n - 1] = e->logprob;
        t->ids[t->n++] = e->token;
    } else if (e->kind == AKV_EVENT_PROMPT) {
        memcpy(t->next + e->first, e->next, e->n * sizeof *e->next);
    }
}

static void run(struct still *s)
{
    struct outbox_event *event;
    while (!still_is_idle(s)) {
        still_turn(s);
        while ((event = still_event(s))) {
            take(&event->event);
            outbox_event_free(event);
        }
    }
}

static void submit(struct still *s, struct akv_request *request, struct telling *t)
{
    struct note why = { "" };
    uint64_t id;
    request->ids = t->ids;
    request->n_id = t->n;
    request->kv_policy = t->policy;
    request->user = t;
    if (engine_submit(s->engine, request, 1, &id, &why) != OK)
        fail_msg("%s: %s", t->policy, why.text);
}

/* An answer of N - 1 tokens to the first id. */
static void write(struct still *s, struct telling *t, const char *policy)
{
    struct akv_request request = {
        .n_predict = N - 1, .n_logprob = 1, .ignore_eos = true, .sampling = akv_sampling_default()
    };
    request.sampling.temperature = 1;
    *t = (struct telling){ .policy = policy, .ids = { 7 }, .n = 1 };
    submit(s, &request, t);
    run(s);
    assert_int_equal(t->n, N);
}

static struct akv_request given(bool written)
{
    return (struct akv_request){ .prompt_logprobs = true,
                                 .kv_written = written,
                                 .sampling = akv_sampling_default() };
}

static struct telling copy_of(const struct telling *t, const char *policy)
{
    struct telling copy = { .policy = policy, .n = t->n };
    memcpy(copy.ids, t->ids, sizeof copy.ids);
    return copy;
}

static void expect_same(const struct telling *got, const struct telling *wanted)
{
    assert_true(got->done && wanted->done);
    for (uint32_t i = 0; i + 1 < N; i++)
        if (memcmp(&got->next[i], &wanted->next[i], sizeof *got->next) != 0)
            fail_msg("%s: %a behind position %u, %a where it was written", got->policy,
                     (double)got->next[i], i, (double)wanted->next[i]);
}

static bool differ(const struct telling *a, const struct telling *b)
{
    return memcmp(a->next, b->next, (N - 1) * sizeof *a->next) != 0;
}

static const char *const by_step[] = {
    "window:budget=40",         "window:budget=40,every=1,pos=rolling",
    "random:budget=40,every=7", "h2o:budget=40",
    "h2o:budget=40,score=ema",  "tova:budget=40",
    "auto:budget=64",           "quest:budget=40,dense=0",
    "sentencekv:budget=40",
};
enum { N_BY_STEP = sizeof by_step / sizeof *by_step };

/* All at once read what each wrote alone; and full reads something else there. */
static void answers_are_read_again(void **state)
{
    static struct telling wrote[N_BY_STEP], got[N_BY_STEP], full[N_BY_STEP];
    const struct akv_limits limits = {
        .n_ctx = 256, .n_ubatch = 48, .n_parallel = N_PARALLEL, .n_queue = 2 * N_BY_STEP
    };
    struct akv_request request = given(true);
    struct still s;
    (void)state;
    still_open(&s, "llama");
    still_engine_open(&s, &limits);
    for (uint32_t i = 0; i < N_BY_STEP; i++)
        write(&s, &wrote[i], by_step[i]);
    for (uint32_t i = 0; i < N_BY_STEP; i++) {
        got[i] = copy_of(&wrote[i], by_step[i]);
        full[i] = copy_of(&wrote[i], "full");
        submit(&s, &request, &got[i]);
        submit(&s, &request, &full[i]);
    }
    run(&s);
    for (uint32_t i = 0; i < N_BY_STEP; i++) {
        expect_same(&got[i], &wrote[i]);
        assert_true(differ(&got[i], &full[i]));
    }
    still_close(&s);
}

/* One with a block judges at blocks: as a server reads these ids as a prompt. */
static void blocks_are_those_of_a_prompt(void **state)
{
    static const char *const policy[] = { "h2o-chunked:budget=40,block=64",
                                          "window:budget=40,block=50", "kvzip:budget=40,block=64" };
    const struct akv_limits limits = { .n_ctx = 256, .n_ubatch = 48 };
    struct still s;
    (void)state;
    still_open(&s, "llama");
    still_engine_open(&s, &limits);
    for (size_t i = 0; i < sizeof policy / sizeof *policy; i++) {
        static struct telling wrote, got, prompt, full;
        struct akv_request fed = given(true), read = given(false);
        write(&s, &wrote, "full");
        got = copy_of(&wrote, policy[i]);
        prompt = copy_of(&wrote, policy[i]);
        full = copy_of(&wrote, "full");
        submit(&s, &fed, &got);
        submit(&s, &read, &prompt);
        submit(&s, &fed, &full);
        run(&s);
        expect_same(&got, &prompt);
        assert_int_equal(got.n_dropped, prompt.n_dropped);
        assert_true(got.n_dropped > 0 && differ(&got, &full));
    }
    still_close(&s);
}

/* Shares are of all ids: there is no prompt that they could be of. */
static void shares_are_of_all(void **state)
{
    static struct telling wrote, share, rows;
    const struct akv_limits limits = { .n_ctx = 256, .n_ubatch = 48 };
    struct akv_request request = given(true);
    struct still s;
    (void)state;
    still_open(&s, "llama");
    still_engine_open(&s, &limits);
    write(&s, &wrote, "full");
    share = copy_of(&wrote, "h2o:budget=20%");
    rows = copy_of(&wrote, "h2o:budget=36");
    submit(&s, &request, &share);
    submit(&s, &request, &rows);
    run(&s);
    expect_same(&share, &rows);
    assert_int_equal(share.n_kept, rows.n_kept);
    assert_true(share.n_dropped > N / 2);
    still_close(&s);
}

static void what_never_judges_is_named(void **state)
{
    static struct telling t = { .policy = "kvzip:budget=20%", .n = N };
    const struct akv_limits limits = { .n_ctx = 256, .n_ubatch = 48 };
    struct akv_request request = given(true);
    struct note why = { "" };
    struct still s;
    uint64_t id;
    (void)state;
    still_open(&s, "llama");
    still_engine_open(&s, &limits);
    request.ids = t.ids;
    request.n_id = t.n;
    request.kv_policy = t.policy;
    assert_int_equal(engine_submit(s.engine, &request, 1, &id, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "kvzip drops rows behind a prompt alone"));
    still_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read_again),
        cmocka_unit_test(blocks_are_those_of_a_prompt),
        cmocka_unit_test(shares_are_of_all),
        cmocka_unit_test(what_never_judges_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
