#include "support/attn_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "kernels/tables.h"
#include "support/guarded.h"
#include "support/kernel_suite.h"

static void choose_rows(struct attn_case *c, const struct attn_shape *shape, struct rng *rng)
{
    uint32_t rows = shape->n_block * KV_BLOCK, kind = rng_below(rng, 4);
    for (uint32_t i = 0; i < shape->n_query; i++) {
        c->lo[i] = kind == 1 ? rng_below(rng, rows) : kind == 2 ? rng_below(rng, 60) : 0;
        c->hi[i] = kind == 3 ? rows : c->lo[i] + rng_below(rng, rows - c->lo[i] + 1);
        if (kind == 0) // as prefill asks: one row more a query
            c->hi[i] = rows < shape->n_query ? rows : rows - shape->n_query + 1 + i;
    }
    for (uint32_t b = 0; b < shape->n_block; b++) {
        uint64_t a = rng_u64(rng), dense = rng_u64(rng) | rng_u64(rng);
        c->mask[b] = !shape->masked ? UINT64_MAX
                     : b % 4 == 0   ? 0
                     : b % 4 == 1   ? a
                     : b % 4 == 2   ? dense
                                    : 0xff00ff0;
        c->seen[b] = 0;
        for (uint32_t i = 0; i < shape->n_query; i++)
            for (uint32_t r = 0; r < KV_BLOCK; r++)
                if (b * KV_BLOCK + r >= c->lo[i] && b * KV_BLOCK + r < c->hi[i])
                    c->seen[b] |= UINT64_C(1) << r & c->mask[b];
    }
}

static void fill_block(struct attn_case *c, const struct attn_shape *shape, uint32_t b,
                       struct rng *rng)
{
    float x[512];
    for (uint32_t r = 0; r < KV_BLOCK; r++) {
        bool seen = c->seen[b] >> r & 1;
        for (int v = 0; v < 2; v++) {
            uint32_t d = v ? shape->d_v : shape->d_k;
            for (uint32_t j = 0; j < d; j++)
                x[j] = seen ? any_float(rng, shape->hostile) : any_float(rng, 2);
            if (v)
                kernels_ref.store_v(shape->type,
                                    c->block[b] + kv_part_bytes(shape->type, shape->d_k), r, x, d);
            else
                kernels_ref.store_k(shape->type, c->block[b], r, x, d);
        }
    }
}

/* In the base form blocks follow each other; in the table form each ends at a guard page of its own. */
static void place_blocks(struct attn_case *c, const struct attn_shape *shape)
{
    size_t k_bytes = kv_part_bytes(shape->type, shape->d_k),
           v_bytes = kv_part_bytes(shape->type, shape->d_v);
    c->block_bytes = k_bytes + v_bytes;
    if (shape->table) {
        for (uint32_t b = 0; b < shape->n_block; b++)
            c->block[b] = guarded_new(c->block_bytes);
        c->run.table = c->block;
        c->run.v_offset = k_bytes;
        return;
    }
    c->base = guarded_new(shape->n_block * c->block_bytes);
    for (uint32_t b = 0; b < shape->n_block; b++)
        c->block[b] = c->base + b * c->block_bytes;
    c->run.k = c->base;
    c->run.v = c->base + k_bytes;
    c->run.stride = c->block_bytes;
}

void attn_case_open(struct attn_case *c, const struct attn_shape *shape, struct rng *rng)
{
    size_t q_stride = shape->d_k + 8 * rng_below(rng, 3);
    *c = (struct attn_case){ .run = { .type = shape->type,
                                      .d_k = shape->d_k,
                                      .d_v = shape->d_v,
                                      .scale = 1.0f / sqrtf((float)shape->d_k),
                                      .softcap = shape->softcap,
                                      .n_query = shape->n_query,
                                      .q_stride = q_stride,
                                      .last = shape->n_block } };
    c->q = guarded_new((shape->n_query * q_stride) * sizeof *c->q);
    c->lo = guarded_new(shape->n_query * sizeof *c->lo);
    c->hi = guarded_new(shape->n_query * sizeof *c->hi);
    for (size_t i = 0; i < shape->n_query * q_stride; i++)
        c->q[i] = any_float(rng, shape->hostile);
    choose_rows(c, shape, rng);
    place_blocks(c, shape);
    for (uint32_t b = 0; b < shape->n_block; b++)
        fill_block(c, shape, b, rng);
    c->run.q = c->q;
    c->run.lo = c->lo;
    c->run.hi = c->hi;
    c->run.row_mask = shape->masked ? c->mask : NULL;
}

void attn_case_close(struct attn_case *c)
{
    uint32_t n = c->run.n_query;
    guarded_free(c->q, n * c->run.q_stride * sizeof *c->q);
    guarded_free(c->lo, n * sizeof *c->lo);
    guarded_free(c->hi, n * sizeof *c->hi);
    if (c->base)
        guarded_free(c->base, c->run.last * c->block_bytes);
    else
        for (uint32_t b = 0; b < c->run.last; b++)
            guarded_free(c->block[b], c->block_bytes);
}

struct attn_state attn_state_new(uint32_t n, uint32_t d_v)
{
    struct attn_state s = { guarded_new(n * sizeof(float)), guarded_new(n * sizeof(float)),
                            guarded_new((size_t)n * d_v * sizeof(float)) };
    memset(s.m, 0x7f, n * sizeof(float));
    memset(s.l, 0x7f, n * sizeof(float));
    memset(s.o, 0x7f, (size_t)n * d_v * sizeof(float));
    return s;
}

void attn_state_free(struct attn_state s, uint32_t n, uint32_t d_v)
{
    guarded_free(s.m, n * sizeof(float));
    guarded_free(s.l, n * sizeof(float));
    guarded_free(s.o, (size_t)n * d_v * sizeof(float));
}

void attn_case_run(const struct kernels *k, const struct attn_run *run, struct attn_state out)
{
    size_t bytes = attn_scratch_bytes(run->n_query, run->d_k, run->d_v);
    void *scratch = guarded_new(bytes);
    memset(scratch, 0xff, bytes); // NaNs: a kernel that reads before it writes shows it
    k->attn_partial(run, out, scratch);
    guarded_free(scratch, bytes);
}

void expect_same_state(struct attn_state got, struct attn_state want, uint32_t n, uint32_t d_v,
                       const char *what)
{
    char name[192];
    snprintf(name, sizeof name, "m of %s", what);
    expect_same_floats(got.m, want.m, n, name);
    snprintf(name, sizeof name, "l of %s", what);
    expect_same_floats(got.l, want.l, n, name);
    snprintf(name, sizeof name, "o of %s", what);
    expect_same_floats(got.o, want.o, (size_t)n * d_v, name);
}
