/* base/f16.h - half and bfloat16 as the hardware rounds them, bit for bit, without needing it.
 * To f16: round to nearest even, subnormals kept, overflow to infinity (as vcvtps2ph). */
#ifndef BASE_F16_H
#define BASE_F16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t f16;
typedef uint16_t bf16;

static inline float f32_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint32_t bits_of_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float f32_of_f16(f16 h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 1023;
    if (exp == 31) /* a NaN comes back quiet, as vcvtph2ps makes it */
        return f32_of_bits(sign | 0x7f800000 | man << 13 | (man ? 0x400000 : 0));
    if (exp == 0)
        return f32_of_bits(sign | bits_of_f32((float)man * 0x1p-24f));
    return f32_of_bits(sign | (exp + 112) << 23 | man << 13);
}

static inline f16 f16_of_f32(float f)
{
    uint32_t u = bits_of_f32(f), sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
    if (mag > 0x7f800000)
        return (f16)(sign | 0x7e00 | (mag >> 13 & 0x3ff)); /* NaN: quiet, upper payload kept */
    if (mag >= 0x477ff000)
        return (f16)(sign | 0x7c00); /* rounds to 2^16 or more */
    if (mag < 0x38800000) { /* below 2^-14: the adder rounds to a multiple of 2^-24 for us */
        float m = f32_of_bits(mag) + 0.5f;
        return (f16)(sign | (bits_of_f32(m) - 0x3f000000));
    }
    uint32_t odd = mag >> 13 & 1;
    return (f16)(sign | ((mag - 0x38000000 + 0xfff + odd) >> 13));
}

static inline float f32_of_bf16(bf16 h)
{
    return f32_of_bits((uint32_t)h << 16);
}

#endif
