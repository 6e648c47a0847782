/* engine/tapped.h - contexts that were read once for many policies: exact KV, and all that was written down of it.
 *
 *   first request of (salt, ids[0..n), context n, kv_compare) --reads--> put --begin--> this one, and each other:
 *                                                                                        judges a fork of its own
 *
 * V1  An entry is exact: nobody has judged it, and forks leave it as it is.
 * V2  Who begins behind it knows what it would know had it read the context itself: the same rows stay.
 *
 * A policy's own pruned copy is engine/frozen.h's. Entries are few, the longest unused goes; when blocks are short it
 * goes too, and whoever wants it then reads again.
 *
 * Lifetime  of the engine. Threads  the engine thread. */
#ifndef ENGINE_TAPPED_H
#define ENGINE_TAPPED_H

#include "engine/sequence.h"

enum { TAPPED_MAX = 4 };

struct tapped {
    char *salt;
    int32_t *ids; // [n]
    uint32_t n;
    struct kv_space *space;
    struct kv_excerpt *excerpt; // whole, with mass
    struct kv_taps taps;
    float *logits;        // [n_vocab] of its last row
    size_t kv_bytes_peak; // of whoever read it
    uint64_t used, used_step;
};

struct tapped_table {
    struct tapped *entry[TAPPED_MAX];
    uint32_t n;
    uint64_t tick;
    uint64_t step; // the engine's, now
};

/* Whether b will begin behind the context that a is reading. */
bool tapped_same(const struct sequence *a, const struct sequence *b);

/* The one that s may begin behind. NULL: none. */
struct tapped *tapped_find(struct tapped_table *t, const struct sequence *s);

/* s has read its context and judged nothing: it learns what its policy needs to know, and the rest is put there for
 * others. Without memory for that, others read it themselves. */
void tapped_put(struct tapped_table *t, const struct keeper_frame *frame, struct sequence *s,
                uint32_t n_vocab);

/* s starts behind it, and has it still to judge. FULL: no block or memory; s has no space. */
must_use enum status tapped_begin(const struct tapped *t, const struct keeper_frame *frame,
                                  struct sequence *s, uint32_t n_vocab, struct note *why);

/* What evicting all of them could give back at most: some may be shared. */
size_t tapped_bytes(const struct tapped_table *t, const struct kv_shape *shape);
bool tapped_evict(struct tapped_table *t); // the longest unused. False: there is none
void tapped_close(struct tapped_table *t);

#endif
