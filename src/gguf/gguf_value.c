#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "gguf/gguf_internal.h"

static const struct {
    const char *name;
    size_t bytes; // of an element in the file; 0: not fixed
} types[] = {
    [GGUF_U8] = { "u8", 1 },       [GGUF_I8] = { "i8", 1 },     [GGUF_U16] = { "u16", 2 },
    [GGUF_I16] = { "i16", 2 },     [GGUF_U32] = { "u32", 4 },   [GGUF_I32] = { "i32", 4 },
    [GGUF_F32] = { "f32", 4 },     [GGUF_BOOL] = { "bool", 1 }, [GGUF_STRING] = { "string", 0 },
    [GGUF_ARRAY] = { "array", 0 }, [GGUF_U64] = { "u64", 8 },   [GGUF_I64] = { "i64", 8 },
    [GGUF_F64] = { "f64", 8 },
};

const char *gguf_type_name(enum gguf_type t)
{
    return (unsigned)t < sizeof types / sizeof *types ? types[t].name : "unknown";
}

size_t gguf_type_bytes(uint32_t type)
{
    return type < sizeof types / sizeof *types ? types[type].bytes : 0;
}

static const void *element(const struct gguf_value *v, uint64_t i)
{
    assert(i < v->n);
    return (const char *)v->data + i * types[v->type].bytes;
}

#define READ_AS(c_type)                                                                            \
    ({                                                                                             \
        c_type x_;                                                                                 \
        memcpy(&x_, at, sizeof x_);                                                                \
        x_;                                                                                        \
    })

int64_t gguf_value_int(const struct gguf_value *v, uint64_t i)
{
    const void *at = element(v, i);
    switch (v->type) {
    case GGUF_U8:
    case GGUF_BOOL:
        return READ_AS(uint8_t);
    case GGUF_I8:
        return READ_AS(int8_t);
    case GGUF_U16:
        return READ_AS(uint16_t);
    case GGUF_I16:
        return READ_AS(int16_t);
    case GGUF_U32:
        return READ_AS(uint32_t);
    case GGUF_I32:
        return READ_AS(int32_t);
    case GGUF_U64:
    case GGUF_I64:
        return READ_AS(int64_t);
    default:
        assert(!"an integer or a bool");
        return 0;
    }
}

double gguf_value_float(const struct gguf_value *v, uint64_t i)
{
    const void *at = element(v, i);
    switch (v->type) {
    case GGUF_F32:
        return (double)READ_AS(float);
    case GGUF_F64:
        return READ_AS(double);
    case GGUF_U64:
        return (double)READ_AS(uint64_t);
    default:
        return (double)gguf_value_int(v, i);
    }
}

struct gguf_text gguf_value_next_text(const void **cursor)
{
    uint64_t len;
    memcpy(&len, *cursor, sizeof len);
    struct gguf_text t = { .bytes = (const char *)*cursor + sizeof len, .len = (size_t)len };
    *cursor = t.bytes + t.len;
    return t;
}

static bool is_integer(const struct gguf_value *v)
{
    return !v->is_array && (v->type <= GGUF_I32 || v->type == GGUF_U64 || v->type == GGUF_I64);
}

static bool is_float(const struct gguf_value *v)
{
    return !v->is_array && (v->type == GGUF_F32 || v->type == GGUF_F64);
}

static enum status other_kind(const struct gguf_value *v, const char *key, const char *wanted,
                              struct note *why)
{
    note_set(why, "key '%s' is %s%s; %s is needed", key, v->is_array ? "an array of " : "",
             gguf_type_name(v->type), wanted);
    return BAD_INPUT;
}

static enum status value_u32(const struct gguf_value *v, const char *key, uint32_t *out,
                             struct note *why)
{
    if (!v)
        return NOT_FOUND;
    if (!is_integer(v))
        return other_kind(v, key, "an integer", why);
    int64_t x = gguf_value_int(v, 0);
    if (x < 0 || x > UINT32_MAX) {
        note_set(why,
                 v->type == GGUF_U64 ? "key '%s' is %llu; the limit is 0..%u"
                                     : "key '%s' is %lld; the limit is 0..%u",
                 key, (long long)x, UINT32_MAX);
        return BAD_INPUT;
    }
    *out = (uint32_t)x;
    return OK;
}

enum status gguf_header_u32(const struct gguf_header *h, const char *key, uint32_t *out,
                            struct note *why)
{
    return value_u32(gguf_header_find(h, key), key, out, why);
}

enum status gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct note *why)
{
    return value_u32(gguf_find(g, key), key, out, why);
}

enum status gguf_get_f32(const struct gguf *g, const char *key, float *out, struct note *why)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return NOT_FOUND;
    if (!is_integer(v) && !is_float(v))
        return other_kind(v, key, "a number", why);
    double x = gguf_value_float(v, 0);
    if (isfinite(x) && fabs(x) > (double)FLT_MAX) {
        note_set(why, "key '%s' is %g; the limit is +-%g", key, x, (double)FLT_MAX);
        return BAD_INPUT;
    }
    *out = (float)x;
    return OK;
}

enum status gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct note *why)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return NOT_FOUND;
    if (v->is_array || v->type != GGUF_BOOL)
        return other_kind(v, key, "a bool", why);
    *out = gguf_value_int(v, 0) != 0;
    return OK;
}

enum status gguf_get_text(const struct gguf *g, const char *key, struct gguf_text *out,
                          struct note *why)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return NOT_FOUND;
    if (v->is_array || v->type != GGUF_STRING)
        return other_kind(v, key, "a string", why);
    const void *cursor = v->data;
    *out = gguf_value_next_text(&cursor);
    return OK;
}
