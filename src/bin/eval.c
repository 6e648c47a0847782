/* bin/eval.c - the verb that measures a model, and its first measure: perplexity of a text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bin/eval_in.h"
#include "bin/lines.h"
#include "bin/progress.h"
#include "bin/score.h"

enum { CTX = 512, CTX_MIN = 4 }; // of a chunk of perplexity

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
    { .names = "--tasks",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, tasks),
      .unit = "TASKS",
      .preset = "book,agree,needle,pairs,choice",
      .help = "KV: what is measured, e.g. needle:lengths=1024/2048,items=16/12,book; help lists "
              "tasks and their options." },
    { .names = "--policies",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, policies),
      .unit = "POLICIES",
      .preset = "full,window,h2o,auto",
      .help = "KV: policies with their options, e.g. auto,h2o:recent=64; full runs in any case." },
    { .names = "--budgets",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, budgets),
      .unit = "BUDGETS",
      .preset = "5%,10%,20%,50%",
      .help =
          "KV: budgets of each policy that states none: shares of the context, rows, or bytes." },
    { .names = "--controls",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(eval_options, controls),
      .preset = "true",
      .help = "KV: runs window and random too, to compare with." },
    { .names = "--items",
      .type = FLAG_INT,
      .at = FLAG_AT(eval_options, n_item),
      .unit = "N",
      .least = 0,
      .most = 100000,
      .shown = "each task's own",
      .help = "KV: contexts of each task (of each length, for needle)." },
    { .names = "-s --seed",
      .type = FLAG_U64,
      .at = FLAG_AT(eval_options, seed),
      .unit = "SEED",
      .preset = "1",
      .help = "KV: draws the cases; the same seed gives the same." },
    { .names = "--texts",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, texts),
      .unit = "FOLDER",
      .shown = "passages of five novels",
      .help = "KV: prose for book, agree and needle: the .txt files there." },
    { .names = "--data",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, data),
      .unit = "FOLDER",
      .preset = "data",
      .help = "KV: holds sgd-longconv and musique-rag, for dialogue and multihop." },
    { .names = "--json",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, json),
      .unit = "FILE",
      .help = "KV: writes all figures, and the values of every case." },
    { .names = "--plot",
      .type = FLAG_TEXT,
      .at = FLAG_AT(eval_options, plot),
      .unit = "FOLDER",
      .help = "KV: draws PNGs of each task there; needs gnuplot." },
};

const struct flag_table flags_of_eval = {
    .verb = "eval",
    .summary = "measure a model: perplexity, log-probabilities, what KV policies cost",
    .operands = "perplexity|logprobs|kv",
    .n_operand_min = 1,
    .n_operand_max = 1,
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples =
        (const char *const[]){
            "akvifer eval perplexity -m smollm2 -f book.txt --ctx 1024 --chunks 2",
            "echo '{\"ids\": [504, 3575, 282, 4649, 314]}' | akvifer eval logprobs -m smollm2 "
            "--top 3",
            "akvifer eval kv -m smollm2 --tasks book,needle --policies auto,h2o --budgets 10%,20% "
            "--json kv.json --plot plots",
            NULL,
        },
};

/* ---- perplexity ---- */

static enum status tokenize_all(struct ids *out, const akv_model *m, const struct buf *text,
                                struct note *why)
{
    struct akv_note inner = { "" };
    size_t n = text->len + 1;
    out->id = mem_new(n, sizeof *out->id);
    if (!out->id) {
        note_set(why, "no memory for up to %zu tokens", n);
        return FULL;
    }
    enum akv_status st =
        akv_tokenize(m, buf_text(text), text->len, false, true, out->id, &n, &inner);
    if (st != AKV_OK)
        note_set(why, "%s", inner.text);
    out->n = st == AKV_OK ? n : 0;
    return (enum status)st;
}

struct perplexity {
    struct ids ids;
    uint32_t n_ctx, n_chunk, n_given;
    int32_t bos; // begins each chunk, or -1
    double sum_all, sum_half;
    uint64_t n_all, n_half;
};

static enum status next_chunk(void *arg, struct score_ids *out, struct note *why)
{
    struct perplexity *p = arg;
    (void)why;
    if (p->n_given == p->n_chunk)
        return NOT_FOUND;
    int32_t *chunk = p->ids.id + (size_t)p->n_given++ * p->n_ctx;
    if (p->bos >= 0)
        chunk[0] = p->bos;
    *out = (struct score_ids){ .id = chunk, .n = p->n_ctx };
    return OK;
}

