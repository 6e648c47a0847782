/* kv/policy/keydiff.h - how unlike the others a row's key is. */
#ifndef KV_POLICY_KEYDIFF_H
#define KV_POLICY_KEYDIFF_H

#include "kv/rank.h"

/* rank [n] = minus the cosine between each key of kv_head h and the mean of all its keys' directions. False: no
 * memory. */
bool keydiff_of_head(const struct kv_rank_in *in, uint32_t h, float *rank);

#endif
