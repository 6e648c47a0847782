/* Few-shot multiple choice by likelihood: answered questions, pruned behind the last, then one
 * without its answer.
 *
 *   Question: The capital of Peru is one of these: Oslo, Lima, Rome, Cairo. Which?
 *   Answer: The capital of Peru is Lima.                              x shots, then pruned
 *   Question: The capital of Italy is one of these: ...  -> " Rome", and not " Oslo", " Lima", ..
 *
 * The questions are made of six relations (capitals, opposites, past tenses, young animals,
 * languages, trades), 24 pairs each; the wrong answers are those of other pairs. Form: Brown et al.
 * 2020 (few-shot by likelihood). */
#include "bin/eval_kv_tasks.h"
#include "bin/eval_kv_words.h"

enum { ITEMS, SHOTS, ASKS, N_OPTION };
enum { N_CHOICE = 4 };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "24", 1, 100000, "sets of shots" },
    { "shots", "N", "16", 1, 16, "answered questions in the context" },
    { "asks", "N", "4", 1, 8, "questions behind each set" },
};

/* One question: pair[0] is asked, and choice[] are pairs in the order shown. */
struct question {
    const struct eval_relation *relation;
    uint32_t asked, choice[N_CHOICE];
};

static struct question question_draw(const struct eval_relation *r, uint32_t asked, struct rng *rng)
{
    struct question q = { .relation = r, .asked = asked };
    uint32_t other[N_CHOICE - 1], at = rng_below(rng, N_CHOICE);
    eval_draw(other, N_CHOICE - 1, EVAL_PAIRS - 1, rng);
    for (uint32_t i = 0, k = 0; i < N_CHOICE; i++)
        q.choice[i] = i == at ? asked : (asked + 1 + other[k++]) % EVAL_PAIRS;
    return q;
}

static void add_question(struct buf *out, const struct question *q)
{
    const struct eval_relation *r = q->relation;
    buf_addf(out, "Question: %s%s%s one of these:", r->before, r->pair[q->asked][0], r->between);
    for (uint32_t i = 0; i < N_CHOICE; i++)
        buf_addf(out, "%s %s", i ? "," : "", r->pair[q->choice[i]][1]);
    buf_addf(out, ". Which?\nAnswer: %s%s%s", r->before, r->pair[q->asked][0], r->between);
}

static void add_shots(struct eval_cases *out, const struct eval_task_in *in,
                      const struct eval_relation *r, const uint32_t *pair, struct rng *rng)
{
    struct buf text = { 0 };
    struct ids context = { 0 };
    for (uint32_t i = 0; i < in->option[SHOTS].x[0]; i++) {
        const struct question q = question_draw(r, pair[i], rng);
        buf_add_text(&text, i ? "\n\n" : "");
        add_question(&text, &q);
        buf_addf(&text, " %s.", r->pair[q.asked][1]);
    }
    eval_tokens(&context, in->model, buf_text(&text), text.len, true);
    context.failed |= text.failed;
    eval_cases_add_context(out, &context);
    ids_close(&context);
    buf_close(&text);
}

static void add_answer(struct eval_cases *out, const akv_model *model, const struct ids *given,
                       const char *word)
{
    struct ids answer = { 0 };
    eval_tokensf(&answer, model, " %s", word);
    eval_cases_add_tail(out, given, &answer);
    ids_close(&answer);
}

static void ask(struct eval_cases *out, const struct eval_task_in *in,
                const struct eval_relation *r, uint32_t pair, struct rng *rng)
{
    const struct question q = question_draw(r, pair, rng);
    struct buf text = { 0 };
    struct ids given = { 0 };
    buf_add_text(&text, "\n\n");
    add_question(&text, &q);
    eval_tokens(&given, in->model, buf_text(&text), text.len, false);
    given.failed |= text.failed;
    eval_cases_add(out, 0, 100);
    add_answer(out, in->model, &given, r->pair[pair][1]);
    for (uint32_t i = 0; i < N_CHOICE; i++)
        if (q.choice[i] != pair)
            add_answer(out, in->model, &given, r->pair[q.choice[i]][1]);
    ids_close(&given);
    buf_close(&text);
}

static enum status choice_make(struct eval_cases *out, const struct eval_task_in *in,
                               struct note *why)
{
    const uint32_t n_shot = in->option[SHOTS].x[0], n_ask = in->option[ASKS].x[0];
    struct rng rng = rng_seeded(in->seed, 3);
    uint32_t pair[EVAL_PAIRS];
    (void)why;
    for (uint32_t i = 0; i < in->option[ITEMS].x[0]; i++) {
        const struct eval_relation *r = &eval_relations[i % EVAL_RELATIONS];
        eval_draw(pair, n_shot + n_ask, EVAL_PAIRS, &rng);
        add_shots(out, in, r, pair, &rng);
        for (uint32_t k = 0; k < n_ask; k++)
            ask(out, in, r, pair[n_shot + k], &rng);
    }
    return OK;
}

const struct eval_task eval_task_choice = {
    .name = "choice",
    .summary = "answered questions, then one of four answers by likelihood",
    .source = "made here; Brown et al. 2020 (the form)",
    .option = options,
    .n_option = N_OPTION,
    .measure = eval_answer_measures,
    .n_measure = 3,
    .n_top = 1,
    .make = choice_make,
    .value = eval_answer_value,
};
