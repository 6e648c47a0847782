/* epicache - blocks of the history are read with an episode's own text behind them, and what that looks at stays.
 * Source: Kim et al. 2025, "EpiCache: Episodic KV Cache Management for Long Conversational Question Answering". Heads of a
 * layer share its budget. This is its rank; episodes and their texts are made above (docs/POLICIES.md). */
#include "kv/policy/all.h"
#include "kv/policy/measure.h"

static unsigned epicache_needs(const void *opt)
{
    (void)opt;
    return KV_NEED_MASS_PEAK;
}

static void epicache_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    (void)opt;
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        measure_mass(in, h, rank[h]);
}

const struct kv_policy kv_policy_epicache = {
    .name = "epicache",
    .source = "Kim et al. 2025, \"EpiCache: Episodic KV Cache Management for Long Conversational "
              "Question Answering\"",
    .summary = "keeps, for each episode of a conversation, what its own text looks at",
    .options_bytes = sizeof(struct kv_common),
    .paper = { .block = "512" },
    .tuned = { .recent = "32", .every = "0" },
    .scope = KV_SCOPE_LAYER,
    .replay = KV_REPLAY_EPISODE,
    .needs = epicache_needs,
    .rank = epicache_rank,
};
