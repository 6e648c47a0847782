/* Matmul of quantised weights with 16 rows or more: integer sums by tiles, the rest as avx512/ has it.
 *
 *   a range of two panels, unpacked into scratch (L1), and 16 rows at a time over it:
 *
 *     products    zero, load x and w, multiply, store 16 x 16 sums, for every block of both panels      tiles
 *     terms       sums -> floats, scales, minima, fma onto y, for one panel after the other             vectors
 *
 * A block's code dwords are what a tile of weights is, 8 rows of 16 outputs; a block is a product of its own, as its
 * scales are. Codes are signed here, so nothing comes off their sums. Scales of halves of 16 k go into the codes: I is
 * the same integer. Where these take more than a byte there are two products, of their lower and of their upper byte.
 *
 * Products and terms take turns by the range and not by the block: for some 100 cycles behind any tile instruction the
 * processor issues one vector instruction a cycle instead of two (Granite Rapids: 80 of them 13 ns alone, 23 beside a
 * single tilezero; a block with turns by the block 27 ns, by eight blocks 22). Fewer rows leave tiles idle: they, and
 * float types, go to avx512. */
#include "kernels/amx/fns.h"
#include "kernels/amx/tiles.h"
#include "kernels/avx512/matmul_fns.h"
#include "kernels/avx512/matmul_tile.h"

/* A range: so many products of each of two panels, or twice as many of one. */
enum { PHASE = 8 };

typedef int32_t product[ACTS_TILE][PANEL];

/* What a range is worked on in. A product's codes and its sums have the same place. Of two products of a block the
 * first one's place has the floats, and the codes' lower bytes. */
struct phase {
    struct unpacked w[TILE_PANELS * PHASE];
    product sums[TILE_PANELS * PHASE];
};
_Static_assert(sizeof(struct phase) <= MATMUL_SCRATCH, "one call's scratch");

/* Tiles by number: sums of each panel of an even product and of an odd one, rows, weights of each panel. */
#define EVEN_0 0
#define EVEN_1 1
#define ODD_0 2
#define ODD_1 3
#define ROWS 4
#define WEIGHTS_0 5
#define WEIGHTS_1 6

static const struct tile_shapes shapes = {
    .palette = 1,
    .row_bytes = { [EVEN_0] = 64,
                   [EVEN_1] = 64,
                   [ODD_0] = 64,
                   [ODD_1] = 64,
                   [ROWS] = QBLOCK,
                   [WEIGHTS_0] = 64,
                   [WEIGHTS_1] = 64 },
    .n_row = { [EVEN_0] = ACTS_TILE,
               [EVEN_1] = ACTS_TILE,
               [ODD_0] = ACTS_TILE,
               [ODD_1] = ACTS_TILE,
               [ROWS] = ACTS_TILE,
               [WEIGHTS_0] = QBLOCK / 4,
               [WEIGHTS_1] = QBLOCK / 4 },
};

/* Blocks [first, last) of up to two panels from the p-th on: unpacked, multiplied. Meanwhile as many blocks at `ahead`
 * are fetched, unless it is NULL: of each a half while it is multiplied and added up, as few requests can be in flight
 * (16 rows of a matrix in memory: 84 ns a block when unpacking asked for them, 51 so). */
struct range_16 {
    struct phase *phase;
    const struct matmul_call *call;
    uint32_t p, first, last;
    const uint8_t *ahead[TILE_PANELS];
    size_t block_bytes;
};

enum turn { MULTIPLYING, ADDING };

always_inline void fetch_ahead(const struct range_16 *range, int j, uint32_t b, enum turn turn)
{
    const size_t lines = (range->block_bytes + 63) / 64, middle = lines / 2;
    if (!range->ahead[j])
        return;
    const uint8_t *at = range->ahead[j] + b * range->block_bytes;
    for (size_t i = turn == MULTIPLYING ? 0 : middle; i < (turn == MULTIPLYING ? middle : lines);
         i++)
        prefetch_line(at + 64 * i);
}

/* Rows of one tile at the range's first block, and the next tile's, which come nearer meanwhile. */
struct rows_16 {
    uint32_t n;
    const struct acts_tile *x, *next;
    float *y; // of the range's first panel
};

/* How sums become I: there are so many a block, and they may be -I. */
struct form {
    uint32_t n_product;
    bool negated;
    enum minima minima;
};

/* ---- products ---- */

/* Lines of y arrive while the tiles work: they were last used a whole matrix ago (30 -> 26 ns a block). Two rows a
 * product, as asking for all of them at once waited for room among requests (11 % of samples). */
