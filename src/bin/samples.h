/* bin/samples.h - what a measurement gave each time it was repeated, and what to make of it.
 *
 * Samples behind the SAMPLES_MAX-th are not kept. Of none, everything is NAN. */
#ifndef BIN_SAMPLES_H
#define BIN_SAMPLES_H

#include <stdint.h>

enum { SAMPLES_MAX = 1024 };

struct samples {
    uint32_t n;
    double x[SAMPLES_MAX]; // in the order they came
};

void samples_add(struct samples *s, double x);

double samples_median(const struct samples *s);
double samples_quantile(const struct samples *s,
                        double q); // the sample that a share q is not above
double samples_mean(const struct samples *s);
double samples_deviation(const struct samples *s); // standard deviation, estimated; 0 of one
double samples_largest(const struct samples *s);

double clock_us(void);        // of a clock that nobody sets
double clock_thread_us(void); // processor time of the calling thread

#endif
