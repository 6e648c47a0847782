/* model/attend_parts.c - attention by parts: few rows, or sequences that share blocks.
 *
 * A part has the states of its rows' queries of one kv_head. Who computes the last part of a row merges all of them, in
 * order of their chunks. Where mass is counted, who computed a part counts what its rows received once those are
 * merged: the scores are still in its own cache, and nobody hands anything over. While others compute the rest of a
 * row, it goes on with the next part; behind the last one it waits for them at the row's gate. */
#include "base/num.h"
#include "model/attend_in.h"
#include "model/taps.h"

enum { CHUNK_ROWS = ATTN_CHUNK_BLOCKS * KV_BLOCK };

static uint32_t blocks_for(uint32_t n_row)
{
    return (n_row + KV_BLOCK - 1) / KV_BLOCK;
}

/* The states of all rows of the plan lie one behind the other, head after head. */
static struct attn_state state_at(const struct attend_job *job, uint32_t head, uint32_t i)
{
    const struct attn_state s = job->p->split;
    const size_t at = ((size_t)head * attend_plan_of(job)->n_state + i) * job->group;
    return (struct attn_state){ s.m + at, s.l + at, s.o + at * job->p->h->d_head };
}

/* Blocks of the space that some query of the run sees. */
static void see_space(struct attn_run *run, const struct past *past)
{
    uint32_t begin = run->last, end = run->first;
    for (uint32_t q = 0; q < run->n_query; q++) {
        begin = min_u32(begin, run->lo[q] / KV_BLOCK);
        end = max_u32(end, blocks_for(run->hi[q]));
    }
    if (past->listed)
        begin = max_u32(begin, past->list.tail_first);
    run->first = max_u32(begin, run->first);
    run->last = min_u32(end, run->last);
}

static const struct batch_seq *seq_of(const struct attend_job *job, uint32_t row)
{
    return &job->p->batch->seq[job->p->row_seq[row]];
}

/* Whether the mass of the plan's i-th row is counted in this layer. */
static bool counts(const struct attend_job *job, uint32_t i)
{
    return taps_counts(job->p, seq_of(job, attend_plan_of(job)->row[i]), job->layer);
}

static bool some_counts(const struct attend_job *job, const struct attn_part *part)
{
    for (uint32_t i = part->first; i < part->first + part->n; i++)
        if (counts(job, i))
            return true;
    return false;
}

static void aim_at_part(struct attn_run *run, const struct past *past, const struct attn_part *part,
                        uint32_t head, float *keep)
{
    run->first = part->chunk * ATTN_CHUNK_BLOCKS;
    run->last = run->first + ATTN_CHUNK_BLOCKS;
    if (part->slots) {
        past_aim_at_slots(run, past);
        run->last = min_u32(run->last, past->list.n_block);
    } else {
        past_aim_at_space(run, past, head);
        see_space(run, past);
    }
    run->keep = keep;
    run->keep_stride = CHUNK_ROWS;
    run->keep_first = part->chunk * ATTN_CHUNK_BLOCKS;
}

/* Parts stand in the order of their chunks, so this is the order of the contract. The total is where the first was. */
static struct attn_state merge_row(struct attend_job *job, uint32_t row, uint32_t head)
{
    const struct attn_plan *plan = attend_plan_of(job);
    struct attn_state total = { NULL, NULL, NULL };
    for (uint32_t i = 0; i < plan->n_state; i++) {
        if (plan->row[i] != row)
            continue;
        const struct attn_state part = state_at(job, head, i);
        if (total.m)
            job->p->kern->attn_merge(total, part, job->group, job->p->h->d_head);
        else
            total = part;
    }
    return total;
}

static struct attn_state total_at(const struct attend_job *job, uint32_t row, uint32_t head)
{
    uint32_t i = 0;
    while (attend_plan_of(job)->row[i] != row)
        i++;
    return state_at(job, head, i);
}

/* Parts of the row that are not computed, and one more until they are merged. */
static struct gate *left_at(const struct attend_job *job, uint32_t row, uint32_t head)
{
    return &job->p->row_left[row * job->p->h->n_kv_head + head];
}

/* Rows whose scores of a chunk a thread can keep. */
static uint32_t rooms(const struct attend_job *job)
{
    return min_u32(64, (uint32_t)(PASS_KEPT / ((size_t)job->group * CHUNK_ROWS)));
}

