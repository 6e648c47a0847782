/* Long text: how much worse the model predicts the rest of a passage when its past was pruned.
 *
 * Source: the measure of Zhang et al. 2023 (H2O) and of most papers behind it, on PG-19-like prose
 * (Rae et al. 2019). */
#include "base/mem.h"
#include "bin/eval_kv_tasks.h"

enum { ITEMS, CONTEXT, TAIL, N_OPTION };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "8", 1, 100000, "passages, which do not overlap" },
    { "context", "TOKENS", "1536", 1, 1 << 20, "tokens of a passage that the policy prunes" },
    { "tail", "TOKENS", "512", 1, 1 << 20, "tokens behind it that are predicted" },
};

static const struct eval_measure measures[] = {
    { "ppl", EVAL_EXP, "Perplexity of the tail." },
    { "x full", EVAL_RATIO, "The same as a multiple of that under full." },
};

/* One passage: its context, one token that is given (C1), and the tail. */
static void add_passage(struct eval_cases *out, const struct eval_prose *p, size_t at,
                        uint32_t n_context, uint32_t n_tail)
{
    struct ids context = { 0 };
    ids_add_all(&context, p->bos.id, p->bos.n);
    ids_add_all(&context, p->ids.id + at, n_context - p->bos.n);
    at += n_context - p->bos.n;
    const struct ids given = { .id = p->ids.id + at, .n = 1 };
    const struct ids tail = { .id = p->ids.id + at + 1, .n = n_tail };
    eval_cases_add_context(out, &context);
    eval_cases_add(out, n_context, 100);
    eval_cases_add_tail(out, &given, &tail);
    ids_close(&context);
}

enum status eval_passages(struct eval_cases *out, const struct eval_prose *p, uint64_t seed,
                          uint32_t n_item, uint32_t n_context, uint32_t n_tail, struct note *why)
{
    struct rng rng = rng_seeded(seed, 1);
    size_t *place = mem_new(n_item, sizeof *place);
    if (!place || n_context <= p->bos.n) {
        mem_free(place);
        note_set(why, place ? "a context of %u tokens is too short" : "no memory for %u passages",
                 place ? n_context : n_item);
        return place ? BAD_INPUT : FULL;
    }
    const uint32_t n = n_context + 1 + n_tail,
                   n_place = eval_prose_places(p, n, &rng, place, n_item);
    for (uint32_t i = 0; i < n_place; i++)
        add_passage(out, p, place[i], n_context, n_tail);
    mem_free(place);
    if (n_place == n_item)
        return OK;
    note_set(why,
             "the texts have %u passages of %u tokens, and items asks for %u; --texts takes a "
             "folder with more",
             n_place, n, n_item);
    return BAD_INPUT;
}

static enum status book_make(struct eval_cases *out, const struct eval_task_in *in,
                             struct note *why)
{
    return eval_passages(out, in->prose, in->seed, in->option[ITEMS].x[0], in->option[CONTEXT].x[0],
                         in->option[TAIL].x[0], why);
}

static void book_value(const struct eval_answer *a, double value[EVAL_MEASURES])
{
    value[0] = -eval_mean_logprob(&a->tail[0]);
    value[1] = value[0] + eval_mean_logprob(&a->full[0]);
}

const struct eval_task eval_task_book = {
    .name = "book",
    .summary = "perplexity of the rest of a passage of a novel",
    .source = "Zhang et al. 2023 (H2O); Rae et al. 2019 (PG-19)",
    .option = options,
    .n_option = N_OPTION,
    .measure = measures,
    .n_measure = 2,
    .make = book_make,
    .value = book_value,
};
