#include "bin/inspection.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bin/show.h"

enum { SHOWN_ELEMENTS = 6, SHOWN_BYTES = 60, JSON_ELEMENTS = 64 };

/* ---- values ---- */

static bool is_float(enum gguf_type t)
{
    return t == GGUF_F32 || t == GGUF_F64;
}

/* With as few digits as give the same number back: 1e-05, not 9.99999975e-06. */
static void add_float(struct buf *out, const struct gguf_value *v, uint64_t i)
{
    double x = gguf_value_float(v, i);
    bool narrow = v->type == GGUF_F32;
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (narrow ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x)
            break;
    }
    buf_add_text(out, text);
}

/* One number or bool; JSON has no infinities, so those are null there. */
static void add_number(struct buf *out, const struct gguf_value *v, uint64_t i)
{
    if (v->type == GGUF_BOOL)
        buf_add_text(out, gguf_value_int(v, i) ? "true" : "false");
    else if (v->type == GGUF_U64)
        buf_addf(out, "%" PRIu64, (uint64_t)gguf_value_int(v, i));
    else if (!is_float(v->type))
        buf_addf(out, "%" PRId64, gguf_value_int(v, i));
    else if (isfinite(gguf_value_float(v, i)))
        add_float(out, v, i);
    else
        buf_add_text(out, "null");
}

/* Up to n elements with commas between them, strings of at most `bytes_max` bytes. */
static void add_elements(struct buf *out, const struct gguf_value *v, uint64_t n, size_t bytes_max)
{
    const void *cursor = v->data;
    for (uint64_t i = 0; i < n && i < v->n; i++) {
        if (i)
            buf_add_text(out, ", ");
        if (v->type != GGUF_STRING) {
            add_number(out, v, i);
            continue;
        }
        struct gguf_text t = gguf_value_next_text(&cursor);
        buf_add_json_text(out, t.bytes, t.len < bytes_max ? t.len : bytes_max);
        if (t.len > bytes_max)
            buf_addf(out, "... (%zu bytes)", t.len);
    }
}

/* ---- text ---- */

static void add_name_text(struct buf *out, struct gguf_text t)
{
    buf_add(out, t.bytes, t.len);
    if (!out->failed)
        show_harmless(out->bytes + out->len - t.len, t.len);
}

static void add_metadata(struct buf *out, const struct gguf *g)
{
    buf_add_text(out, "\nmetadata\n");
    for (size_t i = 0; i < gguf_n_pair(g); i++) {
        const struct gguf_pair *p = gguf_pair_at(g, i);
        const struct gguf_value *v = &p->value;
        buf_add_text(out, "  ");
        add_name_text(out, p->key);
        buf_addf(out, " (%s", gguf_type_name(v->type));
        if (v->is_array)
            buf_addf(out, " x %" PRIu64, v->n);
        buf_add_text(out, ")  ");
        add_elements(out, v, SHOWN_ELEMENTS, SHOWN_BYTES);
        buf_add_text(out, v->n > SHOWN_ELEMENTS ? ", ...\n" : "\n");
    }
}

static void add_tensors(struct buf *out, const struct gguf *g)
{
    buf_add_text(out, "\ntensors\n");
    for (size_t i = 0; i < gguf_n_tensor(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        buf_addf(out, "  %-7s %10s  ", inspection_type_name(t->type), show_bytes(t->bytes).text);
        add_name_text(out, t->name);
        buf_add_text(out, " [");
        for (uint32_t d = t->n_dim; d-- > 0;)
            buf_addf(out, "%" PRIu64 "%s", t->dim[d], d ? ", " : "]\n");
    }
}

static void add_types(struct buf *out, const struct inspection *x)
{
    buf_add_text(out, "\ntype      tensors    elements       bytes\n");
    for (uint32_t type = 0; type < DT_LIMIT; type++) {
        const struct dtype_sum *s = &x->by_type[type];
        if (s->n_tensor)
            buf_addf(out, "%-8s %8" PRIu64 " %11s %11s\n", inspection_type_name(type), s->n_tensor,
                     show_count(s->n_element).text, show_bytes(s->bytes).text);
    }
    buf_addf(out, "%-8s %8" PRIu64 " %11s %11s\n", "all", x->total.n_tensor,
             show_count(x->total.n_element).text, show_bytes(x->total.bytes).text);
}

static uint32_t n_windowed(const struct hparams *h)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->n_layer; i++)
        n += h->window > 0 && h->windowed[i];
    return n;
}

