#include "twin/rank_twin.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

/* ---- the sequence ---- */

void rank_twin_of(struct rank_twin *t, const struct hparams *h, const struct kv_shape *shape,
                  uint16_t *model_layer, uint32_t n_max)
{
    const uint32_t whole = kv_whole_group(shape);
    const struct kv_group *group = &shape->group[whole];
    for (uint32_t l = 0; l < h->n_layer; l++)
        if (shape->layer_group[l] == whole)
            model_layer[shape->layer_index[l]] = (uint16_t)l;
    *t = (struct rank_twin){ .n_layer = group->n_layer,
                             .n_kv_head = group->n_kv_head,
                             .group = h->n_head / group->n_kv_head,
                             .d = h->d_head,
                             .d_v = h->d_head,
                             .n_max = n_max,
                             .scale = h->attn_scale,
                             .n_rot = h->n_rot,
                             .rope_halves = h->rope_halves,
                             .model_layer = model_layer };
    assert(h->attn_softcap == 0);
    rank_twin_open(t);
}

void rank_twin_open(struct rank_twin *t)
{
    const size_t n_row = (size_t)t->n_layer * t->n_kv_head * t->n_max;
    t->live = mem_new(n_row, sizeof *t->live);
    t->k = mem_new(n_row * t->d, sizeof *t->k);
    t->v = mem_new(n_row * t->d_v, sizeof *t->v);
    t->query = mem_new(n_row * t->group * t->d, sizeof *t->query);
    t->raw = mem_new(n_row * t->group * t->d, sizeof *t->raw);
    t->mass = mem_new(n_row, sizeof *t->mass);
    t->future = mem_new(t->n_rot, sizeof *t->future);
}

void rank_twin_close(struct rank_twin *t)
{
    mem_free(t->live);
    mem_free(t->k);
    mem_free(t->v);
    mem_free(t->query);
    mem_free(t->raw);
    mem_free(t->mass);
    mem_free(t->future);
}

static size_t row_at(const struct rank_twin *t, uint32_t layer, uint32_t h, uint32_t p)
{
    return ((size_t)layer * t->n_kv_head + h) * t->n_max + p;
}

static bool is_live(const struct rank_twin *t, uint32_t layer, uint32_t h, uint32_t p)
{
    return p < t->n_position && t->live[row_at(t, layer, h, p)];
}

/* ---- options, by their words ---- */

static void option_text(const struct kv_choice *c, const char *name, char value[64])
{
    char text[512], *at;
    kv_choice_print(c, text, sizeof text);
    *value = '\0';
    for (at = strpbrk(text, ":"); at; at = strchr(at, ',')) {
        const size_t n = strlen(name);
        if (strncmp(++at, name, n) == 0 && at[n] == '=')
            sscanf(at + n + 1, "%63[^,]", value);
    }
}

static double number(const struct kv_choice *c, const char *name)
{
    char value[64];
    option_text(c, name, value);
    return atof(value);
}

static bool is(const struct kv_choice *c, const char *name, const char *want)
{
    char value[64];
    option_text(c, name, value);
    return strcmp(value, want) == 0;
}

/* ---- attention ---- */

static double dot(const float *a, const float *b, uint32_t d)
{
    double sum = 0;
    for (uint32_t j = 0; j < d; j++)
        sum += (double)a[j] * b[j];
    return sum;
}

/* weight [n_max]: softmax of the scores of what is live from position `from` up to `to`; 0 elsewhere. */
static void softmax(const struct rank_twin *t, uint32_t layer, uint32_t h, uint32_t from,
                    uint32_t to, double *weight)
{
    double top = -INFINITY, sum = 0;
    for (uint32_t p = from; p <= to; p++)
        if (is_live(t, layer, h, p))
            top = fmax(top, weight[p]);
    for (uint32_t p = 0; p < t->n_max; p++) {
        const bool seen = p >= from && p <= to && is_live(t, layer, h, p);
        weight[p] = seen ? exp(weight[p] - top) : 0;
        sum += weight[p];
    }
    for (uint32_t p = 0; p < t->n_max; p++)
        weight[p] /= sum;
}

