#include "support/kernel_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/attn_case.h"

static const uint32_t WIDTHS[] = { 64, 8, 80, 96, 128, 256, 24, 40 };
static const uint32_t QUERIES[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 33, 96, 200 };

enum { N_WIDTH = sizeof WIDTHS / sizeof *WIDTHS, N_QUERIES = sizeof QUERIES / sizeof *QUERIES };

static void name_case(char *text, size_t size, const struct attn_shape *s, uint32_t seed)
{
    snprintf(text, size,
             "type %d, d %u/%u, %u queries, %u blocks, table %d, masked %d, softcap %g, hostile "
             "%u, seed %u",
             s->type, s->d_k, s->d_v, s->n_query, s->n_block, s->table, s->masked, s->softcap,
             s->hostile, seed);
}

/* What a query keeps of a block with a row that it sees is what attn_scores says of those rows. */
static void compare_kept(const struct kernels *k, struct attn_case *c, const char *what)
{
    const uint32_t n = c->run.n_query;
    const size_t stride = (size_t)c->run.last * KV_BLOCK + 16;
    struct guarded kept = guard_new(n * stride * sizeof(float), 64);
    struct guarded all = guard_new((size_t)n * KV_BLOCK * sizeof(float), 64);
    struct guarded scratch = guard_new(attn_scratch_bytes(n, c->run.d_k, c->run.d_v), 64);
    struct guarded_state out = attn_state_new(n, c->run.d_v);
    c->run.keep = kept.at;
    c->run.keep_stride = stride;
    attn_case_run(k, &c->run, out.at);
    c->run.keep = NULL;
    for (uint32_t b = 0; b < c->run.last; b++) {
        k->attn_scores(&c->run, b, all.at, scratch.at);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t r = 0; r < KV_BLOCK; r++) {
                const uint32_t at = b * KV_BLOCK + r;
                const uint64_t mask = c->run.row_mask ? c->mask[b] : UINT64_MAX;
                if (at >= c->lo[i] && at < c->hi[i] && mask >> r & 1)
                    expect_same_floats((float *)kept.at + i * stride + at,
                                       (float *)all.at + (size_t)i * KV_BLOCK + r, 1, what);
            }
    }
    attn_state_free(&out);
    guard_free(&scratch);
    guard_free(&all);
    guard_free(&kept);
}

/* The partial, then what merging it and dividing give. */
static void compare(const struct kernels *got, const struct kernels *want,
                    const struct attn_shape *shape, uint32_t seed)
{
    struct rng rng = rng_seeded(seed, 2);
    struct attn_case c;
    char what[160];
    uint32_t n = shape->n_query, d = shape->d_v;
    struct guarded_state part_got = attn_state_new(n, d), part_want = attn_state_new(n, d);
    struct guarded_state total_got = attn_state_new(n, d), total_want = attn_state_new(n, d);
    struct attn_state a = part_got.at, b = part_want.at, total_a = total_got.at,
                      total_b = total_want.at;

    name_case(what, sizeof what, shape, seed);
    attn_case_open(&c, shape, &rng);
    attn_case_run(got, &c.run, a);
    attn_case_run(want, &c.run, b);
    expect_same_state(a, b, n, d, what);

    for (uint32_t i = 0; i < n; i++) {
        bool empty = rng_below(&rng, 4) == 0;
        total_a.m[i] = total_b.m[i] = empty ? -INFINITY : any_float(&rng, 0);
        total_a.l[i] = total_b.l[i] = empty ? 0 : 1 + any_float(&rng, 0) * 0.1f;
        for (uint32_t j = 0; j < d; j++)
            total_a.o[(size_t)i * d + j] = total_b.o[(size_t)i * d + j] =
                empty ? 0 : any_float(&rng, shape->hostile);
    }
    got->attn_merge(total_a, b, n, d);
    want->attn_merge(total_b, b, n, d);
    expect_same_state(total_a, total_b, n, d, what);
    got->attn_finish(a.o, d, total_b, n, d);
    want->attn_finish(b.o, d, total_b, n, d);
    expect_same_floats(a.o, b.o, (size_t)n * d, what);

    attn_case_close(&c);
    attn_state_free(&part_got), attn_state_free(&part_want);
    attn_state_free(&total_got), attn_state_free(&total_want);
}

