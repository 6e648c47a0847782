/* bin/bench_roof.h - what this machine can do at most, and what a test asks of it: the two sides of every "% of".
 *
 *   roof, measured        int8 and fp32 operations a second in registers, bytes a second of as many as a step reads
 *   work, counted         the same three of a test, from the model's file:
 *
 *     int8    2 a weight of a quantised matrix a token; the output matrix only where logits are asked for
 *     fp32    2 a weight of a matrix of floats, and 4 d_head a head and a position seen: attention
 *     read    every weight and the KV rows seen, once a generated token; reading a prompt computes, so: none
 *
 * Each roof is of many short runs on all threads of the test: of products the best, as what disturbs can only lower it;
 * of reading the median, what lasts. */
#ifndef BIN_BENCH_ROOF_H
#define BIN_BENCH_ROOF_H

#include "base/note.h"
#include "base/status.h"
#include "bin/bench_test.h"
#include "kernels/kernels.h"
#include "model/hparams.h"

struct amounts {
    double int8, fp32, read; // operations, operations, bytes; of a roof: a second
};

/* Reads `read_bytes` again and again: a cache may hold what a small model's step reads, as it does then. FULL: no
 * memory for them, or for threads. */
must_use enum status roof_measure(struct amounts *out, const struct kernels *k, uint32_t n_thread,
                                  size_t read_bytes, struct note *why);

/* Nanoseconds of a run of threads that wait for it and have nothing to do but to begin it, all of them: what handing
 * work over costs, and waiting until it is done (os/workers.h). FULL: no threads. */
must_use enum status barrier_measure(double *ns, uint32_t n_thread, struct note *why);

/* The size of a model's file, which is about what a step reads, from 16 MiB to 1 GiB. BAD_INPUT: no such file. */
must_use enum status roof_bytes_of(size_t *out, const char *path, struct note *why);

/* What one model's passes are made of. */
struct model_work {
    struct hparams h;
    struct kv_shape kv;
    struct amounts token, logits; // operations of matmul: of a token's layers, of its logits
    const char *arch, *type;      // "llama", "Q4_K_M"
};

/* Counts a file's tensors. BAD_INPUT: a model that this program cannot run. */
must_use enum status model_work_read(struct model_work *out, const char *path, enum kv_type type,
                                     struct note *why);

/* Of all its sequences; `weight_bytes` are read a step, once for all of them. */
struct amounts work_of_test(const struct model_work *m, size_t weight_bytes,
                            const struct bench_test *t);

#endif
