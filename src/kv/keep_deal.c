/* What a choice comes to in rows and bytes. */
#include <math.h>

#include "base/mem.h"
#include "kv/keep.h"

static uint32_t at_most(double rows, uint32_t most)
{
    return rows < most ? (uint32_t)rows : most;
}

static uint32_t n_list(const struct kv_shape *shape)
{
    const uint32_t g = kv_whole_group(shape);
    return g < shape->n_group ? shape->group[g].n_layer * shape->group[g].n_kv_head : 0;
}

/* Bytes of one row of every list. */
static double bytes_a_row(const struct kv_shape *shape)
{
    const uint32_t g = kv_whole_group(shape);
    if (g >= shape->n_group)
        return INFINITY;
    return (double)shape->group[g].n_layer * (double)kv_layer_bytes(shape, g) / KV_BLOCK;
}

static uint32_t budget_of(struct kv_amount a, const struct kv_shape *shape, uint32_t n_whole)
{
    double rows = a.n;
    if (a.unit == KV_PERCENT)
        rows = n_whole * a.n / 100;
    if (a.unit == KV_BYTES)
        rows = a.n / bytes_a_row(shape);
    return at_most(fmax(rows, 1), UINT32_MAX / 2);
}

struct kv_floors kv_read_floors(const struct kv_choice *c, const struct kv_shape *shape,
                                uint32_t n_whole)
{
    const struct kv_common *o = &c->options.common;
    struct kv_floors f = { .budget = budget_of(o->budget, shape, n_whole), .n_sink = o->n_sink };
    double recent = o->recent.n;
    if (o->recent.unit == KV_PERCENT)
        recent = fmax(f.budget * o->recent.n / 100, kv_choice_recent_least(c));
    f.recent = at_most(recent, UINT32_MAX / 2);
    return f;
}

struct kv_floors kv_keep_floors(const struct kv_choice *c, const struct kv_shape *shape,
                                uint32_t n_whole)
{
    struct kv_floors f = kv_read_floors(c, shape, n_whole);
    if (c->policy->keep_factor)
        f.budget =
            at_most((double)f.budget * c->policy->keep_factor(c->options.bytes), UINT32_MAX / 2);
    return f;
}

struct kv_open kv_open_of(const struct kv_floors *f, uint32_t n_position)
{
    return (struct kv_open){ f->n_sink, f->recent < n_position ? n_position - f->recent : 0 };
}

enum status kv_keep_check(const struct kv_choice *c, const struct kv_shape *shape, struct note *why)
{
    const struct kv_common *o = &c->options.common;
    if (!c->policy->rank && !c->policy->select)
        return OK;
    if (kv_whole_group(shape) >= shape->n_group) {
        note_set(why,
                 "every layer of this model has a window, which is its budget: KV policy '%s' has "
                 "nothing to do",
                 c->policy->name);
        return BAD_INPUT;
    }
    const struct kv_floors f = kv_read_floors(c, shape, 0);
    const double rows = o->budget.n / bytes_a_row(shape), least = (double)f.n_sink + f.recent;
    if (o->budget.unit != KV_BYTES || rows >= fmax(least, 1))
        return OK;
    note_set(why,
             "budget: %.0f bytes are %.3g rows of each kv_head (%.0f bytes each), and %.0f always "
             "stay; raise it",
             o->budget.n, rows, bytes_a_row(shape), fmax(least, 1));
    return BAD_INPUT;
}

uint32_t kv_keep_every(const struct kv_choice *c, const struct kv_shape *shape, uint32_t n_whole)
{
    const struct kv_amount every = c->options.common.every;
    if (every.unit != KV_PERCENT || every.n == 0)
        return at_most(every.n, UINT32_MAX / 2);
    const double rows = kv_keep_floors(c, shape, n_whole).budget * every.n / 100;
    return at_most(fmax(floor(rows / KV_BLOCK), 1) * KV_BLOCK, UINT32_MAX / 2);
}

/* From here on heads get four blocks on average: fewer, and whole blocks would not follow their shares. */
enum { ROUND_FROM = 4 * KV_BLOCK };

