/* bin/bench_kv_in.h - the parts of `bench kv`, each of which prints a table. Private to bench_kv*.c. */
#ifndef BIN_BENCH_KV_IN_H
#define BIN_BENCH_KV_IN_H

#include "base/note.h"
#include "base/status.h"
#include "model/model.h"

enum {
    SEQ_MAX = 64,
    CALL_ROWS = 2048,  // of a sequence whose calls are measured, and that is shared
    DECODE_BLOCKS = 10 // of each sequence that decodes
};

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

struct form {
    const char *name;
    bool map_ahead, table, backed; // backed: all memory is there before the first use
};

/* A pool and spaces of one form; the sequences, NULL or new, are the caller's to fill. */
struct world {
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *all;
    struct kv_space *space[SEQ_MAX];
};

/* With n_block blocks, or as many as --kv-ram has room for. Closed also when it could not be opened. */
must_use enum status bench_kv_world_open(struct world *w, const struct bench_kv_options *o,
                                         struct form form, uint32_t n_block, struct note *why);
void bench_kv_world_close(struct world *w);

/* Waits until the populator has nothing left to do. */
void bench_kv_await_backed(struct kv_pool *pool, const struct kv_shape *shape);

must_use enum status bench_kv_syscalls(const struct bench_kv_options *o, struct note *why);
must_use enum status bench_kv_calls(const struct bench_kv_options *o, struct note *why);
must_use enum status bench_kv_ahead(const struct bench_kv_options *o, struct note *why);
must_use enum status bench_kv_lengths(const struct bench_kv_options *o, struct note *why);
must_use enum status bench_kv_sharing(const struct bench_kv_options *o, struct note *why);
must_use enum status bench_kv_steps(const struct bench_kv_options *o, struct note *why);

#endif
