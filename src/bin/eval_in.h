/* bin/eval_in.h - what the measures of `akvifer eval` share: the verb's options, and a measure a
 * file.
 *
 *   eval.c --"perplexity"--> eval.c    --"logprobs"--> eval_logprobs.c    --"kv"--> eval_kv.c */
#ifndef BIN_EVAL_IN_H
#define BIN_EVAL_IN_H

#include "bin/engine_flags.h"
#include "bin/verbs.h"

struct eval_options {
    struct engine_flags engine;
    const char *file;
    int64_t n_chunk, n_top;
    bool exact;
    const char *tasks, *policies, *budgets, *texts, *data, *json, *plot; // of kv
    int64_t n_item;
    uint64_t seed;
    bool controls;
};

/* Log-probabilities of the ids on standard input. Gives the exit status. */
int eval_logprobs(const struct eval_options *o, akv_engine *engine);

/* Tasks x policies x budgets: opens the engine itself, once it knows what is wanted. Gives the exit
 * status. */
int eval_kv(const struct eval_options *o);

#endif
