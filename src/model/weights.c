#include "model/weights.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "os/pages.h"

/* A tensor that has a role: where it goes and what shape it must have. */
struct role {
    const struct gguf_tensor *tensor;
    uint32_t n_out, n_in;
    struct linear *linear; // a matrix
    const float **vector;  // or a vector of n_in floats
};

struct loader {
    const struct gguf *g;
    struct note *why;
    enum status st;
    bool any_quantised;
    uint32_t offsets;
    struct role *role;
    size_t n_role, n_role_max;
    size_t n_vector_float;
    uint64_t n_param;
};

static const struct gguf_tensor *find(struct loader *l, const char *name, bool required)
{
    if (l->st != OK)
        return NULL;
    const struct gguf_tensor *t = gguf_tensor_find(l->g, name);
    if (!t && required) {
        note_set(l->why, "the model file lacks the tensor '%s'", name);
        l->st = BAD_INPUT;
    }
    return t;
}

static struct role *role_add(struct loader *l, const struct gguf_tensor *t, const char *name,
                             uint32_t n_out, uint32_t n_in)
{
    uint64_t rows = t->n_dim > 1 ? t->dim[1] : 1;
    if (t->dim[0] != n_in || rows != n_out || t->n_dim > 2) {
        note_set(l->why, "tensor '%s' has shape [%llu, %llu]; this model needs [%u, %u]", name,
                 (unsigned long long)t->dim[0], (unsigned long long)rows, n_in, n_out);
        l->st = BAD_INPUT;
        return NULL;
    }
    struct role *r = &l->role[l->n_role++];
    *r = (struct role){ .tensor = t, .n_out = n_out, .n_in = n_in };
    l->n_param += (uint64_t)n_out * n_in;
    return r;
}

static void take_matrix(struct loader *l, const char *name, uint32_t n_out, uint32_t n_in,
                        struct linear *out)
{
    const struct gguf_tensor *t = find(l, name, true);
    struct role *r = t ? role_add(l, t, name, n_out, n_in) : NULL;
    if (!r)
        return;
    r->linear = out;
    if (dtype_info(t->type)->block_elems > 1)
        l->any_quantised = true;
    l->offsets |= acts_offsets_of(t->type);
    if (!packed_shape(&out->w, t->type, n_out, n_in)) {
        note_set(l->why, "tensor '%s' has rows of %u elements, which type %s cannot hold in blocks",
                 name, n_in, dtype_info(t->type)->name);
        l->st = BAD_INPUT;
    }
}

static void take_vector(struct loader *l, const char *name, uint32_t n, bool required,
                        const float **out)
{
    const struct gguf_tensor *t = find(l, name, required);
    struct role *r = t ? role_add(l, t, name, 1, n) : NULL;
    if (!r)
        return;
    r->vector = out;
    l->n_vector_float += (n + 15) / 16 * 16;
}

static void take_layer(struct loader *l, const struct hparams *h, unsigned parts, uint32_t i,
                       struct layer_weights *w)
{
    char name[64];
    uint32_t n_q = h->n_head * h->d_head, n_kv = h->n_kv_head * h->d_head;
#define NAMED(suffix) (snprintf(name, sizeof name, "blk.%u." suffix, i), name)
    take_vector(l, NAMED("attn_norm.weight"), h->n_embd, true, &w->attn_norm);
    take_matrix(l, NAMED("attn_q.weight"), n_q, h->n_embd, &w->q);
    take_matrix(l, NAMED("attn_k.weight"), n_kv, h->n_embd, &w->k);
    take_matrix(l, NAMED("attn_v.weight"), n_kv, h->n_embd, &w->v);
    take_matrix(l, NAMED("attn_output.weight"), h->n_embd, n_q, &w->o);
    if (parts & PART_QKV_BIAS) {
        take_vector(l, NAMED("attn_q.bias"), n_q, false, &w->q.bias);
        take_vector(l, NAMED("attn_k.bias"), n_kv, false, &w->k.bias);
        take_vector(l, NAMED("attn_v.bias"), n_kv, false, &w->v.bias);
    }
    if (parts & PART_OTHER_BIAS) {
        take_vector(l, NAMED("attn_output.bias"), h->n_embd, false, &w->o.bias);
        take_vector(l, NAMED("ffn_gate.bias"), h->n_ff, false, &w->gate.bias);
        take_vector(l, NAMED("ffn_up.bias"), h->n_ff, false, &w->up.bias);
        take_vector(l, NAMED("ffn_down.bias"), h->n_embd, false, &w->down.bias);
    }
    if (parts & PART_QK_NORM) {
        take_vector(l, NAMED("attn_q_norm.weight"), h->d_head, true, &w->q_norm);
        take_vector(l, NAMED("attn_k_norm.weight"), h->d_head, true, &w->k_norm);
    }
    if (parts & PART_POST_NORM) {
        take_vector(l, NAMED("post_attention_norm.weight"), h->n_embd, true, &w->attn_post_norm);
        take_vector(l, NAMED("post_ffw_norm.weight"), h->n_embd, true, &w->ffn_post_norm);
    }
    take_vector(l, NAMED("ffn_norm.weight"), h->n_embd, true, &w->ffn_norm);
    take_matrix(l, NAMED("ffn_gate.weight"), h->n_ff, h->n_embd, &w->gate);
    take_matrix(l, NAMED("ffn_up.weight"), h->n_ff, h->n_embd, &w->up);
    take_matrix(l, NAMED("ffn_down.weight"), h->n_embd, h->n_ff, &w->down);
#undef NAMED
}

