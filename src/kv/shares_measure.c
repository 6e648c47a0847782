/* Shares from what a replay measured, and what is said of them. */
#include <math.h>

#include "base/num.h"
#include "base/mem.h"
#include "kv/best.h"
#include "kv/shares.h"

/* Rows that stay whatever they received: the first, and a tenth of the budget at the end. */
enum { SINKS = 4, RECENT_PART = 10 };

/* key [n_head][n]: floors above all else. */
static void make_keys(const float *z, size_t n_head, uint32_t n, uint32_t recent, uint64_t *key)
{
    for (size_t h = 0; h < n_head; h++)
        for (uint32_t i = 0; i < n; i++)
            key[h * n + i] =
                i < SINKS || i >= n - recent ? UINT64_MAX : kv_row_key(z[h * n + i], i);
}

/* The shares of one text at one budget. */
static void add_budget(float *share, size_t n_head, uint32_t n, size_t budget, const uint64_t *key)
{
    struct kv_best best = kv_best_of(key, n_head * n, n_head * budget);
    for (size_t h = 0; h < n_head; h++) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++)
            kept += kv_best_take(&best, key[h * n + i]);
        share[h] += (float)kept / (float)budget;
    }
}

enum status kv_shares_add(const struct kv_shares *sum, float *const *share, const float *z,
                          uint32_t n)
{
    const size_t n_head = (size_t)sum->n_layer * sum->n_kv_head;
    uint64_t *key = mem_new(n_head * n, sizeof *key);
    if (!key)
        return FULL;
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++) {
        const uint64_t rows = (uint64_t)n * kv_shares_percent[b] / 100;
        const uint32_t budget = min_u32(n, rows < SINKS ? SINKS : (uint32_t)rows);
        make_keys(z, n_head, n, min_u32(budget / RECENT_PART, n), key);
        add_budget(share[b], n_head, n, budget, key);
    }
    mem_free(key);
    return OK;
}

void kv_shares_mean(struct kv_shares *sum, uint32_t n_text)
{
    const size_t n_head = (size_t)sum->n_layer * sum->n_kv_head;
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (size_t h = 0; h < n_head; h++)
            sum->share[b][h] /= (float)n_text, sum->follow[b][h] /= (float)n_text;
    for (uint32_t l = 0; l < sum->n_layer; l++)
        sum->change[l] /= (float)n_text;
}

double kv_shares_correlation(const struct kv_shares *a, const struct kv_shares *b, uint32_t budget)
{
    const size_t n = (size_t)a->n_layer * a->n_kv_head;
    const float *x = a->share[budget], *y = b->share[budget];
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

uint32_t kv_shares_half(const struct kv_shares *s, uint32_t budget)
{
    const size_t n = (size_t)s->n_layer * s->n_kv_head;
    const float *share = s->share[budget];
    double all = 0, held = 0, below = INFINITY;
    uint32_t n_held = 0;
    for (size_t i = 0; i < n; i++)
        all += share[i];
    while (held < all / 2) { // the next largest share, and all heads that have it
        double next = -1;
        for (size_t i = 0; i < n; i++)
            next = share[i] < below && share[i] > next ? share[i] : next;
        for (size_t i = 0; i < n && held < all / 2; i++)
            if (share[i] == next) {
                held += next;
                n_held++;
            }
        below = next;
    }
    return n_held;
}
