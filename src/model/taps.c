#include "model/taps.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "model/past.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- who asks ---- */

/* Rows of the sequence that its moments leave out. */
static uint32_t rows_before_moments(const struct batch_seq *seq)
{
    const uint32_t from = seq->taps->moments_from;
    return from > seq->position ? min_u32(from - seq->position, seq->n_row) : 0;
}

void taps_begin(struct pass *p)
{
    p->taps = (struct pass_taps){ 0 };
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        const struct batch_seq *seq = &p->batch->seq[s];
        struct kv_taps *t = seq->taps;
        if (!t)
            continue;
        p->taps.queries |= t->n_query > 0;
        p->taps.mass |= t->mass != KV_TAP_NO_MASS;
        if (!t->sum)
            continue;
        p->taps.moments = true;
        t->n_moment += seq->n_row - rows_before_moments(seq);
    }
}

/* ---- queries ---- */

/* Of the rows of one pass only the last n_query find room. */
void taps_queries(struct pass *p, uint32_t layer, uint32_t row)
{
    const struct batch_seq *seq = &p->batch->seq[p->row_seq[row]];
    const struct kv_taps *t = seq->taps;
    const size_t width = (size_t)p->h->n_head * p->h->d_head;
    if (!t || t->n_query == 0 || seq->first_row + seq->n_row - row > t->n_query)
        return;
    const size_t at = (size_t)layer * t->n_query + p->row_position[row] % t->n_query;
    memcpy(t->query + at * width, p->q + row * width, width * sizeof *t->query);
}

/* ---- moments: a task is a head of a sequence, so that a chain has one thread ---- */

struct moments_job {
    struct pass *p;
    uint32_t layer;
    _Atomic uint32_t next;
};

static void moments_of(struct pass *p, const struct batch_seq *seq, uint32_t layer, uint32_t head)
{
    const struct hparams *h = p->h;
    const uint32_t skip = rows_before_moments(seq);
    const size_t d = h->d_head, width = h->n_head * d, i = (size_t)layer * h->n_head + head;
    p->kern->moments(seq->taps->sum + i * d, seq->taps->outer + i * d * d,
                     p->q + (seq->first_row + skip) * width + head * d, width, seq->n_row - skip,
                     h->d_head);
}

static void moments_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct moments_job *job = arg;
    const struct batch *b = job->p->batch;
    const uint32_t n_head = job->p->h->n_head;
    (void)part, (void)n_part;
    for (;;) {
        const uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= b->n_seq * n_head)
            return;
        const struct batch_seq *seq = &b->seq[i / n_head];
        if (seq->taps && seq->taps->sum)
            moments_of(job->p, seq, job->layer, i % n_head);
    }
}

void taps_moments(struct pass *p, uint32_t layer)
{
    struct moments_job job = { .p = p, .layer = layer };
    profile_run(&p->profile, PROFILE_ROWS, p->workers, moments_part, &job);
}

/* ---- mass: a task is some rows of a sequence x one kv_head, or one chunk of it where rows are few ---- */

struct mass_job {
    struct pass *p;
    uint32_t layer, group;
    uint32_t n_task;
    _Atomic uint32_t next;
};

struct mass_task {
    const struct batch_seq *seq;
    uint32_t row, n, head;   // rows row .. row + n - 1
    uint32_t piece, n_piece; // the chunks it counts: every n_piece'th
    bool shared;             // other tasks may count into the same rows
};

/* One walk over a part of the past. */
struct walk {
    struct mass_job *job;
    const struct mass_task *task;
    struct pass_thread *mine;
    struct attn_run run;
    struct attn_state final; // of the run's queries
    struct past past;
    struct kv_list into;
};

static bool counts(const struct batch_seq *seq)
{
    return seq->taps && seq->taps->mass != KV_TAP_NO_MASS;
}

static bool counts_some(const struct batch_seq *seq)
{
    return seq->taps->n_counted != UINT32_MAX;
}

static bool has_company(const struct pass *p, const struct batch_seq *seq)
{
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        const struct batch_seq *other = &p->batch->seq[s];
        if (other != seq && counts(other) && other->taps->into == seq->taps->into)
            return true;
    }
    return false;
}

