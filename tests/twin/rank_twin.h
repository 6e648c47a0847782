/* twin/rank_twin.h - what each policy's rank should be, in double precision, written as its source describes it.
 *
 * Threads  one. Cost  no thought was given to it. */
#ifndef TWIN_RANK_TWIN_H
#define TWIN_RANK_TWIN_H

#include "kv/policy.h"
#include "kv/taps.h"
#include "model/hparams.h"

/* One sequence: lists are [layer without a window][kv_head], positions 0.. n_position - 1. */
struct rank_twin {
    uint32_t n_layer, n_kv_head, group, d, d_v, n_max; // n_max: positions there is room for
    uint32_t n_position, n_sink, recent; // recent: of the first position that stays at the end
    double scale;
    bool *live;     // [list][n_max]
    float *k, *v;   // [list][n_max][d], [d_v]
    float *query;   // [layer][n_max][head][d] after RoPE
    float *raw;     // [layer][n_max][head][d] before it; unused where there are taps
    uint64_t *mass; // [list][n_max]
    float *future;  // [n_rot / 2] pairs
    uint32_t n_rot;
    bool rope_halves;
    const uint16_t *model_layer; // [n_layer]
    const uint32_t *budget;      // [list] rows that it may keep, and their mean
    uint32_t mean_budget;
    bool whole;                 // some may keep all
    const struct kv_taps *taps; // moments are taken from here; NULL: from raw
};

/* Of a model's lists, and room for n_max positions; model_layer [layers without a window] is filled, and stays the
 * caller's. Its scores must have no soft cap. */
void rank_twin_of(struct rank_twin *t, const struct hparams *h, const struct kv_shape *shape,
                  uint16_t *model_layer, uint32_t n_max);
void rank_twin_open(struct rank_twin *t);
void rank_twin_close(struct rank_twin *t);

/* rank [n_max] of the live rows of one list; and how far two ranks may be apart and be the same but for rounding. */
void rank_twin_list(const struct rank_twin *t, const struct kv_choice *c, uint32_t layer,
                    uint32_t h, double *rank);
double rank_twin_slack(const struct kv_choice *c, double rank);

#endif
