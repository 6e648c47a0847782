/* h2o - the rows that received most attention so far (heavy hitters), and the newest.
 *
 *   prompt    acc[j] += attention of every query to row j;  at its end keep the newest k_r and the best of the rest
 *   decode    each token adds its attention, and the lowest row outside of the newest leaves
 *
 * Source: Zhang et al. 2023, "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models".
 * One set a kv_head: the heads of its group are added (the paper has one set a head and no groups). Options beyond it:
 * mean, ema and last of A2SF (2407.20485) and TOVA's kin, values as VATP (2406.12335) weighs them. */
#include <math.h>
#include <string.h>

#include "kv/policy/all.h"
#include "kv/policy/measure.h"

enum score { SCORE_SUM, SCORE_MEAN, SCORE_EMA, SCORE_LAST };
enum group { GROUP_SUM, GROUP_MAX };
enum { POS_ORIGINAL, POS_ROLLING };

struct h2o_options {
    struct kv_common common;
    uint32_t score, group;
    uint32_t last, pos;
    float decay;
    bool values;
};

#define AT(field) offsetof(struct h2o_options, field)

static const struct kv_option options[] = {
    { "score", KV_OPTION_WORD, AT(score), NULL, "sum", NULL, 0, 0, "sum mean ema last",
      "attention received: its sum, its mean over the queries that saw the row, or that of the "
      "last queries, decayed or not" },
    { "group", KV_OPTION_WORD, AT(group), NULL, "sum", NULL, 0, 0, "sum max",
      "over the heads that share a kv_head (max: with score=ema or last)" },
    { "last", KV_OPTION_COUNT, AT(last), "queries", "32", NULL, 1, 512, NULL,
      "queries that score=ema and last look at" },
    { "decay", KV_OPTION_NUMBER, AT(decay), NULL, "0.95", NULL, 0, 1, NULL,
      "factor of score=ema from one query to the one before" },
    { "values", KV_OPTION_SWITCH, AT(values), NULL, "off", NULL, 0, 0, NULL,
      "times the sum of absolute values of the row's V" },
    { "pos", KV_OPTION_WORD, AT(pos), NULL, "original", NULL, 0, 0, "original rolling",
      "positions of the kept rows: as they were, or counted inside the cache" },
};

static bool counts(const struct h2o_options *o)
{
    return o->score == SCORE_SUM || o->score == SCORE_MEAN;
}

static bool h2o_by_mass(const void *opt)
{
    const struct h2o_options *o = opt;
    return o->score == SCORE_SUM && !o->values;
}

static bool h2o_rolls(const void *opt)
{
    return ((const struct h2o_options *)opt)->pos == POS_ROLLING;
}

static unsigned h2o_needs(const void *opt)
{
    return counts(opt) ? KV_NEED_MASS_SUM : KV_NEED_QUERIES;
}

static uint32_t h2o_n_query(const void *opt)
{
    const struct h2o_options *o = opt;
    return counts(o) ? 0 : o->last;
}

static enum status h2o_check(const void *opt, struct note *why)
{
    const struct h2o_options *o = opt;
    if (o->group == GROUP_SUM || !counts(o))
        return OK;
    note_set(why,
             "group=max: sums over all queries are kept for a whole group of heads; use it with "
             "score=last or score=ema");
    return BAD_INPUT;
}

static void rank_counted(const struct h2o_options *o, const struct kv_rank_in *in, uint32_t h,
                         float *rank)
{
    const struct kv_rank_head *head = &in->head[h];
    measure_mass(in, h, rank);
    for (uint32_t i = 0; o->score == SCORE_MEAN && i < head->n; i++)
        rank[i] /= (float)(in->n_position - head->position[i]);
}

/* factor [n_query]: of the last query 1, decay less for each before. */
static const float *decays(const struct h2o_options *o, const struct kv_rank_in *in)
{
    float *factor = kv_rank_room(in, in->n_query + 1, sizeof *factor), f = 1;
    for (uint32_t t = in->n_query; factor && t > 0; t--) {
        factor[t - 1] = f;
        f *= o->score == SCORE_EMA ? o->decay : 1;
    }
    return factor;
}

static bool rank_last(const struct h2o_options *o, const struct kv_rank_in *in, uint32_t h,
                      float *rank)
{
    const struct kv_rank_head *head = &in->head[h];
    const float *factor = decays(o, in);
    float *of_head = kv_rank_room(in, head->n, sizeof *of_head);
    if (!factor || !of_head)
        return false;
    memset(rank, 0, head->n * sizeof *rank);
    for (uint32_t g = 0; g < in->group; g++) {
        memset(of_head, 0, head->n * sizeof *of_head);
        if (!measure_received(in, h, g, 0, factor, of_head))
            return false;
        for (uint32_t i = 0; i < head->n; i++)
            rank[i] = o->group == GROUP_SUM ? rank[i] + of_head[i] : fmaxf(rank[i], of_head[i]);
    }
    return true;
}

static void h2o_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    const struct h2o_options *o = opt;
    for (uint32_t h = 0; h < in->n_kv_head; h++) {
        if (counts(o))
            rank_counted(o, in, h, rank[h]);
        else if (!rank_last(o, in, h, rank[h]))
            return;
        if (!o->values)
            continue;
        float *norm = kv_rank_room(in, in->head[h].n, sizeof *norm);
        if (!norm || !measure_values(in, h, true, norm))
            return;
        for (uint32_t i = 0; i < in->head[h].n; i++)
            rank[h][i] *= norm[i];
    }
}

#define H2O                                                                                        \
    .source = "Zhang et al. 2023, \"H2O: Heavy-Hitter Oracle for Efficient Generative Inference "  \
              "of Large Language Models\"",                                                        \
    .option = options, .n_option = sizeof options / sizeof *options,                               \
    .options_bytes = sizeof(struct h2o_options), .needs = h2o_needs, .n_query = h2o_n_query,       \
    .check = h2o_check, .evicts_each = true, .by_mass = h2o_by_mass, .rolls = h2o_rolls,           \
    .rank = h2o_rank

const struct kv_policy kv_policy_h2o = {
    .name = "h2o",
    .summary = "keeps the rows that received most attention so far, and the newest",
    .paper = { .recent = "50%" },
    .tuned = { .every = "0" },
    H2O,
};

const struct kv_policy kv_policy_h2o_chunked = {
    .name = "h2o-chunked",
    .summary = "h2o that drops while the prompt is read: bounded memory, and lossier",
    .paper = { .recent = "50%", .block = "512" },
    .tuned = { .every = "0" },
    H2O,
};
