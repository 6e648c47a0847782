/* engine/frozen.h - pruned contexts and episodes, kept for the next request of the same: the index of KV that is not
 * exact.
 *
 *   request of (salt, policy, ids[0..n), context n) --pruned behind n--> put --fork--> every other of the same
 *   .. and of the same episode of the same history  --its end----------> leave --fork--> who goes on with it
 *
 * R1  Only KV that a policy pruned enters: once behind its request's context, or an episode's (engine/episodes.h); it
 *     never meets the exact index (kv/index.h N3).
 * R2  A hit compares salt, policy with all its options, and every id; of episodes also which one, what it was made of
 *     and what was skipped.
 * R3  What forks share is SEALED or copied: an entry never changes.
 *
 * The longest unused goes when there are more than FROZEN_MAX, or when blocks are short: an episode whose policy says
 * park=ram into memory of the process (kv/park.h), as long as that is no more than the pool itself; it comes back when
 * it is asked for.
 *
 * Lifetime  of the engine. Threads  the engine thread. */
#ifndef ENGINE_FROZEN_H
#define ENGINE_FROZEN_H

#include "engine/sequence.h"
#include "kv/park.h"

enum { FROZEN_MAX = 64 };

struct frozen {
    char *salt, *policy;
    int32_t *ids;
    uint32_t n;                       // positions
    uint32_t n_base, episode, n_skip; // of an episode; n_base 0: of none that was made of a history
    struct stretch *skip;             // [n_skip] below n
    struct kv_space *space;           // NULL: it is parked
    struct kv_excerpt *excerpt;
    bool parks;
    struct kv_parked *parked;
    size_t parked_bytes;
    float *logits; // [n_vocab] of its last row, or NULL: nobody was told
    uint64_t used, used_step;
};

struct frozen_table {
    struct frozen *entry[FROZEN_MAX];
    uint32_t n;
    uint64_t tick;
    uint64_t step; // the engine's, now
    struct kv_spaces *spaces;
    size_t parked_bytes_max, parked_bytes;
    uint64_t n_parked, n_unparked; // times
};

/* Whether the request may take its context from there, and leave it there: it has one, and more to read behind it. */
bool frozen_applies(const struct sequence *s);

/* Whether b may have the one that a is on its way to. */
bool frozen_same(const struct sequence *a, const struct sequence *b);

struct frozen *frozen_find(struct frozen_table *t,
                           const struct sequence *s); // the longest. NULL: none

/* Puts what s has just pruned, whose space and excerpt end at its context. Without memory, or where there is one of the
 * same, nothing happens: it is computed again by the next. */
void frozen_put(struct frozen_table *t, struct sequence *s, uint32_t n_vocab);

/* Takes the KV of an episode that s has read and answered from: s has none from here on. False: it has no such, or
 * there was no memory. */
bool frozen_leave(struct frozen_table *t, struct sequence *s);

/* s starts behind it: its space and excerpt. FULL: no block or memory; s has neither. */
must_use enum status frozen_fork(struct frozen_table *t, struct frozen *f,
                                 const struct keeper_frame *frame, struct sequence *s,
                                 struct note *why);

/* What evicting all of them could give back at most: some may be shared. */
size_t frozen_bytes(const struct frozen_table *t, const struct kv_shape *shape);
/* The longest unused of those that hold blocks gives them back. False: there is none. */
bool frozen_evict(struct frozen_table *t);
void frozen_close(struct frozen_table *t);

#endif
