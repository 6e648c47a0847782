/* bin/eval.c - how well a model predicts: perplexity of a text, log-probabilities of given sequences. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "bin/engine_flags.h"
#include "bin/progress.h"
#include "bin/verbs.h"

struct eval_options {
    struct engine_flags engine;
    const char *file;
    int64_t n_chunk, n_top;
    bool exact;
};

static const struct flag rows[] = {
    ENGINE_FLAGS(eval_options, engine),
    PARALLEL_FLAG(eval_options, engine),
    { .names = "-f --file",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, file),
      .unit = "TEXT",
      .help = "Perplexity: the text to read." },
    { .names = "--ctx",
      .type = FLAG_INT,
      .at = FLAG_AT(eval_options, engine.n_ctx),
      .unit = "TOKENS",
      .least = 0,
      .most = 1 << 30,
      .shown = "512 for perplexity",
      .help = "The same as -c: tokens of a chunk." },
    { .names = "--chunks",
      .type = FLAG_INT,
      .at = FLAG_AT(eval_options, n_chunk),
      .unit = "N",
      .least = 0,
      .most = 1 << 30,
      .shown = "all",
      .help = "Perplexity: chunks to read." },
    { .names = "--top",
      .type = FLAG_INT,
      .at = FLAG_AT(eval_options, n_top),
      .unit = "K",
      .preset = "8",
      .least = 0,
      .most = 64,
      .help = "Logprobs: best tokens to report at each position." },
    { .names = "--exact",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(eval_options, exact),
      .help = "Logprobs: writes hexadecimal floats as strings, so that two runs can be compared by "
              "cmp." },
};

const struct flag_table flags_of_eval = {
    .verb = "eval",
    .summary = "measure a model: perplexity of a text, log-probabilities of token ids",
    .operands = "perplexity|logprobs",
    .n_operand_min = 1,
    .n_operand_max = 1,
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples =
        (const char *const[]){
            "akvifer eval perplexity -m smollm2 -f book.txt --ctx 1024 --chunks 2",
            "echo '{\"ids\": [504, 3575, 282, 4649, 314]}' | akvifer eval logprobs -m smollm2 "
            "--top 3",
            NULL,
        },
};

/* ---- sequences in, rows out: both measures are this ---- */

/* One sequence under way: what came back of it so far. */
struct scored {
    uint64_t id;
    uint32_t n, n_seen;
    float *next;             // [n]
    struct akv_logprob *top; // [n][n_top]
    bool done;
};

static enum status scored_open(struct scored *s, uint32_t n, uint32_t n_top)
{
    *s = (struct scored){ .n = n };
    s->next = mem_new(n, sizeof *s->next);
    s->top = mem_new((size_t)n * n_top + 1, sizeof *s->top);
    return s->next && s->top ? OK : FULL;
}

static void scored_close(struct scored *s)
{
    mem_free(s->next);
    mem_free(s->top);
    *s = (struct scored){ 0 };
}

static enum status scored_submit(struct scored *s, akv_engine *engine, const int32_t *ids,
                                 uint32_t n_top, struct note *why)
{
    const struct akv_request request = {
        .ids = ids,
        .n_id = s->n,
        .prompt_logprobs = true,
        .n_logprob = n_top,
        .sampling = akv_sampling_default(),
        .user = s,
    };
    struct akv_note inner;
    enum akv_status st = akv_submit(engine, &request, &s->id, &inner);
    if (st != AKV_OK)
        note_set(why, "%s", inner.text);
    return (enum status)st;
}

/* Takes one event into the sequence that it belongs to. */
static enum status scored_event(akv_engine *engine, uint32_t n_top, struct note *why)
{
    struct akv_event event;
    if (akv_next_event(engine, &event, -1) != AKV_OK)
        return OK;
    struct scored *s = event.user;
    if (event.kind == AKV_EVENT_PROMPT) {
        memcpy(s->next + event.first, event.next, event.n * sizeof *s->next);
        memcpy(s->top + (size_t)event.first * n_top, event.top,
               (size_t)event.n * n_top * sizeof *s->top);
        s->n_seen += event.n;
    } else if (event.kind == AKV_EVENT_DONE) {
        s->done = true;
        if (event.stop == AKV_STOP_ERROR || s->n_seen != s->n) {
            note_set(why, "a sequence of %u tokens ended after %u: %s", s->n, s->n_seen,
                     event.message);
            return (enum status)event.status == OK ? CORRUPT : (enum status)event.status;
        }
    }
    return OK;
}

/* ---- logprobs ---- */

static void add_number(struct buf *out, float x, bool exact)
{
    if (exact)
        buf_addf(out, "\"%a\"", (double)x);
    else
        buf_addf(out, "%.6f", (double)x);
}

