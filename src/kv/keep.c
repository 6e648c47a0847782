#include <assert.h>

#include "kv/best.h"
#include "kv/keep_in.h"

/* ---- scopes: runs of lists that share a budget ---- */

static uint32_t lists_of_scope(const struct keep *k)
{
    const enum kv_scope scope = kv_choice_scope(k->job->choice);
    return scope == KV_SCOPE_HEAD ? 1 : scope == KV_SCOPE_LAYER ? k->n_kv_head : k->n_list;
}

/* Rows that lists [i, i + n) may keep together. */
static size_t keep_of(const struct keep *k, uint32_t i, uint32_t n)
{
    size_t budget = 0, floors = 0;
    for (uint32_t j = i; j < i + n; j++) {
        budget += k->budget[j];
        floors += k->n_stay[j];
    }
    return budget > floors ? budget : floors;
}

bool keep_is_above(const struct keep *k, uint32_t i, uint32_t n)
{
    return k->first[i + n] - k->first[i] > keep_of(k, i, n);
}

bool keep_layer_is_above(const struct keep *k, uint32_t layer)
{
    const uint32_t n = lists_of_scope(k), end = (layer + 1) * k->n_kv_head;
    for (uint32_t i = n == k->n_list ? 0 : layer * k->n_kv_head; i < end; i += n)
        if (keep_is_above(k, i, n))
            return true;
    return false;
}

static bool any_is_above(const struct keep *k)
{
    for (uint32_t layer = 0; layer < k->n_layer; layer++)
        if (keep_layer_is_above(k, layer))
            return true;
    return false;
}

/* ---- ranks ---- */

/* The taps' queries of a layer, oldest first. NULL: no memory. */
static const float *const *queries(const struct keep *k, const struct kv_rank_in *in)
{
    const struct kv_taps *taps = k->job->taps;
    const size_t row = (size_t)k->m->n_head * in->d;
    const float **query = kv_rank_room(in, k->n_query, sizeof *query);
    for (uint32_t t = 0; query && t < k->n_query; t++) {
        const uint32_t position = k->job->n_position - k->n_query + t;
        query[t] =
            taps->query + ((size_t)in->layer * taps->n_query + position % taps->n_query) * row;
    }
    return query;
}

static struct kv_rank_in layer_input(const struct keep *k, uint32_t layer,
                                     struct kv_rank_source *source)
{
    const struct kv_keep_model *m = k->m;
    const uint32_t floor = min_u32(k->floors.recent, k->job->n_position);
    return (struct kv_rank_in){
        .layer = k->model_layer[layer],
        .n_kv_head = k->n_kv_head,
        .group = m->n_head / k->n_kv_head,
        .d = k->group->d_k,
        .d_v = k->group->d_v,
        .scale = m->scale,
        .softcap = m->softcap,
        .budget = k->floors.budget,
        .whole = kv_keep_is_whole(k->job->choice, k->job->shares),
        .n_position = k->job->n_position,
        .n_sink = k->floors.n_sink,
        .recent = k->job->n_position - floor,
        .head = k->head + (size_t)layer * k->n_kv_head,
        .n_query = k->n_query,
        .n_rot = m->n_rot,
        .rope_halves = m->rope_halves,
        .kern = m->kern,
        .source = source,
    };
}

static void set_moments(const struct keep *k, struct kv_rank_in *in)
{
    const struct kv_taps *taps = k->job->taps;
    const size_t head = (size_t)in->layer * k->m->n_head;
    if (!(keep_needs(k->job->choice) & KV_NEED_MOMENTS))
        return;
    assert(taps && taps->sum && k->job->future);
    in->n_moment = taps->n_moment;
    in->sum = taps->sum + head * in->d;
    in->outer = taps->outer + head * in->d * in->d;
    in->future = k->job->future;
}

void keep_rank_layer(const struct keep *k, uint32_t layer, struct kv_rank_source *source)
{
    const struct kv_choice *c = k->job->choice;
    const struct kv_view view = kv_view_layer(k->job->space, k->model_layer[layer]);
    struct kv_rank_in in = layer_input(k, layer, source);
    kv_rank_source_next(source, k->list + (size_t)layer * k->n_kv_head, &view);
    in.query = queries(k, &in);
    set_moments(k, &in);
    if (in.query)
        c->policy->rank(c->options.bytes, &in, k->ranks + (size_t)layer * k->n_kv_head);
}

/* ---- the best stay ---- */

/* Of lists [i, i + n), which share a budget and are above it: the keys of rows that stay become 1, the others' 0. */
static void choose(struct keep *k, uint32_t i, uint32_t n)
{
    const size_t from = k->first[i], end = k->first[i + n];
    for (size_t j = from; j < end; j++)
        k->key[j] =
            keep_is_floor(k, k->position[j]) ? UINT64_MAX : kv_row_key(k->rank[j], k->position[j]);
    struct kv_best best = kv_best_of(k->key + from, end - from, keep_of(k, i, n));
    for (size_t j = from; j < end; j++)
        k->key[j] = kv_best_take(&best, k->key[j]);
}

