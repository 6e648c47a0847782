#include "model/watched.h"

#ifdef __SANITIZE_THREAD__

#include <assert.h>
#include <stdatomic.h>

#include "kernels/avx512/matmul_fns.h"

/* ThreadSanitizer's own, as the compiler calls them (its run-time library has no header for them). */
void __tsan_read_range(void *at, long bytes);
void __tsan_write_range(void *at, long bytes);

static _Atomic(const struct kernels *) watched;

static const struct kernels *real(void)
{
    return atomic_load_explicit(&watched, memory_order_acquire);
}

static void reads(const void *at, size_t bytes)
{
    __tsan_read_range((void *)(uintptr_t)at, (long)bytes);
}

static void writes(void *at, size_t bytes)
{
    __tsan_write_range(at, (long)bytes);
}

static void reads_floats(const float *x, size_t n)
{
    reads(x, n * sizeof *x);
}

static void writes_floats(float *x, size_t n)
{
    writes(x, n * sizeof *x);
}

/* Writes are told whole. What one call wrote whole, a row of activations, a panel, a KV row, a thread's scratch,
 * is read by its first bytes: they stand for it. */

/* ---- matmul.h ---- */

/* A row's lane of a block, or of a tile; the other lanes may be other threads'. */
static void writes_lane(struct acts_block *to, uint32_t lane)
{
    for (int i = 0; i < QBLOCK / 4; i++)
        writes(to->q[i][lane], sizeof to->q[i][lane]);
    writes_floats(&to->d[lane], 1);
    writes_floats(&to->z[lane], 1);
    writes_floats(&to->t[lane], 1);
    writes(to->half[lane], sizeof to->half[lane]);
}

static void writes_lane_of_tile(struct acts_tile *to, uint32_t lane)
{
    writes(to->q[lane], sizeof to->q[lane]);
    writes_floats(&to->d[lane], 1);
    writes_floats(&to->z[lane], 1);
    writes_floats(&to->t[lane], 1);
    writes(to->half[lane], sizeof to->half[lane]);
}

static void writes_codes(const struct acts *a, uint32_t r, uint32_t b)
{
    if (a->tile) {
        writes_lane_of_tile(acts_tile_of(a, r, b), r % ACTS_TILE);
    } else {
        writes_lane(acts_block_of(a, r, b), r % ACTS_ROWS);
        for (enum acts_offset i = 0; i < N_OFFSET; i++)
            for (uint32_t run = 0; a->excess[i] && run < acts_excess_runs(i); run++)
                writes(acts_excess_of(a, i, r, b) + run, sizeof(struct acts_excess));
    }
}

static void quantise(struct acts *a, uint32_t first, uint32_t last)
{
    reads_floats(a->f + (size_t)first * a->k, (size_t)(last - first) * a->k);
    for (uint32_t r = first; r < last; r++)
        for (uint32_t b = 0; b < a->k / QBLOCK; b++)
            writes_codes(a, r, b);
    real()->quantise(a, first, last);
}

static void reads_acts(const struct acts *x, bool quantised)
{
    for (uint32_t r = 0; r < x->n_row; r++) {
        if (!quantised)
            reads_floats(x->f + (size_t)r * x->k, 1);
        for (uint32_t b = 0; quantised && b < x->k / QBLOCK; b++)
            reads(x->tile ? acts_tile_of(x, r, b)->q[r % ACTS_TILE]
                          : acts_block_of(x, r, b)->q[0][r % ACTS_ROWS],
                  4);
    }
}

static void matmul(const struct packed *w, uint32_t first, uint32_t last, const struct acts *x,
                   float *y, size_t y_stride, void *scratch)
{
    const size_t from = (size_t)first * PANEL;
    const size_t to = (size_t)last * PANEL < w->n ? (size_t)last * PANEL : w->n;
    for (size_t p = first; p < last; p++)
        reads(w->data + p * w->panel_bytes, sizeof(uint64_t));
    reads_acts(x, dtype_info(w->type)->block_elems > 1);
    for (size_t r = 0; r < x->n_row; r++)
        writes_floats(y + r * y_stride + from, to - from);
    writes(scratch, sizeof(uint64_t));
    real()->matmul(w, first, last, x, y, y_stride, scratch);
}

/* ---- attention.h ---- */

static size_t element_bytes(enum kv_type type)
{
    return type == KV_F32 ? 4 : type == KV_F16 ? 2 : 1;
}

static void writes_state(struct attn_state s, size_t n_query, uint32_t d)
{
    writes_floats(s.m, n_query);
    writes_floats(s.l, n_query);
    writes_floats(s.o, n_query * d);
}

static void reads_state(struct attn_state s, size_t n_query, uint32_t d)
{
    reads_floats(s.m, n_query);
    reads_floats(s.l, n_query);
    reads_floats(s.o, n_query * d);
}

/* A block's rows, by the first element of each. */
static void reads_rows(enum kv_type type, const char *k, const char *v, uint32_t d_v)
{
    const size_t bytes = element_bytes(type);
    reads(k, KV_BLOCK * bytes);
    for (size_t i = 0; i < KV_BLOCK; i++)
        reads(v + i * d_v * bytes, bytes);
}

