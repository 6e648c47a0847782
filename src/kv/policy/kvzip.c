/* kvzip - what is needed to repeat the text: it is read over its own cache, and rows that no replayed token looks at
 * go.
 * Source: Kim et al. 2025, "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction". */
#include "kv/policy/all.h"
#include "kv/policy/measure.h"

static unsigned kvzip_needs(const void *opt)
{
    (void)opt;
    return KV_NEED_MASS_PEAK;
}

static void kvzip_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    (void)opt;
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        measure_mass(in, h, rank[h]);
}

const struct kv_policy kv_policy_kvzip = {
    .name = "kvzip",
    .source = "Kim et al. 2025, \"KVzip: Query-Agnostic KV Cache Compression with Context "
              "Reconstruction\"",
    .summary = "keeps what is needed to repeat the text, found by repeating it",
    .options_bytes = sizeof(struct kv_common),
    .paper = { .sinks = "4" },
    .tuned = { .recent = "10%", .every = "0" },
    .scope = KV_SCOPE_MODEL,
    .replay = KV_REPLAY_TEXT,
    .needs = kvzip_needs,
    .rank = kvzip_rank,
};
