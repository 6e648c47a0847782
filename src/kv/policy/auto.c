/* auto - what we recommend: a budget for each head from the model's profile, and in each head the rows that any of
 * three measures wants.
 *
 *   rank = - min(place by a probe's attention, place by the last query's attention, place by expected attention)
 *   rank = - place by expected attention          of a head with fewer rows than the mean, where others have all
 *
 * Expected attention keeps what prose needs and loses single facts; the last query's keeps what the next sentence
 * needs, and the facts if it happens to stand at a paragraph's end; a probe always stands there (engine/replay.h). A
 * row stays where one of them wants it much. Where heads that find facts have all rows, the others need not look
 * for them. Sources: budgets of heads as KVzip's replay deals them (Kim et al. 2025), measured once a model
 * (kv/shares.h); ranks of TOVA (Oren et al. 2024) and Expected Attention (Devoto et al. 2025); the probe is ours. */
#include "kv/policy/all.h"
#include "kv/policy/expected.h"
#include "kv/policy/keydiff.h"
#include "kv/policy/measure.h"

enum { BY_LAST = 1, BY_EXPECTED = 2, BY_KEYS = 4, BY_PROBE = 8 };

enum { AS_RANKS = 7 }; // of `rest`: behind those of `ranks`

struct auto_options {
    struct kv_common common;
    uint32_t ranks, rest, recent_least;
};

#define RANKS                                                                                      \
    "last+expected expected last expected+keydiff last+expected+keydiff probe+expected "           \
    "probe+last+expected"

static const unsigned ranks_by[] = {
    BY_LAST | BY_EXPECTED,
    BY_EXPECTED,
    BY_LAST,
    BY_EXPECTED | BY_KEYS,
    BY_LAST | BY_EXPECTED | BY_KEYS,
    BY_PROBE | BY_EXPECTED,
    BY_PROBE | BY_LAST | BY_EXPECTED,
};

static const struct kv_option options[] = {
    { "ranks", KV_OPTION_WORD, offsetof(struct auto_options, ranks), NULL, "last+expected",
      "probe+last+expected", 0, 0, RANKS,
      "measures of which the best place counts: attention of the last query, of one at a "
      "paragraph's end that is read behind the text and forgotten (probe), of queries to come "
      "(expected), keys unlike others" },
    { "rest", KV_OPTION_WORD, offsetof(struct auto_options, rest), NULL, "ranks", "expected", 0, 0,
      RANKS " ranks",
      "the same of heads that have fewer rows than the mean, where others have all (whole), so "
      "that they need not look for facts; ranks: as of all" },
    { "recent_least", KV_OPTION_COUNT, offsetof(struct auto_options, recent_least), "rows", "16",
      "8", 0, 65536, NULL, "newest rows that stay where `recent` is a share and comes to fewer" },
};

/* Of heads with rows enough, and of the rest. */
static unsigned measures(const void *opt)
{
    return ranks_by[((const struct auto_options *)opt)->ranks];
}

static unsigned measures_of_rest(const void *opt)
{
    const uint32_t rest = ((const struct auto_options *)opt)->rest;
    return rest == AS_RANKS ? measures(opt) : ranks_by[rest];
}

static unsigned all_measures(const void *opt)
{
    return measures(opt) | measures_of_rest(opt);
}

static uint32_t auto_recent_least(const void *opt)
{
    return ((const struct auto_options *)opt)->recent_least;
}

static unsigned auto_needs(const void *opt)
{
    const unsigned by = all_measures(opt);
    return (by & (BY_LAST | BY_PROBE) ? KV_NEED_QUERIES : 0) | (by & BY_PROBE ? KV_NEED_PROBE : 0) |
           (by & BY_EXPECTED ? KV_NEED_MOMENTS : 0);
}

static uint32_t auto_n_query(const void *opt)
{
    const unsigned by = all_measures(opt);
    return (by & BY_LAST ? 1 : 0) + (by & BY_PROBE ? 1 : 0);
}

/* What query t of all those that were asked for is. */
static unsigned kind_of(const struct kv_rank_in *in, unsigned all, uint32_t t)
{
    return all & BY_LAST && t + 1 == in->n_query ? BY_LAST : BY_PROBE;
}

/* received [n_query][n_position]: attention of each query that was asked for, `all`, summed over the layer. */
static bool rank_head(const struct kv_rank_in *in, uint32_t h, unsigned all, unsigned by,
                      const float *received, float *rank)
{
    const struct kv_rank_head *head = &in->head[h];
    float *score = kv_rank_room(in, head->n, sizeof *score);
    if (!score)
        return false;
    for (uint32_t i = 0; i < head->n; i++)
        rank[i] = -(float)UINT32_MAX;
    for (uint32_t t = 0; t < in->n_query; t++) {
        if (!(by & kind_of(in, all, t)))
            continue;
        for (uint32_t i = 0; i < head->n; i++)
            score[i] = received[(size_t)t * in->n_position + head->position[i]];
        if (!measure_join(in, h, score, rank))
            return false;
    }
    if (by & BY_EXPECTED &&
        !(expected_of_head(in, h, true, true, score) && measure_join(in, h, score, rank)))
        return false;
    return !(by & BY_KEYS) || (keydiff_of_head(in, h, score) && measure_join(in, h, score, rank));
}

static void auto_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    const size_t n = in->n_position;
    const unsigned by[2] = { measures(opt), measures_of_rest(opt) };
    float *received = kv_rank_room(in, in->n_query * n + 1, sizeof *received);
    if (!received)
        return;
    for (uint32_t t = 0; t < in->n_query; t++)
        if (!measure_query(in, t, received + t * n))
            return;
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        if (!rank_head(in, h, all_measures(opt), by[in->whole && in->head[h].budget < in->budget],
                       received, rank[h]))
            return;
}

const struct kv_policy kv_policy_auto = {
    .name = "auto",
    .source = "ours: budgets of heads measured by replay (Kim et al. 2025, \"KVzip\"), ranks of "
              "Oren et al. 2024 and Devoto et al. 2025",
    .summary = "a budget for each head from the model's profile, three ranks inside: recommended",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct auto_options),
    .paper = { .sinks = "4", .recent = "5%", .every = "64", .shares = "profile" },
    .tuned = { .every = "16%", .round = "on", .even = "0.35", .whole = "profile" },
    .recent_least = auto_recent_least,
    .needs = auto_needs,
    .n_query = auto_n_query,
    .rank = auto_rank,
};
