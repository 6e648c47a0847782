/* Few-shot classification by likelihood: words of four groups, each group with a label that means nothing, pruned
 * behind the last; then a word that was not there, and which of the four labels it gets.
 *
 *   Word: Poland     Label: gold                                     x shots, in random order, then pruned
 *   Word: dentist    Label: pink
 *   ..
 *   Word: Sweden     Label:  -> " gold", and not " pink", " blue", " gray"
 *
 * Which label belongs to which group stands in the shots and nowhere else, so who forgets them has to guess: nothing
 * that a model knows helps. Groups are countries, adjectives, verbs, animals, languages and trades. Form: Brown et al.
 * 2020 (few-shot by likelihood); labels without a meaning: Wei et al. 2023, "Larger language models do in-context
 * learning differently". */
#include "bin/eval_kv_tasks.h"
#include "bin/eval_kv_words.h"

enum { ITEMS, SHOTS, ASKS, N_OPTION };
enum { GROUPS = 4, LABELS = 8, SHOTS_MAX = 64 };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "24", 1, 100000, "sets of shots" },
    { "shots", "N", "32", 4, SHOTS_MAX, "labelled words in the context" },
    { "asks", "N", "4", 1, 8, "words behind each set" },
};

static const char *const labels[LABELS] = { "red",  "blue", "green", "black",
                                            "gold", "pink", "gray",  "white" };

/* The words of each relation that are of one kind (0: the first of a pair). */
static const uint32_t kind[EVAL_RELATIONS] = { 0, 0, 0, 0, 1, 1 };

struct labelled {
    uint32_t group[GROUPS];            // relations
    uint32_t label[GROUPS];            // of each
    uint32_t word[GROUPS][EVAL_PAIRS]; // in the order in which they are taken
    uint32_t n_word[GROUPS];           // taken
};

static void draw(struct labelled *l, struct rng *rng)
{
    eval_draw(l->group, GROUPS, EVAL_RELATIONS, rng);
    eval_draw(l->label, GROUPS, LABELS, rng);
    for (uint32_t g = 0; g < GROUPS; g++) {
        eval_draw(l->word[g], EVAL_PAIRS, EVAL_PAIRS, rng);
        l->n_word[g] = 0;
    }
}

/* The next word of a group. */
static void add_word(struct buf *out, struct labelled *l, uint32_t g)
{
    const uint32_t r = l->group[g];
    buf_addf(out, "Word: %s\nLabel:", eval_relations[r].pair[l->word[g][l->n_word[g]++]][kind[r]]);
}

/* As many of each group as of the others, in random order. */
static void add_shots(struct eval_cases *out, const struct eval_task_in *in, struct labelled *l,
                      struct rng *rng)
{
    uint32_t order[SHOTS_MAX];
    struct buf text = { 0 };
    struct ids context = { 0 };
    const uint32_t n = in->option[SHOTS].x[0];
    eval_draw(order, n, n, rng);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t g = order[i] % GROUPS;
        buf_add_text(&text, i ? "\n\n" : "");
        add_word(&text, l, g);
        buf_addf(&text, " %s", labels[l->label[g]]);
    }
    eval_tokens(&context, in->model, buf_text(&text), text.len, true);
    context.failed |= text.failed;
    eval_cases_add_context(out, &context);
    ids_close(&context);
    buf_close(&text);
}

static void ask(struct eval_cases *out, const struct eval_task_in *in, struct labelled *l,
                uint32_t g)
{
    struct buf text = { 0 };
    struct ids given = { 0 };
    buf_add_text(&text, "\n\n");
    add_word(&text, l, g);
    eval_tokens(&given, in->model, buf_text(&text), text.len, false);
    given.failed |= text.failed;
    eval_cases_add(out, 0, 100);
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct ids answer = { 0 };
        eval_tokensf(&answer, in->model, " %s", labels[l->label[(g + i) % GROUPS]]);
        eval_cases_add_tail(out, &given, &answer);
        ids_close(&answer);
    }
    ids_close(&given);
    buf_close(&text);
}

static enum status labels_make(struct eval_cases *out, const struct eval_task_in *in,
                               struct note *why)
{
    struct rng rng = rng_seeded(in->seed, 7);
    struct labelled l;
    (void)why;
    for (uint32_t i = 0; i < in->option[ITEMS].x[0]; i++) {
        draw(&l, &rng);
        add_shots(out, in, &l, &rng);
        for (uint32_t k = 0; k < in->option[ASKS].x[0]; k++)
            ask(out, in, &l, rng_below(&rng, GROUPS));
    }
    return OK;
}

const struct eval_task eval_task_labels = {
    .name = "labels",
    .summary = "words of four groups with labels, then one of the labels by likelihood",
    .source = "made here; Brown et al. 2020 (the form), Wei et al. 2023 (labels without a meaning)",
    .option = options,
    .n_option = N_OPTION,
    .measure = eval_answer_measures,
    .n_measure = 3,
    .n_top = 1,
    .make = labels_make,
    .value = eval_answer_value,
};
