/* Matmul of quantised weights with 16 rows or more: integer sums by tiles, the rest as avx512/ has it.
 *
 *   a range of two panels, unpacked into scratch (L1), and 16 rows at a time over it:
 *
 *     products    zero, load x and w, multiply, store 16 x 16 sums, for every block of both panels      tiles
 *     terms       sums -> floats, scales, minima, fma onto y, for one panel after the other             vectors
 *
 * A block's code dwords are what a tile of weights is, 8 rows of 16 outputs; a block is a product of its own, as its
 * scales are. Products and terms take turns by the range and not by the block: for some 100 cycles behind any tile
 * instruction the processor issues one vector instruction a cycle instead of two (Granite Rapids: 80 of them 13 ns
 * alone, 23 beside a single tilezero; a block with turns by the block 27 ns, by eight blocks 22). Codes are signed here,
 * so nothing comes off their sums. Types with scales for halves of 16 k take two products a block. Fewer rows leave
 * tiles idle: they, and float types, go to avx512. */
#include "kernels/amx/fns.h"
#include "kernels/amx/tiles.h"
#include "kernels/avx512/matmul_fns.h"
#include "kernels/avx512/matmul_tile.h"

/* A range: so many blocks of a panel, or half as many that take two products. */
enum { PHASE = 8, HALF = QBLOCK / 2 };

typedef int32_t product[ACTS_TILE][PANEL];

/* What a range is worked on in. */
struct phase {
    struct unpacked w[TILE_PANELS][PHASE];
    product sums[TILE_PANELS][PHASE];
};
_Static_assert(sizeof(struct phase) <= MATMUL_SCRATCH, "one call's scratch");

/* Tiles by number: a sum and weights of each panel; of a whole block, of a half. */
#define SUM_0 0
#define SUM_1 1
#define ROWS 2
#define WEIGHTS_0 3
#define WEIGHTS_1 4
#define ROWS_HALF 5
#define WEIGHTS_HALF_0 6
#define WEIGHTS_HALF_1 7

static const struct tile_shapes shapes = {
    .palette = 1,
    .row_bytes = { [SUM_0] = 64,
                   [SUM_1] = 64,
                   [ROWS] = QBLOCK,
                   [WEIGHTS_0] = 64,
                   [WEIGHTS_1] = 64,
                   [ROWS_HALF] = HALF,
                   [WEIGHTS_HALF_0] = 64,
                   [WEIGHTS_HALF_1] = 64 },
    .n_row = { [SUM_0] = ACTS_TILE,
               [SUM_1] = ACTS_TILE,
               [ROWS] = ACTS_TILE,
               [WEIGHTS_0] = QBLOCK / 4,
               [WEIGHTS_1] = QBLOCK / 4,
               [ROWS_HALF] = ACTS_TILE,
               [WEIGHTS_HALF_0] = HALF / 4,
               [WEIGHTS_HALF_1] = HALF / 4 },
};

/* Types that have tiles: NULL for floats. */
static const struct quantised *const types[DT_LIMIT] = {
    [DT_Q4_0] = &avx512_q4_0, [DT_Q4_1] = &avx512_q4_1,     [DT_Q5_0] = &avx512_q5_0,
    [DT_Q5_1] = &avx512_q5_1, [DT_Q8_0] = &avx512_q8_0,     [DT_Q2_K] = &avx512_q2_k,
    [DT_Q3_K] = &avx512_q3_k, [DT_Q4_K] = &avx512_q4_k,     [DT_Q5_K] = &avx512_q5_k,
    [DT_Q6_K] = &avx512_q6_k, [DT_IQ4_NL] = &avx512_iq4_nl, [DT_IQ4_XS] = &avx512_iq4_xs,
};

/* Blocks [b0, b1) of a panel, their codes as they are meant. */
static void unpack_signed(const struct quantised *type, struct unpacked *w, const uint8_t *panel,
                          uint32_t b0, uint32_t b1)
{
    const __m512i offset = _mm512_set1_epi8((char)type->kind.offset);
    type->unpack_blocks(w, panel, b0, b1);
    for (uint32_t b = 0; type->kind.offset && b < b1 - b0; b++)
        for (int g = 0; g < 8; g++)
            w[b].code[g] = _mm512_sub_epi8(w[b].code[g], offset);
}

/* Blocks [first, last) of up to two panels from the p-th on: unpacked, multiplied. Meanwhile as many blocks at `ahead` are
 * fetched, unless it is NULL: of each a third while it is unpacked, multiplied and added up, as few requests can be in
 * flight (16 rows of a matrix in memory: 84 ns a block when unpacking asked for them, 51 so). */
struct range_16 {
    struct phase *phase;
    const struct matmul_call *call;
    uint32_t p, first, last;
    const uint8_t *ahead[TILE_PANELS];
    size_t block_bytes;
};

enum third { UNPACKING, MULTIPLYING, ADDING };

always_inline void fetch_ahead(const struct range_16 *range, int j, uint32_t b, enum third third)
{
    const size_t lines = (range->block_bytes + 63) / 64;
    if (!range->ahead[j])
        return;
    const uint8_t *at = range->ahead[j] + b * range->block_bytes;
    for (size_t i = lines * third / 3; i < lines * (third + 1) / 3; i++)
        prefetch_line(at + 64 * i);
}

