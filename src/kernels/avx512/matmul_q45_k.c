/* Q4_K and Q5_K: d sc n - dmin mn; eight blocks share d, dmin and twelve bytes of six-bit sc and mn. */
#include "kernels/avx512/matmul_tile.h"

/* Scales and minima of block s: byte s % 4 of a dword, which for s >= 4 is put together from two. */
always_inline void unpack_scales(struct unpacked *out, const lanes16 d, const lanes16 dmin,
                                 const lanes32 packed[3], int s)
{
    __m512i a = load_lanes(packed[0]), b = load_lanes(packed[1]), c = load_lanes(packed[2]), sc, mn;
    if (s < 4) {
        sc = bits(a, 0, 63);
        mn = bits(b, 0, 63);
    } else {
        sc = _mm512_or_si512(bits(c, 0, 0x0f), bits(a, 2, 0x30));
        mn = _mm512_or_si512(bits(c, 4, 0x0f), bits(b, 2, 0x30));
    }
    sc = _mm512_and_si512(shift_right(sc, s % 4 * 8), _mm512_set1_epi32(255));
    mn = _mm512_and_si512(shift_right(mn, s % 4 * 8), _mm512_set1_epi32(255));
    out->ws = _mm512_mul_ps(load_halves(d), _mm512_cvtepi32_ps(sc));
    out->wm = _mm512_mul_ps(load_halves(dmin), _mm512_cvtepi32_ps(mn));
    out->wm = _mm512_xor_ps(out->wm, _mm512_set1_ps(-0.0f));
}

always_inline void unpack_q4_k(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q4_k *p = (const struct panel_q4_k *)panel + block / 8;
    int s = (int)(block % 8);
    UNROLL(8)
    for (int g = 0; g < 8; g++)
        out->code[g] = bits(load_lanes(p->qs[s / 2][g]), s % 2 * 4, 15);
    unpack_scales(out, p->d, p->dmin, p->scales, s);
}

always_inline void unpack_q5_k(struct unpacked *out, const uint8_t *panel, uint32_t block)
{
    const struct panel_q5_k *p = (const struct panel_q5_k *)panel + block / 8;
    int s = (int)(block % 8);
    UNROLL(8)
    for (int g = 0; g < 8; g++) {
        __m512i low = bits(load_lanes(p->qs[s / 2][g]), s % 2 * 4, 15);
        __m512i high = bits(load_lanes(p->qh[g]), s, 1);
        out->code[g] = _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
    }
    unpack_scales(out, p->d, p->dmin, p->scales, s);
}

MATMUL_TYPE(q4_k, unpack_q4_k, .block_bytes = sizeof(struct panel_q4_k) / 8, .minima = ONE_MINIMUM)
MATMUL_TYPE(q5_k, unpack_q5_k, .block_bytes = sizeof(struct panel_q5_k) / 8, .minima = ONE_MINIMUM)