static void attn_partial(const struct attn_run *run, struct attn_state out, void *scratch)
{
    for (uint32_t i = 0; i < run->n_query; i++)
        reads_floats(run->q + i * run->q_stride, run->d_k);
    for (size_t b = run->first; b < run->last; b++) {
        if (run->table)
            reads_rows(run->type, run->table[b] + run->k_offset, run->table[b] + run->v_offset,
                       run->d_v);
        else
            reads_rows(run->type, run->k + b * run->stride, run->v + b * run->stride, run->d_v);
    }
    for (size_t i = 0; run->keep && i < run->n_query && run->first < run->last; i++)
        writes_floats(run->keep + i * run->keep_stride +
                          (size_t)(run->first - run->keep_first) * KV_BLOCK,
                      (size_t)(run->last - run->first) * KV_BLOCK);
    writes_state(out, run->n_query, run->d_v);
    writes(scratch, sizeof(uint64_t));
    real()->attn_partial(run, out, scratch);
}

static void attn_merge(struct attn_state total, struct attn_state part, uint32_t n_query,
                       uint32_t d_v)
{
    writes_state(total, n_query, d_v);
    reads_state(part, n_query, d_v);
    real()->attn_merge(total, part, n_query, d_v);
}

static void attn_finish(float *out, size_t out_stride, struct attn_state total, uint32_t n_query,
                        uint32_t d_v)
{
    reads_state(total, n_query, d_v);
    for (size_t i = 0; i < n_query; i++)
        writes_floats(out + i * out_stride, d_v);
    real()->attn_finish(out, out_stride, total, n_query, d_v);
}

static void attn_scores(const struct attn_run *run, uint32_t block, float *out, void *scratch)
{
    const char *k =
        run->table ? run->table[block] + run->k_offset : run->k + (size_t)block * run->stride;
    for (uint32_t i = 0; i < run->n_query; i++)
        reads_floats(run->q + i * run->q_stride, run->d_k);
    reads(k, KV_BLOCK * element_bytes(run->type));
    writes_floats(out, (size_t)run->n_query * KV_BLOCK);
    writes(scratch, sizeof(uint64_t));
    real()->attn_scores(run, block, out, scratch);
}

static void attn_mass(const struct attn_run *run, uint32_t block, const float *s, size_t s_stride,
                      struct attn_state final, bool peak, uint64_t mass[KV_BLOCK])
{
    for (uint32_t i = 0; i < run->n_query; i++)
        reads_floats(s + i * s_stride, KV_BLOCK);
    reads_floats(final.m, run->n_query);
    reads_floats(final.l, run->n_query);
    writes(mass, KV_BLOCK * sizeof *mass);
    real()->attn_mass(run, block, s, s_stride, final, peak, mass);
}

static uint64_t low_rows(const uint64_t mass[KV_BLOCK], uint64_t bound,
                         const uint32_t position[KV_BLOCK], uint32_t first, uint32_t n)
{
    reads(mass, KV_BLOCK * sizeof *mass);
    reads(position, KV_BLOCK * sizeof *position);
    return real()->low_rows(mass, bound, position, first, n);
}

/* One row of a part: elements first, first + step .., and its scale (kv_rows.h). Its neighbours may be another
 * thread's. */
static void writes_row(enum kv_type type, char *part, uint32_t row, uint32_t d, size_t first,
                       size_t step)
{
    const size_t bytes = element_bytes(type);
    for (uint32_t j = 0; j < d; j++)
        writes(part + (first + j * step) * bytes, bytes);
    if (type == KV_INT8)
        writes_floats((float *)(void *)(part + (size_t)KV_BLOCK * d) + row, 1);
}

static void store_k(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d)
{
    reads_floats(x, d);
    writes_row(type, part, row, d, row, KV_BLOCK);
    real()->store_k(type, part, row, x, d);
}

static void store_v(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d)
{
    reads_floats(x, d);
    writes_row(type, part, row, d, (size_t)row * d, 1);
    real()->store_v(type, part, row, x, d);
}

/* ---- rows.h ---- */

static void rms_norm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    reads_floats(x, n);
    reads_floats(w, n);
    writes_floats(y, n);
    real()->rms_norm(y, x, w, n, eps);
}

static void rope(float *x, const float *cs, uint32_t n_rot, int halves)
{
    reads_floats(cs, n_rot);
    writes_floats(x, n_rot);
    real()->rope(x, cs, n_rot, halves);
}

static void add(float *y, const float *x, uint32_t n)
{
    reads_floats(x, n);
    writes_floats(y, n);
    real()->add(y, x, n);
}

static void scale(float *y, float s, uint32_t n)
{
    writes_floats(y, n);
    real()->scale(y, s, n);
}

static void silu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    reads_floats(gate, n);
    reads_floats(up, n);
    writes_floats(y, n);
    real()->silu_gate(y, gate, up, n);
}