/* What the query of position q, of head g of the group, pays each row up to `last`. */
static void attention(const struct rank_twin *t, uint32_t layer, uint32_t h, uint32_t g, uint32_t q,
                      uint32_t last, double *weight)
{
    const uint32_t n_head = t->n_kv_head * t->group;
    const float *query =
        t->query + (((size_t)layer * t->n_max + q) * n_head + h * t->group + g) * t->d;
    for (uint32_t p = 0; p < t->n_position; p++)
        weight[p] = t->scale * dot(query, t->k + row_at(t, layer, h, p) * t->d, t->d);
    softmax(t, layer, h, 0, last, weight);
}

/* The last n queries' weights, decayed, of one head. */
static void received(const struct rank_twin *t, uint32_t layer, uint32_t h, uint32_t g, uint32_t n,
                     double decay, double *sum)
{
    double *weight = mem_new(t->n_max, sizeof *weight);
    n = n < t->n_position ? n : t->n_position;
    for (uint32_t q = t->n_position - n; q < t->n_position; q++) {
        attention(t, layer, h, g, q, q, weight);
        for (uint32_t p = 0; p < t->n_max; p++)
            sum[p] += pow(decay, t->n_position - 1 - q) * weight[p];
    }
    mem_free(weight);
}

static double length_of(const float *x, uint32_t d, bool l1)
{
    double sum = 0;
    for (uint32_t j = 0; j < d; j++)
        sum += l1 ? fabs(x[j]) : (double)x[j] * x[j];
    return l1 ? sum : sqrt(sum);
}

/* ---- policies ---- */

static void h2o(const struct rank_twin *t, const struct kv_choice *c, uint32_t layer, uint32_t h,
                double *rank)
{
    const bool sum = is(c, "score", "sum"), mean = is(c, "score", "mean");
    double *of_head = mem_new(t->n_max, sizeof *of_head);
    for (uint32_t g = 0; g < t->group && !sum && !mean; g++) {
        memset(of_head, 0, t->n_max * sizeof *of_head);
        received(t, layer, h, g, (uint32_t)number(c, "last"),
                 is(c, "score", "ema") ? number(c, "decay") : 1, of_head);
        for (uint32_t p = 0; p < t->n_position; p++)
            rank[p] = is(c, "group", "max") ? fmax(rank[p], of_head[p]) : rank[p] + of_head[p];
    }
    for (uint32_t p = 0; p < t->n_position; p++) {
        if (sum || mean)
            rank[p] = (double)t->mass[row_at(t, layer, h, p)] / (1 << 30);
        if (mean)
            rank[p] /= t->n_position - p;
        if (is(c, "values", "on"))
            rank[p] *= length_of(t->v + row_at(t, layer, h, p) * t->d_v, t->d_v, true);
    }
    mem_free(of_head);
}

static void snapkv(const struct rank_twin *t, const struct kv_choice *c, uint32_t layer, uint32_t h,
                   uint32_t kernel, bool largest, double *rank)
{
    const uint32_t asked = (uint32_t)number(c, "window");
    const uint32_t n_query = asked < t->n_position ? asked : t->n_position;
    double *sum = mem_new(t->n_max, sizeof *sum);
    uint32_t *order = mem_new(t->n_max, sizeof *order), n = 0;
    for (uint32_t g = 0; g < t->group; g++)
        received(t, layer, h, g, n_query, 1, sum);
    for (uint32_t p = 0; p < t->n_position; p++) {
        rank[p] = INFINITY;
        if (is_live(t, layer, h, p) && p < t->n_position - n_query)
            order[n++] = p;
    }
    for (uint32_t i = 0; i < n; i++) {
        double top = 0, all = 0;
        for (int j = (int)i - (int)(kernel - 1) / 2; j <= (int)(i + kernel / 2); j++)
            if (j >= 0 && j < (int)n) {
                top = fmax(top, sum[order[j]]);
                all += sum[order[j]];
            }
        rank[order[i]] = largest ? top : all / kernel;
    }
    mem_free(sum);
    mem_free(order);
}

