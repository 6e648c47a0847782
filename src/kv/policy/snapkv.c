/* snapkv - what the prompt's last queries look at, with its neighbours.
 * Source: Li et al. 2024, "SnapKV: LLM Knows What You are Looking for Before Generation". One set a kv_head: the heads
 * of its group are added. */
#include "kv/policy/all.h"
#include "kv/policy/observed.h"

enum pool { POOL_MAX, POOL_MEAN };

struct snapkv_options {
    struct kv_common common;
    uint32_t window, kernel, pool;
};

#define AT(field) offsetof(struct snapkv_options, field)

static const struct kv_option options[] = {
    { "window", KV_OPTION_COUNT, AT(window), "queries", "32", NULL, 1, 512, NULL,
      "last queries that choose; their own rows stay" },
    { "kernel", KV_OPTION_COUNT, AT(kernel), "rows", "7", NULL, 1, 63, NULL,
      "neighbours that share in a row's score, itself included" },
    { "pool", KV_OPTION_WORD, AT(pool), NULL, "max", NULL, 0, 0, "max mean",
      "how neighbours share: the largest, or the mean" },
};

static unsigned snapkv_needs(const void *opt)
{
    (void)opt;
    return KV_NEED_QUERIES;
}

static uint32_t snapkv_n_query(const void *opt)
{
    return ((const struct snapkv_options *)opt)->window;
}

static void snapkv_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    const struct snapkv_options *o = opt;
    observed_rank(in, o->kernel, o->pool == POOL_MEAN, rank);
}

const struct kv_policy kv_policy_snapkv = {
    .name = "snapkv",
    .source = "Li et al. 2024, \"SnapKV: LLM Knows What You are Looking for Before Generation\"",
    .summary = "keeps what the prompt's last queries look at, with its neighbours",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct snapkv_options),
    .needs = snapkv_needs,
    .n_query = snapkv_n_query,
    .rank = snapkv_rank,
};
