#include "bin/load_tally.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- numbers ---- */

static bool make_room(struct load_series *s, size_t n)
{
    if (s->room - s->n >= n)
        return true;
    size_t room = s->room ? s->room : 64;
    while (room - s->n < n)
        room *= 2;
    double *x = mem_resize(s->x, room, sizeof *x);
    if (!x) {
        s->failed = true;
        return false;
    }
    s->x = x;
    s->room = room;
    return true;
}

void load_series_add(struct load_series *s, double x)
{
    if (make_room(s, 1))
        s->x[s->n++] = x;
    s->sorted = false;
}

void load_series_add_all(struct load_series *s, const struct load_series *more)
{
    s->failed |= more->failed;
    for (size_t i = 0; i < more->n; i++)
        load_series_add(s, more->x[i]);
}

void load_series_close(struct load_series *s)
{
    mem_free(s->x);
    *s = (struct load_series){ 0 };
}

double load_series_mean(const struct load_series *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->x[i];
    return sum / (double)s->n;
}

double load_series_deviation(const struct load_series *s)
{
    const double mean = load_series_mean(s);
    double squares = 0;
    for (size_t i = 0; i < s->n; i++)
        squares += (s->x[i] - mean) * (s->x[i] - mean);
    return sqrt(squares / (double)s->n);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double load_series_quantile(struct load_series *s, double q)
{
    if (s->n == 0)
        return NAN;
    if (!s->sorted)
        qsort(s->x, s->n, sizeof *s->x, by_size);
    s->sorted = true;
    const double at = q * (double)(s->n - 1);
    const size_t i = (size_t)at;
    if (i + 1 >= s->n)
        return s->x[s->n - 1];
    return s->x[i] + (at - (double)i) * (s->x[i + 1] - s->x[i]);
}

/* ---- requests ---- */

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return (double)(to_ns - from_ns) * 1e-6;
}

double load_token_ms(const struct load_result *r)
{
    return r->n_output > 1 ? ms_between(r->first_ns, r->last_ns) / (double)(r->n_output - 1) : NAN;
}

bool load_in_slo(const struct load_slo *slo, const struct load_result *r)
{
    const double token_ms = load_token_ms(r);
    const bool first = slo->ttft_ms == 0 || ms_between(r->from_ns, r->first_ns) <= slo->ttft_ms;
    return first && (slo->itl_ms == 0 || isnan(token_ms) || token_ms <= slo->itl_ms);
}

void load_tally_add(struct load_tally *t, const struct load_result *r,
                    const struct load_series *gap)
{
    const double token_ms = load_token_ms(r);
    t->n_good++;
    t->n_in_slo += load_in_slo(&t->slo, r);
    t->n_without_usage += !r->has_usage;
    t->n_prompt += r->n_prompt;
    t->n_output += r->n_output;
    t->n_cached += r->n_cached > 0 ? r->n_cached : 0;
    t->cached_known |= r->n_cached >= 0;
    load_series_add(&t->first, ms_between(r->from_ns, r->first_ns));
    load_series_add(&t->whole, ms_between(r->from_ns, r->end_ns));
    load_series_add_all(&t->gap, gap);
    if (!isnan(token_ms))
        load_series_add(&t->token, token_ms);
}

/* The last row takes what has no row of its own any more. */
static struct load_fault *fault_of(struct load_tally *t, const char *label)
{
    for (uint32_t i = 0; i < t->n_fault; i++)
        if (strcmp(t->fault[i].label, label) == 0)
            return &t->fault[i];
    const bool last = t->n_fault >= LOAD_FAULTS_MAX - 1;
    struct load_fault *f = &t->fault[last ? LOAD_FAULTS_MAX - 1 : t->n_fault];
    if (t->n_fault < LOAD_FAULTS_MAX) {
        snprintf(f->label, sizeof f->label, "%s", last ? "others" : label);
        t->n_fault++;
    }
    return f;
}

void load_tally_fail(struct load_tally *t, const char *label, const struct note *why)
{
    struct load_fault *f = fault_of(t, label);
    if (f->n++ == 0)
        f->example = *why;
    t->n_failed++;
}

bool load_tally_failed(const struct load_tally *t)
{
    return t->first.failed || t->gap.failed || t->token.failed || t->whole.failed;
}

void load_tally_close(struct load_tally *t)
{
    load_series_close(&t->first);
    load_series_close(&t->gap);
    load_series_close(&t->token);
    load_series_close(&t->whole);
    *t = (struct load_tally){ 0 };
}
