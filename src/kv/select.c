#include "kv/select.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "kv/keep.h"

enum { SHARE_OF = 1, SHARE_PERCENT = 10 }; // index of kv_shares_percent, and what is there

/* Of one layer and kv_head. */
struct selecting {
    void *book;
    uint64_t *mask,
        *slots; // [n_block] by position, by slot: the kv_head's, of all layers, so that they stay near
    uint32_t n_entered;
    /* Of a past with rows dropped, once the first query has come: */
    uint64_t *there;   // [n_block] by position
    uint32_t *slot_of; // [n_position_max]
    uint32_t n_gone;
    bool knows;
    struct kv_select_stats stats;
};

struct kv_select {
    struct kv_choice choice;
    const struct kv_shape *shape;
    uint32_t from, n_position_max, n_block, n_kv_head, n_list;
    uint32_t group;  // of the layers that select
    uint32_t n_mask; // in all
    size_t books_bytes;
    struct selecting *list; // [n_list]
    uint64_t *masks,
        *ends; // [n_kv_head][2][n_block], behind them [n_list][n_block] where rows are dropped; [n_block]
    uint32_t *slots;    // [n_list][n_position_max], or NULL
    const float *share; // [n_list], or NULL
    float *room;        // [n_kv_head][n_query][room_stride], or NULL
    size_t room_stride;
    uint32_t n_query, n_asker; // of a kv_head: heads, and those that choose apart
    char *books;
};

static float share_of(const struct kv_select *s, uint32_t list)
{
    return s->share ? s->share[list] : 0;
}

static size_t book_bytes(const struct kv_select *s, uint32_t list)
{
    const size_t bytes = s->choice.policy->select->book_bytes(&s->choice.options, s->n_position_max,
                                                              s->shape->group[s->group].d_k,
                                                              s->n_asker, share_of(s, list));
    return (bytes + 63) / 64 * 64;
}

static void place(struct kv_select *s, uint32_t i)
{
    struct selecting *l = &s->list[i];
    l->mask = s->masks + (size_t)(i % s->n_kv_head) * 2 * s->n_block;
    l->slots = l->mask + s->n_block;
    if (!s->slots)
        return;
    l->there = s->masks + (2 * (size_t)s->n_kv_head + i) * s->n_block;
    l->slot_of = s->slots + (size_t)i * s->n_position_max;
}

/* Floats that a query's share of the room takes. */
static size_t room_of_query(const struct kv_select *s)
{
    const struct kv_select_policy *p = s->choice.policy->select;
    const size_t n = s->share && p->room ? p->room(&s->choice.options, s->n_position_max) : 0;
    return (n + 15) / 16 * 16;
}

static size_t n_room(const struct kv_select *s)
{
    return s->n_kv_head * s->n_query * s->room_stride;
}

enum status kv_select_new(struct kv_select **out, const struct kv_select_config *config,
                          struct note *why)
{
    const struct kv_shape *shape = config->shape;
    const uint32_t group = kv_whole_group(shape);
    assert(config->choice->policy->select);
    assert(kv_shares_percent[SHARE_OF] == SHARE_PERCENT);
    struct kv_select *s = mem_new(1, sizeof *s);
    if (!s)
        goto full;
    s->choice = *config->choice;
    s->shape = shape;
    s->from = config->from;
    s->n_position_max = config->n_position_max;
    s->n_block = config->n_position_max / KV_BLOCK + 1;
    s->group = group;
    s->share = config->shares ? config->shares->share[SHARE_OF] : NULL;
    if (group < shape->n_group) {
        const struct kv_group *g = &shape->group[group];
        s->n_kv_head = g->n_kv_head;
        s->n_query = config->n_head / g->n_kv_head;
        s->n_list = g->n_layer * g->n_kv_head;
    }
    const struct kv_select_policy *policy = s->choice.policy->select;
    s->n_asker = policy->apart && policy->apart(&s->choice.options) ? s->n_query : 1;
    for (uint32_t i = 0; i < s->n_list; i++)
        s->books_bytes += book_bytes(s, i);
    s->list = mem_new(s->n_list, sizeof *s->list);
    const bool drops = kv_choice_drops(&s->choice);
    s->n_mask = 2 * s->n_kv_head + (drops ? s->n_list : 0);
    s->masks = mem_new((size_t)s->n_mask * s->n_block, sizeof *s->masks);
    s->slots = drops ? mem_new((size_t)s->n_list * s->n_position_max, sizeof *s->slots) : NULL;
    s->ends = mem_new(s->n_block, sizeof *s->ends);
    s->room_stride = room_of_query(s);
    s->room = n_room(s) ? mem_new_aligned(n_room(s), sizeof *s->room, 64) : NULL;
    s->books = mem_new_aligned(1, s->books_bytes, 64);
    if (!s->list || !s->masks || !s->ends || !s->books || (n_room(s) && !s->room) ||
        (drops && !s->slots))
        goto full;
    char *book = s->books;
    for (uint32_t i = 0; i < s->n_list; i++, book += book_bytes(s, i - 1)) {
        place(s, i);
        s->list[i].book = book;
    }
    *out = s;
    return OK;
full:
    note_set(why, "no memory for the address books of %u positions", config->n_position_max);
    kv_select_free(s);
    return FULL;
}

