/* kernels/matmul.h - y = W x for weights as model files store them: the packed layout and the one contract.
 *
 *   file rows  --pack-->  panels of 16 outputs, k in steps of a block:  lane = output
 *   x [row][k] --quantise--> q int8, d, z a block of 32; t = d * sum(q)
 *
 * The contract (docs/NUMERICS.md). For weights in float types, one chain over k in order:
 *
 *     y = 0;  for k:  y = fma(x[k], w[k], y)                        w widened to f32 exactly
 *
 * For quantised types, one chain over blocks b of 32 in order, x standing for d q + z:
 *
 *     y = 0;  for b:  y = fma((float)I_b * d_b, ws_b, y)            I_b  exact integer, |I_b| < 2^24
 *                     y = fma(tj_b, wm_b, y)                        types with minima only
 *                     y = fma(z_b, W_b, y)                          W_b  the block's weights added up:
 *                          W_b = (float)I1_b * ws_b                      without minima
 *                          W_b = fma((float)J1_b, wm_b, (float)I1_b * ws_b)   with them
 *
 *   where I1 and J1 are I and J for q = 1 everywhere, tj_b = (float)J_b * d_b, and
 *
 *     type     I_b                                        ws_b (f32)          J_b                     wm_b
 *     Q8_0     sum w q                                    d                   -
 *     Q4_0     sum (n - 8) q                              d                   -
 *     Q5_0     sum (n - 16) q                             d                   -
 *     Q4_1     sum n q                                    d                   sum q                   m
 *     Q5_1     sum n q                                    d                   sum q                   m
 *     Q4_K     sum n q                                    d * sc (exact)      sum q                   -(dmin * mn) (exact)
 *     Q5_K     sum n q                                    d * sc (exact)      sum q                   -(dmin * mn) (exact)
 *     Q6_K     sc0 sum_lo (n - 32) q + sc1 sum_hi ...     d                   -
 *     Q3_K     (sc0 - 32) sum_lo (n - 4) q + ... _hi      d                   -
 *     Q2_K     sc0 sum_lo n q + sc1 sum_hi n q            d                   mn0 sum_lo q + mn1 sum_hi q    -dmin
 *     IQ4_NL   sum c[n] q                                 d                   -
 *     IQ4_XS   sum c[n] q                                 d * (sc - 32) (exact)   -
 *   (n: the stored code; c: the 16-entry code book; lo, hi: the two halves of 16 of a block)
 *
 * Quantising a block of x: hi = max, lo = min, z = (hi + lo) * 0.5, d = (hi - lo) * (1/254 as f32),
 *     inv = hi > lo ? 254 / (hi - lo) : 0;  q = clamp(rint((x - z) * inv), -127, 127), ties to even.
 * Why a midpoint: outliers of a block are one-sided, so the step halves; mean KL to a double-precision
 * reference falls 2.1-2.6 times against symmetric int8, for one FMA a block (docs/NUMERICS.md).
 *
 * Lanes are outputs, so every vector width gives the same bits; rows of x are independent, so every batch does;
 * threads split panels, never k. */
#ifndef KERNELS_MATMUL_H
#define KERNELS_MATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

enum { PANEL = 16, QBLOCK = 32 };

static inline bool is_quantised(enum dtype type)
{
    return type != DT_F32 && type != DT_F16 && type != DT_BF16;
}

/* Weights [n][k], packed. The order of bytes inside a panel is private to kernels/. */
struct packed {
    enum dtype type;
    uint32_t n, k;
    uint32_t n_panel;    // n / 16 rounded up; outputs behind n are zeros
    size_t panel_bytes;  // a multiple of 64; at most 63 more than 16 rows of the file
    const uint8_t *data; // [n_panel][panel_bytes], 64-byte aligned
};

/* Whether a tensor of this shape can be packed: k a multiple of the type's block. */
bool packed_shape(struct packed *out, enum dtype type, uint32_t n, uint32_t k);

/* Packs panels [first, last) from file rows (row r at rows + r * dtype_bytes(k), unaligned) into dst
 * [n_panel][panel_bytes]. Plain C, any thread; about as fast as memory. */
void packed_fill(const struct packed *shape, const void *rows, uint8_t *dst, uint32_t first,
                 uint32_t last);

/* One file row [k] as f32: embeddings, and the tests' idea of what a weight is. */
void dequant_row(enum dtype type, const void *row, uint32_t k, float *out);

/* 32 k of two neighbouring rows, in the order in which a tile reads them. */
enum { ACTS_ROWS = 2 };
struct acts_block {
    int8_t q[QBLOCK / 4][ACTS_ROWS][4]; // four k of one row, of the other, the next four ..
    float d[ACTS_ROWS], z[ACTS_ROWS];
    float t[ACTS_ROWS];         // d * (float)(sum of q)
    int16_t half[ACTS_ROWS][2]; // sums of q over halves of the block
};

