#include "bin/load_plot.h"

#include <math.h>

enum { N_POINT = 500 };
static const double LEAST_MS = 0.01; // a logarithmic axis has no 0

static void add_points(struct buf *out, struct load_series *s)
{
    buf_add_text(out, "$curve << END\n");
    for (int i = 0; i <= N_POINT; i++) {
        const double q = (double)i / N_POINT;
        buf_addf(out, "%.6g %.6g\n", fmax(load_series_quantile(s, q), LEAST_MS), q);
    }
    buf_add_text(out, "END\n");
}

static void add_panel(struct buf *out, const char *name, const char *share, struct load_series *s)
{
    buf_addf(out, "set ylabel 'share of %s'\n", share);
    if (s->n == 0) {
        buf_addf(out, "set title '%s: none'\nplot [1:10] NaN notitle\n", name);
        return;
    }
    add_points(out, s);
    buf_addf(out, "set title '%s: p50 %.4g ms, p90 %.4g ms, p99 %.4g ms'\n", name,
             load_series_quantile(s, 0.5), load_series_quantile(s, 0.9),
             load_series_quantile(s, 0.99));
    buf_add_text(out, "plot $curve with lines linewidth 2 linecolor rgb '#1f6fb2' notitle\n");
}

static void add_script(struct buf *out, struct load_tally *t, const char *title)
{
    buf_add_text(out, "set terminal pngcairo noenhanced size 1280,520\n"
                      "set multiplot layout 1,2 title ");
    gnuplot_add_quoted(out, title);
    buf_add_text(out, "\nset logscale x\nset yrange [0:1]\nset xlabel 'ms'\n"
                      "set grid linecolor rgb '#d0d0d0'\n");
    add_panel(out, "time to first token", "requests", &t->first);
    add_panel(out, "inter-token latency", "gaps", &t->gap);
    buf_add_text(out, "unset multiplot\n");
}

enum status load_plot_draw(struct gnuplot *p, struct load_tally *t, const char *title,
                           struct note *why)
{
    struct buf script = { 0 };
    add_script(&script, t, title);
    const enum status st = gnuplot_draw(p, &script, why);
    buf_close(&script);
    return st;
}
