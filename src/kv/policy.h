/* kv/policy.h - what a policy is: options, needs, and pure functions over arrays. It owns nothing and moves nothing.
 *
 *     static const struct kv_option options[] = { ... };
 *     const struct kv_policy kv_policy_snapkv = { .name = "snapkv", .source = "...", .rank = snapkv_rank, ... };
 *
 * `keep` policies give each row of a list a rank: the mechanism (kv/keep.h) holds floors and budgets, takes the best and
 * drops the rest. `select` policies give, for the queries of one step, the rows that are read (kv/select.h).
 *
 * Y1  A policy reads only what it is given, and gives the same ranks for the same arrays, on any machine: floats are added
 *     in the order of indices, and no libm is called (kernels/fmath.h has exp).
 * Y2  A higher rank stays longer; NaN counts as the lowest. Equal ranks: the later position stays.
 *
 * Lifetime  tables are constant. Threads  ranks of different layers may be computed at once. */
#ifndef KV_POLICY_H
#define KV_POLICY_H

#include "kernels/kernels.h"
#include "kv/taps.h"

/* ---- options ---- */

enum kv_option_type {
    KV_OPTION_COUNT,  // uint32_t
    KV_OPTION_AMOUNT, // struct kv_amount: "512", "20%", "64MiB"
    KV_OPTION_NUMBER, // float
    KV_OPTION_SWITCH, // bool: on, off
    KV_OPTION_WORD,   // uint32_t: index of the word in `words`
};

/* Rows of each kv_head on average: as such, as a share of what was read, or as bytes of KV. */
struct kv_amount {
    enum kv_amount_unit { KV_ROWS, KV_PERCENT, KV_BYTES } unit;
    double n;
};

struct kv_option {
    const char *name;
    enum kv_option_type type;
    size_t at;         // offset in the policy's options, which begin with struct kv_common
    const char *unit;  // "rows", "tokens", "share"
    const char *paper; // the value under preset=paper, as typed
    const char *tuned; // the default where it measured better; NULL: the paper's
    double least, most;
    const char *words; // KV_OPTION_WORD: "sum mean max"
    const char *help;  // one sentence
};

/* What every policy can be told; the options of each begin with it. */
struct kv_common {
    struct kv_amount budget; // rows kept of each kv_head, on average
    uint32_t n_sink;         // first positions that always stay
    struct kv_amount recent; // newest positions that always stay; part of the budget
    uint32_t
        block; // keep also runs each so many positions while the prompt is read; 0: only at its end
    uint32_t every;  // ... and each so many generated tokens; 0: never
    uint32_t shares; // enum kv_shares_of: how the budget is dealt to heads
};
enum kv_shares_of { KV_SHARES_PROFILE, KV_SHARES_EQUAL };

/* ---- ranks ---- */

enum kv_need {
    KV_NEED_MASS_SUM = 1,
    KV_NEED_MASS_PEAK = 2, // of a replay, see `replay`
    KV_NEED_QUERIES = 4,   // the last n_query(options) of them
    KV_NEED_MOMENTS = 8,
};

/* The budget is spent by each head, by all heads of a layer together, or by all of the model: where a rank of one head
 * can be compared with that of another. */
enum kv_scope { KV_SCOPE_HEAD, KV_SCOPE_LAYER, KV_SCOPE_MODEL };

/* One kv_head of the layer. */
struct kv_rank_head {
    uint32_t n;               // rows that may be dropped or kept, floors among them
    const kv_row *row;        // [n] in the list's order
    const uint32_t *position; // [n]
    const uint64_t *mass;     // [n] in units of 2^-KV_MASS_BITS, or NULL
};

/* One layer of one sequence. d: elements of a head. group: query heads of a kv_head; head h asks kv_head h / group. */
struct kv_rank_in {
    uint32_t layer, n_kv_head, group, d;
    float scale, softcap;            // of scores, as in kernels/attention.h
    uint32_t n_position;             // seen so far: the next query is at n_position
    const struct kv_rank_head *head; // [n_kv_head]
    uint32_t n_query;                // queries there are, up to what was asked for
    const float *const *query; // [n_query] oldest first, each [n_kv_head * group][d], after RoPE
    uint64_t n_moment;         // rows in the moments
    const float *sum,
        *outer; // of this layer: [n_kv_head * group][d], [..][d][d] lower triangle, before RoPE
    const float
        *future; // [n_rot / 2] pairs: cos and sin averaged over the next positions (moments only)
    uint32_t n_rot;
    bool rope_halves;
    const struct kv_rank_source *source; // for the calls below
};

/* Raw scores of n_query queries [..][d] over the rows of kv_head h: out [n_query][n], scale and soft cap applied. */
void kv_rank_scores(const struct kv_rank_in *in, uint32_t h, const float *const *query,
                    uint32_t n_query, float *out);
/* K and V of rows [first, first + n) of kv_head h as floats: k [n][d], v [n][d]; either may be NULL. */
void kv_rank_read(const struct kv_rank_in *in, uint32_t h, uint32_t first, uint32_t n, float *k,
                  float *v);
/* Floats that live until the rank function returns; zeroed. NULL: no memory, the function must return at once. */
float *kv_rank_floats(const struct kv_rank_in *in, size_t n);

/* rank[h][i]: of row i of kv_head h. */
typedef void kv_rank_fn(const void *options, const struct kv_rank_in *in, float *const *rank);

struct kv_policy {
    const char *name;               // as typed
    const char *source;             // authors, year, title
    const char *summary;            // one line of --help
    const struct kv_option *option; // [n_option] besides the common ones
    uint32_t n_option;
    size_t options_bytes;
    struct {
        const char *budget, *sinks, *recent, *block, *every,
            *shares; // defaults of the common ones; NULL: as in policy.c
    } paper, tuned;
    enum kv_scope scope;
    unsigned (*needs)(const void *options);   // enum kv_need; NULL: nothing
    uint32_t (*n_query)(const void *options); // NULL: none
    bool evicts_each;                      // one row a head leaves with each generated token (H2O)
    kv_rank_fn *rank;                      // NULL: not a keep policy
    const struct kv_select_policy *select; // NULL: not a select policy (kv/select.h)
};

/* All policies, `full` first; NULL at the end. */
extern const struct kv_policy *const kv_policies[];

/* A policy with its options, read from words. */
struct kv_choice {
    const struct kv_policy *policy;
    union {
        struct kv_common common;
        double align;
        unsigned char bytes[256];
    } options;
};

/* "h2o:budget=20%,recent=256,preset=paper". BAD_INPUT: no such policy or option, or a value out of bounds; the note names
 * it, the value and what there is. */
must_use enum status kv_choice_parse(struct kv_choice *out, const char *text, struct note *why);
/* One more option of a choice made. */
must_use enum status kv_choice_set(struct kv_choice *c, const char *name, const char *value,
                                   struct note *why);
enum { KV_CHOICE_TEXT = 256 }; // bytes that print any choice
/* What stands in it, whole, so that parsing it gives the same: for logs and responses. Returns bytes as snprintf. */
int kv_choice_print(const struct kv_choice *c, char *text, size_t size);

#endif
