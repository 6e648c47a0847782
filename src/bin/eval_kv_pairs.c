/* Key-value retrieval: many lines "name: number", and the number of one of them.
 *
 * The wrong answers are numbers of other lines, so a policy that keeps some line does not look as
 * if it kept the right one. Source: Liu et al. 2023, "Lost in the middle" (key-value retrieval). */
#include "bin/eval_kv_tasks.h"
#include "bin/eval_kv_words.h"

enum { ITEMS, PAIRS, ASKS, N_OPTION };
enum { N_CHOICE = 9, DIGITS = 5 };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "8", 1, 100000, "lists" },
    { "pairs", "LINES", "64", N_CHOICE, 512, "lines of a list" },
    { "asks", "N", "4", 1, 64, "lines asked of each list, evenly spaced" },
};

struct list {
    uint32_t n;
    uint32_t name[512], number[512];
};

static void list_draw(struct list *l, uint32_t n, struct rng *rng)
{
    l->n = n;
    eval_draw(l->name, n, EVAL_NAMES, rng);
    eval_numbers(l->number, n, DIGITS, rng);
}

static void add_list(struct eval_cases *out, const struct eval_task_in *in, const struct list *l)
{
    struct ids context = { 0 };
    char name[32];
    ids_add_all(&context, in->prose->bos.id, in->prose->bos.n);
    eval_tokensf(&context, in->model, "A list of names, each with its number:");
    for (uint32_t i = 0; i < l->n; i++) {
        eval_name(name, l->name[i]);
        eval_tokensf(&context, in->model, "\n%s: %u", name, l->number[i]);
    }
    eval_cases_add_context(out, &context);
    ids_close(&context);
}

static void add_number(struct eval_cases *out, const struct eval_task_in *in,
                       const struct ids *question, uint32_t number)
{
    struct ids answer = { 0 };
    eval_tokensf(&answer, in->model, " %u", number);
    eval_cases_add_tail(out, question, &answer);
    ids_close(&answer);
}

/* Asks for line i: the others are drawn from all lines but that one. */
static void ask(struct eval_cases *out, const struct eval_task_in *in, const struct list *l,
                uint32_t i, struct rng *rng)
{
    struct ids question = { 0 };
    uint32_t other[N_CHOICE - 1];
    char name[32];
    eval_name(name, l->name[i]);
    eval_tokensf(&question, in->model, "\n\nOne of the names again, with its number:\n%s:", name);
    eval_cases_add(out, 0, 100 * i / l->n);
    add_number(out, in, &question, l->number[i]);
    eval_draw(other, N_CHOICE - 1, l->n - 1, rng);
    for (int k = 0; k < N_CHOICE - 1; k++)
        add_number(out, in, &question, l->number[(i + 1 + other[k]) % l->n]);
    ids_close(&question);
}

static enum status pairs_make(struct eval_cases *out, const struct eval_task_in *in,
                              struct note *why)
{
    const uint32_t n = in->option[PAIRS].x[0], n_ask = in->option[ASKS].x[0];
    struct rng rng = rng_seeded(in->seed, 2);
    struct list list;
    (void)why;
    for (uint32_t i = 0; i < in->option[ITEMS].x[0]; i++) {
        list_draw(&list, n, &rng);
        add_list(out, in, &list);
        for (uint32_t k = 0; k < n_ask; k++)
            ask(out, in, &list, (2 * k + 1) * n / (2 * n_ask), &rng);
    }
    return OK;
}

const struct eval_task eval_task_pairs = {
    .name = "pairs",
    .summary = "the number of one name in a list of many, the right one of nine, and exactly",
    .source = "Liu et al. 2023 (Lost in the middle)",
    .option = options,
    .n_option = N_OPTION,
    .measure = eval_answer_measures,
    .n_measure = 3,
    .n_top = 1,
    .make = pairs_make,
    .value = eval_answer_value,
};
