#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/encoder_in.h"
#include "os/pages.h"

struct loader {
    struct encoder_net *net;
    struct note *why;
    enum status st;
    size_t n_taken; // tensors
};

static void *full(struct loader *l, size_t bytes)
{
    note_set(l->why, "no memory for %zu bytes of a sentence encoder", bytes);
    l->st = FULL;
    return NULL;
}

static void *room(struct loader *l, size_t n, size_t size)
{
    if (l->st != OK)
        return NULL;
    void *p = arena_new(&l->net->arena, n, size);
    return p ? p : full(l, n * size);
}

/* ---- numbers ---- */

static void get_count(struct loader *l, const char *key, uint32_t least, uint32_t most,
                      uint32_t *out)
{
    uint32_t value = 0;
    if (l->st != OK)
        return;
    const enum status st = gguf_get_u32(l->net->file, key, &value, l->why);
    if (st == OK && value >= least && value <= most) {
        *out = value;
        return;
    }
    if (st == NOT_FOUND)
        note_set(l->why, "the file lacks the key '%s'", key);
    else if (st == OK)
        note_set(l->why, "'%s' is %u; it must be between %u and %u", key, value, least, most);
    l->st = BAD_INPUT;
}

static void check_kind(struct loader *l)
{
    struct gguf_text arch = { "", 0 };
    uint32_t pooling = 1;
    enum status st = gguf_get_text(l->net->file, "general.architecture", &arch, l->why);
    if (st != OK || arch.len != 4 || memcmp(arch.bytes, "bert", 4) != 0) {
        note_set(l->why, "its architecture is '%.*s'; a sentence encoder's is bert",
                 (int)(arch.len < 60 ? arch.len : 60), arch.bytes);
        l->st = BAD_INPUT;
        return;
    }
    st = gguf_get_u32(l->net->file, "bert.pooling_type", &pooling, l->why);
    if (st == BAD_INPUT || pooling != 1) {
        note_set(l->why, "'bert.pooling_type' is %u; only 1, the mean of all rows, is supported",
                 pooling);
        l->st = BAD_INPUT;
    }
}

static void read_numbers(struct loader *l)
{
    struct encoder_net *net = l->net;
    uint32_t n_ctx = 0;
    check_kind(l);
    get_count(l, "bert.block_count", 1, 64, &net->n_layer);
    get_count(l, "bert.context_length", 8, 1 << 20, &n_ctx);
    get_count(l, "bert.embedding_length", 8, 1 << 14, &net->n_embd);
    get_count(l, "bert.feed_forward_length", 8, 1 << 16, &net->n_ff);
    get_count(l, "bert.attention.head_count", 1, 512, &net->n_head);
    net->n_run = n_ctx < ENCODER_RUN ? n_ctx : ENCODER_RUN;
    net->eps = 1e-12f;
    if (l->st == OK && gguf_get_f32(net->file, "bert.attention.layer_norm_epsilon", &net->eps,
                                    l->why) == BAD_INPUT)
        l->st = BAD_INPUT;
    if (l->st == OK && (net->n_embd % 8 || net->n_embd % net->n_head || !(net->eps >= 0))) {
        note_set(l->why,
                 "%u elements in %u heads, and a norm's %g: they must be divided by 8 and by "
                 "the heads, and it must not be negative",
                 net->n_embd, net->n_head, (double)net->eps);
        l->st = BAD_INPUT;
    }
}

/* ---- tensors ---- */

/* One of n_out rows of n_in floats; n_out 0: as many as there are. */
static const struct gguf_tensor *take(struct loader *l, const char *name, uint32_t n_out,
                                      uint32_t n_in)
{
    const struct gguf_tensor *t = l->st == OK ? gguf_tensor_find(l->net->file, name) : NULL;
    if (l->st != OK)
        return NULL;
    l->st = BAD_INPUT;
    if (!t)
        note_set(l->why, "the file lacks the tensor '%s'", name);
    else if (t->n_dim > 2 || t->dim[0] != n_in || (n_out && t->dim[1] != n_out) ||
             t->dim[1] > INT32_MAX)
        note_set(l->why, "tensor '%s' has shape [%llu, %llu]; this encoder needs [%u, %u]", name,
                 (unsigned long long)t->dim[0], (unsigned long long)t->dim[1], n_in, n_out);
    else if (dtype_info(t->type)->block_elems != 1)
        note_set(l->why, "tensor '%s' is of type %s; an encoder's must be F32, F16 or BF16", name,
                 dtype_info(t->type)->name);
    else
        l->st = OK;
    l->n_taken++;
    return l->st == OK ? t : NULL;
}

