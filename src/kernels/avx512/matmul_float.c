/* F32, F16 and BF16: [k][16] elements, one FMA chain over k an output. Few rows widen them as they are read; many have
 * them widened into scratch, a range of k at a time, as widening takes a tenth of the multipliers' time (Zen 4, 512
 * rows, cycles for 24 products: F16 27.6, without pointers in vector registers 26.8, and so 24.8).
 * Tiles of 12 rows x 32 outputs (two panels): 24 accumulators, as many as two FMAs a cycle of latency 4 need and
 * what registers hold; 14 loads for 24 FMAs. */
#include "kernels/avx512/matmul_block.h"

enum { FLOAT_ROWS = 12, WIDEN_FROM = 2 * FLOAT_ROWS };

/* 16 weights from `at`, which is 32-byte aligned. */
typedef __m512 widen_fn(const uint8_t *at);

always_inline __m512 widen_f32(const uint8_t *at)
{
    return _mm512_loadu_ps(at);
}

always_inline __m512 widen_f16(const uint8_t *at)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
}

always_inline __m512 widen_bf16(const uint8_t *at)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* k in [first, last) of two panels, one `panel_bytes` behind the other. */
struct weights {
    const uint8_t *at;
    size_t panel_bytes, first, last;
};

/* Few rows wait for memory. */
always_inline void fetch_weights(int n_row, const uint8_t *at)
{
    if (n_row < FLOAT_ROWS)
        prefetch_line(at + 1024);
    else
        _mm_prefetch((const char *)at + 4096, _MM_HINT_T0);
}

/* n_row rows of x, from row `row` on, times n_panel panels; y goes on from what it is but where k starts at 0. */
always_inline void float_tile(widen_fn *widen, size_t elem_bytes, int n_row, int n_panel,
                              const struct matmul_call *c, struct weights w, size_t row, float *y,
                              uint32_t n)
{
    const size_t n_k = c->x->k;
    const uint8_t *at = w.at;
    const float *x[FLOAT_ROWS / 3]; // of every third row: from there two more are an address away
    __m512 sum[FLOAT_ROWS][WIDE_PANELS], wide[WIDE_PANELS];
    y += row * c->y_stride;
    UNROLL(4)
    for (int i = 0; 3 * i < n_row; i++)
        x[i] = c->x->f + (row + 3 * (size_t)i) * n_k + w.first;
    UNROLL(12)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            sum[r][p] =
                w.first ? load_row(y + (size_t)r * c->y_stride + p * PANEL, n - (uint32_t)p * PANEL)
                        : _mm512_setzero_ps();
    }
    for (size_t k = w.first; k < w.last; k++, at += PANEL * elem_bytes) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++) {
            wide[p] = widen(at + (size_t)p * w.panel_bytes);
            if (elem_bytes == 4 || k % 2 == 0) // once a line
                fetch_weights(n_row, at + (size_t)p * w.panel_bytes);
        }
        UNROLL(12)
        for (int r = 0; r < n_row; r++) {
            __m512 xk = _mm512_set1_ps(x[r / 3][(size_t)(r % 3) * n_k]);
            UNROLL(2)
            for (int p = 0; p < n_panel; p++)
                sum[r][p] = _mm512_fmadd_ps(xk, wide[p], sum[r][p]);
        }
        UNROLL(4)
        for (int i = 0; 3 * i < n_row; i++)
            x[i]++;
    }
    UNROLL(12)
    for (int r = 0; r < n_row; r++) {
        UNROLL(2)
        for (int p = 0; p < n_panel; p++)
            store_row(y + (size_t)r * c->y_stride + p * PANEL, sum[r][p], n - (uint32_t)p * PANEL);
    }
}

/* What is left of the rows behind whole tiles goes together, or weights are read once for each row. */
#define REST(N)                                                                                    \
    case N:                                                                                        \
        float_tile(widen, elem_bytes, N, n_panel, c, w, row, y, n);                                \
        break;
