/* The same bits, however they were computed: cold == chunked == batched == partly asked for == threaded == any
 * instruction set == forked (docs/NUMERICS.md), on the logits of every position, for a tiny random model of every
 * architecture and for the real default model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "support/fnv.h"
#include "support/runner.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

enum {
    N_TINY = SANITIZED ? 260 : 1200,
    N_TINY_REF = SANITIZED ? 70 : 200, // positions on the plain kernels
    N_REAL = SANITIZED ? 66 : 150,
    N_REAL_REF = SANITIZED ? 4 : 24,
    N_POSITION_MAX = 2048
};

struct subject {
    struct runner_config config;
    int32_t *ids;
    uint32_t n;
    uint32_t n_vocab;
    float *expected; // [n][n_vocab] of one thread, one chunk, the best kernels
    float *got;
};

static void same(const struct subject *s, const float *got, uint32_t first, uint32_t last,
                 const char *how)
{
    for (uint32_t p = first; p < last; p++) {
        const float *a = s->expected + (size_t)p * s->n_vocab, *b = got + (size_t)p * s->n_vocab;
        for (uint32_t i = 0; i < s->n_vocab; i++) {
            if (memcmp(&a[i], &b[i], sizeof *a) != 0)
                fail_msg("%s: %s: position %u, token %u: %a, expected %a", s->config.path, how, p,
                         i, (double)b[i], (double)a[i]);
        }
    }
}

static void subject_open(struct subject *s, const struct runner_config *config, uint32_t n)
{
    struct runner r;
    struct rng rng = rng_seeded(11, 3);
    *s = (struct subject){ .config = *config, .n = n };
    runner_open(&r, &s->config);
    s->n_vocab = r.n_vocab;
    s->ids = mem_new(n, sizeof *s->ids);
    s->expected = mem_new((size_t)n * s->n_vocab, sizeof(float));
    s->got = mem_new((size_t)n * s->n_vocab, sizeof(float));
    for (uint32_t i = 0; i < n; i++)
        s->ids[i] = (int32_t)rng_below(&rng, s->n_vocab);
    run_all(&r, s->ids, n, n < 1024 ? n : 1024, s->expected);
    runner_close(&r);
}

static void subject_close(struct subject *s)
{
    mem_free(s->ids);
    mem_free(s->expected);
    mem_free(s->got);
}

/* 63: the most whose gates and ups are whole in memory (model/gated.c). */
static void chunked(struct subject *s)
{
    static const uint32_t chunks[] = { 1, 7, 63, 64, 512 };
    struct runner r;
    runner_open(&r, &s->config);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        char how[32];
        snprintf(how, sizeof how, "chunks of %u", chunks[i]);
        run_all(&r, s->ids, s->n, chunks[i], s->got);
        same(s, s->got, 0, s->n, how);
    }
    runner_close(&r);
}

/* n sequences of the same ids, each at its own pace, in one batch. */
static void batched(struct subject *s, uint32_t n_run)
{
    struct runner r;
    struct run run[8], *each[8];
    struct rng rng = rng_seeded(n_run, 5);
    char how[32];
    runner_open(&r, &s->config);
    for (uint32_t i = 0; i < n_run; i++) {
        run_open(&r, &run[i], s->ids);
        each[i] = &run[i];
    }
    run[n_run - 1].logits = s->got;
    while (run[n_run - 1].n_done < s->n) {
        uint32_t n[8];
        for (uint32_t i = 0; i < n_run; i++) {
            const uint32_t left = s->n - run[i].n_done, want = rng_below(&rng, 100);
            n[i] = want < left ? want : left;
        }
        if (n[n_run - 1] == 0)
            n[n_run - 1] = 1;
        run_step(&r, each, n, n_run);
    }
    snprintf(how, sizeof how, "a batch of %u sequences", n_run);
    same(s, s->got, 0, s->n, how);
    for (uint32_t i = 0; i < n_run; i++)
        run_close(&run[i]);
    runner_close(&r);
}

/* Sequences of the same ids in one batch, of which only the last rows of a step are asked for, or none of it. */
static void partly_asked(struct subject *s, const struct runner_config *config)
{
    enum { N_RUN = 4 };
    struct runner r;
    struct run run[N_RUN], *each[N_RUN];
    struct rng rng = rng_seeded(N_RUN, 9);
    runner_open(&r, config);
    for (uint32_t i = 0; i < N_RUN; i++) {
        run_open(&r, &run[i], s->ids);
        run[i].logits = s->got;
        run[i].n_last = i;
        each[i] = &run[i];
    }
    run[0].unread = true;
    memset(s->got, 0xff, (size_t)s->n * s->n_vocab * sizeof *s->got); // NaN
    while (run[N_RUN - 1].n_done < s->n) {
        uint32_t n[N_RUN];
        for (uint32_t i = 0; i < N_RUN; i++) {
            const uint32_t left = s->n - run[i].n_done, want = 1 + rng_below(&rng, 150);
            n[i] = want < left ? want : left;
        }
        run_step(&r, each, n, N_RUN);
        for (uint32_t i = 1; i < N_RUN; i++)
            same(s, s->got, run[i].n_done - (n[i] < i ? n[i] : i), run[i].n_done,
                 "the last rows of a step");
    }
    for (uint32_t i = 0; i < N_RUN; i++)
        run_close(&run[i]);
    runner_close(&r);
}