void keep_drop(const struct keep *k, uint32_t list, kv_row row)
{
    kv_excerpt_drop(k->job->excerpt, k->model_layer[list / k->n_kv_head], list % k->n_kv_head, row);
}

static void drop_rest(const struct keep *k)
{
    const uint32_t n = lists_of_scope(k);
    for (uint32_t i = 0; i < k->n_list; i++) {
        if (!keep_is_above(k, i / n * n, n))
            continue;
        for (size_t j = k->first[i]; j < k->first[i + 1]; j++)
            if (!k->key[j])
                keep_drop(k, i, k->row[j]);
    }
}

/* ---- layers, each by one worker ---- */

static void rank_and_choose(struct keep *k, uint32_t layer, struct kv_rank_source *source)
{
    const uint32_t n = lists_of_scope(k), end = (layer + 1) * k->n_kv_head;
    if (!keep_layer_is_above(k, layer))
        return;
    keep_rank_layer(k, layer, source);
    for (uint32_t i = layer * k->n_kv_head; n < k->n_list && i < end; i += n)
        if (keep_is_above(k, i, n))
            choose(k, i, n);
}

bool keep_next_layer(struct keep *k, uint32_t *layer)
{
    *layer = atomic_fetch_add_explicit(&k->next, 1, memory_order_relaxed);
    return *layer < k->n_layer;
}

static void gather_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct keep *k = arg;
    (void)part, (void)n_part;
    for (uint32_t layer; keep_next_layer(k, &layer);)
        keep_gather(k, layer);
}

static void rank_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct keep *k = arg;
    struct kv_rank_source *source = &k->m->room->source[part];
    (void)n_part;
    for (uint32_t layer; !source->failed && keep_next_layer(k, &layer);)
        rank_and_choose(k, layer, source);
}

enum status keep_run_layers(struct keep *k, workers_fn *fn, struct note *why)
{
    struct kv_keep_room *room = k->m->room;
    bool failed = false;
    assert(workers_count(k->m->workers) <= room->n_source);
    atomic_store_explicit(&k->next, 0, memory_order_relaxed);
    workers_run(k->m->workers, fn, k);
    for (uint32_t i = 0; i < room->n_source; i++) {
        failed |= room->source[i].failed;
        room->source[i].failed = false;
    }
    if (failed)
        note_set(why, "no memory to rank the rows of a past of %u positions", k->job->n_position);
    return failed ? FULL : OK;
}

/* ---- all of it ---- */

bool keep_is_nothing(const struct kv_keep_model *m, const struct kv_keep_job *job)
{
    return !kv_choice_drops(job->choice) || kv_whole_group(m->shape) >= m->shape->n_group;
}

/* Ranks and drops where something is above its budget. */
static enum status drop_some(struct keep *k, struct note *why)
{
    enum status st = keep_run_layers(k, gather_part, why);
    if (st != OK || !any_is_above(k))
        return st;
    st = keep_run_layers(k, rank_part, why);
    if (st != OK)
        return st;
    if (lists_of_scope(k) == k->n_list)
        choose(k, 0, k->n_list);
    drop_rest(k);
    return OK;
}

enum status kv_keep_run(const struct kv_keep_model *m, const struct kv_keep_job *job,
                        struct note *why)
{
    struct keep k;
    if (keep_is_nothing(m, job))
        return OK;
    enum status st = keep_begin(&k, m, job, why);
    if (st == OK)
        st = drop_some(&k, why);
    if (st != OK || kv_excerpt_is_whole(job->excerpt))
        return st;
    st = kv_excerpt_settle(job->excerpt, job->space, job->n_position);
    if (st != OK) {
        note_set(why, "the KV pool has no room to move the kept rows together");
        return st;
    }
    return kv_keep_turn(m, job, why);
}

enum status kv_keep_turn(const struct kv_keep_model *m, const struct kv_keep_job *job,
                         struct note *why)
{
    const struct kv_policy *p = job->choice->policy;
    const struct kv_turn how = { m->kern, m->rope_freq, m->n_rot, m->rope_halves };
    if (!p->rolls || !p->rolls(&job->choice->options))
        return OK;
    return kv_excerpt_turn(job->excerpt, job->n_position, &how, why);
}

bool kv_keep_may_drop(const struct kv_keep_model *m, const struct kv_keep_job *job)
{
    struct keep k;
    if (keep_is_nothing(m, job))
        return false;
    if (keep_begin(&k, m, job, NULL) != OK || keep_run_layers(&k, gather_part, NULL) != OK)
        return true;
    return any_is_above(&k);
}