void kv_select_free(struct kv_select *s)
{
    if (!s)
        return;
    mem_free(s->books);
    mem_free(s->room);
    mem_free(s->ends);
    mem_free(s->masks);
    mem_free(s->slots);
    mem_free(s->list);
    mem_free(s);
}

void kv_select_end_sentence(struct kv_select *s, uint32_t position)
{
    assert(position < s->n_position_max);
    s->ends[position / KV_BLOCK] |= UINT64_C(1) << position % KV_BLOCK;
}

uint32_t kv_select_together(const struct kv_select *s)
{
    return s->n_query / s->n_asker;
}

uint32_t kv_select_from(const struct kv_select *s)
{
    return s->from;
}

size_t kv_select_bytes(const struct kv_select *s)
{
    const size_t of_rows = s->slots ? s->n_position_max * sizeof *s->slots : 0;
    return s->n_list * of_rows + (size_t)s->n_mask * s->n_block * sizeof *s->masks +
           s->books_bytes + n_room(s) * sizeof *s->room;
}

void kv_select_key(const struct kv_select_in *in, uint32_t position, float *k)
{
    const bool in_slot = in->list && position / KV_BLOCK < in->list->tail_first;
    const uint32_t at = in_slot ? in->slot_of[position] : position;
    const char *part =
        in_slot ? in->list->block[at / KV_BLOCK] : kv_view_k(&in->view, at / KV_BLOCK, in->kv_head);
    in->kern->load_k(in->view.type, part, at % KV_BLOCK, k, in->d);
}

/* The bits of positions [from, to) in block b. */
static uint64_t bits_between(uint32_t from, uint32_t to, uint32_t b)
{
    const uint32_t first = b * KV_BLOCK;
    return row_bits(from > first ? from - first : 0, to - first < KV_BLOCK ? to - first : KV_BLOCK);
}

uint32_t kv_select_count(const struct kv_select_in *in, uint32_t from, uint32_t to)
{
    uint32_t n = 0;
    if (from >= to)
        return 0;
    if (!in->there)
        return to - from;
    for (uint32_t b = from / KV_BLOCK; b * KV_BLOCK < to; b++)
        n += (uint32_t)__builtin_popcountll(in->there[b] & bits_between(from, to, b));
    return n;
}

void kv_select_set(uint64_t *mask, uint32_t from, uint32_t to)
{
    for (uint32_t b = from / KV_BLOCK; from < to && b * KV_BLOCK < to; b++)
        mask[b] |= bits_between(from, to, b);
}

static uint32_t count_rows(const uint64_t *mask, uint32_t n_block)
{
    uint32_t n = 0;
    for (uint32_t b = 0; b < n_block; b++)
        n += (uint32_t)__builtin_popcountll(mask[b]);
    return n;
}

/* Which rows are left, and where: they stay there (L4). */
static void get_to_know(const struct kv_select *s, struct selecting *l, const struct kv_list *list)
{
    for (uint32_t b = list->tail_first; b * KV_BLOCK < s->n_position_max; b++)
        l->there[b] = list->tail_live[b];
    for (uint32_t b = 0; b < list->n_block; b++) {
        for (uint64_t left = list->live[b]; left; left &= left - 1) {
            const uint32_t slot = b * KV_BLOCK + (uint32_t)__builtin_ctzll(left);
            const uint32_t position = list->position[slot];
            l->there[position / KV_BLOCK] |= UINT64_C(1) << position % KV_BLOCK;
            l->slot_of[position] = slot;
        }
    }
    l->n_gone = s->from - kv_select_count(&(struct kv_select_in){ .there = l->there }, 0, s->from);
    l->knows = true;
}

void kv_select_loop(const struct kv_select_in *in, loops_fn *fn, void *arg, uint32_t n)
{
    if (in->loops && n > 1)
        loops_run(in->loops, in->worker, fn, arg, n);
    else
        for (uint32_t i = 0; i < n; i++)
            fn(arg, i, in->scratch);
}

/* ---- books ---- */

/* Enters what has been passed below n_position. */
static void enter(const struct kv_select *s, struct selecting *l, struct kv_select_in *in,
                  uint32_t n_position)
{
    in->n_position_max = s->n_position_max;
    in->n_asker = s->n_asker;
    in->ends = s->ends;
    in->share = share_of(s, (uint32_t)(l - s->list));
    assert(n_position >= l->n_entered);
    s->choice.policy->select->enter(&s->choice.options, l->book, in, l->n_entered, n_position);
    l->n_entered = n_position;
}

