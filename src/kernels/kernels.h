/* kernels/kernels.h - one table of functions an instruction set; which one runs is decided at
 * start.
 *
 * Every table gives the same bits (docs/NUMERICS.md): tests/kernels compare them with memcmp.
 * Threads  any. Kernels do not allocate, block, log or fail. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "base/note.h"
#include "base/status.h"
#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/peak.h"
#include "kernels/rows.h"
#include "kernels/scan.h"

struct kernels {
    const char *name;                 // "ref", "avx2", "avx512", "amx"
    uint32_t raised_from, tiles_from; // rows from which batches lie in raised tiles, in tiles as
                                      // they are (matmul.h); UINT32_MAX: none do
    bool reads_excess;                // matmul reads acts.excess
    kern_quantise *quantise;
    kern_matmul *matmul;
    kern_attn_partial *attn_partial;
    kern_attn_merge *attn_merge;
    kern_attn_finish *attn_finish;
    kern_attn_scores *attn_scores;
    kern_attn_mass *attn_mass;
    kern_low_rows *low_rows;
    kern_scan *scan;
    kern_scan_mass *scan_mass;
    kern_store_k *store_k;
    kern_store_v *store_v;
    kern_load_k *load_k;
    kern_load_v *load_v;
    kern_rms_norm *rms_norm;
    kern_rope *rope;
    kern_add *add;
    kern_scale *scale;
    kern_gate *silu_gate;
    kern_gate *gelu_gate;
    kern_softcap *softcap;
    kern_softmax_stats *softmax_stats;
    kern_softmax *softmax;
    kern_moments *moments;
    kern_squares *squares;
    kern_deflate *deflate;
    kern_peak *peak_int8, *peak_f32;
    kern_peak_read *peak_read;
};

/* How a batch of n_row rows lies. */
static inline enum acts_form kernels_form(const struct kernels *k, uint32_t n_row)
{
    return n_row >= k->tiles_from    ? ACTS_TILES
           : n_row >= k->raised_from ? ACTS_RAISED_TILES
                                     : ACTS_BLOCKS;
}

/* "auto": the best table for this processor; or the one of that name ("ref", "avx2", "avx512", "amx").
 * BAD_INPUT: no such name, or this processor lacks it (the note says what is missing and what there
 * is). */
must_use enum status kernels_select(const struct kernels **out, const char *name, struct note *why);

/* The tables this processor can run, ref first: for tests and `--help`. Answers how many. */
uint32_t kernels_available(const struct kernels **out, uint32_t max);

/* One line about the processor and the table that runs, e.g. "avx2 (AMD EPYC ..., AVX2 FMA
 * F16C)". */
const char *kernels_describe(const struct kernels *k, char *text, unsigned size);

enum { PROCESSOR_NAME = 49 };
/* The processor's own name for itself, e.g. "AMD EPYC"; "x86-64" when it has none. */
const char *kernels_processor(char text[PROCESSOR_NAME]);

#endif
