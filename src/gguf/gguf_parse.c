#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf_internal.h"

enum {
    PAIR_BYTES_MIN = 8 + 4 + 1,           // an empty key, a type, a one-byte value
    TENSOR_BYTES_MIN = 8 + 4 + 8 + 4 + 8, // an empty name, one dimension, type, offset
    N_DIM_MAX = 4,
    DEFAULT_ALIGNMENT = 32,
};

/* Reads a file from front to back; every call checks what is left before it looks. */
struct reader {
    const uint8_t *bytes;
    size_t len;
    size_t at;
    struct note *why;
};

static size_t bytes_left(const struct reader *r)
{
    return r->len - r->at;
}

static enum status read_bytes(struct reader *r, void *out, size_t n, const char *field)
{
    if (n > bytes_left(r)) {
        note_set(r->why, "the file ends in %s: %zu bytes are needed at byte %zu of %zu", field, n,
                 r->at, r->len);
        return BAD_INPUT;
    }
    memcpy(out, r->bytes + r->at, n);
    r->at += n;
    return OK;
}

static enum status read_u32(struct reader *r, uint32_t *out, const char *field)
{
    return read_bytes(r, out, sizeof *out, field);
}

static enum status read_u64(struct reader *r, uint64_t *out, const char *field)
{
    return read_bytes(r, out, sizeof *out, field);
}

/* A count of things that take at least `each` bytes: more than fit in what is left is a lie. */
static enum status read_count(struct reader *r, size_t *out, size_t each, const char *field)
{
    uint64_t n = 0;
    enum status st = read_u64(r, &n, field);
    if (st != OK)
        return st;
    if (n > bytes_left(r) / each) {
        note_set(r->why, "%s is %" PRIu64 ", but only %zu bytes follow it", field, n,
                 bytes_left(r));
        return BAD_INPUT;
    }
    *out = (size_t)n;
    return OK;
}

static enum status read_text(struct reader *r, struct gguf_text *out, const char *field)
{
    size_t len = 0;
    enum status st = read_count(r, &len, 1, field);
    if (st != OK)
        return st;
    *out = (struct gguf_text){ .bytes = (const char *)r->bytes + r->at, .len = len };
    r->at += len;
    return OK;
}

static enum status skip_texts(struct reader *r, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_text ignored;
        enum status st = read_text(r, &ignored, "the length of a string");
        if (st != OK)
            return st;
    }
    return OK;
}

static enum status check_bools(const struct gguf_value *v, struct note *why)
{
    const uint8_t *b = v->data;
    for (uint64_t i = 0; i < v->n; i++) {
        if (b[i] > 1) {
            note_set(why, "bool %" PRIu64 " is %u; a bool is 0 or 1", i, b[i]);
            return BAD_INPUT;
        }
    }
    return OK;
}

/* The elements of a value whose type and count are known. */
static enum status read_elements(struct reader *r, struct gguf_value *v)
{
    v->data = r->bytes + r->at;
    if (v->type == GGUF_STRING)
        return skip_texts(r, v->n);
    size_t each = gguf_type_bytes(v->type);
    if (v->n > bytes_left(r) / each) {
        note_set(r->why, "the file ends in %" PRIu64 " elements of %s at byte %zu of %zu", v->n,
                 gguf_type_name(v->type), r->at, r->len);
        return BAD_INPUT;
    }
    r->at += (size_t)v->n * each;
    return v->type == GGUF_BOOL ? check_bools(v, r->why) : OK;
}

static enum status read_type(struct reader *r, enum gguf_type *out)
{
    uint32_t type = 0;
    enum status st = read_u32(r, &type, "the value's type");
    if (st != OK)
        return st;
    if (type > GGUF_F64) {
        note_set(r->why, "value type %u is unknown; the last known is %u (f64)", type, GGUF_F64);
        return BAD_INPUT;
    }
    *out = (enum gguf_type)type;
    return OK;
}

static enum status read_value(struct reader *r, struct gguf_value *v)
{
    *v = (struct gguf_value){ .n = 1 };
    enum status st = read_type(r, &v->type);
    if (st != OK || v->type != GGUF_ARRAY)
        return st == OK ? read_elements(r, v) : st;

    v->is_array = true;
    st = read_type(r, &v->type);
    if (st != OK)
        return st;
    if (v->type == GGUF_ARRAY) {
        note_set(r->why, "an array of arrays is not supported");
        return BAD_INPUT;
    }
    size_t n = 0;
    st = read_count(r, &n, v->type == GGUF_STRING ? 8 : gguf_type_bytes(v->type),
                    "the array's length");
    v->n = n;
    return st == OK ? read_elements(r, v) : st;
}

