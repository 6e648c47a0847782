/* kv/keep_in.h - one call of kv/keep.h from the inside. Private to keep_rows.c (memory, and what there is) and keep.c
 * (what is done about it), and keep_one.c (who leaves with each token).
 *
 *   list       | 0: layer 0, kv_head 0  | 1: layer 0, kv_head 1 | ..         of layers without a window
 *   first       0                        first[1]                             first[n_list]
 *   row, position, mass, rank, key       of each row that is live
 *
 * Each layer's part of the arrays is one worker's at a time. */
#ifndef KV_KEEP_IN_H
#define KV_KEEP_IN_H

#include <stdatomic.h>

#include "base/num.h"
#include "kv/keep.h"
#include "kv/rank_in.h"

struct kv_keep_room {
    void *piece; // grows to the largest past
    size_t bytes;
    uint32_t n_source;
    struct kv_rank_source source[]; // one a worker
};

/* All lists, one behind the other: those of a layer together. */
struct keep {
    const struct kv_keep_model *m;
    const struct kv_keep_job *job;
    const struct kv_group *group;
    struct kv_floors floors;
    uint32_t n_list, n_kv_head, n_layer;
    uint32_t n_query;
    bool counts_mass;

    uint16_t *model_layer;     // [n_layer]
    struct kv_list *list;      // [n_list]
    struct kv_rank_head *head; // [n_list]
    uint32_t *budget, *n_stay; // [n_list] rows; floors among what there is
    size_t *first;             // [n_list + 1] of its rows in the arrays below
    kv_row *leaves;            // [n_list] who leaves with this token, or KV_NO_ROW
    float **ranks;             // [n_list]
    kv_row *row;               // [first[n_list]]
    uint32_t *position;
    uint64_t *mass, *key;
    float *rank;
    _Atomic uint32_t next; // layer of the run in progress
};

static inline unsigned keep_needs(const struct kv_choice *c)
{
    return c->policy->needs ? c->policy->needs(c->options.bytes) : 0;
}

/* Whether the row at that position stays, whatever its rank. */
static inline bool keep_is_floor(const struct keep *k, uint32_t position)
{
    return position < k->floors.n_sink || position + k->floors.recent >= k->job->n_position;
}

/* Lays the arrays out: which lists there are, how many rows each has, and how many it may keep. FULL: no memory. */
must_use enum status keep_begin(struct keep *k, const struct kv_keep_model *m,
                                const struct kv_keep_job *job, struct note *why);

/* Writes down the rows of a layer's lists. */
void keep_gather(struct keep *k, uint32_t layer);

/* Whether there is nothing to judge: the policy drops nothing, or no layer has lists. */
bool keep_is_nothing(const struct kv_keep_model *m, const struct kv_keep_job *job);

/* Whether lists [i, i + n) have more rows than they may keep together; some lists of the layer, or of those that share
 * a budget with them. */
bool keep_is_above(const struct keep *k, uint32_t i, uint32_t n);
bool keep_layer_is_above(const struct keep *k, uint32_t layer);

/* Has all workers run fn over k: each takes layers until there is none. FULL: ranks lacked memory. */
must_use enum status keep_run_layers(struct keep *k, workers_fn *fn, struct note *why);
bool keep_next_layer(struct keep *k, uint32_t *layer);

/* The policy's ranks of a layer's rows, which are gathered. */
void keep_rank_layer(const struct keep *k, uint32_t layer, struct kv_rank_source *source);

void keep_drop(const struct keep *k, uint32_t list, kv_row row);

#endif
