#include "twin/select_twin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "base/mem.h"

struct unit {
    uint32_t first, end;
    double score, scale; // scale: what the score's rounding is measured by
};

void select_twin_open(struct select_twin *t, uint32_t n_max)
{
    t->asked = mem_new(t->d, sizeof *t->asked);
    t->asked_then = mem_new(t->d, sizeof *t->asked_then);
    t->chosen = mem_new(n_max, sizeof *t->chosen);
    t->n_asked = 0;
    t->has = false;
}

void select_twin_close(struct select_twin *t)
{
    mem_free(t->asked);
    mem_free(t->asked_then);
    mem_free(t->chosen);
}

static uint32_t cut(const struct select_twin *t, uint32_t n, struct unit *unit)
{
    uint32_t n_unit = 0;
    for (uint32_t p = 0; p < n; p++) {
        const bool first =
            p == 0 ||
            (t->page ? p % t->page == 0 : t->ends[p - 1] && p - unit[n_unit - 1].first >= t->least);
        if (first)
            unit[n_unit++] = (struct unit){ .first = p };
        unit[n_unit - 1].end = p + 1;
    }
    return n_unit;
}

static double stored(double x)
{
    return f32_of_f16(f16_of_f32((float)x));
}

/* One element of the keys of a unit's rows. */
struct element {
    double n, sum, squares, least, largest;
};

static struct element element_of(const struct select_twin *t, const struct unit *u, const float *k,
                                 uint32_t j)
{
    struct element e = { .least = INFINITY, .largest = -INFINITY };
    for (uint32_t p = u->first; p < u->end; p++) {
        const double x = k[(size_t)p * t->d + j];
        if (!t->there[p])
            continue;
        e.n++;
        e.sum += x;
        e.squares += x * x;
        e.least = fmin(e.least, x);
        e.largest = fmax(e.largest, x);
    }
    return e;
}

static double score_of(const struct select_twin *t, struct unit *u, const float *k, const double *q)
{
    double first = 0, second = 0, square = 0, scale = 0;
    for (uint32_t j = 0; j < t->d; j++) {
        const struct element e = element_of(t, u, k, j);
        if (e.n == 0)
            return 0; /* nothing of it can be read */
        const double mean = e.sum / e.n;
        square += mean * mean;
        if (t->address == TWIN_BOUNDS)
            first += fmax(q[j] * stored(e.least), q[j] * stored(e.largest));
        else
            first += q[j] * stored(mean);
        if (t->address == TWIN_SPREAD)
            second += q[j] * q[j] * stored(fmax(e.squares / e.n - mean * mean, 0));
        scale += fabs(q[j]) * fmax(fabs(e.least), fabs(e.largest));
    }
    const double length = t->cosine ? sqrt(square) : 1;
    u->scale += scale / length;
    return (first + 2 * sqrt(second)) / length;
}

static void score(const struct select_twin *t, struct unit *u, const float *k, const double *q,
                  uint32_t n_query)
{
    u->score = t->largest ? -INFINITY : 0;
    for (uint32_t i = 0; i < n_query; i++) {
        const double s = score_of(t, u, k, q + (size_t)i * t->d);
        u->score = t->largest ? fmax(u->score, s) : u->score + s;
    }
}

/* The product of q and a key as its book holds it: whole numbers up to 7 of the key's largest
 * (kernels/scan.h). */
static double product_of_held(const double *q, const float *k, uint32_t d)
{
    float largest = 0;
    double sum = 0;
    for (uint32_t j = 0; j < d; j++)
        largest = fmaxf(largest, fabsf(k[j]));
    const float inverse = largest > 0 ? 7 / largest : 0;
    for (uint32_t j = 0; j < d; j++)
        sum += q[j] * rintf(k[j] * inverse);
    return sum * (double)(largest * (1 / 7.0f));
}

/* What rows that are there receive of one query: adds to [n]. */
static void add_attention(const struct select_twin *t, const float *k, const double *q, uint32_t n,
                          double *attention)
{
    double *s = mem_new(n, sizeof *s), largest = -INFINITY, sum = 0;
    for (uint32_t p = 0; p < n; p++) {
        s[p] = t->attn_scale * product_of_held(q, k + (size_t)p * t->d, t->d);
        if (t->there[p])
            largest = fmax(largest, s[p]);
    }
    for (uint32_t p = 0; p < n; p++)
        sum += s[p] = t->there[p] ? exp(s[p] - largest) : 0;
    for (uint32_t p = 0; p < n; p++)
        attention[p] += s[p] / sum;
    mem_free(s);
}

/* As codes of 8 bits hold it (kernels/scan.h). */
static void round_query(double *q, uint32_t d)
{
    double most = 0;
    for (uint32_t j = 0; j < d; j++)
        most = fmax(most, fabs(q[j]));
    for (uint32_t j = 0; most > 0 && j < d; j++)
        q[j] = rint((double)((float)q[j] * (127 / (float)most))) * most / 127;
}

/* A product of floats far from the largest is 0 in the engine: units of next to nothing are as good as each other. */
static void score_by_rows(const struct select_twin *t, struct unit *unit, uint32_t n_unit,
                          const float *k, double *q, uint32_t n)
{
    double *attention = mem_new(n, sizeof *attention);
    for (uint32_t g = 0; g < t->group; g++) {
        round_query(q + (size_t)g * t->d, t->d);
        add_attention(t, k, q + (size_t)g * t->d, n, attention);
    }
    for (uint32_t i = 0; i < n_unit; i++) {
        for (uint32_t p = unit[i].first; p < unit[i].end; p++)
            unit[i].score += attention[p];
        unit[i].scale = unit[i].score + 1e-30;
    }
    mem_free(attention);
}

