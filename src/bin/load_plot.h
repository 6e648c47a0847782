/* bin/load_plot.h - two curves as a PNG: shares of first tokens, and of gaps, by ms.
 *
 *   load_plot_open    the file can be written and gnuplot is there: before the load, not behind it
 *   load_plot_draw    gnuplot reads a script (a memory file) and writes the picture into the file
 *
 * gnuplot is found in PATH; it is needed for this alone. Threads  one at a time. */
#ifndef BIN_LOAD_PLOT_H
#define BIN_LOAD_PLOT_H

#include "base/status.h"
#include "bin/load_tally.h"

struct load_plot {
    const char *path;
    int fd;
};

/* IO_ERROR: the note says which of the two is missing; nothing stays open. */
must_use enum status load_plot_open(struct load_plot *p, const char *path, struct note *why);

/* Sorts the tally's numbers. */
must_use enum status load_plot_draw(struct load_plot *p, struct load_tally *t, const char *title,
                                    struct note *why);

/* Removes the file when nothing was drawn. */
void load_plot_close(struct load_plot *p);

#endif
