/* model/attend.c - attention over views: which task computes which partial, and in what order they merge.
 *
 *   tiles   a task = some rows of a sequence x one kv_head: its heads' queries together, chunk after chunk
 *   parts   few rows, or sequences that share blocks: a task = the rows that go over the same rows of one chunk,
 *           of however many sequences (attend_plan.c) x one kv_head; then each row's partials are merged
 *
 * Both give the same bits: a chunk's partial and the order of merging are fixed by positions (kernels/attention.h).
 *
 * A past under a policy (kv/excerpt.h) is read list by list: chunks of 16 blocks of slots first, all live slots visible to
 * every query, then the space's blocks from the tail's first on, as ever, under the tail's bits. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "model/past.h"
#include "model/taps.h"

enum { MERGE_ALONE = 3 };

struct attend_job {
    struct pass *p;
    uint32_t layer, group; // group: queries that share a kv_head
    uint32_t n_task;
    _Atomic uint32_t next;
};

/* Rows first .. first + n - 1 of the batch, all of one sequence, and one kv_head. */
struct tile {
    uint32_t first, n, head;
};

/* ---- what one task computes ---- */

static void state_clear(struct attn_state s, uint32_t n, uint32_t d)
{
    for (uint32_t i = 0; i < n; i++) {
        s.m[i] = -INFINITY;
        s.l[i] = 0;
    }
    memset(s.o, 0, (size_t)n * d * sizeof *s.o);
}

static void finish_row(struct attend_job *job, uint32_t row, uint32_t head, struct attn_state total)
{
    const struct hparams *h = job->p->h;
    float *out = job->p->mix + ((size_t)row * h->n_head + head * job->group) * h->d_head;
    job->p->kern->attn_finish(out, h->d_head, total, job->group, h->d_head);
    if (job->p->taps.mass) {
        const size_t to = (size_t)row * h->n_head + head * job->group;
        memcpy(job->p->totals.m + to, total.m, job->group * sizeof(float));
        memcpy(job->p->totals.l + to, total.l, job->group * sizeof(float));
    }
}

static uint32_t blocks_for(uint32_t n_row)
{
    return (n_row + KV_BLOCK - 1) / KV_BLOCK;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Blocks [from, to), chunk after chunk, into the total. */
static void attend_chunks(struct attend_job *job, struct attn_run *run, uint32_t from, uint32_t to,
                          struct pass_thread *mine)
{
    for (run->first = from; run->first < to; run->first = run->last) {
        run->last =
            min_u32(to, run->first / ATTN_CHUNK_BLOCKS * ATTN_CHUNK_BLOCKS + ATTN_CHUNK_BLOCKS);
        job->p->kern->attn_partial(run, mine->part, mine->scratch);
        job->p->kern->attn_merge(mine->total, mine->part, run->n_query, run->d_v);
    }
}

static void attend_tile(struct attend_job *job, const struct tile *t, struct pass_thread *mine)
{
    const struct past past = past_of(job->p, job->layer, t->first, t->head);
    uint32_t row[TILE_ROWS_MAX];
    for (uint32_t r = 0; r < t->n; r++)
        row[r] = t->first + r;
    struct attn_run run = past_run(job->p, &past, row, t->n, t->head, mine);
    state_clear(mine->total, run.n_query, run.d_v);
    if (past.listed) {
        past_aim_at_slots(&run, &past);
        attend_chunks(job, &run, 0, past.list.n_block, mine);
    }
    past_aim_at_space(&run, &past, t->head);
    attend_chunks(job, &run, past_first(&past, &run), past_end(&run), mine);
    for (uint32_t r = 0; r < t->n; r++) {
        const size_t i = (size_t)r * job->group;
        finish_row(job, row[r], t->head,
                   (struct attn_state){ mine->total.m + i, mine->total.l + i,
                                        mine->total.o + i * run.d_v });
    }
}

/* ---- tiles ---- */

static uint32_t tiles_of(const struct attend_job *job, const struct batch_seq *seq)
{
    return (seq->n_row + job->p->tile_rows - 1) / job->p->tile_rows;
}

/* Task i, counting tiles from the end of each sequence: later rows see more, and the longest tasks go first. */
static struct tile tile_at(const struct attend_job *job, uint32_t i)
{
    const struct batch *b = job->p->batch;
    const uint32_t n_head = job->p->h->n_kv_head;
    const struct batch_seq *seq = b->seq;
    for (; i >= tiles_of(job, seq) * n_head; seq++)
        i -= tiles_of(job, seq) * n_head;
    const uint32_t from = (tiles_of(job, seq) - 1 - i / n_head) * job->p->tile_rows;
    return (struct tile){ seq->first_row + from, min_u32(job->p->tile_rows, seq->n_row - from),
                          i % n_head };
}

static void tiles_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct attend_job *job = arg;
    (void)n_part;
    for (;;) {
        uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= job->n_task)
            return;
        struct tile t = tile_at(job, i);
        attend_tile(job, &t, &job->p->thread[part]);
    }
}

