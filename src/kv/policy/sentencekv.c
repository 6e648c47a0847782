/* sentencekv - the sentences whose keys look like what the sentence being written asks for.
 *
 *   sentence    the mean of its keys is its address
 *   query       the mean of the queries of the sentence being written, this one's among them, over the heads of the
 *               group
 *   keep        of the prompt, keep_factor times the budget, by what its last queries look at: the rest is dropped
 *   read        sinks, recent rows, and the sentences with the largest product of the two, up to the budget; chosen
 *               anew for each query, or once a sentence, or where what asks has turned away from what asked
 *   by_rows     heads that retrieve, by the model's profile, instead: the sentences whose rows would receive most
 *               attention
 *
 * Source: Zhu et al. 2025, "SentenceKV: Efficient LLM Inference via Sentence-Level Semantic KV Caching". One choice a
 * kv_head, or one a head (as in the authors' code, which repeats KV for every head). The open sentence can be read by
 * its rows so far; in the authors' code those are out of reach until it closes. By default the token's own query asks:
 * it finds more (bench/RESULTS.md). Beyond the source: by_rows, addresses with a spread, or of bounds (Quest's), and
 * cosines. */
#include <math.h>
#include <string.h>

#include "base/kmeans.h"
#include "kernels/kernels.h"
#include "kv/policy/all.h"
#include "kv/policy/observed.h"
#include "kv/policy/units.h"

enum query { QUERY_MEAN, QUERY_TOKEN };
enum heads { HEADS_SUM, HEADS_MAX, HEADS_EACH };
enum score { SCORE_DOT, SCORE_COS };
enum rerank { RERANK_EVERY, RERANK_BOUNDARY, RERANK_DRIFT };

enum {
    NEIGHBOURS = 7,
    KEY_MAX = 512
}; // rows that share in a row's rank, as in the source; elements of a key

struct sentencekv_options {
    struct kv_common common;
    float keep_factor;
    uint32_t window, boundaries, longest, least;
    uint32_t query, heads, address, score;
    uint32_t dense_first, rerank;
    float drift, by_rows;
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
    { "heads", KV_OPTION_WORD, AT(heads), NULL, "each", "sum", 0, 0, "sum max each",
      "with query=token: over the heads that share a kv_head; each: every head chooses for "
      "itself" },
    { "address", KV_OPTION_WORD, AT(address), NULL, "mean", NULL, 0, 0, "mean spread bounds",
      "what a sentence is found by: the mean of its keys, that and their spread, or their bounds "
      "as quest has them" },
    { "by_rows", KV_OPTION_NUMBER, AT(by_rows), NULL, "inf", "0.5", 0, INFINITY, NULL,
      "with query=token: heads with a larger share in the model's profile (at 10%) find sentences "
      "by the attention that all their rows would receive; without a profile none does" },
    { "score", KV_OPTION_WORD, AT(score), NULL, "dot", NULL, 0, 0, "dot cos",
      "product of query and mean, or that by the mean's length" },
    { "dense_first", KV_OPTION_COUNT, AT(dense_first), "tokens", "2", "0", 0, 64, NULL,
      "first tokens of a written sentence, which read everything" },
    { "rerank", KV_OPTION_WORD, AT(rerank), NULL, "every", "drift", 0, 0, "every boundary drift",
      "when sentences are chosen: for every query, for the first of a written sentence, or also "
      "where what asks has turned away from what asked then" },
    { "drift", KV_OPTION_NUMBER, AT(drift), NULL, "0.98", "0.8", -1, 1, NULL,
      "with rerank=drift, the cosine between the two below which it has" },
};

/* In front of the units, of each who asks: the query, and what was chosen last. The sum begins anew with each
 * sentence. */
struct asking {
    uint32_t n;      // queries of the sentence
    uint32_t n_word; // chosen for one of them
    bool chose;      // whether anything was
    uint32_t unused[13];
    float sum[]; // [d]; behind it the query that chose [d], and what was chosen
};

/* Positions of one block. A choice has few: its mask, whole, is 1 KiB at 8k, and cold whenever it is read. */
struct word {
    uint64_t bits;
    uint64_t block;
};

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static float *asked_of(struct asking *a, uint32_t d)
{
    return a->sum + whole_lines(d * sizeof(float)) / sizeof(float);
}

static struct word *chosen_of(struct asking *a, uint32_t d)
{
    return (struct word *)(asked_of(a, d) + whole_lines(d * sizeof(float)) / sizeof(float));
}

