/* twin/kv_twin.h - pool and spaces as plain arrays: what must come out, with nothing mapped and
 * nothing shared.
 *
 * A sequence is an array of the tags that were written at its positions, and for each group an
 * array of block numbers; a block is a count of holders. Forks copy arrays. Every answer (OK, FULL,
 * NOT_FOUND) is predicted. */
#ifndef TWIN_KV_TWIN_H
#define TWIN_KV_TWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kv/shape.h"

enum { TWIN_BLOCKS = 1 << 14 }; // blocks alive at once, all groups

struct twin_seq {
    uint64_t *tag; // [n_position_max], of positions [0, committed)
    uint32_t grown, committed;
    uint32_t first[KV_GROUP_MAX], n[KV_GROUP_MAX]; // blocks held
    uint32_t *block[KV_GROUP_MAX];                 // [n_block_max]
};

struct kv_twin {
    struct kv_shape shape;
    size_t bytes_max, bytes_held;
    uint32_t n_position_max;
    uint32_t holders[TWIN_BLOCKS];
    uint32_t free_block[TWIN_BLOCKS], n_free;
    uint32_t n_held[KV_GROUP_MAX];
};

void twin_open(struct kv_twin *t, const struct kv_shape *shape, size_t bytes_max,
               uint32_t n_position_max);

struct twin_seq *twin_new(struct kv_twin *t);
void twin_free(struct kv_twin *t, struct twin_seq *s);
enum status twin_grow(struct kv_twin *t, struct twin_seq *s, uint32_t n);
void twin_commit(struct kv_twin *t, struct twin_seq *s, uint32_t n);
enum status twin_fork(struct kv_twin *t, struct twin_seq *s, uint32_t n, struct twin_seq **out);

#endif
