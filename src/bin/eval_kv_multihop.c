/* Questions that need two or more paragraphs, asked when the paragraphs have been pruned.
 *
 *   passages, lower-cased as the data has them | pruned | Question: .. Answer: -> " exeter college"
 *
 * Only questions whose answer stands word for word in a passage are asked (103 of 150). The right
 * answer among four: the wrong ones are answers of other questions. Source: data/musique-rag
 * (Trivedi et al. 2022, MuSiQue; the cut of CacheBlend). */
#include <ctype.h>
#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "bin/eval_kv_tasks.h"
#include "bin/unpack.h"

enum { ITEMS, PASSAGES, N_OPTION };
enum { N_CHOICE = 4 };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "8", 1, 103, "questions" },
    { "passages", "N", "10", 1, 10, "passages of each, those with the answer first to be taken" },
};

static enum status read_questions(json_t **out, const char *folder, struct note *why)
{
    struct buf text = { 0 };
    enum status st = unpack_path(folder, "musique_s.json", &text, why);
    if (st == OK)
        st = json_from_text(out, buf_text(&text), text.len, why);
    buf_close(&text);
    return st;
}

/* The answer in the letters of the passages. */
static void lower(char out[128], const json_t *question)
{
    const char *text = json_string_value(json_array_get(json_object_get(question, "answers"), 0));
    size_t n = 0;
    for (; text && text[n] && n < 127; n++)
        out[n] = (char)tolower((unsigned char)text[n]);
    out[n] = 0;
}

static const char *passage(const json_t *question, uint32_t i)
{
    const json_t *one = json_array_get(json_object_get(question, "ctxs"), i);
    const char *text = json_string_value(json_object_get(one, "text"));
    return text ? text : "";
}

static uint32_t n_passage(const json_t *question)
{
    return (uint32_t)json_array_size(json_object_get(question, "ctxs"));
}

static bool can_be_asked(const json_t *question)
{
    char answer[128];
    lower(answer, question);
    for (uint32_t i = 0; answer[0] && i < n_passage(question); i++)
        if (strstr(passage(question, i), answer))
            return true;
    return false;
}

/* Up to n_most passages in their order: those with the answer, then others from the first on. */
static void add_passages(struct eval_cases *out, const struct eval_task_in *in,
                         const json_t *question)
{
    char answer[128];
    struct ids context = { 0 };
    const uint32_t n = n_passage(question), n_most = in->option[PASSAGES].x[0];
    uint32_t n_with = 0, n_left;
    lower(answer, question);
    for (uint32_t i = 0; i < n; i++)
        n_with += strstr(passage(question, i), answer) != NULL;
    n_left = n_most > n_with ? n_most - n_with : 0;
    if (n_with > n_most)
        n_with = n_most;
    ids_add_all(&context, in->prose->bos.id, in->prose->bos.n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *of = strstr(passage(question, i), answer) ? &n_with : &n_left;
        if (*of == 0)
            continue;
        --*of;
        eval_tokensf(&context, in->model, "%s%s", context.n ? "\n\n" : "", passage(question, i));
    }
    eval_cases_add_context(out, &context);
    ids_close(&context);
}

static bool is_new(char choice[N_CHOICE][128], uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(choice[i], choice[n]) == 0)
            return false;
    return choice[n][0] != 0;
}

static void ask(struct eval_cases *out, const struct eval_task_in *in, const json_t *all,
                const json_t *question, struct rng *rng)
{
    char choice[N_CHOICE][128];
    struct ids given = { 0 };
    uint32_t n = 1;
    const char *text = json_string_value(json_object_get(question, "question"));
    lower(choice[0], question);
    for (int attempt = 0; n < N_CHOICE && attempt < 1000; attempt++) {
        lower(choice[n], json_array_get(all, rng_below(rng, (uint32_t)json_array_size(all))));
        n += is_new(choice, n);
    }
    eval_tokensf(&given, in->model, "\n\nQuestion: %s\nAnswer:", text ? text : "");
    eval_cases_add(out, 0, 100);
    for (uint32_t i = 0; i < n; i++) {
        struct ids answer = { 0 };
        eval_tokensf(&answer, in->model, " %s", choice[i]);
        eval_cases_add_tail(out, &given, &answer);
        ids_close(&answer);
    }
    ids_close(&given);
}

static enum status multihop_make(struct eval_cases *out, const struct eval_task_in *in,
                                 struct note *why)
{
    json_t *all, *question;
    struct buf folder = { 0 };
    struct rng rng = rng_seeded(in->seed, 4);
    uint32_t n = 0;
    size_t i;
    buf_addf(&folder, "%s/musique-rag", in->data ? in->data : "data");
    enum status st = read_questions(&all, buf_text(&folder), why);
    buf_close(&folder);
    if (st != OK)
        return st;
    if (json_array_size(all) < 2 * N_CHOICE) {
        note_set(why, "musique_s.json is no array of questions");
        json_decref(all);
        return BAD_INPUT;
    }
    json_array_foreach(all, i, question) if (n < in->option[ITEMS].x[0] && can_be_asked(question))
    {
        add_passages(out, in, question);
        ask(out, in, all, question, &rng);
        n++;
    }
    json_decref(all);
    return OK;
}

const struct eval_task eval_task_multihop = {
    .name = "multihop",
    .summary = "questions over several paragraphs, the right answer of four",
    .source = "MuSiQue (Trivedi et al. 2022) as data/musique-rag",
    .option = options,
    .n_option = N_OPTION,
    .measure = eval_answer_measures,
    .n_measure = 3,
    .n_top = 1,
    .make = multihop_make,
    .value = eval_answer_value,
};
