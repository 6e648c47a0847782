/* support/attn_case.h - one random call of attention: blocks, queries and what each may see.
 *
 * Invisible rows hold what would spoil an answer (NaN, infinities), in K and in V. */
#ifndef SUPPORT_ATTN_CASE_H
#define SUPPORT_ATTN_CASE_H

#include <stdbool.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "support/guard.h"

enum { ATTN_CASE_BLOCKS = 16 };

struct attn_shape {
    enum kv_type type;
    uint32_t d_k, d_v, n_query, n_block; // n_block <= 16
    bool table;                          // blocks by address, shuffled, each before a guard page
    bool masked;                         // a row mask
    float softcap;
    uint32_t hostile; // one visible element in so many is hostile; 0: none
};

struct attn_case {
    struct attn_run run;
    size_t block_bytes;
    char *block[ATTN_CASE_BLOCKS];
    float *q;
    uint32_t *lo, *hi;
    uint64_t mask[ATTN_CASE_BLOCKS];
    uint64_t seen[ATTN_CASE_BLOCKS]; // rows that some query sees
    struct guarded memory[ATTN_CASE_BLOCKS + 4];
    uint32_t n_memory;
};

void attn_case_open(struct attn_case *c, const struct attn_shape *shape, struct rng *rng);
void attn_case_close(struct attn_case *c);

/* The state of some queries, each array before a guard page; filled with numbers that must not
 * survive. */
struct guarded_state {
    struct attn_state at;
    struct guarded m, l, o;
};

struct guarded_state attn_state_new(uint32_t n, uint32_t d_v);
void attn_state_free(struct guarded_state *s);

/* Runs the case with a scratch of exactly the promised size. */
void attn_case_run(const struct kernels *k, const struct attn_run *run, struct attn_state out);

void expect_same_state(struct attn_state got, struct attn_state want, uint32_t n, uint32_t d_v,
                       const char *what);

#endif