always_inline void fetch_outputs(const struct rows_16 *rows, size_t y_stride, int n_panel,
                                 uint32_t i)
{
    const float *y = rows->y + 2 * i * y_stride;
    if (2 * i >= rows->n)
        return;
    for (int j = 0; j < n_panel; j++) {
        __builtin_prefetch(y + j * PANEL, 1);
        __builtin_prefetch(y + y_stride + j * PANEL, 1);
    }
}

/* A product of each panel. The rows are the block's. */
#define MULTIPLY(n_panel, sum_0, sum_1, w)                                                         \
    do {                                                                                           \
        tile_zero(sum_0);                                                                          \
        tile_load(WEIGHTS_0, (w)->code, 64);                                                       \
        tile_multiply(sum_0, ROWS, WEIGHTS_0);                                                     \
        if ((n_panel) == 2) {                                                                      \
            tile_zero(sum_1);                                                                      \
            tile_load(WEIGHTS_1, ((w) + PHASE)->code, 64);                                         \
            tile_multiply(sum_1, ROWS, WEIGHTS_1);                                                 \
        }                                                                                          \
    } while (0)

#define STORE(n_panel, sum_0, sum_1, to)                                                           \
    do {                                                                                           \
        tile_store(sum_0, *(to), 64);                                                              \
        if ((n_panel) == 2)                                                                        \
            tile_store(sum_1, *((to) + PHASE), 64);                                                \
    } while (0)

/* The tiles' half. A sum is stored when the product behind it is on its way (7.6 -> 5.8 ns a product). */
always_inline void products(struct form form, int n_panel, const struct range_16 *range,
                            const struct rows_16 *rows)
{
    const struct unpacked *w = range->phase->w;
    product *sums = range->phase->sums;
    const struct acts_tile *x = rows->x;
    const size_t y_stride = range->call->y_stride;
    const uint32_t n = (range->last - range->first) * form.n_product;
    for (uint32_t i = 0; i < n; i += 2, w += 2, sums += 2) {
        const uint32_t b = i / form.n_product;
        for (int j = 0; j < n_panel; j++)
            fetch_ahead(range, j, b, MULTIPLYING);
        fetch_outputs(rows, y_stride, n_panel, i);
        tile_load(ROWS, x++->q[0], QBLOCK);
        MULTIPLY(n_panel, EVEN_0, EVEN_1, w);
        if (i > 0)
            STORE(n_panel, ODD_0, ODD_1, sums - 1);
        if (i + 1 < n) {
            for (int j = 0; form.n_product == 1 && j < n_panel; j++)
                fetch_ahead(range, j, b + 1, MULTIPLYING);
            fetch_outputs(rows, y_stride, n_panel, i + 1);
            if (form.n_product == 1)
                tile_load(ROWS, x++->q[0], QBLOCK);
            MULTIPLY(n_panel, ODD_0, ODD_1, w + 1);
        }
        STORE(n_panel, EVEN_0, EVEN_1, sums);
    }
    if (n % 2 == 0)
        STORE(n_panel, ODD_0, ODD_1, sums - 1);
    for (uint32_t i = n; i < ACTS_TILE / 2; i++)
        fetch_outputs(rows, y_stride, n_panel, i);
}

/* ---- terms ---- */

/* I_b of one row as a float. */
always_inline __m512 sum_of_row(struct form form, const product *sums, int row)
{
    __m512i I = _mm512_loadu_si512(sums[0][row]);
    if (form.n_product == 2)
        I = _mm512_add_epi32(_mm512_slli_epi32(_mm512_loadu_si512(sums[1][row]), 8), I);
    if (form.negated)
        I = _mm512_sub_epi32(_mm512_setzero_si512(), I);
    return _mm512_cvtepi32_ps(I);
}

