/* kv/shares.h - how a budget is dealt to the heads of a model: shares measured once, stored beside the model.
 *
 *     {"akvifer_profile": 1, "model": "<fingerprint>", "kv_type": "f16",
 *      "layers": [change of each layer's keys], "shares": {"5": [[kv_head 0, kv_head 1, ..] of each layer], "10": ..,
 *      ..}, "follow": {"5": .., ..}, "whole": true}
 *
 * A share is a head's rows by the mean rows of a head, at a budget of so many percent; between two budgets it is
 * interpolated, and at 100 % all are 1. Layers are those without a window, in order.
 *
 * Measured by replay: a text is read once more over its own cache, and z of a row is the largest attention that any
 * replayed token pays it. The best rows of all heads together spend the budget; what each head got of them is its
 * share. Heads differ much, texts hardly. Those shares are of who retrieves. What follows a text looks elsewhere: with
 * z the sum of the attention that its end pays the rows before, the same count gives the shares of "follow". A profile
 * may lack them.
 *
 * The change of a layer's keys is 1 - the mean cosine of what they are and of what they become when the text is read
 * with its first and newest rows alone: the more, the more that layer needs of the rest. A profile may lack them.
 * Sources: Kim et al. 2025 (KVzip, 2505.23416), Feng et al. 2024 (AdaKV, 2407.11550), Xiao et al. 2024 (DuoAttention,
 * 2410.10819); docs/POLICIES.md.
 *
 * Lifetime  loaded at start, constant. Threads  any may read. */
#ifndef KV_SHARES_H
#define KV_SHARES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"
#include "kv/shape.h"

enum { KV_SHARES_BUDGETS = 4 };
extern const uint32_t kv_shares_percent[KV_SHARES_BUDGETS]; // 5, 10, 20, 50

struct kv_shares {
    uint32_t n_layer, n_kv_head;      // layers without a window, in order
    float *share[KV_SHARES_BUDGETS];  // [n_layer][n_kv_head]
    float *follow[KV_SHARES_BUDGETS]; // the same of what follows a text; all 0: not measured
    float *change;                    // [n_layer]; all 0: not measured
    bool whole;                       // kv_dealing.whole is best for the model
    const float *layer; // [n_layer] of all heads of a layer, at any budget; NULL: as above
    bool shuffled;      // a control: each head has the shares of another, always the same one
};

/* All zero. FULL: no memory. */
must_use enum status kv_shares_open(struct kv_shares *out, uint32_t n_layer, uint32_t n_kv_head);
void kv_shares_close(struct kv_shares *s); // a zeroed one too

/* ---- dealing ---- */

/* How a budget is dealt: each head gets max(least, even * follow * budget) rows, follow being its share of what follows
 * a text, or 1 where that was not measured; the rest goes by the shares of who retrieves:
 *
 *     in proportion   max(that, factor * share * budget), with the factor that spends the whole budget
 *     whole           all n rows to one head after the other, the largest share of a budget of the rest first
 *
 * Whole, since a head that serves many asking ones finds nothing where it has only a part. */
struct kv_dealing {
    uint32_t least; // rows of each head
    float even;     // 0 to 1: this part of the budget goes to what follows a text
    bool whole;
};

/* rows [n_head]: what a budget of `budget` rows a head on average gives each of the heads of a profile, over n rows:
 * between how->least and n, all together n_head * budget, as near as those bounds allow. shares NULL: equal. */
void kv_shares_deal(const struct kv_shares *shares, const struct kv_dealing *how, uint32_t budget,
                    uint32_t n, uint32_t n_head, uint32_t *rows);

/* Makes dealt budgets fill whole blocks of 64 behind the first `loose` rows of each, which are not in blocks of their
 * own; those of `least` or of all n rows stay. All together no more than before. */
void kv_shares_round(uint32_t *rows, uint32_t n_list, uint32_t loose, uint32_t least, uint32_t n);

/* Whether it is known how much layers' keys change; what text that follows looks at. */
bool kv_shares_has_layers(const struct kv_shares *s);
bool kv_shares_has_follow(const struct kv_shares *s);

/* Dealt by layers instead, of which that is known: EpiCache's layer budgets, the changes to the power of alpha by their
 * mean, no layer below a quarter of it. layer [n_layer] is written; *out borrows it and s. */
void kv_shares_by_layer(const struct kv_shares *s, float alpha, float *layer,
                        struct kv_shares *out);

/* ---- measuring ---- */

/* Adds the shares of n rows of one text to sum->share or sum->follow: z [n_layer][n_kv_head][n]. FULL: no memory,
 * nothing changed. */
must_use enum status kv_shares_add(const struct kv_shares *sum, float *const *share, const float *z,
                                   uint32_t n);
/* Of n_text added ones: their mean. */
void kv_shares_mean(struct kv_shares *sum, uint32_t n_text);
/* Correlation of two at one of the budgets: of texts of one kind with those of another it should be 0.95 or more. */
double kv_shares_correlation(const struct kv_shares *a, const struct kv_shares *b, uint32_t budget);
/* How many heads, the largest shares first, hold half of the budget. */
uint32_t kv_shares_half(const struct kv_shares *s, uint32_t budget);

/* ---- the file ---- */

/* What a profile was measured of. */
struct kv_shares_id {
    const char *model; // fingerprint, hexadecimal
    const char *kv_type;
};

void kv_shares_write(const struct kv_shares *s, const struct kv_shares_id *of, struct buf *out);

/* Into an opened one, whose sizes it must have. BAD_INPUT: no profile, or one of another shape. NOT_FOUND: a profile of
 * another model or KV type. FULL: no memory. *out is as it was. */
must_use enum status kv_shares_read(struct kv_shares *out, const struct kv_shares_id *of,
                                    const char *text, size_t len, struct note *why);

#endif
