/* kv/select.h - which rows the queries of a step read: chosen in each layer from the queries themselves.
 *
 *   q of this step --policy--> a mask of rows for each kv_head --> attention reads those blocks and rows only
 *
 * Nothing is dropped: what is not read now may be read by the next query. A policy keeps an address book of its own for
 * each layer and kv_head of a sequence (means, bounds), built from keys as positions are passed.
 *
 * L1  A query's own row is always read; so are the floors of the choice (sinks, the most recent rows).
 * L2  A budget at or above what there is selects everything: the bits are those of `full`.
 * L3  Whether and what is selected depends on the sequence and the position alone, not on how a pass is cut: rows
 *     below `from` read everything, rows behind it select, each for itself and in order.
 * L4  Layers with a window are read as ever. Of a past with an excerpt the rows that are left are selected from; none
 *     of them goes, or moves, once a row has selected.
 * L5  When a position is entered into the books does not matter to them.
 *
 * Lifetime  of its sequence. Threads  kv_select_rows is called by workers, one at a time for a kv_head; the rest by the
 *           engine thread between steps.
 * Cost      books and masks are memory of the process. */
#ifndef KV_SELECT_H
#define KV_SELECT_H

#include "kv/excerpt.h"
#include "kv/policy.h"
#include "kv/shares.h"
#include "kv/view.h"
#include "os/loops.h"
#include "os/workers.h"

struct kv_select; // one sequence's: choice, address books, masks

struct kv_select_in {
    uint32_t layer, kv_head, group, d;
    uint32_t n_position;     // rows [0, n_position) may be selected; the query is at n_position
    uint32_t budget;         // rows that the choice allows, floors and the query's own among them
    uint32_t n_position_max; // that the book has room for
    uint32_t n_sink,
        recent;     // floors: positions below and from here on are read, whatever is selected
    const float *q; // [group][d] after RoPE
    uint32_t asker, n_asker; // of heads that choose apart which one asks, and how many do; 0 of 1
    float share; // of the kv_head in a tenth of all rows, by the model's profile; 0: there is none
    float *room; // [group][room_stride] where the policy asks for it, 64-byte aligned
    size_t room_stride;
    float scale, softcap;
    const uint64_t *ends; // bit i: a sentence ends with position i; known of those below n_position
    const struct kernels *kern;
    void *scratch; // as kernels ask for it: of `group` queries and d
    /* Where the worker that asks shares its loops, of whom `own` is such a scratch; NULL: it is alone. */
    struct loops *loops;
    uint32_t worker;
    struct kv_view view;        // of the layer
    const struct kv_list *list; // of a past with rows dropped; NULL: all are there, in the view
    const uint64_t *there;      // bit i: the row at position i is left; NULL: all are
    const uint32_t *slot_of;    // [position] of a list's rows that are in slots
};

/* Whether the row at that position is left. */
static inline bool kv_select_has(const struct kv_select_in *in, uint32_t position)
{
    return !in->there || (in->there[position / KV_BLOCK] >> position % KV_BLOCK & 1);
}

/* Rows left of positions [from, to). */
uint32_t kv_select_count(const struct kv_select_in *in, uint32_t from, uint32_t to);

/* Steps 0 .. n - 1 of a loop, by whoever has time; own: a scratch. */
void kv_select_loop(const struct kv_select_in *in, loops_fn *fn, void *arg, uint32_t n);

/* The key of a row that is left, as floats: k [d]. */
void kv_select_key(const struct kv_select_in *in, uint32_t position, float *k);

/* Sets the bits of rows [from, to). */
void kv_select_set(uint64_t *mask, uint32_t from, uint32_t to);

/* How a text is cut into sentences for a policy: by its marks, at tokens that are marks, at lines, or after a fixed
 * number of tokens; none has more than `longest`. */
enum kv_boundaries {
    KV_BOUNDARIES_AUTO,
    KV_BOUNDARIES_STRICT,
    KV_BOUNDARIES_LINES,
    KV_BOUNDARIES_FIXED
};
struct kv_sentences {
    enum kv_boundaries boundaries;
    uint32_t longest; // tokens
};

/* What a select policy is. Its functions read only what they are given (policy.h, Y1). */
struct kv_select_policy {
    /* Bytes of an address book of one kv_head, for up to n positions; it starts zeroed, at a multiple of 64. n_asker,
     * share: as in kv_select_in. */
    size_t (*book_bytes)(const void *options, uint32_t n_position, uint32_t d, uint32_t n_asker,
                         float share);
    /* Positions [from, to) are passed: enters them into the book. Each call goes on where the one before ended, the
     * first at 0, and how a range is cut into calls must not matter to the book. */
    void (*enter)(const void *options, void *book, const struct kv_select_in *in, uint32_t from,
                  uint32_t to);
    /* mask [n_position / 64 + 1], zeroed: sets the bits of positions whose rows the query reads besides floors, budget
     * in all; those of rows that are not left do not matter. All below n_position is entered. False: the query reads
     * everything. */
    bool (*select)(const void *options, void *book, const struct kv_select_in *in, uint64_t *mask);
    struct kv_sentences (*sentences)(const void *options); // NULL: it does not look at `ends`
    /* Whether heads that share a kv_head choose apart: each of them asks for itself then, with a group of one. NULL:
     * they never do. */
    bool (*apart)(const void *options);
    /* Floats of `room` for each query over up to n positions; NULL: none. */
    size_t (*room)(const void *options, uint32_t n_position);
};

struct kv_select_config {
    const struct kv_choice *choice; // copied; of a policy with `select`
    const struct kv_shape *shape;
    const struct kv_shares *shares; // the model's profile, borrowed; NULL: none
    uint32_t n_head;                // that ask, of a layer
    uint32_t n_position_max;
    uint32_t from; // the first position that selects: behind the prompt, or context and question
};

/* FULL: no memory for its books. */
must_use enum status kv_select_new(struct kv_select **out, const struct kv_select_config *config,
                                   struct note *why);
void kv_select_free(struct kv_select *s); // NULL is allowed

/* One ends there; to be said before the first query behind it asks. */
void kv_select_end_sentence(struct kv_select *s, uint32_t position);

/* Positions below n_position of a prompt, all of them there, are computed: books are written by all workers as far as
 * that, instead of by the first query that selects. (Where that one would read everything, nothing is done.) Or never
 * called. */
void kv_select_pass(struct kv_select *s, const struct kernels *kern, struct workers *workers,
                    const struct kv_space *space, uint32_t n_position);

uint32_t kv_select_from(const struct kv_select *s);
size_t kv_select_bytes(const struct kv_select *s); // of the process

/* Masks of rows: bit i of [b] is row i of block b of the space, or of block b of slots. */
struct kv_selected {
    const uint64_t *rows, *slots;
};

/* How many of the heads that share a kv_head ask together: all of them, or one. */
uint32_t kv_select_together(const struct kv_select *s);

/* What the query of one row reads, valid until the next call for this kv_head. False: everything (L2).
 * Queries of a layer and kv_head come in order of position, without a gap from the first one behind a budget on, those
 * of heads that choose apart one after the other. `in`: what is not said to be the mechanism's: layer to d, n_position,
 * q, asker, scale, softcap, kern to list. */
bool kv_select_rows(struct kv_select *s, struct kv_select_in *in, struct kv_selected *out);

/* Rows read instead of all there were, summed over calls, and those. Heads that choose apart are a call each. */
struct kv_select_stats {
    uint64_t n_read, n_there, n_call;
};
struct kv_select_stats kv_select_stats_of(const struct kv_select *s);

#endif
