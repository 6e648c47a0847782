#include "base/kmeans.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { STARTS = 10, ROUNDS = 50, LANES = 8 };

float dot_of(const float *a, const float *b, uint32_t d)
{
    float lane[LANES] = { 0 };
    for (uint32_t i = 0; i < d; i += LANES)
        for (uint32_t l = 0; l < LANES; l++)
            lane[l] += a[i + l] * b[i + l];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

void unit_vector(float *x, uint32_t d)
{
    const float length = sqrtf(dot_of(x, x, d));
    for (uint32_t i = 0; i < d && length > 0; i++)
        x[i] /= length;
}

/* ---- one start ---- */

struct start {
    const float *x;
    uint32_t n, d, k;
    uint32_t *of;
    float *mean;   // [k][d], and
    float *square; //   [k] their squared lengths
    float *far;    // [n] squared distance to the nearest mean
    float *length; // [n] squared, of each vector
};

static float distance(const struct start *s, uint32_t i, uint32_t c)
{
    const float *x = s->x + (size_t)i * s->d, *m = s->mean + (size_t)c * s->d;
    const float far = s->length[i] - 2 * dot_of(x, m, s->d) + s->square[c];
    return far > 0 ? far : 0;
}

static void set_mean(struct start *s, uint32_t c, const float *mean)
{
    float *m = s->mean + (size_t)c * s->d;
    memmove(m, mean, s->d * sizeof *m);
    s->square[c] = dot_of(m, m, s->d);
}

/* A vector drawn by its distance to the means there are; n: all lie on one of them. */
static uint32_t draw_far(const struct start *s, struct rng *rng)
{
    double sum = 0;
    for (uint32_t i = 0; i < s->n; i++)
        sum += (double)s->far[i];
    if (!(sum > 1e-6 * s->n))
        return s->n;
    double left = rng_unit(rng) * sum;
    uint32_t last = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        if (!(s->far[i] > 0))
            continue;
        last = i;
        left -= (double)s->far[i];
        if (left < 0)
            break;
    }
    return last;
}

/* k-means++: k may become fewer (W2). */
static void seed_means(struct start *s, struct rng *rng)
{
    const uint32_t wanted = s->k;
    uint32_t at = rng_below(rng, s->n);
    for (s->k = 0; s->k < wanted && at < s->n; at = draw_far(s, rng)) {
        set_mean(s, s->k, s->x + (size_t)at * s->d);
        for (uint32_t i = 0; i < s->n; i++) {
            const float far = distance(s, i, s->k);
            if (s->k == 0 || far < s->far[i])
                s->far[i] = far;
        }
        s->k++;
    }
}

/* Each to its nearest mean, the first of equal ones. True: somebody moved. */
static bool assign(struct start *s)
{
    bool moved = false;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t best = 0;
        float least = distance(s, i, 0);
        for (uint32_t c = 1; c < s->k; c++) {
            const float far = distance(s, i, c);
            if (far < least) {
                least = far;
                best = c;
            }
        }
        moved |= s->of[i] != best;
        s->of[i] = best;
        s->far[i] = least;
    }
    return moved;
}

/* Means of members; a cluster that lost all of them takes the vector that is farthest from its own. */
static void move_means(struct start *s)
{
    for (uint32_t c = 0; c < s->k; c++) {
        float *m = s->mean + (size_t)c * s->d;
        uint32_t n = 0, farthest = 0;
        memset(m, 0, s->d * sizeof *m);
        for (uint32_t i = 0; i < s->n; i++) {
            farthest = s->far[i] > s->far[farthest] ? i : farthest;
            if (s->of[i] != c)
                continue;
            n++;
            for (uint32_t j = 0; j < s->d; j++)
                m[j] += s->x[(size_t)i * s->d + j];
        }
        for (uint32_t j = 0; j < s->d && n > 0; j++)
            m[j] /= (float)n;
        if (n == 0) {
            s->far[farthest] = 0;
            s->of[farthest] = c;
        }
        set_mean(s, c, n ? m : s->x + (size_t)farthest * s->d);
    }
}

static double run(struct start *s, uint32_t k, struct rng *rng)
{
    double sum = 0;
    s->k = k;
    seed_means(s, rng);
    memset(s->of, 0xff, s->n * sizeof *s->of);
    for (int round = 0; assign(s) && round < ROUNDS; round++)
        move_means(s);
    for (uint32_t i = 0; i < s->n; i++)
        sum += (double)s->far[i];
    return sum / s->n;
}

/* ---- the best of them ---- */