/* One tile of rows and the first dword of codes of each panel. */
#define MULTIPLY(n_panel, rows, weights_0, weights_1, x, w, b, g, part)                            \
    do {                                                                                           \
        tile_zero(SUM_0);                                                                          \
        tile_load(rows, x, QBLOCK);                                                                \
        tile_load(weights_0, (w)->w[0][b].code + (g), 64);                                         \
        tile_multiply(SUM_0, rows, weights_0);                                                     \
        if ((n_panel) == 2) {                                                                      \
            tile_zero(SUM_1);                                                                      \
            tile_load(weights_1, (w)->w[1][b].code + (g), 64);                                     \
            tile_multiply(SUM_1, rows, weights_1);                                                 \
        }                                                                                          \
        tile_store(SUM_0, (w)->sums[0][part], 64);                                                 \
        if ((n_panel) == 2)                                                                        \
            tile_store(SUM_1, (w)->sums[1][part], 64);                                             \
    } while (0)

/* The tiles' half: all products of a range, or of halves two for each block. */
always_inline void products(struct kind kind, int n_panel, const struct range_16 *range,
                            const struct acts_tile *x)
{
    struct phase *w = range->phase;
    for (uint32_t b = 0; b < range->last - range->first; b++) {
        for (int j = 0; j < n_panel; j++)
            fetch_ahead(range, j, b, MULTIPLYING);
        if (kind.halves) {
            MULTIPLY(n_panel, ROWS_HALF, WEIGHTS_HALF_0, WEIGHTS_HALF_1, x[b].q[0], w, b, 0, 2 * b);
            MULTIPLY(n_panel, ROWS_HALF, WEIGHTS_HALF_0, WEIGHTS_HALF_1, x[b].q[0] + HALF, w, b, 4,
                     2 * b + 1);
        } else {
            MULTIPLY(n_panel, ROWS, WEIGHTS_0, WEIGHTS_1, x[b].q[0], w, b, 0, b);
        }
    }
}

/* I_b of one row as a float. */
always_inline __m512 sum_of_row(struct kind kind, const struct unpacked *w, const product *sums,
                                int row)
{
    __m512 I = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums[0][row]));
    if (kind.halves) {
        I = _mm512_fmadd_ps(I, w->scale[0], _mm512_setzero_ps());
        I = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums[1][row])), w->scale[1], I);
    }
    return I;
}

/* One block's terms of one row onto y: as add_terms of avx512. */
always_inline __m512 add_row(struct kind kind, const struct unpacked *w, const struct acts_tile *a,
                             int row, __m512 I, __m512 y)
{
    const __m512 d = _mm512_set1_ps(a->d[row]);
    y = _mm512_fmadd_ps(_mm512_mul_ps(I, d), w->ws, y);
    if (kind.minima == ONE_MINIMUM)
        y = _mm512_fmadd_ps(_mm512_set1_ps(a->t[row]), w->wm, y);
    if (kind.minima == MINIMA_OF_HALVES) {
        __m512 J = _mm512_cvtepi32_ps(_mm512_madd_epi16(broadcast_4(a->half[row]), w->mins));
        y = _mm512_fmadd_ps(_mm512_mul_ps(J, d), w->wm, y);
    }
    return _mm512_fmadd_ps(_mm512_set1_ps(a->z[row]), w->W, y);
}

/* Rows of one tile at the range's first block, and the next tile's, which come nearer meanwhile. */
struct rows_16 {
    int n;
    const struct acts_tile *x, *next;
    float *y; // of the range's first panel
};

/* The vectors' half: n_row of 16 rows and panel j of the range, y in registers. */
always_inline void terms(struct kind kind, int n_row, const struct range_16 *range,
                         struct rows_16 rows, int j)
{
    const struct unpacked *w = range->phase->w[j];
    const product *sums = range->phase->sums[j];
    const uint32_t n = range->call->w->n - (range->p + (uint32_t)j) * PANEL;
    const size_t y_stride = range->call->y_stride;
    float *y = rows.y + (size_t)j * PANEL;
    __m512 sum[ACTS_TILE];
    UNROLL(16)
    for (int r = 0; r < ACTS_TILE; r++)
        sum[r] = range->first == 0 || r >= n_row ? _mm512_setzero_ps()
                                                 : load_row(y + (size_t)r * y_stride, n);
    for (uint32_t b = 0; b < range->last - range->first; b++, sums += kind.halves ? 2 : 1) {
        for (size_t at = 0; at < sizeof rows.next->q; at += 64)
            _mm_prefetch((const char *)rows.next[b].q + at, _MM_HINT_T0);
        fetch_ahead(range, j, b, ADDING);
        UNROLL(16)
        for (int r = 0; r < ACTS_TILE; r++)
            sum[r] = add_row(kind, w + b, rows.x + b, r, sum_of_row(kind, w + b, sums, r), sum[r]);
    }
    UNROLL(16)
    for (int r = 0; r < ACTS_TILE; r++)
        if (r < n_row)
            store_row(y + (size_t)r * y_stride, sum[r], n);
}

