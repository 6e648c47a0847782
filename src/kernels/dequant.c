#include <string.h>

#include "kernels/matmul.h"
#include "kernels/quantised.h"
#include "kernels/quants.h"

const int8_t iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113 };

static void from_q4_0(const void *block, float *out)
{
    struct block_q4_0 b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)((b.qs[i] & 15) - 8) * d;
        out[i + 16] = (float)((b.qs[i] >> 4) - 8) * d;
    }
}

static void from_q4_1(const void *block, float *out)
{
    struct block_q4_1 b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d), m = f32_of_f16(b.m);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)(b.qs[i] & 15) * d + m;
        out[i + 16] = (float)(b.qs[i] >> 4) * d + m;
    }
}

/* Element i of a five-bit block of 32. */
static int five_bits(const uint8_t qs[16], const uint8_t qh[4], int i)
{
    int low = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
    return low | (qh[i / 8] >> i % 8 & 1) << 4;
}

static void from_q5_0(const void *block, float *out)
{
    struct block_q5_0 b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d);
    for (int i = 0; i < 32; i++)
        out[i] = (float)(five_bits(b.qs, b.qh, i) - 16) * d;
}

static void from_q5_1(const void *block, float *out)
{
    struct block_q5_1 b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d), m = f32_of_f16(b.m);
    for (int i = 0; i < 32; i++)
        out[i] = (float)five_bits(b.qs, b.qh, i) * d + m;
}

static void from_q8_0(const void *block, float *out)
{
    struct block_q8_0 b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d);
    for (int i = 0; i < 32; i++)
        out[i] = (float)b.qs[i] * d;
}

static void from_iq4_nl(const void *block, float *out)
{
    struct block_iq4_nl b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)iq4_values[b.qs[i] & 15];
        out[i + 16] = d * (float)iq4_values[b.qs[i] >> 4];
    }
}

/* Two bits of element i (0..255) where four blocks share a byte: Q2_K, Q3_K, and the upper bits of Q6_K. */
static int two_bits(const uint8_t qs[64], int i)
{
    return qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

/* Four bits of element i (0..255) where blocks 2 j and 2 j + 1 share a byte: Q4_K, Q5_K. */
static int four_bits(const uint8_t qs[128], int i)
{
    return qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
}

static void from_q2_k(const void *block, float *out)
{
    struct block_q2_k b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d), dmin = f32_of_f16(b.dmin);
    for (int i = 0; i < 256; i++) {
        float scale = d * (float)(b.scales[i / 16] & 15),
              min = dmin * (float)(b.scales[i / 16] >> 4);
        out[i] = scale * (float)two_bits(b.qs, i) - min;
    }
}

static void from_q3_k(const void *block, float *out)
{
    struct block_q3_k b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d);
    for (int i = 0; i < 256; i++) {
        int n = two_bits(b.qs, i) | (b.hmask[i % 32] >> i / 32 & 1) << 2;
        float scale = d * (float)((int)k3_scale(b.scales, i / 16) - 32);
        out[i] = scale * (float)(n - 4);
    }
}

static void from_q4_k(const void *block, float *out)
{
    struct block_q4_k b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d), dmin = f32_of_f16(b.dmin);
    for (int i = 0; i < 256; i++) {
        float scale = d * (float)k4_scale(b.scales, i / 32),
              min = dmin * (float)k4_min(b.scales, i / 32);
        out[i] = scale * (float)four_bits(b.qs, i) - min;
    }
}

static void from_q5_k(const void *block, float *out)
{
    struct block_q5_k b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d), dmin = f32_of_f16(b.dmin);
    for (int i = 0; i < 256; i++) {
        int n = four_bits(b.qs, i) | (b.qh[i % 32] >> i / 32 & 1) << 4;
        float scale = d * (float)k4_scale(b.scales, i / 32),
              min = dmin * (float)k4_min(b.scales, i / 32);
        out[i] = scale * (float)n - min;
    }
}

static void from_q6_k(const void *block, float *out)
{
    struct block_q6_k b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d);
    for (int i = 0; i < 256; i++) {
        int low = b.ql[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
        float scale = d * (float)b.scales[i / 16];
        out[i] = scale * (float)((low | two_bits(b.qh, i) << 4) - 32);
    }
}

static void from_iq4_xs(const void *block, float *out)
{
    struct block_iq4_xs b;
    memcpy(&b, block, sizeof b);
    float d = f32_of_f16(b.d);
    for (int i = 0; i < 256; i++) {
        int s = i / 32, low = b.scales_l[s / 2] >> (s % 2 * 4) & 15, high = b.scales_h >> 2 * s & 3;
        int n = b.qs[s * 16 + i % 16] >> (i / 16 % 2 * 4) & 15;
        float scale = d * (float)((low | high << 4) - 32);
        out[i] = scale * (float)iq4_values[n];
    }
}

static void from_f32(const void *element, float *out)
{
    memcpy(out, element, 4);
}

static void from_f16(const void *element, float *out)
{
    f16 h;
    memcpy(&h, element, 2);
    *out = f32_of_f16(h);
}

static void from_bf16(const void *element, float *out)
{
    bf16 h;
    memcpy(&h, element, 2);
    *out = f32_of_bf16(h);
}

#define FROM(TYPE, type, offset) [DT_##TYPE] = from_##type,
static void (*const from_block[DT_LIMIT])(const void *block, float *out) = { WEIGHT_TYPES(FROM) };

void dequant_row(enum dtype type, const void *row, uint32_t k, float *out)
{
    const struct dtype_info *t = dtype_info(type);
    const uint8_t *block = row;
    for (uint32_t i = 0; i < k; i += t->block_elems, block += t->block_bytes)
        from_block[type](block, out + i);
}
