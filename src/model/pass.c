#include "model/pass.h"

#include "base/num.h"
#include "model/taps.h"

/* ---- rows: what each can do on its own ---- */

enum { ROWS_ALONE = 3, ROWS_AT_ONCE = 4 };

struct rows_job {
    struct pass *p;
    pass_rows_fn *fn;
    const void *arg;
    uint32_t at_once; // rows a task
};

/* Whole tiles are quantised faster, and four rows at once, but every thread wants some. */
static uint32_t rows_at_once(const struct pass *p)
{
    const uint32_t n_thread = workers_count(p->workers);
    const bool tiles = kernels_form(p->kern, p->n_row) != ACTS_BLOCKS;
    if (tiles && p->n_row >= ACTS_TILE * n_thread)
        return ACTS_TILE;
    return tiles || p->n_row >= ROWS_AT_ONCE * n_thread ? ROWS_AT_ONCE : ACTS_ROWS;
}

static void rows_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct rows_job *job = arg;
    const uint32_t n = job->p->n_row;
    uint32_t task;
    while (portions_take(job->p->portion, n_part, part, &task)) {
        const uint32_t first = task * job->at_once, last = first + job->at_once;
        job->fn(job->p, job->arg, first, last < n ? last : n);
    }
}

void pass_rows(struct pass *p, pass_rows_fn *fn, const void *arg)
{
    if (p->n_row <= ROWS_ALONE) {
        const uint64_t began = profile_alone(&p->profile);
        fn(p, arg, 0, p->n_row);
        profile_alone_end(&p->profile, PROFILE_ROWS, p->workers, began);
        return;
    }
    struct rows_job job = { p, fn, arg, rows_at_once(p) };
    portions_deal(p->portion, workers_count(p->workers),
                  (p->n_row + job.at_once - 1) / job.at_once);
    profile_run(&p->profile, PROFILE_ROWS, p->workers, rows_part, &job);
}

/* The input of the next linears is src [n_row][k]. */
static void aim_input(struct pass *p, const float *src, uint32_t n_row, uint32_t k)
{
    p->acts = (struct acts){ .n_row = n_row, .k = k, .f = src };
    p->codes = p->quantise && k % QBLOCK == 0; /* else only float weights can follow */
    if (!p->codes)
        return;
    acts_place(&p->acts, n_row, k, kernels_form(p->kern, n_row), p->acts_memory);
    acts_leave_out(&p->acts, p->offsets);
}

static void norm_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    const uint32_t n = p->h->n_embd;
    for (uint32_t r = first; r < last; r++)
        p->kern->rms_norm(p->hidden + (size_t)r * n, p->x + (size_t)r * n, arg, n, p->h->norm_eps);
    if (p->codes)
        p->kern->quantise(&p->acts, first, last);
}

void pass_norm_input(struct pass *p, const float *w)
{
    aim_input(p, p->hidden, p->n_row, p->h->n_embd);
    pass_rows(p, norm_rows, w);
}

static void quantise_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    (void)arg;
    p->kern->quantise(&p->acts, first, last);
}

void pass_input(struct pass *p, const float *src, uint32_t k)
{
    aim_input(p, src, p->n_row, k);
    if (p->codes)
        pass_rows(p, quantise_rows, NULL);
}

struct gate_args {
    kern_gate *gate;
};

static void gate_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    const struct gate_args *a = arg;
    const size_t n = p->h->n_ff;
    for (uint32_t r = first; r < last; r++)
        a->gate(p->gate + r * n, p->gate + r * n, p->up + r * n, p->h->n_ff);
    if (p->codes)
        p->kern->quantise(&p->acts, first, last);
}

void pass_gate_input(struct pass *p, enum pass_gate_kind kind)
{
    aim_input(p, p->gate, p->n_row, p->h->n_ff);
    pass_rows(p, gate_rows,
              &(struct gate_args){ kind == GATE_SILU ? p->kern->silu_gate : p->kern->gelu_gate });
}

