/* Log-probabilities of given ids: a line of them for each line, as bin/lines.h says.
 *
 *   {"ids": [504, 3575, 282, 4649], "context": 2}
 *                    -->  {"next": [null, -3.1, -0.2], "top": [[], [[..]], ..]}
 *
 * Without "context" a policy judges on its own schedule while the line is fed: at its blocks, if it has a `block`, as
 * while a server reads a prompt; else as while it writes an answer that follows the first id.
 * "question": n says that of the ids behind the context n are what is asked: policies that look for it read no further,
 * and those that select read it whole.
 * Lines of one context share one pruned state of it, and only one of them computes what is inside:
 * so rows before the last of a context are null in all. */
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/words.h"
#include "bin/eval_in.h"
#include "bin/lines.h"
#include "bin/progress.h"
#include "bin/score.h"

static void add_number(struct buf *out, float x, bool exact)
{
    if (exact)
        buf_addf(out, "\"%a\"", (double)x);
    else
        buf_addf(out, "%.6f", (double)x);
}

static void add_top(struct buf *out, const struct akv_logprob *top, uint32_t n_top, bool exact)
{
    buf_add_byte(out, '[');
    for (uint32_t j = 0; j < n_top; j++) {
        buf_addf(out, "%s[%d, ", j ? ", " : "", top[j].id);
        add_number(out, top[j].logprob, exact);
        buf_add_byte(out, ']');
    }
    buf_add_byte(out, ']');
}

static void add_scored(struct buf *out, const struct scored *s, uint32_t n_top, bool exact)
{
    buf_add_text(out, "{\"next\": [");
    for (uint32_t i = 0; i + 1 < s->n; i++) {
        buf_add_text(out, i ? ", " : "");
        if (i < scored_first(s))
            buf_add_text(out, "null");
        else
            add_number(out, s->next[i], exact);
    }
    buf_add_text(out, "], \"top\": [");
    for (uint32_t i = 0; i < s->n; i++) {
        buf_add_text(out, i ? ", " : "");
        add_top(out, s->top + (size_t)i * n_top, i < scored_first(s) ? 0 : n_top, exact);
    }
    buf_add_text(out, "]}");
}

struct logprobs {
    const struct eval_options *o;
    struct line_reader in;
    struct ids ids;
    struct buf out;
    enum status read; // IO_ERROR, FULL: the input ended with this, for the reason in read_why
    struct note read_why;
    int exit_code;
};

/* "context" or "question" of a line that has n_id ids `where` they are counted; 0 where it has none. */
static enum status read_count(const json_t *line, const char *name, size_t n_id, const char *where,
                              uint32_t *out, struct note *why)
{
    const json_t *count = json_object_get(line, name);
    const json_int_t n = json_integer_value(count);
    *out = 0;
    if (!count)
        return OK;
    if (!json_is_integer(count) || n < 1 || (uint64_t)n > n_id) {
        struct buf value = { 0 };
        json_to_text(count, &value);
        if (n_id == 0)
            note_set(why, "\"%s\" is %.40s, but no ids are %s", name, buf_text(&value), where);
        else
            note_set(why,
                     "\"%s\" is %.40s; it must be a whole number from 1 to %zu, as so many ids "
                     "are %s",
                     name, buf_text(&value), n_id, where);
        buf_close(&value);
        return BAD_INPUT;
    }
    *out = (uint32_t)n;
    return OK;
}

/* What of a line of n_id ids is context, and how much of the rest is the question. */
static enum status read_counts(const json_t *line, size_t n_id, uint32_t *n_context,
                               uint32_t *n_question, struct note *why)
{
    const enum status st = read_count(line, "context", n_id, "in the line", n_context, why);
    if (st != OK)
        return st;
    if (*n_context == 0 && json_object_get(line, "question")) {
        note_set(why, "\"question\" is of ids behind a \"context\", which the line does not have");
        return BAD_INPUT;
    }
    return read_count(line, "question", n_id - *n_context, "behind the context", n_question, why);
}

/* BAD_INPUT: a member that means nothing. */
static enum status check_members(json_t *line, struct note *why)
{
    static const char *const known[] = { "ids", "context", "question" };
    const char *name;
    json_t *value;
    json_object_foreach(line, name, value)
    {
        struct nearest near = { .typed = name };
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            is_known |= strcmp(name, known[i]) == 0;
            nearest_try(&near, known[i], strlen(known[i]));
        }
        if (is_known)
            continue;
        note_set(
            why,
            "a line has no member \"%.40s\"%s%s%s; it has \"ids\", \"context\" and \"question\"",
            name, near.best ? " (did you mean \"" : "", near.best ? near.best : "",
            near.best ? "\"?)" : "");
        return BAD_INPUT;
    }
    return OK;
}

/* The ids of the next line. */
static enum status next_line(void *arg, struct score_ids *out, struct note *why)
{
    struct logprobs *l = arg;
    const char *line;
    size_t len;
    json_t *value = NULL;
    uint32_t n_context = 0, n_question = 0;
    l->read = line_next(&l->in, &line, &len, &l->read_why);
    if (l->read != OK)
        return NOT_FOUND;
    l->ids.n = 0;
    l->ids.failed = false;
    enum status st = json_from_text(&value, line, len, why);
    if (st == OK)
        st = check_members(value, why);
    if (st == OK)
        st = read_json_ids(value, &l->ids, why);
    if (st == OK)
        st = read_counts(value, l->ids.n, &n_context, &n_question, why);
    json_decref(value);
    *out = (struct score_ids){
        .id = l->ids.id,
        .n = (uint32_t)l->ids.n,
        .label = l->in.number,
        .n_context = n_context,
        .n_question = n_question,
    };
    return st;
}

static enum status answer_line(void *arg, const struct scored *s, struct note *why)
{
    struct logprobs *l = arg;
    buf_clear(&l->out);
    if (s->status == OK) {
        add_scored(&l->out, s, (uint32_t)l->o->n_top, l->o->exact);
    } else {
        struct note told = s->why;
        line_error(&l->out, &told);
        note_prefix(&told, "line %llu", (unsigned long long)s->label);
        l->exit_code = verb_fails(&flags_of_eval, &told);
    }
    return line_write(&l->out, why);
}

/* A line of log-probabilities for each line of ids, also where a line is wrong. */
int eval_logprobs(const struct eval_options *o, akv_engine *engine)
{
    struct logprobs l = { .o = o, .in.fd = STDIN_FILENO };
    struct note why = { "" };
    struct progress bar;
    const struct score_job job = {
        .next = next_line,
        .take = answer_line,
        .arg = &l,
        .n_top = (uint32_t)o->n_top,
        .n_slot = 2 * (uint32_t)o->engine.n_parallel,
        .progress = isatty(STDOUT_FILENO) ? NULL : &bar, // its lines show how far it is
    };
    progress_begin(&bar, "logprobs", PROGRESS_COUNT, 0, 0);
    enum status st = score_all(engine, &job, &why);
    progress_end(&bar);
    if (st == OK && l.read != NOT_FOUND) {
        st = l.read;
        why = l.read_why;
    }
    buf_close(&l.in.in);
    buf_close(&l.out);
    ids_close(&l.ids);
    return st == OK ? l.exit_code : verb_fails(&flags_of_eval, &why);
}