static void gelu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    reads_floats(gate, n);
    reads_floats(up, n);
    writes_floats(y, n);
    real()->gelu_gate(y, gate, up, n);
}

static void softcap(float *y, float cap, uint32_t n)
{
    writes_floats(y, n);
    real()->softcap(y, cap, n);
}

static void softmax(float *y, uint32_t n)
{
    writes_floats(y, n);
    real()->softmax(y, n);
}

static void load_k(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d)
{
    writes_floats(x, d);
    real()->load_k(type, part, row, x, d);
}

static void load_v(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d)
{
    writes_floats(x, d);
    real()->load_v(type, part, row, x, d);
}

static void softmax_stats(const float *x, uint32_t n, float *largest, float *sum)
{
    reads_floats(x, n);
    writes_floats(largest, 1);
    writes_floats(sum, 1);
    real()->softmax_stats(x, n, largest, sum);
}

static void moments(float *sum, float *outer, const float *x, size_t stride, uint32_t n, uint32_t d)
{
    for (uint32_t i = 0; i < n; i++)
        reads_floats(x + i * stride, d);
    writes_floats(sum, d);
    writes_floats(outer, (size_t)d * d);
    real()->moments(sum, outer, x, stride, n, d);
}

static void squares(float *sum, const float *x, uint32_t n, uint32_t d)
{
    reads_floats(x, (size_t)n * d);
    writes_floats(sum, d);
    real()->squares(sum, x, n, d);
}

static void deflate(double *row, const double *l, uint32_t n, uint32_t at, uint32_t d)
{
    reads(l, (size_t)n * d * sizeof *l);
    writes(row, d * sizeof *row);
    real()->deflate(row, l, n, at, d);
}

/* Of a key its first four codes and its scale. */
static void scan(const struct scan_query *q, uint32_t n, uint32_t d, const void *part,
                 uint32_t n_part, float *out, size_t stride)
{
    const char *at = part;
    for (uint32_t i = 0; i < n; i++)
        reads(&q[i], sizeof q[i]);
    for (uint32_t p = 0; p < n_part; p++, at += scan_part_bytes(d)) {
        reads(at, SCAN_KEYS * sizeof(int32_t));
        reads(at + (size_t)SCAN_KEYS * d / 2, SCAN_KEYS * sizeof(float));
    }
    for (uint32_t i = 0; i < n; i++)
        writes_floats(out + i * stride, (size_t)n_part * SCAN_KEYS);
    real()->scan(q, n, d, part, n_part, out, stride);
}

static void scan_mass(float *x, uint32_t n, const uint32_t *first, uint32_t n_run, uint32_t base,
                      float *out, float *largest, float *sum)
{
    reads(first, n_run * sizeof *first);
    reads_floats(x, n);
    writes_floats(x, n);
    writes_floats(out, n_run);
    writes_floats(largest, 1);
    writes_floats(sum, 1);
    real()->scan_mass(x, n, first, n_run, base, out, largest, sum);
}

/* ---- the table ---- */

/* How activations lie is the table's to say, and nothing else. */
#define WATCHED_TABLE(raised, tiles, excess)                                                       \
    {                                                                                              \
        .name = "watched", .raised_from = raised, .tiles_from = tiles, .reads_excess = excess,     \
        .quantise = quantise, .matmul = matmul, .attn_partial = attn_partial,                      \
        .attn_merge = attn_merge, .attn_finish = attn_finish, .attn_scores = attn_scores,          \
        .attn_mass = attn_mass, .low_rows = low_rows, .store_k = store_k, .store_v = store_v,      \
        .load_k = load_k, .load_v = load_v, .rms_norm = rms_norm, .rope = rope, .add = add,        \
        .scale = scale, .silu_gate = silu_gate, .gelu_gate = gelu_gate, .softcap = softcap,        \
        .softmax = softmax, .softmax_stats = softmax_stats, .moments = moments,                    \
        .squares = squares, .deflate = deflate, .scan = scan, .scan_mass = scan_mass,              \
    }

static bool lies_as(const struct kernels *a, const struct kernels *b)
{
    return a->raised_from == b->raised_from && a->tiles_from == b->tiles_from &&
           a->reads_excess == b->reads_excess;
}

/* What a pass calls. */
const struct kernels *kernels_watched(const struct kernels *of)
{
    static const struct kernels tables[] = {
        WATCHED_TABLE(UINT32_MAX, UINT32_MAX, false),         // ref
        WATCHED_TABLE(UINT32_MAX, UINT32_MAX, true),          // avx2
        WATCHED_TABLE(AVX512_RAISED_FROM, UINT32_MAX, false), // avx512
        WATCHED_TABLE(AVX512_RAISED_FROM, ACTS_TILE, false),  // amx
    };
    size_t i = 0;
    while (i < sizeof tables / sizeof *tables && !lies_as(&tables[i], of))
        i++;
    assert(i < sizeof tables / sizeof *tables);
    atomic_store_explicit(&watched, of, memory_order_release);
    return &tables[i];
}

#endif
