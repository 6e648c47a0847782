#include "kv/keep.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kv/best.h"
#include "kv/rank_in.h"

/* ---- room ---- */

struct kv_keep_room {
    void *piece; // grows to the largest past
    size_t bytes;
    uint32_t n_source;
    struct kv_rank_source source[]; // one a worker
};

enum status kv_keep_room_new(struct kv_keep_room **out, const struct kv_shape *shape,
                             uint32_t n_worker)
{
    const uint32_t group = kv_whole_group(shape);
    const struct kv_group *g = &shape->group[group < shape->n_group ? group : 0];
    struct kv_keep_room *room = mem_new(1, sizeof *room + n_worker * sizeof *room->source);
    enum status st = room ? OK : FULL;
    if (room)
        room->n_source = n_worker;
    for (uint32_t i = 0; i < n_worker && st == OK; i++)
        st = kv_rank_source_open(&room->source[i], g->d_k, g->d_v);
    if (st != OK) {
        kv_keep_room_free(room);
        return st;
    }
    *out = room;
    return OK;
}

void kv_keep_room_free(struct kv_keep_room *room)
{
    if (!room)
        return;
    for (uint32_t i = 0; i < room->n_source; i++)
        kv_rank_source_close(&room->source[i]);
    mem_free(room->piece);
    mem_free(room);
}

/* ---- one call ---- */

/* All lists, one behind the other: those of a layer together. */
struct keep {
    const struct kv_keep_model *m;
    const struct kv_keep_job *job;
    const struct kv_group *group;
    struct kv_floors floors;
    uint32_t n_list, n_kv_head, n_layer;
    uint32_t n_query;
    bool counts_mass;

    uint16_t *model_layer;     // [n_layer]
    struct kv_list *list;      // [n_list]
    struct kv_rank_head *head; // [n_list]
    uint32_t *budget, *n_stay; // [n_list] rows; floors among what there is
    size_t *first;             // [n_list + 1] of its rows in the arrays below
    float **ranks;             // [n_list]
    kv_row *row;               // [first[n_list]]
    uint32_t *position;
    uint64_t *mass, *key;
    float *rank;
};

/* The next n objects of a piece; where there is none yet, only counts. */
static void *carve(char *piece, size_t *used, size_t n, size_t size)
{
    const size_t at = *used;
    *used = at + (n * size + 63) / 64 * 64;
    return piece ? piece + at : NULL;
}

static size_t lay_lists(struct keep *k, char *piece)
{
    size_t used = 0;
    k->model_layer = carve(piece, &used, k->n_layer, sizeof *k->model_layer);
    k->list = carve(piece, &used, k->n_list, sizeof *k->list);
    k->head = carve(piece, &used, k->n_list, sizeof *k->head);
    k->budget = carve(piece, &used, k->n_list, sizeof *k->budget);
    k->n_stay = carve(piece, &used, k->n_list, sizeof *k->n_stay);
    k->first = carve(piece, &used, k->n_list + 1, sizeof *k->first);
    k->ranks = carve(piece, &used, k->n_list, sizeof *k->ranks);
    return used;
}

static size_t lay_rows(struct keep *k, char *piece, size_t used, size_t n_row)
{
    k->row = carve(piece, &used, n_row, sizeof *k->row);
    k->position = carve(piece, &used, n_row, sizeof *k->position);
    k->mass = carve(piece, &used, k->counts_mass ? n_row : 0, sizeof *k->mass);
    k->key = carve(piece, &used, n_row, sizeof *k->key);
    k->rank = carve(piece, &used, n_row, sizeof *k->rank);
    return used;
}

static enum status reserve(struct kv_keep_room *room, size_t bytes, struct note *why)
{
    if (bytes <= room->bytes)
        return OK;
    mem_free(room->piece);
    room->bytes = 0;
    room->piece = mem_new_aligned(1, bytes, 64);
    if (!room->piece) {
        note_set(why, "no memory to rank the rows of a past: %zu bytes", bytes);
        return FULL;
    }
    room->bytes = bytes;
    return OK;
}

