/* Eight elements an instruction; the last few of a row go through a buffer of zeros, so that no load leaves the row.
 * Gates take four vectors together, as exp is a chain of latencies (vec.h): 1,536 of silu 1.33 -> 0.76 us, 2,048 of
 * gelu 2.03 -> 1.15 (one thread, Zen 3). */
#include "kernels/avx2/vec.h"

#include <string.h>

#include "kernels/avx2/fns.h"
#include "kernels/lanes.h"

/* The last n % 8 elements of a row of n, with zeros behind them. */
static inline __m256 load_tail(const float *x, uint32_t n)
{
    float t[8] = { 0 };
    memcpy(t, x + (n & ~7u), (n & 7) * sizeof *t);
    return _mm256_loadu_ps(t);
}

static inline void store_tail(float *y, uint32_t n, __m256 v)
{
    float t[8];
    _mm256_storeu_ps(t, v);
    memcpy(y + (n & ~7u), t, (n & 7) * sizeof *t);
}

static float sum_of_squares(const float *x, uint32_t n)
{
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps(), v;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v = _mm256_loadu_ps(x + i);
        low = _mm256_fmadd_ps(v, v, low);
        v = _mm256_loadu_ps(x + i + 8);
        high = _mm256_fmadd_ps(v, v, high);
    }
    if (n & 8) {
        v = _mm256_loadu_ps(x + i);
        low = _mm256_fmadd_ps(v, v, low);
        v = load_tail(x, n);
        high = _mm256_fmadd_ps(v, v, high);
    } else if (n & 7) {
        v = load_tail(x, n);
        low = _mm256_fmadd_ps(v, v, low);
    }
    return lanes_sum8(low, high);
}

void avx2_rms_norm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    __m256 s = _mm256_set1_ps(1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps));
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(
            y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), s), _mm256_loadu_ps(w + i)));
    if (n & 7)
        store_tail(y, n, _mm256_mul_ps(_mm256_mul_ps(load_tail(x, n), s), load_tail(w, n)));
}

/* Four pairs (a, b) turned by four (c, s): a c - b s and, in the odd lanes, a s + b c. */
static inline __m256 turn(__m256 ab, __m256 cs)
{
    __m256 a = _mm256_moveldup_ps(ab), b = _mm256_movehdup_ps(ab);
    __m256 sc = _mm256_permute_ps(cs, 0xb1); // s0 c0 s1 c1
    return _mm256_fmaddsub_ps(a, cs, _mm256_mul_ps(b, sc));
}

static void rope_pairs(float *x, const float *cs, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, turn(_mm256_loadu_ps(x + i), _mm256_loadu_ps(cs + i)));
    if (n & 7)
        store_tail(x, n, turn(load_tail(x, n), load_tail(cs, n)));
}

static void rope_halves(float *x, const float *cs, uint32_t half)
{
    const __m256i evens = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    uint32_t i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
        __m256 first = _mm256_permutevar8x32_ps(_mm256_loadu_ps(cs + 2 * i), evens);
        __m256 second = _mm256_permutevar8x32_ps(_mm256_loadu_ps(cs + 2 * i + 8), evens);
        __m256 c = _mm256_permute2f128_ps(first, second, 0x20),
               s = _mm256_permute2f128_ps(first, second, 0x31);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + half + i, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i], c = cs[2 * i], s = cs[2 * i + 1];
        x[i] = fmaf(a, c, -(b * s));
        x[half + i] = fmaf(a, s, b * c);
    }
}

void avx2_rope(float *x, const float *cs, uint32_t n_rot, int halves)
{
    if (halves)
        rope_halves(x, cs, n_rot / 2);
    else
        rope_pairs(x, cs, n_rot);
}

void avx2_add(float *y, const float *x, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

void avx2_scale(float *y, float s, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(y + i), _mm256_set1_ps(s)));
    for (; i < n; i++)
        y[i] *= s;
}

typedef void activation8_n(__m256 *y, const __m256 *x, int n);

/* n_v vectors from element i on. */
always_inline void gate_vectors(activation8_n *activation, float *y, const float *gate,
                                const float *up, int n_v)
{
    __m256 x[4];
    for (int v = 0; v < n_v; v++)
        x[v] = _mm256_loadu_ps(gate + 8 * v);
    activation(x, x, n_v);
    for (int v = 0; v < n_v; v++)
        _mm256_storeu_ps(y + 8 * v, _mm256_mul_ps(x[v], _mm256_loadu_ps(up + 8 * v)));
}

always_inline void gate_row(activation8_n *activation, float *y, const float *gate, const float *up,
                            uint32_t n)
{
    uint32_t i = 0;
    for (; i + 32 <= n; i += 32)
        gate_vectors(activation, y + i, gate + i, up + i, 4);
    for (; i + 8 <= n; i += 8)
        gate_vectors(activation, y + i, gate + i, up + i, 1);
    if (n & 7) {
        __m256 x = load_tail(gate, n);
        activation(&x, &x, 1);
        store_tail(y, n, _mm256_mul_ps(x, load_tail(up, n)));
    }
}

void avx2_silu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    gate_row(silu8_n, y, gate, up, n);
}

void avx2_gelu_gate(float *y, const float *gate, const float *up, uint32_t n)
{
    gate_row(gelu8_n, y, gate, up, n);
}

void avx2_softcap(float *y, float cap, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, softcap8(_mm256_loadu_ps(y + i), _mm256_set1_ps(cap)));
    if (n & 7)
        store_tail(y, n, softcap8(load_tail(y, n), _mm256_set1_ps(cap)));
}

void avx2_softmax_stats(const float *x, uint32_t n, float *largest_x, float *sum)
{
    float m = largest8_of(-INFINITY, x, n), lane[LANES];
    __m256 top = _mm256_set1_ps(m), low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        low = _mm256_add_ps(low, exp8_low(_mm256_sub_ps(_mm256_loadu_ps(x + i), top)));
        high = _mm256_add_ps(high, exp8_low(_mm256_sub_ps(_mm256_loadu_ps(x + i + 8), top)));
    }
    _mm256_storeu_ps(lane, low);
    _mm256_storeu_ps(lane + 8, high);
    for (; i < n; i++)
        lane[i % LANES] += exp_f32(x[i] - m);
    *largest_x = m;
    *sum = lanes_sum(lane);
}

void avx2_softmax(float *y, uint32_t n)
{
    float m, sum;
    avx2_softmax_stats(y, n, &m, &sum);
    __m256 top = _mm256_set1_ps(m), total = _mm256_set1_ps(sum);
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 e = exp8_low(_mm256_sub_ps(_mm256_loadu_ps(y + i), top));
        _mm256_storeu_ps(y + i, _mm256_div_ps(e, total));
    }
    for (; i < n; i++)
        y[i] = exp_f32(y[i] - m) / sum;
}
