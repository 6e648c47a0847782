/* twin/keep_twin.h - whether what a keep kept is what it should have: the rows that went rank below those that stayed,
 * as many went as had to, floors stay, nothing comes back. Where two rows rank the same but for rounding, either may
 * stay.
 *
 *   keep_twin_look(&t, &job);  kv_keep_run(.., &job, ..);  keep_twin_check(&t, &job, false); */
#ifndef TWIN_KEEP_TWIN_H
#define TWIN_KEEP_TWIN_H

#include "kv/keep.h"
#include "twin/rank_twin.h"

struct keep_twin {
    struct rank_twin *rank; // the sequence; `live` is kept up to date here
    const struct kv_shape *shape;
    bool *live;       // [list][n_max] before the keep
    double *rank_was; // [list][n_max]
    uint32_t *budget; // [list]
    kv_row *row;      // [n_max]
    uint32_t *position;
    uint32_t n_tie; // keeps that rounding decided
};

void keep_twin_open(struct keep_twin *t, struct rank_twin *rank, const struct kv_shape *shape);
void keep_twin_close(struct keep_twin *t);

void keep_twin_look(struct keep_twin *t, const struct kv_keep_job *job);
/* one: of kv_keep_one. Asserts. */
void keep_twin_check(struct keep_twin *t, const struct kv_keep_job *job, bool one);

#endif
