/* bin/eval_kv_choose.h - what the flags of `akvifer eval kv` name: tasks with options, policies
 * times budgets.
 *
 *   --tasks "needle:lengths=1024/2048,items=16/12,book"    needle with two options, and book
 *   --policies "auto,h2o:recent=64,sinks=4"                auto, and h2o with two options
 *
 * A piece with '=' and without ':' belongs to the piece before it. */
#ifndef BIN_EVAL_KV_CHOOSE_H
#define BIN_EVAL_KV_CHOOSE_H

#include "bin/eval_kv_task.h"

enum { EVAL_PIECES = 32, EVAL_PIECE = 192, EVAL_POLICIES = 256 };

struct eval_pieces {
    char text[EVAL_PIECES][EVAL_PIECE];
    uint32_t n;
};

/* BAD_INPUT: a piece is empty or too long, or there are too many. */
must_use enum status eval_split(struct eval_pieces *out, const char *list, struct note *why);

struct eval_task_choice {
    const struct eval_task *task;
    struct eval_list option[EVAL_OPTIONS];
};

/* "needle:lengths=1024/2048"; n_item not 0: instead of the preset of items. BAD_INPUT: no such task
 * or option, or a value out of its bounds; the note says what there is. */
must_use enum status eval_task_choose(struct eval_task_choice *out, const char *text,
                                      uint32_t n_item, struct note *why);

struct eval_policy {
    char text[EVAL_PIECE + 32]; // what the engine is told
    char name[EVAL_PIECE];      // as given
    char budget[24];            // "": it has its own, or needs none
};

struct eval_policies {
    struct eval_policy policy[EVAL_POLICIES];
    uint32_t n;
};

/* full first, then each policy under each budget, then the controls that were not named. BAD_INPUT:
 * one is no policy, or has no such option. */
must_use enum status eval_policies_choose(struct eval_policies *out, const char *policies,
                                          const char *budgets, bool controls, struct note *why);

/* All tasks with their options, for people. */
void eval_tasks_print(struct buf *out);

#endif