/* Of up to n_position positions; nothing is remembered where every query chooses. */
static size_t asking_bytes(const struct sentencekv_options *o, uint32_t n_position, uint32_t d)
{
    const size_t row = whole_lines(d * sizeof(float)),
                 words = whole_lines((n_position / KV_BLOCK + 1) * sizeof(struct word));
    return sizeof(struct asking) + row + (o->rerank == RERANK_EVERY ? 0 : row + words);
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

static struct units_kind sentences_of(const struct sentencekv_options *o, float share)
{
    const bool rows = o->query == QUERY_TOKEN && share > o->by_rows;
    return (struct units_kind){ .least = o->least,
                                .address = rows ? UNITS_ROWS : (enum units_address)o->address };
}

static size_t sentencekv_room(const void *opt, uint32_t n_position)
{
    const struct units_kind kind = sentences_of(opt, INFINITY);
    return units_room(&kind, n_position);
}

static bool sentencekv_apart(const void *opt)
{
    return ((const struct sentencekv_options *)opt)->heads == HEADS_EACH;
}

static size_t sentencekv_bytes(const void *opt, uint32_t n_position, uint32_t d, uint32_t n_asker,
                               float share)
{
    const struct units_kind kind = sentences_of(opt, share);
    return n_asker * asking_bytes(opt, n_position, d) + units_bytes(&kind, n_position, d);
}

static struct asking *asking_in(const struct sentencekv_options *o, void *book,
                                const struct kv_select_in *in)
{
    const size_t each = asking_bytes(o, in->n_position_max, in->d);
    return (struct asking *)((char *)book + in->asker * each);
}

static void *units_in(const struct sentencekv_options *o, void *book, const struct kv_select_in *in)
{
    return (char *)book + in->n_asker * asking_bytes(o, in->n_position_max, in->d);
}

static void sentencekv_enter(const void *opt, void *book, const struct kv_select_in *in,
                             uint32_t from, uint32_t to)
{
    const struct units_kind kind = sentences_of(opt, in->share);
    units_enter(&kind, units_in(opt, book, in), in, from, to);
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
        a->chose = false;
        memset(a->sum, 0, in->d * sizeof *a->sum);
    }
    for (uint32_t g = 0; g < in->group; g++)
        in->kern->add(a->sum, in->q + (size_t)g * in->d, in->d);
    a->n++;
}

/* What asks, as one vector: of the sentence, or of the token. */
static const float *query_of(const struct sentencekv_options *o, const struct asking *a,
                             const struct kv_select_in *in, float *sum)
{
    if (o->query == QUERY_MEAN)
        return a->sum;
    memcpy(sum, in->q, in->d * sizeof *sum);
    for (uint32_t g = 1; g < in->group; g++)
        in->kern->add(sum, in->q + (size_t)g * in->d, in->d);
    return sum;
}

/* Whether what was chosen for an earlier query of the sentence is read again. */
static bool stays(const struct sentencekv_options *o, struct asking *a,
                  const struct kv_select_in *in)
{
    float sum[KEY_MAX];
    if (!a->chose || o->rerank != RERANK_DRIFT)
        return a->chose;
    const float *now = query_of(o, a, in, sum), *then = asked_of(a, in->d);
    const float lengths = dot_of(now, now, in->d) * dot_of(then, then, in->d);
    return dot_of(now, then, in->d) >= o->drift * sqrtf(lengths);
}

static void choose(const struct sentencekv_options *o, void *book, const struct kv_select_in *in,
                   uint64_t *mask)
{
    const struct units_kind kind = sentences_of(o, in->share);
    const struct asking *a = asking_in(o, book, in);
    void *units = units_in(o, book, in);
    const bool mean = o->query == QUERY_MEAN;
    units_score(&kind, units, in, mean ? a->sum : in->q, mean ? 1 : in->group,
                mean || o->heads == HEADS_SUM ? UNITS_SUM : UNITS_MAX, o->score == SCORE_COS);
    units_take(&kind, units, in, mask);
}

static void remember(const struct sentencekv_options *o, struct asking *a,
                     const struct kv_select_in *in, const uint64_t *mask)
{
    float sum[KEY_MAX];
    struct word *word = chosen_of(a, in->d);
    memcpy(asked_of(a, in->d), query_of(o, a, in, sum), in->d * sizeof *sum);
    a->chose = true;
    a->n_word = 0;
    for (uint32_t b = 0; b <= in->n_position / KV_BLOCK; b++)
        if (mask[b])
            word[a->n_word++] = (struct word){ mask[b], b };
}

static void read_again(struct asking *a, const struct kv_select_in *in, uint64_t *mask)
{
    const struct word *word = chosen_of(a, in->d);
    for (uint32_t i = 0; i < a->n_word; i++)
        mask[word[i].block] = word[i].bits;
}

static bool sentencekv_select(const void *opt, void *book, const struct kv_select_in *in,
                              uint64_t *mask)
{
    const struct sentencekv_options *o = opt;
    struct asking *a = asking_in(o, book, in);
    ask(a, in);
    if (a->n <= o->dense_first)
        return false;
    if (stays(o, a, in)) {
        read_again(a, in, mask);
        return true;
    }
    choose(o, book, in, mask);
    if (o->rerank != RERANK_EVERY)
        remember(o, a, in, mask);
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
                                                    .room = sentencekv_room,
                                                    .sentences = sentencekv_sentences,
                                                    .apart = sentencekv_apart };

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