static void add_shape(struct buf *out, const struct inspection *x)
{
    const struct hparams *h = &x->h;
    buf_addf(out, "architecture  %s\n", x->arch);
    buf_addf(out, "layers        %u: %u wide, %u heads, %u kv_head%s of %u, feed-forward %u\n",
             h->n_layer, h->n_embd, h->n_head, h->n_kv_head, h->n_kv_head == 1 ? "" : "s",
             h->d_head, h->n_ff);
    if (n_windowed(h))
        buf_addf(out, "windows       %u of %u layers see %u positions\n", n_windowed(h), h->n_layer,
                 h->window);
    buf_addf(out, "vocabulary    %u tokens\n", h->n_vocab);
    buf_addf(out, "context       %u tokens\n", h->n_ctx);
}

static void add_kv(struct buf *out, const struct inspection *x)
{
    size_t bytes = kv_bytes_per_position(&x->kv);
    buf_addf(out, "KV cache      %s: %s (%zu bytes) a token; %s for %u tokens\n",
             kv_type_name(x->kv.type), show_bytes(bytes).text, bytes, show_bytes(x->kv_bytes).text,
             x->n_ctx);
    if (x->kv_bytes < x->kv_bytes_max)
        buf_addf(out, "              (%s, were no layer windowed)\n",
                 show_bytes(x->kv_bytes_max).text);
}

static void add_name(struct buf *out, const struct gguf *g)
{
    struct gguf_text name;
    if (gguf_get_text(g, "general.name", &name, NULL) != OK)
        return;
    buf_add_text(out, "name          ");
    add_name_text(out, name);
    buf_add_byte(out, '\n');
}

void inspection_text(struct buf *out, const struct inspection *x, struct inspection_parts parts)
{
    const struct gguf *g = x->file;
    buf_addf(out, "file          %s: GGUF v%u, %s", x->path, gguf_version(g),
             show_bytes(gguf_file_bytes(g)).text);
    if (gguf_n_part(g) > 1)
        buf_addf(out, " in %u parts", gguf_n_part(g));
    buf_add_byte(out, '\n');
    add_name(out, g);
    buf_addf(out, "parameters    %s (%" PRIu64 "), %.2f bits each\n", show_count(x->n_param).text,
             x->n_param, x->n_param ? 8.0 * (double)x->total.bytes / (double)x->n_param : 0.0);
    if (x->runnable) {
        add_shape(out, x);
        add_kv(out, x);
    } else {
        buf_addf(out, "cannot be run by this program: %s\n", x->why_not.text);
    }
    add_types(out, x);
    if (parts.metadata)
        add_metadata(out, g);
    if (parts.tensors)
        add_tensors(out, g);
}

/* ---- JSON ---- */

static void json_name(struct buf *out, const char *name)
{
    char before = out->len ? out->bytes[out->len - 1] : 0;
    if (before && before != '{' && before != '[')
        buf_add_byte(out, ',');
    if (name)
        buf_addf(out, "\"%s\":", name);
}

static void json_u64(struct buf *out, const char *name, uint64_t x)
{
    json_name(out, name);
    buf_addf(out, "%" PRIu64, x);
}

static void json_text(struct buf *out, const char *name, const char *text, size_t len)
{
    json_name(out, name);
    buf_add_json_text(out, text, len);
}

static void json_types(struct buf *out, const struct inspection *x)
{
    json_name(out, "types");
    buf_add_byte(out, '{');
    for (uint32_t type = 0; type < DT_LIMIT; type++) {
        const struct dtype_sum *s = &x->by_type[type];
        if (!s->n_tensor)
            continue;
        json_name(out, inspection_type_name(type));
        buf_add_byte(out, '{');
        json_u64(out, "tensors", s->n_tensor);
        json_u64(out, "elements", s->n_element);
        json_u64(out, "bytes", s->bytes);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, '}');
}

