/* gguf/gguf_internal.h - what this folder's files share: a file's header, and the parts of a set.
 *
 *   gguf ---- part[0] ---- map, header: pairs and tensors as this file lists them
 *        ---- part[1] ---- ...
 *        ---- tensor[] of all parts, in order; by_name finds one of them
 *
 * Names are looked up by binary search: a hash would let a hostile file choose colliding names. */
#ifndef GGUF_GGUF_INTERNAL_H
#define GGUF_GGUF_INTERNAL_H

#include "gguf/gguf.h"
#include "os/file.h"

/* Things that begin with their name, sorted by it. */
struct name_index {
    const struct gguf_text **sorted;
    size_t n;
};

/* Indexes n objects of `stride` bytes that begin with a gguf_text. BAD_INPUT names a duplicate as
 * a duplicate `what`. */
must_use enum status name_index_new(struct name_index *out, const void *objects, size_t n,
                                    size_t stride, const char *what, struct note *why);
void name_index_free(struct name_index *x);
const void *name_index_find(const struct name_index *x, const char *name); // NULL: absent

/* A name made fit for a message: strange bytes as '?', long ones cut. */
struct shown {
    char text[72];
};
struct shown shown_text(struct gguf_text t);

struct gguf_header {
    uint32_t version;
    struct gguf_pair *pair;
    size_t n_pair;
    struct name_index by_key;
    struct gguf_tensor *tensor;
    size_t n_tensor;
};

/* Parses one file of which `part` is the number. The result points into `bytes`. */
must_use enum status gguf_header_parse(struct gguf_header *out, const void *bytes, size_t len,
                                       uint32_t part, struct note *why);
void gguf_header_free(struct gguf_header *h);
const struct gguf_value *gguf_header_find(const struct gguf_header *h, const char *key);

/* As gguf_get_u32, from one file's header. */
must_use enum status gguf_header_u32(const struct gguf_header *h, const char *key, uint32_t *out,
                                     struct note *why);

struct gguf_part {
    struct file_map map; // closed where the bytes are the caller's
    const void *bytes;
    size_t len;
    struct gguf_header header;
};

struct gguf {
    struct gguf_part *part;
    uint32_t n_part;
    struct gguf_tensor *tensor;
    size_t n_tensor;
    struct name_index by_name;
};

/* Bytes of one element as it lies in the file; 0 for strings, arrays and unknown numbers. */
size_t gguf_type_bytes(uint32_t type);

#endif
