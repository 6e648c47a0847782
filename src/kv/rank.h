/* kv/rank.h - what a keep policy sees when it ranks the rows of one layer, and what it may ask.
 *
 *   lists of a layer          kv_head 0  | row 0 | row 1 | ..       rank[0][..]
 *   (kv/excerpt.h)            kv_head 1  | row 0 | ..               rank[1][..]
 *
 * Y1  A policy reads only what it is given, and gives the same ranks for the same arrays, on any machine: floats are
 *     added in the order of indices, exp is kernels/rows.h's, and no libm is called but sqrt.
 * Y2  A higher rank stays longer; NaN counts as the lowest. Equal ranks: the later position stays.
 *
 * Lifetime  of one call. Threads  layers may be ranked at once, each by one thread. */
#ifndef KV_RANK_H
#define KV_RANK_H

#include "kernels/kernels.h"
#include "kv/excerpt.h"
#include "kv/policy.h"

/* The first positions are outliers among queries and keys: statistics leave them out. */
enum { KV_OUTLIERS = 4 };

/* Over how many of the next positions the rotation of future queries is averaged. */
enum { KV_FUTURE = 512 };

/* One kv_head of the layer. */
struct kv_rank_head {
    uint32_t n;               // rows that may be dropped or kept, floors among them
    uint32_t budget;          // rows that it may keep
    const kv_row *row;        // [n] in the list's order
    const uint32_t *position; // [n]
    const uint64_t *mass;     // [n] in units of 2^-KV_MASS_BITS, or NULL
};

/* One layer of one sequence. d: elements of a head. group: query heads of a kv_head; head h asks kv_head h / group. */
struct kv_rank_in {
    uint32_t layer, n_kv_head, group, d, d_v; // layer: of the model; d_v: of V
    float scale, softcap;                     // of scores, as in kernels/attention.h
    uint32_t budget;                          // rows that a head may keep on average
    bool whole;                               // some heads may keep all: what finds facts is theirs
    uint32_t n_position;                      // seen so far: the next query is at n_position
    uint32_t n_sink, recent; // floors: positions below and from here on stay, whatever their rank
    const struct kv_rank_head *head; // [n_kv_head]
    uint32_t n_query;                // queries there are, up to what was asked for
    const float *const *
        query; // [n_query] of positions n_position - n_query .., each [n_kv_head * group][d], after RoPE
    uint64_t n_moment; // rows in the moments
    const float *sum,
        *outer; // of this layer: [n_kv_head * group][d], [..][d][d] lower triangle, before RoPE
    const float
        *future; // [n_rot / 2] pairs: cos and sin averaged over the next positions (moments only)
    uint32_t n_rot;
    bool rope_halves;
    const struct kernels *kern;
    struct kv_rank_source *source; // for the calls below
};

/* Scores of queries q [n_query][d] over the rows of kv_head h: out [n_query][n], scale and soft cap of `in` applied. */
void kv_rank_scores(const struct kv_rank_in *in, uint32_t h, const float *q, uint32_t n_query,
                    float *out);

/* out [n] = the sum over queries q [n_query][d], in their order, of the squares of what kv_rank_scores gives. */
void kv_rank_squares(const struct kv_rank_in *in, uint32_t h, const float *q, uint32_t n_query,
                     float *out);

/* K and V of rows [first, first + n) of kv_head h as floats: k [n][d], v [n][d_v]; either may be NULL. */
void kv_rank_read(const struct kv_rank_in *in, uint32_t h, uint32_t first, uint32_t n, float *k,
                  float *v);

/* What a row received, in whole queries. */
static inline float kv_mass_received(uint64_t mass)
{
    return (float)mass * (1.0f / (1u << KV_MASS_BITS));
}

/* n objects of `size` bytes that live until the rank function returns; zeroed, 64-byte aligned. NULL: no memory, the
 * function must return at once. */
void *kv_rank_room(const struct kv_rank_in *in, size_t n, size_t size);

#endif
