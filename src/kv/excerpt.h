/* kv/excerpt.h - a sequence's past under a policy: the rows kept of it, each with its position and what it received.
 *
 *   for each layer without a window, and each of its kv_heads, its own list:
 *
 *       slots      | 0  1  7  --  19  23  ..|  64 ..  |   blocks of 64 slots of this kv_head alone: the excerpt
 *       tail                                  | 448  449  --  451 ..      the space's rows from block tail_first on
 *
 *   --  a row that was dropped: nobody reads it; a slot so freed takes a row of the tail later
 *
 * Dropping is by the row and at once (a bit); memory comes back in blocks, by kv_excerpt_settle: rows of the tail's
 * full blocks that are still kept move into slots, and the space gives those blocks back. So what is kept does not
 * depend on when memory is tidied, only on what was dropped.
 *
 * X1  A row is live in at most one place: in a slot, or in the tail.
 * X2  Slots are OPEN blocks of this excerpt, or SEALED ones that forks share: a shared one is copied before it is
 *     written.
 * X3  The order of a list is a function of the calls made, never of addresses, threads or batches: slots in slot order,
 *     then the tail's rows by position. A settled row takes the lowest free slot.
 * X4  Windowed layers have no list: their window is their budget.
 * X5  Without a drop and without slots a past reads as its space alone does, bit for bit.
 * X6  A list has no slot, used or free, at or behind tail_first * 64: as many rows went before.
 *
 * Sources: Zhang et al. 2023 (H2O), Feng et al. 2024 (AdaKV, ragged heads).
 * Lifetime  of its sequence. Threads  the engine thread; lists may be read by workers inside a step.
 * Cost      the memory of slots is of the pool, under its cap (kv_shape: the class behind the groups); positions and
 *           mass are of the process, 4 and 8 bytes a row. */
#ifndef KV_EXCERPT_H
#define KV_EXCERPT_H

#include "kernels/kernels.h"
#include "kv/space.h"

struct kv_excerpt;

/* Mass is counted in units of 2^-30, so that sums have no order. */
enum { KV_MASS_BITS = 30 };

struct kv_excerpt_config {
    struct kv_pool *pool;
    uint32_t n_position_max; // of its sequence
    uint32_t
        n_tail_mass; // rows of the tail that can carry mass at once (rounded up to blocks); 0: nothing counts mass
};

/* FULL: no memory. */
must_use enum status kv_excerpt_new(struct kv_excerpt **out, const struct kv_excerpt_config *config,
                                    struct note *why);
void kv_excerpt_free(struct kv_excerpt *e); // releases its blocks; NULL is allowed

/* One for a sequence of up to n_position_max positions that has the same rows live: it holds the slots' blocks together
 * with `e` and copies the rest. Its space is that of kv_space_fork_rest. FULL: no memory. */
must_use enum status kv_excerpt_fork(struct kv_excerpt **out, struct kv_excerpt *e,
                                     uint32_t n_position_max, struct note *why);

/* What attention, taps and policies see of one layer of one kv_head. Valid until the next call that changes it. */
struct kv_list {
    uint32_t n_block;         // of slots
    char *const *block;       // [n_block] addresses: a K part, then a V part
    const uint64_t *live;     // [n_block] bit i: slot i holds a row
    const uint32_t *position; // [n_block * 64]
    uint64_t *mass;           // [n_block * 64], 64-byte aligned, or NULL
    uint32_t tail_first;      // the tail's first block in the space, and
    const uint64_t
        *tail_live; // [block of the space] bit i: row i is kept (also where it is still to come)
    uint64_t *tail_mass; // [position % n_tail_mass], 64-byte aligned, or NULL
    uint32_t n_tail_mass;
};
struct kv_list kv_excerpt_list(const struct kv_excerpt *e, uint32_t layer, uint32_t kv_head);

/* Whether all is as if there was no excerpt (X5): then nothing need look at lists. */
bool kv_excerpt_is_whole(const struct kv_excerpt *e);

uint32_t kv_excerpt_tail_first(const struct kv_excerpt *e);  // of all lists
uint32_t kv_excerpt_slot_blocks(const struct kv_excerpt *e); // most of any list

/* A row of a list: its slot, or (KV_IN_TAIL | position). */
typedef uint32_t kv_row;
#define KV_IN_TAIL (1u << 31)

/* Rows that are live, of positions below n: [n_row] in the list's order, with positions; `row` and `position` have room
 * for as many as live. Returns how many. */
uint32_t kv_excerpt_rows(const struct kv_excerpt *e, uint32_t layer, uint32_t kv_head,
                         uint32_t n_position, kv_row *row, uint32_t *position);
uint32_t kv_excerpt_n_live(const struct kv_excerpt *e, uint32_t layer, uint32_t kv_head,
                           uint32_t n_position);

/* The row is not read any more. */
void kv_excerpt_drop(struct kv_excerpt *e, uint32_t layer, uint32_t kv_head, kv_row row);

/* Slot blocks that settle(n) would have to take from the pool at most, were rows [.., n) settled. Pure. */
uint32_t kv_excerpt_need(const struct kv_excerpt *e, uint32_t n_position);

/* Closes gaps (the last rows of a list move into its lowest free slots, unless rows of the tail will fill those), gives
 * slot blocks behind back, then moves the live rows of the tail's full blocks below n_position into slots, block by
 * block: each block of the space goes back before the next one's rows need slots, so that the pool is asked for little
 * at a time. FULL: the pool has not enough; nothing changed. (Where the system refuses the pool memory, some rows may
 * have moved: the same ones are live.) The space's blocks below n_position must be committed. */
must_use enum status kv_excerpt_settle(struct kv_excerpt *e, struct kv_space *s,
                                       uint32_t n_position);

/* How keys are turned: by the angle of so many positions more, cos and sin of it in f32. */
struct kv_turn {
    const struct kernels *kern;
    const double *freq; // [n_rot / 2] radians a position
    uint32_t n_rot;
    bool halves; // kernels/rows.h
};

/* Positions counted inside the cache (StreamingLLM, H2O): each key in a slot is turned by as many positions as have
 * gone behind it, below n_position, as if nothing had been there; each time from what it was: load, kern_rope, store,
 * so that roundings do not add up. What it was is remembered from then on, f32, outside of the pool. Rows of the tail
 * are left as they are: what goes between them is no more than two blocks. FULL: no memory, or no block for a copy; to
 * be called again. */
must_use enum status kv_excerpt_turn(struct kv_excerpt *e, uint32_t n_position,
                                     const struct kv_turn *how, struct note *why);

/* No row has received anything. */
void kv_excerpt_clear_mass(struct kv_excerpt *e);

size_t kv_excerpt_bytes(const struct kv_excerpt *e);                            // of the pool
uint64_t kv_excerpt_live_rows(const struct kv_excerpt *e, uint32_t n_position); // of all lists

#endif