/* Clusters without members go, and the others are numbered by their first ones (W2, W3). */
static void number(struct kmeans *out, const struct start *s, uint32_t *name)
{
    out->k = 0;
    memset(name, 0xff, s->k * sizeof *name);
    for (uint32_t i = 0; i < s->n; i++) {
        const uint32_t c = s->of[i];
        if (name[c] == UINT32_MAX) {
            name[c] = out->k++;
            memcpy(out->centroid + (size_t)name[c] * s->d, s->mean + (size_t)c * s->d,
                   s->d * sizeof *s->mean);
        }
        out->of[i] = name[c];
    }
    for (uint32_t c = 0; c < out->k; c++)
        unit_vector(out->centroid + (size_t)c * s->d, s->d);
}

enum status kmeans_new(struct kmeans *out, const float *x, uint32_t n, uint32_t d, uint32_t k,
                       uint64_t seed)
{
    assert(n > 0 && k > 0);
    assert(d % LANES == 0);
    k = k < n ? k : n;
    struct start s = { .x = x, .n = n, .d = d };
    uint32_t *name = mem_new(k, sizeof *name);
    enum status st = FULL;
    *out = (struct kmeans){ .n = n, .d = d };
    out->of = mem_new(n, sizeof *out->of);
    out->centroid = mem_new((size_t)k * d, sizeof *out->centroid);
    s.of = mem_new(n, sizeof *s.of);
    s.mean = mem_new((size_t)k * d, sizeof *s.mean);
    s.square = mem_new(k, sizeof *s.square);
    s.far = mem_new(n, sizeof *s.far);
    s.length = mem_new(n, sizeof *s.length);
    if (!name || !out->of || !out->centroid || !s.of || !s.mean || !s.square || !s.far || !s.length)
        goto out;
    for (uint32_t i = 0; i < n; i++)
        s.length[i] = dot_of(x + (size_t)i * d, x + (size_t)i * d, d);
    for (uint32_t i = 0; i < STARTS; i++) {
        struct rng rng = rng_seeded(seed, i);
        const double spread = run(&s, k, &rng);
        if (i > 0 && spread >= out->spread)
            continue;
        out->spread = spread;
        number(out, &s, name);
    }
    st = OK;
out:
    mem_free(name);
    mem_free(s.of);
    mem_free(s.mean);
    mem_free(s.square);
    mem_free(s.far);
    mem_free(s.length);
    if (st != OK)
        kmeans_close(out);
    return st;
}

void kmeans_close(struct kmeans *km)
{
    mem_free(km->of);
    mem_free(km->centroid);
    *km = (struct kmeans){ 0 };
}

/* ---- how many ---- */

static double silhouette_of(const struct kmeans *km, const float *x, uint32_t i, double *sum,
                            uint32_t *count)
{
    for (uint32_t c = 0; c < km->k; c++)
        sum[c] = count[c] = 0;
    for (uint32_t j = 0; j < km->n; j++) {
        if (j == i)
            continue;
        const float far =
            2 - 2 * dot_of(x + (size_t)i * km->d, x + (size_t)j * km->d, km->d); // of unit vectors
        sum[km->of[j]] += (double)sqrtf(far > 0 ? far : 0);
        count[km->of[j]]++;
    }
    if (count[km->of[i]] == 0)
        return 0;
    double own = sum[km->of[i]] / count[km->of[i]], other = INFINITY;
    for (uint32_t c = 0; c < km->k; c++)
        if (c != km->of[i] && sum[c] / count[c] < other)
            other = sum[c] / count[c];
    const double more = own > other ? own : other;
    return more > 0 && isfinite(other) ? (other - own) / more : 0;
}

enum status kmeans_silhouette(const struct kmeans *km, const float *x, double *out)
{
    double *sum = mem_new(km->k, sizeof *sum), all = 0;
    uint32_t *count = mem_new(km->k, sizeof *count);
    const enum status st = sum && count ? OK : FULL;
    for (uint32_t i = 0; st == OK && i < km->n; i++)
        all += silhouette_of(km, x, i, sum, count);
    mem_free(sum);
    mem_free(count);
    if (st == OK)
        *out = all / km->n;
    return st;
}

enum status kmeans_best(struct kmeans *out, const float *x, uint32_t n, uint32_t d, uint32_t least,
                        uint32_t most, uint64_t seed)
{
    double best = -INFINITY;
    *out = (struct kmeans){ 0 };
    for (uint32_t k = least; k <= most; k++) {
        struct kmeans one;
        double s = 0;
        enum status st = kmeans_new(&one, x, n, d, k, seed);
        if (st == OK)
            st = kmeans_silhouette(&one, x, &s);
        if (st != OK) {
            kmeans_close(&one);
            kmeans_close(out);
            return st;
        }
        if (s > best) {
            kmeans_close(out);
            *out = one;
            best = s;
        } else {
            kmeans_close(&one);
        }
    }
    return OK;
}
