/* model/pass_memory.c - where all that a pass writes lies: one piece, laid out once. */
#include "base/num.h"
#include "model/pass.h"
#include "os/pages.h"

/* Codes of the widest input; those of what many rows gate lie elsewhere (model/gated.c). */
static size_t codes_bytes(const struct hparams *h, const struct pass_gated *gated, uint32_t n_row)
{
    return max_size(
        acts_bytes(max_u32(n_row, LOGIT_ROWS), max_u32(h->n_embd, h->n_head * h->d_head)),
        acts_bytes(min_u32(n_row, gated->from - 1), h->n_ff));
}

static size_t widest_scratch(const struct weights *w, const struct hparams *h, uint32_t queries)
{
    size_t most = attn_scratch_bytes(queries, h->d_head, h->d_head);
    most = max_size(most, matmul_scratch_bytes(&w->output.w));
    for (uint32_t i = 0; i < h->n_layer; i++) {
        const struct layer_weights *l = &w->layer[i];
        const struct linear *all[] = { &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down };
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            most = max_size(most, matmul_scratch_bytes(&all[j]->w));
    }
    return most;
}

/* Gives out 64-byte aligned pieces of `base`; with base NULL it only counts. */
struct layout {
    char *base;
    size_t used;
};

static void *piece(struct layout *l, size_t n, size_t size)
{
    void *p = l->base ? l->base + l->used : NULL;
    l->used += (n * size + 63) / 64 * 64;
    return p;
}

static struct attn_state state_piece(struct layout *l, size_t n, uint32_t d)
{
    return (struct attn_state){
        .m = piece(l, n, sizeof(float)),
        .l = piece(l, n, sizeof(float)),
        .o = piece(l, n * d, sizeof(float)),
    };
}

static void place(struct pass *p, const struct hparams *h, const struct weights *w,
                  uint32_t n_thread, uint32_t n_row, struct layout *l)
{
    const size_t rows = n_row;
    const uint32_t group = h->n_head / h->n_kv_head;
    p->queries_max = max_u32(max_u32(ATTN_QUERIES, ATTN_OUTPUTS / h->d_head), group);
    p->tile_rows_max = min_u32(p->queries_max / group, TILE_ROWS_MAX);
    p->row_position = piece(l, rows, sizeof(uint32_t));
    p->row_seq = piece(l, rows, sizeof(uint32_t));
    p->left_seq = piece(l, rows, sizeof *p->left_seq);
    p->seq_leader = piece(l, rows, sizeof(uint32_t));
    p->seq_shared = piece(l, rows, sizeof(uint32_t));
    p->seq_next = piece(l, rows, sizeof(uint32_t));
    p->seq_last = piece(l, rows, sizeof(uint32_t));
    p->seq_slots = piece(l, rows, sizeof(uint32_t));
    p->seq_tail = piece(l, rows, sizeof(uint32_t));
    p->seq_late = piece(l, rows, sizeof(uint32_t));
    p->head = piece(l, h->n_kv_head, sizeof *p->head);
    p->x = piece(l, rows * h->n_embd, sizeof(float));
    p->hidden = piece(l, (size_t)max_u32(n_row, LOGIT_ROWS) * h->n_embd, sizeof(float));
    p->q = piece(l, rows * h->n_head * h->d_head, sizeof(float));
    p->k = piece(l, rows * h->n_kv_head * h->d_head, sizeof(float));
    p->v = piece(l, rows * h->n_kv_head * h->d_head, sizeof(float));
    p->mix = piece(l, rows * h->n_head * h->d_head, sizeof(float));
    p->gated = pass_gated_of(h, w, n_thread, n_row);
    p->gate = piece(l, p->gated.gate_bytes, 1);
    p->up = piece(l, p->gated.up_bytes, 1);
    p->logits = piece(l, (size_t)LOGIT_ROWS * h->n_vocab, sizeof(float));
    p->acts_memory = piece(l, codes_bytes(h, &p->gated, n_row), 1);
    for (int i = 0; i < N_ROPE; i++) {
        p->angles[i] = piece(l, rows * h->n_rot, sizeof(float));
        p->tile[i] = piece(l, rows, sizeof *p->tile[i]);
    }
    p->split = state_piece(l, (size_t)SPLIT_STATES * group, h->d_head);
    p->row_left = piece(l, SPLIT_STATES, sizeof *p->row_left);
    p->thread = piece(l, n_thread, sizeof *p->thread);
    p->loops = (struct loops){ piece(l, n_thread, sizeof *p->loops.of), n_thread };
    p->portion = piece(l, n_thread, sizeof *p->portion);
    const size_t scratch = widest_scratch(w, h, p->queries_max);
    for (uint32_t i = 0; i < n_thread; i++) {
        struct pass_thread t = {
            .scratch = piece(l, scratch, 1),
            .q = piece(l, (size_t)p->queries_max * h->d_head, sizeof(float)),
            .lo = piece(l, p->queries_max, sizeof(uint32_t)),
            .hi = piece(l, p->queries_max, sizeof(uint32_t)),
            .total = state_piece(l, p->queries_max, h->d_head),
            .part = state_piece(l, p->queries_max, h->d_head),
            .scores = piece(l, (size_t)p->queries_max * KV_BLOCK, sizeof(float)),
            .kept = piece(l, PASS_KEPT, sizeof(float)),
        };
        if (!l->base)
            continue;
        p->thread[i] = t;
        p->loops.of[i].own = t.scratch;
    }
}

size_t pass_bytes(const struct hparams *h, const struct weights *w, uint32_t n_thread,
                  uint32_t n_row)
{
    struct pass p = { 0 };
    struct layout l = { 0 };
    place(&p, h, w, n_thread, n_row, &l);
    return l.used;
}

enum status pass_open(struct pass *p, const struct weights *w, uint32_t n_row, struct note *why)
{
    const uint32_t n_thread = workers_count(p->workers);
    struct layout l = { 0 };
    pass_close(p);
    p->bytes = pass_bytes(p->h, w, n_thread, n_row);
    if (pages_new(&p->memory, p->bytes, "the workspace", why) != OK) {
        note_set(why,
                 "no memory for the workspace of %u tokens a step (%zu bytes); try a smaller -ub",
                 n_row, p->bytes);
        return FULL;
    }
    l.base = p->memory;
    place(p, p->h, w, n_thread, n_row, &l);
    p->n_row_max = n_row;
    p->quantise = w->any_quantised;
    p->offsets = p->kern->reads_excess ? w->offsets : 0;
    return OK;
}

void pass_close(struct pass *p)
{
    pages_free(p->memory, p->bytes);
    p->memory = NULL;
    p->n_row_max = 0;
    p->bytes = 0;
}
