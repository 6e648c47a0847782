/* Hidden-state means: the tap against rows of the residual stream that a slow pass leaves, one token at a time on
 * reference kernels; and what reads them for a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/hidden.h"
#include "model/model_in.h"
#include "support/runner.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

#define REAL "models/SmolLM2-135M-Instruct.Q4_1.gguf"

enum { FIRST = 3, BEFORE = 2, BEHIND = 5, LONG = HIDDEN_RUN + 9, N_TEXT = 3 };

static const uint32_t length[N_TEXT] = { 1, 40, LONG };

static void draw(int32_t *ids, uint32_t n, uint64_t seed)
{
    struct rng rng = rng_seeded(seed, 9);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(&rng, 256);
}

/* ---- the slow one ---- */

/* x [n][n_embd] behind n_layer layers: the model is one that has no more of them. */
static void slow_rows(struct runner *r, uint32_t n_layer, const int32_t *ids, uint32_t n, float *x)
{
    struct hparams *h = &r->model->h;
    const uint32_t all = h->n_layer;
    struct run s;
    h->n_layer = n_layer;
    run_open(r, &s, ids);
    while (s.n_done < n) {
        run_step(r, &(struct run *){ &s }, &(uint32_t){ 1 }, 1);
        memcpy(x + (size_t)(s.n_done - 1) * h->n_embd, r->model->pass.x, h->n_embd * sizeof *x);
    }
    run_close(&s);
    h->n_layer = all;
}

static const struct hidden_frame frame = { .first = FIRST,
                                           .before = { 17, 4 },
                                           .behind = { 90, 91, 8, 8, 201 },
                                           .n_before = BEFORE,
                                           .n_behind = BEHIND };

/* A run of m ids: what stands around them, and the rows that count, of a text's own and of those behind it. */
static void slow_run(struct runner *r, struct hidden_how how, const int32_t *ids, uint32_t m,
                     double *sum, double *size)
{
    const uint32_t d = r->model->h.n_embd, text = how.asks ? 1 + BEFORE : 1;
    const uint32_t first = how.asks ? text + m : text, n = how.asks ? first + BEHIND : text + m;
    float *x = mem_new((size_t)n * d, sizeof *x);
    int32_t run[HIDDEN_RUN] = { FIRST, frame.before[0], frame.before[1] };
    memcpy(run + text, ids, m * sizeof *ids);
    if (how.asks)
        memcpy(run + first, frame.behind, BEHIND * sizeof *run);
    slow_rows(r, how.n_layer, run, n, x);
    for (uint32_t i = first; i < n; i++)
        for (uint32_t j = 0; j < d; j++) {
            sum[j] += (double)x[(size_t)i * d + j];
            *size = fmax(*size, fabs((double)x[(size_t)i * d + j]));
        }
    mem_free(x);
}

/* How many rows count; their mean, and the largest element. */
static uint32_t slow_mean(struct runner *r, struct hidden_how how, const int32_t *ids, uint32_t n,
                          double *mean, double *size)
{
    const uint32_t d = r->model->h.n_embd;
    const uint32_t most = HIDDEN_RUN - 1 - (how.asks ? BEFORE + BEHIND : 0);
    uint32_t n_row = 0;
    memset(mean, 0, d * sizeof *mean);
    *size = 0;
    for (uint32_t at = 0, m; at < n; at += m) {
        m = n - at < most ? n - at : most;
        slow_run(r, how, ids + at, m, mean, size);
        n_row += how.asks ? BEHIND : m;
    }
    for (uint32_t j = 0; j < d; j++)
        mean[j] /= n_row;
    return n_row;
}

/* ---- a reader of hidden states ---- */

/* Beside the best kernels; a thread sanitizer watches one table at a time (model/watched.c). */
#define PLAIN (SANITIZED ? NULL : "ref")

static void ask(struct hidden *r, struct hidden_how how, const int32_t *ids, uint32_t n,
                float *mean)
{
    struct note why = { "" };
    if (hidden_mean(r, how, "", ids, n, mean, &why) != OK)
        fail_msg("%s", why.text);
}

static struct hidden *reader_of(const struct model *m)
{
    struct hidden *r;
    struct note why = { "" };
    assert_int_equal(hidden_new(&r, m, &frame, &why), OK);
    return r;
}

/* A float sum of n rows, none larger than `size`: n roundings of 2^-24 of at most n * size, over n. */
static void expect_mean(const float *got, const double *want, uint32_t d, uint32_t n, double size)
{
    const double most = n * size * 0x1p-24;
    for (uint32_t j = 0; j < d; j++)
        if (!(fabs((double)got[j] - want[j]) <= most))
            fail_msg("element %u is %.9g, expected %.9g +- %.2g", j, (double)got[j], want[j], most);
}

