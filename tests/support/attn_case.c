#include "support/attn_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "kernels/tables.h"
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
                     : b % 8 == 3   ? UINT64_C(0xff00ff0)
                                    : UINT64_C(0xff00ff0) << 36;
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

static void *new_memory(struct attn_case *c, size_t bytes, size_t align)
{
    struct guarded *g = &c->memory[c->n_memory++];
    *g = guard_new(bytes, align);
    return g->at;
}

/* In the base form blocks follow each other; in the table form each ends at a guard page of its
 * own. */
static void place_blocks(struct attn_case *c, const struct attn_shape *shape)
{
    size_t k_bytes = kv_part_bytes(shape->type, shape->d_k),
           v_bytes = kv_part_bytes(shape->type, shape->d_v);
    c->block_bytes = k_bytes + v_bytes;
    if (shape->table) {
        for (uint32_t b = 0; b < shape->n_block; b++)
            c->block[b] = new_memory(c, c->block_bytes, 64);
        c->run.table = c->block;
        c->run.v_offset = k_bytes;
        return;
    }
    char *base = new_memory(c, shape->n_block * c->block_bytes, 64);
    for (uint32_t b = 0; b < shape->n_block; b++)
        c->block[b] = base + b * c->block_bytes;
    c->run.k = base;
    c->run.v = base + k_bytes;
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
    c->q = new_memory(c, shape->n_query * q_stride * sizeof *c->q, 4);
    c->lo = new_memory(c, shape->n_query * sizeof *c->lo, 4);
    c->hi = new_memory(c, shape->n_query * sizeof *c->hi, 4);
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
    if (rng_below(rng, 2)) { // what is fetched ahead need not even be there
        c->run.k_next = (const char *)0xdead000000000040;
        c->run.v_next = (const char *)64;
    }
}

void attn_case_close(struct attn_case *c)
{
    while (c->n_memory > 0)
        guard_free(&c->memory[--c->n_memory]);
}

static float *new_floats(struct guarded *g, size_t n)
{
    *g = guard_new(n * sizeof(float), 4);
    memset(g->at, 0x7f, n * sizeof(float));
    return g->at;
}

struct guarded_state attn_state_new(uint32_t n, uint32_t d_v)
{
    struct guarded_state s;
    s.at.m = new_floats(&s.m, n);
    s.at.l = new_floats(&s.l, n);
    s.at.o = new_floats(&s.o, (size_t)n * d_v);
    return s;
}

void attn_state_free(struct guarded_state *s)
{
    guard_free(&s->m);
    guard_free(&s->l);
    guard_free(&s->o);
}

void attn_case_run(const struct kernels *k, const struct attn_run *run, struct attn_state out)
{
    size_t bytes = attn_scratch_bytes(run->n_query, run->d_k, run->d_v);
    struct guarded scratch = guard_new(bytes, 64);
    memset(scratch.at, 0xff, bytes); // NaNs: a kernel that reads before it writes shows it
    k->attn_partial(run, out, scratch.at);
    guard_free(&scratch);
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
