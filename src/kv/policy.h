/* kv/policy.h - what a policy is: options, needs, and pure functions over arrays. It owns nothing and moves nothing.
 *
 *     static const struct kv_option options[] = { ... };
 *     const struct kv_policy kv_policy_snapkv = { .name = "snapkv", .source = "...", .rank = snapkv_rank, ... };
 *
 * `keep` policies give each row of a list a rank (kv/rank.h): the mechanism (kv/keep.h) holds floors and budgets, takes
 * the best and drops the rest. `select` policies give, for the queries of one step, the rows that are read
 * (kv/select.h). How to add one: docs/POLICIES.md.
 *
 * Lifetime  tables are constant. Threads  any. */
#ifndef KV_POLICY_H
#define KV_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

struct kv_rank_in;
struct kv_select_policy;

/* ---- options ---- */

enum kv_option_type { // and the field that `at` leads to
    KV_OPTION_COUNT,  // uint32_t
    KV_OPTION_AMOUNT, // struct kv_amount: "512", "20%", "64MiB"
    KV_OPTION_NUMBER, // float
    KV_OPTION_SWITCH, // bool: on, off
    KV_OPTION_WORD,   // uint32_t: index of the word in `words`
};

/* Rows of each kv_head on average: as such, as a share (of the budget's whole, or for `recent` and `every` of the
 * budget), or as bytes of KV. */
struct kv_amount {
    enum kv_amount_unit { KV_ROWS, KV_PERCENT, KV_BYTES } unit;
    double n;
};

struct kv_option {
    const char *name;
    enum kv_option_type type;
    size_t at;          // offset in the policy's options, which begin with struct kv_common
    const char *unit;   // "rows", "tokens", ...; NULL: none
    const char *paper;  // the value under preset=paper, as typed
    const char *tuned;  // the default where it measured better; NULL: the paper's
    double least, most; // bounds of counts, numbers and rows; shares go up to 100 %
    const char *words;  // KV_OPTION_WORD: "sum mean max"
    const char *help;   // one sentence, without the default and the bounds
};

/* What every policy but `full` can be told; the options of each begin with it. What follows `recent` is of dropping:
 * one that drops nothing has no such options. */
struct kv_common {
    struct kv_amount budget; // rows kept of each kv_head, on average
    uint32_t n_sink;         // first positions that always stay
    struct kv_amount recent; // newest positions that always stay; part of the budget
    uint32_t block;         // keep also runs each so many positions of a prompt; 0: only at its end
    struct kv_amount every; // ... and each so many generated tokens; 0: never
    uint32_t shares;        // enum kv_shares_of: how the budget is dealt to heads
    bool round;             // to budgets of heads that fill whole blocks
    float
        even; // of dealt shares: at a tenth of all rows, all heads get this part of the budget alike
    float even_block; // ... instead, where block > 0 and heads get parts, not all rows
    uint32_t whole;   // enum kv_whole: whether dealt shares give one head after the other all rows
    float alpha;      // of shares by layers: the power of what their keys change by
};
enum kv_whole { KV_WHOLE_OFF, KV_WHOLE_ON, KV_WHOLE_PROFILE };
enum kv_shares_of { KV_SHARES_EQUAL, KV_SHARES_PROFILE, KV_SHARES_LAYERS, KV_SHARES_SHUFFLED };

/* The common options' values in one policy, as typed; NULL: as of all. */
struct kv_common_text {
    const char *budget, *sinks, *recent, *block, *every, *shares, *round, *even, *even_block,
        *whole, *alpha;
};

/* ---- policies ---- */

enum kv_need {
    KV_NEED_MASS_SUM = 1,
    KV_NEED_MASS_PEAK = 2, // of the replay below
    KV_NEED_QUERIES = 4,   // the last n_query(options) of them
    KV_NEED_MOMENTS = 8,
    KV_NEED_PROBE = 16, // the oldest query gives its place to a probe's: behind a paragraph's end
};

