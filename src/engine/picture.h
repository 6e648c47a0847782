/* engine/picture.h - which rows of one running sequence are there: layers by positions, for who looks on.
 *
 *     layer 0   # # . . # . # # # #     a column: some positions; how many of their rows are kept, of all kv_heads
 *     layer 1   # . . . . . . # # #
 *
 * As snapshot.h: of one moment, without waiting for a step. Threads  any. */
#ifndef ENGINE_PICTURE_H
#define ENGINE_PICTURE_H

#include "engine/engine.h"

/* BAD_INPUT: no such sequence runs; FULL: no memory. */
must_use enum status picture_take(struct akv_rows **out, struct engine *e, uint64_t id,
                                  struct note *why);
void picture_free(struct akv_rows *rows); // NULL is allowed

#endif
