/* AVX-512 attention, rows and scans where no processor has AVX-512: emulated, with the bits of ref. */
#include "support/simde_avx512.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kernels/kernels.h"

/* What the emulation's release lacks, by halves. */
static __m512i cvtepi8_epi32(__m128i x)
{
    return simde_halves_si(_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)));
}

static __m512i cvtepu32_epi64(__m256i x)
{
    return simde_halves_si(_mm256_cvtepu32_epi64(_mm256_castsi256_si128(x)),
                           _mm256_cvtepu32_epi64(_mm256_extracti128_si256(x, 1)));
}

static __m512 maskz_loadu_ps(__mmask16 lanes, const void *from)
{
    simde__m512_private p;
    for (int i = 0; i < 16; i++)
        p.f32[i] = lanes >> i & 1 ? ((const float *)from)[i] : 0;
    return simde__m512_from_private(p);
}

static void mask_storeu_ps(void *to, __mmask16 lanes, __m512 x)
{
    simde__m512_private p = simde__m512_to_private(x);
    for (int i = 0; i < 16; i++)
        if (lanes >> i & 1)
            ((float *)to)[i] = p.f32[i];
}

static __mmask16 cmplt_epu32_mask(__m512i a, __m512i b)
{
    uint32_t x[16], y[16];
    uint32_t bits = 0;
    _mm512_storeu_si512(x, a);
    _mm512_storeu_si512(y, b);
    for (uint32_t i = 0; i < 16; i++)
        bits |= (uint32_t)(x[i] < y[i]) << i;
    return (__mmask16)bits;
}

#define _mm512_cmplt_epu32_mask cmplt_epu32_mask
#define _mm512_cvtepi8_epi32 cvtepi8_epi32
#define _mm512_cvtepu32_epi64 cvtepu32_epi64
#define _mm512_maskz_loadu_ps maskz_loadu_ps
#define _mm512_mask_storeu_ps mask_storeu_ps

#define avx512_attn_partial emulated_attn_partial
#define avx512_attn_scores emulated_attn_scores
#define avx512_attn_mass emulated_attn_mass
#define avx512_low_rows emulated_low_rows
#define avx512_attn_leaves emulated_attn_leaves
#define avx512_attn_tiles emulated_attn_tiles
#define avx512_attn_pack emulated_attn_pack
#define avx512_rms_norm emulated_rms_norm
#define avx512_scan emulated_scan
#define avx512_scan_mass emulated_scan_mass
#define avx512_silu_gate emulated_silu_gate
#define avx512_gelu_gate emulated_gelu_gate
#define avx512_softcap emulated_softcap
#define avx512_softmax_stats emulated_softmax_stats
#define avx512_softmax emulated_softmax

#include "kernels/avx512/attention.c"
#include "kernels/avx512/attn_mass.c"
#include "kernels/avx512/attn_tile.c"
#include "kernels/avx512/rows.c"

#include "kernels/avx512/scan.c"

#include "kernels/tables.h"
#include "support/kernel_suite.h"

static struct kernels emulated(void)
{
    struct kernels k = kernels_ref;
    k.name = "avx512, emulated";
    k.attn_partial = emulated_attn_partial;
    k.attn_scores = emulated_attn_scores;
    k.attn_mass = emulated_attn_mass;
    k.low_rows = emulated_low_rows;
    k.rms_norm = emulated_rms_norm;
    k.scan = emulated_scan;
    k.scan_mass = emulated_scan_mass;
    k.silu_gate = emulated_silu_gate;
    k.gelu_gate = emulated_gelu_gate;
    k.softcap = emulated_softcap;
    k.softmax_stats = emulated_softmax_stats;
    k.softmax = emulated_softmax;
    return k;
}

/* The emulation fuses only where the processor does. */
static void skip_without_fma(void)
{
    const struct kernels *avx2;
    if (kernels_select(&avx2, "avx2", NULL) != OK)
        skip();
}

static void rows_have_the_bits_of_ref(void **state)
{
    (void)state;
    skip_without_fma();
    struct kernels k = emulated();
    suite_rows(&k, &kernels_ref, 1);
}

static void attention_has_the_bits_of_ref(void **state)
{
    (void)state;
    skip_without_fma();
    struct kernels k = emulated();
    suite_attention(&k, &kernels_ref, 1);
}

static void scans_have_the_bits_of_ref(void **state)
{
    (void)state;
    skip_without_fma();
    struct kernels k = emulated();
    suite_scan(&k, &kernels_ref, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_the_bits_of_ref),
        cmocka_unit_test(attention_has_the_bits_of_ref),
        cmocka_unit_test(scans_have_the_bits_of_ref),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
