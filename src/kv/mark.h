/* kv/mark.h - what was written down while a prefix was read, put aside beside its KV: who takes the KV takes it too,
 * and knows what it would know had it read the prefix itself.
 *
 *   prompt A   [system prompt] o [question A]        o  a mark: so much attention each row had received, and the queries'
 *   prompt B   [system prompt] o [question B]           moments, when the system prompt was read and nothing else
 *
 * M1  It is of positions [0, n) of one sequence that nothing had been dropped of; by kv/taps.h T1 any other sequence of
 *     the same ids has the same.
 * M2  It never changes; its holders share it.
 *
 * Lifetime  until its last holder releases it. Threads  the engine thread. */
#ifndef KV_MARK_H
#define KV_MARK_H

#include "kv/taps.h"

/* Each is its own mark: policies need one or the other. */
enum kv_mark_kind { KV_MARK_MASS, KV_MARK_MOMENTS, KV_MARK_N };

struct kv_mark {
    enum kv_mark_kind kind;
    uint32_t n, n_holder;
    uint32_t n_node; // of the index, that hold it
    size_t bytes;
    uint64_t n_moment;
    uint64_t *mass; // KV_MARK_MASS: [list][n], layers without a window, each of its kv_heads
    float *moments; // KV_MARK_MOMENTS: sum, then outer, as in kv_taps
};

size_t kv_mark_bytes(enum kv_mark_kind kind, const struct kv_taps_size *size,
                     const struct kv_shape *shape, uint32_t n);

/* Of one kind that t writes down, over its sequence's positions [0, n); none of its rows waits, nothing was dropped. It
 * has one holder. FULL: no memory. */
must_use enum status kv_mark_new(struct kv_mark **out, enum kv_mark_kind kind,
                                 const struct kv_taps *t, const struct kv_taps_size *size,
                                 const struct kv_shape *shape, uint32_t n);
struct kv_mark *kv_mark_hold(struct kv_mark *m);
void kv_mark_release(struct kv_mark *m); // NULL is allowed

/* Into taps of the same size that have written down nothing yet. */
void kv_mark_read(const struct kv_mark *m, struct kv_taps *t, const struct kv_taps_size *size,
                  const struct kv_shape *shape);

#endif
