#include "bin/eval_kv_plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bin/gnuplot.h"

enum { BUDGETS = 32, LENGTHS = EVAL_LIST, DEPTHS = 20 };
enum { TITLE_LETTER = 9 }; // points that a letter of a title takes at most, on average

/* ---- what is on the axes ---- */

struct axis {
    const char *budget[BUDGETS];
    uint32_t n;
};

/* Where a budget stands; n: it is new. */
static uint32_t place_of(const struct axis *a, const char *budget)
{
    uint32_t i = 0;
    while (i < a->n && strcmp(a->budget[i], budget) != 0)
        i++;
    return i;
}

static struct axis axis_of(const struct eval_table *t)
{
    struct axis a = { 0 };
    for (uint32_t i = 1; i < t->n_row; i++) // behind full
        if (place_of(&a, t->row[i].policy->budget) == a.n && a.n < BUDGETS)
            a.budget[a.n++] = t->row[i].policy->budget;
    return a;
}

static bool begins_policy(const struct eval_table *t, uint32_t i)
{
    return i > 0 && (i == 1 || strcmp(t->row[i].policy->name, t->row[i - 1].policy->name) != 0);
}

static uint32_t n_policy(const struct eval_table *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_row; i++)
        n += begins_policy(t, i);
    return n;
}

/* ---- lines ---- */

/* A label at a tic, which is a format to gnuplot. */
static void add_tic(struct buf *out, const char *label, uint32_t at)
{
    struct buf escaped = { 0 };
    for (const char *c = label; *c; c++)
        buf_add_text(&escaped, *c == '%' ? "%%" : (const char[]){ *c, 0 });
    buf_add_text(out, at ? ", " : "");
    gnuplot_add_quoted(out, buf_text(&escaped));
    buf_addf(out, " %u", at);
    buf_close(&escaped);
}

static void add_tics(struct buf *out, const struct axis *a)
{
    buf_addf(out, "set xrange [-0.3:%.1f]\nset xtics (", (double)a->n - 0.7);
    for (uint32_t i = 0; i < a->n; i++)
        add_tic(out, a->budget[i][0] ? a->budget[i] : "own", i);
    buf_add_text(out, ")\n");
}

/* A data block of each policy: place, value, low, high. */
static void add_blocks(struct buf *out, const struct eval_table *t, const struct axis *a,
                       uint32_t measure)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < t->n_row; i++) {
        const struct eval_interval *x = &t->row[i].measure[measure];
        if (begins_policy(t, i))
            buf_addf(out, "%s$p%u << END\n", n ? "END\n" : "", n), n++;
        if (!t->row[i].failed && isfinite(x->mean))
            buf_addf(out, "%u %.9g %.9g %.9g\n", place_of(a, t->row[i].policy->budget), x->mean,
                     x->low, x->high);
    }
    buf_add_text(out, n ? "END\n" : "");
}

/* Room around all intervals. */
static void add_range(struct buf *out, const struct eval_table *t, uint32_t measure)
{
    double low = INFINITY, high = -INFINITY;
    for (uint32_t i = 0; i < t->n_row; i++) {
        const struct eval_interval *x = &t->row[i].measure[measure];
        if (t->row[i].failed || !isfinite(x->low) || !isfinite(x->high))
            continue;
        low = fmin(low, x->low);
        high = fmax(high, x->high);
    }
    const double edge = fmax(0.05 * (high - low), 1e-3);
    if (isfinite(edge))
        buf_addf(out, "set yrange [%.9g:%.9g]\n", low - edge, high + edge);
}

static void add_lines(struct buf *out, const struct eval_table *t, uint32_t measure)
{
    uint32_t n = 0;
    buf_addf(out,
             "plot %.9g with lines dashtype 2 linewidth 2 linecolor rgb '#404040' title 'full'",
             t->row[0].measure[measure].mean);
    for (uint32_t i = 1; i < t->n_row; i++)
        if (begins_policy(t, i)) {
            buf_addf(out, ", $p%u with yerrorlines linewidth 2 pointtype 7 title ", n++);
            gnuplot_add_quoted(out, t->row[i].policy->name);
        }
    buf_add_byte(out, '\n');
}

/* A picture as wide as it needs to be, for its plots and for its title. */
static void add_terminal(struct buf *out, uint32_t width, uint32_t height, const char *title)
{
    const uint32_t of_title = TITLE_LETTER * ((uint32_t)strlen(title) + 4);
    buf_addf(out, "set terminal pngcairo noenhanced size %u,%u\n",
             width > of_title ? width : of_title, height);
}

static void add_measures(struct buf *out, const struct eval_table *t, const char *model)
{
    const struct eval_task *task = t->chosen->task;
    const struct axis a = axis_of(t);
    char title[256];
    snprintf(title, sizeof title, "%s: %s; %u cases, 95 %% intervals", model, task->summary,
             t->cases.n_item);
    add_terminal(out, 640 * task->n_measure, 560, title);
    buf_addf(out, "set multiplot layout 1,%u title ", task->n_measure);
    gnuplot_add_quoted(out, title);
    buf_add_text(out, "\nset grid linecolor rgb '#d0d0d0'\nset key below\nset xlabel 'budget'\n");
    add_tics(out, &a);
    for (uint32_t m = 0; m < task->n_measure; m++) {
        add_blocks(out, t, &a, m);
        add_range(out, t, m);
        buf_addf(out, "set ylabel '%s%s'\n", task->measure[m].name,
                 task->measure[m].kind == EVAL_PERCENT ? " %" : "");
        add_lines(out, t, m);
    }
    buf_add_text(out, "unset multiplot\n");
}

/* ---- maps ---- */