/* Its data, in memory now; NULL: it cannot be read. Once used it is to be forgotten: memory holds weights once. */
static const void *fetch(struct loader *l, const struct gguf_tensor *t)
{
    if (l->st == OK)
        l->st = gguf_fetch(l->net->file, t, 0, t->bytes, l->why);
    return l->st == OK ? t->data : NULL;
}

static const float *take_vector(struct loader *l, const char *name, uint32_t n)
{
    const struct gguf_tensor *t = take(l, name, 1, n);
    float *vector = t ? room(l, n, sizeof *vector) : NULL;
    if (vector && fetch(l, t))
        dequant_row(t->type, t->data, n, vector);
    return vector;
}

static const char *named(char text[64], const char *prefix, const char *suffix)
{
    snprintf(text, 64, "%s.%s", prefix, suffix);
    return text;
}

static void take_norm(struct loader *l, const char *prefix, struct encoder_norm *out)
{
    char name[64];
    out->weight = take_vector(l, named(name, prefix, "weight"), l->net->n_embd);
    out->bias = take_vector(l, named(name, prefix, "bias"), l->net->n_embd);
}

static void take_linear(struct loader *l, const char *prefix, uint32_t n_out, uint32_t n_in,
                        struct linear *out)
{
    char name[64];
    const struct gguf_tensor *t = take(l, named(name, prefix, "weight"), n_out, n_in);
    if (t && packed_shape(&out->w, t->type, n_out, n_in)) {
        uint8_t *panels = mem_new_aligned(out->w.n_panel, out->w.panel_bytes, 64);
        out->w.data = panels ? panels : full(l, out->w.n_panel * out->w.panel_bytes);
        if (panels && fetch(l, t)) {
            packed_fill(&out->w, t->data, panels, 0, out->w.n_panel);
            pages_forget(t->data, t->bytes);
        }
    }
    out->bias = take_vector(l, named(name, prefix, "bias"), n_out);
}

static void take_layer(struct loader *l, uint32_t i, struct encoder_layer *w)
{
    const uint32_t d = l->net->n_embd, n_ff = l->net->n_ff;
    char name[40];
#define NAMED(suffix) (snprintf(name, sizeof name, "blk.%u." suffix, i), name)
    take_linear(l, NAMED("attn_q"), d, d, &w->q);
    take_linear(l, NAMED("attn_k"), d, d, &w->k);
    take_linear(l, NAMED("attn_v"), d, d, &w->v);
    take_linear(l, NAMED("attn_output"), d, d, &w->o);
    take_norm(l, NAMED("attn_output_norm"), &w->attn_norm);
    take_linear(l, NAMED("ffn_up"), n_ff, d, &w->up);
    take_linear(l, NAMED("ffn_down"), d, n_ff, &w->down);
    take_norm(l, NAMED("layer_output_norm"), &w->out_norm);
#undef NAMED
}

static void read_tensors(struct loader *l)
{
    struct encoder_net *net = l->net;
    net->word = take(l, "token_embd.weight", 0, net->n_embd);
    net->place = take(l, "position_embd.weight", 0, net->n_embd);
    net->kind = take(l, "token_types.weight", 0, net->n_embd);
    if (l->st == OK && net->place->dim[1] < net->n_run) {
        note_set(l->why, "tensor 'position_embd.weight' has %llu rows; %u are needed",
                 (unsigned long long)net->place->dim[1], net->n_run);
        l->st = BAD_INPUT;
    }
    take_norm(l, "token_embd_norm", &net->norm);
    net->layer = room(l, net->n_layer, sizeof *net->layer);
    for (uint32_t i = 0; i < net->n_layer && l->st == OK; i++)
        take_layer(l, i, &net->layer[i]);
    if (l->st != OK || l->n_taken == gguf_n_tensor(net->file))
        return;
    note_set(l->why,
             "the file has %zu tensors; an encoder of %u layers has %zu: this is another model",
             gguf_n_tensor(net->file), net->n_layer, l->n_taken);
    l->st = BAD_INPUT;
}

