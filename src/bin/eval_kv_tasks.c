/* The tasks there are, and the measures that several of them share. */
#include <math.h>

#include "bin/eval_kv_tasks.h"

const struct eval_task *const eval_tasks[] = {
    &eval_task_book,   &eval_task_agree,  &eval_task_needle,   &eval_task_pairs,
    &eval_task_choice, &eval_task_labels, &eval_task_dialogue, &eval_task_multihop,
};
const uint32_t n_eval_task = sizeof eval_tasks / sizeof *eval_tasks;

double eval_mean_logprob(const struct eval_score *s)
{
    double sum = 0;
    for (uint32_t i = 0; i < s->n; i++)
        sum += (double)s->logprob[i];
    return sum / s->n;
}

double eval_chosen(const struct eval_answer *a)
{
    const double right = eval_mean_logprob(&a->tail[0]);
    for (uint32_t i = 1; i < a->n_tail; i++)
        if (!(right > eval_mean_logprob(&a->tail[i])))
            return 0;
    return 1;
}

double eval_greedy(const struct eval_score *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->top[(size_t)i * s->n_top].id != s->id[i])
            return 0;
    return 1;
}

const struct eval_measure eval_answer_measures[3] = {
    { "choice", EVAL_PERCENT, "The right answer is the likeliest a token." },
    { "exact", EVAL_PERCENT, "Each token of the right answer is the likeliest." },
    { "logprob", EVAL_NUMBER, "Mean log-probability of a token of the right answer." },
};

void eval_answer_value(const struct eval_answer *a, double value[EVAL_MEASURES])
{
    value[0] = eval_chosen(a);
    value[1] = eval_greedy(&a->tail[0]);
    value[2] = eval_mean_logprob(&a->tail[0]);
}
