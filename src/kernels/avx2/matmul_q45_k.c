/* Q4_K and Q5_K: d sc n - dmin mn; eight blocks share d, dmin and twelve bytes of six-bit sc and mn. */
#include "kernels/avx2/matmul_tile.h"

/* Scales and minima of block s: byte s % 4 of a dword, which for s >= 4 is put together from two. */
always_inline void unpack_scales(struct half_block *out, const lanes16 d, const lanes16 dmin,
                                 const lanes32 packed[3], int s, int h)
{
    __m256i a = load_lanes(packed[0], h), b = load_lanes(packed[1], h),
            c = load_lanes(packed[2], h), sc, mn;
    if (s < 4) {
        sc = bits(a, 0, 63);
        mn = bits(b, 0, 63);
    } else {
        sc = _mm256_or_si256(bits(c, 0, 0x0f), bits(a, 2, 0x30));
        mn = _mm256_or_si256(bits(c, 4, 0x0f), bits(b, 2, 0x30));
    }
    sc = _mm256_and_si256(shift_right(sc, s % 4 * 8), _mm256_set1_epi32(255));
    mn = _mm256_and_si256(shift_right(mn, s % 4 * 8), _mm256_set1_epi32(255));
    out->ws = _mm256_mul_ps(load_halves(d, h), _mm256_cvtepi32_ps(sc));
    out->wm = _mm256_mul_ps(load_halves(dmin, h), _mm256_cvtepi32_ps(mn));
    out->wm = _mm256_xor_ps(out->wm, _mm256_set1_ps(-0.0f));
}

always_inline void unpack_q4_k(struct half_block *out, const uint8_t *panel, uint32_t block, int h)
{
    const struct panel_q4_k *p = (const struct panel_q4_k *)panel + block / 8;
    int s = (int)(block % 8);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++)
        out->code[g] = bits(load_lanes(p->qs[s / 2][g], h), s % 2 * 4, 15);
    unpack_scales(out, p->d, p->dmin, p->scales, s, h);
}

always_inline void unpack_q5_k(struct half_block *out, const uint8_t *panel, uint32_t block, int h)
{
    const struct panel_q5_k *p = (const struct panel_q5_k *)panel + block / 8;
    int s = (int)(block % 8);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        __m256i low = bits(load_lanes(p->qs[s / 2][g], h), s % 2 * 4, 15);
        __m256i high = bits(load_lanes(p->qh[g], h), s, 1);
        out->code[g] = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
    }
    unpack_scales(out, p->d, p->dmin, p->scales, s, h);
}

void avx2_matmul_q4_k(const struct call *c)
{
    static const struct kind kind = { .block_bytes = sizeof(struct panel_q4_k) / 8,
                                      .depth = 8,
                                      .minima = ONE_MINIMUM };
    matmul_of_kind(kind, unpack_q4_k, c);
}

void avx2_matmul_q5_k(const struct call *c)
{
    static const struct kind kind = { .block_bytes = sizeof(struct panel_q5_k) / 8,
                                      .depth = 4,
                                      .minima = ONE_MINIMUM };
    matmul_of_kind(kind, unpack_q5_k, c);
}