/* ---- tokens ---- */

static int32_t find_control(struct loader *l, const char *spelling)
{
    const int32_t id = l->st == OK ? wordpiece_find(l->net->pieces, spelling) : 0;
    if (id < 0) {
        note_set(l->why, "the vocabulary lacks the token '%s'", spelling);
        l->st = BAD_INPUT;
    }
    return id;
}

static void read_tokens(struct loader *l)
{
    struct encoder_net *net = l->net;
    const struct gguf_value *v = gguf_find(net->file, "tokenizer.ggml.tokens");
    if (l->st != OK)
        return;
    if (!v || !v->is_array || v->type != GGUF_STRING || v->n != net->word->dim[1]) {
        note_set(l->why,
                 "'tokenizer.ggml.tokens' must be an array of %llu strings, one for each row "
                 "of 'token_embd.weight'",
                 (unsigned long long)net->word->dim[1]);
        l->st = BAD_INPUT;
        return;
    }
    struct text_span *span = room(l, v->n, sizeof *span);
    const void *cursor = v->data;
    for (uint64_t i = 0; span && i < v->n; i++) {
        const struct gguf_text t = gguf_value_next_text(&cursor);
        span[i] = (struct text_span){ t.bytes, t.len };
    }
    if (span)
        l->st = wordpiece_new(&net->pieces, span, (uint32_t)v->n, l->why);
    net->cls = find_control(l, "[CLS]");
    net->sep = find_control(l, "[SEP]");
}

/* ---- room for a run ---- */

static size_t panel_bytes(uint32_t n, uint32_t k)
{
    struct packed p = { 0 };
    return packed_shape(&p, DT_F32, n, k) ? p.n_panel * p.panel_bytes : 0;
}

static void open_room(struct loader *l)
{
    const struct encoder_net *net = l->net;
    const size_t n = net->n_run, d = net->n_embd, d_head = d / net->n_head;
    const size_t keys = panel_bytes((uint32_t)n, (uint32_t)d_head),
                 values = panel_bytes((uint32_t)d_head, (uint32_t)n);
    struct encoder_room *r = &l->net->room;
    float **const rows[] = { &r->x, &r->y, &r->q, &r->k, &r->v };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        *rows[i] = room(l, n * d, sizeof(float));
    r->wide = room(l, n * net->n_ff, sizeof(float));
    r->ones = room(l, net->n_ff, sizeof(float));
    r->scores = room(l, n * n, sizeof(float));
    r->head = room(l, n * d_head, sizeof(float));
    r->panels = room(l, keys > values ? keys : values, 1);
    for (uint32_t i = 0; r->ones && i < net->n_ff; i++)
        r->ones[i] = 1;
    size_t scratch = 64;
    for (uint32_t i = 0; l->st == OK && i < net->n_layer; i++) {
        const struct linear *all[] = { &net->layer[i].q, &net->layer[i].up, &net->layer[i].down };
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (matmul_scratch_bytes(&all[j]->w) > scratch)
                scratch = matmul_scratch_bytes(&all[j]->w);
    }
    r->scratch = room(l, scratch, 1);
}

enum status encoder_load(struct encoder_net *out, const struct gguf *file,
                         const struct kernels *kern, struct note *why)
{
    struct encoder_net net = { .kern = kern, .file = file };
    struct loader l = { .net = &net, .why = why };
    arena_open(&net.arena, 0);
    read_numbers(&l);
    if (l.st == OK)
        read_tensors(&l);
    if (l.st == OK)
        read_tokens(&l);
    if (l.st == OK)
        open_room(&l);
    if (l.st != OK) {
        encoder_unload(&net);
        return l.st;
    }
    *out = net;
    return OK;
}

void encoder_unload(struct encoder_net *net)
{
    for (uint32_t i = 0; net->layer && i < net->n_layer; i++) {
        const struct encoder_layer *w = &net->layer[i];
        const struct linear *all[] = { &w->q, &w->k, &w->v, &w->o, &w->up, &w->down };
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            mem_free((void *)all[j]->w.data);
    }
    wordpiece_free(net->pieces);
    arena_close(&net->arena);
    *net = (struct encoder_net){ 0 };
}