static enum status read_pairs(struct reader *r, struct gguf_header *h)
{
    h->pair = mem_new(h->n_pair, sizeof *h->pair);
    if (!h->pair) {
        note_set(r->why, "no memory for %zu metadata pairs", h->n_pair);
        return FULL;
    }
    for (size_t i = 0; i < h->n_pair; i++) {
        struct gguf_pair *p = &h->pair[i];
        enum status st = read_text(r, &p->key, "the length of a key");
        if (st != OK) {
            note_prefix(r->why, "metadata pair %zu of %zu", i + 1, h->n_pair);
            return st;
        }
        st = read_value(r, &p->value);
        if (st != OK) {
            note_prefix(r->why, "key '%s'", shown_text(p->key).text);
            return st;
        }
    }
    return name_index_new(&h->by_key, h->pair, h->n_pair, sizeof *h->pair, "key", r->why);
}

static enum status read_dims(struct reader *r, struct gguf_tensor *t)
{
    enum status st = read_u32(r, &t->n_dim, "the number of dimensions");
    if (st != OK)
        return st;
    if (t->n_dim < 1 || t->n_dim > N_DIM_MAX) {
        note_set(r->why, "%u dimensions; the limit is 1..%d", t->n_dim, N_DIM_MAX);
        return BAD_INPUT;
    }
    for (uint32_t i = 0; i < N_DIM_MAX; i++) {
        t->dim[i] = 1;
        if (i < t->n_dim)
            st = read_u64(r, &t->dim[i], "a dimension");
        if (st != OK)
            return st;
        if (t->dim[i] == 0) {
            note_set(r->why, "dimension %u is 0", i);
            return BAD_INPUT;
        }
    }
    return OK;
}

static enum status read_dtype(struct reader *r, struct gguf_tensor *t)
{
    uint32_t number = 0;
    enum status st = read_u32(r, &number, "the tensor's type");
    if (st != OK)
        return st;
    const struct dtype_info *info = dtype_info(number);
    if (!info || !info->block_elems) {
        note_set(r->why,
                 "type %s (number %u) is not supported; convert it to one of F32 F16 BF16 Q8_0 "
                 "Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS",
                 info ? info->name : "unknown", number);
        return BAD_INPUT;
    }
    t->type = (enum dtype)number;
    return OK;
}

/* G1: rows are whole blocks, and the size does not overflow. */
static enum status set_tensor_bytes(struct gguf_tensor *t, struct note *why)
{
    const struct dtype_info *info = dtype_info(t->type);
    if (t->dim[0] % info->block_elems) {
        note_set(why, "rows of %" PRIu64 " elements do not fit type %s, which has blocks of %u",
                 t->dim[0], info->name, info->block_elems);
        return BAD_INPUT;
    }
    uint64_t n = 1;
    bool over = false;
    for (uint32_t i = 0; i < N_DIM_MAX; i++)
        over |= __builtin_mul_overflow(n, t->dim[i], &n);
    t->bytes = over ? 0 : dtype_bytes(t->type, n);
    if (t->bytes == 0) {
        note_set(why,
                 "dimensions %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64
                 " overflow 64 bits",
                 t->dim[0], t->dim[1], t->dim[2], t->dim[3]);
        return BAD_INPUT;
    }
    return OK;
}

static enum status read_tensor(struct reader *r, struct gguf_tensor *t, uint64_t *offset)
{
    enum status st = read_dims(r, t);
    if (st == OK)
        st = read_dtype(r, t);
    if (st == OK)
        st = read_u64(r, offset, "the tensor's offset");
    return st == OK ? set_tensor_bytes(t, r->why) : st;
}

/* offset[i] is where tensor i begins in the data section, which comes after all of these. */
static enum status read_tensors(struct reader *r, struct gguf_header *h, uint64_t *offset)
{
    for (size_t i = 0; i < h->n_tensor; i++) {
        struct gguf_tensor *t = &h->tensor[i];
        enum status st = read_text(r, &t->name, "the length of a name");
        if (st != OK) {
            note_prefix(r->why, "tensor %zu of %zu", i + 1, h->n_tensor);
            return st;
        }
        st = read_tensor(r, t, &offset[i]);
        if (st != OK) {
            note_prefix(r->why, "tensor '%s'", shown_text(t->name).text);
            return st;
        }
    }
    return OK;
}

static enum status read_alignment(const struct gguf_header *h, uint32_t *out, struct note *why)
{
    *out = DEFAULT_ALIGNMENT;
    enum status st = gguf_header_u32(h, "general.alignment", out, why);
    if (st != OK && st != NOT_FOUND)
        return st;
    if (*out == 0 || *out & (*out - 1)) {
        note_set(why, "key 'general.alignment' is %u; a power of two is needed", *out);
        return BAD_INPUT;
    }
    return OK;
}

