#include "support/gguf_writer.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct writer_tensor {
    char *name;
    uint32_t dtype;
    uint32_t n_dim;
    uint64_t dim[4];
    struct buf data;
    bool offset_given;
    uint64_t offset;
};

void gguf_writer_open(struct gguf_writer *w, uint32_t version)
{
    *w = (struct gguf_writer){ .version = version, .alignment = 32 };
}

void gguf_writer_close(struct gguf_writer *w)
{
    for (uint64_t i = 0; i < w->n_tensor; i++) {
        mem_free(w->tensor[i].name);
        buf_close(&w->tensor[i].data);
    }
    mem_free(w->tensor);
    buf_close(&w->pairs);
    *w = (struct gguf_writer){ 0 };
}

static void put_u32(struct buf *b, uint32_t x)
{
    buf_add(b, &x, sizeof x);
}

static void put_u64(struct buf *b, uint64_t x)
{
    buf_add(b, &x, sizeof x);
}

static void put_text(struct buf *b, const char *text)
{
    put_u64(b, strlen(text));
    buf_add_text(b, text);
}

static void put_key(struct gguf_writer *w, const char *key, uint32_t type)
{
    put_text(&w->pairs, key);
    put_u32(&w->pairs, type);
    w->n_pair++;
}

static size_t int_bytes(enum gguf_type type)
{
    switch (type) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL:
        return 1;
    case GGUF_U16:
    case GGUF_I16:
        return 2;
    case GGUF_U32:
    case GGUF_I32:
        return 4;
    default:
        return 8;
    }
}

static void put_int(struct buf *b, enum gguf_type type, int64_t value)
{
    buf_add(b, &value, int_bytes(type)); // little-endian: the low bytes come first
}

static void put_float(struct buf *b, enum gguf_type type, double value)
{
    float narrow = (float)value;
    if (type == GGUF_F32)
        buf_add(b, &narrow, sizeof narrow);
    else
        buf_add(b, &value, sizeof value);
}

static void put_array(struct gguf_writer *w, const char *key, enum gguf_type type, uint64_t n)
{
    put_key(w, key, GGUF_ARRAY);
    put_u32(&w->pairs, type);
    put_u64(&w->pairs, n);
}

void gguf_write_int(struct gguf_writer *w, const char *key, enum gguf_type type, int64_t value)
{
    put_key(w, key, type);
    put_int(&w->pairs, type, value);
}

void gguf_write_float(struct gguf_writer *w, const char *key, enum gguf_type type, double value)
{
    put_key(w, key, type);
    put_float(&w->pairs, type, value);
}

void gguf_write_text(struct gguf_writer *w, const char *key, const char *text)
{
    put_key(w, key, GGUF_STRING);
    put_text(&w->pairs, text);
}

void gguf_write_ints(struct gguf_writer *w, const char *key, enum gguf_type type,
                     const int64_t *values, uint64_t n)
{
    put_array(w, key, type, n);
    for (uint64_t i = 0; i < n; i++)
        put_int(&w->pairs, type, values[i]);
}

void gguf_write_floats(struct gguf_writer *w, const char *key, enum gguf_type type,
                       const double *values, uint64_t n)
{
    put_array(w, key, type, n);
    for (uint64_t i = 0; i < n; i++)
        put_float(&w->pairs, type, values[i]);
}

void gguf_write_texts(struct gguf_writer *w, const char *key, const char *const *texts, uint64_t n)
{
    put_array(w, key, GGUF_STRING, n);
    for (uint64_t i = 0; i < n; i++)
        put_text(&w->pairs, texts[i]);
}

void gguf_write_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *bytes,
                    size_t len)
{
    put_key(w, key, type);
    buf_add(&w->pairs, bytes, len);
}