/* Scores are kept until their row is merged: where all may not have room, the rows of a head shall soon be. */
void attend_parts_begin(struct attend_job *job)
{
    const struct attn_plan *plan = attend_plan_of(job);
    const uint32_t n_head = job->p->h->n_kv_head;
    if (plan->n_part == 0)
        return;
    job->by_head = job->p->taps.mass && plan->n_state * n_head > rooms(job);
    for (uint32_t i = 0; i < job->p->n_row * n_head; i++)
        gate_set(&job->p->row_left[i], 1);
    for (uint32_t i = 0; i < plan->n_state * n_head; i++) {
        struct gate *left = left_at(job, plan->row[i / n_head], i % n_head);
        gate_set(left, gate_read(left) + 1);
    }
}

static void part_done(struct attend_job *job, const struct attend_part_task *t)
{
    const uint32_t *row = attend_plan_of(job)->row + t->part->first;
    for (uint32_t r = 0; r < t->part->n; r++) {
        struct gate *left = left_at(job, row[r], t->head);
        if (gate_count_down(left) != 1)
            continue;
        attend_finish_row(job, row[r], t->head, merge_row(job, row[r], t->head));
        gate_count_down(left);
    }
}

/* ---- mass ---- */

/* Room for the scores of n rows of a chunk, as near to the first as there is: that was used a moment ago. */
static struct attend_owed take_room(const struct attend_job *job, struct attend_debts *d,
                                    uint32_t n, const struct pass_thread *mine)
{
    const size_t size = (size_t)job->group * CHUNK_ROWS;
    const uint32_t n_room = rooms(job);
    const uint64_t bits = (UINT64_C(1) << n) - 1;
    for (uint32_t i = 0; i + n <= n_room; i++) {
        if (d->used & bits << i)
            continue;
        d->used |= bits << i;
        return (struct attend_owed){ .keep = mine->kept + i * size, .room = bits << i };
    }
    return (struct attend_owed){ .keep = NULL };
}

static bool is_merged(const struct attend_job *job, const struct attend_part_task *t)
{
    for (uint32_t r = 0; r < t->part->n; r++) {
        const uint32_t row = attend_plan_of(job)->row[t->part->first + r];
        if (gate_read(left_at(job, row, t->head)) != 0)
            return false;
    }
    return true;
}

static void count_part(struct attend_job *job, const struct attend_owed *o,
                       struct pass_thread *mine)
{
    const struct attn_part *part = o->task.part;
    const uint32_t head = o->task.head;
    for (uint32_t r = 0; r < part->n; r++) {
        const uint32_t row = attend_plan_of(job)->row[part->first + r];
        if (!counts(job, part->first + r))
            continue;
        const struct past past = past_of(job->p, job->layer, row, head);
        struct attn_run run = past_run(job->p, &past, &row, 1, head, mine);
        aim_at_part(&run, &past, part, head,
                    o->keep ? o->keep + (size_t)r * job->group * CHUNK_ROWS : NULL);
        taps_count_part(job->p, job->layer, head, &past, &run, part->slots, seq_of(job, row),
                        total_at(job, row, head), mine);
    }
}

static void count_first(struct attend_job *job, struct attend_debts *d, struct pass_thread *mine)
{
    const struct attend_owed *o = &d->owed[d->first++];
    count_part(job, o, mine);
    d->used &= ~o->room;
}

static void count_merged(struct attend_job *job, struct attend_debts *d, struct pass_thread *mine)
{
    while (d->first < d->end && is_merged(job, &d->owed[d->first].task))
        count_first(job, d, mine);
}

static void wait_until_merged(const struct attend_job *job, const struct attend_part_task *t)
{
    for (uint32_t r = 0; r < t->part->n; r++)
        gate_wait_zero(left_at(job, attend_plan_of(job)->row[t->part->first + r], t->head));
}

/* Behind the last task, so what is not merged is being computed. */
void attend_count_rest(struct attend_job *job, struct attend_debts *d, struct pass_thread *mine)
{
    while (d->first < d->end) {
        wait_until_merged(job, &d->owed[d->first].task);
        count_merged(job, d, mine);
    }
}

void attend_part(struct attend_job *job, const struct attend_part_task *t, struct attend_debts *d,
                 struct pass_thread *mine)
{
    const struct attn_part *part = t->part;
    const uint32_t *row = attend_plan_of(job)->row + part->first;
    const struct past past = past_of(job->p, job->layer, row[0], t->head);
    struct attn_run run = past_run(job->p, &past, row, part->n, t->head, mine);
    struct attend_owed owed = { .keep = NULL };
    if (some_counts(job, part)) {
        owed = take_room(job, d, part->n, mine);
        owed.task = *t;
        d->owed[d->end++] = owed;
    }
    aim_at_part(&run, &past, part, t->head, owed.keep);
    const struct past_block next = attend_next_begins(job);
    run.k_next = next.k;
    run.v_next = next.v;
    job->p->kern->attn_partial(&run, state_at(job, t->head, part->first), mine->scratch);
    part_done(job, t);
    count_merged(job, d, mine);
}