static void take_embedding(struct loader *l, struct weights *w, struct hparams const *h)
{
    w->embd = find(l, "token_embd.weight", true);
    if (!w->embd)
        return;
    if (w->embd->dim[0] != h->n_embd || w->embd->n_dim != 2 || w->embd->dim[1] != h->n_vocab) {
        note_set(l->why,
                 "tensor 'token_embd.weight' has rows of %llu elements, %llu of them; this model "
                 "needs %u, %u",
                 (unsigned long long)w->embd->dim[0], (unsigned long long)w->embd->dim[1],
                 h->n_embd, h->n_vocab);
        l->st = BAD_INPUT;
        return;
    }
    bool tied = !gguf_tensor_find(l->g, "output.weight");
    take_matrix(l, tied ? "token_embd.weight" : "output.weight", h->n_vocab, h->n_embd, &w->output);
    if (!tied)
        l->n_param += (uint64_t)h->n_vocab * h->n_embd;
}

/* W1's second half: what nobody took. */
static void refuse_strangers(struct loader *l, const struct weights *w)
{
    for (size_t i = 0; l->st == OK && i < gguf_n_tensor(l->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(l->g, i);
        bool known = t == w->embd;
        for (size_t r = 0; r < l->n_role && !known; r++)
            known = l->role[r].tensor == t;
        if (!known) {
            note_set(l->why,
                     "the model file has a tensor '%.*s' that this architecture does not use",
                     (int)(t->name.len < 80 ? t->name.len : 80), t->name.bytes);
            l->st = BAD_INPUT;
        }
    }
}

/* Some panels of one matrix being packed by all threads, a few at a time. */
struct packing {
    const struct role *role;
    uint8_t *dst; // of the matrix
    uint32_t end;
    _Atomic uint32_t next;
};

enum { PANELS_AT_ONCE = 4, SLICE_BYTES = 8 << 20 };

static void pack_some(void *arg, uint32_t part, uint32_t n_part)
{
    struct packing *p = arg;
    (void)part, (void)n_part;
    for (;;) {
        uint32_t first = atomic_fetch_add(&p->next, PANELS_AT_ONCE);
        if (first >= p->end)
            return;
        uint32_t last = first + PANELS_AT_ONCE < p->end ? first + PANELS_AT_ONCE : p->end;
        packed_fill(&p->role->linear->w, p->role->tensor->data, p->dst, first, last);
    }
}

/* Packs a matrix slice by slice, and lets the file's pages of each go: what is held twice at any time is a slice. */
static enum status pack_matrix(struct loader *l, const struct role *r, uint8_t *dst,
                               struct workers *workers)
{
    const struct packed *shape = &r->linear->w;
    const size_t source_bytes = r->tensor->bytes / shape->n_panel + 1; // of a panel, about
    const uint32_t n = (uint32_t)(SLICE_BYTES / source_bytes) + 1;
    for (uint32_t first = 0; first < shape->n_panel; first += n) {
        const uint32_t end = shape->n_panel - first < n ? shape->n_panel : first + n;
        const size_t from = (size_t)((double)r->tensor->bytes * first / shape->n_panel);
        const size_t to = (size_t)((double)r->tensor->bytes * end / shape->n_panel);
        struct packing p = { .role = r, .dst = dst, .end = end, .next = first };
        enum status st = gguf_fetch(l->g, r->tensor, from, to - from, l->why);
        if (st != OK)
            return st;
        workers_run(workers, pack_some, &p);
        pages_forget((const char *)r->tensor->data + from, to - from);
    }
    return OK;
}

static enum status fill_vector(struct loader *l, const struct role *r, float *vector)
{
    enum status st = gguf_fetch(l->g, r->tensor, 0, r->tensor->bytes, l->why);
    if (st == OK)
        dequant_row(r->tensor->type, r->tensor->data, r->n_in, vector);
    *r->vector = vector;
    return st;
}

static enum status fill_roles(struct loader *l, struct weights *w, struct workers *workers,
                              weights_progress *progress, void *arg)
{
    uint8_t *panels = w->region;
    float *vector = w->vectors;
    enum status st = OK;
    for (size_t i = 0; i < l->n_role && st == OK; i++) {
        const struct role *r = &l->role[i];
        if (r->vector) {
            st = fill_vector(l, r, vector);
            vector += (r->n_in + 15) / 16 * 16;
        } else {
            st = pack_matrix(l, r, panels, workers);
            r->linear->w.data = panels;
            panels += r->linear->w.n_panel * r->linear->w.panel_bytes;
        }
        if (progress)
            progress(arg, (double)(panels - (uint8_t *)w->region) / (double)w->region_bytes);
    }
    return st;
}

static enum status reserve(struct loader *l, struct weights *w)
{
    for (size_t i = 0; i < l->n_role; i++) {
        if (l->role[i].linear)
            w->region_bytes += l->role[i].linear->w.n_panel * l->role[i].linear->w.panel_bytes;
    }
    w->vectors = mem_new_aligned(l->n_vector_float, sizeof *w->vectors, 64);
    if (!w->vectors) {
        note_set(l->why, "no memory for %zu bytes of norms and biases",
                 l->n_vector_float * sizeof *w->vectors);
        return FULL;
    }
    w->bytes = w->region_bytes + l->n_vector_float * sizeof *w->vectors;
    return pages_new(&w->region, w->region_bytes, "weights", l->why);
}

enum status weights_load(struct weights *out, const struct gguf *g, const struct hparams *h,
                         unsigned parts, struct workers *workers, weights_progress *progress,
                         void *arg, struct note *why)
{
    struct weights w = { 0 };
    struct loader l = { .g = g, .why = why, .st = OK, .n_role_max = gguf_n_tensor(g) + 1 };
    l.role = mem_new(l.n_role_max, sizeof *l.role);
    w.layer = mem_new(h->n_layer, sizeof *w.layer);
    if (!l.role || !w.layer) {
        note_set(why, "no memory for the list of %zu tensors", l.n_role_max);
        l.st = FULL;
        goto done;
    }
    take_embedding(&l, &w, h);
    take_vector(&l, "output_norm.weight", h->n_embd, true, &w.output_norm);
    take_vector(&l, "rope_freqs.weight", h->n_rot / 2, false, &w.rope_factors);
    for (uint32_t i = 0; i < h->n_layer && l.st == OK; i++)
        take_layer(&l, h, parts, i, &w.layer[i]);
    refuse_strangers(&l, &w);
    if (l.st == OK)
        l.st = reserve(&l, &w);
    if (l.st != OK)
        goto done;
    l.st = fill_roles(&l, &w, workers, progress, arg);
    if (l.st != OK)
        goto done;
    w.n_param = l.n_param;
    w.any_quantised = l.any_quantised;
    w.offsets = l.offsets;
    *out = w;
    w = (struct weights){ 0 };
done:
    mem_free(l.role);
    weights_close(&w);
    return l.st;
}

void weights_close(struct weights *w)
{
    pages_free(w->region, w->region_bytes);
    mem_free(w->vectors);
    mem_free(w->layer);
    *w = (struct weights){ 0 };
}

void weights_embedding(const struct weights *w, uint32_t n_embd, int32_t id, float *out)
{
    size_t row_bytes = dtype_bytes(w->embd->type, n_embd);
    dequant_row(w->embd->type, (const char *)w->embd->data + (size_t)id * row_bytes, n_embd, out);
}

void weights_embedding_forget(const struct weights *w)
{
    pages_forget(w->embd->data, w->embd->bytes);
}
