/* What there is to be judged: the room for it, and the rows of all lists. */
#include <assert.h>

#include "base/mem.h"
#include "kv/keep_in.h"

/* ---- room ---- */

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
    k->leaves = carve(piece, &used, k->n_list, sizeof *k->leaves);
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

/* Where each list's rows go. */
static void lay_out(struct keep *k)
{
    size_t at = 0;
    for (uint32_t i = 0; i < k->n_list; i++) {
        const uint32_t layer = k->model_layer[i / k->n_kv_head], h = i % k->n_kv_head;
        const uint32_t n = kv_excerpt_n_live(k->job->excerpt, layer, h, k->job->n_position);
        k->list[i] = kv_excerpt_list(k->job->excerpt, layer, h);
        k->first[i] = at;
        k->ranks[i] = k->rank + at;
        k->head[i] = (struct kv_rank_head){ .n = n,
                                            .budget = k->budget[i],
                                            .row = k->row + at,
                                            .position = k->position + at,
                                            .mass = k->counts_mass ? k->mass + at : NULL };
        at += n;
    }
    k->first[k->n_list] = at;
}

enum status keep_begin(struct keep *k, const struct kv_keep_model *m, const struct kv_keep_job *job,
                       struct note *why)
{
    const struct kv_shape *shape = m->shape;
    const uint32_t group = kv_whole_group(shape);
    *k = (struct keep){ .m = m, .job = job, .group = &shape->group[group] };
    k->floors = kv_keep_floors(job->choice, shape, job->n_whole);
    k->n_layer = k->group->n_layer;
    k->n_kv_head = k->group->n_kv_head;
    k->n_list = k->n_layer * k->n_kv_head;
    k->n_query = queries_of(job);
    k->counts_mass = keep_needs(job->choice) & (KV_NEED_MASS_SUM | KV_NEED_MASS_PEAK);
    enum status st = reserve(m->room, lay_rows(k, NULL, lay_lists(k, NULL), rows_there(k)), why);
    if (st != OK)
        return st;
    lay_rows(k, m->room->piece, lay_lists(k, m->room->piece), rows_there(k));
    for (uint32_t layer = 0; layer < shape->n_layer; layer++)
        if (shape->layer_group[layer] == group)
            k->model_layer[shape->layer_index[layer]] = (uint16_t)layer;
    kv_keep_deal(job->choice, job->shares, shape, job->n_whole, job->n_position, k->budget);
    lay_out(k);
    return OK;
}

static uint64_t mass_of(const struct kv_list *list, kv_row row)
{
    const uint32_t at = row & ~KV_IN_TAIL;
    return row & KV_IN_TAIL ? list->tail_mass[at % list->n_tail_mass] : list->mass[at];
}

static void gather_list(struct keep *k, uint32_t i)
{
    const size_t from = k->first[i], end = k->first[i + 1];
    const uint32_t n =
        kv_excerpt_rows(k->job->excerpt, k->model_layer[i / k->n_kv_head], i % k->n_kv_head,
                        k->job->n_position, k->row + from, k->position + from);
    assert(n == end - from);
    k->n_stay[i] = 0;
    for (size_t j = from; j < end; j++)
        k->n_stay[i] += keep_is_floor(k, k->position[j]);
    for (size_t j = from; k->counts_mass && j < end; j++)
        k->mass[j] = mass_of(&k->list[i], k->row[j]);
}

void keep_gather(struct keep *k, uint32_t layer)
{
    for (uint32_t h = 0; h < k->n_kv_head; h++)
        gather_list(k, layer * k->n_kv_head + h);
}
