/* kv/best.h - the best k of many rows, by keys that are all comparable: the rank in front, the position behind it.
 *
 * Threads  any. Cost  eight passes over the keys, no memory. */
#ifndef KV_BEST_H
#define KV_BEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/f16.h"

/* A number that orders as the float does; NaN lowest, -0 as 0. */
static inline uint32_t kv_rank_key(float x)
{
    const uint32_t bits = bits_of_f32(x + 0.0f);
    if (x != x)
        return 0;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* A higher rank first, then a later position. */
static inline uint64_t kv_row_key(float rank, uint32_t position)
{
    return (uint64_t)kv_rank_key(rank) << 32 | position;
}

/* Where the best k end: those above `key` are all among them, and the first n_equal that are equal to it. k <= n. */
struct kv_best {
    uint64_t key;
    size_t n_equal;
};
struct kv_best kv_best_of(const uint64_t *key, size_t n, size_t k);

/* Whether the next key is among the best: to be asked once of each, in order. */
static inline bool kv_best_take(struct kv_best *b, uint64_t key)
{
    return key > b->key || (key == b->key && b->n_equal && b->n_equal--);
}

#endif
