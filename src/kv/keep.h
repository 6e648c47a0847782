/* kv/keep.h - carrying a keep policy out: budgets, floors, ranks, the best rows stay.
 *
 *   lists of the excerpt --policy's rank--> floors first, then the best by rank, up to each head's budget --> drop, settle
 *
 * K1  What stays of a list is at least its floors (sinks and recent rows), and at most its budget where that is larger.
 * K2  Nothing is dropped while a list is within its budget; a budget at or above what was read changes nothing at all.
 * K3  The same sequence, choice and profile keep the same rows, alone or in any batch, and on any machine.
 *
 * Threads  the engine thread, between steps; ranks are computed by the workers it is given. */
#ifndef KV_KEEP_H
#define KV_KEEP_H

#include "kv/policy.h"
#include "kv/shares.h"
#include "os/workers.h"

/* What it needs to know of the model. */
struct kv_keep_model {
    const struct kernels *kern;
    struct workers *workers;
    const struct kv_shape *shape;
    uint32_t n_head; // that ask
    float scale, softcap;
    uint32_t n_rot;
    bool rope_halves;
};

struct kv_keep_job {
    const struct kv_choice *choice;
    const struct kv_shares *shares; // NULL: equal ones
    struct kv_excerpt *excerpt;
    struct kv_space *space;
    const struct kv_taps *taps; // NULL: none
    const float *future;        // as in kv_rank_in; NULL: no moments
    uint32_t n_position;        // computed and committed
    uint32_t n_whole; // what percentages are of: the prompt's length, or what has been read
};

/* Rows of each kv_head on average that the choice's budget comes to. */
uint32_t kv_keep_budget(const struct kv_choice *c, const struct kv_shape *shape, uint32_t n_whole);

/* Most bytes of slots that such a past holds after any keep, for admission. */
size_t kv_keep_bytes(const struct kv_choice *c, const struct kv_shares *shares,
                     const struct kv_shape *shape, uint32_t n_whole);

/* Ranks, drops and settles. FULL: no memory for ranks, or not enough of the pool; rows dropped stay dropped, and a second
 * call goes on. */
must_use enum status kv_keep_run(const struct kv_keep_model *m, const struct kv_keep_job *job,
                                 struct note *why);

/* The row that leaves with each generated token (kv_policy.evicts_each): of every list that is above its budget, the lowest
 * ranked row behind no floor. Nothing moves. */
must_use enum status kv_keep_one(const struct kv_keep_model *m, const struct kv_keep_job *job,
                                 struct note *why);

#endif
