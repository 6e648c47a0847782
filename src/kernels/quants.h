/* kernels/quants.h - weights as model files store them: one struct a block, bytes as in the file.
 *
 *   blocks of 32                                    super-blocks of 256 = 8 blocks of 32 = 16 halves of 16
 *     Q4_0    d (n - 8)                               Q2_K    d sc n - dmin mn         sc, mn: 4 bits a half
 *     Q4_1    d n + m                                 Q3_K    d (sc - 32) (n - 4)      sc: 6 bits a half
 *     Q5_0    d (n - 16)                              Q4_K    d sc n - dmin mn         sc, mn: 6 bits a block
 *     Q5_1    d n + m                                 Q5_K    d sc n - dmin mn         sc, mn: 6 bits a block
 *     Q8_0    d n, n signed                           Q6_K    d sc (n - 32)            sc: int8 a half
 *     IQ4_NL  d c[n]                                  IQ4_XS  d (sc - 32) c[n]         sc: 6 bits a block
 *
 * A nibble byte of a 32-block holds elements i (low) and i + 16 (high); a K-quant's holds i and i + 32 of 64.
 * Source: the GGUF format, ggml-common.h and gguf-py/gguf/quants.py of ggml-org/llama.cpp. */
#ifndef KERNELS_QUANTS_H
#define KERNELS_QUANTS_H

#include <stdint.h>

#include "base/f16.h"

struct block_q4_0 {
    f16 d;
    uint8_t qs[16];
};

struct block_q4_1 {
    f16 d, m;
    uint8_t qs[16];
};

struct block_q5_0 {
    f16 d;
    uint8_t qh[4]; // bit i: the fifth bit of element i
    uint8_t qs[16];
};

struct block_q5_1 {
    f16 d, m;
    uint8_t qh[4];
    uint8_t qs[16];
};

struct block_q8_0 {
    f16 d;
    int8_t qs[32];
};

struct block_iq4_nl {
    f16 d;
    uint8_t qs[16];
};

struct block_q2_k {
    uint8_t scales[16]; // half i: sc low, mn high
    uint8_t qs[64];     // byte 32 h + i: element i of blocks 4 h .. 4 h + 3, two bits each
    f16 d, dmin;
};

struct block_q3_k {
    uint8_t hmask[32]; // byte i: bit s is the third bit of element i of block s
    uint8_t qs[64];    // as in Q2_K
    uint8_t scales[12];
    f16 d;
};

struct block_q4_k {
    f16 d, dmin;
    uint8_t scales[12];
    uint8_t qs[128]; // byte 32 j + i: element i of blocks 2 j (low) and 2 j + 1 (high)
};

struct block_q5_k {
    f16 d, dmin;
    uint8_t scales[12];
    uint8_t qh[32]; // byte i: bit s is the fifth bit of element i of block s
    uint8_t qs[128];
};

struct block_q6_k {
    uint8_t ql[128]; // byte 64 h + i: elements i (low) and i + 64 (high) of half h of 128
    uint8_t qh[64];  // byte 32 h + i: element i of blocks 4 h .. 4 h + 3, two upper bits each
    int8_t scales[16];
    f16 d;
};

struct block_iq4_xs {
    f16 d;
    uint16_t scales_h;   // bits 2 s: the upper two bits of block s
    uint8_t scales_l[4]; // nibble s: the lower four
    uint8_t qs[128];     // 16 bytes a block, paired (i, i + 16)
};

/* The code book of IQ4: steps that fit normally distributed weights. */
extern const int8_t iq4_values[16];

/* The six-bit scale and minimum of block s (0..7) in the 12 bytes of Q4_K and Q5_K. */
static inline uint32_t k4_scale(const uint8_t scales[12], unsigned s)
{
    return s < 4 ? scales[s] & 63 : (scales[s + 4] & 15) | scales[s - 4] >> 6 << 4;
}

static inline uint32_t k4_min(const uint8_t scales[12], unsigned s)
{
    return s < 4 ? scales[s + 4] & 63 : scales[s + 4] >> 4 | scales[s] >> 6 << 4;
}

/* The six-bit scale of half i (0..15) in the 12 bytes of Q3_K, still 32 too large. */
static inline uint32_t k3_scale(const uint8_t scales[12], unsigned i)
{
    uint32_t low = scales[i % 8] >> (i < 8 ? 0 : 4) & 15;
    uint32_t high = scales[8 + i % 4] >> (i / 4 * 2) & 3;
    return low | high << 4;
}

#endif
