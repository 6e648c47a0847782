/* kv/taps.h - what a policy wants to know of a pass, written down while it runs, and only then.
 *
 *   mass       how much attention each row received: summed over queries, or the largest of one query
 *   queries    the last n_query rows of queries, after RoPE
 *   moments    sum and sum of outer products of queries before RoPE, a head each: their mean and covariance
 *   hidden     sum of the residual stream's rows behind one layer: their mean says what a text is about
 *
 * T0  Room is the caller's: all rows that a pass counts are in slots, or in the last n_tail_mass of the tail.
 * T1  What is written depends on the sequence's tokens and on what was dropped when, never on batches, chunks, threads
 *     or instruction sets: mass is counted in integers, moments and hidden are chains over rows in order of position.
 *     When a row joins its chain does not matter to it.
 * Lifetime  of its sequence. Threads  workers inside a step write it, the engine thread reads it between steps. */
#ifndef KV_TAPS_H
#define KV_TAPS_H

#include "kv/excerpt.h"
#include "kv/least.h"

enum kv_tap_mass { KV_TAP_NO_MASS, KV_TAP_MASS_SUM, KV_TAP_MASS_PEAK };

/* Rows of moments that wait, unless told: adding one up reads and writes all of `outer` (4.2 MiB of smollm2), sixteen
 * cost little more. */
enum { KV_TAP_LATE = 16 };

struct kv_taps {
    enum kv_tap_mass mass;
    /* Whose rows receive it: the sequence's own excerpt, or that of the one it is a fork of. Then neither drops nor
     * settles while it counts: rows are where the other has them. */
    struct kv_excerpt *into;
    /* Rows at positions below take part in the softmax that mass is counted in; UINT32_MAX: all that attention sees. */
    uint32_t n_counted;

    /* Whom each list of the sequence would lose, where the pass looks: while its mass is at hand (kv/least.h). */
    uint32_t n_least;    // lists: [layer of the model][kv_head]; 0: nobody asks
    kv_row *least;       // [n_least], KV_ROW_UNKNOWN where it did not look
    bool looks;          // it shall: the pass to come is of one row
    struct kv_open open; // whom it may name

    uint32_t n_query; // 0: none are kept
    float *query; // [n_layer][n_query][n_head * d], position p at p % n_query; layers of the model

    uint32_t moments_from;       // positions below do not count (sinks are outliers)
    uint64_t n_moment;           // rows counted; the last n_late of them wait to be added up
    float *sum;                  // [n_layer][n_head][d], or NULL: no moments
    float *outer;                // [n_layer][n_head][d][d], the lower triangle
    uint32_t n_late, n_late_max; // n_late_max 0: none waits
    float *late;                 // [n_layer][n_late_max][n_head * d]
    uint32_t moments_due;        // once so many positions are computed, none waits

    uint32_t
        hidden_layer;     // so many layers of the model have been run, one at least; 0: nobody asks
    uint32_t hidden_from; // positions below do not count (the first is an outlier)
    uint32_t n_hidden;    // rows added up
    float *hidden;        // [n_embd] their sum
};

/* What there is to write down: queries of n_layer layers, n_head heads each, of d elements; hidden rows of n_embd. */
struct kv_taps_size {
    uint32_t n_layer, n_head, d, n_embd;
};

/* Room for t->n_query queries, t->n_late_max rows that wait, t->n_least rows that leave, with t->hidden_layer for a sum
 * of hidden rows and, with `moments`, for those; what else t says stays. FULL: no memory, it has none. */
must_use enum status kv_taps_open(struct kv_taps *t, const struct kv_taps_size *size, bool moments);
void kv_taps_forget_least(struct kv_taps *t); // nobody has looked
void kv_taps_close(struct kv_taps *t);        // zeroed behind it; a zeroed one too

/* Into an opened one: of what `from` wrote down over n positions what `to` has room for, as if it had been there. Mass
 * is in the excerpt. `from` has as many queries at least, and moments where `to` has them. */
void kv_taps_copy(struct kv_taps *to, const struct kv_taps *from, const struct kv_taps_size *size,
                  uint32_t n);

#endif