/* Gives each tensor its place in the data section, which starts at the next aligned byte. */
static enum status place_tensors(const struct reader *r, struct gguf_header *h,
                                 const uint64_t *offset)
{
    uint32_t align;
    enum status st = read_alignment(h, &align, r->why);
    if (st != OK)
        return st;
    size_t pad = -r->at & (align - 1);
    size_t data_len = pad < bytes_left(r) ? bytes_left(r) - pad : 0;
    for (size_t i = 0; i < h->n_tensor; i++) {
        struct gguf_tensor *t = &h->tensor[i];
        if (offset[i] % align) {
            note_set(r->why, "tensor '%s' has offset %" PRIu64 ", no multiple of the alignment %u",
                     shown_text(t->name).text, offset[i], align);
            return BAD_INPUT;
        }
        if (offset[i] > data_len || t->bytes > data_len - offset[i]) {
            note_set(r->why,
                     "tensor '%s' has %zu bytes at offset %" PRIu64
                     ", but the data section has %zu: the file is cut short or damaged",
                     shown_text(t->name).text, t->bytes, offset[i], data_len);
            return BAD_INPUT;
        }
        t->data = r->bytes + r->at + pad + offset[i];
    }
    return OK;
}

static int place_compare(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    return ((*x)->data > (*y)->data) - ((*x)->data < (*y)->data);
}

/* G4. */
static enum status refuse_overlap(const struct gguf_header *h, struct note *why)
{
    const struct gguf_tensor **by_place = mem_new(h->n_tensor, sizeof *by_place);
    enum status st = OK;
    if (!by_place) {
        note_set(why, "no memory for %zu tensors", h->n_tensor);
        return FULL;
    }
    for (size_t i = 0; i < h->n_tensor; i++)
        by_place[i] = &h->tensor[i];
    qsort(by_place, h->n_tensor, sizeof *by_place, place_compare);
    for (size_t i = 1; i < h->n_tensor && st == OK; i++) {
        const struct gguf_tensor *a = by_place[i - 1], *b = by_place[i];
        if ((const char *)b->data - (const char *)a->data < (ptrdiff_t)a->bytes) {
            note_set(why, "tensors '%s' and '%s' overlap", shown_text(a->name).text,
                     shown_text(b->name).text);
            st = BAD_INPUT;
        }
    }
    mem_free(by_place);
    return st;
}

static enum status read_tensor_section(struct reader *r, struct gguf_header *h, uint32_t part)
{
    uint64_t *offset = mem_new(h->n_tensor, sizeof *offset);
    enum status st = FULL;
    h->tensor = mem_new(h->n_tensor, sizeof *h->tensor);
    if (!offset || !h->tensor) {
        note_set(r->why, "no memory for %zu tensors", h->n_tensor);
        goto done;
    }
    st = read_tensors(r, h, offset);
    if (st == OK)
        st = place_tensors(r, h, offset);
    if (st == OK)
        st = refuse_overlap(h, r->why);
    for (size_t i = 0; i < h->n_tensor; i++)
        h->tensor[i].part = part;
done:
    mem_free(offset);
    return st;
}

static enum status read_version(struct reader *r, uint32_t *out)
{
    char magic[4];
    enum status st = read_bytes(r, magic, sizeof magic, "the magic");
    if (st != OK)
        return st;
    if (memcmp(magic, "GGUF", 4) != 0) {
        struct gguf_text shown = { .bytes = magic, .len = sizeof magic };
        note_set(r->why, "not a GGUF file: it begins with '%s', not 'GGUF'",
                 shown_text(shown).text);
        return BAD_INPUT;
    }
    st = read_u32(r, out, "the version");
    if (st != OK || *out == 2 || *out == 3)
        return st;
    uint32_t swapped = __builtin_bswap32(*out);
    if (swapped >= 1 && swapped <= 0xffff)
        note_set(r->why, "a big-endian GGUF file (version %u); convert it to little-endian",
                 swapped);
    else
        note_set(r->why, "GGUF version %u is not supported; versions 2 and 3 are", *out);
    return BAD_INPUT;
}

enum status gguf_header_parse(struct gguf_header *out, const void *bytes, size_t len, uint32_t part,
                              struct note *why)
{
    struct reader r = { .bytes = bytes, .len = len, .why = why };
    struct gguf_header h = { 0 };
    enum status st = read_version(&r, &h.version);
    if (st == OK)
        st = read_count(&r, &h.n_tensor, TENSOR_BYTES_MIN, "the number of tensors");
    if (st == OK)
        st = read_count(&r, &h.n_pair, PAIR_BYTES_MIN, "the number of metadata pairs");
    if (st == OK)
        st = read_pairs(&r, &h);
    if (st == OK)
        st = read_tensor_section(&r, &h, part);
    if (st != OK) {
        gguf_header_free(&h);
        return st;
    }
    *out = h;
    return OK;
}

void gguf_header_free(struct gguf_header *h)
{
    name_index_free(&h->by_key);
    mem_free(h->pair);
    mem_free(h->tensor);
    *h = (struct gguf_header){ 0 };
}

const struct gguf_value *gguf_header_find(const struct gguf_header *h, const char *key)
{
    const struct gguf_pair *p = name_index_find(&h->by_key, key);
    return p ? &p->value : NULL;
}