/* Of the query `back` positions before the next; it sees all rows. */
static void one_query(const struct rank_twin *t, uint32_t layer, uint32_t back, double *rank)
{
    double *weight = mem_new(t->n_max, sizeof *weight);
    for (uint32_t h = 0; h < t->n_kv_head && back <= t->n_position; h++)
        for (uint32_t g = 0; g < t->group; g++) {
            attention(t, layer, h, g, t->n_position - back, t->n_position - 1, weight);
            for (uint32_t p = 0; p < t->n_max; p++)
                rank[p] += weight[p];
        }
    mem_free(weight);
}

static void keydiff(const struct rank_twin *t, uint32_t layer, uint32_t h, double *rank)
{
    double *anchor = mem_new(t->d, sizeof *anchor), length = 0;
    for (uint32_t p = 0; p < t->n_position; p++) {
        const float *k = t->k + row_at(t, layer, h, p) * t->d;
        const double of_k = length_of(k, t->d, false);
        for (uint32_t j = 0; j < t->d && is_live(t, layer, h, p); j++)
            anchor[j] += k[j] / of_k;
    }
    for (uint32_t j = 0; j < t->d; j++)
        length += anchor[j] * anchor[j];
    for (uint32_t p = 0; p < t->n_position; p++) {
        const float *k = t->k + row_at(t, layer, h, p) * t->d;
        double sum = 0;
        for (uint32_t j = 0; j < t->d; j++)
            sum += anchor[j] * k[j];
        rank[p] = -sum / sqrt(length) / length_of(k, t->d, false);
    }
    mem_free(anchor);
}

/* The mean rotation of the next positions. */
static void rotate(const struct rank_twin *t, double *x)
{
    for (uint32_t i = 0; i < t->n_rot / 2; i++) {
        double *a = t->rope_halves ? &x[i] : &x[2 * i];
        double *b = t->rope_halves ? &x[i + t->n_rot / 2] : &x[2 * i + 1];
        const double c = t->future[2 * i], s = t->future[2 * i + 1], was = *a;
        *a = was * c - *b * s;
        *b = was * s + *b * c;
    }
}

/* What policy/expected.c keeps of a covariance: outer products taken out of it, the largest variance first, until a
 * thousandth of its trace is left. */
static void spend(double *cov, uint32_t d)
{
    double *rest = mem_new((size_t)d * d, sizeof *rest), all = 0, left = 0;
    memcpy(rest, cov, (size_t)d * d * sizeof *rest);
    for (uint32_t i = 0; i < d; i++)
        all += rest[i * d + i];
    for (left = all; left > 1e-3 * all;) {
        double *column = mem_new(d, sizeof *column);
        uint32_t top = 0;
        for (uint32_t i = 0; i < d; i++)
            top = rest[i * d + i] > rest[top * d + top] ? i : top;
        for (uint32_t i = 0; i < d; i++)
            column[i] = rest[i * d + top] / sqrt(rest[top * d + top]);
        left = 0;
        for (uint32_t i = 0; i < d; i++) {
            for (uint32_t j = 0; j < d; j++)
                rest[i * d + j] -= column[i] * column[j];
            left += rest[i * d + i];
        }
        mem_free(column);
    }
    for (uint32_t i = 0; i < d * d; i++)
        cov[i] -= rest[i];
    mem_free(rest);
}