static unsigned needs_of(const struct kv_choice *c)
{
    return c->policy->needs ? c->policy->needs(c->options.bytes) : 0;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t queries_of(const struct kv_keep_job *job)
{
    const struct kv_choice *c = job->choice;
    const uint32_t asked = c->policy->n_query ? c->policy->n_query(c->options.bytes) : 0;
    const uint32_t there = job->taps ? job->taps->n_query : 0;
    return min_u32(min_u32(asked, there), job->n_position);
}

static size_t rows_there(const struct keep *k)
{
    return kv_excerpt_live_rows(k->job->excerpt, k->job->n_position);
}

/* Lays the arrays out, and says which lists there are and how much each may keep. */
static enum status begin(struct keep *k, const struct kv_keep_model *m,
                         const struct kv_keep_job *job, struct note *why)
{
    const struct kv_shape *shape = m->shape;
    const uint32_t group = kv_whole_group(shape);
    *k = (struct keep){ .m = m, .job = job, .group = &shape->group[group] };
    k->floors = kv_keep_floors(job->choice, shape, job->n_whole);
    k->n_layer = k->group->n_layer;
    k->n_kv_head = k->group->n_kv_head;
    k->n_list = k->n_layer * k->n_kv_head;
    k->n_query = queries_of(job);
    k->counts_mass = needs_of(job->choice) & (KV_NEED_MASS_SUM | KV_NEED_MASS_PEAK);
    enum status st = reserve(m->room, lay_rows(k, NULL, lay_lists(k, NULL), rows_there(k)), why);
    if (st != OK)
        return st;
    lay_rows(k, m->room->piece, lay_lists(k, m->room->piece), rows_there(k));
    for (uint32_t layer = 0; layer < shape->n_layer; layer++)
        if (shape->layer_group[layer] == group)
            k->model_layer[shape->layer_index[layer]] = (uint16_t)layer;
    kv_keep_deal(job->choice, job->shares, shape, job->n_whole, job->n_position, k->budget);
    return OK;
}

static bool is_floor(const struct keep *k, uint32_t position)
{
    return position < k->floors.n_sink || position + k->floors.recent >= k->job->n_position;
}

static uint64_t mass_of(const struct kv_list *list, kv_row row)
{
    const uint32_t at = row & ~KV_IN_TAIL;
    return row & KV_IN_TAIL ? list->tail_mass[at % list->n_tail_mass] : list->mass[at];
}

/* Writes down the rows of every list. */
static void gather(struct keep *k)
{
    size_t at = 0;
    for (uint32_t i = 0; i < k->n_list; i++) {
        const uint32_t layer = k->model_layer[i / k->n_kv_head], h = i % k->n_kv_head;
        const uint32_t n = kv_excerpt_rows(k->job->excerpt, layer, h, k->job->n_position,
                                           k->row + at, k->position + at);
        k->list[i] = kv_excerpt_list(k->job->excerpt, layer, h);
        k->first[i] = at;
        k->ranks[i] = k->rank + at;
        k->n_stay[i] = 0;
        for (size_t j = at; j < at + n; j++) {
            k->n_stay[i] += is_floor(k, k->position[j]);
            if (k->counts_mass)
                k->mass[j] = mass_of(&k->list[i], k->row[j]);
        }
        k->head[i] = (struct kv_rank_head){ .n = n,
                                            .row = k->row + at,
                                            .position = k->position + at,
                                            .mass = k->counts_mass ? k->mass + at : NULL };
        at += n;
    }
    k->first[k->n_list] = at;
}

/* ---- scopes: runs of lists that share a budget ---- */

static uint32_t lists_of_scope(const struct keep *k)
{
    const enum kv_scope scope = k->job->choice->policy->scope;
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

static bool is_above(const struct keep *k, uint32_t i, uint32_t n)
{
    return k->first[i + n] - k->first[i] > keep_of(k, i, n);
}

/* Whether some list of the layer shares a budget that is exceeded. */
static bool layer_is_above(const struct keep *k, uint32_t layer)
{
    const uint32_t n = lists_of_scope(k), end = (layer + 1) * k->n_kv_head;
    for (uint32_t i = n == k->n_list ? 0 : layer * k->n_kv_head; i < end; i += n)
        if (is_above(k, i, n))
            return true;
    return false;
}

static bool any_is_above(const struct keep *k)
{
    for (uint32_t layer = 0; layer < k->n_layer; layer++)
        if (layer_is_above(k, layer))
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
    if (!(needs_of(k->job->choice) & KV_NEED_MOMENTS))
        return;
    assert(taps && taps->sum && k->job->future);
    in->n_moment = taps->n_moment;
    in->sum = taps->sum + head * in->d;
    in->outer = taps->outer + head * in->d * in->d;
    in->future = k->job->future;
}

static void rank_layer(const struct keep *k, uint32_t layer, struct kv_rank_source *source)
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

static void rank_part(void *arg, uint32_t part, uint32_t n_part)
{
    const struct keep *k = arg;
    struct kv_rank_source *source = &k->m->room->source[part];
    for (uint32_t layer = part; layer < k->n_layer && !source->failed; layer += n_part)
        if (layer_is_above(k, layer))
            rank_layer(k, layer, source);
}

static enum status rank_all(struct keep *k, struct note *why)
{
    struct kv_keep_room *room = k->m->room;
    bool failed = false;
    assert(workers_count(k->m->workers) <= room->n_source);
    workers_run(k->m->workers, rank_part, k);
    for (uint32_t i = 0; i < room->n_source; i++) {
        failed |= room->source[i].failed;
        room->source[i].failed = false;
    }
    if (failed)
        note_set(why, "no memory to rank the rows of a past of %u positions", k->job->n_position);
    return failed ? FULL : OK;
}

/* ---- the best stay ---- */

static void drop_row(const struct keep *k, uint32_t list, size_t row)
{
    kv_excerpt_drop(k->job->excerpt, k->model_layer[list / k->n_kv_head], list % k->n_kv_head,
                    k->row[row]);
}

/* Of lists [i, i + n), which share a budget. */
static void drop_rest(struct keep *k, uint32_t i, uint32_t n)
{
    const size_t from = k->first[i], n_row = k->first[i + n] - from;
    for (size_t j = from; j < from + n_row; j++)
        k->key[j] =
            is_floor(k, k->position[j]) ? UINT64_MAX : kv_row_key(k->rank[j], k->position[j]);
    struct kv_best best = kv_best_of(k->key + from, n_row, keep_of(k, i, n));
    for (uint32_t list = i; list < i + n; list++)
        for (size_t j = k->first[list]; j < k->first[list + 1]; j++)
            if (!kv_best_take(&best, k->key[j]))
                drop_row(k, list, j);
}

static void drop_all(struct keep *k)
{
    const uint32_t n = lists_of_scope(k);
    for (uint32_t i = 0; i < k->n_list; i += n)
        if (is_above(k, i, n))
            drop_rest(k, i, n);
}

static bool is_nothing(const struct kv_keep_model *m, const struct kv_keep_job *job)
{
    return !kv_choice_drops(job->choice) || kv_whole_group(m->shape) >= m->shape->n_group;
}

enum status kv_keep_run(const struct kv_keep_model *m, const struct kv_keep_job *job,
                        struct note *why)
{
    struct keep k;
    if (is_nothing(m, job))
        return OK;
    enum status st = begin(&k, m, job, why);
    if (st != OK)
        return st;
    gather(&k);
    if (any_is_above(&k)) {
        st = rank_all(&k, why);
        if (st != OK)
            return st;
        drop_all(&k);
    }
    if (kv_excerpt_is_whole(job->excerpt))
        return OK;
    st = kv_excerpt_settle(job->excerpt, job->space, job->n_position);
    if (st != OK)
        note_set(why, "the KV pool has no room to move the kept rows together");
    return st;
}

bool kv_keep_may_drop(const struct kv_keep_model *m, const struct kv_keep_job *job)
{
    struct keep k;
    if (is_nothing(m, job))
        return false;
    if (begin(&k, m, job, NULL) != OK)
        return true;
    gather(&k);
    return any_is_above(&k);
}

/* ---- one row a token ---- */

/* The lowest row of a list behind no floor; its end where all are floors. */
static size_t lowest_row(const struct keep *k, uint32_t list)
{
    size_t lowest = k->first[list + 1];
    uint64_t least = UINT64_MAX;
    for (size_t j = k->first[list]; j < k->first[list + 1]; j++) {
        const uint64_t key = kv_row_key(k->rank[j], k->position[j]);
        if (!is_floor(k, k->position[j]) && key <= least) {
            least = key;
            lowest = j;
        }
    }
    return lowest;
}

enum status kv_keep_one(const struct kv_keep_model *m, const struct kv_keep_job *job,
                        struct note *why)
{
    struct keep k;
    if (is_nothing(m, job))
        return OK;
    assert(job->choice->policy->scope == KV_SCOPE_HEAD);
    enum status st = begin(&k, m, job, why);
    if (st != OK)
        return st;
    gather(&k);
    st = any_is_above(&k) ? rank_all(&k, why) : OK;
    for (uint32_t i = 0; i < k.n_list && st == OK; i++) {
        const size_t row = is_above(&k, i, 1) ? lowest_row(&k, i) : k.first[i + 1];
        if (row < k.first[i + 1])
            drop_row(&k, i, row);
    }
    return st;
}
