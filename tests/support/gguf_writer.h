/* support/gguf_writer.h - writes GGUF files for tests: right ones, and wrong ones on purpose.
 *
 *   gguf_writer_open -> add pairs and tensors in any order -> finish (into a buf) or save (to a path)
 *
 * W1  What is added is written in that order; tensor data is copied, each tensor aligned.
 * W2  Nothing is checked: raw pairs and odd tensors make the hostile files.
 *
 * Lifetime  gguf_writer_close frees all. Failed memory is an assertion: this is test code. */
#ifndef SUPPORT_GGUF_WRITER_H
#define SUPPORT_GGUF_WRITER_H

#include "base/buf.h"
#include "gguf/gguf.h"

struct gguf_writer {
    uint32_t version;   // 2 or 3; others are written as they are
    uint32_t alignment; // of the data section; add the key general.alignment yourself
    struct buf pairs;
    uint64_t n_pair;
    struct writer_tensor *tensor;
    uint64_t n_tensor;
};

void gguf_writer_open(struct gguf_writer *w, uint32_t version);
void gguf_writer_close(struct gguf_writer *w);

/* Scalars: any integer type or GGUF_BOOL; GGUF_F32 or GGUF_F64; a zero-terminated string. */
void gguf_write_int(struct gguf_writer *w, const char *key, enum gguf_type type, int64_t value);
void gguf_write_float(struct gguf_writer *w, const char *key, enum gguf_type type, double value);
void gguf_write_text(struct gguf_writer *w, const char *key, const char *text);

/* Arrays of n. */
void gguf_write_ints(struct gguf_writer *w, const char *key, enum gguf_type type,
                     const int64_t *values, uint64_t n);
void gguf_write_floats(struct gguf_writer *w, const char *key, enum gguf_type type,
                       const double *values, uint64_t n);
void gguf_write_texts(struct gguf_writer *w, const char *key, const char *const *texts, uint64_t n);

/* A pair whose value (behind the type's number) is these bytes. */
void gguf_write_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *bytes,
                    size_t len);

/* A tensor of n_dim (up to 4 written) dimensions; `bytes` of data are copied. */
void gguf_write_tensor(struct gguf_writer *w, const char *name, uint32_t dtype, uint32_t n_dim,
                       const uint64_t *dim, const void *data, size_t bytes);

/* The last tensor's offset becomes this instead of what follows from the order. */
void gguf_write_offset(struct gguf_writer *w, uint64_t offset);

/* Appends the whole file to `out`. */
void gguf_writer_finish(const struct gguf_writer *w, struct buf *out);

void gguf_writer_save(const struct gguf_writer *w, const char *path);

/* Writes PREFIX-00001-of-0000N.gguf ...: part 1 has the pairs, and the tensors are dealt out in runs of
 * equal number. */
void gguf_writer_save_split(const struct gguf_writer *w, const char *prefix, uint32_t n_part);

#endif
