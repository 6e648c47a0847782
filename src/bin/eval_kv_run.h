/* bin/eval_kv_run.h - one task under one policy: every tail scored, and the values of each case.
 *
 *   case 0: context A + tail 0, context A + tail 1 .. | case 1: context A .. | case 2: context B ..
 *           --score_all, several at once: those of one context share its pruned state--> */
#ifndef BIN_EVAL_KV_RUN_H
#define BIN_EVAL_KV_RUN_H

#include "bin/eval_kv_task.h"
#include "bin/progress.h"

struct eval_run {
    const struct eval_task *task;
    const struct eval_cases *cases;
    akv_engine *engine;
    uint32_t n_slot;      // sequences under way
    struct progress *bar; // of tails
};

/* Of all scored tokens, by struct eval_tail.score. */
struct eval_scores {
    float *logprob;          // [n_scored]
    struct akv_logprob *top; // [n_scored][n_top]
    double n_kept, n_read; // rows of contexts, of each kv_head and summed over tails: kept, and all
    size_t kv_bytes_peak;  // the most of any
};

/* policy: as akv_request.kv_policy. Any status of akv_submit, for the first tail that fails. */
must_use enum status eval_run_policy(struct eval_scores *out, const struct eval_run *run,
                                     const char *policy, struct note *why);
void eval_scores_close(struct eval_scores *s);

/* value [n_item][n_measure] */
void eval_run_values(double *value, const struct eval_run *run, const struct eval_scores *s,
                     const struct eval_scores *full);

#endif
