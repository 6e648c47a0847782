#include "kernels/scan.h"

#include <math.h>
#include <string.h>

enum { KEY_MAX = 7, KEY_BITS = 4, UNSIGNED = 8, QUERY_MAX = 127 };

size_t scan_part_bytes(uint32_t d)
{
    return (size_t)SCAN_KEYS * d / 2 + SCAN_KEYS * sizeof(float);
}

/* The largest |x|; NaN where one is. */
static float largest(const float *x, uint32_t d)
{
    float amax = 0, not_a_number = 0;
    for (uint32_t j = 0; j < d; j++) {
        const float a = fabsf(x[j]);
        amax = a > amax ? a : amax;
        not_a_number = x[j] != x[j] ? x[j] : not_a_number;
    }
    return not_a_number != 0 ? not_a_number : amax;
}

/* Ties to even; x in (-2^22, 2^22). */
static int32_t nearest(float x)
{
    const float magic = 0x1.8p23f;
    return (int32_t)((x + magic) - magic);
}

static int32_t code_of(float x, float inv, int32_t most)
{
    const float c = x * inv, m = (float)most;
    if (!(c == c))
        return 0;
    return nearest(c > m ? m : c < -m ? -m : c);
}

void scan_store(void *part, uint32_t row, const float *k, uint32_t d)
{
    uint8_t *code = part;
    const float amax = largest(k, d), scale = amax * (1.0f / KEY_MAX);
    const float inv = amax > 0 ? KEY_MAX / amax : 0;
    for (uint32_t j = 0; j < d; j++) {
        uint8_t *to = code + ((size_t)j / 8 * SCAN_KEYS + row) * 4 + j % 4;
        const uint32_t c = (uint32_t)(code_of(k[j], inv, KEY_MAX) + UNSIGNED);
        *to = (uint8_t)(j % 8 < 4 ? c : *to | c << KEY_BITS);
    }
    memcpy(code + (size_t)SCAN_KEYS * d / 2 + row * sizeof scale, &scale, sizeof scale);
}

void scan_ask(struct scan_query *out, const float *q, uint32_t d, float scale)
{
    const float amax = largest(q, d), inv = amax > 0 ? QUERY_MAX / amax : 0;
    out->sum = 0;
    out->factor = amax * (1.0f / QUERY_MAX) * scale;
    for (uint32_t j = 0; j < d; j++) {
        const int32_t code = code_of(q[j], inv, QUERY_MAX);
        out->code[j] = (int8_t)code;
        out->sum += code;
    }
}
