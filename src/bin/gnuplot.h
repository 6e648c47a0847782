/* bin/gnuplot.h - a script of gnuplot's becomes a PNG.
 *
 *   gnuplot_open    the file can be written and gnuplot is there: before the work, not behind it
 *   gnuplot_draw    gnuplot reads the script (a memory file) and writes the picture into the file
 *
 * gnuplot is found in PATH; it is needed for plots alone. Threads  one at a time. */
#ifndef BIN_GNUPLOT_H
#define BIN_GNUPLOT_H

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

struct gnuplot {
    const char *path; // the caller's; it outlives this
    int fd;
};

/* IO_ERROR: the note says which of the two is missing; nothing stays open. */
must_use enum status gnuplot_open(struct gnuplot *p, const char *path, struct note *why);

/* The script must set a terminal that writes PNG. FULL: it failed to be built. */
must_use enum status gnuplot_draw(struct gnuplot *p, const struct buf *script, struct note *why);

/* Removes the file when nothing was drawn. */
void gnuplot_close(struct gnuplot *p);

/* A text in gnuplot's quotes. */
void gnuplot_add_quoted(struct buf *out, const char *text);

#endif
