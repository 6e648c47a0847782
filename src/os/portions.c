#include "os/portions.h"

static uint64_t range_of(uint32_t first, uint32_t last)
{
    return (uint64_t)first << 32 | last;
}

static uint32_t left_of(uint64_t range)
{
    const uint32_t first = (uint32_t)(range >> 32), last = (uint32_t)range;
    return last - first;
}

void portions_deal(struct portion *p, uint32_t n_part, uint32_t n_task)
{
    for (uint32_t i = 0; i < n_part; i++) {
        const uint64_t n = n_task;
        const uint32_t first = (uint32_t)(n * i / n_part), last = (uint32_t)(n * (i + 1) / n_part);
        atomic_store_explicit(&p[i].range, range_of(first, last), memory_order_relaxed);
    }
}

static bool take_first(struct portion *own, uint32_t *task)
{
    uint64_t range = atomic_load_explicit(&own->range, memory_order_relaxed);
    while (left_of(range) > 0) {
        *task = (uint32_t)(range >> 32);
        if (atomic_compare_exchange_weak_explicit(&own->range, &range,
                                                  range_of(*task + 1, (uint32_t)range),
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return false;
}

static bool take_last(struct portion *other, uint32_t *task)
{
    uint64_t range = atomic_load_explicit(&other->range, memory_order_relaxed);
    while (left_of(range) > 0) {
        *task = (uint32_t)range - 1;
        if (atomic_compare_exchange_weak_explicit(&other->range, &range, range - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return false;
}

bool portions_take(struct portion *p, uint32_t n_part, uint32_t part, uint32_t *task)
{
    if (take_first(&p[part], task))
        return true;
    for (;;) {
        uint32_t most = 0, fullest = part;
        for (uint32_t i = 0; i < n_part; i++) {
            const uint32_t left = left_of(atomic_load_explicit(&p[i].range, memory_order_relaxed));
            if (left > most) {
                most = left;
                fullest = i;
            }
        }
        if (most == 0)
            return false;
        if (take_last(&p[fullest], task))
            return true;
    }
}