static void means_of(const char *path, const char *cpu, const struct hidden_how *how, uint32_t n,
                     uint32_t n_text)
{
    struct runner fast, slow;
    const struct runner_config config = {
        .path = path, .cpu = cpu, .n_thread = 2, .n_position_max = 512
    };
    struct runner_config plain = config;
    plain.cpu = PLAIN;
    runner_open(&fast, &config);
    runner_open(&slow, &plain);
    const uint32_t d = fast.model->h.n_embd;
    struct hidden *r = reader_of(fast.model);
    float *got = mem_new(d, sizeof *got);
    double *want = mem_new(d, sizeof *want), size;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t t = 0; t < n_text; t++) {
            int32_t ids[LONG];
            draw(ids, length[t], t);
            const uint32_t n_row = slow_mean(&slow, how[i], ids, length[t], want, &size);
            ask(r, how[i], ids, length[t], got);
            expect_mean(got, want, d, n_row, size);
            assert_true(size > 0);
        }
    ask(r, how[0], NULL, 0, got);
    for (uint32_t j = 0; j < d; j++)
        assert_true(got[j] == 0);
    mem_free(got);
    mem_free(want);
    hidden_free(r);
    runner_close(&slow);
    runner_close(&fast);
}

static void means_are_those_of_slow_passes(void **state)
{
    (void)state;
    static const char *const arch[] = { "llama", "qwen3", "gemma3" };
    static const enum dtype type[] = { DT_Q4_1, DT_Q6_K, DT_Q5_0 };
    for (uint32_t a = 0; a < 3; a++) {
        char path[TINY_PATH];
        const struct tiny_model tiny = tiny_model_of(arch[a], type[a]);
        tiny_model_save_temporary(tiny, path);
        const struct hidden_how how[] = { { 1, false }, { tiny.n_layer, false }, { 2, true } };
        means_of(path, SANITIZED || a == 2 ? NULL : "avx2", how, 3, N_TEXT);
        unlink(path);
    }
}

static void also_of_the_default_model(void **state)
{
    (void)state;
    if (SANITIZED || access(REAL, R_OK) != 0)
        skip();
    means_of(REAL, NULL, (struct hidden_how[]){ { 15, false }, { 30, true } }, 2, 2);
}

/* ---- the same bits ---- */

struct asker {
    struct hidden *reader;
    uint32_t d, first;
    const float *want; // [N_TEXT][d]
};

static void *ask_all(void *arg)
{
    const struct asker *a = arg;
    float *got = mem_new(a->d, sizeof *got);
    for (uint32_t i = 0; i < 3 * N_TEXT; i++) {
        int32_t ids[LONG];
        const uint32_t t = (a->first + i) % N_TEXT;
        draw(ids, length[t], t);
        ask(a->reader, (struct hidden_how){ 2, true }, ids, length[t], got);
        assert_memory_equal(got, a->want + (size_t)t * a->d, a->d * sizeof *got);
        ask(a->reader, (struct hidden_how){ 1, true }, ids, length[t], got);
        ask(a->reader, (struct hidden_how){ 2, false }, ids, length[t], got);
    }
    mem_free(got);
    return NULL;
}

/* By the best kernels and by plain ones, computed or remembered, whatever was asked before and by whom. */
static void the_same_bits_whoever_asks(void **state)
{
    (void)state;
    enum { N_THREAD = 3 };
    char path[TINY_PATH];
    struct runner r, ref;
    tiny_model_save_temporary(tiny_model_of("llama", DT_Q4_1), path);
    runner_open(&r, &(struct runner_config){ .path = path, .n_thread = 2, .n_position_max = 64 });
    runner_open(&ref, &(struct runner_config){
                          .path = path, .cpu = PLAIN, .n_thread = 1, .n_position_max = 64 });
    const uint32_t d = r.model->h.n_embd;
    float *want = mem_new((size_t)N_TEXT * d, sizeof *want);
    struct hidden *plain = reader_of(ref.model), *reader = reader_of(r.model);
    for (uint32_t t = 0; t < N_TEXT; t++) {
        int32_t ids[LONG];
        draw(ids, length[t], t);
        ask(plain, (struct hidden_how){ 2, true }, ids, length[t], want + (size_t)t * d);
    }
    pthread_t thread[N_THREAD];
    struct asker asker[N_THREAD];
    for (uint32_t i = 0; i < N_THREAD; i++) {
        asker[i] = (struct asker){ reader, d, i, want };
        assert_int_equal(pthread_create(&thread[i], NULL, ask_all, &asker[i]), 0);
    }
    for (uint32_t i = 0; i < N_THREAD; i++)
        pthread_join(thread[i], NULL);
    hidden_free(plain);
    hidden_free(reader);
    mem_free(want);
    runner_close(&ref);
    runner_close(&r);
    unlink(path);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[TINY_PATH];
    struct runner r;
    int32_t ids[40];
    enum status st = FULL;
    tiny_model_save_temporary(tiny_model_of("llama", DT_Q4_1), path);
    runner_open(&r, &(struct runner_config){ .path = path, .n_thread = 1, .n_position_max = 64 });
    float *mean = mem_new(r.model->h.n_embd, sizeof *mean);
    draw(ids, 40, 1);
    for (uint64_t k = 1; st != OK; k++) {
        struct note why = { "" };
        struct hidden *reader = NULL;
        mem_fail_at(k);
        st = hidden_new(&reader, r.model, &frame, &why);
        if (st == OK)
            st = hidden_mean(reader, (struct hidden_how){ 2, true }, "", ids, 40, mean, &why);
        mem_fail_at(0);
        assert_true(st == OK || (st == FULL && why.text[0]));
        hidden_free(reader);
    }
    mem_free(mean);
    runner_close(&r);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_are_those_of_slow_passes),
        cmocka_unit_test(also_of_the_default_model),
        cmocka_unit_test(the_same_bits_whoever_asks),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
