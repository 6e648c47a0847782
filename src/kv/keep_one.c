/* Who leaves with each token: of each list above its budget the lowest row behind no floor. Where a rank is what the
 * row has received, as H2O's is, all lists are looked over where they lie: writing their rows down first took 7 % of a
 * step. */
#include <assert.h>

#include "kv/best.h"
#include "kv/keep_in.h"
#include "kv/least.h"

/* ---- by any rank ---- */

static kv_row lowest_of(const struct keep *k, uint32_t list)
{
    kv_row lowest = KV_NO_ROW;
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
        k->leaves[i] = keep_is_above(k, i, 1) ? lowest_of(k, i) : KV_NO_ROW;
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

/* What a pass has found (kv/taps.h), where it looked; it is found once. */
static kv_row found_by_pass(const struct keep *k, uint32_t list)
{
    const struct kv_taps *t = k->job->taps;
    const uint32_t layer = k->model_layer[list / k->n_kv_head], h = list % k->n_kv_head;
    if (!t || t->n_least == 0)
        return KV_ROW_UNKNOWN;
    kv_row *row = &t->least[layer * k->n_kv_head + h], found = *row;
    *row = KV_ROW_UNKNOWN;
    return found;
}

/* False: of some list it is not known. */
static bool all_are_found(struct keep *k)
{
    bool all = true;
    for (uint32_t i = 0; i < k->n_list; i++) {
        const kv_row row = found_by_pass(k, i);
        k->leaves[i] = k->head[i].n > k->budget[i] ? row : KV_NO_ROW;
        all &= k->leaves[i] != KV_ROW_UNKNOWN;
    }
    return all;
}

static void mass_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct keep *k = arg;
    const struct kv_open open = kv_open_of(&k->floors, k->job->n_position);
    (void)part, (void)n_part;
    for (uint32_t layer; keep_next_layer(k, &layer);)
        for (uint32_t i = layer * k->n_kv_head; i < (layer + 1) * k->n_kv_head; i++)
            if (k->leaves[i] == KV_ROW_UNKNOWN)
                k->leaves[i] = kv_least_received(k->m->kern, &k->list[i], open);
}

static enum status by_mass(struct keep *k, struct note *why)
{
    return all_are_found(k) ? OK : keep_run_layers(k, mass_part, why);
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
        st = is_by_mass(&k) ? by_mass(&k, why) : keep_run_layers(&k, rank_part, why);
    for (uint32_t i = 0; i < k.n_list && st == OK; i++)
        if (k.leaves[i] != KV_NO_ROW)
            keep_drop(&k, i, k.leaves[i]);
    return st;
}