/* As the field measures it: the second half of each chunk counts, which has seen the first. */
static enum status add_chunk(void *arg, const struct scored *s, struct note *why)
{
    struct perplexity *p = arg;
    if (s->status != OK) {
        *why = s->why;
        return s->status;
    }
    for (uint32_t i = 0; i + 1 < s->n; i++) {
        p->sum_all -= (double)s->next[i];
        p->n_all++;
        if (i >= s->n / 2) {
            p->sum_half -= (double)s->next[i];
            p->n_half++;
        }
    }
    return OK;
}

static enum status read_chunks(struct perplexity *p, const struct eval_options *o,
                               const akv_model *model, struct note *why)
{
    struct buf text = { 0 };
    size_t n_empty = 1;
    p->n_ctx = (uint32_t)o->engine.n_ctx;
    p->bos = -1;
    enum status st = read_path(o->file, &text, why);
    if (st == OK)
        st = tokenize_all(&p->ids, model, &text, why);
    buf_close(&text);
    if (st != OK)
        return st;
    if (p->ids.n < p->n_ctx) {
        note_set(why, "'%s' has %zu tokens; a chunk needs %u (--ctx)", o->file, p->ids.n, p->n_ctx);
        return BAD_INPUT;
    }
    p->n_chunk = (uint32_t)(p->ids.n / p->n_ctx);
    if (o->n_chunk && o->n_chunk < p->n_chunk)
        p->n_chunk = (uint32_t)o->n_chunk;
    if (akv_tokenize(model, "", 0, false, true, &p->bos, &n_empty, NULL) != AKV_OK || n_empty == 0)
        p->bos = -1;
    return OK;
}

static enum status score_chunks(struct perplexity *p, const struct eval_options *o,
                                akv_engine *engine, struct note *why)
{
    struct progress bar;
    const struct score_job job = {
        .next = next_chunk,
        .take = add_chunk,
        .arg = p,
        .n_slot = (uint32_t)o->engine.n_parallel,
        .progress = &bar,
    };
    progress_begin(&bar, "perplexity", PROGRESS_COUNT, 0, (uint64_t)p->n_chunk * p->n_ctx);
    enum status st = score_all(engine, &job, why);
    progress_end(&bar);
    return st;
}

static int eval_perplexity(const struct eval_options *o, const struct engine_opened *opened)
{
    struct perplexity p = { 0 };
    struct note why = { "" };
    enum status st = read_chunks(&p, o, opened->model, &why);
    if (st == OK)
        st = score_chunks(&p, o, opened->engine, &why);
    if (st == OK)
        printf("{\"chunks\": %u, \"ctx\": %u, \"nll_all\": %.6f, \"nll_second_half\": %.6f, "
               "\"ppl_second_half\": %.4f}\n",
               p.n_chunk, p.n_ctx, p.sum_all / (double)p.n_all, p.sum_half / (double)p.n_half,
               exp(p.sum_half / (double)p.n_half));
    ids_close(&p.ids);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_eval, &why);
}

/* ---- the verb ---- */

/* What is wrong with the flags of perplexity, or NULL. */
static const char *perplexity_misused(const struct eval_options *o)
{
    if (!o->file)
        return "perplexity needs a text: -f FILE";
    if (o->engine.n_ctx > 0 && o->engine.n_ctx < CTX_MIN)
        return "perplexity counts the second half of each chunk, which has to predict something: "
               "--ctx is at least 4";
    return NULL;
}

int verb_eval(int argc, char **argv)
{
    struct eval_options o = { 0 };
    struct operands operands;
    struct engine_opened opened;
    struct note why = { "" };
    int exit_code;
    if (!flags_read(&flags_of_eval, &o, argc, argv, &operands, &exit_code))
        return exit_code;
    const char *measure = operands.text[0];
    const bool perplexity = strcmp(measure, "perplexity") == 0;
    if (strcmp(measure, "kv") == 0)
        return eval_kv(&o);
    if (!perplexity && strcmp(measure, "logprobs") != 0) {
        note_set(&why, "there is no measure '%s'; there are perplexity, logprobs and kv", measure);
        return verb_misused(&flags_of_eval, why.text);
    }
    const char *misused = perplexity ? perplexity_misused(&o) : NULL;
    if (misused)
        return verb_misused(&flags_of_eval, misused);
    if (perplexity && o.engine.n_ctx == 0)
        o.engine.n_ctx = CTX;
    if (engine_open(&opened, &o.engine, &why) != OK)
        return verb_fails(&flags_of_eval, &why);
    exit_code = perplexity ? eval_perplexity(&o, &opened) : eval_logprobs(&o, opened.engine);
    engine_close(&opened);
    return exit_code;
}