/* Offsets by which codes are stored too large (avx2/matmul_block.h), and for each the offset times what a row's q are over
 * the first two of each four k, and over the last two. Offsets 4 and 32 are those of types with scales of halves: they have
 * it for each half of a block, two runs, the others for all of it. Apart from the block and from each other, as a type
 * reads one of them: others' rates fell by 3 % when their blocks were longer for it (Zen 3). */
enum acts_offset { OFFSET_8, OFFSET_16, OFFSET_4, OFFSET_32, N_OFFSET, NO_OFFSET = N_OFFSET };
static const struct {
    int by;
    uint32_t runs;
} acts_offsets[N_OFFSET + 1] = {
    [OFFSET_8] = { 8, 1 },   [OFFSET_16] = { 16, 1 }, [OFFSET_4] = { 4, 2 },
    [OFFSET_32] = { 32, 2 }, [NO_OFFSET] = { 0, 0 },
};

struct acts_excess {
    int16_t of[2];
};

static inline uint32_t acts_excess_runs(enum acts_offset i)
{
    return acts_offsets[i].runs;
}

/* 32 k of 16 neighbouring rows, for batches: q row by row, or, raised, q + 128 without a sign, which is q with its
 * upper bit turned. */
enum { ACTS_TILE = 16 };
struct acts_tile {
    int8_t q[ACTS_TILE][QBLOCK];
    float d[ACTS_TILE], z[ACTS_TILE], t[ACTS_TILE];
    int16_t half[ACTS_TILE][2];
};

/* A batch of rows x [n_row][k]. f is always there; the rest is filled by quantise when the weights need it: tiles, or
 * blocks of two rows. */
enum acts_form { ACTS_BLOCKS, ACTS_TILES, ACTS_RAISED_TILES };
struct acts {
    uint32_t n_row, k;
    uint32_t stride; // blocks from some rows to the next: k / 32, or that of what this is a part of
    bool raised;     // tiles hold q + 128, unsigned
    const float *f;  // [n_row][k]
    struct acts_tile *tile;   // [n_row / 16 rounded up][stride]; NULL: there are blocks instead
    struct acts_block *block; // [n_row / 2 rounded up][stride]
    struct acts_excess
        *excess[N_OFFSET]; // as block, each [ACTS_ROWS][runs]; NULL: no weights need it
};

static inline struct acts_tile *acts_tile_of(const struct acts *a, uint32_t row, uint32_t b)
{
    return a->tile + (size_t)(row / ACTS_TILE) * a->stride + b;
}

/* Block b of a row, which is lane row % ACTS_ROWS of it. */
static inline struct acts_block *acts_block_of(const struct acts *a, uint32_t row, uint32_t b)
{
    return a->block + (size_t)(row / ACTS_ROWS) * a->stride + b;
}

/* Of the row's first run of block b. */
static inline struct acts_excess *acts_excess_of(const struct acts *a, enum acts_offset i,
                                                 uint32_t row, uint32_t b)
{
    const size_t block = (size_t)(row / ACTS_ROWS) * a->stride + b;
    return a->excess[i] + (block * ACTS_ROWS + row % ACTS_ROWS) * acts_excess_runs(i);
}

/* Bytes that quantised rows take, up to n_row of them, and setting up a batch whose blocks, or tiles, lie in `memory`
 * (64-byte aligned); f stays. */
size_t acts_bytes(uint32_t n_row, uint32_t k);
void acts_place(struct acts *a, uint32_t n_row, uint32_t k, enum acts_form form, void *memory);

/* Bit i: weights of the type need excess[i]; and leaving out what is not among `offsets`. */
uint32_t acts_offsets_of(enum dtype type);
void acts_leave_out(struct acts *a, uint32_t offsets);

/* Rows [first, first + n) as a batch of their own, and block b of them, f being that of the block alone: [n][32]. `first`
 * is a multiple of ACTS_TILE. */
struct acts acts_slice(const struct acts *a, uint32_t first, uint32_t n);
struct acts acts_column(const struct acts *a, uint32_t first, uint32_t n, uint32_t b,
                        const float *f);

/* Quantises rows [first, last) of a->f. k a multiple of 32. */
typedef void kern_quantise(struct acts *a, uint32_t first, uint32_t last);

/* y[r * y_stride + o] for all rows r of x and all outputs o of panels [first, last); outputs o >= w->n are not written.
 * x lies as kernels_form (kernels.h) says of the batch that it is, or is a slice of.
 * `scratch` is the caller's, at least matmul_scratch_bytes(w) bytes, 64-byte aligned, one a thread. */
typedef void kern_matmul(const struct packed *w, uint32_t first, uint32_t last,
                         const struct acts *x, float *y, size_t y_stride, void *scratch);

size_t matmul_scratch_bytes(const struct packed *w);

#endif
