#include "support/weights.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/f16.h"
#include "kernels/quants.h"

#define AS_TYPE(TYPE, type, offset) DT_##TYPE,
const enum dtype weight_types[N_WEIGHT_TYPE] = { WEIGHT_TYPES(AS_TYPE) };

/* Where a block keeps its half-precision scales, and where its codes. */
static const struct {
    uint8_t n_half, half[2], codes[2], high[2]; // codes and high: first byte and count
} maps[DT_LIMIT] = {
    [DT_Q8_0] = { 1, { 0 }, { 2, 32 }, { 0, 0 } },
    [DT_Q4_0] = { 1, { 0 }, { 2, 16 }, { 0, 0 } },
    [DT_Q4_1] = { 2, { 0, 2 }, { 4, 16 }, { 0, 0 } },
    [DT_Q5_0] = { 1, { 0 }, { 6, 16 }, { 2, 4 } },
    [DT_Q5_1] = { 2, { 0, 2 }, { 8, 16 }, { 4, 4 } },
    [DT_Q2_K] = { 2, { 80, 82 }, { 16, 64 }, { 0, 0 } },
    [DT_Q3_K] = { 1, { 108 }, { 32, 64 }, { 0, 32 } },
    [DT_Q4_K] = { 2, { 0, 2 }, { 16, 128 }, { 0, 0 } },
    [DT_Q5_K] = { 2, { 0, 2 }, { 48, 128 }, { 16, 32 } },
    [DT_Q6_K] = { 1, { 208 }, { 0, 128 }, { 128, 64 } },
    [DT_IQ4_NL] = { 1, { 0 }, { 2, 16 }, { 0, 0 } },
    [DT_IQ4_XS] = { 1, { 0 }, { 8, 128 }, { 0, 0 } },
};

static float odd_value(struct rng *rng)
{
    static const float odd[] = { INFINITY, -INFINITY, NAN,    0,     -0.0f, 1e-40f,
                                 -1e-45f,  3e38f,     -3e38f, 65504, 6e-8f };
    return odd[rng_below(rng, sizeof odd / sizeof *odd)];
}

/* About normal, rarely ten times as large. */
static float usual_value(struct rng *rng)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += rng_unit(rng);
    return (float)(rng_below(rng, 64) ? sum : 10 * sum);
}

void random_floats(float *x, size_t n, struct rng *rng, bool hostile)
{
    for (size_t i = 0; i < n; i++)
        x[i] = hostile && rng_below(rng, 200) == 0 ? odd_value(rng) : usual_value(rng);
    for (size_t i = 0; i < n; i += 32)
        if (hostile &&
            rng_below(rng, 6) == 0) /* whole blocks: zeros of both signs, one value, subnormals */
            for (size_t j = i, kind = rng_below(rng, 3); j < n && j < i + 32; j++)
                x[j] = kind == 0   ? (rng_below(rng, 2) ? 0.0f : -0.0f)
                       : kind == 1 ? -1.5f
                                   : 1e-42f * x[j];
}

static f16 random_half(struct rng *rng, bool hostile)
{
    if (hostile && rng_below(rng, 3) == 0)
        return (f16)rng_u32(rng);
    if (hostile && rng_below(rng, 4) == 0)
        return f16_of_f32(odd_value(rng));
    return f16_of_f32((float)((rng_unit(rng) - 0.4) * 0.05));
}

static void random_block(uint8_t *block, enum dtype type, struct rng *rng, bool hostile)
{
    uint32_t bytes = dtype_info(type)->block_bytes;
    assert(maps[type].n_half);
    for (uint32_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)rng_u32(rng);
    if (rng_below(rng, 4) == 0) /* the largest sums, where 16 bits are just enough */
        set_codes(block, type, rng_below(rng, 2));
    if (type == DT_Q8_0 && rng_below(rng, 8) == 0)
        memset(block + 2, 0x80, 32);
    for (int i = 0; i < maps[type].n_half; i++) {
        f16 h = random_half(rng, hostile);
        memcpy(block + maps[type].half[i], &h, 2);
    }
}

static void random_element(uint8_t *element, enum dtype type, struct rng *rng, bool hostile)
{
    float f = hostile && rng_below(rng, 100) == 0 ? odd_value(rng) : usual_value(rng) * 0.03f;
    uint32_t bits = bits_of_f32(f);
    f16 h = type == DT_BF16 ? (f16)(bits >> 16) : f16_of_f32(f);
    if (type == DT_F32)
        memcpy(element, &bits, 4);
    else
        memcpy(element, &h, 2);
}

void random_weights(void *rows, enum dtype type, uint64_t n_row, uint32_t k, struct rng *rng,
                    bool hostile)
{
    const struct dtype_info *t = dtype_info(type);
    uint8_t *block = rows, *end = block + n_row * dtype_bytes(type, k);
    for (; block < end; block += t->block_bytes)
        if (t->block_elems > 1)
            random_block(block, type, rng, hostile);
        else
            random_element(block, type, rng, hostile);
}

void set_codes(void *block, enum dtype type, bool ones)
{
    uint8_t *b = block;
    memset(b + maps[type].codes[0], ones ? 0xff : 0, maps[type].codes[1]);
    memset(b + maps[type].high[0], ones ? 0xff : 0, maps[type].high[1]);
    if (type == DT_Q8_0) /* 0xff is only -1 */
        memset(b + 2, ones ? 0x7f : 0x80, 32);
}

size_t first_difference(const float *a, const float *b, size_t n)
{
    size_t i = 0;
    while (i < n && (bits_of_f32(a[i]) == bits_of_f32(b[i]) || (a[i] != a[i] && b[i] != b[i])))
        i++;
    return i;
}
