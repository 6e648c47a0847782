#include "model/past.h"

#include <string.h>

bool pass_reads_lists(const struct batch_seq *seq)
{
    return seq->excerpt && !kv_excerpt_is_whole(seq->excerpt);
}

uint32_t past_n_dense(const struct batch_seq *seq, bool windowed)
{
    if (!seq->select || windowed)
        return seq->n_row;
    const uint32_t from = kv_select_from(seq->select);
    const uint32_t n = from > seq->position ? from - seq->position : 0;
    return n < seq->n_row ? n : seq->n_row;
}

struct past past_of(const struct pass *p, uint32_t layer, uint32_t row, uint32_t kv_head)
{
    const struct batch_seq *seq = &p->batch->seq[p->row_seq[row]];
    struct past past = { .view = kv_view_layer(seq->space, layer),
                         .listed = pass_reads_lists(seq) && !p->h->windowed[layer] };
    if (past.listed)
        past.list = kv_excerpt_list(seq->excerpt, layer, kv_head);
    return past;
}

static uint32_t first_visible(const struct kv_view *view, uint32_t position)
{
    return view->window && position + 1 > view->window ? position + 1 - view->window : 0;
}

struct attn_run past_run(const struct pass *p, const struct past *past, const uint32_t *row,
                         uint32_t n, uint32_t kv_head, struct pass_thread *mine)
{
    const struct hparams *h = p->h;
    const size_t d = h->d_head;
    const uint32_t group = h->n_head / h->n_kv_head;
    for (uint32_t r = 0; r < n; r++) {
        const float *q = p->q + ((size_t)row[r] * h->n_head + kv_head * group) * d;
        const uint32_t position = p->row_position[row[r]];
        memcpy(mine->q + r * group * d, q, group * d * sizeof *q);
        for (uint32_t g = 0; g < group; g++) {
            mine->lo[r * group + g] = first_visible(&past->view, position);
            mine->hi[r * group + g] = position + 1;
        }
    }
    return (struct attn_run){
        .type = past->view.type,
        .d_k = h->d_head,
        .d_v = h->d_head,
        .scale = h->attn_scale,
        .softcap = h->attn_softcap,
        .n_query = n * group,
        .q = mine->q,
        .q_stride = d,
        .lo = mine->lo,
        .hi = mine->hi,
    };
}

uint32_t past_first(const struct past *past, const struct attn_run *run)
{
    return past->listed ? past->list.tail_first : run->lo[0] / KV_BLOCK;
}

void past_aim_at_slots(struct attn_run *run, const struct past *past)
{
    run->keep_first = 0;
    run->table = past->list.block;
    run->k_offset = 0;
    run->v_offset = past->view.k_bytes;
    run->row_mask = past->list.live;
}

void past_aim_at_space(struct attn_run *run, const struct past *past, uint32_t kv_head)
{
    const struct kv_view *view = &past->view;
    const size_t k_offset = kv_head * view->k_bytes;
    const size_t v_offset = view->n_kv_head * view->k_bytes + kv_head * view->v_bytes;
    run->keep_first =
        past->listed ? past->list.tail_first - past->list.n_block : past_first(past, run);
    run->k = view->table ? NULL : view->base + k_offset;
    run->v = view->table ? NULL : view->base + v_offset;
    run->stride = view->stride;
    run->table = view->table;
    run->k_offset = view->layer_offset + k_offset;
    run->v_offset = view->layer_offset + v_offset;
    run->row_mask = past->listed ? past->list.tail_live : NULL;
}

struct past_block past_first_of(const struct attn_run *run, uint32_t from, uint32_t to)
{
    while (from < to && run->row_mask && !run->row_mask[from])
        from++;
    if (from >= to)
        return (struct past_block){ NULL, NULL };
    if (run->table)
        return (struct past_block){ run->table[from] + run->k_offset,
                                    run->table[from] + run->v_offset };
    return (struct past_block){ run->k + from * run->stride, run->v + from * run->stride };
}

struct past_block past_begins(const struct pass *p, uint32_t layer, uint32_t row, uint32_t kv_head,
                              bool slots, uint32_t from)
{
    const struct past past = past_of(p, layer, row, kv_head);
    if (slots && past.listed && from < past.list.n_block)
        return (struct past_block){ past.list.block[from],
                                    past.list.block[from] + past.view.k_bytes };
    uint32_t first = past.listed ? past.list.tail_first
                                 : first_visible(&past.view, p->row_position[row]) / KV_BLOCK;
    if (!slots && from > first)
        first = from;
    return (struct past_block){ kv_view_k(&past.view, first, kv_head),
                                kv_view_v(&past.view, first, kv_head) };
}

uint32_t past_end(const struct attn_run *run)
{
    return (run->hi[run->n_query - 1] + KV_BLOCK - 1) / KV_BLOCK;
}
