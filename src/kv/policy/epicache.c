/* epicache - blocks of the history are read with an episode's own text behind them, and what that looks at stays.
 * Source: Kim et al. 2025, "EpiCache: Episodic KV Cache Management for Long Conversational Question Answering". This is
 * its rank; episodes and their texts are made above (engine/episodes.h). */
#include "kv/policy/epicache.h"

#include "kv/policy/all.h"
#include "kv/policy/expected.h"
#include "kv/policy/measure.h"

#define AT(field) offsetof(struct epicache_options, field)

static const struct kv_option options[] = {
    { "episodes", KV_OPTION_COUNT, AT(n_episode), NULL, "4", "8", 0, 64, NULL,
      "topics that a history is divided into; 0: 2 to 8, as many as divide it best" },
    { "segment", KV_OPTION_COUNT, AT(n_turn), "turns", "4", NULL, 1, 64, NULL,
      "turns in a row that count as one when topics are looked for" },
    { "reps", KV_OPTION_COUNT, AT(n_rep), "segments", "1", "8", 1, 64, NULL,
      "segments nearest to its middle that are an episode's own text" },
    { "ranks", KV_OPTION_WORD, AT(ranks), NULL, "mass", "mass+expected", 0, 0, "mass mass+expected",
      "who stays: what an episode's text looks at (mass), heads of a layer sharing its budget; or, "
      "in each head, also what queries to come are expected to look at" },
    { "embed", KV_OPTION_WORD, AT(embed), NULL, "minilm", "tfidf", 0, 0, "tfidf self minilm",
      "what says how near two texts are: rare words, the model's own hidden states, or a sentence "
      "encoder (`akvifer pull minilm`)" },
    { "embed_layer", KV_OPTION_NUMBER, AT(embed_layer), NULL, "0", "1", 0, 1, NULL,
      "with embed=self, the part of the model's layers behind which hidden states are taken; 0: "
      "its "
      "input embeddings" },
    { "embed_of", KV_OPTION_WORD, AT(embed_of), NULL, "text", "asked", 0, 0, "text asked",
      "with embed=self, whose hidden states: the text's own, or those of words behind it that ask "
      "what it is about" },
    { "blur", KV_OPTION_NUMBER, AT(blur), NULL, "0", "0.5", 0, 1, NULL,
      "part of the segments before and behind in what a segment is about" },
    { "support", KV_OPTION_WORD, AT(support), NULL, "past", NULL, 0, 0, "past all",
      "attention is counted as a share of what goes to the history, or of all that an episode's "
      "text looks at, itself included" },
    { "new", KV_OPTION_NUMBER, AT(new_below), NULL, "0", NULL, 0, 1, NULL,
      "a question less near than this to every episode begins one of its own; 0: never" },
    { "stay", KV_OPTION_NUMBER, AT(stay), NULL, "0", "0.02", 0, 1, NULL,
      "a turn leaves the episode of the one before it only where another is nearer by this" },
    { "park", KV_OPTION_WORD, AT(park), NULL, "off", NULL, 0, 0, "off ram",
      "where an episode goes that nobody reads when blocks are short: away, to be built again, or "
      "into memory outside of the cap, as much as the cap at most" },
    { "route", KV_OPTION_WORD, AT(route), NULL, "nearest", NULL, 0, 0, "nearest random",
      "the episode that a question reads: the nearest, or (a control) one drawn by a hash" },
};

static uint32_t ranks_of(const void *opt)
{
    return ((const struct epicache_options *)opt)->ranks;
}

static unsigned epicache_needs(const void *opt)
{
    return KV_NEED_MASS_PEAK | (ranks_of(opt) == EPICACHE_MASS ? 0 : KV_NEED_MOMENTS);
}

/* Places in an order say nothing about another head's rows. */
static enum kv_scope epicache_scope(const void *opt)
{
    return ranks_of(opt) == EPICACHE_MASS ? KV_SCOPE_LAYER : KV_SCOPE_HEAD;
}

/* The better of a row's places by what it received and by what it is expected to receive. */
static bool rank_places(const struct kv_rank_in *in, uint32_t h, float *rank)
{
    const uint32_t n = in->head[h].n;
    float *score = kv_rank_room(in, n, sizeof *score);
    if (!score)
        return false;
    for (uint32_t i = 0; i < n; i++)
        rank[i] = -(float)UINT32_MAX;
    measure_mass(in, h, score);
    return measure_join(in, h, score, rank) && expected_of_head(in, h, true, true, score) &&
           measure_join(in, h, score, rank);
}

static void epicache_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        if (ranks_of(opt) == EPICACHE_MASS)
            measure_mass(in, h, rank[h]);
        else if (!rank_places(in, h, rank[h]))
            return;
}

const struct kv_policy kv_policy_epicache = {
    .name = "epicache",
    .source = "Kim et al. 2025, \"EpiCache: Episodic KV Cache Management for Long Conversational "
              "Question Answering\"",
    .summary = "keeps, for each episode of a conversation, what its own text looks at",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct epicache_options),
    .paper = { .block = "512", .shares = "layers" },
    .tuned = { .recent = "32",
               .every = "0",
               .shares = "profile",
               .round = "on",
               .even = "0.35",
               .whole = "profile" },
    .replay = KV_REPLAY_EPISODE,
    .scope_of = epicache_scope,
    .needs = epicache_needs,
    .rank = epicache_rank,
};
