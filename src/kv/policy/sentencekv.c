/* sentencekv - the sentences whose keys look like what the sentence being written asks for.
 *
 *   sentence    the mean of its keys is its address
 *   query       the mean of the queries of the sentence being written, this one's among them, over the heads of the group
 *   keep        of the prompt, keep_factor times the budget, by what its last queries look at: the rest is dropped
 *   read        sinks, recent rows, and the sentences with the largest product of the two, up to the budget
 *
 * Source: Zhu et al. 2025, "SentenceKV: Efficient LLM Inference via Sentence-Level Semantic KV Caching". One choice a kv_head
 * (the authors' code has one a head, over KV that it repeats for every head). The open sentence can be read by its rows so
 * far; in the authors' code those are out of reach until it closes. By default the token's own query asks: it finds more
 * (bench/RESULTS.md). Options beyond the source: addresses with a spread, or of bounds (Quest's), and cosines. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kv/policy/all.h"
#include "kv/policy/observed.h"
#include "kv/policy/units.h"

enum query { QUERY_MEAN, QUERY_TOKEN };
enum score { SCORE_DOT, SCORE_COS };

enum { NEIGHBOURS = 7 }; // rows that share in a row's rank, as in the source

struct sentencekv_options {
    struct kv_common common;
    float keep_factor;
    uint32_t window, boundaries, longest, least;
    uint32_t query, heads, address, score;
    uint32_t dense_first;
};

#define AT(field) offsetof(struct sentencekv_options, field)

static const struct kv_option options[] = {
    { "keep_factor", KV_OPTION_NUMBER, AT(keep_factor), NULL, "3", "inf", 1, INFINITY, NULL,
      "so many times the budget is kept behind the prompt, by what its last queries look at (as "
      "snapkv's); the rest is dropped; inf: everything is kept" },
    { "window", KV_OPTION_COUNT, AT(window), "queries", "32", NULL, 1, 512, NULL,
      "last queries that choose what is kept; their own rows stay" },
    { "boundaries", KV_OPTION_WORD, AT(boundaries), NULL, "strict", "auto", 0, 0,
      "auto strict newline fixed",
      "where sentences end: by text, at the marks of the source alone, at lines, or after "
      "`longest` "
      "tokens" },
    { "longest", KV_OPTION_COUNT, AT(longest), "tokens", "65536", "64", 1, 65536, NULL,
      "of a sentence; it is cut there" },
    { "least", KV_OPTION_COUNT, AT(least), "tokens", "1", "4", 1, 64, NULL,
      "of a sentence; shorter ones go on" },
    { "query", KV_OPTION_WORD, AT(query), NULL, "mean", "token", 0, 0, "mean token",
      "what asks: the mean of the sentence's queries, or the token's own" },
    { "heads", KV_OPTION_WORD, AT(heads), NULL, "sum", NULL, 0, 0, "sum max",
      "with query=token: over the heads that share a kv_head" },
    { "address", KV_OPTION_WORD, AT(address), NULL, "mean", NULL, 0, 0, "mean spread bounds",
      "what a sentence is found by: the mean of its keys, that and their spread, or their bounds "
      "as quest has them" },
    { "score", KV_OPTION_WORD, AT(score), NULL, "dot", NULL, 0, 0, "dot cos",
      "product of query and mean, or that by the mean's length" },
    { "dense_first", KV_OPTION_COUNT, AT(dense_first), "tokens", "2", "0", 0, 64, NULL,
      "first tokens of a written sentence, which read everything" },
};

/* In front of the units. The sum begins anew with each sentence. */
struct asking {
    uint32_t n; // queries of the sentence
    uint32_t unused[15];
    float sum[]; // [d]
};

static size_t asking_bytes(uint32_t d)
{
    return sizeof(struct asking) + ((size_t)d * sizeof(float) + 63) / 64 * 64;
}

static float sentencekv_factor(const void *opt)
{
    return ((const struct sentencekv_options *)opt)->keep_factor;
}