static void residual_rows(struct pass *p, const void *w, uint32_t first, uint32_t last)
{
    const uint32_t n = p->h->n_embd;
    for (uint32_t r = first; r < last; r++) {
        float *hidden = p->hidden + (size_t)r * n;
        if (w)
            p->kern->rms_norm(hidden, hidden, w, n, p->h->norm_eps);
        p->kern->add(p->x + (size_t)r * n, hidden, n);
    }
}

void pass_residual(struct pass *p, const float *w)
{
    pass_rows(p, residual_rows, w);
}

struct residual_args {
    const float *post, *norm;
};

static void residual_norm_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    const struct residual_args *a = arg;
    residual_rows(p, a->post, first, last);
    norm_rows(p, a->norm, first, last);
}

void pass_residual_input(struct pass *p, const float *post, const float *norm)
{
    aim_input(p, p->hidden, p->n_row, p->h->n_embd);
    pass_rows(p, residual_norm_rows, &(struct residual_args){ post, norm });
}

static void rope_head(struct pass *p, float *head, const float *norm, const float *angles)
{
    if (norm)
        p->kern->rms_norm(head, head, norm, p->h->d_head, p->h->norm_eps);
    p->kern->rope(head, angles, p->h->n_rot, p->h->rope_halves);
}

struct rope_args {
    uint32_t layer;
    const float *q_norm, *k_norm;
};

static const float *angles_of(const struct pass *p, uint32_t layer, uint32_t row)
{
    return p->angles[p->h->windowed[layer]] + (size_t)row * p->h->n_rot;
}

static void rope_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    const struct rope_args *a = arg;
    const struct hparams *h = p->h;
    for (uint32_t r = first; r < last; r++) {
        if (p->taps.moments)
            taps_late(p, a->layer, r);
        for (uint32_t i = 0; i < h->n_head; i++)
            rope_head(p, p->q + ((size_t)r * h->n_head + i) * h->d_head, a->q_norm,
                      angles_of(p, a->layer, r));
        if (p->taps.queries)
            taps_queries(p, a->layer, r);
    }
}

static void store_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    const struct rope_args *a = arg;
    const struct hparams *h = p->h;
    const size_t d = h->d_head;
    for (uint32_t r = first; r < last; r++) {
        const struct kv_view view = kv_view_layer(p->batch->seq[p->row_seq[r]].space, a->layer);
        const uint32_t block = p->row_position[r] / KV_BLOCK, row = p->row_position[r] % KV_BLOCK;
        for (uint32_t i = 0; i < h->n_kv_head; i++) {
            float *k = p->k + ((size_t)r * h->n_kv_head + i) * d;
            const float *v = p->v + ((size_t)r * h->n_kv_head + i) * d;
            rope_head(p, k, a->k_norm, angles_of(p, a->layer, r));
            p->kern->store_k(view.type, kv_view_k(&view, block, i), row, k, h->d_head);
            p->kern->store_v(view.type, kv_view_v(&view, block, i), row, v, h->d_head);
        }
    }
}

static void rope_store_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    rope_rows(p, arg, first, last);
    store_rows(p, arg, first, last);
}

static void norm_queries(struct pass *p, const void *w, uint32_t first, uint32_t last)
{
    const uint32_t d = p->h->d_head;
    for (size_t i = (size_t)first * p->h->n_head; i < (size_t)last * p->h->n_head; i++)
        p->kern->rms_norm(p->q + i * d, p->q + i * d, w, d, p->h->norm_eps);
}

void pass_rope_store(struct pass *p, uint32_t layer, const float *q_norm, const float *k_norm)
{
    if (p->taps.moments) {
        if (q_norm)
            pass_rows(p, norm_queries, q_norm);
        if (p->taps.adds_up)
            taps_moments(p, layer);
        q_norm = NULL;
    }
    pass_rows(p, rope_store_rows, &(struct rope_args){ layer, q_norm, k_norm });
}

void pass_store(struct pass *p, uint32_t layer, const float *k_norm)
{
    pass_rows(p, store_rows, &(struct rope_args){ layer, NULL, k_norm });
}

