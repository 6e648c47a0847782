#include "bin/safetensors.h"

#include <string.h>

#include "base/json.h"

enum { LENGTH_BYTES = 8 };

enum status safetensors_open(struct safetensors *out, const void *bytes, size_t len,
                             struct note *why)
{
    uint64_t n = 0;
    json_t *header;
    if (len >= LENGTH_BYTES)
        memcpy(&n, bytes, LENGTH_BYTES);
    if (len < LENGTH_BYTES || n > len - LENGTH_BYTES) {
        note_set(why, "a safetensors file of %zu bytes cannot have a header of %llu", len,
                 (unsigned long long)n);
        return BAD_INPUT;
    }
    const enum status st = json_from_text(&header, (const char *)bytes + LENGTH_BYTES, n, why);
    if (st != OK) {
        note_prefix(why, "the header of a safetensors file");
        return st;
    }
    if (!json_is_object(header)) {
        note_set(why, "the header of a safetensors file must be a JSON object");
        json_decref(header);
        return BAD_INPUT;
    }
    *out = (struct safetensors){ header, (const uint8_t *)bytes + LENGTH_BYTES + n,
                                 len - LENGTH_BYTES - n };
    return OK;
}

void safetensors_close(struct safetensors *s)
{
    json_decref(s->header);
    *s = (struct safetensors){ 0 };
}

static bool is_shape(const json_t *shape, uint32_t n_row, uint32_t n)
{
    const size_t n_dim = n_row ? 2 : 1;
    if (json_array_size(shape) != n_dim)
        return false;
    return json_integer_value(json_array_get(shape, n_dim - 1)) == n &&
           (n_dim == 1 || json_integer_value(json_array_get(shape, 0)) == n_row);
}

enum status safetensors_find(const struct safetensors *s, const char *name, uint32_t n_row,
                             uint32_t n, const void **data, struct note *why)
{
    const json_t *t = json_object_get(s->header, name);
    const json_t *dtype = json_object_get(t, "dtype"), *at = json_object_get(t, "data_offsets");
    if (!json_is_string(dtype) || strcmp(json_string_value(dtype), "F32") != 0 ||
        !is_shape(json_object_get(t, "shape"), n_row, n)) {
        note_set(why, "there must be a tensor '%s' of F32 and shape [%u, %u]", name, n_row, n);
        return BAD_INPUT;
    }
    const json_int_t from = json_integer_value(json_array_get(at, 0)),
                     to = json_integer_value(json_array_get(at, 1));
    const uint64_t need = (uint64_t)(n_row ? n_row : 1) * n * sizeof(float);
    if (from < 0 || to < from || (uint64_t)to > s->bytes || (uint64_t)(to - from) != need) {
        note_set(why, "tensor '%s' needs %llu bytes, and is said to be at %lld to %lld of %zu",
                 name, (unsigned long long)need, (long long)from, (long long)to, s->bytes);
        return BAD_INPUT;
    }
    *data = s->data + from;
    return OK;
}
