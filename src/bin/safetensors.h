/* bin/safetensors.h - a safetensors file that lies in memory: tensors by name.
 *
 *   u64 n | JSON of n bytes: {"name": {"dtype": "F32", "shape": [2, 384], "data_offsets": [from, to]}, ...} | data
 *
 * Strict: what is asked for lies inside the data, and has the type, shape and size that it must have. Only F32 is
 * wanted.
 * Source: the format's description, huggingface/safetensors. Lifetime  the bytes are the caller's. Threads  any. */
#ifndef BIN_SAFETENSORS_H
#define BIN_SAFETENSORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

struct safetensors {
    json_t *header;
    const uint8_t *data;
    size_t bytes;
};

/* BAD_INPUT: it is none; the note says what is wrong. FULL: no memory. */
must_use enum status safetensors_open(struct safetensors *out, const void *bytes, size_t len,
                                      struct note *why);
void safetensors_close(struct safetensors *s); // a zeroed one too

/* F32 data of a tensor of shape [n_row, n], unaligned; of shape [n] where n_row is 0. BAD_INPUT: there is none such. */
must_use enum status safetensors_find(const struct safetensors *s, const char *name, uint32_t n_row,
                                      uint32_t n, const void **data, struct note *why);

#endif
