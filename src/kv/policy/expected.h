/* kv/policy/expected.h - attention that queries still to come are expected to pay. */
#ifndef KV_POLICY_EXPECTED_H
#define KV_POLICY_EXPECTED_H

#include "kv/rank.h"

/* rank [n] of the rows of kv_head h; values: times |v|; covariance: of the queries, else their mean alone. False: no
 * memory. */
bool expected_of_head(const struct kv_rank_in *in, uint32_t h, bool covariance, bool values,
                      float *rank);

#endif
