/* model/attend.c - attention over views: which task computes which partial, and in what order they merge.
 *
 *   tiles   a task = some rows of a sequence x one kv_head: its heads' queries together, chunk after chunk; what takes
 *           longest goes first
 *   selects the answering rows of a sequence that reads some of its past (kv/select.h): a task = those rows, in order,
 *           x one kv_head
 *   parts   few rows, or sequences that share blocks: a task = the rows that go over the same rows of one chunk,
 *           of however many sequences (attend_plan.c) x one kv_head: attend_parts.c
 *
 * Behind a tile or a part, what is likely the next one's first block is fetched.
 *
 * Both give the same bits: a chunk's partial and the order of merging are fixed by positions (kernels/attention.h).
 *
 * A past under a policy (kv/excerpt.h) is read list by list: chunks of 16 blocks of slots first, all live slots visible
 * to every query, then the space's blocks from the tail's first on, as ever, under the tail's bits. */
#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "model/attend_in.h"
#include "model/chunks.h"
#include "model/taps.h"

/* Rows that attend together, and one kv_head. */
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

/* What a row's heads of the kv_head come to: [group][d]. */
static float *output_of(const struct attend_job *job, uint32_t row, uint32_t kv_head)
{
    const struct hparams *h = job->p->h;
    return job->p->mix + ((size_t)row * h->n_head + kv_head * job->group) * h->d_head;
}

void attend_finish_row(struct attend_job *job, uint32_t row, uint32_t head, struct attn_state total)
{
    const uint32_t d = job->p->h->d_head;
    job->p->kern->attn_finish(output_of(job, row, head), d, total, job->group, d);
}

/* Task i: all tiles of the first head, then those of the next. */
static struct tile tile_at(const struct attend_job *job, uint32_t i)
{
    const struct pass *p = job->p;
    const uint32_t n = p->n_tile[job->windowed];
    const struct attn_tile *t = &p->tile[job->windowed][i % n];
    return (struct tile){ t->first, t->n, p->head[i / n].head };
}

static uint32_t selects_of(const struct attend_job *job, const struct batch_seq *seq)
{
    return past_n_dense(seq, job->windowed) < seq->n_row ? job->p->h->n_kv_head : 0;
}

/* Select i: the first row of its sequence that selects, those behind it, and a kv_head. */
static struct tile select_at(const struct attend_job *job, uint32_t i, const struct batch_seq **of)
{
    const struct batch_seq *seq = job->p->batch->seq;
    for (; i >= selects_of(job, seq); seq++)
        i -= selects_of(job, seq);
    const uint32_t n_dense = past_n_dense(seq, false);
    *of = seq;
    return (struct tile){ seq->first_row + n_dense, seq->n_row - n_dense, i };
}

struct past_block attend_next_begins(struct attend_job *job)
{
    const uint32_t i = atomic_load_explicit(&job->next, memory_order_relaxed);
    const uint32_t n_whole = job->n_tile + job->n_select;
    if (i < job->n_tile) {
        const struct tile t = tile_at(job, i);
        return past_begins(job->p, job->layer, t.first, t.head, true, 0);
    }
    if (i < n_whole) {
        const struct batch_seq *seq;
        const struct tile t = select_at(job, i - job->n_tile, &seq);
        return past_begins(job->p, job->layer, t.first, t.head, true, 0);
    }
    if (i >= n_whole + job->n_part)
        return (struct past_block){ NULL, NULL };
    const struct attend_part_task t = attend_part_at(job, i - n_whole);
    return past_begins(job->p, job->layer, attend_plan_of(job)->row[t.part->first], t.head,
                       t.part->slots, t.part->chunk * ATTN_CHUNK_BLOCKS);
}

/* Slots, where the past has some, then the space's blocks that the run sees, into the total. selected: the rows that
 * are read of those, or NULL. Leaves the run aimed at the space. */
static void attend_past(struct attend_job *job, const struct past *past, struct attn_run *run,
                        uint32_t kv_head, const struct kv_selected *selected, chunks_fn *chunks,
                        struct pass_thread *mine)
{
    const uint32_t first = past_first(past, run), end = past_end(run);
    struct attn_run slots = *run;
    state_clear(mine->total, run->n_query, run->d_v);
    past_aim_at_space(run, past, kv_head);
    run->row_mask = selected ? selected->rows : run->row_mask;
    if (past->listed) {
        past_aim_at_slots(&slots, past);
        slots.row_mask = selected ? selected->slots : slots.row_mask;
        const struct past_block behind = past_first_of(run, first, end);
        chunks(job->p, &(struct stretch){ &slots, 0, past->list.n_block, behind }, mine);
    }
    chunks(job->p, &(struct stretch){ run, first, end, attend_next_begins(job) }, mine);
}

static void finish_tile(struct attend_job *job, const struct tile *t, struct pass_thread *mine)
{
    for (uint32_t r = 0; r < t->n; r++) {
        const size_t i = (size_t)r * job->group;
        attend_finish_row(job, t->first + r, t->head,
                          (struct attn_state){ mine->total.m + i, mine->total.l + i,
                                               mine->total.o + i * job->p->h->d_head });
    }
}

static void attend_tile(struct attend_job *job, const struct tile *t, struct pass_thread *mine)
{
    struct pass *p = job->p;
    const struct batch_seq *seq = &p->batch->seq[p->row_seq[t->first]];
    const bool counts = taps_counts(p, seq, job->layer);
    const struct past past = past_of(p, job->layer, t->first, t->head);
    uint32_t row[TILE_ROWS_MAX];
    for (uint32_t r = 0; r < t->n; r++)
        row[r] = t->first + r;
    struct attn_run run = past_run(p, &past, row, t->n, t->head, mine);
    if (counts)
        taps_keep(&run, mine, past_end(&run) - past_first(&past, &run) + past.list.n_block);
    attend_past(job, &past, &run, t->head, NULL, chunks_in_order, mine);
    finish_tile(job, t, mine);
    if (counts)
        taps_count(p, job->layer, t->head, &past, &run, seq, mine);
}

