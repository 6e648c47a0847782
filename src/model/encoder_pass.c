/* One run through the layers, as BERT has them: each adds attention over all rows of the run, then a feed-forward of
 * two matrices, and norms what comes of either. The source paper's section 3; "post-norm". */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/encoder_in.h"

struct run {
    const struct encoder_net *net;
    const struct encoder_room *room;
    uint32_t n, d, d_head; // rows; elements of a row, and of a head
};

/* ---- rows ---- */

static void norm_row(float *x, const struct encoder_norm *w, uint32_t d, float eps)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < d; i++)
        sum += (double)x[i];
    const double mean = sum / d;
    for (uint32_t i = 0; i < d; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double s = 1 / sqrt(squares / d + (double)eps);
    for (uint32_t i = 0; i < d; i++)
        x[i] = (float)(((double)x[i] - mean) * s) * w->weight[i] + w->bias[i];
}

static void norm_rows(const struct run *r, const struct encoder_norm *w)
{
    for (uint32_t i = 0; i < r->n; i++)
        norm_row(r->room->x + (size_t)i * r->d, w, r->d, r->net->eps);
}

/* y [n][w->n] = x [n][w->k] through panels. */
static void multiply(const struct run *r, const struct packed *w, const float *x, float *y,
                     size_t y_stride)
{
    const struct acts a = { .n_row = r->n, .k = w->k, .f = x };
    r->net->kern->matmul(w, 0, w->n_panel, &a, y, y_stride, r->room->scratch);
}

static void linear(const struct run *r, const struct linear *w, const float *x, float *y)
{
    multiply(r, &w->w, x, y, w->w.n);
    for (uint32_t i = 0; i < r->n; i++)
        r->net->kern->add(y + (size_t)i * w->w.n, w->bias, w->w.n);
}

/* ---- attention ---- */

/* head [n][d_head] = a head's part of rows. */
static void gather(const struct run *r, const float *rows, uint32_t head)
{
    for (uint32_t i = 0; i < r->n; i++)
        memcpy(r->room->head + (size_t)i * r->d_head,
               rows + (size_t)i * r->d + (size_t)head * r->d_head, r->d_head * sizeof(float));
}

/* head [d_head][n] = the same, turned. */
static void gather_turned(const struct run *r, const float *rows, uint32_t head)
{
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t j = 0; j < r->d_head; j++)
            r->room->head[(size_t)j * r->n + i] =
                rows[(size_t)i * r->d + (size_t)head * r->d_head + j];
}

/* What was gathered, as n_out rows of k, becomes the weights of a product. */
static struct packed pack(const struct run *r, uint32_t n_out, uint32_t k)
{
    struct packed w = { 0 };
    const bool fits = packed_shape(&w, DT_F32, n_out, k);
    if (fits)
        packed_fill(&w, r->room->head, r->room->panels, 0, w.n_panel);
    w.data = r->room->panels;
    return w;
}

/* out [n][d], of which the head's elements are written. */
static void attend(const struct run *r, uint32_t head, float *out)
{
    const struct kernels *kern = r->net->kern;
    float *scores = r->room->scores;
    gather(r, r->room->k, head);
    const struct packed keys = pack(r, r->n, r->d_head);
    gather(r, r->room->q, head);
    multiply(r, &keys, r->room->head, scores, r->n);
    kern->scale(scores, 1 / sqrtf((float)r->d_head), r->n * r->n);
    for (uint32_t i = 0; i < r->n; i++)
        kern->softmax(scores + (size_t)i * r->n, r->n);
    gather_turned(r, r->room->v, head);
    const struct packed values = pack(r, r->d_head, r->n);
    multiply(r, &values, scores, out + (size_t)head * r->d_head, r->d);
}

static void attention(const struct run *r, const struct encoder_layer *w)
{
    const struct encoder_room *room = r->room;
    linear(r, &w->q, room->x, room->q);
    linear(r, &w->k, room->x, room->k);
    linear(r, &w->v, room->x, room->v);
    for (uint32_t h = 0; h < r->net->n_head; h++)
        attend(r, h, room->y);
    linear(r, &w->o, room->y, room->q);
    r->net->kern->add(room->x, room->q, r->n * r->d);
    norm_rows(r, &w->attn_norm);
}

/* ---- the rest ---- */

static void feed_forward(const struct run *r, const struct encoder_layer *w)
{
    const struct encoder_room *room = r->room;
    const uint32_t n_ff = r->net->n_ff;
    linear(r, &w->up, room->x, room->wide);
    for (uint32_t i = 0; i < r->n; i++) {
        float *row = room->wide + (size_t)i * n_ff;
        r->net->kern->gelu_gate(row, row, room->ones, n_ff);
    }
    linear(r, &w->down, room->wide, room->y);
    r->net->kern->add(room->x, room->y, r->n * r->d);
    norm_rows(r, &w->out_norm);
}

static void add_file_row(const struct run *r, const struct gguf_tensor *t, uint32_t row, float *x)
{
    float *part = r->room->y;
    dequant_row(t->type, (const char *)t->data + row * dtype_bytes(t->type, r->d), r->d, part);
    r->net->kern->add(x, part, r->d);
}

static void embed_ids(const struct run *r, const int32_t *ids)
{
    memset(r->room->x, 0, (size_t)r->n * r->d * sizeof(float));
    for (uint32_t i = 0; i < r->n; i++) {
        float *x = r->room->x + (size_t)i * r->d;
        add_file_row(r, r->net->word, (uint32_t)ids[i], x);
        add_file_row(r, r->net->place, i, x);
        add_file_row(r, r->net->kind, 0, x);
    }
    norm_rows(r, &r->net->norm);
}

void encoder_run(const struct encoder_net *net, const int32_t *ids, uint32_t n, float *sum)
{
    const struct run r = { net, &net->room, n, net->n_embd, net->n_embd / net->n_head };
    embed_ids(&r, ids);
    for (uint32_t i = 0; i < net->n_layer; i++) {
        attention(&r, &net->layer[i]);
        feed_forward(&r, &net->layer[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        net->kern->add(sum, r.room->x + (size_t)i * r.d, r.d);
}
