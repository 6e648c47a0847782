/* Agreement with `full` on the passages of `book`: which token is the likeliest, and how far the
 * distributions are apart.
 *
 * The KL is over nine outcomes, as in the golden data of this program: the best eight tokens of
 * full, and any other. */
#include "bin/eval_kv_stats.h"
#include "bin/eval_kv_tasks.h"

enum { ITEMS, CONTEXT, TAIL, N_OPTION };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "4", 1, 100000, "passages, which do not overlap" },
    { "context", "TOKENS", "1536", 1, 1 << 20, "tokens of a passage that the policy prunes" },
    { "tail", "TOKENS", "512", 1, 1 << 20, "tokens behind it that are compared" },
};

static const struct eval_measure measures[] = {
    { "top-1", EVAL_PERCENT, "Positions with the same likeliest token as under full." },
    { "KL", EVAL_NUMBER, "KL(full || policy) in nats over nine outcomes, a lower bound." },
};

static enum status agree_make(struct eval_cases *out, const struct eval_task_in *in,
                              struct note *why)
{
    return eval_passages(out, in->prose, in->seed, in->option[ITEMS].x[0], in->option[CONTEXT].x[0],
                         in->option[TAIL].x[0], why);
}

static void agree_value(const struct eval_answer *a, double value[EVAL_MEASURES])
{
    const struct eval_score *s = &a->tail[0], *full = &a->full[0];
    double n_same = 0, kl = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct akv_logprob *top = s->top + (size_t)i * s->n_top,
                                 *full_top = full->top + (size_t)i * s->n_top;
        n_same += top->id == full_top->id;
        kl += eval_kl(full_top, top, s->n_top);
    }
    value[0] = n_same / s->n;
    value[1] = kl / s->n;
}

const struct eval_task eval_task_agree = {
    .name = "agree",
    .summary = "likeliest token and distribution beside those of full, on the same passages",
    .source = "KL as llama.cpp's perplexity tool reports it, over fewer outcomes",
    .option = options,
    .n_option = N_OPTION,
    .measure = measures,
    .n_measure = 2,
    .n_top = 64,
    .make = agree_make,
    .value = agree_value,
};
