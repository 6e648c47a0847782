/* A long talk of many episodes, and questions about facts of each of them, asked when all of it is
 * past.
 *
 *   User: .. Assistant: .. (episode 0) | (episode 1) | ..  pruned | Question: .. ?  Answer: -> " .."
 *
 * The right answer among four: the wrong ones are answers of other conversations to the same slot
 * where there are any, else to another. The episodes of a conversation that fit `tokens` are its
 * context; questions are spread over its episodes. Source: data/sgd-longconv (built from Rastogi et
 * al. 2020, SGD), after Kim et al. 2025 (EpiCache). */
#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "bin/eval_kv_tasks.h"
#include "bin/eval_kv_words.h"
#include "bin/unpack.h"

enum { ITEMS, TOKENS, ASKS, FIRST, N_OPTION };
enum { N_CHOICE = 4, QUESTIONS_MAX = 512 };

static const struct eval_task_option options[N_OPTION] = {
    { "items", "N", "4", 1, 20, "conversations" },
    { "tokens", "TOKENS", "4096", 256, 1 << 20, "most tokens of a conversation" },
    { "asks", "N", "12", 1, 128, "questions about each, spread over its episodes" },
    { "first", "N", "0", 0, 19,
      "the conversation to begin with: others than a choice was made by" },
};

/* ---- the data ---- */

