/* kv/policy/observed.h - what the last queries look at, with its neighbours: the rank of snapkv, and of others that
 * keep as it does.
 *
 * Source: Li et al. 2024, "SnapKV: LLM Knows What You are Looking for Before Generation". One set a kv_head: the heads
 * of its group are added. */
#ifndef KV_POLICY_OBSERVED_H
#define KV_POLICY_OBSERVED_H

#include "kv/rank.h"

/* Attention that all queries of `in` pay to each row in front of them, summed, and then the largest (or mean) of
 * `kernel` neighbours in order of position. The queries' own rows stay. */
void observed_rank(const struct kv_rank_in *in, uint32_t kernel, bool mean, float *const *rank);

#endif
