#include "kv/shares.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/fmath.h"

const uint32_t kv_shares_percent[KV_SHARES_BUDGETS] = { 5, 10, 20, 50 };

enum status kv_shares_open(struct kv_shares *out, uint32_t n_layer, uint32_t n_kv_head)
{
    const size_t n = (size_t)n_layer * n_kv_head;
    float *all = mem_new(2 * n * KV_SHARES_BUDGETS + n_layer, sizeof *all);
    if (!all)
        return FULL;
    *out = (struct kv_shares){ .n_layer = n_layer, .n_kv_head = n_kv_head };
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++) {
        out->share[b] = all + b * n;
        out->follow[b] = all + (KV_SHARES_BUDGETS + b) * n;
    }
    out->change = all + 2 * KV_SHARES_BUDGETS * n;
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

bool kv_shares_has_follow(const struct kv_shares *s)
{
    double sum = 0;
    for (size_t i = 0; i < (size_t)s->n_layer * s->n_kv_head; i++)
        sum += (double)s->follow[0][i];
    return sum > 0;
}

/* A head's share at a budget, of those stored. */
static double interpolated(float *const *share, size_t head, double percent)
{
    double below_percent = 0, below = share[0][head];
    for (uint32_t b = 0; b <= KV_SHARES_BUDGETS; b++) {
        const bool is_all = b == KV_SHARES_BUDGETS;
        const double at = is_all ? 100 : kv_shares_percent[b];
        const double next = is_all ? 1 : share[b][head];
        if (percent <= at) {
            const double x = (percent - below_percent) / (at - below_percent);
            return below + x * (next - below);
        }
        below_percent = at;
        below = next;
    }
    return 1;
}

static size_t greatest_divisor(size_t a, size_t b)
{
    return b ? greatest_divisor(b, a % b) : a;
}

struct deal {
    const struct kv_shares *shares;
    size_t n_head;
    double budget, n, percent; // percent: of all rows, at which shares are looked up
    double least, even;        // rows: the floors, and the even part of a head
    bool follows;              // what text that follows looks at is known
};

/* Whose shares a head has: a permutation of all heads, that of counting in steps of a number that has no divisor in
 * common with theirs, near the golden section of it. */
static size_t whose(const struct deal *d, size_t head)
{
    size_t step = (size_t)(0.618 * (double)d->n_head) + 1;
    if (!d->shares->shuffled)
        return head;
    while (greatest_divisor(step, d->n_head) != 1)
        step++;
    return (head * step + 1) % d->n_head;
}

static double share_of(const struct deal *d, size_t head)
{
    const struct kv_shares *s = d->shares;
    return s->layer ? (double)s->layer[head / s->n_kv_head]
                    : interpolated(s->share, whose(d, head), d->percent);
}

/* What a head gets before shares are looked at, of `part` of the even part. */
static double first_of(const struct deal *d, size_t head, double part)
{
    const double follow =
        d->follows ? interpolated(d->shares->follow, whose(d, head), d->percent) : 1;
    return fmin(d->n, fmax(d->least, part * d->even * follow));
}

/* What it wants: first the even part, up to a factor of 1, then rows by its share. */
static double wanted(const struct deal *d, size_t head, double factor)
{
    const double by_share = (factor - 1) * fmax(share_of(d, head), LEAST_SHARE) * d->budget;
    return fmin(d->n, fmax(first_of(d, head, fmin(factor, 1)), by_share));
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
static void deal_parts(const struct deal *d, double factor, uint32_t *rows)
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

/* Of heads that lack rows, that with the largest share, the first of equal ones; n_head: there is none. */
static size_t largest_share(const struct deal *d, const uint32_t *rows)
{
    size_t best = d->n_head;
    double most = -1;
    for (size_t i = 0; i < d->n_head; i++) {
        const double share = rows[i] < d->n ? share_of(d, i) : -1;
        if (share > most) {
            most = share;
            best = i;
        }
    }
    return best;
}

/* All rows to one head after the other, behind what each gets first. */
static void deal_wholes(const struct deal *d, uint32_t *rows)
{
    struct deal rest = *d;
    uint64_t left = (uint64_t)(d->n_head * d->budget);
    for (size_t i = 0; i < d->n_head; i++) {
        rows[i] = (uint32_t)first_of(d, i, 1);
        left -= rows[i];
    }
    rest.percent = fmax(d->percent * (1 - d->even / d->budget), 0);
    for (size_t head; left > 0 && (head = largest_share(&rest, rows)) < d->n_head;) {
        const uint32_t lacks = (uint32_t)d->n - rows[head],
                       more = left < lacks ? (uint32_t)left : lacks;
        rows[head] += more;
        left -= more;
    }
}

void kv_shares_deal(const struct kv_shares *shares, const struct kv_dealing *how, uint32_t budget,
                    uint32_t n, uint32_t n_head, uint32_t *rows)
{
    const uint32_t least = how->least < n ? how->least : n;
    if (!shares || budget >= n || budget <= least) {
        const uint32_t each = budget >= n ? n : budget <= least ? least : budget;
        for (uint32_t i = 0; i < n_head; i++)
            rows[i] = each;
        return;
    }
    const struct deal d = {
        .shares = shares,
        .n_head = n_head,
        .budget = budget,
        .n = n,
        .percent = 100.0 * budget / n,
        .least = least,
        .even = (double)how->even * budget,
        .follows = how->even > 0 && kv_shares_has_follow(shares),
    };
    if (how->whole && all_wanted(&d, 1) <= d.n_head * d.budget)
        deal_wholes(&d, rows);
    else
        deal_parts(&d, find_factor(&d), rows);
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
            const uint32_t room = n - rows[i], up = room < KV_BLOCK - over ? room : KV_BLOCK - over;
            left -= over + up;
            rows[i] += up;
        }
    for (uint32_t i = 0; i < n_list; i++)
        rows[i] -= remainder_of(rows[i], loose, least, n);
}