struct passing {
    struct kv_select *s;
    const struct kernels *kern;
    const struct kv_space *space;
    uint32_t n_position;
    _Atomic uint32_t next; // layer of the model
};

static void pass_layer(const struct passing *p, uint32_t layer)
{
    struct kv_select *s = p->s;
    struct kv_select_in in = { .layer = layer,
                               .d = s->shape->group[s->group].d_k,
                               .n_position = p->n_position,
                               .kern = p->kern,
                               .view = kv_view_layer(p->space, layer) };
    struct selecting *l = &s->list[s->shape->layer_index[layer] * s->n_kv_head];
    for (; in.kv_head < s->n_kv_head; in.kv_head++, l++)
        enter(s, l, &in, p->n_position);
}

static void pass_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct passing *p = arg;
    const struct kv_shape *shape = p->s->shape;
    (void)part, (void)n_part;
    for (;;) {
        const uint32_t layer = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (layer >= shape->n_layer)
            return;
        if (shape->layer_group[layer] == p->s->group)
            pass_layer(p, layer);
    }
}

void kv_select_pass(struct kv_select *s, const struct kernels *kern, struct workers *workers,
                    const struct kv_space *space, uint32_t n_position)
{
    struct passing p = { .s = s, .kern = kern, .space = space, .n_position = n_position };
    assert(n_position <= s->from);
    if (kv_read_floors(&s->choice, s->shape, s->from + 1).budget <= s->from)
        workers_run(workers, pass_part, &p);
}

/* ---- a choice ---- */

/* What the policy names, in the list's mask; n_left: rows that there are. False: everything. */
static bool choose(struct kv_select *s, struct selecting *l, struct kv_select_in *in,
                   uint32_t n_left)
{
    const struct kv_select_policy *policy = s->choice.policy->select;
    const uint32_t n = in->n_position + 1;
    const struct kv_floors floors = kv_read_floors(&s->choice, s->shape, n);
    if (floors.budget >= n_left)
        return false;
    in->budget = floors.budget;
    in->n_sink = floors.n_sink < n ? floors.n_sink : n;
    in->recent = floors.recent + 1 < n ? n - 1 - floors.recent : 0;
    enter(s, l, in, in->n_position);
    in->room_stride = s->room_stride;
    in->room = s->room ? s->room + in->kv_head * s->n_query * s->room_stride : NULL;
    memset(l->mask, 0, (in->n_position / KV_BLOCK + 1) * sizeof *l->mask);
    if (!policy->select(&s->choice.options, l->book, in, l->mask))
        return false;
    kv_select_set(l->mask, 0, in->n_sink);
    kv_select_set(l->mask, in->recent, n);
    return true;
}

/* The mask of positions as one of rows that are left, and one of slots. */
static void find_slots(const struct kv_list *list, struct selecting *l, uint32_t n_block)
{
    for (uint32_t b = 0; b < n_block; b++)
        l->mask[b] &= l->there[b];
    for (uint32_t b = 0; b < list->n_block; b++) {
        uint64_t bits = 0;
        for (uint64_t left = list->live[b]; left; left &= left - 1) {
            const uint32_t i = (uint32_t)__builtin_ctzll(left);
            const uint32_t p = list->position[b * KV_BLOCK + i];
            bits |= (l->mask[p / KV_BLOCK] >> p % KV_BLOCK & 1) << i;
        }
        l->slots[b] = bits;
    }
}

bool kv_select_rows(struct kv_select *s, struct kv_select_in *in, struct kv_selected *out)
{
    assert(s->shape->layer_group[in->layer] == s->group);
    struct selecting *l = &s->list[s->shape->layer_index[in->layer] * s->n_kv_head + in->kv_head];
    const uint32_t n_block = in->n_position / KV_BLOCK + 1;
    if (in->list && !l->knows)
        get_to_know(s, l, in->list);
    in->there = l->knows ? l->there : NULL;
    in->slot_of = l->slot_of;
    const uint32_t n_left = in->n_position + 1 - l->n_gone;
    const bool some = choose(s, l, in, n_left);
    if (some && in->list)
        find_slots(in->list, l, n_block);
    l->stats.n_call++;
    l->stats.n_there += n_left;
    l->stats.n_read += some ? count_rows(l->mask, n_block) : n_left;
    *out = (struct kv_selected){ l->mask, l->slots };
    return some;
}

struct kv_select_stats kv_select_stats_of(const struct kv_select *s)
{
    struct kv_select_stats sum = { 0 };
    for (uint32_t i = 0; i < s->n_list; i++) {
        sum.n_read += s->list[i].stats.n_read;
        sum.n_there += s->list[i].stats.n_there;
        sum.n_call += s->list[i].stats.n_call;
    }
    return sum;
}
