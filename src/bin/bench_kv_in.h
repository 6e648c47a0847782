/* bin/bench_kv_in.h - the parts of `bench kv`, each of which prints a table. Private to bench_kv*.c. */
#ifndef BIN_BENCH_KV_IN_H
#define BIN_BENCH_KV_IN_H

#include "base/note.h"
#include "base/status.h"
#include "model/model.h"

enum { SEQ_MAX = 64 };

struct bench_kv_options {
    const char *model, *cpu;
    int64_t n_thread, n_ctx, n_seq, n_rep, n_ubatch;
    uint32_t kv_type;
    uint64_t kv_ram;
    struct model *m; // open; h: its numbers
    struct hparams h;
};

/* The model's KV with all of its layers in one group. */
struct kv_shape bench_kv_shape(const struct bench_kv_options *o);

/* Waits until the populator has nothing left to do. */
void bench_kv_await_backed(struct kv_pool *pool, const struct kv_shape *shape);

must_use enum status bench_kv_syscalls(const struct bench_kv_options *o, struct note *why);
must_use enum status bench_kv_steps(const struct bench_kv_options *o, struct note *why);

#endif
