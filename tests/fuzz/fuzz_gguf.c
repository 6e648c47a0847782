/* Any bytes as a GGUF file: it is refused with a note, or all that it offers can be read (G1..G4). */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "gguf/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static volatile uint8_t sink;

static void touch(const void *p, size_t len)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < len; i++)
        sink ^= b[i];
}

static void read_value(const struct gguf_value *v)
{
    const void *cursor = v->data;
    for (uint64_t i = 0; i < v->n; i++) {
        if (v->type == GGUF_STRING) {
            struct gguf_text t = gguf_value_next_text(&cursor);
            touch(t.bytes, t.len);
            continue;
        }
        double x = gguf_value_float(v, i);
        touch(&x, sizeof x);
        if (v->type != GGUF_F32 && v->type != GGUF_F64)
            assert((double)gguf_value_int(v, i) == x || v->type == GGUF_U64);
    }
}

/* The name as a C string, where it is one. */
static const char *c_string(struct gguf_text t, char room[256])
{
    if (t.len >= 256 || memchr(t.bytes, 0, t.len))
        return NULL;
    memcpy(room, t.bytes, t.len);
    room[t.len] = 0;
    return room;
}

static void read_pair(const struct gguf *g, const struct gguf_pair *p)
{
    char room[256];
    const char *key = c_string(p->key, room);
    struct note why;
    struct gguf_text text;
    uint32_t u;
    float f;
    bool b;

    read_value(&p->value);
    if (!key)
        return;
    assert(gguf_find(g, key) == &p->value);
    int n_fit = (gguf_get_u32(g, key, &u, &why) == OK) + (gguf_get_bool(g, key, &b, &why) == OK) +
                (gguf_get_text(g, key, &text, &why) == OK);
    assert(n_fit <= 1);
    if (gguf_get_f32(g, key, &f, &why) == BAD_INPUT)
        assert(why.text[0]);
}

static void read_tensor(const struct gguf *g, const struct gguf_tensor *t, const uint8_t *file,
                        size_t len)
{
    char room[256];
    const char *name = c_string(t->name, room);
    const uint8_t *data = t->data;
    assert(t->bytes > 0 && t->bytes <= len);
    assert(data >= file && data + t->bytes <= file + len);
    assert(t->bytes == dtype_bytes(t->type, t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]));
    touch(data, t->bytes);
    if (name)
        assert(gguf_tensor_find(g, name) == t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct gguf *g = NULL;
    struct note why = { "" };
    enum status st = gguf_open_bytes(&g, bytes, len, &why);
    if (st != OK) {
        assert(st == BAD_INPUT && !g && why.text[0]);
        return 0;
    }
    size_t tensor_bytes = 0;
    for (size_t i = 0; i < gguf_n_pair(g); i++)
        read_pair(g, gguf_pair_at(g, i));
    for (size_t i = 0; i < gguf_n_tensor(g); i++) {
        read_tensor(g, gguf_tensor_at(g, i), bytes, len);
        tensor_bytes += gguf_tensor_at(g, i)->bytes;
    }
    assert(tensor_bytes <= len);
    gguf_close(g);
    return 0;
}
