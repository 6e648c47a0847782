#include "model/taps.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/num.h"
#include "model/past.h"

/* ---- who asks ---- */

/* Rows of the sequence below a position. */
static uint32_t rows_before(const struct batch_seq *seq, uint32_t position)
{
    return position > seq->position ? min_u32(position - seq->position, seq->n_row) : 0;
}

/* Rows that its moments leave out. */
static uint32_t rows_before_moments(const struct batch_seq *seq)
{
    return rows_before(seq, seq->taps->moments_from);
}

/* Of moments: whether this pass adds up the rows that waited and n more; else those wait, too. */
static bool adds_up(const struct batch_seq *seq, uint32_t n)
{
    const struct kv_taps *t = seq->taps;
    return t->n_late + n > t->n_late_max || seq->position + seq->n_row >= t->moments_due;
}

static void begin_moments(struct pass *p, uint32_t s)
{
    const struct batch_seq *seq = &p->batch->seq[s];
    struct kv_taps *t = seq->taps;
    const uint32_t n = seq->n_row - rows_before_moments(seq);
    const bool now = adds_up(seq, n);
    p->seq_late[s] = t->n_late;
    t->n_late = now ? 0 : t->n_late + n;
    t->n_moment += n;
    p->taps.moments = true;
    p->taps.adds_up |= now;
}

/* Whether a sequence before s counts into the same rows. */
static bool has_company(const struct batch *b, uint32_t s)
{
    const struct kv_taps *t = b->seq[s].taps;
    for (uint32_t i = 0; i < s && t->mass != KV_TAP_NO_MASS; i++) {
        const struct kv_taps *other = b->seq[i].taps;
        if (other && other->mass != KV_TAP_NO_MASS && other->into == t->into)
            return true;
    }
    return false;
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
        p->taps.shared |= has_company(p->batch, s);
        p->taps.hidden |= t->hidden_layer > 0;
        assert(t->mass == KV_TAP_NO_MASS || !seq->select);
        if (t->sum)
            begin_moments(p, s);
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

static void moments_of(struct pass *p, uint32_t s, uint32_t layer, uint32_t head)
{
    const struct hparams *h = p->h;
    const struct batch_seq *seq = &p->batch->seq[s];
    const struct kv_taps *t = seq->taps;
    const uint32_t skip = rows_before_moments(seq), n_late = p->seq_late[s];
    const size_t d = h->d_head, width = h->n_head * d, i = (size_t)layer * h->n_head + head;
    float *sum = t->sum + i * d, *outer = t->outer + i * d * d;
    if (n_late)
        p->kern->moments(sum, outer, t->late + (size_t)layer * t->n_late_max * width + head * d,
                         width, n_late, h->d_head);
    p->kern->moments(sum, outer, p->q + (seq->first_row + skip) * width + head * d, width,
                     seq->n_row - skip, h->d_head);
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
        const struct kv_taps *t = b->seq[i / n_head].taps;
        if (t && t->sum && t->n_late == 0)
            moments_of(job->p, i / n_head, job->layer, i % n_head);
    }
}

void taps_moments(struct pass *p, uint32_t layer)
{
    struct moments_job job = { .p = p, .layer = layer };
    profile_run(&p->profile, PROFILE_ROWS, p->workers, moments_part, &job);
}

void taps_late(struct pass *p, uint32_t layer, uint32_t row)
{
    const uint32_t s = p->row_seq[row];
    const struct batch_seq *seq = &p->batch->seq[s];
    const struct kv_taps *t = seq->taps;
    const size_t width = (size_t)p->h->n_head * p->h->d_head;
    if (!t || t->n_late == 0)
        return;
    const uint32_t skip = rows_before_moments(seq), i = row - seq->first_row;
    if (i < skip)
        return;
    const size_t at = (size_t)layer * t->n_late_max + p->seq_late[s] + i - skip;
    memcpy(t->late + at * width, p->q + row * width, width * sizeof *t->late);
}

