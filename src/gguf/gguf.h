/* gguf/gguf.h - a GGUF file (or a set of split files), read in place.
 *
 *   file: "GGUF" version n_tensor n_kv | key type value ... | name n_dim dims type offset ...
 *         | pad | data
 *
 * G1  After gguf_open succeeded every key, value and tensor lies inside the mapped bytes, tensor
 *     names are unique, and each tensor's size follows from its type and dimensions without
 *     overflow.
 * G2  Nothing is copied: strings and tensor data point into the read-only mapping, unaligned.
 * G3  A hostile file costs at most memory linear in its size, and ends in BAD_INPUT with the
 *     field's name.
 * G4  Tensors share no bytes, so copying all of them is linear in the file's size too.
 *
 * Lifetime  what gguf_open gives points into the mapping until gguf_close. Threads  any, once open.
 * Cost  opening sorts the names: O(n log n) in the header; look-ups are O(log n) for any names.
 * Source: the GGUF specification (versions 2 and 3; version 1 and big-endian are refused). */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/note.h"
#include "base/status.h"
#include "os/file.h"

enum gguf_type { // the numbers in the file
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf_text { // not zero-terminated, may hold any bytes
    const char *bytes;
    size_t len;
};

struct gguf_value {
    enum gguf_type type; // of the elements, for an array
    bool is_array;
    uint64_t n;       // elements; 1 for a scalar
    const void *data; // n elements, packed, unaligned; a string is a u64 length, then its bytes
};

struct gguf_pair {
    struct gguf_text key;
    struct gguf_value value;
};

struct gguf_tensor {
    struct gguf_text name;
    enum dtype type;
    uint32_t n_dim;   // 1..4
    uint64_t dim[4];  // dim[0] is the row length, contiguous; unused ones are 1
    const void *data; // unaligned is possible; inside the mapping of `part`
    size_t bytes;
    uint32_t part; // which of the split files
};

struct gguf; // opaque

/* Opens `path`; where it is one of a split set ("...-00002-of-00005.gguf" or split.count in the
 * header) all parts beside it are opened too and appear as one. Every tensor type must be one we
 * compute with. NOT_FOUND: no such file. IO_ERROR: the system's words. BAD_INPUT: the field that
 * is wrong. */
must_use enum status gguf_open(struct gguf **out, const char *path, struct note *why);
void gguf_close(struct gguf *g);

/* Parses bytes that are already in memory (one file, not split); used by tests and the fuzzer. */
must_use enum status gguf_open_bytes(struct gguf **out, const void *bytes, size_t len,
                                     struct note *why);

uint32_t gguf_version(const struct gguf *g);
size_t gguf_file_bytes(const struct gguf *g); // of all parts
uint32_t gguf_n_part(const struct gguf *g);

size_t gguf_n_pair(const struct gguf *g);
const struct gguf_pair *gguf_pair_at(const struct gguf *g, size_t i);
const struct gguf_value *gguf_find(const struct gguf *g, const char *key); // NULL: absent

size_t gguf_n_tensor(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name); // NULL: absent

/* Scalars by key. `out` keeps its value when the key is absent (NOT_FOUND, no note); BAD_INPUT
 * when the value is of another kind or does not fit: any integer type that holds a fitting value
 * is accepted, and an integer is accepted as a float. */
must_use enum status gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out,
                                  struct note *why);
must_use enum status gguf_get_f32(const struct gguf *g, const char *key, float *out,
                                  struct note *why);
must_use enum status gguf_get_bool(const struct gguf *g, const char *key, bool *out,
                                   struct note *why);
must_use enum status gguf_get_text(const struct gguf *g, const char *key, struct gguf_text *out,
                                   struct note *why);

/* Element i of an integer or bool array (or of a scalar, i = 0), widened; a u64 keeps its bits.
 * The float one takes floats too. Caller checked i < n and the type. */
int64_t gguf_value_int(const struct gguf_value *v, uint64_t i);
double gguf_value_float(const struct gguf_value *v, uint64_t i);

/* Walks the strings of a string value: start with *cursor = v->data; each call gives the next. */
struct gguf_text gguf_value_next_text(const void **cursor);

const char *gguf_type_name(enum gguf_type t);

/* Brings bytes [from, from + bytes) of a tensor's data into memory. IO_ERROR: the file cannot be read, as one that was
 * shortened since. */
must_use enum status gguf_fetch(const struct gguf *g, const struct gguf_tensor *t, size_t from,
                                size_t bytes, struct note *why);

/* Whether some part was written to, or resized, since it was opened: os/file.h's file_changed over all of them. */
enum file_change gguf_changed(const struct gguf *g, struct note *why);

/* The mapped file of a part: base address and length. */
void gguf_part_range(const struct gguf *g, uint32_t part, const void **base, size_t *len);

#endif
