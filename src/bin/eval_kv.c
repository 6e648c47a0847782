/* What KV policies cost in quality: tasks x policies x budgets, each beside full.
 *
 *   --tasks, --texts, --data, --seed --> cases      --policies x --budgets --> policies, full first
 *          \                                        /
 *           every case under every policy --> a table a task, --json, --plot
 *
 * A policy that cannot run is a row with its reason, and the rest goes on; then the exit status is
 * 1. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bin/eval_in.h"
#include "bin/eval_kv_choose.h"
#include "bin/eval_kv_plot.h"
#include "bin/eval_kv_report.h"
#include "bin/eval_kv_run.h"
#include "os/clock.h"

struct eval_kv {
    const struct eval_options *o;
    struct engine_opened opened;
    struct eval_prose prose;
    struct eval_policies policies;
    struct eval_task_choice task[EVAL_PIECES];
    struct eval_table table[EVAL_PIECES]; // of each task
    uint32_t n_task;
    bool failed; // some policy
};

/* ---- what is asked ---- */

/* Whether it can be written, before hours are spent on it. What it holds stays. */
static enum status json_check(const char *path, struct note *why)
{
    FILE *file = fopen(path, "ae");
    if (file)
        fclose(file);
    else
        note_set(why, "cannot write '%s': %m", path);
    return file ? OK : IO_ERROR;
}

static enum status choose(struct eval_kv *k, struct note *why)
{
    struct eval_pieces names;
    if (strcmp(k->o->engine.kv_policy, "full") != 0) {
        note_set(why, "kv compares policies: --policies names them, and --kv-policy is for the "
                      "other measures");
        return BAD_INPUT;
    }
    enum status st =
        eval_policies_choose(&k->policies, k->o->policies, k->o->budgets, k->o->controls, why);
    if (st == OK)
        st = eval_split(&names, k->o->tasks, why);
    for (; st == OK && k->n_task < names.n; k->n_task++)
        st = eval_task_choose(&k->task[k->n_task], names.text[k->n_task], (uint32_t)k->o->n_item,
                              why);
    if (st == OK && k->o->plot)
        st = eval_plot_check(k->o->plot, why);
    if (st == OK && k->o->json)
        st = json_check(k->o->json, why);
    return st;
}

static enum status make_cases(struct eval_kv *k, struct eval_table *t, struct note *why)
{
    const struct eval_task_in in = {
        .model = k->opened.model,
        .seed = k->o->seed,
        .prose = &k->prose,
        .data = k->o->data,
        .option = t->chosen->option,
    };
    struct akv_stats stats;
    akv_stats(k->opened.engine, &stats);
    enum status st = t->chosen->task->make(&t->cases, &in, why);
    if (st == OK)
        st = eval_cases_check(&t->cases, stats.n_ctx, why);
    if (st != OK)
        note_prefix(why, "task %s", t->chosen->task->name);
    return st;
}

/* The cases of all tasks, before any of them runs. */
static enum status prepare(struct eval_kv *k, struct note *why)
{
    enum status st = eval_prose_open(&k->prose, k->opened.model, k->o->texts, why);
    for (uint32_t i = 0; st == OK && i < k->n_task; i++) {
        struct eval_table *t = &k->table[i];
        t->chosen = &k->task[i];
        t->row = mem_new(k->policies.n, sizeof *t->row);
        if (!t->row) {
            note_set(why, "no memory for %u rows", k->policies.n);
            st = FULL;
        } else {
            st = make_cases(k, t, why);
        }
    }
    return st;
}

/* ---- running it ---- */

/* The row of one policy, from its scores and those under full. */
static enum status make_row(struct eval_table *t, const struct eval_run *run,
                            const struct eval_scores *s, const struct eval_scores *full,
                            uint64_t seed, struct note *why)
{
    struct eval_row *row = &t->row[t->n_row];
    *row = (struct eval_row){ .policy = &run->policies->policy[t->n_row++], .kept = NAN };
    row->failed = s->status != OK;
    row->why = s->why;
    if (row->failed)
        return OK;
    row->value = mem_new((size_t)t->cases.n_item * run->task->n_measure, sizeof *row->value);
    if (!row->value) {
        note_set(why, "no memory for the values of %u cases", t->cases.n_item);
        return FULL;
    }
    eval_run_values(row->value, run, s, full);
    row->kept = s->n_kept / s->n_context;
    row->read = s->n_there > 0 ? s->n_read / s->n_there : NAN;
    row->kv_bytes_peak = s->kv_bytes_peak;
    return eval_row_sum(row, t, seed, why);
}

/* Without full there is nothing to compare with; any other policy may fail alone. */
static enum status tell(struct eval_kv *k, struct eval_table *t, const struct eval_run *run,
                        const struct eval_scores *s, struct note *why)
{
    enum status st = s[0].status;
    if (st != OK) {
        *why = s[0].why;
        return st;
    }
    eval_table_begin(t);
    while (st == OK && t->n_row < k->policies.n) {
        struct eval_row *row = &t->row[t->n_row];
        st = make_row(t, run, &s[t->n_row], &s[0], k->o->seed, why);
        k->failed |= row->failed;
        if (st == OK)
            eval_row_print(t, row);
    }
    return st;
}