/* ---- hidden rows: a chain a sequence. An addition for each element is nothing beside a layer: the caller adds ---- */

void taps_hidden(struct pass *p, uint32_t n_layer)
{
    const size_t n_embd = p->h->n_embd;
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        const struct batch_seq *seq = &p->batch->seq[s];
        struct kv_taps *t = seq->taps;
        if (!t || t->hidden_layer != n_layer)
            continue;
        for (uint32_t i = rows_before(seq, t->hidden_from); i < seq->n_row; i++, t->n_hidden++)
            p->kern->add(t->hidden, p->x + (seq->first_row + i) * n_embd, p->h->n_embd);
    }
}

/* ---- mass: scores of a tile, or of a part, once more ---- */

struct walk {
    struct pass *p;
    const struct batch_seq *seq;
    const struct past *past;
    struct attn_run *run;
    struct attn_state total; // its finished softmax
    struct pass_thread *mine;
    uint32_t kv_head;
    struct kv_list into;
    bool shared; // other tiles or parts may count into the same rows
};

bool taps_counts(const struct pass *p, const struct batch_seq *seq, uint32_t layer)
{
    return p->taps.mass && seq->taps && seq->taps->mass != KV_TAP_NO_MASS && !p->h->windowed[layer];
}

void taps_keep(struct attn_run *run, const struct pass_thread *mine, uint32_t n_block)
{
    const size_t stride = (size_t)n_block * KV_BLOCK;
    if (run->n_query * stride > PASS_KEPT)
        return;
    run->keep = mine->kept;
    run->keep_stride = stride;
}

/* Scores of the run's queries over one block, and from one query's to the next one's. */
static float *scores_of(const struct walk *w, uint32_t block, size_t *stride)
{
    const struct attn_run *run = w->run;
    if (run->keep) {
        *stride = run->keep_stride;
        return run->keep + (size_t)(block - run->keep_first) * KV_BLOCK;
    }
    *stride = KV_BLOCK;
    w->p->kern->attn_scores(run, block, w->mine->scores, w->mine->scratch);
    return w->mine->scores;
}

enum { MASS_AHEAD = 4 };

static uint64_t *mass_at(const struct walk *w, bool slots, uint32_t block)
{
    const size_t at = (size_t)block * KV_BLOCK;
    return slots ? w->into.mass + at : w->into.tail_mass + at % w->into.n_tail_mass;
}

/* A layer's mass was last touched a step ago: it is far away. */
static void fetch_mass(const struct walk *w, bool slots, uint32_t block)
{
    const uint64_t *mass = mass_at(w, slots, block);
    for (uint32_t i = 0; i < KV_BLOCK; i += 8)
        __builtin_prefetch(mass + i, 1);
}

static void fetch_first(const struct walk *w, bool slots, uint32_t from, uint32_t to)
{
    for (uint32_t b = from; b < to && b < from + MASS_AHEAD; b++)
        fetch_mass(w, slots, b);
}

/* Calls fn for each of the run's blocks [from, to) that has a row in sight. */
typedef void block_fn(struct walk *w, uint32_t block, uint64_t *mass);

static void walk_blocks(struct walk *w, bool slots, uint32_t from, uint32_t to, block_fn *fn)
{
    for (uint32_t b = from; b < to; b++) {
        if (b + MASS_AHEAD < to)
            fetch_mass(w, slots, b + MASS_AHEAD);
        if (!w->run->row_mask || w->run->row_mask[b])
            fn(w, b, mass_at(w, slots, b));
    }
}