/* Raw scores of each block, and the mass its rows receive under totals that may be anything. */
static void compare_mass(const struct kernels *got, const struct kernels *want,
                         const struct attn_shape *shape, uint32_t seed)
{
    struct rng rng = rng_seeded(seed, 4);
    struct attn_case c;
    char what[160];
    const uint32_t n = shape->n_query;
    const size_t scratch_bytes = attn_scratch_bytes(n, shape->d_k, shape->d_v);
    struct guarded scratch = guard_new(scratch_bytes, 64);
    struct guarded a = guard_new((size_t)n * KV_BLOCK * sizeof(float), 64);
    struct guarded b = guard_new((size_t)n * KV_BLOCK * sizeof(float), 64);
    struct guarded_state final = attn_state_new(n, 8);
    name_case(what, sizeof what, shape, seed);
    attn_case_open(&c, shape, &rng);
    for (uint32_t i = 0; i < n; i++) {
        final.at.m[i] = any_float(&rng, shape->hostile / 100);
        final.at.l[i] = rng_below(&rng, 20) ? 1 + fabsf(any_float(&rng, 0)) : any_float(&rng, 2);
    }
    for (uint32_t block = 0; block < shape->n_block; block++) {
        uint64_t mass[2][KV_BLOCK] = { { 0 } };
        memset(scratch.at, 0xff, scratch_bytes);
        got->attn_scores(&c.run, block, a.at, scratch.at);
        want->attn_scores(&c.run, block, b.at, scratch.at);
        expect_same_floats(a.at, b.at, (size_t)n * KV_BLOCK, what);
        for (int peak = 0; peak < 2; peak++) {
            got->attn_mass(&c.run, block, b.at, KV_BLOCK, final.at, peak, mass[0]);
            want->attn_mass(&c.run, block, b.at, KV_BLOCK, final.at, peak, mass[1]);
            if (memcmp(mass[0], mass[1], sizeof mass[0]) != 0)
                fail_msg("mass of %s", what);
        }
    }
    compare_kept(got, &c, what);
    attn_case_close(&c);
    attn_state_free(&final);
    guard_free(&a);
    guard_free(&b);
    guard_free(&scratch);
}

/* Around both ends of what is asked, and around 2^63. */
static void compare_low_rows(const struct kernels *got, const struct kernels *want, uint32_t seed)
{
    static const uint64_t AROUND[] = { 3, UINT64_C(1) << 63, UINT64_MAX - 4, UINT64_C(1) << 32 };
    struct rng rng = rng_seeded(seed, 5);
    uint64_t mass[KV_BLOCK], bound = AROUND[seed % 4] + rng_below(&rng, 4);
    uint32_t position[KV_BLOCK];
    const uint32_t first = seed % 3 ? rng_below(&rng, 70) : UINT32_MAX - 30,
                   n = rng_below(&rng, 70);
    for (uint32_t i = 0; i < KV_BLOCK; i++) {
        mass[i] = rng_below(&rng, 4) ? bound + rng_below(&rng, 5) - 2 : AROUND[rng_below(&rng, 4)];
        position[i] = first + rng_below(&rng, 80) - 5;
    }
    if (got->low_rows(mass, bound, position, first, n) !=
        want->low_rows(mass, bound, position, first, n))
        fail_msg("low rows, seed %u", seed);
}

void suite_attention(const struct kernels *got, const struct kernels *want, uint32_t effort)
{
    uint32_t seed = 0;
    for (uint32_t round = 0; round < effort; round++)
        for (uint32_t w = 0; w < N_WIDTH; w++)
            for (uint32_t q = 0; q < N_QUERIES; q++)
                for (enum kv_type type = KV_F16; type <= KV_INT8; type++) {
                    seed++;
                    struct attn_shape shape = {
                        .type = type,
                        .d_k = WIDTHS[w],
                        .d_v = seed % 5 == 0 ? WIDTHS[(w + 1) % N_WIDTH] : WIDTHS[w],
                        .n_query = QUERIES[q],
                        .n_block = 1 + seed % (QUERIES[q] > 9 ? 3 : 5),
                        .table = seed % 2,
                        .masked = seed % 3 == 0,
                        .softcap = seed % 7 == 0 ? 20 : 0,
                        .hostile = seed % 4 == 0 ? 3000 : 0,
                    };
                    compare(got, want, &shape, seed);
                    compare_mass(got, want, &shape, seed);
                    compare_low_rows(got, want, seed);
                }
}
