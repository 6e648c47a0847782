#include "os/loops.h"

/* One step of the loop, done by whoever has `own`. Its function and argument stay as they are until all steps are done,
 * so they may be read once a step is taken. */
static bool take(struct loop *of, void *own)
{
    uint64_t left = atomic_load_explicit(&of->left, memory_order_acquire);
    do {
        if ((uint32_t)left == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&of->left, &left, left - 1,
                                                    memory_order_acquire, memory_order_acquire));
    of->fn(of->arg, (uint32_t)left - 1, own);
    gate_count_down(&of->not_done);
    return true;
}

void loops_run(struct loops *l, uint32_t worker, loops_fn *fn, void *arg, uint32_t n)
{
    struct loop *mine = &l->of[worker];
    const uint64_t before = atomic_load_explicit(&mine->left, memory_order_relaxed);
    mine->fn = fn;
    mine->arg = arg;
    gate_set(&mine->not_done, n);
    atomic_store_explicit(&mine->left, ((before >> 32) + 1) << 32 | n, memory_order_release);
    while (take(mine, mine->own))
        ;
    gate_wait_zero(&mine->not_done);
}

bool loops_help(struct loops *l, uint32_t worker)
{
    for (uint32_t i = 1; i < l->n; i++)
        if (take(&l->of[(worker + i) % l->n], l->of[worker].own))
            return true;
    return false;
}
