/* support/timing.h - what the kernels' benches measure by: time of one thread, and the middle of
 * several. */
#ifndef SUPPORT_TIMING_H
#define SUPPORT_TIMING_H

#include <stddef.h>

/* Of this thread alone: another process's turn is not counted. */
double cpu_seconds(void);

/* The median of n >= 1 numbers, which are sorted by it. */
double median(double *x, size_t n);

#endif