always_inline void float_rest(widen_fn *widen, size_t elem_bytes, int n_panel,
                              const struct matmul_call *c, struct weights w, size_t row, float *y,
                              uint32_t n)
{
    switch (c->x->n_row - row) {
        REST(1)
        REST(2)
        REST(3)
        REST(4)
        REST(5)
    default:
        break;
    }
}
#undef REST

always_inline void float_tiles(widen_fn *widen, size_t elem_bytes, int n_panel,
                               const struct matmul_call *c, struct weights w, float *y, uint32_t n)
{
    uint32_t r = 0;
    for (; r + FLOAT_ROWS <= c->x->n_row; r += FLOAT_ROWS)
        float_tile(widen, elem_bytes, FLOAT_ROWS, n_panel, c, w, r, y, n);
    for (; r + FLOAT_ROWS / 2 <= c->x->n_row; r += FLOAT_ROWS / 2)
        float_tile(widen, elem_bytes, FLOAT_ROWS / 2, n_panel, c, w, r, y, n);
    float_rest(widen, elem_bytes, n_panel, c, w, r, y, n);
}

/* n k of a panel, to [n][16]. */
always_inline void widen_panel(widen_fn *widen, size_t elem_bytes, float *to, const uint8_t *at,
                               size_t n)
{
    for (size_t k = 0; k < n; k++, to += PANEL, at += PANEL * elem_bytes)
        _mm512_store_ps(to, widen(at));
}

/* Ranges of k, widened once for all rows. */
always_inline void widened_panels(widen_fn *widen, size_t elem_bytes, int n_panel,
                                  const struct matmul_call *c, const uint8_t *panel, float *y,
                                  uint32_t n)
{
    float *scratch = c->scratch;
    for (size_t first = 0; first < c->x->k; first += MATMUL_WIDE) {
        const size_t left = c->x->k - first, n_k = left < MATMUL_WIDE ? left : MATMUL_WIDE;
        const struct weights w = { c->scratch, n_k * PANEL * sizeof(float), first, first + n_k };
        for (int p = 0; p < n_panel; p++)
            widen_panel(widen, elem_bytes, scratch + (size_t)p * n_k * PANEL,
                        panel + (size_t)p * c->w->panel_bytes + first * PANEL * elem_bytes, n_k);
        float_tiles(widen_f32, sizeof(float), n_panel, c, w, y, n);
    }
}

always_inline void float_panels(widen_fn *widen, size_t elem_bytes, int n_panel,
                                const struct matmul_call *c, uint32_t p)
{
    const struct weights w = { c->w->data + p * c->w->panel_bytes, c->w->panel_bytes, 0, c->x->k };
    float *y = c->y + (size_t)p * PANEL;
    const uint32_t n = c->w->n - p * PANEL;
    if (elem_bytes < sizeof(float) && c->x->n_row >= WIDEN_FROM)
        widened_panels(widen, elem_bytes, n_panel, c, w.at, y, n);
    else
        float_tiles(widen, elem_bytes, n_panel, c, w, y, n);
}

always_inline void matmul_of_floats(widen_fn *widen, size_t elem_bytes, const struct matmul_call *c)
{
    uint32_t p = c->first;
    for (; p + WIDE_PANELS <= c->last; p += WIDE_PANELS)
        float_panels(widen, elem_bytes, WIDE_PANELS, c, p);
    if (p < c->last)
        float_panels(widen, elem_bytes, 1, c, p);
}

void avx512_matmul_f32(const struct matmul_call *c)
{
    matmul_of_floats(widen_f32, 4, c);
}

void avx512_matmul_f16(const struct matmul_call *c)
{
    matmul_of_floats(widen_f16, 2, c);
}

void avx512_matmul_bf16(const struct matmul_call *c)
{
    matmul_of_floats(widen_bf16, 2, c);
}
