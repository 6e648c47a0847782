/* Sixteen elements an instruction; the last few under a mask, so that no load leaves the row. Sums and rope are avx2's:
 * bound by memory, they gained nothing from sixteen (Granite Rapids). */
#include "kernels/avx512/vec.h"

#include "kernels/avx512/fns.h"

static inline __mmask16 lanes_left(uint32_t n, uint32_t i)
{
    return n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
}

void avx512_rms_norm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    __m512 sum = _mm512_setzero_ps();
    for (uint32_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(lanes_left(n, i), x + i);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    __m512 s = _mm512_set1_ps(1.0f / sqrtf(lanes_sum16(sum) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 lanes = lanes_left(n, i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), s);
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, w + i)));
    }
}

void avx512_silu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 lanes = lanes_left(n, i);
        __m512 v = silu16(_mm512_maskz_loadu_ps(lanes, gate + i));
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, up + i)));
    }
}

void avx512_gelu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 lanes = lanes_left(n, i);
        __m512 v = gelu16(_mm512_maskz_loadu_ps(lanes, gate + i));
        _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, up + i)));
    }
}

void avx512_softcap(float *y, float cap, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 lanes = lanes_left(n, i);
        __m512 v = softcap16(_mm512_maskz_loadu_ps(lanes, y + i), _mm512_set1_ps(cap));
        _mm512_mask_storeu_ps(y + i, lanes, v);
    }
}

static float largest16(const float *x, uint32_t n)
{
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 top = none;
    for (uint32_t i = 0; i < n; i += 16) // of a NaN and a number the number
        top = _mm512_max_ps(_mm512_mask_mov_ps(none, lanes_left(n, i),
                                               _mm512_maskz_loadu_ps(lanes_left(n, i), x + i)),
                            top);
    return larger16(-INFINITY, top);
}

/* exp(x - largest) to y, which may be x, unless NULL. Answers their sum. */
always_inline float exps(const float *x, uint32_t n, float largest, float *y)
{
    __m512 total = _mm512_setzero_ps();
    for (uint32_t i = 0; i < n; i += 16) {
        const __mmask16 lanes = lanes_left(n, i);
        __m512 e = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(largest));
        exp16_low_n(&e, &e, 1);
        total = _mm512_add_ps(total, _mm512_mask_mov_ps(_mm512_setzero_ps(), lanes, e));
        if (y)
            _mm512_mask_storeu_ps(y + i, lanes, e);
    }
    return lanes_sum16(total);
}

void avx512_softmax_stats(const float *x, uint32_t n, float *largest, float *sum)
{
    *largest = largest16(x, n);
    *sum = exps(x, n, *largest, NULL);
}

void avx512_softmax(float *y, uint32_t n)
{
    const __m512 sum = _mm512_set1_ps(exps(y, n, largest16(y, n), y));
    for (uint32_t i = 0; i < n; i += 16) {
        const __mmask16 lanes = lanes_left(n, i);
        _mm512_mask_storeu_ps(y + i, lanes,
                              _mm512_div_ps(_mm512_maskz_loadu_ps(lanes, y + i), sum));
    }
}