/* The values of one measure by length and depth. */
struct map {
    uint32_t length[LENGTHS], percent[DEPTHS];
    uint32_t n_length, n_depth;
    double sum[DEPTHS][LENGTHS], n[DEPTHS][LENGTHS];
};

static uint32_t find_or_add(uint32_t *x, uint32_t *n, uint32_t room, uint32_t value)
{
    uint32_t i = 0;
    while (i < *n && x[i] != value)
        i++;
    if (i == *n && *n < room)
        x[(*n)++] = value;
    return i;
}

static void map_read(struct map *m, const struct eval_table *t, const struct eval_row *row,
                     uint32_t measure)
{
    *m = (struct map){ 0 };
    for (uint32_t i = 0; i < t->cases.n_item; i++) {
        const struct eval_case *c = &t->cases.item[i];
        const uint32_t l = find_or_add(m->length, &m->n_length, LENGTHS, c->length),
                       d = find_or_add(m->percent, &m->n_depth, DEPTHS, c->percent);
        if (l == LENGTHS || d == DEPTHS)
            continue;
        m->sum[d][l] += row->value[(size_t)i * t->chosen->task->n_measure + measure];
        m->n[d][l]++;
    }
}

static void add_map(struct buf *out, const struct eval_table *t, const struct eval_row *row,
                    uint32_t measure)
{
    struct map m;
    map_read(&m, t, row, measure);
    buf_add_text(out, "$map << END\n");
    for (uint32_t d = 0; d < m.n_depth; d++)
        for (uint32_t l = 0; l < m.n_length; l++)
            if (m.n[d][l] > 0)
                buf_addf(out, "%u %u %.4g\n", l, d, m.sum[d][l] / m.n[d][l]);
    buf_add_text(out, "END\nset xtics (");
    for (uint32_t l = 0; l < m.n_length; l++)
        buf_addf(out, "%s'%u' %u", l ? ", " : "", m.length[l], l);
    buf_add_text(out, ")\nset ytics (");
    for (uint32_t d = 0; d < m.n_depth; d++) {
        char label[16];
        snprintf(label, sizeof label, "%u %%", m.percent[d]);
        add_tic(out, label, d);
    }
    buf_addf(out, ")\nset xrange [-0.5:%.1f]\nset yrange [%.1f:-0.5]\nset title ",
             (double)m.n_length - 0.5, (double)m.n_depth - 0.5);
    char title[EVAL_PIECE + 32];
    snprintf(title, sizeof title, "%s %s", row->policy->name, row->policy->budget);
    gnuplot_add_quoted(out, title);
    buf_add_text(out,
                 "\nplot $map using 1:2:(0.48):(0.48):3 with boxxyerror fillstyle solid linecolor "
                 "palette notitle\n");
}

/* full, then a row of maps for each policy, a column for each budget. */
static void add_maps(struct buf *out, const struct eval_table *t, const char *model)
{
    const struct eval_task *task = t->chosen->task;
    const uint32_t measure = task->n_picture - 1;
    const struct axis a = axis_of(t);
    const uint32_t n_column = a.n ? a.n : 1, n_line = 1 + n_policy(t);
    char title[256];
    snprintf(title, sizeof title, "%s, %s: %s by depth and length; red: never, green: always",
             model, task->name, task->measure[measure].name);
    add_terminal(out, 60 + 300 * n_column, 60 + 220 * n_line, title);
    buf_addf(out, "set multiplot layout %u,%u title ", n_line, n_column);
    gnuplot_add_quoted(out, title);
    buf_add_text(out, "\nset palette defined (0 '#c8372d', 0.5 '#f2e394', 1 '#3d8f4e')\n"
                      "set cbrange [0:1]\nunset colorbox\n");
    uint32_t column = 0;
    for (uint32_t i = 0; i < t->n_row; i++) {
        if (begins_policy(t, i))
            for (; column % n_column != 0; column++)
                buf_add_text(out, "set multiplot next\n");
        if (t->row[i].failed)
            buf_add_text(out, "set multiplot next\n");
        else
            add_map(out, t, &t->row[i], measure);
        column++;
    }
    buf_add_text(out, "unset multiplot\n");
}

/* ---- files ---- */

static enum status draw(const char *path, const struct buf *script, struct note *why)
{
    struct gnuplot plot;
    enum status st = gnuplot_open(&plot, path, why);
    if (st != OK)
        return st;
    st = gnuplot_draw(&plot, script, why);
    gnuplot_close(&plot);
    return st;
}

enum status eval_plot_check(const char *folder, struct note *why)
{
    struct buf path = { 0 };
    struct gnuplot plot;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        note_set(why, "cannot make the folder '%s': %m", folder);
        return IO_ERROR;
    }
    buf_addf(&path, "%s/.probe.png", folder);
    const enum status st = gnuplot_open(&plot, buf_text(&path), why);
    if (st == OK)
        gnuplot_close(&plot);
    buf_close(&path);
    return st;
}

enum status eval_plot_draw(const char *folder, const struct eval_table *t, uint32_t n,
                           const char *model, struct note *why)
{
    const struct eval_task *task = t->chosen->task;
    struct buf path = { 0 }, script = { 0 };
    char number[16] = "";
    if (n > 0)
        snprintf(number, sizeof number, "-%u", n + 1);
    buf_addf(&path, "%s/%s%s.png", folder, task->name, number);
    add_measures(&script, t, model);
    enum status st = draw(buf_text(&path), &script, why);
    if (st == OK && task->n_picture) {
        buf_clear(&path);
        buf_clear(&script);
        buf_addf(&path, "%s/%s%s-map.png", folder, task->name, number);
        add_maps(&script, t, model);
        st = draw(buf_text(&path), &script, why);
    }
    buf_close(&path);
    buf_close(&script);
    return st;
}
