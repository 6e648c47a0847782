/* model/attend_in.h - a layer's attention as tasks: what attend.c and attend_parts.c share. */
#ifndef MODEL_ATTEND_IN_H
#define MODEL_ATTEND_IN_H

#include <stdatomic.h>

#include "model/past.h"

struct attend_job {
    struct pass *p;
    uint32_t layer, group; // group: queries that share a kv_head
    bool windowed;
    bool by_head;                      // parts of a head before those of the next
    uint32_t n_tile, n_select, n_part; // tasks, in this order
    _Atomic uint32_t next;
    _Atomic uint32_t n_selecting; // selects that are not done
};

static inline const struct attn_plan *attend_plan_of(const struct attend_job *job)
{
    return &job->p->plan[job->p->h->windowed[job->layer]];
}

struct attend_part_task {
    const struct attn_part *part;
    uint32_t head;
};

/* Of the parts the i-th: all of the first head, then those of the next, or the heads of a chunk in a row, whose K and V
 * are neighbours. */
static inline struct attend_part_task attend_part_at(const struct attend_job *job, uint32_t i)
{
    const struct attn_plan *plan = attend_plan_of(job);
    const uint32_t n_head = job->p->h->n_kv_head;
    if (job->by_head)
        return (struct attend_part_task){ &plan->part[i % plan->n_part],
                                          job->p->head[i / plan->n_part].head };
    return (struct attend_part_task){ &plan->part[i / n_head], i % n_head };
}

/* What whoever takes the next task reads first: a select its sinks. */
struct past_block attend_next_begins(struct attend_job *job);

void attend_finish_row(struct attend_job *job, uint32_t row, uint32_t head,
                       struct attn_state total);

/* ---- parts ---- */

struct attend_owed {
    struct attend_part_task task;
    float *keep;   // NULL: scores had no room, and are computed again
    uint64_t room; // bits of what they have
};

/* Parts that a thread has computed and not counted: owed[first .. end). */
struct attend_debts {
    uint32_t first, end;
    uint64_t used; // bit i: room of a row's scores of a chunk
    struct attend_owed owed[SPLIT_STATES];
};

static inline void attend_debts_none(struct attend_debts *d)
{
    d->first = d->end = 0;
    d->used = 0;
}

/* Before the tasks. */
void attend_parts_begin(struct attend_job *job);
/* One part; then what of the thread's parts is merged is counted. */
void attend_part(struct attend_job *job, const struct attend_part_task *t, struct attend_debts *d,
                 struct pass_thread *mine);
/* Behind the last task: counts what is left, and waits for who computes the rest of its rows. */
void attend_count_rest(struct attend_job *job, struct attend_debts *d, struct pass_thread *mine);

#endif
