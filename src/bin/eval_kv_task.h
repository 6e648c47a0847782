/* bin/eval_kv_task.h - a task of `akvifer eval kv`: a file that makes cases and says what an answer
 * is worth.
 *
 *   options, texts, seed --make--> cases --under each policy--> scores --value--> values of a case
 *                                                                                    |
 *                    a table row: the mean over cases, and its 95 % interval <-------+
 *
 *     static const struct eval_measure measures[] = { { "choice", EVAL_PERCENT, "..." } };
 *     const struct eval_task eval_task_pairs = { .name = "pairs", .make = pairs_make, ... };
 *
 * and a line in eval_kv_tasks.c. docs/EVAL-KV.md leads through it.
 *
 * E1  The same options, texts, model and seed give the same cases, on any machine.
 * E2  A measure looks at nothing but what it is given. */
#ifndef BIN_EVAL_KV_TASK_H
#define BIN_EVAL_KV_TASK_H

#include "bin/eval_kv_cases.h"
#include "bin/eval_kv_prose.h"

enum { EVAL_MEASURES = 4, EVAL_OPTIONS = 8, EVAL_LIST = 8 };

/* A whole number, or some: "256", "1024/2048". */
struct eval_list {
    uint32_t n;
    uint32_t x[EVAL_LIST];
};

/* The i-th, or the last where it has fewer. */
static inline uint32_t eval_list_at(const struct eval_list *l, uint32_t i)
{
    return l->x[i < l->n ? i : l->n - 1];
}

struct eval_task_option {
    const char *name, *unit;
    const char *preset; // as it would be typed
    uint32_t least, most;
    const char *help;
};

struct eval_task_in {
    const akv_model *model;
    uint64_t seed;
    const struct eval_prose *prose;
    const char *data;               // a folder, or NULL
    const struct eval_list *option; // [n_option] in the order of the task's
};

/* How the values of a measure become one figure. */
enum eval_kind {
    EVAL_PERCENT, // the mean, times 100
    EVAL_NUMBER,  // the mean
    EVAL_EXP,     // e to the mean: of a negative log-likelihood, the perplexity
    EVAL_RATIO,   // e to the mean difference to `full`
};

struct eval_measure {
    const char *name; // head of its column
    enum eval_kind kind;
    const char *help;
};

/* How one tail was predicted. */
struct eval_score {
    uint32_t n;                    // scored tokens
    const int32_t *id;             // [n]
    const float *logprob;          // [n]
    const struct akv_logprob *top; // [n][n_top], best first
    uint32_t n_top;
};

/* How a case was: under the policy, and under `full`. */
struct eval_answer {
    uint32_t n_tail;
    const struct eval_score *tail, *full; // [n_tail]
};

struct eval_task {
    const char *name;
    const char *summary;                   // what it measures, in a line
    const char *source;                    // where the idea and the texts come from
    const struct eval_task_option *option; // [n_option], the first is "items"
    uint32_t n_option;
    const struct eval_measure *measure; // [n_measure]
    uint32_t n_measure;
    uint32_t n_top;     // best tokens that its measures look at
    uint32_t n_picture; // 1 + index of the measure drawn by depth and length; 0: no such picture

    /* BAD_INPUT, NOT_FOUND: an option or the data does not do; the note says which. */
    enum status (*make)(struct eval_cases *out, const struct eval_task_in *in, struct note *why);
    void (*value)(const struct eval_answer *a, double value[EVAL_MEASURES]);
};

/* All tasks, in the order of the help. */
extern const struct eval_task *const eval_tasks[];
extern const uint32_t n_eval_task;

/* ---- what measures are made of ---- */

double eval_mean_logprob(const struct eval_score *s);
/* 1: tail 0 is likelier a token than every other; else 0. */
double eval_chosen(const struct eval_answer *a);
/* 1: each token is the likeliest, so that a greedy answer would be the same; else 0. */
double eval_greedy(const struct eval_score *s);

/* choice, exact and logprob: of tasks with a right answer among wrong ones. */
extern const struct eval_measure eval_answer_measures[3];
void eval_answer_value(const struct eval_answer *a, double value[EVAL_MEASURES]);

#endif