/* mean [d] and covariance [d][d] of one head's queries, of all rows but the first four. */
static void of_rows(const struct rank_twin *t, uint32_t layer, uint32_t head, double *mean,
                    double *cov)
{
    const uint32_t d = t->d, n_head = t->n_kv_head * t->group;
    const double n = t->n_position - 4.0;
    for (uint32_t p = 4; p < t->n_position; p++)
        for (uint32_t i = 0; i < d; i++)
            mean[i] += t->raw[(((size_t)layer * t->n_max + p) * n_head + head) * d + i] / n;
    for (uint32_t p = 4; p < t->n_position; p++) {
        const float *q = t->raw + (((size_t)layer * t->n_max + p) * n_head + head) * d;
        for (uint32_t i = 0; i < d; i++)
            for (uint32_t j = 0; j < d; j++)
                cov[i * d + j] += (q[i] - mean[i]) * (q[j] - mean[j]) / n;
    }
}

static void of_taps(const struct rank_twin *t, uint32_t layer, uint32_t head, double *mean,
                    double *cov)
{
    const size_t d = t->d, at = (size_t)t->model_layer[layer] * t->n_kv_head * t->group + head;
    const float *sum = t->taps->sum + at * d, *outer = t->taps->outer + at * d * d;
    const double n = (double)t->taps->n_moment;
    for (size_t i = 0; i < d; i++)
        mean[i] = sum[i] / n;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j <= i; j++)
            cov[i * d + j] = cov[j * d + i] = outer[i * d + j] / n - mean[i] * mean[j];
}

/* The same, as the next positions turn them. */
static void distribution(const struct rank_twin *t, uint32_t layer, uint32_t head, double *mean,
                         double *cov)
{
    const uint32_t d = t->d;
    if (t->taps)
        of_taps(t, layer, head, mean, cov);
    else
        of_rows(t, layer, head, mean, cov);
    spend(cov, d);
    rotate(t, mean);
    for (uint32_t i = 0; i < d; i++) // rows: C R'
        rotate(t, cov + i * d);
    for (uint32_t i = 0; i < d; i++)
        for (uint32_t j = 0; j < i; j++) {
            const double x = cov[i * d + j];
            cov[i * d + j] = cov[j * d + i];
            cov[j * d + i] = x;
        }
    for (uint32_t i = 0; i < d; i++) // its transpose, and again: R C R'
        rotate(t, cov + i * d);
}

static void expected(const struct rank_twin *t, uint32_t layer, uint32_t h, bool covariance,
                     bool values, double *rank)
{
    const uint32_t d = t->d;
    for (uint32_t g = 0; g < t->group; g++) {
        double *mean = mem_new(d, sizeof *mean), *cov = mem_new((size_t)d * d, sizeof *cov);
        double *weight = mem_new(t->n_max, sizeof *weight);
        distribution(t, layer, h * t->group + g, mean, cov);
        for (uint32_t p = 0; p < t->n_position; p++) {
            const float *k = t->k + row_at(t, layer, h, p) * d;
            double first = 0, second = 0;
            for (uint32_t i = 0; i < d; i++) {
                first += mean[i] * k[i];
                for (uint32_t j = 0; j < d; j++)
                    second += k[i] * cov[i * d + j] * k[j];
            }
            weight[p] = t->scale * first + covariance * t->scale * t->scale * second / 2;
        }
        softmax(t, layer, h, 4, t->n_position - 1, weight);
        for (uint32_t p = 0; p < t->n_position; p++)
            rank[p] += weight[p];
        mem_free(mean);
        mem_free(cov);
        mem_free(weight);
    }
    for (uint32_t p = 0; p < t->n_position; p++) {
        if (values)
            rank[p] *= length_of(t->v + row_at(t, layer, h, p) * t->d_v, t->d_v, false);
        if (p < 4)
            rank[p] = INFINITY;
    }
}

/* rank = the larger of itself and minus how many rows between the floors come before by score. */
static void join(const struct rank_twin *t, uint32_t layer, uint32_t h, const double *score,
                 double *rank)
{
    for (uint32_t p = 0; p < t->n_position; p++) {
        double place = 0;
        for (uint32_t o = t->n_sink; o < t->recent; o++)
            place +=
                is_live(t, layer, h, o) && (score[o] > score[p] || (score[o] == score[p] && o > p));
        rank[p] = fmax(rank[p], -place);
    }
}

