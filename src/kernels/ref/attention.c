/* The contract of attention.h, plainly: one query, one block, one row at a time. */
#include <math.h>
#include <string.h>

#include "kernels/activations.h"
#include "kernels/attn_block.h"
#include "kernels/lanes.h"
#include "kernels/ref/fns.h"

/* Element i of a part, without an int8 row's scale. */
static float element(enum kv_type type, const void *part, size_t i)
{
    return type == KV_F16   ? f32_of_f16(((const f16 *)part)[i])
           : type == KV_F32 ? ((const float *)part)[i]
                            : ((const int8_t *)part)[i];
}

static float score(const struct attn_run *run, const float *q, const char *k, uint32_t row)
{
    float s = 0;
    for (uint32_t j = 0; j < run->d_k; j++)
        s = fmaf(q[j], element(run->type, k, (size_t)j * KV_BLOCK + row), s);
    if (run->type == KV_INT8)
        s = s * kv_scales(k, run->d_k)[row];
    s = s * run->scale;
    return run->softcap != 0 ? softcap_f32(s, run->softcap) : s;
}

static void add_row(const struct attn_run *run, float *o, const char *v, uint32_t row, float p)
{
    if (run->type == KV_INT8)
        p = p * kv_scales(v, run->d_v)[row];
    for (uint32_t j = 0; j < run->d_v; j++)
        o[j] = fmaf(p, element(run->type, v, (size_t)row * run->d_v + j), o[j]);
}

/* One block into the state of query i; bit r of `visible`: it sees row r. */
static void attend(const struct attn_run *run, struct attn_state out, uint32_t i, uint32_t block,
                   uint64_t visible)
{
    const char *k = attn_k(run, block), *v = attn_v(run, block);
    const float *q = run->q + i * run->q_stride;
    float p[KV_BLOCK] = { 0 }, lane[LANES] = { 0 }, m = out.m[i], *o = out.o + (size_t)i * run->d_v;

    for (uint32_t r = 0; r < KV_BLOCK; r++)
        if (visible >> r & 1) {
            p[r] = score(run, q, k, r);
            m = larger(m, p[r]);
            if (run->keep)
                run->keep[i * run->keep_stride + (block - run->keep_first) * KV_BLOCK + r] = p[r];
        }
    for (uint32_t r = 0; r < KV_BLOCK; r++)
        if (visible >> r & 1) {
            p[r] = exp_f32(p[r] - m);
            lane[r % LANES] += p[r];
        }
    float a = exp_f32(out.m[i] - m);
    out.m[i] = m;
    out.l[i] = fmaf(out.l[i], a, lanes_sum(lane));
    for (uint32_t j = 0; j < run->d_v; j++)
        o[j] = o[j] * a;
    for (uint32_t r = 0; r < KV_BLOCK; r++)
        if (visible >> r & 1)
            add_row(run, o, v, r, p[r]);
}

void ref_attn_partial(const struct attn_run *run, struct attn_state out, void *scratch)
{
    (void)scratch;
    for (uint32_t i = 0; i < run->n_query; i++) {
        out.m[i] = -INFINITY;
        out.l[i] = 0;
        memset(out.o + (size_t)i * run->d_v, 0, run->d_v * sizeof(float));
        for (uint32_t b = run->first; b < run->last; b++) {
            struct row_range r = attn_rows(run, i, b);
            uint64_t visible = row_bits(r.lo, r.hi) & attn_mask(run, b);
            if (visible)
                attend(run, out, i, b, visible);
        }
    }
}

void ref_attn_merge(struct attn_state total, struct attn_state part, uint32_t n_query, uint32_t d_v)
{
    for (uint32_t i = 0; i < n_query; i++) {
        float *o_t = total.o + (size_t)i * d_v, *o = part.o + (size_t)i * d_v;
        if (part.l[i] == 0)
            continue;
        if (total.l[i] == 0) {
            total.m[i] = part.m[i];
            total.l[i] = part.l[i];
            memcpy(o_t, o, d_v * sizeof(float));
            continue;
        }
        float m = larger(total.m[i], part.m[i]);
        float a = exp_f32(total.m[i] - m), b = exp_f32(part.m[i] - m);
        total.m[i] = m;
        total.l[i] = fmaf(total.l[i], a, part.l[i] * b);
        for (uint32_t j = 0; j < d_v; j++)
            o_t[j] = fmaf(o_t[j], a, o[j] * b);
    }
}

void ref_attn_finish(float *out, size_t out_stride, struct attn_state total, uint32_t n_query,
                     uint32_t d_v)
{
    for (uint32_t i = 0; i < n_query; i++)
        for (uint32_t j = 0; j < d_v; j++)
            out[i * out_stride + j] = total.o[(size_t)i * d_v + j] / total.l[i];
}

void ref_attn_scores(const struct attn_run *run, uint32_t block, float *out, void *scratch)
{
    const char *k = attn_k(run, block);
    (void)scratch;
    for (uint32_t i = 0; i < run->n_query; i++)
        for (uint32_t r = 0; r < KV_BLOCK; r++)
            out[i * KV_BLOCK + r] = score(run, run->q + i * run->q_stride, k, r);
}
