/* model/attend.c - attention over views: which task computes which partial, and in what order they merge.
 *
 *   tile mode    a task = some rows of a sequence x one kv_head: its heads' queries together, chunk after chunk
 *   split mode   few rows (decoding): a task = one row x one kv_head x one chunk; then the partials are merged
 *
 * Both give the same bits: a chunk's partial and the order of merging are fixed by positions (kernels/attention.h). */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "model/pass.h"

enum { TILE_ROWS_MAX = 16, CHUNK_ROWS = ATTN_CHUNK_BLOCKS * KV_BLOCK };

struct attend_job {
    struct pass *p;
    uint32_t layer, group; // group: queries that share a kv_head
    uint32_t tile_rows;
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

static struct attn_run run_of(const struct attend_job *job, const struct kv_view *view,
                              const struct tile *t, struct pass_thread *mine)
{
    const struct hparams *h = job->p->h;
    const size_t d = h->d_head;
    for (uint32_t r = 0; r < t->n; r++) {
        const float *q =
            job->p->q + ((size_t)(t->first + r) * h->n_head + t->head * job->group) * d;
        const uint32_t position = job->p->row_position[t->first + r];
        memcpy(mine->q + r * job->group * d, q, job->group * d * sizeof *q);
        for (uint32_t g = 0; g < job->group; g++) {
            mine->lo[r * job->group + g] = first_visible(view, position);
            mine->hi[r * job->group + g] = position + 1;
        }
    }
    const size_t k_offset = t->head * view->k_bytes;
    const size_t v_offset = view->n_kv_head * view->k_bytes + t->head * view->v_bytes;
    return (struct attn_run){
        .type = view->type,
        .d_k = h->d_head,
        .d_v = h->d_head,
        .scale = h->attn_scale,
        .softcap = h->attn_softcap,
        .n_query = t->n * job->group,
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

static void finish_rows(struct attend_job *job, const struct tile *t, struct attn_state total)
{
    const struct hparams *h = job->p->h;
    const size_t d = h->d_head;
    for (uint32_t r = 0; r < t->n; r++) {
        const size_t i = (size_t)r * job->group;
        const struct attn_state row = { total.m + i, total.l + i, total.o + i * d };
        float *out = job->p->mix + ((size_t)(t->first + r) * h->n_head + t->head * job->group) * d;
        job->p->kern->attn_finish(out, d, row, job->group, h->d_head);
    }
}

static struct kv_view view_of(const struct attend_job *job, const struct tile *t)
{
    return kv_view_layer(job->p->batch->seq[job->p->row_seq[t->first]].space, job->layer);
}

static uint32_t blocks_for(uint32_t n_row)
{
    return (n_row + KV_BLOCK - 1) / KV_BLOCK;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void attend_tile(struct attend_job *job, const struct tile *t, struct pass_thread *mine)
{
    const struct kv_view view = view_of(job, t);
    struct attn_run run = run_of(job, &view, t, mine);
    const uint32_t end = blocks_for(mine->hi[run.n_query - 1]);
    state_clear(mine->total, run.n_query, run.d_v);
    for (run.first = mine->lo[0] / KV_BLOCK; run.first < end; run.first = run.last) {
        run.last =
            min_u32(end, run.first / ATTN_CHUNK_BLOCKS * ATTN_CHUNK_BLOCKS + ATTN_CHUNK_BLOCKS);
        job->p->kern->attn_partial(&run, mine->part, mine->scratch);
        job->p->kern->attn_merge(mine->total, mine->part, run.n_query, run.d_v);
    }
    finish_rows(job, t, mine->total);
}

/* ---- tile mode ---- */

static uint32_t tiles_of(const struct attend_job *job, const struct batch_seq *seq)
{
    return (seq->n_row + job->tile_rows - 1) / job->tile_rows;
}

/* Task i, counting tiles from the end of each sequence: later rows see more, and the longest tasks go first. */
static struct tile tile_at(const struct attend_job *job, uint32_t i)
{
    const struct batch *b = job->p->batch;
    const uint32_t n_head = job->p->h->n_kv_head;
    const struct batch_seq *seq = b->seq;
    for (; i >= tiles_of(job, seq) * n_head; seq++)
        i -= tiles_of(job, seq) * n_head;
    const uint32_t from = (tiles_of(job, seq) - 1 - i / n_head) * job->tile_rows;
    return (struct tile){ seq->first_row + from, min_u32(job->tile_rows, seq->n_row - from),
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

/* ---- split mode: rows x kv_heads x chunks, each with a state of `group` queries ---- */

static struct attn_state split_state(const struct attend_job *job, uint32_t i)
{
    const struct attn_state s = job->p->split;
    const size_t at = (size_t)i * job->group;
    return (struct attn_state){ s.m + at, s.l + at, s.o + at * job->p->h->d_head };
}

/* Chunks [first, last) that hold what row r sees. */
static void chunks_of(const struct attend_job *job, uint32_t row, uint32_t *first, uint32_t *last)
{
    const struct tile t = { row, 1, 0 };
    const struct kv_view view = view_of(job, &t);
    const uint32_t position = job->p->row_position[row];
    *first = first_visible(&view, position) / CHUNK_ROWS;
    *last = position / CHUNK_ROWS + 1;
}

/* Task i as a row, a head and a chunk; false behind the last. */
static bool split_at(const struct attend_job *job, uint32_t i, struct tile *t, uint32_t *chunk)
{
    const uint32_t n_head = job->p->h->n_kv_head;
    for (uint32_t row = 0; row < job->p->n_row; row++) {
        uint32_t first, last;
        chunks_of(job, row, &first, &last);
        if (i < (last - first) * n_head) {
            *t = (struct tile){ row, 1, i / (last - first) };
            *chunk = first + i % (last - first);
            return true;
        }
        i -= (last - first) * n_head;
    }
    return false;
}

static void split_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct attend_job *job = arg;
    struct pass_thread *mine = &job->p->thread[part];
    (void)n_part;
    for (;;) {
        struct tile t;
        uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed), chunk;
        if (!split_at(job, i, &t, &chunk))
            return;
        const struct kv_view view = view_of(job, &t);
        struct attn_run run = run_of(job, &view, &t, mine);
        const uint32_t begin = mine->lo[0] / KV_BLOCK, end = blocks_for(mine->hi[0]);
        run.first = chunk * ATTN_CHUNK_BLOCKS > begin ? chunk * ATTN_CHUNK_BLOCKS : begin;
        run.last = min_u32(end, (chunk + 1) * ATTN_CHUNK_BLOCKS);
        job->p->kern->attn_partial(&run, split_state(job, i), mine->scratch);
    }
}

static void merge_split(struct attend_job *job)
{
    const struct hparams *h = job->p->h;
    struct attn_state total = job->p->thread[0].total;
    for (uint32_t row = 0, i = 0; row < job->p->n_row; row++) {
        uint32_t first, last;
        chunks_of(job, row, &first, &last);
        for (uint32_t head = 0; head < h->n_kv_head; head++) {
            state_clear(total, job->group, h->d_head);
            for (uint32_t chunk = first; chunk < last; chunk++)
                job->p->kern->attn_merge(total, split_state(job, i++), job->group, h->d_head);
            finish_rows(job, &(struct tile){ row, 1, head }, total);
        }
    }
}

/* Whether the partials fit, and tiles alone would leave threads idle. */
static bool split_pays(const struct attend_job *job)
{
    const uint32_t n_thread = workers_count(job->p->workers), n_head = job->p->h->n_kv_head;
    uint32_t n_state = 0;
    if (n_thread == 1 || job->p->n_row * n_head >= 4 * n_thread)
        return false;
    for (uint32_t row = 0; row < job->p->n_row; row++) {
        uint32_t first, last;
        chunks_of(job, row, &first, &last);
        n_state += (last - first) * n_head;
    }
    return n_state <= SPLIT_STATES && n_state > job->p->n_row * n_head;
}

void pass_attend(struct pass *p, uint32_t layer)
{
    struct attend_job job = {
        .p = p,
        .layer = layer,
        .group = p->h->n_head / p->h->n_kv_head,
    };
    const uint32_t fit = p->queries_max / job.group;
    job.tile_rows = fit < TILE_ROWS_MAX ? fit : TILE_ROWS_MAX;
    if (split_pays(&job)) {
        profile_run(&p->profile, PROFILE_ATTENTION, p->workers, split_part, &job);
        const uint64_t began = profile_alone(&p->profile);
        merge_split(&job);
        profile_alone_end(&p->profile, PROFILE_ATTENTION, p->workers, began);
        return;
    }
    for (uint32_t s = 0; s < p->batch->n_seq; s++)
        job.n_task += tiles_of(&job, &p->batch->seq[s]) * p->h->n_kv_head;
    profile_run(&p->profile, PROFILE_ATTENTION, p->workers, tiles_part, &job);
}
