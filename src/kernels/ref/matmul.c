/* The contract of matmul.h, plainly: one panel, one block, one row, one output at a time. */
#include <math.h>
#include <string.h>

#include "kernels/ref/matmul_fns.h"
#include "kernels/ref/unpack.h"

/* I of 16 outputs, from the 32 codes of one row: a lane of a block. */
static void dots(int32_t I[PANEL], const struct ref_block *w,
                 const int8_t q[QBLOCK / 4][ACTS_ROWS][4], uint32_t lane)
{
    int32_t sum[2][PANEL] = { { 0 } };
    for (int k = 0; k < QBLOCK; k++)
        for (int l = 0; l < PANEL; l++)
            sum[k / 16][l] += w->c[k][l] * q[k / 4][lane][k % 4];
    for (int l = 0; l < PANEL; l++)
        I[l] = w->s[0][l] * sum[0][l] + w->s[1][l] * sum[1][l];
}

/* What z multiplies: the block's weights added up. */
static void weights_sum(float W[PANEL], const struct ref_block *w)
{
    int8_t ones[QBLOCK / 4][ACTS_ROWS][4];
    int32_t I1[PANEL];
    memset(ones, 1, sizeof ones);
    dots(I1, w, ones, 0);
    for (int l = 0; l < PANEL; l++) {
        W[l] = (float)I1[l] * w->ws[l];
        if (w->minima)
            W[l] = fmaf((float)(16 * (w->m[0][l] + w->m[1][l])), w->wm[l], W[l]);
    }
}

/* One block's terms of one row onto y[n]. */
static void add_block(float *y, int n, const struct ref_block *w, const float W[PANEL],
                      const struct acts *x, uint32_t row, uint32_t block)
{
    const struct acts_block *a = acts_block_of(x, row, block);
    const uint32_t lane = row % ACTS_ROWS;
    const int16_t *half = a->half[lane];
    float d = a->d[lane], z = a->z[lane];
    int32_t I[PANEL];

    dots(I, w, a->q, lane);
    for (int l = 0; l < n; l++) {
        y[l] = fmaf((float)I[l] * d, w->ws[l], y[l]);
        if (w->minima) {
            int32_t J = w->m[0][l] * half[0] + w->m[1][l] * half[1];
            y[l] = fmaf((float)J * d, w->wm[l], y[l]);
        }
        y[l] = fmaf(z, W[l], y[l]);
    }
}

static void quantised_panel(const struct packed *w, const uint8_t *panel, const struct acts *x,
                            float *y, size_t y_stride, int n)
{
    ref_unpack *unpack = ref_unpack_of(w->type);
    for (uint32_t b = 0; b < w->k / QBLOCK; b++) {
        struct ref_block block = { 0 };
        float W[PANEL];
        unpack(&block, panel, b);
        weights_sum(W, &block);
        for (uint32_t r = 0; r < x->n_row; r++)
            add_block(y + r * y_stride, n, &block, W, x, r, b);
    }
}

static float weight(enum dtype type, const void *panel, size_t i)
{
    switch (type) {
    case DT_F16:
        return f32_of_f16(((const f16 *)panel)[i]);
    case DT_BF16:
        return f32_of_bf16(((const bf16 *)panel)[i]);
    default:
        return ((const float *)panel)[i];
    }
}

static void float_panel(const struct packed *w, const uint8_t *panel, const struct acts *x,
                        float *y, size_t y_stride, int n)
{
    for (size_t k = 0; k < w->k; k++) {
        float wk[PANEL];
        for (size_t l = 0; l < PANEL; l++)
            wk[l] = weight(w->type, panel, k * PANEL + l);
        for (uint32_t r = 0; r < x->n_row; r++)
            for (int l = 0; l < n; l++)
                y[r * y_stride + l] = fmaf(x->f[r * w->k + k], wk[l], y[r * y_stride + l]);
    }
}

void ref_matmul(const struct packed *w, uint32_t first, uint32_t last, const struct acts *x,
                float *y, size_t y_stride, void *scratch)
{
    (void)scratch;
    for (uint32_t p = first; p < last; p++) {
        const uint8_t *panel = w->data + p * w->panel_bytes;
        uint32_t behind = w->n - p * PANEL;
        int n = behind < PANEL ? (int)behind : PANEL;
        for (uint32_t r = 0; r < x->n_row; r++)
            for (int l = 0; l < n; l++)
                y[r * y_stride + p * PANEL + l] = 0;
        if (is_quantised(w->type))
            quantised_panel(w, panel, x, y + p * PANEL, y_stride, n);
        else
            float_panel(w, panel, x, y + p * PANEL, y_stride, n);
    }
}
