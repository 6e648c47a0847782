/* bin/eval_kv_plot.h - pictures of `akvifer eval kv` in a folder.
 *
 *   needle.png      each measure by budget: a line a policy with its intervals, full as a level line
 *   needle-map.png  of a task with depths and lengths: a map a policy and budget, green: right */
#ifndef BIN_EVAL_KV_PLOT_H
#define BIN_EVAL_KV_PLOT_H

#include "bin/eval_kv_report.h"

/* Makes the folder where it lacks, and looks for gnuplot: before the work. IO_ERROR: the note says
 * which fails. */
must_use enum status eval_plot_check(const char *folder, struct note *why);

/* The n-th table of its run: a task that was drawn already gets a number behind its name. */
must_use enum status eval_plot_draw(const char *folder, const struct eval_table *t, uint32_t n,
                                    const char *model, struct note *why);

#endif
