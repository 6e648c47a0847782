/* text/heap.h - a binary heap: the item with the least `order` comes out first.
 *
 * Whoever uses it packs what decides into `order` and what goes with it into `value`; equal orders
 * come out in no particular sequence. Room is asked for beforehand, so that pushing cannot fail.
 *
 * Lifetime  `(struct heap){ 0 }` is an empty one. Threads  one at a time. Cost  O(log n) a call. */
#ifndef TEXT_HEAP_H
#define TEXT_HEAP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct heap_item {
    uint64_t order;
    uint64_t value;
};

struct heap {
    struct heap_item *item;
    size_t n;
    size_t room;
};

static inline void heap_close(struct heap *h)
{
    mem_free(h->item);
    *h = (struct heap){ 0 };
}

/* Room for `room` items in all; false when out of memory, and nothing changed. */
static inline bool heap_reserve(struct heap *h, size_t room)
{
    if (room <= h->room)
        return true;
    size_t doubled = 2 * h->room > room ? 2 * h->room : room;
    struct heap_item *item = mem_resize(h->item, doubled, sizeof *item);
    if (!item)
        return false;
    h->item = item;
    h->room = doubled;
    return true;
}

static inline void heap_push(struct heap *h, struct heap_item x)
{
    assert(h->n < h->room);
    size_t i = h->n++;
    while (i > 0 && h->item[(i - 1) / 2].order > x.order) {
        h->item[i] = h->item[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->item[i] = x;
}

/* The least item; the heap must not be empty. */
static inline struct heap_item heap_pop(struct heap *h)
{
    assert(h->n > 0);
    struct heap_item least = h->item[0], x = h->item[--h->n];
    size_t i = 0;
    for (size_t child = 1; child < h->n; child = 2 * i + 1) {
        if (child + 1 < h->n && h->item[child + 1].order < h->item[child].order)
            child++;
        if (h->item[child].order >= x.order)
            break;
        h->item[i] = h->item[child];
        i = child;
    }
    h->item[i] = x;
    return least;
}

#endif