static void json_model(struct buf *out, const struct inspection *x)
{
    const struct hparams *h = &x->h;
    json_text(out, "architecture", x->arch, strlen(x->arch));
    json_u64(out, "n_layer", h->n_layer);
    json_u64(out, "n_embd", h->n_embd);
    json_u64(out, "n_head", h->n_head);
    json_u64(out, "n_kv_head", h->n_kv_head);
    json_u64(out, "d_head", h->d_head);
    json_u64(out, "n_ff", h->n_ff);
    json_u64(out, "n_vocab", h->n_vocab);
    json_u64(out, "n_ctx_train", h->n_ctx);
    json_u64(out, "n_layer_windowed", n_windowed(h));
    json_u64(out, "window", n_windowed(h) ? h->window : 0);

    json_name(out, "kv");
    buf_add_byte(out, '{');
    json_text(out, "type", kv_type_name(x->kv.type), strlen(kv_type_name(x->kv.type)));
    json_u64(out, "bytes_per_token", kv_bytes_per_position(&x->kv));
    json_u64(out, "n_ctx", x->n_ctx);
    json_u64(out, "bytes", x->kv_bytes);
    json_u64(out, "bytes_without_windows", x->kv_bytes_max);
    buf_add_byte(out, '}');
}

/* {"key": value}; a long array is {"type": ..., "n": ...}: vocabularies are for `tokenize`. */
static void json_metadata(struct buf *out, const struct gguf *g)
{
    json_name(out, "metadata");
    buf_add_byte(out, '{');
    for (size_t i = 0; i < gguf_n_pair(g); i++) {
        const struct gguf_pair *p = gguf_pair_at(g, i);
        const struct gguf_value *v = &p->value;
        json_name(out, NULL);
        buf_add_json_text(out, p->key.bytes, p->key.len);
        buf_add_byte(out, ':');
        if (v->is_array && v->n > JSON_ELEMENTS) {
            buf_addf(out, "{\"type\":\"%s\",\"n\":%" PRIu64 "}", gguf_type_name(v->type), v->n);
            continue;
        }
        buf_add_text(out, v->is_array ? "[" : "");
        add_elements(out, v, v->n, SIZE_MAX);
        buf_add_text(out, v->is_array ? "]" : "");
    }
    buf_add_byte(out, '}');
}

static void json_tensors(struct buf *out, const struct gguf *g)
{
    json_name(out, "tensors");
    buf_add_byte(out, '[');
    for (size_t i = 0; i < gguf_n_tensor(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const char *type = inspection_type_name(t->type);
        json_name(out, NULL);
        buf_add_byte(out, '{');
        json_text(out, "name", t->name.bytes, t->name.len);
        json_text(out, "type", type, strlen(type));
        json_name(out, "dim");
        buf_add_byte(out, '[');
        for (uint32_t d = 0; d < t->n_dim; d++)
            json_u64(out, NULL, t->dim[d]);
        buf_add_byte(out, ']');
        json_u64(out, "bytes", t->bytes);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, ']');
}

void inspection_json(struct buf *out, const struct inspection *x, struct inspection_parts parts)
{
    struct gguf_text name;
    buf_add_byte(out, '{');
    json_text(out, "path", x->path, strlen(x->path));
    if (gguf_get_text(x->file, "general.name", &name, NULL) == OK)
        json_text(out, "name", name.bytes, name.len);
    json_u64(out, "version", gguf_version(x->file));
    json_u64(out, "file_bytes", gguf_file_bytes(x->file));
    json_u64(out, "n_part", gguf_n_part(x->file));
    json_u64(out, "n_tensor", x->total.n_tensor);
    json_u64(out, "n_param", x->n_param);
    json_u64(out, "tensor_bytes", x->total.bytes);
    json_types(out, x);
    if (x->runnable)
        json_model(out, x);
    else
        json_text(out, "cannot_run", x->why_not.text, strlen(x->why_not.text));
    if (parts.metadata)
        json_metadata(out, x->file);
    if (parts.tensors)
        json_tensors(out, x->file);
    buf_add_text(out, "}\n");
}