static void print_scored(const struct scored *s, uint32_t n_top, bool exact)
{
    struct buf line = { 0 };
    buf_add_text(&line, "{\"next\": [");
    for (uint32_t i = 0; i + 1 < s->n; i++) {
        buf_add_text(&line, i ? ", " : "");
        add_number(&line, s->next[i], exact);
    }
    buf_add_text(&line, "], \"top\": [");
    for (uint32_t i = 0; i < s->n; i++) {
        buf_add_text(&line, i ? ", [" : "[");
        for (uint32_t j = 0; j < n_top; j++) {
            const struct akv_logprob *t = &s->top[(size_t)i * n_top + j];
            buf_addf(&line, "%s[%d, ", j ? ", " : "", t->id);
            add_number(&line, t->logprob, exact);
            buf_add_byte(&line, ']');
        }
        buf_add_byte(&line, ']');
    }
    buf_add_text(&line, "]}\n");
    fwrite(buf_text(&line), 1, line.len, stdout);
    buf_close(&line);
}

/* {"ids": [...]} */
static enum status read_ids(struct ids *out, const char *line, size_t len, struct note *why)
{
    json_t *value = NULL;
    enum status st = json_from_text(&value, line, len, why);
    const json_t *list = json_object_get(value, "ids"), *item;
    size_t i;
    out->n = 0;
    if (st == OK && !json_is_array(list)) {
        note_set(why, "the line must be an object with \"ids\", an array of integers");
        st = BAD_INPUT;
    }
    if (st == OK) {
        json_array_foreach(list, i, item)
        {
            if (!json_is_integer(item) || json_integer_value(item) < 0 ||
                json_integer_value(item) > INT32_MAX) {
                note_set(why, "ids[%zu] is not a token id", i);
                st = BAD_INPUT;
                break;
            }
            ids_add(out, (int32_t)json_integer_value(item));
        }
    }
    json_decref(value);
    return st == OK && out->failed ? FULL : st;
}

/* The next line of standard input that is not empty. NOT_FOUND: none. */
static enum status next_line(char **line, size_t *room, size_t *len, uint64_t *number)
{
    for (;;) {
        ssize_t n = getline(line, room, stdin);
        if (n < 0)
            return NOT_FOUND;
        ++*number;
        while (n > 0 && strchr(" \t\r\n", (*line)[n - 1]))
            n--;
        *len = (size_t)n;
        if (n > 0)
            return OK;
    }
}

struct lines {
    struct scored *scored; // [n_slot], a ring in the order of the input
    uint32_t n_slot, head, n;
    char *line;
    size_t room;
    uint64_t number;
    bool ended;
};

/* Submits lines until the ring is full or the input ends. */
static enum status fill_ring(struct lines *l, akv_engine *engine, uint32_t n_top, struct note *why)
{
    struct ids ids = { 0 };
    enum status st = OK;
    while (st == OK && !l->ended && l->n < l->n_slot) {
        size_t len;
        struct scored *s = &l->scored[(l->head + l->n) % l->n_slot];
        if (next_line(&l->line, &l->room, &len, &l->number) != OK) {
            l->ended = true;
            break;
        }
        st = read_ids(&ids, l->line, len, why);
        if (st == OK)
            st = scored_open(s, (uint32_t)ids.n, n_top);
        l->n += st == OK;
        if (st == OK)
            st = scored_submit(s, engine, ids.id, n_top, why);
        if (st != OK)
            note_prefix(why, "line %llu", (unsigned long long)l->number);
    }
    ids_close(&ids);
    return st;
}

static enum status eval_logprobs(const struct eval_options *o, akv_engine *engine, struct note *why)
{
    const uint32_t n_top = (uint32_t)o->n_top;
    struct lines l = { .n_slot = 2 * (uint32_t)o->engine.n_parallel };
    enum status st = FULL;
    l.scored = mem_new(l.n_slot, sizeof *l.scored);
    if (!l.scored)
        goto done;
    do {
        st = fill_ring(&l, engine, n_top, why);
        if (st == OK && l.n > 0)
            st = scored_event(engine, n_top, why);
        while (l.n > 0 && l.scored[l.head].done && st == OK) {
            print_scored(&l.scored[l.head], n_top, o->exact);
            scored_close(&l.scored[l.head]);
            l.head = (l.head + 1) % l.n_slot;
            l.n--;
        }
    } while (st == OK && (l.n > 0 || !l.ended));
done:
    for (uint32_t i = 0; l.scored && i < l.n_slot; i++)
        scored_close(&l.scored[i]);
    mem_free(l.scored);
    free(l.line); /* getline's own */
    return st;
}

/* ---- perplexity ---- */

static enum status read_file(struct buf *out, const char *path, struct note *why)
{
    char piece[65536];
    size_t n;
    FILE *f = fopen(path, "re");
    if (!f) {
        note_set(why, "cannot open '%s': %m", path);
        return errno == ENOENT ? NOT_FOUND : IO_ERROR;
    }
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(out, piece, n);
    const bool bad = ferror(f);
    fclose(f);
    if (bad)
        note_set(why, "cannot read '%s': %m", path);
    return bad ? IO_ERROR : out->failed ? FULL : OK;
}