/* For all of the past: blocks of slots, then those of the space. */
static void walk_past(struct walk *w, block_fn *fn)
{
    if (w->past->listed) {
        past_aim_at_slots(w->run, w->past);
        walk_blocks(w, true, 0, w->past->list.n_block, fn);
    }
    past_aim_at_space(w->run, w->past, w->kv_head);
    walk_blocks(w, false, past_first(w->past, w->run), past_end(w->run), fn);
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
    const struct kernels *kern = w->p->kern;
    const struct attn_state part = w->mine->part;
    size_t stride;
    float *scores = scores_of(w, block, &stride);
    (void)mass;
    for (uint32_t q = 0; q < w->run->n_query; q++) {
        const uint64_t seen = in_sight(w->run, q, block);
        float *s = scores + q * stride;
        part.m[q] = -INFINITY;
        part.l[q] = 0;
        if (!seen)
            continue;
        for (uint64_t hidden = ~seen; hidden; hidden &= hidden - 1)
            s[__builtin_ctzll(hidden)] = -INFINITY;
        kern->softmax_stats(s, KV_BLOCK, &part.m[q], &part.l[q]);
    }
    kern->attn_merge(w->mine->total, part, w->run->n_query, 0);
}

/* The queries see rows below n_counted alone, and each gets its softmax over those. */
static void count_some(struct walk *w)
{
    for (uint32_t q = 0; q < w->run->n_query; q++) {
        w->mine->hi[q] = min_u32(w->mine->hi[q], w->seq->taps->n_counted);
        w->mine->total.m[q] = -INFINITY;
        w->mine->total.l[q] = 0;
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
    const struct kernels *kern = w->p->kern;
    const bool peak = w->seq->taps->mass == KV_TAP_MASS_PEAK;
    size_t stride;
    const float *s = scores_of(w, block, &stride);
    if (!w->shared) {
        kern->attn_mass(w->run, block, s, stride, w->total, peak, mass);
        return;
    }
    uint64_t mine[KV_BLOCK] = { 0 };
    kern->attn_mass(w->run, block, s, stride, w->total, peak, mine);
    for (uint32_t i = 0; i < KV_BLOCK; i++)
        (peak ? raise_shared : add_shared)(&mass[i], mine[i]);
}

static struct walk walk_of(struct pass *p, uint32_t layer, uint32_t kv_head,
                           const struct past *past, struct attn_run *run,
                           const struct batch_seq *seq, struct attn_state total,
                           struct pass_thread *mine)
{
    return (struct walk){
        .p = p,
        .seq = seq,
        .past = past,
        .run = run,
        .total = total,
        .mine = mine,
        .kv_head = kv_head,
        .into = kv_excerpt_list(seq->taps->into, layer, kv_head),
    };
}

void taps_count(struct pass *p, uint32_t layer, uint32_t kv_head, const struct past *past,
                struct attn_run *run, const struct batch_seq *seq, struct pass_thread *mine)
{
    struct walk w = walk_of(p, layer, kv_head, past, run, seq, mine->total, mine);
    w.shared = seq->n_row > p->tile_rows || p->taps.shared;
    assert(w.into.tail_mass);
    if (seq->taps->n_counted != UINT32_MAX)
        count_some(&w);
    assert(past_end(run) <= w.into.tail_first + w.into.n_tail_mass / KV_BLOCK);
    walk_past(&w, add_mass);
    if (seq->taps->looks && !w.shared)
        seq->taps->least[layer * p->h->n_kv_head + kv_head] =
            kv_least_received(p->kern, &w.into, seq->taps->open);
}

void taps_count_part(struct pass *p, uint32_t layer, uint32_t kv_head, const struct past *past,
                     struct attn_run *run, bool slots, const struct batch_seq *seq,
                     struct attn_state total, struct pass_thread *mine)
{
    struct walk w = walk_of(p, layer, kv_head, past, run, seq, total, mine);
    w.shared = seq->n_row > 1 || p->taps.shared;
    assert(w.into.tail_mass && seq->taps->n_counted == UINT32_MAX);
    assert(past_end(run) <= w.into.tail_first + w.into.n_tail_mass / KV_BLOCK);
    fetch_first(&w, slots, run->first, run->last);
    walk_blocks(&w, slots, run->first, run->last, add_mass);
}
