#include "kv/taps.h"

#include <string.h>

#include "base/mem.h"

static size_t row_of(const struct kv_taps_size *size)
{
    return (size_t)size->n_head * size->d;
}

enum status kv_taps_open(struct kv_taps *t, const struct kv_taps_size *size, bool moments)
{
    const size_t row = row_of(size);
    t->query = t->sum = t->outer = t->late = NULL;
    t->hidden = NULL;
    t->least = NULL;
    if (t->n_least)
        t->least = mem_new(t->n_least, sizeof *t->least);
    if (t->n_query)
        t->query = mem_new(size->n_layer * (size_t)t->n_query * row, sizeof *t->query);
    if (moments) {
        t->sum = mem_new(size->n_layer * row, sizeof *t->sum);
        t->outer = mem_new(size->n_layer * row * size->d, sizeof *t->outer);
    }
    if (t->n_late_max)
        t->late = mem_new(size->n_layer * row * t->n_late_max, sizeof *t->late);
    if (t->hidden_layer)
        t->hidden = mem_new(size->n_embd, sizeof *t->hidden);
    if ((!t->n_query || t->query) && (!moments || (t->sum && t->outer)) &&
        (!t->n_late_max || t->late) && (!t->n_least || t->least) &&
        (!t->hidden_layer || t->hidden)) {
        kv_taps_forget_least(t);
        return OK;
    }
    kv_taps_close(t);
    return FULL;
}

void kv_taps_forget_least(struct kv_taps *t)
{
    for (uint32_t i = 0; i < t->n_least; i++)
        t->least[i] = KV_ROW_UNKNOWN;
}

void kv_taps_close(struct kv_taps *t)
{
    mem_free(t->least);
    mem_free(t->query);
    mem_free(t->sum);
    mem_free(t->outer);
    mem_free(t->late);
    mem_free(t->hidden);
    *t = (struct kv_taps){ 0 };
}

/* The last queries, to where a ring of their number has them. */
static void copy_queries(struct kv_taps *to, const struct kv_taps *from, uint32_t n_layer,
                         size_t row, uint32_t n)
{
    const uint32_t first = n > to->n_query ? n - to->n_query : 0;
    for (uint32_t l = 0; l < n_layer; l++)
        for (uint32_t p = first; p < n; p++)
            memcpy(to->query + ((size_t)l * to->n_query + p % to->n_query) * row,
                   from->query + ((size_t)l * from->n_query + p % from->n_query) * row,
                   row * sizeof *to->query);
}

void kv_taps_copy(struct kv_taps *to, const struct kv_taps *from, const struct kv_taps_size *size,
                  uint32_t n)
{
    const size_t n_sum = size->n_layer * row_of(size);
    if (to->query)
        copy_queries(to, from, size->n_layer, row_of(size), n);
    if (!to->sum)
        return;
    memcpy(to->sum, from->sum, n_sum * sizeof *to->sum);
    memcpy(to->outer, from->outer, n_sum * size->d * sizeof *to->outer);
    to->n_moment = from->n_moment;
}