/* What is read over the cache, by queries that leave no rows, before it is ranked. */
enum kv_replay { KV_REPLAY_NONE, KV_REPLAY_TEXT, KV_REPLAY_EPISODE };

/* The budget is spent by each head, by all heads of a layer together, or by all of the model: where a rank of one head
 * can be compared with that of another. */
enum kv_scope { KV_SCOPE_HEAD, KV_SCOPE_LAYER, KV_SCOPE_MODEL };

/* rank[h][i]: of row i of kv_head h; a higher one stays longer, NaN counts as the lowest. */
typedef void kv_rank_fn(const void *options, const struct kv_rank_in *in, float *const *rank);

struct kv_policy {
    const char *name;               // as typed
    const char *source;             // authors, year, title
    const char *summary;            // one line of --help
    const struct kv_option *option; // [n_option] besides the common ones
    uint32_t n_option;
    size_t options_bytes;
    struct kv_common_text paper, tuned;
    enum kv_scope scope;
    enum kv_scope (*scope_of)(const void *options); // where options say; NULL: `scope`
    enum kv_replay replay;
    unsigned (*needs)(const void *options);                      // enum kv_need; NULL: nothing
    uint32_t (*n_query)(const void *options);                    // NULL: none
    enum status (*check)(const void *options, struct note *why); // of options together; NULL: any
    /* Rows that a share given as `recent` comes to at least; NULL: none. */
    uint32_t (*recent_least)(const void *options);
    bool evicts_each;                      // one row a head leaves with each generated token (H2O)
    bool (*by_mass)(const void *options);  // ... and ranks are kv_mass_received alone; NULL: never
    bool (*rolls)(const void *options);    // positions are counted inside the cache; NULL: never
    kv_rank_fn *rank;                      // NULL: not a keep policy
    const struct kv_select_policy *select; // NULL: not a select policy (kv/select.h)
    /* Of a policy that does both: so many times the rows that a query reads are kept; INFINITY: all. NULL: as many. */
    float (*keep_factor)(const void *options);
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

/* "h2o:budget=20%,recent=256,preset=paper". BAD_INPUT: no such policy or option, a value out of bounds, or options that
 * contradict each other; the note names it, the value and what there is. */
must_use enum status kv_choice_parse(struct kv_choice *out, const char *text, struct note *why);

/* A policy with its defaults. BAD_INPUT: there is no such policy. */
must_use enum status kv_choice_of(struct kv_choice *out, const char *policy, struct note *why);

/* One more option of a choice made; "preset" sets all of them. The choice is to be checked once all are set. */
must_use enum status kv_choice_set(struct kv_choice *c, const char *name, const char *value,
                                   struct note *why);

/* Who spends the budget together. */
static inline enum kv_scope kv_choice_scope(const struct kv_choice *c)
{
    return c->policy->scope_of ? c->policy->scope_of(&c->options) : c->policy->scope;
}

/* Whether rows are ever dropped. */
bool kv_choice_drops(const struct kv_choice *c);

/* Rows that a share given as `recent` comes to at least. */
uint32_t kv_choice_recent_least(const struct kv_choice *c);

/* BAD_INPUT: options contradict each other. */
must_use enum status kv_choice_check(const struct kv_choice *c, struct note *why);

enum { KV_CHOICE_TEXT = 384 }; // bytes that print any choice

/* What stands in it, whole, so that parsing it gives the same: for logs and responses. Returns bytes as snprintf. */
int kv_choice_print(const struct kv_choice *c, char *text, size_t size);

/* Option i of a policy, the common ones first; NULL behind the last. */
const struct kv_option *kv_policy_option(const struct kv_policy *p, uint32_t i);

/* The value that it has unless told, as typed. */
const char *kv_option_preset(const struct kv_policy *p, const struct kv_option *o, bool paper);

/* All policies with sources and options, as text of at most 100 columns: for --help and the manual. */
void kv_policies_print(struct buf *out);

#endif
