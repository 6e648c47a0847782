/* model/recall.h - vectors that were computed lately, found by what they were computed of and for whom.
 *
 *   salt, bytes, of --two hashes--> place --the same two?--> vector
 *
 * A vector replaces the one that stood at its place. The hashes are of 128 bits and of this process alone.
 *
 * L1  What was computed for one salt is computed again for another: nobody learns by the time it takes what others
 *     asked about.
 *
 * Lifetime  from open to close. Threads  one at a time. Cost  a hash of the bytes, and a copy. */
#ifndef MODEL_RECALL_H
#define MODEL_RECALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

enum { RECALL_PLACES = 4096 };

struct recall_key {
    uint64_t hash[2];
};

struct recall {
    uint32_t dim;
    struct recall_trace *trace; // [RECALL_PLACES], or NULL: not open
    float *vector;              // [RECALL_PLACES][dim]
};

/* FULL: no memory. */
must_use enum status recall_open(struct recall *r, uint32_t dim, struct note *why);
void recall_close(struct recall *r); // a zeroed one too

/* Of bytes read in the way `of`, for a tenant and salt. */
struct recall_key recall_key_of(const char *salt, uint32_t of, const void *bytes, size_t len);

/* False: it is not there. */
bool recall_find(const struct recall *r, struct recall_key key, float *vector);
void recall_put(struct recall *r, struct recall_key key, const float *vector);

#endif
