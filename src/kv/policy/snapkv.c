/* snapkv - what the prompt's last queries look at, with its neighbours.
 * Source: Li et al. 2024, "SnapKV: LLM Knows What You are Looking for Before Generation". One set a kv_head: the heads of
 * its group are added. */
#include <math.h>

#include "kv/policy/all.h"
#include "kv/policy/measure.h"

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

/* Of n scores in order of position, the pool of those at most kernel / 2 away. */
static float pooled(const struct snapkv_options *o, const float *score, uint32_t n, uint32_t i)
{
    const uint32_t left = (o->kernel - 1) / 2, right = o->kernel / 2;
    const uint32_t from = i > left ? i - left : 0, to = n - i > right ? i + right : n - 1;
    float best = score[from], sum = 0;
    for (uint32_t j = from; j <= to; j++) {
        best = fmaxf(best, score[j]);
        sum += score[j];
    }
    return o->pool == POOL_MAX ? best : sum / (float)o->kernel;
}

/* Rows in front of the observing queries, in order of position. Answers how many. */
static uint32_t rows_in_order(const struct kv_rank_in *in, uint32_t h, uint32_t *row)
{
    const struct kv_rank_head *head = &in->head[h];
    uint32_t *at = kv_rank_room(in, in->n_position, sizeof *at), n = 0;
    for (uint32_t i = 0; at && i < head->n; i++)
        at[head->position[i]] = i + 1;
    for (uint32_t p = 0; at && p + in->n_query < in->n_position; p++)
        if (at[p])
            row[n++] = at[p] - 1;
    return n;
}

static void snapkv_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    for (uint32_t h = 0; h < in->n_kv_head; h++) {
        const uint32_t n_row = in->head[h].n;
        float *sum = kv_rank_room(in, n_row, sizeof *sum);
        float *score = kv_rank_room(in, n_row, sizeof *score);
        uint32_t *row = kv_rank_room(in, n_row, sizeof *row);
        if (!sum || !score || !row)
            return;
        for (uint32_t g = 0; g < in->group; g++)
            if (!measure_received(in, h, g, 0, NULL, sum))
                return;
        const uint32_t n = rows_in_order(in, h, row);
        for (uint32_t i = 0; i < n; i++)
            score[i] = sum[row[i]];
        for (uint32_t i = 0; i < n_row; i++)
            rank[h][i] = INFINITY; // the observing queries' own rows
        for (uint32_t i = 0; i < n; i++)
            rank[h][row[i]] = pooled(opt, score, n, i);
    }
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