static void joined(const struct rank_twin *t, const struct kv_choice *c, uint32_t layer, uint32_t h,
                   double *rank)
{
    char by[64], rest[64];
    option_text(c, "ranks", by);
    option_text(c, "rest", rest);
    const uint32_t probe_back = strstr(by, "last") || strstr(rest, "last") ? 2 : 1;
    if (t->whole && t->budget[layer * t->n_kv_head + h] < t->mean_budget &&
        strcmp(rest, "ranks") != 0)
        memcpy(by, rest, sizeof by);
    for (uint32_t p = 0; p < t->n_position; p++)
        rank[p] = -1e9;
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = { "last", "expected", "keydiff", "probe" };
        double *score = mem_new(t->n_max, sizeof *score);
        if (i == 0)
            one_query(t, layer, 1, score);
        else if (i == 1)
            expected(t, layer, h, true, true, score);
        else if (i == 2)
            keydiff(t, layer, h, score);
        else
            one_query(t, layer, probe_back, score);
        if (strstr(by, names[i]))
            join(t, layer, h, score, rank);
        mem_free(score);
    }
}

static void epicache(const struct rank_twin *t, const struct kv_choice *c, uint32_t layer,
                     uint32_t h, double *rank)
{
    double *score = mem_new(2 * t->n_max, sizeof *score), *ahead = score + t->n_max;
    for (uint32_t p = 0; p < t->n_position; p++) {
        score[p] = (double)t->mass[row_at(t, layer, h, p)] / (1 << 30);
        rank[p] = is(c, "ranks", "mass") ? score[p] : -1e9;
    }
    if (is(c, "ranks", "mass+expected")) {
        expected(t, layer, h, true, true, ahead);
        join(t, layer, h, score, rank);
        join(t, layer, h, ahead, rank);
    }
    mem_free(score);
}

void rank_twin_list(const struct rank_twin *t, const struct kv_choice *c, uint32_t layer,
                    uint32_t h, double *rank)
{
    const char *name = c->policy->name;
    memset(rank, 0, t->n_max * sizeof *rank);
    if (strcmp(name, "h2o") == 0 || strcmp(name, "h2o-chunked") == 0)
        h2o(t, c, layer, h, rank);
    else if (strcmp(name, "snapkv") == 0)
        snapkv(t, c, layer, h, (uint32_t)number(c, "kernel"), is(c, "pool", "max"), rank);
    else if (strcmp(name, "sentencekv") == 0)
        snapkv(t, c, layer, h, 7, true, rank);
    else if (strcmp(name, "tova") == 0)
        one_query(t, layer, 1, rank);
    else if (strcmp(name, "keydiff") == 0)
        keydiff(t, layer, h, rank);
    else if (strcmp(name, "expected") == 0)
        expected(t, layer, h, is(c, "covariance", "on"), is(c, "values", "on"), rank);
    else if (strcmp(name, "auto") == 0)
        joined(t, c, layer, h, rank);
    else if (strcmp(name, "epicache") == 0)
        epicache(t, c, layer, h, rank);
    else
        for (uint32_t p = 0; p < t->n_position; p++) {
            const uint64_t seed =
                hash_u64((uint64_t)number(c, "seed"), (uint64_t)t->model_layer[layer] << 32 | h);
            rank[p] = strcmp(name, "window") == 0   ? p
                      : strcmp(name, "random") == 0 ? (double)(hash_u64(seed, p) >> 40)
                                                    : (double)t->mass[row_at(t, layer, h, p)];
        }
}

double rank_twin_slack(const struct kv_choice *c, double rank)
{
    const bool places = strcmp(c->policy->name, "epicache") == 0 && is(c, "ranks", "mass+expected");
    if (places || strcmp(c->policy->name, "auto") == 0)
        return 2.5; // places: a tie above moves those below it
    return 1e-7 + 2e-5 * fabs(rank);
}
