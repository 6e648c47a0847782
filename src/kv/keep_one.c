/* Who leaves with each token: of each list above its budget the lowest row behind no floor. Where a rank is what the row has
 * received, as H2O's is, all lists are looked over where they lie: writing their rows down first took 7 % of a step. */
#include <assert.h>

#include "kv/best.h"
#include "kv/keep_in.h"

/* ---- by any rank ---- */

static kv_row lowest_of(const struct keep *k, uint32_t list)
{
    kv_row lowest = KEEP_NOBODY;
    uint64_t least = UINT64_MAX;
    for (size_t j = k->first[list]; j < k->first[list + 1]; j++) {
        const uint64_t key = kv_row_key(k->rank[j], k->position[j]);
        if (!keep_is_floor(k, k->position[j]) && key <= least) {
            least = key;
            lowest = k->row[j];
        }
    }
    return lowest;
}

static void by_rank(struct keep *k, uint32_t layer, struct kv_rank_source *source)
{
    const uint32_t first = layer * k->n_kv_head;
    keep_gather(k, layer);
    if (keep_layer_is_above(k, layer))
        keep_rank_layer(k, layer, source);
    for (uint32_t i = first; i < first + k->n_kv_head; i++)
        k->leaves[i] = keep_is_above(k, i, 1) ? lowest_of(k, i) : KEEP_NOBODY;
}

static void rank_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct keep *k = arg;
    struct kv_rank_source *source = &k->m->room->source[part];
    (void)n_part;
    for (uint32_t layer; !source->failed && keep_next_layer(k, &layer);)
        by_rank(k, layer, source);
}

/* ---- by what rows received ---- */

/* The lowest row so far. Ranks are floats, so rows of up to `bound` may have the same one. */
struct lowest {
    uint64_t key, bound;
    kv_row row;
};

static void offer(struct lowest *l, kv_row row, uint32_t position, uint64_t mass)
{
    const uint64_t key = kv_row_key(kv_mass_received(mass), position);
    if (key > l->key)
        return;
    *l = (struct lowest){ key, mass + (mass >> 23) + 1, row };
}

/* Positions [first, end) are behind no floor. */
struct open_range {
    uint32_t first, end;
};

static struct open_range open_positions(const struct keep *k)
{
    const uint32_t n = k->job->n_position, recent = k->floors.recent;
    return (struct open_range){ k->floors.n_sink, recent < n ? n - recent : 0 };
}

/* Of 64 rows of a list's tail, from position `at` on, those behind no floor. */
static uint64_t open_in_tail(struct open_range open, uint32_t at)
{
    const uint32_t first = open.first > at ? open.first - at : 0;
    const uint32_t end = open.end > at ? open.end - at : 0,
                   end_here = end < KV_BLOCK ? end : KV_BLOCK;
    return first < end_here ? row_bits(first, end_here) : 0;
}

/* Of 64 slots. Without a branch: which rows are recent is chance. */
static uint64_t open_in_slots(struct open_range open, const uint32_t *position)
{
    const uint32_t n = open.first < open.end ? open.end - open.first : 0;
    uint64_t bits = 0;
    for (uint32_t i = 0; i < KV_BLOCK; i++)
        bits = bits >> 1 | (uint64_t)(position[i] - open.first < n) << 63;
    return bits;
}

static uint64_t below(const uint64_t *mass, uint64_t bound)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < KV_BLOCK; i++)
        bits = bits >> 1 | (uint64_t)(mass[i] <= bound) << 63;
    return bits;
}

/* Of 64 rows those that are live and behind no floor. Almost none has less than the lowest so far. */
static void look_over(struct lowest *l, uint64_t rows, const uint64_t *mass,
                      const uint32_t *position, kv_row first)
{
    if (rows)
        rows &= below(mass, l->bound);
    for (; rows; rows &= rows - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(rows);
        if (mass[i] <= l->bound)
            offer(l, first + i, position ? position[i] : (first & ~KV_IN_TAIL) + i, mass[i]);
    }
}

static kv_row least_received(const struct keep *k, const struct kv_list *list)
{
    const struct open_range open = open_positions(k);
    struct lowest l = { UINT64_MAX, UINT64_MAX, KEEP_NOBODY };
    for (uint32_t b = 0; b < list->n_block; b++) {
        const uint32_t *position = list->position + (size_t)b * KV_BLOCK;
        look_over(&l, list->live[b] & open_in_slots(open, position),
                  list->mass + (size_t)b * KV_BLOCK, position, b * KV_BLOCK);
    }
    for (uint32_t b = list->tail_first; b * KV_BLOCK < open.end; b++)
        look_over(&l, list->tail_live[b] & open_in_tail(open, b * KV_BLOCK),
                  list->tail_mass + (size_t)b * KV_BLOCK % list->n_tail_mass, NULL,
                  KV_IN_TAIL | b * KV_BLOCK);
    return l.row;
}

/* Whether ranks are that; and floors fit into all budgets, so that none need be counted. */
static bool is_by_mass(const struct keep *k)
{
    const struct kv_choice *c = k->job->choice;
    if (!c->policy->by_mass || !c->policy->by_mass(c->options.bytes))
        return false;
    for (uint32_t i = 0; i < k->n_list; i++)
        if (k->floors.n_sink + k->floors.recent > k->budget[i])
            return false;
    return true;
}

static void mass_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct keep *k = arg;
    (void)part, (void)n_part;
    for (uint32_t layer; keep_next_layer(k, &layer);)
        for (uint32_t i = layer * k->n_kv_head; i < (layer + 1) * k->n_kv_head; i++)
            k->leaves[i] =
                k->head[i].n > k->budget[i] ? least_received(k, &k->list[i]) : KEEP_NOBODY;
}

/* ---- either ---- */

enum status kv_keep_one(const struct kv_keep_model *m, const struct kv_keep_job *job,
                        struct note *why)
{
    struct keep k;
    if (keep_is_nothing(m, job))
        return OK;
    assert(job->choice->policy->scope == KV_SCOPE_HEAD);
    enum status st = keep_begin(&k, m, job, why);
    if (st == OK)
        st = keep_run_layers(&k, is_by_mass(&k) ? mass_part : rank_part, why);
    for (uint32_t i = 0; i < k.n_list && st == OK; i++)
        if (k.leaves[i] != KEEP_NOBODY)
            keep_drop(&k, i, k.leaves[i]);
    return st;
}