/* Lines of y arrive while the tiles work: they were last used a whole matrix ago (30 -> 26 ns a block). */
always_inline void prefetch_outputs(const struct rows_16 *rows, size_t y_stride, int n_panel)
{
    for (int r = 0; r < rows->n; r++)
        for (int j = 0; j < n_panel; j++)
            __builtin_prefetch(rows->y + (size_t)r * y_stride + (size_t)j * PANEL, 1);
}

static struct rows_16 rows_16_at(const struct range_16 *range, uint32_t row)
{
    const struct matmul_call *c = range->call;
    const uint32_t left = c->x->n_row - row;
    const struct acts_tile *x = acts_tile_of(c->x, row, range->first);
    return (struct rows_16){
        .n = left < ACTS_TILE ? (int)left : ACTS_TILE,
        .x = x,
        .next = left > ACTS_TILE ? acts_tile_of(c->x, row + ACTS_TILE, range->first) : x,
        .y = c->y + row * c->y_stride + (size_t)range->p * PANEL,
    };
}

/* One unpacked range of n_panel panels, and all rows. */
always_inline void all_rows(struct kind kind, int n_panel, struct range_16 range)
{
    const struct matmul_call *c = range.call;
    for (uint32_t row = 0; row < c->x->n_row; row += ACTS_TILE) {
        const struct rows_16 rows = rows_16_at(&range, row);
        prefetch_outputs(&rows, c->y_stride, n_panel);
        products(kind, n_panel, &range, rows.x);
        for (int j = 0; j < n_panel; j++) {
            if (rows.n == ACTS_TILE)
                terms(kind, ACTS_TILE, &range, rows, j);
            else
                terms(kind, rows.n, &range, rows, j);
            range.ahead[j] = NULL;
        }
    }
}

typedef void range_fn(int n_panel, const struct range_16 *range);

/* What folds away is how sums and minima are made. */
#define RANGE_OF(name, ...)                                                                        \
    static void range_of_##name(int n_panel, const struct range_16 *range)                         \
    {                                                                                              \
        const struct kind kind = { __VA_ARGS__ };                                                  \
        if (n_panel == TILE_PANELS)                                                                \
            all_rows(kind, TILE_PANELS, *range);                                                   \
        else                                                                                       \
            all_rows(kind, 1, *range);                                                             \
    }

RANGE_OF(blocks, .minima = NO_MINIMA)
RANGE_OF(blocks_minima, .minima = ONE_MINIMUM)
RANGE_OF(halves, .halves = true)
RANGE_OF(halves_minima, .halves = true, .minima = MINIMA_OF_HALVES)

static range_fn *range_of(struct kind kind)
{
    if (kind.halves)
        return kind.minima == MINIMA_OF_HALVES ? range_of_halves_minima : range_of_halves;
    return kind.minima == ONE_MINIMUM ? range_of_blocks_minima : range_of_blocks;
}

/* Panel j of the range. */
static void unpack_panel(const struct quantised *type, const struct range_16 *range, int j)
{
    const struct packed *w = range->call->w;
    for (uint32_t b = 0; b < range->last - range->first; b++)
        fetch_ahead(range, j, b, UNPACKING);
    unpack_signed(type, range->phase->w[j], w->data + (range->p + (uint32_t)j) * w->panel_bytes,
                  range->first, range->last);
}

/* Ranges are equally long, at most PHASE products. Two panels share their rows, but for one tile of rows, as one panel
 * after the other is read as it lies. */
static void matmul_by_tiles(const struct quantised *type, const struct matmul_call *c)
{
    range_fn *fn = range_of(type->kind);
    const uint32_t most = type->kind.halves ? PHASE / 2 : PHASE;
    const uint32_t n_block = c->x->k / QBLOCK, n_range = (n_block + most - 1) / most;
    for (uint32_t p = c->first, step; p < c->last; p += step) {
        step = c->x->n_row > ACTS_TILE && p + TILE_PANELS <= c->last ? TILE_PANELS : 1;
        for (uint32_t i = 0; i < n_range; i++) {
            struct range_16 range = { .phase = c->scratch,
                                      .call = c,
                                      .p = p,
                                      .first = n_block * i / n_range,
                                      .last = n_block * (i + 1) / n_range,
                                      .block_bytes = type->kind.block_bytes };
            aim_ahead(range.ahead, c->w, range.block_bytes, p, step, range.last);
            for (uint32_t j = 0; j < step; j++)
                unpack_panel(type, &range, (int)j);
            fn((int)step, &range);
        }
    }
}

void amx_matmul(const struct packed *w, uint32_t first, uint32_t last, const struct acts *x,
                float *y, size_t y_stride, void *scratch)
{
    const struct quantised *type = types[w->type];
    if (!type || !x->tile) {
        avx512_matmul(w, first, last, x, y, y_stride, scratch);
        return;
    }
    tiles_begin(&shapes);
    matmul_by_tiles(type, &(struct matmul_call){ w, first, last, x, y, y_stride, scratch });
    tiles_end();
}