static uint32_t chunks_for(uint32_t n_block)
{
    return (n_block + ATTN_CHUNK_BLOCKS - 1) / ATTN_CHUNK_BLOCKS;
}

static uint32_t tiles_of(const struct pass *p, const struct batch_seq *seq)
{
    return (seq->n_row + p->tile_rows - 1) / p->tile_rows;
}

/* A lone tile is cut into its chunks. */
static uint32_t pieces_of(const struct pass *p, const struct batch_seq *seq)
{
    const uint32_t n_block = (seq->position + seq->n_row + KV_BLOCK - 1) / KV_BLOCK;
    return tiles_of(p, seq) > 1 || counts_some(seq) ? 1 : chunks_for(n_block);
}

static uint32_t tasks_of(const struct pass *p, const struct batch_seq *seq)
{
    return counts(seq) ? tiles_of(p, seq) * pieces_of(p, seq) * p->h->n_kv_head : 0;
}

static struct mass_task task_at(const struct pass *p, uint32_t i)
{
    const struct batch_seq *seq = p->batch->seq;
    for (; i >= tasks_of(p, seq); seq++)
        i -= tasks_of(p, seq);
    const uint32_t n_tile = tiles_of(p, seq), n_piece = pieces_of(p, seq);
    const uint32_t head = i % p->h->n_kv_head, tile = i / p->h->n_kv_head / n_piece;
    const uint32_t from = (n_tile - 1 - tile) * p->tile_rows; // the longest first
    return (struct mass_task){
        .seq = seq,
        .row = seq->first_row + from,
        .n = min_u32(p->tile_rows, seq->n_row - from),
        .head = head,
        .piece = i / p->h->n_kv_head % n_piece,
        .n_piece = n_piece,
        .shared = n_tile > 1 || has_company(p, seq),
    };
}

/* Calls fn for each block of the task's chunks that has a row in sight: those of slots, then those of the space. */
typedef void block_fn(struct walk *w, uint32_t block, uint64_t *mass);

static void walk_blocks(struct walk *w, uint32_t from, uint32_t to, uint64_t *mass, uint32_t n_mass,
                        block_fn *fn)
{
    for (uint32_t b = from; b < to; b++) {
        if (w->task->n_piece > 1 && b / ATTN_CHUNK_BLOCKS % w->task->n_piece != w->task->piece)
            continue;
        if (!w->run.row_mask || w->run.row_mask[b])
            fn(w, b, mass + (size_t)b * KV_BLOCK % n_mass);
    }
}

static void walk_past(struct walk *w, block_fn *fn)
{
    if (w->past.listed) {
        past_aim_at_slots(&w->run, &w->past);
        walk_blocks(w, 0, w->past.list.n_block, w->into.mass, UINT32_MAX, fn);
    }
    past_aim_at_space(&w->run, &w->past, w->task->head);
    walk_blocks(w, past_first(&w->past, &w->run), past_end(&w->run), w->into.tail_mass,
                w->into.n_tail_mass, fn);
}

static void scores_of(struct walk *w, uint32_t block)
{
    w->job->p->kern->attn_scores(&w->run, block, w->mine->scores, w->mine->scratch);
}

/* ---- the softmax over the rows that are counted, where these are not all ---- */

static uint64_t in_sight(const struct attn_run *run, uint32_t query, uint32_t block)
{
    const uint32_t first = block * KV_BLOCK, hi = run->hi[query];
    const uint64_t mask = run->row_mask ? run->row_mask[block] : UINT64_MAX;
    if (hi <= first)
        return 0;
    return hi >= first + KV_BLOCK ? mask : mask & ((UINT64_C(1) << (hi - first)) - 1);
}

static void add_stats(struct walk *w, uint32_t block, uint64_t *mass)
{
    const struct kernels *kern = w->job->p->kern;
    struct attn_state part = w->mine->part;
    (void)mass;
    scores_of(w, block);
    for (uint32_t q = 0; q < w->run.n_query; q++) {
        const uint64_t seen = in_sight(&w->run, q, block);
        float *s = w->mine->scores + (size_t)q * KV_BLOCK;
        for (uint64_t hidden = ~seen; hidden; hidden &= hidden - 1)
            s[__builtin_ctzll(hidden)] = -INFINITY;
        part.m[q] = -INFINITY;
        part.l[q] = 0;
        if (seen)
            kern->softmax_stats(s, KV_BLOCK, &part.m[q], &part.l[q]);
    }
    kern->attn_merge(w->final, part, w->run.n_query, 0);
}

