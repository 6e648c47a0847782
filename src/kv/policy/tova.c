/* tova - what the last query looks at, the same rows in all kv_heads of a layer.
 * Source: Oren et al. 2024, "Transformers are Multi-State RNNs". The mean over the heads of the layer orders as their
 * sum. */
#include "kv/policy/all.h"
#include "kv/policy/measure.h"

static unsigned tova_needs(const void *opt)
{
    (void)opt;
    return KV_NEED_QUERIES;
}

static uint32_t tova_n_query(const void *opt)
{
    (void)opt;
    return 1;
}

static void tova_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    (void)opt;
    float *received = kv_rank_room(in, in->n_position, sizeof *received);
    if (!received || !measure_query(in, 0, received))
        return;
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        for (uint32_t i = 0; i < in->head[h].n; i++)
            rank[h][i] = received[in->head[h].position[i]];
}

const struct kv_policy kv_policy_tova = {
    .name = "tova",
    .source = "Oren et al. 2024, \"Transformers are Multi-State RNNs\"",
    .summary = "keeps what the last query looks at",
    .options_bytes = sizeof(struct kv_common),
    .paper = { .every = "1" },
    .tuned = { .every = "16" },
    .needs = tova_needs,
    .n_query = tova_n_query,
    .rank = tova_rank,
};
