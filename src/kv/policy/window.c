/* window - the first tokens and the newest; the middle goes first.
 * Source: Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks". With pos=rolling, as there,
 * positions are counted inside the cache: what went leaves no distance behind (kv_excerpt_turn). */
#include "kv/policy/all.h"
#include "kv/rank.h"

enum { POS_ORIGINAL, POS_ROLLING };

struct window_options {
    struct kv_common common;
    uint32_t pos;
};

static const struct kv_option options[] = {
    { "pos", KV_OPTION_WORD, offsetof(struct window_options, pos), NULL, "rolling", "original", 0,
      0, "original rolling",
      "positions of the kept rows: as they were, or counted inside the cache" },
};

static bool window_rolls(const void *opt)
{
    return ((const struct window_options *)opt)->pos == POS_ROLLING;
}

static void window_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    (void)opt;
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        for (uint32_t i = 0; i < in->head[h].n; i++)
            rank[h][i] = (float)in->head[h].position[i];
}

const struct kv_policy kv_policy_window = {
    .name = "window",
    .source = "Xiao et al. 2023, \"Efficient Streaming Language Models with Attention Sinks\"",
    .summary = "keeps the first tokens (sinks) and the most recent ones",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct window_options),
    .paper = { .sinks = "4", .every = "1" },
    .tuned = { .every = "16" },
    .rolls = window_rolls,
    .rank = window_rank,
};