static enum status score(struct eval_kv *k, struct eval_table *t, struct eval_scores *s,
                         struct note *why)
{
    struct progress bar;
    const struct eval_run run = {
        .task = t->chosen->task,
        .cases = &t->cases,
        .policies = &k->policies,
        .engine = k->opened.engine,
        .n_slot = 2 * (uint32_t)k->o->engine.n_parallel,
        .bar = &bar,
    };
    const uint64_t start_ns = os_now_ns();
    progress_begin(&bar, run.task->name, PROGRESS_COUNT, 0,
                   (uint64_t)t->cases.n_tail * k->policies.n);
    enum status st = eval_run_all(s, &run, why);
    progress_end(&bar);
    t->seconds = (double)(os_now_ns() - start_ns) * 1e-9;
    return st == OK ? tell(k, t, &run, s, why) : st;
}

static enum status run_task(struct eval_kv *k, struct eval_table *t, struct note *why)
{
    struct eval_scores *s = mem_new(k->policies.n, sizeof *s);
    if (!s) {
        note_set(why, "no memory for the scores of %u policies", k->policies.n);
        return FULL;
    }
    const enum status st = score(k, t, s, why);
    for (uint32_t i = 0; i < k->policies.n; i++)
        eval_scores_close(&s[i]);
    mem_free(s);
    return st;
}

static enum status run_all(struct eval_kv *k, struct note *why)
{
    enum status st = OK;
    for (uint32_t i = 0; st == OK && i < k->n_task; i++) {
        st = run_task(k, &k->table[i], why);
        if (st != OK)
            note_prefix(why, "task %s", k->task[i].task->name);
    }
    return st;
}

/* ---- what is left of it ---- */

static enum status write_json(const struct eval_kv *k, const struct eval_setting *set,
                              struct note *why)
{
    json_t *all = eval_tables_json(k->table, k->n_task, set);
    FILE *file = fopen(k->o->json, "we");
    bool good = file && all && json_dumpf(all, file, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0;
    if (file)
        good = fclose(file) == 0 && good;
    json_decref(all);
    if (good)
        return OK;
    note_set(why, "cannot write '%s': %m", k->o->json);
    return IO_ERROR;
}

/* How many tables before this one are of its task. */
static uint32_t n_earlier(const struct eval_kv *k, uint32_t i)
{
    uint32_t n = 0;
    for (uint32_t j = 0; j < i; j++)
        n += k->task[j].task == k->task[i].task;
    return n;
}

static enum status write_all(const struct eval_kv *k, struct note *why)
{
    const struct eval_setting set = {
        .model = k->opened.info.name,
        .kv_type = kv_type_name((enum kv_type)k->o->engine.kv_type),
        .seed = k->o->seed,
    };
    enum status st = k->o->json ? write_json(k, &set, why) : OK;
    for (uint32_t i = 0; st == OK && k->o->plot && i < k->n_task; i++)
        st = eval_plot_draw(k->o->plot, &k->table[i], n_earlier(k, i), set.model, why);
    return st;
}

static void close_all(struct eval_kv *k)
{
    for (uint32_t i = 0; i < k->n_task; i++) {
        struct eval_table *t = &k->table[i];
        for (uint32_t r = 0; r < t->n_row; r++)
            mem_free(t->row[r].value);
        mem_free(t->row);
        eval_cases_close(&t->cases);
    }
    eval_prose_close(&k->prose);
    engine_close(&k->opened);
    mem_free(k);
}

static int list_tasks(void)
{
    struct buf text = { 0 };
    eval_tasks_print(&text);
    fputs(buf_text(&text), stdout);
    buf_close(&text);
    return EXIT_DONE;
}

int eval_kv(const struct eval_options *o)
{
    struct note why = { "" };
    if (strcmp(o->tasks, "help") == 0)
        return list_tasks();
    engine_answer_help(&o->engine);
    engine_answer_help(&(struct engine_flags){ .kv_policy = o->policies });
    struct eval_kv *k = mem_new(1, sizeof *k);
    if (!k) {
        note_set(&why, "no memory for the tables");
        return verb_fails(&flags_of_eval, &why);
    }
    k->o = o;
    enum status st = choose(k, &why);
    const bool misused = st == BAD_INPUT;
    if (st == OK)
        st = engine_open(&k->opened, &o->engine, &why);
    if (st == OK)
        st = prepare(k, &why);
    if (st == OK)
        st = run_all(k, &why);
    if (st == OK)
        st = write_all(k, &why);
    const bool failed = k->failed;
    close_all(k);
    if (misused)
        return verb_misused(&flags_of_eval, why.text);
    if (st != OK)
        return verb_fails(&flags_of_eval, &why);
    return failed ? EXIT_FAILED : EXIT_DONE;
}
