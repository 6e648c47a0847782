#include "bin/load_dist.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum load_dist_kind kind;
    int n_number;
} kinds[] = {
    { "", LOAD_FIXED, 1 },
    { "uniform:", LOAD_UNIFORM, 2 },
    { "lognormal:", LOAD_LOGNORMAL, 2 },
    { "exponential:", LOAD_EXPONENTIAL, 1 },
};

/* "A" or "A,B", and nothing behind. */
static bool read_numbers(const char *text, int n, double out[2])
{
    for (int i = 0; i < n; i++) {
        char *end;
        out[i] = strtod(text, &end);
        if (end == text || *end != (i + 1 < n ? ',' : 0) || !isfinite(out[i]) || out[i] < 0)
            return false;
        text = end + 1;
    }
    return true;
}

static bool makes_sense(const struct load_dist *d, double most)
{
    if (d->a > most)
        return false;
    if (d->kind == LOAD_UNIFORM)
        return d->b >= d->a && d->b <= most && floor(d->a) == d->a && floor(d->b) == d->b;
    return d->kind != LOAD_LOGNORMAL || (d->a > 0 && d->b <= 10);
}

enum status load_dist_parse(struct load_dist *out, const char *text, double most, struct note *why)
{
    for (size_t i = sizeof kinds / sizeof *kinds; i-- > 0;) {
        const size_t len = strlen(kinds[i].name);
        double number[2] = { 0 };
        if (strncmp(text, kinds[i].name, len) != 0)
            continue;
        if (!read_numbers(text + len, kinds[i].n_number, number))
            break;
        const struct load_dist d = { kinds[i].kind, number[0], number[1] };
        if (!makes_sense(&d, most))
            break;
        *out = d;
        return OK;
    }
    note_set(why,
             "'%s' is no amount from 0 to %.15g: give 128, uniform:64,256, lognormal:200,0.8 "
             "(median, sigma) or exponential:500 (mean)",
             text, most);
    return BAD_INPUT;
}

/* Source: Box and Muller 1958, "A Note on the Generation of Random Normal Deviates". */
static double draw_normal(struct rng *rng)
{
    const double radius = sqrt(-2 * log(1 - rng_unit(rng)));
    return radius * cos(2 * M_PI * rng_unit(rng));
}

double load_dist_draw(const struct load_dist *d, struct rng *rng)
{
    switch (d->kind) {
    case LOAD_FIXED:
        break;
    case LOAD_UNIFORM:
        return d->a + floor(rng_unit(rng) * (d->b - d->a + 1));
    case LOAD_LOGNORMAL:
        return d->a * exp(d->b * draw_normal(rng));
    case LOAD_EXPONENTIAL:
        return -d->a * log(1 - rng_unit(rng));
    }
    return d->a;
}

uint32_t load_dist_count(const struct load_dist *d, struct rng *rng, uint32_t least, uint32_t most)
{
    const double x = round(load_dist_draw(d, rng));
    return x <= least ? least : x >= most ? most : (uint32_t)x;
}
