/* kv/park.h - a pruned past out of the pool: its bytes in memory of the process, until somebody asks for it again.
 *
 *     space, excerpt --kv_park--> parked --kv_unpark--> space, excerpt
 *          blocks go back         bytes                 other blocks, the same bytes in the same slots
 *
 * J1  What comes back has the same rows in the same places, so it reads as before, bit for bit (kv/excerpt.h X3).
 * J2  Parked bytes are not of the pool: whoever parks holds a bound of his own (engine/frozen.h).
 *
 * Lifetime  from park to unpark or free. Threads  the engine thread. Cost  a copy each way. */
#ifndef KV_PARK_H
#define KV_PARK_H

#include "kv/excerpt.h"

struct kv_parked;

/* Bytes that parking would take. */
size_t kv_park_bytes(const struct kv_excerpt *e, const struct kv_space *s);

/* Takes both: they are gone when it succeeds. All positions of s must be committed. FULL: no memory, nothing
 * changed. */
must_use enum status kv_park(struct kv_parked **out, struct kv_excerpt *e, struct kv_space *s);

/* Gives both back, and p is gone. FULL: no blocks for them, or no memory; p is as it was. */
must_use enum status kv_unpark(struct kv_parked *p, struct kv_spaces *all, struct kv_excerpt **e,
                               struct kv_space **s, struct note *why);
void kv_parked_free(struct kv_parked *p); // NULL is allowed

#endif
