/* kv/policy/measure.h - what several policies measure of rows: attention received, norms of values, places in an order.
 *
 * All answer false where there was no memory: the rank function then returns at once (kv/rank.h). Sums run in the order
 * of queries, then heads. */
#ifndef KV_POLICY_MEASURE_H
#define KV_POLICY_MEASURE_H

#include "kv/rank.h"

/* out [n] += factor[t] * the softmax weight of each row of kv_head h for query t of in->query, t from `from` on, asked
 * by head g of its group. A query sees the rows up to its own position. factor NULL: 1. */
bool measure_received(const struct kv_rank_in *in, uint32_t h, uint32_t g, uint32_t from,
                      const float *factor, float *out);

/* out [n_position] += the weights of query t, summed over all heads of the layer: of the row at each position. It sees
 * all rows. Where there is no such query: nothing. */
bool measure_query(const struct kv_rank_in *in, uint32_t t, float *out);

/* out [n]: the norm of each row's V; l1: the sum of absolute values, else the Euclidean one. */
bool measure_values(const struct kv_rank_in *in, uint32_t h, bool l1, float *out);

/* What rows received so far, in whole queries: out [n] of in->head[h].mass. */
void measure_mass(const struct kv_rank_in *in, uint32_t h, float *out);

/* place [n]: how many rows of kv_head h have a higher score, or the same and a later position; of rows between the
 * floors alone (the others' places are 0). NaN comes last. */
bool measure_places(const struct kv_rank_in *in, uint32_t h, const float *score, uint32_t *place);

/* rank [n] = the larger of itself and minus each row's place by score: a row stays where any of several measures wants
 * it. */
bool measure_join(const struct kv_rank_in *in, uint32_t h, const float *score, float *rank);

static inline bool measure_is_floor(const struct kv_rank_in *in, uint32_t position)
{
    return position < in->n_sink || position >= in->recent;
}

#endif