/* A sequence forks in the middle of a block; parent and child go on with the same tokens. */
static void forked(struct subject *s)
{
    struct runner r;
    struct run parent, child;
    struct note why;
    const uint32_t at = s->n * 2 / 3;
    runner_open(&r, &s->config);
    const uint32_t ahead =
        r.shape.n_group == 1 ? 5 : 0; /* a window may have given back what `at` sees */
    run_open(&r, &parent, s->ids);
    run_step(&r, &(struct run *){ &parent }, &(uint32_t){ at + ahead }, 1);
    child = parent;
    assert_int_equal(kv_space_fork(&child.space, parent.space, at, &why), OK);
    child.n_done = at;
    child.logits = s->got;
    run_step(&r, &(struct run *){ &child }, &(uint32_t){ s->n - at }, 1);
    same(s, s->got, at, s->n, "a forked sequence");
    run_close(&parent);
    run_close(&child);
    runner_close(&r);
}

/* Several forks of one sequence go on together at their own pace, to the end. Behind a whole chunk of 1,024 positions
 * its blocks are attended by all of them at once. */
static void forks_together(struct subject *s, const struct runner_config *config, uint32_t at)
{
    enum { N_FORK = 6 };
    struct runner r;
    struct run parent, fork[N_FORK], *each[N_FORK];
    struct rng rng = rng_seeded(at, 6);
    struct note why;
    uint32_t n_left = N_FORK;
    runner_open(&r, config);
    run_open(&r, &parent, s->ids);
    while (parent.n_done < at)
        run_step(&r, &(struct run *){ &parent },
                 &(uint32_t){ at - parent.n_done < 512 ? at - parent.n_done : 512 }, 1);
    for (uint32_t i = 0; i < N_FORK; i++) {
        fork[i] = parent;
        assert_int_equal(kv_space_fork(&fork[i].space, parent.space, at, &why), OK);
        fork[i].logits = mem_new((size_t)s->n * s->n_vocab, sizeof(float));
        each[i] = &fork[i];
    }
    while (n_left > 0) {
        uint32_t n[N_FORK], sum = 0;
        n_left = 0;
        for (uint32_t i = 0; i < N_FORK; i++) {
            const uint32_t left = s->n - fork[i].n_done, want = rng_below(&rng, 4);
            sum += n[i] = want < left ? want : left;
            n_left += left > 0;
        }
        if (sum > 0)
            run_step(&r, each, n, N_FORK);
    }
    for (uint32_t i = 0; i < N_FORK; i++) {
        same(s, fork[i].logits, at, s->n, "forks that go on together");
        mem_free(fork[i].logits);
        run_close(&fork[i]);
    }
    run_close(&parent);
    runner_close(&r);
}

/* Reads up to `from` in chunks, then goes on in steps of `then`: got[from..n). With one token a step,
 * on two threads and behind 1,024 positions, a row's attention is split over the threads
 * (model/attend.c). */
static void decoded(struct subject *s, const struct runner_config *config, uint32_t from,
                    uint32_t chunk, uint32_t then)
{
    struct runner r;
    struct run run;
    runner_open(&r, config);
    run_open(&r, &run, s->ids);
    while (run.n_done < s->n) {
        const bool before = run.n_done < from;
        const uint32_t left = before ? from - run.n_done : s->n - run.n_done,
                       most = before ? chunk : then;
        run.logits = before ? NULL : s->got;
        run.unread = before;
        run_step(&r, &(struct run *){ &run }, &(uint32_t){ left < most ? left : most }, 1);
    }
    run_close(&run);
    runner_close(&r);
}

static void other(struct subject *s, struct runner_config config, uint32_t n, const char *how)
{
    struct runner r;
    runner_open(&r, &config);
    run_all(&r, s->ids, n, 512, s->got);
    same(s, s->got, 0, n, how);
    runner_close(&r);
}

