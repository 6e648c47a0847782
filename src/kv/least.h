/* kv/least.h - the row of a list that has received least: who leaves with a token where ranks are what rows received.
 *
 * Found where the list lies, by whoever has its mass at hand: a pass that has just counted it (kv/taps.h), or
 * kv_keep_one. Both find the same row. Threads  any. Cost  12 bytes a row are read. */
#ifndef KV_LEAST_H
#define KV_LEAST_H

#include "kernels/kernels.h"
#include "kv/excerpt.h"

/* Positions [first, end) are behind no floor. */
struct kv_open {
    uint32_t first, end;
};

/* No row is there, and nobody has looked: KV_IN_TAIL and any position are less. */
#define KV_NO_ROW UINT32_MAX
#define KV_ROW_UNKNOWN (UINT32_MAX - 1)

/* Of live rows at open positions the one with the lowest rank kv_mass_received, of several the one at the lowest
 * position by kv_row_key; KV_NO_ROW: there is none. */
kv_row kv_least_received(const struct kernels *kern, const struct kv_list *list,
                         struct kv_open open);

#endif
