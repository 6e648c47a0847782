/* model/profile.h - where the time of passes goes, for `bench --profile`.
 *
 *   thread 0   [ qkv ......... ]      [ attention .... ]
 *   thread 1   [ qkv ..... ] wait     [ attention ] wait       each part: time at work, time waiting for the others
 *
 * Off (the default) it costs a test of a flag a part. Summed over threads, so all parts together are wall time times
 * threads. Threads  the one that runs passes; read it between them. */
#ifndef MODEL_PROFILE_H
#define MODEL_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "os/workers.h"

enum profile_part {
    PROFILE_QKV,
    PROFILE_ATTN_OUT,
    PROFILE_GATE_UP,
    PROFILE_DOWN,
    PROFILE_OUTPUT,    // the output matrix
    PROFILE_ATTENTION, // scores, softmax, values
    PROFILE_ROWS,      // norms, rope, quantising, gates, residuals, storing KV, embeddings
    PROFILE_SAMPLING,  // a token of each row of logits
    N_PROFILE
};

struct profile {
    bool on;
    uint64_t clock_ns; // how long it was on, which is its user's to say
    uint64_t n_pass;   // in that time
    uint64_t work_ns[N_PROFILE], wait_ns[N_PROFILE];
};

extern const char *const profile_names[N_PROFILE];

/* workers_run, and what it took goes to `part`. */
void profile_run(struct profile *p, enum profile_part part, struct workers *w, workers_fn *fn,
                 void *arg);

/* What the caller does alone while the others wait: between these two. */
uint64_t profile_alone(const struct profile *p);
void profile_alone_end(struct profile *p, enum profile_part part, const struct workers *w,
                       uint64_t began);

#endif
