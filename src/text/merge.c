#include "text/merge.h"

#include <assert.h>

#include "base/mem.h"

bool merge_begin(struct merge *m, size_t n)
{
    m->n = 0;
    m->queue.n = 0;
    if (n >= MERGE_NONE)
        return false;
    // Each join takes one pair out of the queue and puts at most two in, so 2n pairs are enough.
    if (!heap_reserve(&m->queue, 2 * n))
        return false;
    if (n <= m->room)
        return true;
    size_t room = 2 * m->room > n ? 2 * m->room : n;
    struct merge_symbol *symbol = mem_resize(m->symbol, room, sizeof *symbol);
    if (!symbol)
        return false;
    m->symbol = symbol;
    m->room = room;
    return true;
}

void merge_add(struct merge *m, uint32_t at, uint32_t len, int32_t id)
{
    assert(m->n < m->room);
    uint32_t i = m->n++, prev = i ? i - 1 : MERGE_NONE;
    m->symbol[i] =
        (struct merge_symbol){ .at = at, .len = len, .id = id, .prev = prev, .next = MERGE_NONE };
    if (i)
        m->symbol[prev].next = i;
}

/* Puts the pair that begins at `left` into the queue, if it can be joined. */
static void offer(struct merge *m, merge_find *find, const void *table, uint32_t left)
{
    if (left == MERGE_NONE || m->symbol[left].next == MERGE_NONE)
        return;
    const struct merge_symbol *l = &m->symbol[left], *r = &m->symbol[l->next];
    struct merge_result to;
    if (find(table, l, r, &to))
        heap_push(&m->queue, (struct heap_item){ .order = (uint64_t)to.rank << 32 | left,
                                                 .value = (uint64_t)(l->len + r->len) << 32 |
                                                          (uint32_t)to.id });
}

/* Joins the pair at `left` to token `id`, unless it is no longer the pair that was offered: then
 * the left symbol is gone or the two are longer than they were. */
static bool join(struct merge *m, uint32_t left, uint32_t len, int32_t id)
{
    struct merge_symbol *l = &m->symbol[left];
    if (l->len == 0 || l->next == MERGE_NONE)
        return false;
    struct merge_symbol *r = &m->symbol[l->next];
    if (l->len + r->len != len)
        return false;
    l->len = len;
    l->id = id;
    l->next = r->next;
    r->len = 0;
    if (l->next != MERGE_NONE)
        m->symbol[l->next].prev = left;
    return true;
}

void merge_run(struct merge *m, merge_find *find, const void *table)
{
    for (uint32_t i = 0; i < m->n; i++)
        offer(m, find, table, i);
    while (m->queue.n) {
        struct heap_item best = heap_pop(&m->queue);
        uint32_t left = (uint32_t)best.order;
        if (!join(m, left, (uint32_t)(best.value >> 32), (int32_t)(uint32_t)best.value))
            continue;
        offer(m, find, table, m->symbol[left].prev);
        offer(m, find, table, left);
    }
}

void merge_close(struct merge *m)
{
    mem_free(m->symbol);
    heap_close(&m->queue);
    *m = (struct merge){ 0 };
}
