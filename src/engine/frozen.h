/* engine/frozen.h - pruned contexts, kept for the next request of the same: the index of KV that is not exact.
 *
 *   request of (salt, policy, ids[0..n), context n) --pruned behind n--> put --fork--> every other of the same
 *
 * R1  Only KV that a policy pruned once, behind its request's context, enters; it never meets the exact index (kv/index.h N3).
 * R2  A hit compares salt, policy with all its options, and every id.
 * R3  What forks share is SEALED or copied: an entry never changes.
 *
 * The longest unused goes when there are more than FROZEN_MAX, or when blocks are short.
 * Lifetime  of the engine. Threads  the engine thread. */
#ifndef ENGINE_FROZEN_H
#define ENGINE_FROZEN_H

#include "engine/sequence.h"

enum { FROZEN_MAX = 8 };

struct frozen {
    char *salt, *policy;
    int32_t *ids;
    uint32_t n; // positions
    struct kv_space *space;
    struct kv_excerpt *excerpt;
    float *logits; // [n_vocab] of its last row
    uint64_t used;
};

struct frozen_table {
    struct frozen *entry[FROZEN_MAX];
    uint32_t n;
    uint64_t tick;
};

/* Whether the request may take its context from there, and leave it there: it has one, and more to read behind it. */
bool frozen_applies(const struct sequence *s);

/* Whether both would have the same one. */
bool frozen_same(const struct sequence *a, const struct sequence *b);

struct frozen *frozen_find(struct frozen_table *t, const struct sequence *s); // NULL: none

/* Puts what s has just pruned, whose space and excerpt end at its context. Without memory, or where there is one of the
 * same, nothing happens: it is computed again by the next. */
void frozen_put(struct frozen_table *t, struct sequence *s, uint32_t n_vocab);

/* s starts behind the context: its space and excerpt. FULL: no block or memory; nothing changed. */
must_use enum status frozen_fork(struct frozen *f, const struct keeper_frame *frame,
                                 struct sequence *s, struct note *why);

bool frozen_evict(struct frozen_table *t); // the longest unused. False: there is none
void frozen_close(struct frozen_table *t);

#endif