/* ---- parts: each with the states of its rows' queries of one kv_head ---- */

static const struct attn_plan *plan_of(const struct attend_job *job)
{
    return &job->p->plan[job->p->h->windowed[job->layer]];
}

/* The states of all rows of the plan lie one behind the other, head after head. */
static struct attn_state state_at(const struct attend_job *job, uint32_t head, uint32_t i)
{
    const struct attn_state s = job->p->split;
    const size_t at = ((size_t)head * plan_of(job)->n_state + i) * job->group;
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

static void attend_part(struct attend_job *job, const struct attn_part *part, uint32_t head,
                        struct pass_thread *mine)
{
    const uint32_t *row = plan_of(job)->row + part->first;
    const struct past past = past_of(job->p, job->layer, row[0], head);
    struct attn_run run = past_run(job->p, &past, row, part->n, head, mine);
    run.first = part->chunk * ATTN_CHUNK_BLOCKS;
    run.last = run.first + ATTN_CHUNK_BLOCKS;
    if (part->slots) {
        past_aim_at_slots(&run, &past);
        run.last = min_u32(run.last, past.list.n_block);
    } else {
        past_aim_at_space(&run, &past, head);
        see_space(&run, &past);
    }
    job->p->kern->attn_partial(&run, state_at(job, head, part->first), mine->scratch);
}

static void parts_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct attend_job *job = arg;
    const uint32_t n_head = job->p->h->n_kv_head;
    (void)n_part;
    for (;;) {
        const uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= plan_of(job)->n_part * n_head)
            return;
        attend_part(job, &plan_of(job)->part[i / n_head], i % n_head, &job->p->thread[part]);
    }
}

/* Parts stand in the order of their chunks, so this is the order of the contract. */
static void merge_row(struct attend_job *job, uint32_t row, uint32_t head, struct attn_state total)
{
    const struct attn_plan *plan = plan_of(job);
    const struct hparams *h = job->p->h;
    state_clear(total, job->group, h->d_head);
    for (uint32_t i = 0; i < plan->n_state; i++) {
        if (plan->row[i] == row)
            job->p->kern->attn_merge(total, state_at(job, head, i), job->group, h->d_head);
    }
    finish_row(job, row, head, total);
}

static void merge_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct attend_job *job = arg;
    const uint32_t n_head = job->p->h->n_kv_head;
    (void)n_part;
    for (;;) {
        const uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= job->p->n_row * n_head)
            return;
        merge_row(job, i / n_head, i % n_head, job->p->thread[part].total);
    }
}

/* ---- both ---- */

/* Few rows are merged by the caller alone: a hand-over costs more. */
static void attend_parts(struct attend_job *job)
{
    struct pass *p = job->p;
    profile_run(&p->profile, PROFILE_ATTENTION, p->workers, parts_part, job);
    atomic_store_explicit(&job->next, 0, memory_order_relaxed);
    if (p->n_row > MERGE_ALONE) {
        profile_run(&p->profile, PROFILE_ATTENTION, p->workers, merge_part, job);
        return;
    }
    const uint64_t began = profile_alone(&p->profile);
    merge_part(job, 0, 1);
    profile_alone_end(&p->profile, PROFILE_ATTENTION, p->workers, began);
}

static void attend(struct pass *p, uint32_t layer)
{
    struct attend_job job = {
        .p = p,
        .layer = layer,
        .group = p->h->n_head / p->h->n_kv_head,
    };
    if (plan_of(&job)->n_part > 0) {
        attend_parts(&job);
        return;
    }
    for (uint32_t s = 0; s < p->batch->n_seq; s++)
        job.n_task += tiles_of(&job, &p->batch->seq[s]) * p->h->n_kv_head;
    profile_run(&p->profile, PROFILE_ATTENTION, p->workers, tiles_part, &job);
}

void pass_attend(struct pass *p, uint32_t layer)
{
    attend(p, layer);
    if (p->taps.mass)
        taps_mass(p, layer);
}
