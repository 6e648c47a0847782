/* bin/eval_kv_run.h - the cases of a task under all policies: every tail scored, and the values of each case.
 *
 *   context A: policy 1 x its tails, policy 2 x its tails, .. full x its tails | context B: ..
 *           --score_all, several at once: tails under one policy share what it kept of their context-->
 *
 * Contexts are the outer loop: policies that prune once behind it have it read for all of them together
 * (akv_request.kv_compare), and what reads exact KV finds it in the engine's index, so `full` is the last. */
#ifndef BIN_EVAL_KV_RUN_H
#define BIN_EVAL_KV_RUN_H

#include "bin/eval_kv_choose.h"
#include "bin/progress.h"

struct eval_run {
    const struct eval_task *task;
    const struct eval_cases *cases;
    const struct eval_policies *policies; // the first is full
    akv_engine *engine;
    uint32_t n_slot;      // sequences under way
    struct progress *bar; // of tails, n_policy times as many as there are
};

/* Under one policy; of all scored tokens, by struct eval_tail.score. */
struct eval_scores {
    enum status status; // not OK: it cannot run, `why` says why, and the rest means nothing
    struct note why;
    float *logprob;          // [n_scored]
    struct akv_logprob *top; // [n_scored][n_top]
    double n_kept,
        n_context; // rows of contexts, of each kv_head and summed over tails: kept, and all
    double n_read,
        n_there; // rows read by those behind the context, and that there were: 0 where none is chosen
    size_t kv_bytes_peak; // the most of any
};

/* s [policies->n], zeroed. A policy that fails does so alone, with the status of akv_submit for its first tail that
 * does. FULL: no memory for the scores. eval_scores_close ends each in any case. */
must_use enum status eval_run_all(struct eval_scores *s, const struct eval_run *run,
                                  struct note *why);
void eval_scores_close(struct eval_scores *s);

/* value [n_item][n_measure] */
void eval_run_values(double *value, const struct eval_run *run, const struct eval_scores *s,
                     const struct eval_scores *full);

#endif