static enum status read_conversations(json_t **out, const char *folder, struct note *why)
{
    struct buf text = { 0 };
    json_t *all = json_array();
    enum status st = unpack_path(folder, "sgd_longconv.jsonl", &text, why);
    for (size_t at = 0; st == OK && at < text.len;) {
        const size_t len = strcspn(text.bytes + at, "\n");
        json_t *one = NULL;
        if (len > 0)
            st = json_from_text(&one, text.bytes + at, len, why);
        if (st == OK && len > 0 && json_array_append_new(all, one) != 0) {
            note_set(why, "no memory for the conversations");
            st = FULL;
        }
        at += len + 1;
    }
    buf_close(&text);
    if (st != OK)
        json_decref(all);
    else
        *out = all;
    return st;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static const char *answer_of(const json_t *qa)
{
    const char *text = json_string_value(json_array_get(json_object_get(qa, "a"), 0));
    return text ? text : "";
}

/* ---- the context ---- */

static void add_episode(struct buf *out, const json_t *episode)
{
    const json_t *turn;
    size_t i;
    json_array_foreach(json_object_get(episode, "turns"), i, turn)
        buf_addf(out, "%s: %s\n", strcmp(text_of(turn, "s"), "U") == 0 ? "User" : "Assistant",
                 text_of(turn, "x"));
    buf_add_byte(out, '\n');
}

/* Whole episodes up to n_token; returns how many. */
static uint32_t add_conversation(struct ids *out, const akv_model *model,
                                 const json_t *conversation, uint32_t n_token)
{
    const json_t *episodes = json_object_get(conversation, "episodes");
    uint32_t n = 0;
    for (; n < json_array_size(episodes); n++) {
        struct buf text = { 0 };
        struct ids ids = { 0 };
        add_episode(&text, json_array_get(episodes, n));
        eval_tokens(&ids, model, buf_text(&text), text.len, false);
        out->failed |= text.failed || ids.failed;
        const bool fits = out->n + ids.n <= n_token;
        if (fits && !ids.failed)
            ids_add_all(out, ids.id, ids.n);
        buf_close(&text);
        ids_close(&ids);
        if (!fits)
            break;
    }
    return n;
}

/* ---- questions ---- */

/* What another conversation answers: to the same slot where `same`; never what is taken already.
 * NULL: found none. */
static const char *other_answer(const json_t *all, const json_t *asked, bool same,
                                const char *const *taken, uint32_t n_taken, struct rng *rng)
{
    for (int attempt = 0; attempt < 400; attempt++) {
        const json_t *from = json_object_get(
            json_array_get(all, rng_below(rng, (uint32_t)json_array_size(all))), "qa");
        const size_t n = json_array_size(from);
        const json_t *qa = n ? json_array_get(from, rng_below(rng, (uint32_t)n)) : NULL;
        bool fits = qa && answer_of(qa)[0] &&
                    (!same || strcmp(text_of(qa, "slot"), text_of(asked, "slot")) == 0);
        for (uint32_t i = 0; fits && i < n_taken; i++)
            fits = strcasecmp(answer_of(qa), taken[i]) != 0;
        if (fits)
            return answer_of(qa);
    }
    return NULL;
}

static void ask(struct eval_cases *out, const struct eval_task_in *in, const json_t *all,
                const json_t *asked, uint32_t percent, struct rng *rng)
{
    const char *choice[N_CHOICE] = { answer_of(asked) };
    struct ids given = { 0 };
    uint32_t n = 1;
    for (; n < N_CHOICE; n++) {
        choice[n] = other_answer(all, asked, true, choice, n, rng);
        if (!choice[n])
            choice[n] = other_answer(all, asked, false, choice, n, rng);
        if (!choice[n])
            break;
    }
    eval_tokensf(&given, in->model, "Question: %s\nAnswer:", text_of(asked, "q"));
    eval_cases_add(out, 0, percent);
    for (uint32_t i = 0; i < n; i++) {
        struct ids answer = { 0 };
        eval_tokensf(&answer, in->model, " %s", choice[i]);
        eval_cases_add_tail(out, &given, &answer);
        ids_close(&answer);
    }
    ids_close(&given);
}

/* Questions about the first n_episode episodes, evenly spaced among all of them. */
static void ask_all(struct eval_cases *out, const struct eval_task_in *in, const json_t *all,
                    const json_t *conversation, uint32_t n_episode, struct rng *rng)
{
    const json_t *question[QUESTIONS_MAX], *qa;
    uint32_t n = 0;
    size_t i;
    json_array_foreach(json_object_get(conversation, "qa"), i,
                       qa) if (json_integer_value(json_object_get(qa, "e")) <
                                   (json_int_t)n_episode &&
                               answer_of(qa)[0] && n < QUESTIONS_MAX) question[n++] = qa;
    const uint32_t n_ask = in->option[ASKS].x[0] < n ? in->option[ASKS].x[0] : n;
    for (uint32_t k = 0; k < n_ask; k++) {
        const json_t *asked = question[(2 * k + 1) * n / (2 * n_ask)];
        const json_int_t e = json_integer_value(json_object_get(asked, "e"));
        ask(out, in, all, asked, (uint32_t)(100 * e / n_episode), rng);
    }
}

/* Each conversation with a generator of its own, so that it is the same beside any others. */
static enum status dialogue_make(struct eval_cases *out, const struct eval_task_in *in,
                                 struct note *why)
{
    json_t *all;
    struct buf folder = { 0 };
    buf_addf(&folder, "%s/sgd-longconv", in->data ? in->data : "data");
    enum status st = read_conversations(&all, buf_text(&folder), why);
    buf_close(&folder);
    if (st != OK)
        return st;
    const uint32_t first = in->option[FIRST].x[0], end = first + in->option[ITEMS].x[0];
    for (uint32_t i = first; i < end && i < json_array_size(all); i++) {
        struct rng rng = rng_seeded(in->seed, 1000 + i);
        struct ids context = { 0 };
        ids_add_all(&context, in->prose->bos.id, in->prose->bos.n);
        const uint32_t n_episode =
            add_conversation(&context, in->model, json_array_get(all, i), in->option[TOKENS].x[0]);
        if (n_episode > 0) {
            eval_cases_add_context(out, &context);
            ask_all(out, in, all, json_array_get(all, i), n_episode, &rng);
        }
        ids_close(&context);
    }
    json_decref(all);
    return OK;
}

const struct eval_task eval_task_dialogue = {
    .name = "dialogue",
    .summary = "facts of each episode of a long talk, the right answer of four",
    .source = "SGD (Rastogi et al. 2020) as data/sgd-longconv; Kim et al. 2025 (EpiCache)",
    .option = options,
    .n_option = N_OPTION,
    .measure = eval_answer_measures,
    .n_measure = 3,
    .n_top = 1,
    .make = dialogue_make,
    .value = eval_answer_value,
};