static enum status tokenize_all(struct ids *out, const akv_model *m, const struct buf *text,
                                struct note *why)
{
    struct akv_note inner = { "" };
    size_t n = text->len + 1;
    out->id = mem_new(n, sizeof *out->id);
    if (!out->id)
        return FULL;
    enum akv_status st =
        akv_tokenize(m, buf_text(text), text->len, false, true, out->id, &n, &inner);
    if (st != AKV_OK)
        note_set(why, "%s", inner.text);
    out->n = st == AKV_OK ? n : 0;
    return (enum status)st;
}

struct nll {
    double sum_all, sum_half;
    uint64_t n_all, n_half;
};

/* As the field measures it: each chunk begins with BOS where the model has one; its second half counts. */
static void nll_add(struct nll *total, const struct scored *s)
{
    for (uint32_t i = 0; i + 1 < s->n; i++) {
        total->sum_all -= (double)s->next[i];
        total->n_all++;
        if (i >= s->n / 2) {
            total->sum_half -= (double)s->next[i];
            total->n_half++;
        }
    }
}

static enum status score_chunks(akv_engine *engine, struct ids *ids, uint32_t n_ctx,
                                uint32_t n_chunk, bool bos, struct nll *total, struct note *why)
{
    struct progress bar;
    enum status st = OK;
    progress_begin(&bar, "perplexity", PROGRESS_COUNT, 0, n_chunk);
    for (uint32_t i = 0; i < n_chunk && st == OK; i++) {
        struct scored s;
        int32_t *chunk = ids->id + (size_t)i * n_ctx;
        if (bos)
            chunk[0] = ids->id[0];
        st = scored_open(&s, n_ctx, 0);
        if (st == OK)
            st = scored_submit(&s, engine, chunk, 0, why);
        while (st == OK && !s.done)
            st = scored_event(engine, 0, why);
        if (st == OK)
            nll_add(total, &s);
        scored_close(&s);
        progress_at(&bar, i + 1);
    }
    progress_end(&bar);
    return st;
}

static enum status eval_perplexity(const struct eval_options *o, const struct engine_opened *opened,
                                   struct note *why)
{
    const uint32_t n_ctx = (uint32_t)o->engine.n_ctx;
    struct buf text = { 0 };
    struct ids ids = { 0 };
    struct nll total = { 0 };
    size_t n_empty = 8;
    int32_t empty[8];
    enum status st = read_file(&text, o->file, why);
    if (st == OK)
        st = tokenize_all(&ids, opened->model, &text, why);
    if (st != OK)
        goto done;
    uint32_t n_chunk = (uint32_t)(ids.n / n_ctx);
    if (n_chunk == 0) {
        note_set(why, "'%s' has %zu tokens; a chunk needs %u (--ctx)", o->file, ids.n, n_ctx);
        st = BAD_INPUT;
        goto done;
    }
    if (o->n_chunk && (uint64_t)o->n_chunk < n_chunk)
        n_chunk = (uint32_t)o->n_chunk;
    const bool bos =
        akv_tokenize(opened->model, "", 0, false, true, empty, &n_empty, NULL) == AKV_OK &&
        n_empty > 0;
    st = score_chunks(opened->engine, &ids, n_ctx, n_chunk, bos, &total, why);
    if (st == OK)
        printf("{\"chunks\": %u, \"ctx\": %u, \"nll_all\": %.6f, \"nll_second_half\": %.6f, "
               "\"ppl_second_half\": %.4f}\n",
               n_chunk, n_ctx, total.sum_all / (double)total.n_all,
               total.sum_half / (double)total.n_half, exp(total.sum_half / (double)total.n_half));
done:
    ids_close(&ids);
    buf_close(&text);
    return st;
}

int verb_eval(int argc, char **argv)
{
    struct eval_options o = { 0 };
    struct operands operands;
    struct engine_opened opened;
    struct note why = { "" };
    int code;
    if (!flags_read(&flags_of_eval, &o, argc, argv, &operands, &code))
        return code;
    const bool perplexity = strcmp(operands.text[0], "perplexity") == 0;
    if (!perplexity && strcmp(operands.text[0], "logprobs") != 0) {
        note_set(&why, "there is no measure '%s'; there are perplexity and logprobs",
                 operands.text[0]);
        verb_fails(&flags_of_eval, &why);
        return EXIT_USAGE;
    }
    if (perplexity && !o.file) {
        note_set(&why, "perplexity needs a text: -f FILE");
        verb_fails(&flags_of_eval, &why);
        return EXIT_USAGE;
    }
    if (perplexity && o.engine.n_ctx == 0)
        o.engine.n_ctx = 512;
    enum status st = engine_open(&opened, &o.engine, &why);
    if (st == OK)
        st = perplexity ? eval_perplexity(&o, &opened, &why)
                        : eval_logprobs(&o, opened.engine, &why);
    engine_close(&opened);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_eval, &why);
}
