/* Given ids that a policy takes for an answer (akv_request.kv_written) are read with the bits of that answer: of each
 * policy its own schedule, token by token or each so many, alone and beside others. With a `block` they are read as a
 * prompt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "support/runner.h"
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
static void tell(struct still *s, struct telling *t, const char *policy)
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
    "h2o:budget=40,score=ema",  "h2o:budget=40,recent=10,pos=rolling",
    "tova:budget=40",           "auto:budget=64",
    "quest:budget=40,dense=0",  "sentencekv:budget=40",
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
        tell(&s, &wrote[i], by_step[i]);
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

/* ---- step by step, without an engine ---- */

struct plain {
    struct runner r;
    struct run run;
    struct kv_choice choice;
    struct kv_excerpt *excerpt;
    struct kv_taps taps;
    struct kv_keep_model model;
};

static void plain_open(struct plain *f, const char *path, const struct telling *t)
{
    const struct runner_config config = {
        .path = path, .n_thread = 1, .n_position_max = N, .kv_type = KV_F16
    };
    const uint32_t n_tail = (N + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
    assert_int_equal(kv_choice_parse(&f->choice, t->policy, NULL), OK);
    runner_open(&f->r, &config);
    run_open(&f->r, &f->run, t->ids);
    const struct kv_excerpt_config excerpt = { .pool = f->r.pool,
                                               .n_position_max = N,
                                               .n_tail_mass = n_tail };
    assert_int_equal(kv_excerpt_new(&f->excerpt, &excerpt, NULL), OK);
    f->taps =
        (struct kv_taps){ .mass = KV_TAP_MASS_SUM, .into = f->excerpt, .n_counted = UINT32_MAX };
    f->run.excerpt = f->excerpt;
    f->run.taps = &f->taps;
    const struct hparams *h = model_hparams(f->r.model);
    f->model = (struct kv_keep_model){ .kern = model_kernels(f->r.model),
                                       .workers = model_workers(f->r.model),
                                       .shape = &f->r.shape,
                                       .n_head = h->n_head,
                                       .scale = h->attn_scale };
    assert_int_equal(kv_keep_room_new(&f->model.room, &f->r.shape, 1), OK);
}

static void plain_close(struct plain *f)
{
    kv_keep_room_free(f->model.room);
    kv_excerpt_free(f->excerpt);
    run_close(&f->run);
    runner_close(&f->r);
}

/* One row with each token, or each `every` tokens all that are too many. */
static void plain_keep(struct plain *f, uint32_t every)
{
    const struct kv_keep_job job = { .choice = &f->choice,
                                     .excerpt = f->excerpt,
                                     .space = f->run.space,
                                     .taps = &f->taps,
                                     .n_position = f->run.n_done,
                                     .n_whole = N };
    const bool one = f->choice.policy->evicts_each && f->run.n_done > 1;
    if (one)
        assert_int_equal(kv_keep_one(&f->model, &job, NULL), OK);
    else if ((f->run.n_done - 1) % every == 0)
        assert_int_equal(kv_keep_run(&f->model, &job, NULL), OK);
    if (one && f->run.n_done % KV_BLOCK == 0 && !kv_excerpt_is_whole(f->excerpt))
        assert_int_equal(kv_excerpt_settle(f->excerpt, f->run.space, f->run.n_done), OK);
}

static double log_probability(const float *logits, uint32_t n, int32_t id)
{
    double top = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        top = fmax(top, (double)logits[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - top);
    return (double)logits[id] - top - log(sum);
}

/* A token a step, and the keeps of the schedule: the engine tells the same. */
static void steps_tell_the_same(void **state)
{
    static const struct {
        const char *policy;
        uint32_t every;
    } of[] = { { "window:budget=40", 16 },
               { "window:budget=40,every=5", 5 },
               { "h2o:budget=40", 1 } };
    const struct akv_limits limits = { .n_ctx = 256, .n_ubatch = 48 };
    char path[TINY_PATH];
    struct still s;
    (void)state;
    tiny_model_save_temporary(tiny_model_of("llama", DT_F32), path);
    still_open_file(&s, path);
    still_engine_open(&s, &limits);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        static struct telling wrote, got;
        struct akv_request request = given(true);
        struct plain f;
        tell(&s, &wrote, "full");
        got = copy_of(&wrote, of[i].policy);
        submit(&s, &request, &got);
        run(&s);
        plain_open(&f, path, &got);
        float *logits = mem_new((size_t)N * f.r.n_vocab, sizeof *logits);
        f.run.logits = logits;
        while (f.run.n_done < N - 1) {
            const uint32_t p = f.run.n_done;
            run_step(&f.r, &(struct run *){ &f.run }, &(uint32_t){ 1 }, 1);
            const double wanted =
                log_probability(logits + (size_t)p * f.r.n_vocab, f.r.n_vocab, got.ids[p + 1]);
            if (fabs(wanted - (double)got.next[p]) > 1e-5)
                fail_msg("%s: %g behind position %u, step by step %g", got.policy,
                         (double)got.next[p], p, wanted);
            plain_keep(&f, of[i].every);
        }
        mem_free(logits);
        plain_close(&f);
    }
    still_close(&s);
    unlink(path);
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
        tell(&s, &wrote, "full");
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
    tell(&s, &wrote, "full");
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
        cmocka_unit_test(answers_are_read_again),       cmocka_unit_test(steps_tell_the_same),
        cmocka_unit_test(blocks_are_those_of_a_prompt), cmocka_unit_test(shares_are_of_all),
        cmocka_unit_test(what_never_judges_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