static int by_score(const void *a, const void *b)
{
    const struct unit *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->first < y->first ? 1 : -1;
}

static bool too_near(const struct unit *a, const struct unit *b)
{
    return a->score - b->score < 2e-5 * (a->scale + b->scale);
}

/* Best first until the budget is spent. */
static bool take(const struct select_twin *t, const struct unit *unit, uint32_t n_unit, uint32_t n,
                 bool *reads)
{
    const uint32_t recent = t->recent < n ? n - t->recent : 0;
    uint32_t left = t->budget, last = n_unit;
    for (uint32_t p = 0; p <= n; p++) {
        reads[p] = t->there[p] && (p < t->n_sink || p >= recent);
        left -= reads[p];
    }
    for (uint32_t i = 0; i < n_unit && left > 0; i++) {
        for (uint32_t p = unit[i].first; p < unit[i].end && left > 0; p++) {
            left -= t->there[p] && !reads[p];
            reads[p] = t->there[p];
        }
        last = i;
    }
    const bool before = last < n_unit && last > 0 && too_near(&unit[last - 1], &unit[last]);
    const bool behind = last + 1 < n_unit && too_near(&unit[last], &unit[last + 1]);
    return !before && !behind;
}

static void ask(struct select_twin *t, const float *q, uint32_t n)
{
    if (n == 0 || t->ends[n - 1]) {
        memset(t->asked, 0, t->d * sizeof *t->asked);
        t->n_asked = 0;
        t->has = false;
    }
    for (uint32_t g = 0; g < t->group; g++)
        for (uint32_t j = 0; j < t->d; j++)
            t->asked[j] += q[(size_t)g * t->d + j];
    t->n_asked++;
}

/* What asks as one vector: of the sentence, or of this query's heads. */
static void question(const struct select_twin *t, const float *q, double *sum)
{
    for (uint32_t j = 0; j < t->d; j++) {
        sum[j] = t->mean ? t->asked[j] : 0;
        for (uint32_t g = 0; g < t->group && !t->mean; g++)
            sum[j] += q[(size_t)g * t->d + j];
    }
}

/* Whether what was chosen before is read again; *sure: rounding has no say in that. */
static bool stays(const struct select_twin *t, const double *now, bool *sure)
{
    double product = 0, a = 0, b = 0;
    *sure = true;
    if (!t->once || !t->has || t->drift == 0)
        return t->once && t->has;
    for (uint32_t j = 0; j < t->d; j++) {
        product += now[j] * t->asked_then[j];
        a += now[j] * now[j];
        b += t->asked_then[j] * t->asked_then[j];
    }
    const double cosine = product / sqrt(a * b);
    *sure = fabs(cosine - t->drift) > 1e-5;
    return cosine >= t->drift;
}

static bool is_floor(const struct select_twin *t, uint32_t p, uint32_t n)
{
    return p < t->n_sink || p + t->recent >= n;
}

static bool read_again(const struct select_twin *t, uint32_t n, bool *reads)
{
    for (uint32_t p = 0; p <= n; p++)
        reads[p] = t->there[p] && (is_floor(t, p, n) || t->chosen[p]);
    return t->sure;
}

static void remember(struct select_twin *t, const double *now, uint32_t n, const bool *reads,
                     bool sure)
{
    t->has = true;
    t->sure = sure;
    memcpy(t->asked_then, now, t->d * sizeof *now);
    for (uint32_t p = 0; p <= n; p++)
        t->chosen[p] = reads[p] && !is_floor(t, p, n);
}

static bool choose(struct select_twin *t, const float *q, const float *k, uint32_t n, bool *reads)
{
    struct unit *unit = mem_new(n + 1, sizeof *unit);
    double *each = mem_new((size_t)t->group * t->d, sizeof *each);
    for (uint32_t i = 0; i < t->group * t->d; i++)
        each[i] = q[i];
    const uint32_t n_unit = cut(t, n, unit);
    if (t->address == TWIN_ROWS)
        score_by_rows(t, unit, n_unit, k, each, n);
    for (uint32_t i = 0; i < n_unit && t->address != TWIN_ROWS; i++)
        score(t, &unit[i], k, t->mean ? t->asked : each, t->mean ? 1 : t->group);
    qsort(unit, n_unit, sizeof *unit, by_score);
    const bool sure = take(t, unit, n_unit, n, reads);
    mem_free(each);
    mem_free(unit);
    return sure;
}

bool select_twin_rows(struct select_twin *t, const float *q, const float *k, uint32_t n,
                      bool *reads)
{
    uint32_t n_there = 0;
    bool same = true;
    for (uint32_t p = 0; p <= n; p++)
        n_there += t->there[p];
    if (t->budget < n_there) /* what fits asks nothing (kv/select.h) */
        ask(t, q, n);
    if (t->budget >= n_there || (t->mean && t->n_asked <= t->dense_first)) {
        memcpy(reads, t->there, n + 1);
        return true;
    }
    double *now = mem_new(t->d, sizeof *now);
    question(t, q, now);
    bool sure;
    if (stays(t, now, &same)) {
        t->sure &= same;
        sure = read_again(t, n, reads);
    } else {
        sure = choose(t, q, k, n, reads) && same;
        remember(t, now, n, reads, sure);
    }
    mem_free(now);
    return sure;
}
