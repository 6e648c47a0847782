/* support/runner.h - a model with a pool, for tests that look at logits row by row. */
#ifndef SUPPORT_RUNNER_H
#define SUPPORT_RUNNER_H

#include "kv/space.h"
#include "model/model.h"

struct runner {
    struct model *model;
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    uint32_t n_vocab;
};

struct runner_config {
    const char *path, *cpu;
    uint32_t n_thread, n_position_max;
    enum kv_type kv_type;
    bool table;
};

/* Asserts that all of it works. */
void runner_open(struct runner *r, const struct runner_config *config);
void runner_close(struct runner *r);

/* A sequence under way. */
struct run {
    struct kv_space *space;
    const struct kv_excerpt *excerpt; // its past under a policy, or NULL; the test's
    struct kv_taps *taps;             // or NULL; the test's
    struct kv_select *select;         // or NULL; the test's
    const int32_t *ids;
    uint32_t n_done;
    float *logits;   // [n][n_vocab] of every position, or NULL
    uint32_t n_last; // 0, or so many rows of a step have their logits taken, the last ones
    bool unread;     // nobody asks for logits
};

void run_open(struct runner *r, struct run *s, const int32_t *ids);
void run_close(struct run *s);

/* One pass over several sequences: sequence i reads its next n[i] tokens (0: it rests). */
void run_step(struct runner *r, struct run *const *s, const uint32_t *n, uint32_t n_run);

/* All of ids [n] in chunks; logits [n][n_vocab]. */
void run_all(struct runner *r, const int32_t *ids, uint32_t n, uint32_t chunk, float *logits);

#endif