/* Panel j of the range onto 16 whole rows of y, which wait in registers. */
always_inline void add_blocks(struct form form, int n_panel, const struct range_16 *range,
                              const struct rows_16 *rows, int j, float *y, size_t y_stride)
{
    const struct unpacked *w = range->phase->w + j * PHASE;
    const product *sums = range->phase->sums + j * PHASE;
    const size_t lines = sizeof *rows->next / 64, share = lines / (size_t)n_panel;
    __m512 sum[ACTS_TILE];
    UNROLL(16)
    for (int r = 0; r < ACTS_TILE; r++)
        sum[r] =
            range->first == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(y + (size_t)r * y_stride);
    for (uint32_t b = 0; b < range->last - range->first; b++) {
        for (size_t i = 0; i < share; i++)
            _mm_prefetch((const char *)rows->next[b].q + 64 * (share * (size_t)j + i), _MM_HINT_T0);
        fetch_ahead(range, j, b, ADDING);
        UNROLL(16)
        for (int r = 0; r < ACTS_TILE; r++)
            sum[r] = add_terms(form.minima, w, row_terms_of(rows->x + b, (uint32_t)r),
                               sum_of_row(form, sums, r), sum[r]);
        w += form.n_product;
        sums += form.n_product;
    }
    UNROLL(16)
    for (int r = 0; r < ACTS_TILE; r++)
        _mm512_storeu_ps(y + (size_t)r * y_stride, sum[r]);
}

/* The vectors' half: panel j of the range. Where rows or outputs are fewer than 16, y is a copy. */
always_inline void terms(struct form form, int n_panel, const struct range_16 *range,
                         const struct rows_16 *rows, int j)
{
    const size_t y_stride = range->call->y_stride;
    const uint32_t n = range->call->w->n - (range->p + (uint32_t)j) * PANEL;
    float *y = rows->y + (size_t)j * PANEL;
    float copy[ACTS_TILE][PANEL];
    if (rows->n == ACTS_TILE && n >= PANEL) {
        add_blocks(form, n_panel, range, rows, j, y, y_stride);
        return;
    }
    for (uint32_t r = 0; r < ACTS_TILE; r++)
        _mm512_storeu_ps(copy[r], range->first > 0 && r < rows->n ? load_row(y + r * y_stride, n)
                                                                  : _mm512_setzero_ps());
    add_blocks(form, n_panel, range, rows, j, copy[0], PANEL);
    for (uint32_t r = 0; r < rows->n; r++)
        store_row(y + r * y_stride, _mm512_loadu_ps(copy[r]), n);
}

/* ---- ranges ---- */

static struct rows_16 rows_16_at(const struct range_16 *range, uint32_t row)
{
    const struct matmul_call *c = range->call;
    const uint32_t left = c->x->n_row - row;
    const struct acts_tile *x = acts_tile_of(c->x, row, range->first);
    return (struct rows_16){
        .n = left < ACTS_TILE ? left : ACTS_TILE,
        .x = x,
        .next = left > ACTS_TILE ? acts_tile_of(c->x, row + ACTS_TILE, range->first) : x,
        .y = c->y + row * c->y_stride + (size_t)range->p * PANEL,
    };
}

/* One unpacked range of n_panel panels, and all rows. */
always_inline void all_rows(struct form form, int n_panel, struct range_16 range)
{
    for (uint32_t row = 0; row < range.call->x->n_row; row += ACTS_TILE) {
        const struct rows_16 rows = rows_16_at(&range, row);
        products(form, n_panel, &range, &rows);
        for (int j = 0; j < n_panel; j++) {
            terms(form, n_panel, &range, &rows, j);
            range.ahead[j] = NULL;
        }
    }
}

/* ---- unpacking ---- */

/* A block's codes, signed, as its products take them. */
typedef void codes_fn(struct unpacked *w);

/* Times their scale: 0 .. 3 times 0 .. 15. */
static void codes_scaled(struct unpacked *w)
{
    fold_scales(FOLD, w);
}

static void codes_negated(struct unpacked *w)
{
    fold_scales(FOLD_NEGATED, w);
}

/* Times their scale, a word, as a signed byte, and what is left of it for 256. */
static void codes_in_bytes(struct unpacked *w)
{
    const __m512i round = _mm512_set1_epi16(128), upper = _mm512_set1_epi16((short)0xff00);
    const __m512i scale[] = { scale_words(w, 0), scale_words(w, 1) };
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        const __m512i code = w->code[g];
        const __m512i odd = _mm512_mullo_epi16(_mm512_srai_epi16(code, 8), scale[g / 4]);
        const __m512i even =
            _mm512_mullo_epi16(_mm512_srai_epi16(_mm512_slli_epi16(code, 8), 8), scale[g / 4]);
        w[0].code[g] = _mm512_or_si512(_mm512_andnot_si512(upper, even), _mm512_slli_epi16(odd, 8));
        w[1].code[g] = _mm512_or_si512(_mm512_srli_epi16(_mm512_add_epi16(even, round), 8),
                                       _mm512_and_si512(_mm512_add_epi16(odd, round), upper));
    }
}

