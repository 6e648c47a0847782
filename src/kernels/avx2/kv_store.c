/* A row is converted eight elements at a time; its K elements then go one by one across the lanes of the part,
 * 64 apart: a line each (d 64: 4 KiB of lines). Rows of a block follow each other, so the lines they share stay in the
 * first cache. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/f16.h"
#include "kernels/avx2/fns.h"

static inline __m128i to_f16(const float *x)
{
    return _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
}

/* amax by its bits, which order like numbers with infinity and NaN on top. */
static float magnitude(const float *x, uint32_t d)
{
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
    __m256i top = _mm256_setzero_si256();
    for (uint32_t j = 0; j < d; j += 8)
        top = _mm256_max_epi32(
            top, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(x + j)), no_sign));
    __m128i by4 = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    __m128i by2 = _mm_max_epi32(by4, _mm_shuffle_epi32(by4, 0x4e));
    __m128i one = _mm_max_epi32(by2, _mm_shuffle_epi32(by2, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(one));
}

/* Eight int8, in the low half. */
static inline __m128i to_int8(const float *x, __m256 inv)
{
    const __m256 limit = _mm256_set1_ps(127);
    __m256 q = _mm256_mul_ps(_mm256_loadu_ps(x), inv);
    __m256 number = _mm256_cmp_ps(q, q, _CMP_ORD_Q);
    q = _mm256_round_ps(q, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    q = _mm256_min_ps(_mm256_max_ps(q, _mm256_sub_ps(_mm256_setzero_ps(), limit)), limit);
    __m256i n = _mm256_cvtps_epi32(_mm256_and_ps(q, number));
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    return _mm_packs_epi16(words, words);
}

/* The factor to int8; writes the row's scale behind the part's 64 * d elements. */
static __m256 int8_factor(void *part, uint32_t row, const float *x, uint32_t d)
{
    float amax = magnitude(x, d);
    ((float *)((char *)part + (size_t)KV_BLOCK * d))[row] = amax * (1.0f / 127.0f);
    return _mm256_set1_ps(amax != 0 ? 127.0f / amax : 0.0f);
}

void avx2_store_k(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d)
{
    if (type == KV_F32) {
        for (uint32_t j = 0; j < d; j++)
            ((float *)part)[(size_t)j * KV_BLOCK + row] = x[j];
        return;
    }
    __m256 inv = type == KV_INT8 ? int8_factor(part, row, x, d) : _mm256_setzero_ps();
    for (uint32_t j = 0; j < d; j += 8) {
        f16 half[8];
        int8_t byte[16];
        if (type == KV_F16) {
            _mm_storeu_si128((__m128i *)half, to_f16(x + j));
            for (uint32_t i = 0; i < 8; i++)
                ((f16 *)part)[(size_t)(j + i) * KV_BLOCK + row] = half[i];
        } else {
            _mm_storeu_si128((__m128i *)byte, to_int8(x + j, inv));
            for (uint32_t i = 0; i < 8; i++)
                ((int8_t *)part)[(size_t)(j + i) * KV_BLOCK + row] = byte[i];
        }
    }
}

void avx2_store_v(enum kv_type type, void *part, uint32_t row, const float *x, uint32_t d)
{
    size_t first = (size_t)row * d;
    if (type == KV_F32) {
        memcpy((float *)part + first, x, d * sizeof *x);
    } else if (type == KV_F16) {
        for (uint32_t j = 0; j < d; j += 8)
            _mm_storeu_si128((__m128i *)((f16 *)part + first + j), to_f16(x + j));
    } else {
        __m256 inv = int8_factor(part, row, x, d);
        for (uint32_t j = 0; j < d; j += 8)
            _mm_storel_epi64((__m128i *)((int8_t *)part + first + j), to_int8(x + j, inv));
    }
}

static __m256 int8_scale(const void *part, uint32_t row, uint32_t d)
{
    return _mm256_set1_ps(((const float *)((const char *)part + (size_t)KV_BLOCK * d))[row]);
}

static inline __m256 of_int8(const int8_t *x, __m256 scale)
{
    __m256i n = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)x));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(n), scale);
}

static inline __m256 of_f16(const f16 *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x));
}

void avx2_load_k(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d)
{
    const __m256 scale = type == KV_INT8 ? int8_scale(part, row, d) : _mm256_setzero_ps();
    for (uint32_t j = 0; j < d; j += 8) {
        const size_t first = (size_t)j * KV_BLOCK + row;
        f16 half[8];
        int8_t byte[8];
        for (uint32_t i = 0; i < 8; i++) {
            if (type == KV_F32)
                x[j + i] = ((const float *)part)[first + i * KV_BLOCK];
            else if (type == KV_F16)
                half[i] = ((const f16 *)part)[first + i * KV_BLOCK];
            else
                byte[i] = ((const int8_t *)part)[first + i * KV_BLOCK];
        }
        if (type != KV_F32)
            _mm256_storeu_ps(x + j, type == KV_F16 ? of_f16(half) : of_int8(byte, scale));
    }
}

void avx2_load_v(enum kv_type type, const void *part, uint32_t row, float *x, uint32_t d)
{
    const size_t first = (size_t)row * d;
    if (type == KV_F32) {
        memcpy(x, (const float *)part + first, d * sizeof *x);
        return;
    }
    const __m256 scale = type == KV_INT8 ? int8_scale(part, row, d) : _mm256_setzero_ps();
    for (uint32_t j = 0; j < d; j += 8)
        _mm256_storeu_ps(x + j, type == KV_F16 ? of_f16((const f16 *)part + first + j)
                                               : of_int8((const int8_t *)part + first + j, scale));
}