static void every_way(struct subject *s, uint32_t n_slow)
{
    const struct kernels *tables[8];
    const uint32_t n_table = kernels_available(tables, 8);
    struct runner_config two = s->config, table = s->config;
    two.n_thread = 2;
    table.table = true;
    chunked(s);
    for (uint32_t n = 1; n <= 8; n += n == 1 ? 2 : 5)
        batched(s, n);
    partly_asked(s, &s->config);
    partly_asked(s, &two);
    forked(s);
    other(s, two, s->n, "two threads");
    decoded(s, &two, s->n - 30, 512, 1);
    same(s, s->got, s->n - 30, s->n, "token by token on two threads");
    other(s, table, s->n, "a table of blocks");
    forks_together(s, &s->config, s->n - s->n / 24);
    forks_together(s, &two, s->n - s->n / 24);
    for (uint32_t i = 0; i < n_table; i++) {
        struct runner_config cpu = s->config;
        cpu.cpu = tables[i]->name;
        cpu.n_thread = 2;
        other(s, cpu, strcmp(tables[i]->name, "ref") == 0 ? n_slow : s->n, tables[i]->name);
    }
}

/* The stored hash is that of all positions; with fewer there is nothing to compare. */
static void expect_hash(const struct subject *s, uint64_t hash)
{
    const uint64_t got = fnv1a_64(s->expected, (size_t)s->n * s->n_vocab * sizeof(float));
    if (got != hash && !SANITIZED)
        fail_msg("%s: the hash of all logits is 0x%016llx; stored is 0x%016llx", s->config.path,
                 (unsigned long long)got, (unsigned long long)hash);
}

static void tiny_ways(const char *arch, enum dtype type, enum kv_type kv, uint64_t hash)
{
    char path[] = "/tmp/akvifer-tiny-XXXXXX";
    struct tiny_model t = tiny_model_of(arch, type);
    struct subject s;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_model_save(&t, path);
    const struct runner_config config = {
        .path = path, .n_thread = 1, .n_position_max = N_POSITION_MAX, .kv_type = kv
    };
    subject_open(&s, &config, N_TINY);
    every_way(&s, N_TINY_REF);
    expect_hash(&s, hash);
    subject_close(&s);
    unlink(path);
}

/* The hashes were stored by a machine with AVX2; others must give the same. */
static void tiny_llama(void **state)
{
    (void)state;
    tiny_ways("llama", DT_Q4_1, KV_F16, 0x7ed0227368baa09a);
}

static void tiny_qwen2(void **state)
{
    (void)state;
    tiny_ways("qwen2", DT_Q5_0, KV_F32, 0x6ad9e10fe59c5a2e);
}

static void tiny_qwen3(void **state)
{
    (void)state;
    tiny_ways("qwen3", DT_Q6_K, KV_INT8, 0xa2774da20a76e891);
}

static void tiny_gemma3(void **state)
{
    (void)state;
    tiny_ways("gemma3", DT_Q4_K, KV_F16, 0x12c62934e8ae4a94);
}

static void real_default_model(void **state)
{
    (void)state;
    struct subject s;
    const struct runner_config config = {
        .path = SMOLLM2,
        .n_thread = 1,
        .n_position_max = N_POSITION_MAX,
        .kv_type = KV_F16,
    };
    subject_open(&s, &config, N_REAL);
    every_way(&s, N_REAL_REF);
    expect_hash(&s, 0x8c4eb8c44034fc8b);
    subject_close(&s);
}

/* Across the seam at 1,024 positions, where attention begins another chunk: its last 40 positions. */
static void real_model_beyond_a_chunk(void **state)
{
    (void)state;
    enum { N = SANITIZED ? 200 : 1060, LAST = 40 };
    struct subject s = { .n = N };
    struct runner_config config = {
        .path = SMOLLM2, .n_thread = 1, .n_position_max = N_POSITION_MAX, .kv_type = KV_F16
    };
    struct rng rng = rng_seeded(13, 3);
    struct runner r;
    runner_open(&r, &config);
    s.config = config;
    s.n_vocab = r.n_vocab;
    runner_close(&r);
    s.ids = mem_new(N, sizeof *s.ids);
    s.got = mem_new((size_t)N * s.n_vocab, sizeof(float));
    for (uint32_t i = 0; i < N; i++)
        s.ids[i] = (int32_t)rng_below(&rng, s.n_vocab);

    decoded(&s, &config, N - LAST, 512, LAST);
    s.expected = s.got;
    s.got = mem_new((size_t)N * s.n_vocab, sizeof(float));
    decoded(&s, &config, N - LAST, 64, 7);
    same(&s, s.got, N - LAST, N, "chunks of 64, then of 7");
    config.n_thread = 2;
    decoded(&s, &config, N - LAST, 509, 1);
    same(&s, s.got, N - LAST, N, "token by token on two threads");
    forks_together(&s, &config, N - LAST / 2);
    config.table = true;
    decoded(&s, &config, N - LAST / 2, 512, 1);
    same(&s, s.got, N - LAST / 2, N, "a table of blocks, two threads");
    subject_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_llama),         cmocka_unit_test(tiny_qwen2),
        cmocka_unit_test(tiny_qwen3),         cmocka_unit_test(tiny_gemma3),
        cmocka_unit_test(real_default_model), cmocka_unit_test(real_model_beyond_a_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