void pass_rope(struct pass *p, uint32_t layer, const float *q_norm)
{
    pass_rows(p, rope_rows, &(struct rope_args){ layer, q_norm, NULL });
}

/* ---- the batch ---- */

static void embed_rows(struct pass *p, const void *arg, uint32_t first, uint32_t last)
{
    const struct weights *w = arg;
    const struct hparams *h = p->h;
    for (uint32_t r = first; r < last; r++) {
        float *x = p->x + (size_t)r * h->n_embd;
        weights_embedding(w, h->n_embd, p->batch->id[r], x);
        if (h->embd_scale != 1)
            p->kern->scale(x, h->embd_scale, h->n_embd);
        rope_angles(&p->rope[0], p->row_position[r], p->angles[0] + (size_t)r * h->n_rot);
        if (h->window)
            rope_angles(&p->rope[1], p->row_position[r], p->angles[1] + (size_t)r * h->n_rot);
    }
}

/* The more rows go over a block together, the rarer it is read and unpacked (32 rows of three heads for 16, 4,096
 * positions, Zen 3: 1.05 times the rate in f16, 1.07 in int8; 64 for 32, AVX2 of Granite Rapids: 1.12 and 1.04); but
 * each thread wants some tasks, and who counts mass keeps the scores of a tile, PASS_KEPT of them. */
static uint32_t tile_rows(const struct pass *p)
{
    enum { TASKS = 4 };
    const uint32_t n = p->n_row * p->h->n_kv_head / (TASKS * workers_count(p->workers));
    return min_u32(p->taps.mass ? TILE_ROWS_FEW : max_u32(n, TILE_ROWS_FEW), p->tile_rows_max);
}

void pass_aim(struct pass *p, const struct batch *batch)
{
    p->batch = batch;
    p->n_row = batch->n_row;
    for (uint32_t s = 0; s < batch->n_seq; s++) {
        const struct batch_seq *seq = &batch->seq[s];
        for (uint32_t i = 0; i < seq->n_row; i++) {
            p->row_seq[seq->first_row + i] = s;
            p->row_position[seq->first_row + i] = seq->position + i;
        }
    }
    taps_begin(p);
    p->tile_rows = tile_rows(p);
    attend_plan(p);
}

void pass_begin(struct pass *p, const struct batch *batch, const struct weights *w)
{
    p->whole = batch;
    pass_aim(p, batch);
    pass_rows(p, embed_rows, w);
    p->n_embedded += p->n_row;
}

enum { EMBEDDED_MAX = 128 };

/* Without this a long prompt holds as much of the file as its embedding has: 33 MiB after 2,000 tokens of gemma3. */
void pass_let_embedding_go(struct pass *p, const struct weights *w)
{
    if (p->n_embedded < EMBEDDED_MAX)
        return;
    weights_embedding_forget(w);
    p->n_embedded = 0;
}

const float *pass_logits(struct pass *p, const struct weights *w, const uint32_t *row, uint32_t n)
{
    const uint32_t n_vocab = p->h->n_vocab;
    const size_t n_embd = p->h->n_embd;
    uint64_t began = profile_alone(&p->profile);
    aim_input(p, p->hidden, n, p->h->n_embd);
    for (uint32_t i = 0; i < n; i++)
        p->kern->rms_norm(p->hidden + i * n_embd, p->x + pass_row_left(p, row[i]) * n_embd,
                          w->output_norm, p->h->n_embd, p->h->norm_eps);
    if (p->codes)
        p->kern->quantise(&p->acts, 0, n);
    profile_alone_end(&p->profile, PROFILE_ROWS, p->workers, began);
    pass_linears(p, PROFILE_OUTPUT, (struct pass_linear[]){ { &w->output, p->logits } }, 1);
    began = profile_alone(&p->profile);
    for (uint32_t i = 0; i < n && p->h->output_softcap != 0; i++)
        p->kern->softcap(p->logits + (size_t)i * n_vocab, p->h->output_softcap, n_vocab);
    profile_alone_end(&p->profile, PROFILE_ROWS, p->workers, began);
    return p->logits;
}
