/* One fact in prose, asked for when the prose has been pruned: is it there, and is it exact?
 *
 *   prose .. . The special magic number for amber falcon is 7359108. .. | What is the special ..
 *            ^ the sentence nearest to the depth                  pruned ^           -> " 7359108"
 *
 * The right number among nine by likelihood, and whether a greedy answer would be the number. A
 * length holds all: context, question and answer. Source: Kamradt 2023, "Needle in a haystack"; the
 * wording is that of Hsieh et al. 2024 (RULER). */
#include <stdlib.h>

#include "bin/eval_kv_tasks.h"
#include "bin/eval_kv_words.h"

enum { ITEMS, LENGTHS, DEPTHS, N_OPTION };
enum { N_NUMBER = 9, DIGITS = 7, N_CUT = 1024 };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "5", 1, 100000, "needles of each length" },
    { "lengths", "TOKENS", "1024/2048/4096/8192", 128, 1 << 20, "context, question and answer" },
    { "depths", "N", "5", 1, 20, "depths, evenly spaced; needles take them in turn" },
};

/* The sentence nearest to `at`. */
static uint32_t nearest_cut(const uint32_t *cut, uint32_t n, uint32_t at)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (abs((int)cut[i] - (int)at) < abs((int)cut[best] - (int)at))
            best = i;
    return n ? cut[best] : at;
}

struct needle {
    struct ids fact, question;
    struct ids answer[N_NUMBER]; // the first is right
};

static void needle_open(struct needle *nd, const akv_model *model, struct rng *rng)
{
    char name[32];
    uint32_t number[N_NUMBER];
    *nd = (struct needle){ 0 };
    eval_name(name, rng_below(rng, EVAL_NAMES));
    eval_numbers(number, N_NUMBER, DIGITS, rng);
    eval_tokensf(&nd->fact, model, " The special magic number for %s is %u.", name, number[0]);
    eval_tokensf(
        &nd->question, model,
        "\n\nWhat is the special magic number for %s mentioned in the text? The special magic "
        "number for %s mentioned in the text is",
        name, name);
    for (int i = 0; i < N_NUMBER; i++)
        eval_tokensf(&nd->answer[i], model, " %u", number[i]);
}

static void needle_close(struct needle *nd)
{
    ids_close(&nd->fact);
    ids_close(&nd->question);
    for (int i = 0; i < N_NUMBER; i++)
        ids_close(&nd->answer[i]);
}

static size_t longest_answer(const struct needle *nd)
{
    size_t n = 0;
    for (int i = 0; i < N_NUMBER; i++)
        if (nd->answer[i].n > n)
            n = nd->answer[i].n;
    return n;
}

/* Prose with the fact in it. */
static void bury(struct ids *out, const struct needle *nd, const struct eval_prose *p,
                 uint32_t n_prose, uint32_t percent, struct rng *rng)
{
    struct ids prose = { 0 };
    uint32_t cut[N_CUT];
    const uint32_t n_cut = eval_prose_take(p, n_prose, rng, &prose, cut, N_CUT),
                   at = nearest_cut(cut, n_cut, (uint32_t)((uint64_t)n_prose * percent / 100));
    if (!prose.failed) {
        ids_add_all(out, p->bos.id, p->bos.n);
        ids_add_all(out, prose.id, at);
        ids_add_all(out, nd->fact.id, nd->fact.n);
        ids_add_all(out, prose.id + at, prose.n - at);
    }
    out->failed |= prose.failed;
    ids_close(&prose);
}

static void add_needle(struct eval_cases *out, const struct eval_task_in *in, uint32_t length,
                       uint32_t percent, struct rng *rng)
{
    struct needle nd;
    struct ids context = { 0 };
    needle_open(&nd, in->model, rng);
    const size_t n_other = in->prose->bos.n + nd.fact.n + nd.question.n + longest_answer(&nd);
    bury(&context, &nd, in->prose, length > n_other ? length - (uint32_t)n_other : 0, percent, rng);
    eval_cases_add_context(out, &context);
    eval_cases_add(out, length, percent);
    for (int i = 0; i < N_NUMBER; i++)
        eval_cases_add_tail(out, &nd.question, &nd.answer[i]);
    ids_close(&context);
    needle_close(&nd);
}

static enum status needle_make(struct eval_cases *out, const struct eval_task_in *in,
                               struct note *why)
{
    const struct eval_list *length = &in->option[LENGTHS];
    const uint32_t n_depth = in->option[DEPTHS].x[0];
    (void)why;
    for (uint32_t l = 0; l < length->n; l++) {
        struct rng rng = rng_seeded(in->seed, 100 + length->x[l]);
        for (uint32_t i = 0; i < eval_list_at(&in->option[ITEMS], l); i++)
            add_needle(out, in, length->x[l], (2 * (i % n_depth) + 1) * 50 / n_depth, &rng);
    }
    return OK;
}

const struct eval_task eval_task_needle = {
    .name = "needle",
    .summary = "one number in prose: the right one of nine, and exactly",
    .source = "Kamradt 2023 (needle in a haystack); Hsieh et al. 2024 (RULER)",
    .option = options,
    .n_option = N_OPTION,
    .measure = eval_answer_measures,
    .n_measure = 3,
    .n_top = 1,
    .n_picture = 2,
    .make = needle_make,
    .value = eval_answer_value,
};
