/* model/attend.c - attention over views: which task computes which partial, and in what order they merge.
 *
 *   tiles   a task = some rows of a sequence x one kv_head: its heads' queries together, chunk after chunk; what takes
 *           longest goes first
 *   selects the answering rows of a sequence that reads some of its past (kv/select.h): a task = those rows, in order,
 *   x
 *           one kv_head
 *   parts   few rows, or sequences that share blocks: a task = the rows that go over the same rows of one chunk,
 *           of however many sequences (attend_plan.c) x one kv_head; then each row's partials are merged, and mass is
 *           counted
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

#include "model/past.h"
#include "model/taps.h"

enum { MERGE_ALONE = 3, IDLE_PAUSES = 4000 };

struct attend_job {
    struct pass *p;
    uint32_t layer, group; // group: queries that share a kv_head
    bool windowed;
    bool by_parts;                     // what the plan has goes by parts
    uint32_t n_tile, n_select, n_part; // tasks, in this order
    uint32_t n_count;                  // tasks behind the parts that count mass
    _Atomic uint32_t next;
    _Atomic uint32_t n_selecting; // selects that are not done
};

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

static void finish_row(struct attend_job *job, uint32_t row, uint32_t head, struct attn_state total)
{
    const struct hparams *h = job->p->h;
    float *out = job->p->mix + ((size_t)row * h->n_head + head * job->group) * h->d_head;
    job->p->kern->attn_finish(out, h->d_head, total, job->group, h->d_head);
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

/* Blocks [from, to), chunk after chunk, into the total; `behind` is read behind them. */
static void attend_chunks(struct attend_job *job, struct attn_run *run, uint32_t from, uint32_t to,
                          struct past_block behind, struct pass_thread *mine)
{
    for (run->first = from; run->first < to; run->first = run->last) {
        run->last =
            min_u32(to, run->first / ATTN_CHUNK_BLOCKS * ATTN_CHUNK_BLOCKS + ATTN_CHUNK_BLOCKS);
        const struct past_block next = run->last < to ? past_first_of(run, run->last, to) : behind;
        run->k_next = next.k;
        run->v_next = next.v;
        job->p->kern->attn_partial(run, mine->part, mine->scratch);
        job->p->kern->attn_merge(mine->total, mine->part, run->n_query, run->d_v);
    }
}

static const struct attn_plan *plan_of(const struct attend_job *job)
{
    return &job->p->plan[job->p->h->windowed[job->layer]];
}

/* Task i: all tiles of the first head, then those of the next. */
static struct tile tile_at(const struct attend_job *job, uint32_t i)
{
    const struct pass *p = job->p;
    const uint32_t n = p->n_tile[job->windowed];
    const struct attn_tile *t = &p->tile[job->windowed][i % n];
    return (struct tile){ t->first, t->n, p->head[i / n].head };
}

/* What whoever takes the next task reads first, if that is a tile or a part. */
static struct past_block next_begins(struct attend_job *job)
{
    const uint32_t i = atomic_load_explicit(&job->next, memory_order_relaxed);
    const uint32_t n_head = job->p->h->n_kv_head, n_whole = job->n_tile + job->n_select;
    if (i < job->n_tile) {
        const struct tile t = tile_at(job, i);
        return past_begins(job->p, job->layer, t.first, t.head, true, 0);
    }
    if (i < n_whole || i >= n_whole + job->n_part)
        return (struct past_block){ NULL, NULL };
    const struct attn_plan *plan = plan_of(job);
    const struct attn_part *part = &plan->part[(i - n_whole) / n_head];
    return past_begins(job->p, job->layer, plan->row[part->first], (i - n_whole) % n_head,
                       part->slots, part->chunk * ATTN_CHUNK_BLOCKS);
}

/* Slots, where the past has some, then the space's blocks that the run sees, into the total. selected: the rows that
 * are read of those, or NULL. Leaves the run aimed at the space. */
static void attend_past(struct attend_job *job, const struct past *past, struct attn_run *run,
                        uint32_t kv_head, const struct kv_selected *selected,
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
        attend_chunks(job, &slots, 0, past->list.n_block, past_first_of(run, first, end), mine);
    }
    attend_chunks(job, run, first, end, next_begins(job), mine);
}