/* ---- heads ---- */

/* Blocks of slots that sequences have in lists of the kv_head. */
static uint64_t slots_of(const struct attend_job *job, uint32_t head)
{
    const struct batch *b = job->p->batch;
    uint64_t n = 0;
    for (uint32_t s = 0; s < b->n_seq; s++)
        if (!job->windowed && pass_reads_lists(&b->seq[s]))
            n += kv_excerpt_list(b->seq[s].excerpt, job->layer, head).n_block;
    return n;
}

/* Heads of a layer may have lists of very different lengths: the longest first. */
static void order_heads(const struct attend_job *job)
{
    struct attn_head *all = job->p->head;
    for (uint32_t h = 0; h < job->p->h->n_kv_head; h++) {
        const struct attn_head head = { h, slots_of(job, h) };
        uint32_t i = h;
        for (; i > 0 && all[i - 1].n_block < head.n_block; i--)
            all[i] = all[i - 1];
        all[i] = head;
    }
}

/* ---- selects ---- */

/* One row of a kv_head: its heads together, or each by itself where they choose apart. */
static void select_row(struct attend_job *job, struct kv_select *select, const struct tile *t,
                       uint32_t worker)
{
    struct pass *p = job->p;
    struct pass_thread *mine = &p->thread[worker];
    const uint32_t d = p->h->d_head, together = kv_select_together(select);
    const struct past past = past_of(p, job->layer, t->first, t->head);
    const struct attn_run all = past_run(p, &past, &t->first, 1, t->head, mine);
    for (uint32_t first = 0; first < job->group; first += together) {
        struct attn_run run = all;
        run.n_query = together;
        run.q = all.q + first * all.q_stride;
        struct kv_select_in in = {
            .layer = job->layer,
            .kv_head = t->head,
            .group = together,
            .d = d,
            .n_position = p->row_position[t->first],
            .q = run.q,
            .asker = first / together,
            .scale = run.scale,
            .softcap = run.softcap,
            .kern = p->kern,
            .scratch = mine->scratch,
            .loops = &p->loops,
            .worker = worker,
            .view = past.view,
            .list = past.listed ? &past.list : NULL,
        };
        struct kv_selected mask;
        const bool some = kv_select_rows(select, &in, &mask);
        attend_past(job, &past, &run, t->head, some ? &mask : NULL, chunks_shared, mine);
        p->kern->attn_finish(output_of(job, t->first, t->head) + first * d, d, mine->total,
                             together, d);
    }
}

static void attend_select(struct attend_job *job, uint32_t i, uint32_t worker)
{
    const struct batch_seq *seq;
    const struct tile rows = select_at(job, i, &seq);
    for (uint32_t r = 0; r < rows.n; r++)
        select_row(job, seq->select, &(struct tile){ rows.first + r, 1, rows.head }, worker);
    atomic_fetch_sub_explicit(&job->n_selecting, 1, memory_order_relaxed);
}

enum { IDLE_PAUSES = 4000 }; // before who has no task goes home

/* A head that retrieves looks at every key (kv/policy/sentencekv.c), and a layer has few such heads: who has no task
 * left takes some of those, for a while. */
static void help_selects(struct attend_job *job, uint32_t worker)
{
    uint32_t idle = 0;
    while (idle < IDLE_PAUSES && atomic_load_explicit(&job->n_selecting, memory_order_relaxed) > 0)
        if (loops_help(&job->p->loops, worker)) {
            idle = 0;
        } else {
            __builtin_ia32_pause();
            idle++;
        }
}

/* ---- all ---- */

static void attend_task(struct attend_job *job, uint32_t i, struct attend_debts *d, uint32_t worker)
{
    struct pass_thread *mine = &job->p->thread[worker];
    if (i < job->n_tile) {
        const struct tile t = tile_at(job, i);
        attend_tile(job, &t, mine);
    } else if (i - job->n_tile < job->n_select) {
        attend_select(job, i - job->n_tile, worker);
    } else {
        const struct attend_part_task t = attend_part_at(job, i - job->n_tile - job->n_select);
        attend_part(job, &t, d, mine);
    }
}

static void tasks_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct attend_job *job = arg;
    const uint32_t n_task = job->n_tile + job->n_select + job->n_part;
    struct attend_debts debts;
    attend_debts_none(&debts);
    (void)n_part;
    for (;;) {
        const uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= n_task)
            break;
        attend_task(job, i, &debts, part);
    }
    attend_count_rest(job, &debts, &job->p->thread[part]);
    help_selects(job, part);
}

void pass_attend(struct pass *p, uint32_t layer)
{
    struct attend_job job = {
        .p = p,
        .layer = layer,
        .group = p->h->n_head / p->h->n_kv_head,
        .windowed = p->h->windowed[layer],
    };
    job.n_part = attend_plan_of(&job)->n_part * p->h->n_kv_head;
    job.n_tile = p->n_tile[job.windowed] * p->h->n_kv_head;
    for (uint32_t s = 0; s < p->batch->n_seq; s++)
        job.n_select += selects_of(&job, &p->batch->seq[s]);
    job.n_selecting = job.n_select;
    order_heads(&job);
    attend_parts_begin(&job);
    profile_run(&p->profile, PROFILE_ATTENTION, p->workers, tasks_part, &job);
}
