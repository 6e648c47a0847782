/* Attention: the bits of every table are those written down here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/kernels.h"
#include "support/attn_case.h"
#include "support/stored.h"

/* Hashes of what cases of each type of KV give: partials, merged and finished, scores and mass. */
static const struct {
    const char *type;
    uint64_t hash;
} stored[] = { [KV_F16] = { "f16", 0xd5c8ba4ac2b7875a },
               [KV_F32] = { "f32", 0xd91f5a4d458fd960 },
               [KV_INT8] = { "int8", 0xb5076dfb2aa5bca9 } };

static uint64_t state_hash(uint64_t hash, struct attn_state s, uint32_t n, uint32_t d_v)
{
    hash = stored_floats(hash, s.m, n);
    hash = stored_floats(hash, s.l, n);
    return stored_floats(hash, s.o, (size_t)n * d_v);
}

/* The scores of each block, and what its rows receive of queries whose total is `final`. */
static uint64_t scores_hash(uint64_t hash, const struct kernels *k, const struct attn_case *c,
                            struct attn_state final)
{
    const uint32_t n = c->run.n_query;
    struct guarded scratch = guard_new(attn_scratch_bytes(n, c->run.d_k, c->run.d_v), 64);
    struct guarded scores = guard_new((size_t)n * KV_BLOCK * sizeof(float), 64);
    for (uint32_t b = 0; b < c->run.last; b++) {
        uint64_t mass[KV_BLOCK] = { 0 };
        k->attn_scores(&c->run, b, scores.at, scratch.at);
        k->attn_mass(&c->run, b, scores.at, KV_BLOCK, final, b % 2, mass);
        hash = stored_floats(hash, scores.at, (size_t)n * KV_BLOCK);
        hash = fnv1a_64_more(hash, mass, sizeof mass);
    }
    guard_free(&scores);
    guard_free(&scratch);
    return hash;
}

/* The blocks in two runs, the second merged into the first. */
static uint64_t case_hash(uint64_t hash, const struct kernels *k, const struct attn_shape *shape,
                          struct rng *rng)
{
    const uint32_t n = shape->n_query, d = shape->d_v;
    struct guarded_state first = attn_state_new(n, d), second = attn_state_new(n, d);
    struct guarded out = guard_new((size_t)n * d * sizeof(float), 4);
    struct attn_case c;
    attn_case_open(&c, shape, rng);
    struct attn_run half = c.run;
    half.last = shape->n_block / 2;
    attn_case_run(k, &half, first.at);
    half.first = half.last, half.last = shape->n_block;
    attn_case_run(k, &half, second.at);
    hash = state_hash(hash, first.at, n, d);
    hash = state_hash(hash, second.at, n, d);
    k->attn_merge(first.at, second.at, n, d);
    k->attn_finish(out.at, d, first.at, n, d);
    hash = state_hash(hash, first.at, n, d);
    hash = stored_floats(hash, out.at, (size_t)n * d);
    hash = scores_hash(hash, k, &c, first.at);
    attn_case_close(&c);
    guard_free(&out);
    attn_state_free(&first), attn_state_free(&second);
    return hash;
}

static void bits_are_those_stored(void **state)
{
    static const uint32_t n_query[] = { 1, 3, 7, 40 };
    const struct kernels *tables[8];
    const uint32_t n_table = kernels_available(tables, 8);
    (void)state;
    for (uint32_t t = 0; t < n_table; t++)
        for (enum kv_type type = KV_F16; type <= KV_INT8; type++) {
            struct rng rng = rng_seeded(9, type);
            uint64_t hash = FNV1A_64_NONE;
            for (uint32_t i = 0; i < 16; i++) {
                const struct attn_shape shape = { .type = type,
                                                  .d_k = i % 3 ? 64 : 80,
                                                  .d_v = i % 5 ? 64 : 128,
                                                  .n_query = n_query[i % 4],
                                                  .n_block = 4,
                                                  .masked = i / 4 % 2,
                                                  .softcap = i % 7 == 3 ? 20 : 0,
                                                  .hostile = i / 8 ? 3000 : 0 };
                hash = case_hash(hash, tables[t], &shape, &rng);
            }
            expect_stored(hash, stored[type].hash, tables[t]->name, stored[type].type);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_those_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