static void finish_tile(struct attend_job *job, const struct tile *t, struct pass_thread *mine)
{
    for (uint32_t r = 0; r < t->n; r++) {
        const size_t i = (size_t)r * job->group;
        finish_row(job, t->first + r, t->head,
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
    attend_past(job, &past, &run, t->head, NULL, mine);
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

static uint32_t selects_of(const struct attend_job *job, const struct batch_seq *seq)
{
    return past_n_dense(seq, job->windowed) < seq->n_row ? job->p->h->n_kv_head : 0;
}

static void select_row(struct attend_job *job, struct kv_select *select, const struct tile *t,
                       uint32_t worker)
{
    struct pass *p = job->p;
    struct pass_thread *mine = &p->thread[worker];
    const struct past past = past_of(p, job->layer, t->first, t->head);
    struct attn_run run = past_run(p, &past, &t->first, 1, t->head, mine);
    struct kv_select_in in = {
        .layer = job->layer,
        .kv_head = t->head,
        .group = job->group,
        .d = p->h->d_head,
        .n_position = p->row_position[t->first],
        .q = mine->q,
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
    attend_past(job, &past, &run, t->head, some ? &mask : NULL, mine);
    finish_tile(job, t, mine);
}

static void attend_select(struct attend_job *job, uint32_t i, uint32_t worker)
{
    const struct batch_seq *seq = job->p->batch->seq;
    for (; i >= selects_of(job, seq); seq++)
        i -= selects_of(job, seq);
    for (uint32_t r = past_n_dense(seq, false); r < seq->n_row; r++)
        select_row(job, seq->select, &(struct tile){ seq->first_row + r, 1, i }, worker);
    atomic_fetch_sub_explicit(&job->n_selecting, 1, memory_order_relaxed);
}

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

/* ---- parts: each with the states of its rows' queries of one kv_head ---- */

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

static const struct batch_seq *seq_of(const struct attend_job *job, uint32_t row)
{
    return &job->p->batch->seq[job->p->row_seq[row]];
}

/* Whether the mass of the plan's i-th row is counted in this layer. */
static bool counts(const struct attend_job *job, uint32_t i)
{
    return taps_counts(job->p, seq_of(job, plan_of(job)->row[i]), job->layer);
}

static bool some_counts(const struct attend_job *job, const struct attn_part *part)
{
    for (uint32_t i = part->first; i < part->first + part->n; i++)
        if (counts(job, i))
            return true;
    return false;
}

/* At the part's blocks; kept are the scores of the plan's rows from the i-th on. */
static void aim_at_part(const struct attend_job *job, struct attn_run *run, const struct past *past,
                        const struct attn_part *part, uint32_t i, uint32_t head)
{
    const size_t chunk = ATTN_CHUNK_BLOCKS * KV_BLOCK;
    run->first = part->chunk * ATTN_CHUNK_BLOCKS;
    run->last = run->first + ATTN_CHUNK_BLOCKS;
    if (part->slots) {
        past_aim_at_slots(run, past);
        run->last = min_u32(run->last, past->list.n_block);
    } else {
        past_aim_at_space(run, past, head);
        see_space(run, past);
    }
    if (!some_counts(job, part))
        return;
    run->keep =
        job->p->parts_kept + ((size_t)head * plan_of(job)->n_state + i) * job->group * chunk;
    run->keep_stride = chunk;
    run->keep_first = part->chunk * ATTN_CHUNK_BLOCKS;
}

static void attend_part(struct attend_job *job, const struct attn_part *part, uint32_t head,
                        struct pass_thread *mine)
{
    const uint32_t *row = plan_of(job)->row + part->first;
    const struct past past = past_of(job->p, job->layer, row[0], head);
    struct attn_run run = past_run(job->p, &past, row, part->n, head, mine);
    aim_at_part(job, &run, &past, part, part->first, head);
    const struct past_block next = next_begins(job);
    run.k_next = next.k;
    run.v_next = next.v;
    job->p->kern->attn_partial(&run, state_at(job, head, part->first), mine->scratch);
}

/* Parts stand in the order of their chunks, so this is the order of the contract. d 0: m and l alone. */
static void merge_row(struct attend_job *job, uint32_t row, uint32_t head, struct attn_state total,
                      uint32_t d)
{
    const struct attn_plan *plan = plan_of(job);
    state_clear(total, job->group, d);
    for (uint32_t i = 0; i < plan->n_state; i++) {
        if (plan->row[i] == row)
            job->p->kern->attn_merge(total, state_at(job, head, i), job->group, d);
    }
}

/* Mass of the part's rows, each of which merges for itself what its parts say of its softmax: nobody waits for
 * others. */
static void count_part(struct attend_job *job, const struct attn_part *part, uint32_t head,
                       struct pass_thread *mine)
{
    for (uint32_t i = part->first; i < part->first + part->n; i++) {
        const uint32_t row = plan_of(job)->row[i];
        if (!counts(job, i))
            continue;
        const struct past past = past_of(job->p, job->layer, row, head);
        struct attn_run run = past_run(job->p, &past, &row, 1, head, mine);
        aim_at_part(job, &run, &past, part, i, head);
        taps_fetch_part(job->layer, head, &run, part->slots, seq_of(job, row));
        merge_row(job, row, head, mine->total, 0);
        taps_count_part(job->p, job->layer, head, &past, &run, part->slots, seq_of(job, row), mine);
    }
}

static bool is_merged(const struct attend_job *job, uint32_t row)
{
    return attend_by_plan(job->p, seq_of(job, row), row, job->windowed);
}

/* What is to be done when all parts are there: mass first, which takes longer. */
static void behind_parts(void *arg, uint32_t part, uint32_t n_part)
{
    struct attend_job *job = arg;
    struct pass_thread *mine = &job->p->thread[part];
    const uint32_t n_head = job->p->h->n_kv_head, n_count = job->n_count;
    (void)n_part;
    for (;;) {
        const uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        const uint32_t row = (i - n_count) / n_head, head = i % n_head;
        if (i >= n_count + job->p->n_row * n_head)
            return;
        if (i < n_count) {
            count_part(job, &plan_of(job)->part[i / n_head], head, mine);
        } else if (is_merged(job, row)) {
            merge_row(job, row, head, mine->total, job->p->h->d_head);
            finish_row(job, row, head, mine->total);
        }
    }
}

/* ---- all ---- */

static void attend_task(struct attend_job *job, uint32_t i, uint32_t worker)
{
    const uint32_t n_head = job->p->h->n_kv_head;
    struct pass_thread *mine = &job->p->thread[worker];
    if (i < job->n_tile) {
        const struct tile t = tile_at(job, i);
        attend_tile(job, &t, mine);
    } else if (i - job->n_tile < job->n_select) {
        attend_select(job, i - job->n_tile, worker);
    } else {
        i -= job->n_tile + job->n_select;
        attend_part(job, &plan_of(job)->part[i / n_head], i % n_head, mine);
    }
}

static void tasks_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct attend_job *job = arg;
    const uint32_t n_task = job->n_tile + job->n_select + job->n_part;
    (void)n_part;
    for (;;) {
        const uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= n_task)
            break;
        attend_task(job, i, part);
    }
    help_selects(job, part);
}

/* Few rows are merged by the caller alone, unless mass is counted: a hand-over costs more. */
static void finish_parts(struct attend_job *job)
{
    struct pass *p = job->p;
    atomic_store_explicit(&job->next, 0, memory_order_relaxed);
    if (p->n_row > MERGE_ALONE || job->n_count > 0) {
        profile_run(&p->profile, PROFILE_ATTENTION, p->workers, behind_parts, job);
        return;
    }
    const uint64_t began = profile_alone(&p->profile);
    behind_parts(job, 0, 1);
    profile_alone_end(&p->profile, PROFILE_ATTENTION, p->workers, began);
}

void pass_attend(struct pass *p, uint32_t layer)
{
    struct attend_job job = {
        .p = p,
        .layer = layer,
        .group = p->h->n_head / p->h->n_kv_head,
        .windowed = p->h->windowed[layer],
    };
    job.by_parts = plan_of(&job)->n_part > 0;
    job.n_part = plan_of(&job)->n_part * p->h->n_kv_head;
    if (p->taps.mass && p->parts_count && !job.windowed)
        job.n_count = plan_of(&job)->n_part * p->h->n_kv_head;
    job.n_tile = p->n_tile[job.windowed] * p->h->n_kv_head;
    for (uint32_t s = 0; s < p->batch->n_seq; s++)
        job.n_select += selects_of(&job, &p->batch->seq[s]);
    job.n_selecting = job.n_select;
    order_heads(&job);
    profile_run(&p->profile, PROFILE_ATTENTION, p->workers, tasks_part, &job);
    if (job.by_parts)
        finish_parts(&job);
}