/* The part of the budget that all heads get alike: `part` at a tenth of all rows. What is left for heads that retrieve
 * grows as the root of the budget: of little they need most, and where they get all of their rows (whole), few heads
 * have soon all that they want. Where they get parts, more rows go on finding more facts: from a tenth on the part
 * stays as it is. */
static float even_of(float part, uint32_t budget, uint32_t n_whole, bool whole)
{
    const double root = sqrt(0.1 * n_whole / budget), by_share = whole ? root : fmax(root, 1);
    return part > 0 ? (float)fmax(1 - (1 - (double)part) * by_share, 0) : 0;
}

bool kv_keep_is_whole(const struct kv_choice *c, const struct kv_shares *shares)
{
    const struct kv_common *o = &c->options.common;
    if (o->shares == KV_SHARES_EQUAL || !shares)
        return false;
    return o->whole == KV_WHOLE_PROFILE ? shares->whole : o->whole == KV_WHOLE_ON;
}

/* Rows that a head can have: of a budget that the whole does not fill yet, all that there are. */
static uint32_t rows_of_all(uint32_t budget, uint32_t n_whole, uint32_t n_position)
{
    return budget >= n_whole && n_position > n_whole ? n_position : n_whole;
}

void kv_keep_deal(const struct kv_choice *c, const struct kv_shares *shares,
                  const struct kv_shape *shape, uint32_t n_whole, uint32_t n_position,
                  uint32_t *rows)
{
    const struct kv_common *o = &c->options.common;
    const struct kv_floors f = kv_keep_floors(c, shape, n_whole);
    const uint32_t least = f.n_sink + f.recent, open = n_position % KV_BLOCK;
    const uint32_t n = rows_of_all(f.budget, n_whole, n_position);
    struct kv_shares by_layer;
    float layer[KV_LAYER_MAX];
    const struct kv_shares *by = o->shares == KV_SHARES_EQUAL ? NULL : shares;
    if (by && o->shares == KV_SHARES_LAYERS) {
        by = kv_shares_has_layers(by) ? &by_layer : NULL;
        if (by)
            kv_shares_by_layer(shares, o->alpha, layer, &by_layer);
    }
    struct kv_shares of_others;
    if (by && o->shares == KV_SHARES_SHUFFLED) {
        of_others = *by;
        of_others.shuffled = true;
        by = &of_others;
    }
    const bool whole = kv_keep_is_whole(c, shares);
    const float even = o->block > 0 && !whole ? o->even_block : o->even;
    const struct kv_dealing how = { least, even_of(even, f.budget, n, whole), whole };
    kv_shares_deal(by, &how, f.budget, n, n_list(shape), rows);
    if (o->round && f.budget >= ROUND_FROM && f.budget < n)
        kv_shares_round(rows, n_list(shape), open < f.recent ? open : f.recent, least, n);
}

enum status kv_keep_bytes(const struct kv_choice *c, const struct kv_shares *shares,
                          const struct kv_shape *shape, uint32_t n_whole, uint32_t n_position,
                          size_t *out)
{
    const uint32_t n = n_list(shape);
    if (!kv_choice_drops(c) || n == 0) {
        *out = 0;
        return OK;
    }
    uint32_t *rows = mem_new(n, sizeof *rows);
    uint64_t sum = 0, n_block = 0;
    if (!rows)
        return FULL;
    kv_keep_deal(c, shares, shape, n_whole, n_position > n_whole ? n_position : n_whole, rows);
    for (uint32_t i = 0; i < n; i++) {
        sum += rows[i];
        n_block += (rows[i] + KV_BLOCK - 1) / KV_BLOCK;
    }
    const bool is_dealt_anew =
        rows_of_all(kv_keep_floors(c, shape, n_whole).budget, n_whole, n_position) > n_whole;
    if (kv_choice_scope(c) != KV_SCOPE_HEAD || c->options.common.round || is_dealt_anew)
        n_block = sum / KV_BLOCK + n; // how lists share them is not known: each may end in a part
    mem_free(rows);
    *out = n_block * kv_class_bytes(shape, kv_excerpt_class(shape));
    return OK;
}