/* The queries see rows below n_counted alone, and each gets its softmax over those. */
static void count_some(struct walk *w)
{
    const uint32_t n = w->task->seq->taps->n_counted;
    for (uint32_t q = 0; q < w->run.n_query; q++) {
        w->mine->hi[q] = min_u32(w->mine->hi[q], n);
        w->final.m[q] = -INFINITY;
        w->final.l[q] = 0;
    }
    walk_past(w, add_stats);
}

/* ---- counting ---- */

static void add_shared(uint64_t *to, uint64_t more)
{
    if (more)
        __atomic_fetch_add(to, more, __ATOMIC_RELAXED);
}

static void raise_shared(uint64_t *to, uint64_t more)
{
    uint64_t old = __atomic_load_n(to, __ATOMIC_RELAXED);
    while (old < more &&
           !__atomic_compare_exchange_n(to, &old, more, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static void add_mass(struct walk *w, uint32_t block, uint64_t *mass)
{
    const struct kernels *kern = w->job->p->kern;
    const bool peak = w->task->seq->taps->mass == KV_TAP_MASS_PEAK;
    uint64_t mine[KV_BLOCK] = { 0 };
    scores_of(w, block);
    if (!w->task->shared) {
        kern->attn_mass(&w->run, block, w->mine->scores, w->final, peak, mass);
        return;
    }
    kern->attn_mass(&w->run, block, w->mine->scores, w->final, peak, mine);
    for (uint32_t i = 0; i < KV_BLOCK; i++)
        (peak ? raise_shared : add_shared)(&mass[i], mine[i]);
}

/* What attention left of the queries' softmax. */
static void take_totals(struct walk *w)
{
    const struct pass *p = w->job->p;
    const uint32_t group = w->job->group;
    for (uint32_t r = 0; r < w->task->n; r++) {
        const size_t from = (size_t)(w->task->row + r) * p->h->n_head + w->task->head * group;
        memcpy(w->final.m + r * group, p->totals.m + from, group * sizeof(float));
        memcpy(w->final.l + r * group, p->totals.l + from, group * sizeof(float));
    }
}

static void count_task(struct mass_job *job, const struct mass_task *t, struct pass_thread *mine)
{
    struct pass *p = job->p;
    struct walk w = {
        .job = job,
        .task = t,
        .mine = mine,
        .final = mine->total,
        .past = past_of(p, job->layer, t->row, t->head),
        .into = kv_excerpt_list(t->seq->taps->into, job->layer, t->head),
    };
    uint32_t row[TILE_ROWS_MAX];
    for (uint32_t r = 0; r < t->n; r++)
        row[r] = t->row + r;
    w.run = past_run(p, &w.past, row, t->n, t->head, mine);
    assert(w.into.tail_mass);
    if (counts_some(t->seq))
        count_some(&w);
    else
        take_totals(&w);
    assert(past_end(&w.run) <= w.into.tail_first + w.into.n_tail_mass / KV_BLOCK);
    walk_past(&w, add_mass);
}

static void mass_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct mass_job *job = arg;
    (void)n_part;
    for (;;) {
        const uint32_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= job->n_task)
            return;
        const struct mass_task t = task_at(job->p, i);
        count_task(job, &t, &job->p->thread[part]);
    }
}

void taps_mass(struct pass *p, uint32_t layer)
{
    struct mass_job job = { .p = p, .layer = layer, .group = p->h->n_head / p->h->n_kv_head };
    if (p->h->windowed[layer])
        return;
    for (uint32_t s = 0; s < p->batch->n_seq; s++)
        job.n_task += tasks_of(p, &p->batch->seq[s]);
    profile_run(&p->profile, PROFILE_ATTENTION, p->workers, mass_part, &job);
}