void gguf_write_tensor(struct gguf_writer *w, const char *name, uint32_t dtype, uint32_t n_dim,
                       const uint64_t *dim, const void *data, size_t bytes)
{
    struct writer_tensor *grown = mem_resize(w->tensor, w->n_tensor + 1, sizeof *grown);
    assert(grown);
    w->tensor = grown;
    struct writer_tensor *t = &w->tensor[w->n_tensor++];
    *t = (struct writer_tensor){ .name = mem_copy_text(name, strlen(name)),
                                 .dtype = dtype,
                                 .n_dim = n_dim };
    for (uint32_t i = 0; i < n_dim && i < 4; i++)
        t->dim[i] = dim[i];
    buf_add(&t->data, data, bytes);
    assert(t->name && !t->data.failed);
}

void gguf_write_offset(struct gguf_writer *w, uint64_t offset)
{
    struct writer_tensor *t = &w->tensor[w->n_tensor - 1];
    t->offset_given = true;
    t->offset = offset;
}

static void pad_from(struct buf *out, size_t start, uint32_t alignment)
{
    while ((out->len - start) % alignment)
        buf_add_byte(out, 0);
}

static void put_tensor_info(struct buf *out, const struct writer_tensor *t, uint64_t offset)
{
    put_text(out, t->name);
    put_u32(out, t->n_dim);
    for (uint32_t i = 0; i < t->n_dim && i < 4; i++)
        put_u64(out, t->dim[i]);
    put_u32(out, t->dtype);
    put_u64(out, t->offset_given ? t->offset : offset);
}

/* A file of these pairs and the n tensors from `first` on. */
static void put_file(const struct gguf_writer *w, const struct buf *pairs, uint64_t n_pair,
                     uint64_t first, uint64_t n, struct buf *out)
{
    struct buf data = { 0 };
    size_t start = out->len;
    buf_add_text(out, "GGUF");
    put_u32(out, w->version);
    put_u64(out, n);
    put_u64(out, n_pair);
    buf_add(out, pairs->bytes, pairs->len);
    for (uint64_t i = first; i < first + n; i++) {
        put_tensor_info(out, &w->tensor[i], data.len);
        buf_add(&data, w->tensor[i].data.bytes, w->tensor[i].data.len);
        pad_from(&data, 0, w->alignment);
    }
    if (n) {
        pad_from(out, start, w->alignment);
        buf_add(out, data.bytes, data.len);
    }
    assert(!out->failed && !data.failed);
    buf_close(&data);
}

void gguf_writer_finish(const struct gguf_writer *w, struct buf *out)
{
    put_file(w, &w->pairs, w->n_pair, 0, w->n_tensor, out);
}

static void save(const struct buf *b, const char *path)
{
    FILE *f = fopen(path, "wb");
    assert(f);
    size_t n = fwrite(b->bytes, 1, b->len, f);
    assert(n == b->len);
    int closed = fclose(f);
    assert(closed == 0);
}

void gguf_writer_save(const struct gguf_writer *w, const char *path)
{
    struct buf out = { 0 };
    gguf_writer_finish(w, &out);
    save(&out, path);
    buf_close(&out);
}

void gguf_writer_save_split(const struct gguf_writer *w, const char *prefix, uint32_t n_part)
{
    for (uint32_t i = 0; i < n_part; i++) {
        struct gguf_writer keys;
        struct buf out = { 0 }, path = { 0 };
        uint64_t first = w->n_tensor * i / n_part, end = w->n_tensor * (i + 1) / n_part;

        gguf_writer_open(&keys, w->version);
        if (i == 0) {
            buf_add(&keys.pairs, w->pairs.bytes, w->pairs.len);
            keys.n_pair = w->n_pair;
        }
        gguf_write_int(&keys, "split.no", GGUF_U16, i);
        gguf_write_int(&keys, "split.count", GGUF_U16, n_part);
        gguf_write_int(&keys, "split.tensors.count", GGUF_I32, (int64_t)w->n_tensor);
        put_file(w, &keys.pairs, keys.n_pair, first, end - first, &out);
        buf_addf(&path, "%s-%05u-of-%05u.gguf", prefix, i + 1, n_part);
        save(&out, path.bytes);

        buf_close(&path);
        buf_close(&out);
        gguf_writer_close(&keys);
    }
}