static unsigned sentencekv_needs(const void *opt)
{
    return isinf(sentencekv_factor(opt)) ? 0 : KV_NEED_QUERIES;
}

static uint32_t sentencekv_n_query(const void *opt)
{
    return ((const struct sentencekv_options *)opt)->window;
}

/* Rows that select stand behind all that is dropped (kv/select.h L4). */
static enum status sentencekv_check(const void *opt, struct note *why)
{
    const struct sentencekv_options *o = opt;
    if (o->common.every.n == 0)
        return OK;
    note_set(why, "every: %g: sentencekv drops nothing of an answer; it must be 0",
             o->common.every.n);
    return BAD_INPUT;
}

static void sentencekv_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    (void)opt;
    observed_rank(in, NEIGHBOURS, false, rank);
}

static struct units_kind sentences_of(const struct sentencekv_options *o)
{
    return (struct units_kind){ .least = o->least, .address = (enum units_address)o->address };
}

static size_t sentencekv_bytes(const void *opt, uint32_t n_position, uint32_t d)
{
    const struct units_kind kind = sentences_of(opt);
    return asking_bytes(d) + units_bytes(&kind, n_position, d);
}

static void sentencekv_enter(const void *opt, void *book, const struct kv_select_in *in,
                             uint32_t from, uint32_t to)
{
    const struct units_kind kind = sentences_of(opt);
    units_enter(&kind, (char *)book + asking_bytes(in->d), in, from, to);
}

static bool ended_before(const struct kv_select_in *in)
{
    const uint32_t last = in->n_position - 1;
    return in->n_position == 0 || (in->ends[last / KV_BLOCK] >> last % KV_BLOCK & 1);
}

/* One query more in the sentence. */
static void ask(struct asking *a, const struct kv_select_in *in)
{
    if (ended_before(in)) {
        a->n = 0;
        memset(a->sum, 0, in->d * sizeof *a->sum);
    }
    for (uint32_t g = 0; g < in->group; g++)
        in->kern->add(a->sum, in->q + (size_t)g * in->d, in->d);
    a->n++;
}

static bool sentencekv_select(const void *opt, void *book, const struct kv_select_in *in,
                              uint64_t *mask)
{
    const struct sentencekv_options *o = opt;
    const struct units_kind kind = sentences_of(o);
    struct asking *a = book;
    void *units = (char *)book + asking_bytes(in->d);
    const bool mean = o->query == QUERY_MEAN;
    ask(a, in);
    if (a->n <= o->dense_first)
        return false;
    units_score(&kind, units, in, mean ? a->sum : in->q, mean ? 1 : in->group,
                mean || o->heads == 0 ? UNITS_SUM : UNITS_MAX, o->score == SCORE_COS);
    units_take(&kind, units, in, mask);
    return true;
}

static struct kv_sentences sentencekv_sentences(const void *opt)
{
    const struct sentencekv_options *o = opt;
    return (struct kv_sentences){ (enum kv_boundaries)o->boundaries, o->longest };
}

static const struct kv_select_policy sentencekv = { .book_bytes = sentencekv_bytes,
                                                    .enter = sentencekv_enter,
                                                    .select = sentencekv_select,
                                                    .sentences = sentencekv_sentences };

const struct kv_policy kv_policy_sentencekv = {
    .name = "sentencekv",
    .source =
        "Zhu et al. 2025, \"SentenceKV: Efficient LLM Inference via Sentence-Level Semantic KV "
        "Caching\"",
    .summary = "a query reads the sentences that may matter to what is written",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct sentencekv_options),
    .paper = { .budget = "1024", .sinks = "32", .recent = "32" },
    .tuned = { .budget = "512", .every = "0" },
    .needs = sentencekv_needs,
    .n_query = sentencekv_n_query,
    .check = sentencekv_check,
    .rank = sentencekv_rank,
    .select = &sentencekv,
    .keep_factor = sentencekv_factor,
};
