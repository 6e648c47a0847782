/* bin/inspection.h - what `inspect` found in a model file, and the two ways to say it. */
#ifndef BIN_INSPECTION_H
#define BIN_INSPECTION_H

#include "base/buf.h"
#include "base/dtype.h"
#include "gguf/gguf.h"
#include "model/hparams.h"

struct dtype_sum {
    uint64_t n_tensor, n_element, bytes;
};

struct inspection {
    const char *path;
    struct gguf *file;
    uint64_t n_param;
    struct dtype_sum total, by_type[DT_LIMIT];

    bool runnable; // the fields below hold something; else `why_not` does
    struct note why_not;
    const char *arch;
    struct hparams h;
    struct kv_shape kv;
    uint32_t n_ctx;      // positions that the cost is for
    size_t kv_bytes;     // of one sequence of n_ctx positions
    size_t kv_bytes_max; // the same, were no layer windowed
};

struct inspection_parts {
    bool tensors, metadata;
};

void inspection_text(struct buf *out, const struct inspection *x, struct inspection_parts parts);
void inspection_json(struct buf *out, const struct inspection *x, struct inspection_parts parts);

/* A dtype's name; never NULL for a type that gguf accepted. */
const char *inspection_type_name(uint32_t type);

#endif
