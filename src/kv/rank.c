#include "kv/rank.h"

#include <string.h>

#include "base/mem.h"
#include "kv/rank_in.h"

enum status kv_rank_source_open(struct kv_rank_source *s, uint32_t d_k, uint32_t d_v)
{
    *s = (struct kv_rank_source){ 0 };
    s->scratch = mem_new_aligned(1, attn_scratch_bytes(KV_RANK_QUERIES, d_k, d_v), 64);
    return s->scratch ? OK : FULL;
}

void kv_rank_source_close(struct kv_rank_source *s)
{
    arena_close(&s->room);
    mem_free(s->scratch);
    *s = (struct kv_rank_source){ 0 };
}

void kv_rank_source_next(struct kv_rank_source *s, const struct kv_list *list,
                         const struct kv_view *view)
{
    arena_clear(&s->room);
    s->list = list;
    s->view = *view;
    s->type = view->type;
}

void *kv_rank_room(const struct kv_rank_in *in, size_t n, size_t size)
{
    void *p = arena_new(&in->source->room, n, size);
    in->source->failed |= !p;
    return p;
}

/* ---- where rows are ---- */

/* One block of a list: its parts, and the rows of it that are live. */
struct piece {
    char *k, *v;
    uint64_t live;
};

static struct piece slot_piece(const struct kv_rank_in *in, const struct kv_list *list, uint32_t b)
{
    char *k = list->block[b];
    return (struct piece){ k, k + kv_part_bytes(in->source->type, in->d), list->live[b] };
}

static struct piece tail_piece(const struct kv_rank_in *in, uint32_t h, uint32_t b)
{
    const struct kv_view *view = &in->source->view;
    const uint32_t left = in->n_position - b * KV_BLOCK;
    const uint64_t there = left < KV_BLOCK ? (UINT64_C(1) << left) - 1 : UINT64_MAX;
    return (struct piece){ kv_view_k(view, b, h), kv_view_v(view, b, h),
                           in->source->list[h].tail_live[b] & there };
}

static uint32_t tail_end(const struct kv_rank_in *in)
{
    return (in->n_position + KV_BLOCK - 1) / KV_BLOCK;
}

/* ---- scores ---- */

static void score_piece(const struct kv_rank_in *in, const struct piece *p, const float *q,
                        uint32_t n_query, float *block)
{
    char *const table[1] = { p->k };
    const struct attn_run run = {
        .type = in->source->type,
        .d_k = in->d,
        .d_v = in->d_v,
        .scale = in->scale,
        .softcap = in->softcap,
        .n_query = n_query,
        .q = q,
        .q_stride = in->d,
        .last = 1,
        .table = table,
        .v_offset = (size_t)(p->v - p->k),
    };
    in->kern->attn_scores(&run, 0, block, in->source->scratch);
}

/* The live rows' scores of each query, behind the `at` that are there. Answers how many live rows. */
static uint32_t spread(const struct piece *p, const float *block, uint32_t n_query, float *out,
                       size_t n_row, uint32_t at)
{
    if (p->live == UINT64_MAX) {
        for (uint32_t t = 0; t < n_query; t++)
            memcpy(out + t * n_row + at, block + (size_t)t * KV_BLOCK, KV_BLOCK * sizeof *out);
        return KV_BLOCK;
    }
    uint32_t n = 0;
    for (uint64_t left = p->live; left; left &= left - 1, n++) {
        const uint32_t i = (uint32_t)__builtin_ctzll(left);
        for (uint32_t t = 0; t < n_query; t++)
            out[t * n_row + at + n] = block[(size_t)t * KV_BLOCK + i];
    }
    return n;
}

static uint32_t score_rows(const struct kv_rank_in *in, const struct piece *p, const float *q,
                           uint32_t n_query, float *out, size_t n_row, uint32_t at)
{
    _Alignas(64) float block[KV_RANK_QUERIES * KV_BLOCK];
    if (!p->live)
        return 0;
    score_piece(in, p, q, n_query, block);
    return spread(p, block, n_query, out, n_row, at);
}

void kv_rank_scores(const struct kv_rank_in *in, uint32_t h, const float *q, uint32_t n_query,
                    float *out)
{
    const struct kv_list *list = &in->source->list[h];
    const size_t n_row = in->head[h].n;
    for (uint32_t t = 0; t < n_query; t += KV_RANK_QUERIES) {
        const uint32_t n = n_query - t < KV_RANK_QUERIES ? n_query - t : KV_RANK_QUERIES;
        uint32_t at = 0;
        for (uint32_t b = 0; b < list->n_block; b++) {
            const struct piece p = slot_piece(in, list, b);
            at += score_rows(in, &p, q + (size_t)t * in->d, n, out + t * n_row, n_row, at);
        }
        for (uint32_t b = list->tail_first; b < tail_end(in); b++) {
            const struct piece p = tail_piece(in, h, b);
            at += score_rows(in, &p, q + (size_t)t * in->d, n, out + t * n_row, n_row, at);
        }
    }
}

static uint32_t square_rows(const struct kv_rank_in *in, const struct piece *p, const float *q,
                            uint32_t n_query, float *out)
{
    _Alignas(64) float block[KV_RANK_QUERIES * KV_BLOCK], sum[KV_BLOCK] = { 0 };
    if (!p->live)
        return 0;
    for (uint32_t t = 0; t < n_query; t += KV_RANK_QUERIES) {
        const uint32_t n = n_query - t < KV_RANK_QUERIES ? n_query - t : KV_RANK_QUERIES;
        score_piece(in, p, q + (size_t)t * in->d, n, block);
        in->kern->squares(sum, block, n, KV_BLOCK);
    }
    return spread(p, sum, 1, out, 0, 0);
}

void kv_rank_squares(const struct kv_rank_in *in, uint32_t h, const float *q, uint32_t n_query,
                     float *out)
{
    const struct kv_list *list = &in->source->list[h];
    for (uint32_t b = 0; b < list->n_block; b++) {
        const struct piece p = slot_piece(in, list, b);
        out += square_rows(in, &p, q, n_query, out);
    }
    for (uint32_t b = list->tail_first; b < tail_end(in); b++) {
        const struct piece p = tail_piece(in, h, b);
        out += square_rows(in, &p, q, n_query, out);
    }
}

/* ---- rows ---- */

void kv_rank_read(const struct kv_rank_in *in, uint32_t h, uint32_t first, uint32_t n, float *k,
                  float *v)
{
    const struct kv_list *list = &in->source->list[h];
    for (uint32_t i = 0; i < n; i++) {
        const kv_row row = in->head[h].row[first + i];
        const uint32_t at = row & ~KV_IN_TAIL;
        const struct piece p = row & KV_IN_TAIL ? tail_piece(in, h, at / KV_BLOCK)
                                                : slot_piece(in, list, at / KV_BLOCK);
        if (k)
            in->kern->load_k(in->source->type, p.k, at % KV_BLOCK, k + (size_t)i * in->d, in->d);
        if (v)
            in->kern->load_v(in->source->type, p.v, at % KV_BLOCK, v + (size_t)i * in->d_v,
                             in->d_v);
    }
}
