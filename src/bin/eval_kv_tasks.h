/* bin/eval_kv_tasks.h - the tasks by name: a line for each file. */
#ifndef BIN_EVAL_KV_TASKS_H
#define BIN_EVAL_KV_TASKS_H

#include "bin/eval_kv_task.h"

extern const struct eval_task eval_task_book, eval_task_agree, eval_task_needle, eval_task_pairs,
    eval_task_choice, eval_task_labels, eval_task_dialogue, eval_task_multihop;

/* Passages of the texts as cases of one tail each: n_context tokens, one given, n_tail scored.
 * BAD_INPUT: the texts have not so many. */
must_use enum status eval_passages(struct eval_cases *out, const struct eval_prose *p,
                                   uint64_t seed, uint32_t n_item, uint32_t n_context,
                                   uint32_t n_tail, struct note *why);

#endif
