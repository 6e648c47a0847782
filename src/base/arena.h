/* base/arena.h - memory that is freed all at once: a template's, or of what runs over it.
 *
 *   chunk -> chunk -> chunk     allocation bumps a pointer in the newest; the others are full
 *
 * Lifetime  whoever opened it. Threads  one at a time. Cost  O(1), a malloc only when a chunk is full. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/status.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *newest;
    size_t used;       // bytes given out from the newest chunk
    size_t bytes_max;  // refuse to hold more than this; 0 is no limit
    size_t bytes_held; // sum of all chunks
};

/* An empty arena: `(struct arena){ 0 }` is one too. */
void arena_open(struct arena *a, size_t bytes_max);
void arena_close(struct arena *a);

/* Takes all objects back and keeps the newest chunk's memory for the next ones. */
void arena_clear(struct arena *a);

/* n zeroed objects, 64-byte aligned; NULL when memory or the limit is exhausted. */
must_use void *arena_new(struct arena *a, size_t n, size_t size);
must_use char *arena_copy_text(struct arena *a, const char *text, size_t len);
#endif
