/* model/chunks.h - attention of one task over blocks of many chunks: a partial each, merged in order.
 *
 *     in order   by the worker itself, chunk after chunk
 *     shared     by whoever has time (os/loops.h): a layer has few tasks of one row, so some worker has none
 *
 * The bits are the same: a chunk's partial depends on nothing else, and the owner merges (kernels/attention.h).
 * Private to model/. */
#ifndef MODEL_CHUNKS_H
#define MODEL_CHUNKS_H

#include "model/past.h"

/* Blocks [from, to) of a run, and what is read behind them. */
struct stretch {
    const struct attn_run *run;
    uint32_t from, to;
    struct past_block behind;
};

/* Into mine->total. */
typedef void chunks_fn(struct pass *p, const struct stretch *s, struct pass_thread *mine);
chunks_fn chunks_in_order;
chunks_fn chunks_shared; // few queries: a state for each chunk has to find room in mine->part

#endif
