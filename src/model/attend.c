/* model/attend.c - attention over views: which task computes which partial, and in what order they merge.
 *
 *   tiles   a task = some rows of a sequence x one kv_head: its heads' queries together, chunk after chunk
 *   parts   few rows, or sequences that share blocks: a task = the rows that go over the same rows of one chunk,
 *           of however many sequences (attend_plan.c) x one kv_head; then each row's partials are merged
 *
 * Both give the same bits: a chunk's partial and the order of merging are fixed by positions (kernels/attention.h). */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "model/pass.h"

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

static uint32_t first_visible(const struct kv_view *view, uint32_t position)
{
    return view->window && position + 1 > view->window ? position + 1 - view->window : 0;
}

/* Gathers the queries of n rows of the batch that ask one kv_head of the view. */
static struct attn_run run_of(const struct attend_job *job, const struct kv_view *view,
                              const uint32_t *row, uint32_t n, uint32_t head,
                              struct pass_thread *mine)
{
    const struct hparams *h = job->p->h;
    const size_t d = h->d_head;
    for (uint32_t r = 0; r < n; r++) {
        const float *q = job->p->q + ((size_t)row[r] * h->n_head + head * job->group) * d;
        const uint32_t position = job->p->row_position[row[r]];
        memcpy(mine->q + r * job->group * d, q, job->group * d * sizeof *q);
        for (uint32_t g = 0; g < job->group; g++) {
            mine->lo[r * job->group + g] = first_visible(view, position);
            mine->hi[r * job->group + g] = position + 1;
        }
    }
    const size_t k_offset = head * view->k_bytes;
    const size_t v_offset = view->n_kv_head * view->k_bytes + head * view->v_bytes;
    return (struct attn_run){
        .type = view->type,
        .d_k = h->d_head,
        .d_v = h->d_head,
        .scale = h->attn_scale,
        .softcap = h->attn_softcap,
        .n_query = n * job->group,
        .q = mine->q,
        .q_stride = d,
        .lo = mine->lo,
        .hi = mine->hi,
        .k = view->table ? NULL : view->base + k_offset,
        .v = view->table ? NULL : view->base + v_offset,
        .stride = view->stride,
        .table = view->table,
        .k_offset = view->layer_offset + k_offset,
        .v_offset = view->layer_offset + v_offset,
    };
}

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
}

static struct kv_view view_of(const struct attend_job *job, uint32_t row)
{
    return kv_view_layer(job->p->batch->seq[job->p->row_seq[row]].space, job->layer);
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

static void attend_tile(struct attend_job *job, const struct tile *t, struct pass_thread *mine)
{
    const struct kv_view view = view_of(job, t->first);
    uint32_t row[TILE_ROWS_MAX];
    for (uint32_t r = 0; r < t->n; r++)
        row[r] = t->first + r;
    struct attn_run run = run_of(job, &view, row, t->n, t->head, mine);
    const uint32_t end = blocks_for(mine->hi[run.n_query - 1]);
    state_clear(mine->total, run.n_query, run.d_v);
    for (run.first = mine->lo[0] / KV_BLOCK; run.first < end; run.first = run.last) {
        run.last =
            min_u32(end, run.first / ATTN_CHUNK_BLOCKS * ATTN_CHUNK_BLOCKS + ATTN_CHUNK_BLOCKS);
        job->p->kern->attn_partial(&run, mine->part, mine->scratch);
        job->p->kern->attn_merge(mine->total, mine->part, run.n_query, run.d_v);
    }
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

static void attend_part(struct attend_job *job, const struct attn_part *part, uint32_t head,
                        struct pass_thread *mine)
{
    const uint32_t *row = plan_of(job)->row + part->first;
    const struct kv_view view = view_of(job, row[0]);
    struct attn_run run = run_of(job, &view, row, part->n, head, mine);
    const uint32_t chunk = part->chunk * ATTN_CHUNK_BLOCKS;
    uint32_t begin = chunk + ATTN_CHUNK_BLOCKS, end = chunk;
    for (uint32_t q = 0; q < run.n_query; q++) {
        begin = min_u32(begin, mine->lo[q] / KV_BLOCK);
        end = max_u32(end, blocks_for(mine->hi[q]));
    }
    run.first = max_u32(begin, chunk);
    run.last = min_u32(end, chunk + ATTN_CHUNK_BLOCKS);
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

void pass_attend(struct pass *p, uint32_t layer)
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
