#include "kv/select.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kv/keep.h"

/* Of one layer and kv_head. */
struct selecting {
    void *book;
    uint64_t *mask; // [n_block]
    uint32_t n_entered;
    struct kv_select_stats stats;
};

struct kv_select {
    struct kv_choice choice;
    const struct kv_shape *shape;
    uint32_t from, n_position_max, n_block, n_kv_head, n_list;
    uint32_t group; // of the layers that select
    size_t book_bytes;
    struct selecting *list; // [n_list]
    uint64_t *masks, *ends; // [n_list][n_block], [n_block]
    char *books;
};

enum status kv_select_new(struct kv_select **out, const struct kv_select_config *config,
                          struct note *why)
{
    const struct kv_shape *shape = config->shape;
    const uint32_t group = kv_whole_group(shape);
    assert(config->choice->policy->select);
    struct kv_select *s = mem_new(1, sizeof *s);
    if (!s)
        goto full;
    s->choice = *config->choice;
    s->shape = shape;
    s->from = config->from;
    s->n_position_max = config->n_position_max;
    s->n_block = config->n_position_max / KV_BLOCK + 1;
    s->group = group;
    if (group < shape->n_group) {
        const struct kv_group *g = &shape->group[group];
        const size_t bytes = s->choice.policy->select->book_bytes(&s->choice.options,
                                                                  config->n_position_max, g->d_k);
        s->n_kv_head = g->n_kv_head;
        s->n_list = g->n_layer * g->n_kv_head;
        s->book_bytes = (bytes + 63) / 64 * 64;
    }
    s->list = mem_new(s->n_list, sizeof *s->list);
    s->masks = mem_new((size_t)s->n_list * s->n_block, sizeof *s->masks);
    s->ends = mem_new(s->n_block, sizeof *s->ends);
    s->books = mem_new_aligned(s->n_list, s->book_bytes, 64);
    if (!s->list || !s->masks || !s->ends || !s->books)
        goto full;
    for (uint32_t i = 0; i < s->n_list; i++) {
        s->list[i].book = s->books + i * s->book_bytes;
        s->list[i].mask = s->masks + (size_t)i * s->n_block;
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
    mem_free(s->ends);
    mem_free(s->masks);
    mem_free(s->list);
    mem_free(s);
}

void kv_select_end_sentence(struct kv_select *s, uint32_t position)
{
    assert(position < s->n_position_max);
    s->ends[position / KV_BLOCK] |= UINT64_C(1) << position % KV_BLOCK;
}

uint32_t kv_select_from(const struct kv_select *s)
{
    return s->from;
}

size_t kv_select_bytes(const struct kv_select *s)
{
    return s->n_list * (s->book_bytes + s->n_block * sizeof *s->masks);
}

void kv_select_keys(const struct kv_select_in *in, uint32_t first, uint32_t n, float *k)
{
    for (uint32_t i = first; i < first + n; i++)
        in->kern->load_k(in->view.type, kv_view_k(&in->view, i / KV_BLOCK, in->kv_head),
                         i % KV_BLOCK, k + (size_t)(i - first) * in->d, in->d);
}

void kv_select_set(uint64_t *mask, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to;) {
        const uint32_t at = i % KV_BLOCK, left = KV_BLOCK - at;
        const uint32_t n = to - i < left ? to - i : left;
        mask[i / KV_BLOCK] |= (n == KV_BLOCK ? UINT64_MAX : (UINT64_C(1) << n) - 1) << at;
        i += n;
    }
}

static uint32_t count_rows(const uint64_t *mask, uint32_t n_block)
{
    uint32_t n = 0;
    for (uint32_t b = 0; b < n_block; b++)
        n += (uint32_t)__builtin_popcountll(mask[b]);
    return n;
}

/* What the policy names, in the list's mask. False: everything. */
static bool choose(struct kv_select *s, struct selecting *l, struct kv_select_in *in)
{
    const struct kv_select_policy *policy = s->choice.policy->select;
    const uint32_t n = in->n_position + 1;
    const struct kv_floors floors = kv_keep_floors(&s->choice, s->shape, n);
    if (floors.budget >= n)
        return false;
    in->n_position_max = s->n_position_max;
    in->budget = floors.budget;
    in->n_sink = floors.n_sink < n ? floors.n_sink : n;
    in->recent = floors.recent + 1 < n ? n - 1 - floors.recent : 0;
    in->ends = s->ends;
    assert(in->n_position >= l->n_entered);
    policy->enter(&s->choice.options, l->book, in, l->n_entered, in->n_position);
    l->n_entered = in->n_position;
    memset(l->mask, 0, (in->n_position / KV_BLOCK + 1) * sizeof *l->mask);
    if (!policy->select(&s->choice.options, l->book, in, l->mask))
        return false;
    kv_select_set(l->mask, 0, in->n_sink);
    kv_select_set(l->mask, in->recent, n);
    return true;
}

const uint64_t *kv_select_rows(struct kv_select *s, struct kv_select_in *in)
{
    assert(s->shape->layer_group[in->layer] == s->group);
    struct selecting *l = &s->list[s->shape->layer_index[in->layer] * s->n_kv_head + in->kv_head];
    const uint32_t n = in->n_position + 1;
    const bool some = choose(s, l, in);
    l->stats.n_call++;
    l->stats.n_there += n;
    l->stats.n_read += some ? count_rows(l->mask, in->n_position / KV_BLOCK + 1) : n;
    return some ? l->mask : NULL;
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
