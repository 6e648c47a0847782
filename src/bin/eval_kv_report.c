#include "bin/eval_kv_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "bin/bench_report.h"

void eval_list_print(struct buf *out, const struct eval_list *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        buf_addf(out, "%s%u", i ? "/" : "", l->x[i]);
}

/* ---- intervals ---- */

static double shown(enum eval_kind kind, double x)
{
    switch (kind) {
    case EVAL_PERCENT:
        return 100 * x;
    case EVAL_EXP:
    case EVAL_RATIO:
        return exp(x);
    case EVAL_NUMBER:
        break;
    }
    return x;
}

enum status eval_row_sum(struct eval_row *row, const struct eval_table *t, uint64_t seed,
                         struct note *why)
{
    const struct eval_task *task = t->chosen->task;
    const uint32_t n = t->cases.n_item;
    double *x = mem_new(n, sizeof *x);
    uint32_t *group = mem_new(n, sizeof *group);
    enum status st = x && group ? OK : FULL;
    for (uint32_t i = 0; st == OK && i < n; i++)
        group[i] = t->cases.item[i].context;
    for (uint32_t m = 0; st == OK && m < task->n_measure; m++) {
        struct eval_interval *at = &row->measure[m];
        for (uint32_t i = 0; i < n; i++)
            x[i] = row->value[(size_t)i * task->n_measure + m];
        st = eval_bootstrap(at, x, group, n, seed);
        *at = (struct eval_interval){
            .mean = shown(task->measure[m].kind, at->mean),
            .low = shown(task->measure[m].kind, at->low),
            .high = shown(task->measure[m].kind, at->high),
        };
    }
    if (st != OK)
        note_set(why, "no memory for the intervals of %u cases", n);
    mem_free(x);
    mem_free(group);
    return st;
}

/* ---- the table ---- */

enum { WIDTH = 24 };

static int decimals(enum eval_kind kind)
{
    return kind == EVAL_PERCENT ? 1 : 3;
}

static void print_rule(const struct eval_task *task)
{
    printf("| ---------------------- | ------: | -----: | -----: | -------: |");
    for (uint32_t m = 0; m < task->n_measure; m++)
        printf(" %.*s: |", WIDTH - 1, "-----------------------------");
    putchar('\n');
}

void eval_table_begin(const struct eval_table *t)
{
    const struct eval_task *task = t->chosen->task;
    struct buf options = { 0 };
    for (uint32_t i = 0; i < task->n_option; i++) {
        buf_addf(&options, "%s%s=", i ? "," : "", task->option[i].name);
        eval_list_print(&options, &t->chosen->option[i]);
    }
    printf("\n%s - %s\n%s; %u contexts, %u cases\n\n", task->name, task->summary,
           buf_text(&options), t->cases.n_context, t->cases.n_item);
    buf_close(&options);
    printf("| %-22s | %7s | %6s | %6s | %8s |", "policy", "budget", "kept %", "read %", "KV MiB");
    for (uint32_t m = 0; m < task->n_measure; m++) {
        char name[WIDTH + 8];
        snprintf(name, sizeof name, "%s%s", task->measure[m].name,
                 task->measure[m].kind == EVAL_PERCENT ? " %" : "");
        printf(" %*s |", WIDTH, name);
    }
    putchar('\n');
    print_rule(task);
    fflush(stdout);
}

void eval_row_print(const struct eval_table *t, const struct eval_row *row)
{
    const struct eval_task *task = t->chosen->task;
    printf("| %-22s | %7s | ", row->policy->name, row->policy->budget);
    if (row->failed) {
        printf("%s |\n", row->why.text);
        return;
    }
    char read[16] = "";
    if (!isnan(row->read))
        snprintf(read, sizeof read, "%.1f", 100 * row->read);
    printf("%6.1f | %6s | %8.2f |", 100 * row->kept, read, (double)row->kv_bytes_peak / 1048576);
    for (uint32_t m = 0; m < task->n_measure; m++) {
        char text[WIDTH + 40];
        const int d = decimals(task->measure[m].kind);
        snprintf(text, sizeof text, "%.*f [%.*f, %.*f]", d, row->measure[m].mean, d,
                 row->measure[m].low, d, row->measure[m].high);
        printf(" %*s |", WIDTH, text);
    }
    putchar('\n');
    fflush(stdout);
}

/* ---- JSON ---- */

/* JSON has no NAN: what there is none of is null. */
static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *measures_json(const struct eval_task *task, const struct eval_row *row)
{
    json_t *all = json_object();
    for (uint32_t m = 0; m < task->n_measure; m++) {
        const struct eval_interval *x = &row->measure[m];
        json_object_set_new(all, task->measure[m].name,
                            json_pack("{so so so}", "value", real(x->mean), "low", real(x->low),
                                      "high", real(x->high)));
    }
    return all;
}

static json_t *items_json(const struct eval_table *t, const struct eval_row *row)
{
    const uint32_t n_measure = t->chosen->task->n_measure;
    json_t *all = json_array();
    for (uint32_t i = 0; i < t->cases.n_item; i++) {
        const struct eval_case *c = &t->cases.item[i];
        json_t *value = json_array();
        for (uint32_t m = 0; m < n_measure; m++)
            json_array_append_new(value, real(row->value[(size_t)i * n_measure + m]));
        json_array_append_new(all, json_pack("{sI sI sI so}", "context", (json_int_t)c->context,
                                             "length", (json_int_t)c->length, "percent",
                                             (json_int_t)c->percent, "values", value));
    }
    return all;
}

static json_t *row_json(const struct eval_table *t, const struct eval_row *row)
{
    json_t *all = json_pack("{ss ss ss}", "policy", row->policy->name, "budget",
                            row->policy->budget, "kv_policy", row->policy->text);
    if (row->failed) {
        json_object_set_new(all, "error", json_string(row->why.text));
        return all;
    }
    json_object_set_new(all, "kept", real(row->kept));
    json_object_set_new(all, "read", real(row->read));
    json_object_set_new(all, "kv_bytes_peak", json_integer((json_int_t)row->kv_bytes_peak));
    json_object_set_new(all, "measures", measures_json(t->chosen->task, row));
    json_object_set_new(all, "items", items_json(t, row));
    return all;
}

static json_t *table_json(const struct eval_table *t)
{
    const struct eval_task *task = t->chosen->task;
    json_t *options = json_object(), *rows = json_array();
    for (uint32_t i = 0; i < task->n_option; i++) {
        struct buf text = { 0 };
        eval_list_print(&text, &t->chosen->option[i]);
        json_object_set_new(options, task->option[i].name, json_string(buf_text(&text)));
        buf_close(&text);
    }
    for (uint32_t i = 0; i < t->n_row; i++)
        json_array_append_new(rows, row_json(t, &t->row[i]));
    return json_pack("{ss ss ss so sf so}", "task", task->name, "summary", task->summary, "source",
                     task->source, "options", options, "seconds", t->seconds, "rows", rows);
}

json_t *eval_tables_json(const struct eval_table *t, uint32_t n, const struct eval_setting *set)
{
    char date[32];
    const time_t now = time(NULL);
    json_t *tasks = json_array();
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(tasks, table_json(&t[i]));
    return json_pack("{ss ss ss ss sI so}", "date", date, "build_commit", program_build.commit,
                     "model", set->model, "kv_type", set->kv_type, "seed", (json_int_t)set->seed,
                     "tasks", tasks);
}