/* ---- types ---- */

typedef void range_fn(int n_panel, const struct range_16 *range);

/* How a type is worked on. */
struct way {
    struct form form;
    codes_fn *codes; // NULL: as they are
    range_fn *range;
};

#define WAY(name, codes, ...)                                                                      \
    static void range_of_##name(int n_panel, const struct range_16 *range)                         \
    {                                                                                              \
        const struct form form = { __VA_ARGS__ };                                                  \
        if (n_panel == TILE_PANELS)                                                                \
            all_rows(form, TILE_PANELS, *range);                                                   \
        else                                                                                       \
            all_rows(form, 1, *range);                                                             \
    }                                                                                              \
    static const struct way name = { { __VA_ARGS__ }, codes, range_of_##name };

WAY(plain, NULL, .n_product = 1)
WAY(plain_minima, NULL, .n_product = 1, .minima = ONE_MINIMUM)
WAY(scaled_minima, codes_scaled, .n_product = 1, .minima = MINIMA_OF_HALVES)
WAY(scaled_negated, codes_negated, .n_product = 1, .negated = true)
WAY(scaled_bytes, codes_in_bytes, .n_product = 2)

/* Types that have tiles: none for floats. */
#define TILED(TYPE, type, offset) [DT_##TYPE] = &avx512_##type,
static const struct quantised *const types[DT_LIMIT] = { QUANTISED_TYPES(TILED) };
#undef TILED

/* Scales of halves go into the codes, as avx512 has them, or, where a byte is too short for both, as two bytes. */
static const struct way *way_of(const struct kind *kind)
{
    assert((kind->minima == MINIMA_OF_HALVES) == (kind->fold == FOLD));
    assert(!kind->halves || kind->minima != ONE_MINIMUM);
    if (kind->halves)
        return kind->fold == FOLD           ? &scaled_minima
               : kind->fold == FOLD_NEGATED ? &scaled_negated
                                            : &scaled_bytes;
    return kind->minima == ONE_MINIMUM ? &plain_minima : &plain;
}

/* A type, and how it is worked on. */
struct tiled {
    const struct quantised *type;
    const struct way *way;
};

/* Panel j of the range. */
static void unpack_panel(const struct tiled *t, const struct range_16 *range, int j)
{
    const struct packed *w = range->call->w;
    const uint8_t *panel = w->data + (range->p + (uint32_t)j) * w->panel_bytes;
    struct unpacked *to = range->phase->w + j * PHASE;
    const uint32_t n_product = t->way->form.n_product;
    t->type->unpack_signed(to, n_product, panel, range->first, range->last);
    for (uint32_t b = range->first; t->way->codes && b < range->last; b++, to += n_product)
        t->way->codes(to);
}

/* Ranges are equally long. Two panels share their rows, but for one tile of rows, as one panel after the other is read
 * as it lies. */
static void matmul_by_tiles(const struct tiled *t, const struct matmul_call *c)
{
    const uint32_t n_block = c->x->k / QBLOCK;
    for (uint32_t p = c->first, step; p < c->last; p += step) {
        step = c->x->n_row > ACTS_TILE && p + TILE_PANELS <= c->last ? TILE_PANELS : 1;
        const uint32_t most = PHASE * TILE_PANELS / step / t->way->form.n_product;
        const uint32_t n_range = (n_block + most - 1) / most;
        for (uint32_t i = 0; i < n_range; i++) {
            struct range_16 range = { .phase = c->scratch,
                                      .call = c,
                                      .p = p,
                                      .first = n_block * i / n_range,
                                      .last = n_block * (i + 1) / n_range,
                                      .block_bytes = t->type->kind.block_bytes };
            aim_ahead(range.ahead, c->w, range.block_bytes, p, step, range.last);
            for (uint32_t j = 0; j < step; j++)
                unpack_panel(t, &range, (int)j);
            t->way->range((int)step, &range);
        }
    }
}

void amx_matmul(const struct packed *w, uint32_t first, uint32_t last, const struct acts *x,
                float *y, size_t y_stride, void *scratch)
{
    const struct quantised *type = types[w->type];
    if (!type || !x->tile || x->raised) {
        avx512_matmul(w, first, last, x, y, y_stride, scratch);
        return;
    }
    tiles_begin(&shapes);
    matmul_by_tiles(&(struct tiled){ type, way_of(&type->kind) },
                    &(struct matmul_call){ w, first, last, x, y, y_stride, scratch });
    tiles_end();
}
