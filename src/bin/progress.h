/* bin/progress.h - one line on a terminal that says how far something is; elsewhere nothing.
 *
 *   smollm2  [####--------]   38%  35.6 MiB of 88.6 MiB  47.1 MiB/s  0:01 left
 *
 * The line appears after half a second, is drawn ten times a second, and is gone at the end.
 * Threads  one at a time.  Cost  a clock read a call. */
#ifndef BIN_PROGRESS_H
#define BIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_unit { PROGRESS_BYTES, PROGRESS_COUNT };

struct progress {
    char label[40];
    uint64_t total; // 0: not known
    enum progress_unit unit;
    uint64_t first; // done before it began: a resumed download
    uint64_t start_ns, drawn_ns;
    bool on;
};

/* `first` of `total` are done already. */
void progress_begin(struct progress *p, const char *label, enum progress_unit unit, uint64_t first,
                    uint64_t total);
void progress_at(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

enum { PROGRESS_LINE = 160 };
/* The line as drawn after `seconds`, at most `width` characters. */
void progress_line(const struct progress *p, uint64_t done, double seconds, int width,
                   char out[PROGRESS_LINE]);

#endif
