/* bin/load_plot.h - two curves as a PNG: shares of first tokens, and of gaps, by ms. */
#ifndef BIN_LOAD_PLOT_H
#define BIN_LOAD_PLOT_H

#include "bin/gnuplot.h"
#include "bin/load_tally.h"

/* Sorts the tally's numbers. */
must_use enum status load_plot_draw(struct gnuplot *p, struct load_tally *t, const char *title,
                                    struct note *why);

#endif
