#include "bin/samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"

void samples_add(struct samples *s, double x)
{
    if (s->n < SAMPLES_MAX)
        s->x[s->n++] = x;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The i-th smallest. */
static double nth(const struct samples *s, uint32_t i)
{
    double sorted[SAMPLES_MAX];
    memcpy(sorted, s->x, s->n * sizeof *sorted);
    qsort(sorted, s->n, sizeof *sorted, by_size);
    return sorted[i];
}

double samples_quantile(const struct samples *s, double q)
{
    return s->n ? nth(s, (uint32_t)(q * (s->n - 1) + 0.5)) : NAN;
}

double samples_median(const struct samples *s)
{
    return s->n ? (nth(s, (s->n - 1) / 2) + nth(s, s->n / 2)) / 2 : NAN;
}

double samples_mean(const struct samples *s)
{
    double sum = 0;
    for (uint32_t i = 0; i < s->n; i++)
        sum += s->x[i];
    return sum / s->n;
}

double samples_deviation(const struct samples *s)
{
    const double mean = samples_mean(s);
    double squares = 0;
    for (uint32_t i = 0; i < s->n; i++)
        squares += (s->x[i] - mean) * (s->x[i] - mean);
    return s->n > 1 ? sqrt(squares / (s->n - 1)) : mean * 0;
}

double samples_largest(const struct samples *s)
{
    return samples_quantile(s, 1);
}

double clock_us(void)
{
    return (double)os_now_ns() * 1e-3;
}

double clock_thread_us(void)
{
    return (double)os_thread_ns() * 1e-3;
}
