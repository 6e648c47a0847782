#include "kv/shares.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/fmath.h"

const uint32_t kv_shares_percent[KV_SHARES_BUDGETS] = { 5, 10, 20, 50 };

enum status kv_shares_open(struct kv_shares *out, uint32_t n_layer, uint32_t n_kv_head)
{
    const size_t n = (size_t)n_layer * n_kv_head;
    float *all = mem_new(n * KV_SHARES_BUDGETS + n_layer, sizeof *all);
    if (!all)
        return FULL;
    *out = (struct kv_shares){ .n_layer = n_layer, .n_kv_head = n_kv_head };
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        out->share[b] = all + b * n;
    out->change = all + KV_SHARES_BUDGETS * n;
    return OK;
}

void kv_shares_close(struct kv_shares *s)
{
    mem_free(s->share[0]);
    *s = (struct kv_shares){ 0 };
}

/* ---- by layers ---- */

/* No layer gets less than this of the mean; dealing takes it from the others. */
#define LEAST_OF_LAYER 0.25

bool kv_shares_has_layers(const struct kv_shares *s)
{
    double sum = 0;
    for (uint32_t l = 0; l < s->n_layer; l++)
        sum += (double)s->change[l];
    return sum > 0;
}

static double power_of(float change, float alpha)
{
    return change > 0 ? fm_pow((double)change, (double)alpha) : alpha == 0;
}

void kv_shares_by_layer(const struct kv_shares *s, float alpha, float *layer, struct kv_shares *out)
{
    double sum = 0;
    for (uint32_t l = 0; l < s->n_layer; l++)
        sum += power_of(s->change[l], alpha);
    for (uint32_t l = 0; l < s->n_layer; l++) {
        const double share = power_of(s->change[l], alpha) * s->n_layer / sum;
        layer[l] = (float)fmax(share, LEAST_OF_LAYER);
    }
    *out = *s;
    out->layer = layer;
}

/* ---- dealing ---- */

/* No head is ever told nothing: a share of 0 would stay 0 however large the budget. */
#define LEAST_SHARE 1e-3

/* A head's share at a budget. */
static double interpolated(const struct kv_shares *s, size_t head, double percent)
{
    if (s->layer)
        return s->layer[head / s->n_kv_head];
    double below_percent = 0, below = s->share[0][head];
    for (uint32_t b = 0; b <= KV_SHARES_BUDGETS; b++) {
        const bool is_all = b == KV_SHARES_BUDGETS;
        const double at = is_all ? 100 : kv_shares_percent[b];
        const double share = is_all ? 1 : s->share[b][head];
        if (percent <= at) {
            const double x = (percent - below_percent) / (at - below_percent);
            return below + x * (share - below);
        }
        below_percent = at;
        below = share;
    }
    return 1;
}

struct deal {
    const struct kv_shares *shares;
    double even;
    size_t n_head;
    double budget, n, least, percent;
};

/* The part of all rows that a head with such a share wants. */
static double want_of(const struct deal *d, double share)
{
    return fmin(1, share * d->budget / d->n);
}

/* A head that wants all rows hardly gives any of them to the even part, unless that is all there is. */
static double share_of(const struct deal *d, size_t head)
{
    const double share = interpolated(d->shares, head, d->percent),
                 even = d->even * (1 - (1 - d->even) * want_of(d, share));
    return fmax(share + even * (1 - share), LEAST_SHARE);
}

/* What a head gives up where floors and the even part have spent too much: below a factor of 2 the rest that it would not
 * miss, below 1 also the part that it wants. Above 2 all get more alike. */
static double part_of(double want, double factor)
{
    if (factor < 1)
        return factor * want;
    return factor < 2 ? want + (factor - 1) * (1 - want) : factor - 1;
}

static double wanted(const struct deal *d, size_t head, double factor)
{
    const double share = share_of(d, head),
                 rows = part_of(want_of(d, share), factor) * share * d->budget;
    return fmin(d->n, fmax(d->least, rows));
}

static double all_wanted(const struct deal *d, double factor)
{
    double sum = 0;
    for (size_t i = 0; i < d->n_head; i++)
        sum += wanted(d, i, factor);
    return sum;
}

/* The factor that spends the budget, from below. */
static double find_factor(const struct deal *d)
{
    double low = 0, high = d->n / (LEAST_SHARE * d->budget) + 2;
    for (int i = 0; i < 80; i++) {
        const double middle = (low + high) / 2;
        if (all_wanted(d, middle) <= d->n_head * d->budget)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Whole rows; what is left over goes to the largest fractions, the first of equal ones. */
static void deal_whole(const struct deal *d, double factor, uint32_t *rows)
{
    uint64_t left = (uint64_t)(d->n_head * d->budget);
    for (size_t i = 0; i < d->n_head; i++) {
        rows[i] = (uint32_t)wanted(d, i, factor);
        left -= left < rows[i] ? left : rows[i];
    }
    for (left = left < d->n_head ? left : d->n_head; left > 0; left--) {
        double most = -1;
        size_t best = 0;
        for (size_t i = 0; i < d->n_head; i++) {
            const double fraction = wanted(d, i, factor) - rows[i];
            if (rows[i] < d->n && fraction > most) {
                most = fraction;
                best = i;
            }
        }
        if (most < 0)
            return; // all have everything
        rows[best]++;
    }
}

void kv_shares_deal(const struct kv_shares *shares, float even, uint32_t n_layer,
                    uint32_t n_kv_head, uint32_t budget, uint32_t n, uint32_t least, uint32_t *rows)
{
    const size_t n_head = (size_t)n_layer * n_kv_head;
    least = least < n ? least : n;
    if (!shares || budget >= n || budget <= least) {
        const uint32_t each = budget >= n ? n : budget <= least ? least : budget;
        for (size_t i = 0; i < n_head; i++)
            rows[i] = each;
        return;
    }
    const struct deal d = { shares, (double)even, n_head, budget, n, least, 100.0 * budget / n };
    deal_whole(&d, find_factor(&d), rows);
}

/* ---- whole blocks ---- */

/* Rows in the last block of a list behind its loose ones, where that block may be filled or left. */
static uint32_t remainder_of(uint32_t rows, uint32_t loose, uint32_t least, uint32_t n)
{
    const uint32_t over = rows > loose && rows < n ? (rows - loose) % KV_BLOCK : 0;
    return rows - over >= least ? over : 0;
}

void kv_shares_round(uint32_t *rows, uint32_t n_list, uint32_t loose, uint32_t least, uint32_t n)
{
    uint64_t left = 0; // what rounding down frees; the largest remainders are rounded up with it
    uint32_t n_of[KV_BLOCK] = { 0 };
    for (uint32_t i = 0; i < n_list; i++) {
        const uint32_t over = remainder_of(rows[i], loose, least, n);
        left += over;
        n_of[over]++;
    }
    for (uint32_t over = KV_BLOCK - 1; over > 0 && left >= KV_BLOCK; over--)
        for (uint32_t i = 0; n_of[over] && i < n_list && left >= KV_BLOCK; i++) {
            if (remainder_of(rows[i], loose, least, n) != over)
                continue;
            left -= KV_BLOCK;
            rows[i] = n - rows[i] > KV_BLOCK - over ? rows[i] + KV_BLOCK - over : n;
        }
    for (uint32_t i = 0; i < n_list; i++)
        rows[i] -= remainder_of(rows[i], loose, least, n);
}
