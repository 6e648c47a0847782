#include "kv/pool_in.h"

#include "os/vm.h"

/* The group with the fewest free blocks that have memory, among those that could have one more. (Blocks of excerpts are
 * taken when others go: their memory comes from those.) */
static struct pool_class *neediest(struct kv_pool *p)
{
    struct pool_class *needy = NULL;
    for (uint32_t i = 0; i < p->shape.n_group; i++) {
        struct pool_class *g = &p->class[i];
        if (g->bare.n == 0 || !pool_has_room(p, g))
            continue;
        if (!needy || g->n_backed - g->n_held < needy->n_backed - needy->n_held)
            needy = g;
    }
    return needy;
}

/* Where the populator goes on; NULL while it has nothing to do. */
static struct pool_class *to_populate(struct kv_pool *p)
{
    size_t ahead = p->bytes_backed - p->bytes_held;
    bool wanted = p->populate && (p->populate_ahead == 0 || ahead < p->populate_ahead);
    return wanted ? neediest(p) : NULL;
}

/* Whether all blocks that touch the 2 MiB from `offset` on are free and have memory; then they are
 * no longer. */
static bool claim_frame(struct pool_class *g, uint64_t offset, uint32_t *lo, uint32_t *hi)
{
    *lo = (uint32_t)(offset / g->block_bytes);
    *hi = (uint32_t)((offset + VM_HUGE_BYTES - 1) / g->block_bytes);
    for (uint32_t i = *lo; i <= *hi; i++)
        if (!block_set_has(&g->ready, i))
            return false;
    for (uint32_t i = *lo; i <= *hi; i++) {
        block_set_remove(&g->ready, i);
        g->block[i].state = FILLING;
    }
    return true;
}

/* Makes huge pages of what block i completed. The blocks are claimed meanwhile: a hole punched into
 * the range while it collapses would be filled again, behind the back of the accounts. */
static void collapse_around(struct kv_pool *p, struct pool_class *g, uint32_t i)
{
    uint64_t first = (uint64_t)i * g->block_bytes / VM_HUGE_BYTES;
    uint64_t last = ((uint64_t)(i + 1) * g->block_bytes - 1) / VM_HUGE_BYTES;
    for (uint64_t frame = first; frame <= last && p->huge_pages; frame++) {
        uint32_t lo, hi;
        if (!claim_frame(g, frame * VM_HUGE_BYTES, &lo, &hi))
            continue;
        p->n_filling += hi - lo + 1;
        pthread_mutex_unlock(&p->lock);
        enum status st = vm_collapse(g->base + frame * VM_HUGE_BYTES);
        vm_hide(g->base + frame * VM_HUGE_BYTES, VM_HUGE_BYTES);
        pthread_mutex_lock(&p->lock);
        p->huge_pages = st == OK; // refused once, it would be again
        p->n_filling -= hi - lo + 1;
        for (uint32_t b = lo; b <= hi; b++) {
            g->block[b].shown = false;
            pool_make_free(p, g, b);
        }
        pthread_cond_broadcast(&p->filled);
    }
}

static void *populate(void *arg)
{
    struct kv_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        struct pool_class *g = to_populate(p);
        p->populator_idle = !g;
        if (!g) {
            pthread_cond_wait(&p->drained, &p->lock);
            continue;
        }
        uint32_t i = block_set_run(&g->bare).first;
        block_set_remove(&g->bare, i);
        p->populate =
            pool_fill(p, g, i) == OK; // refused: from here on a take asks itself, and reports
        pool_make_free(p, g, i);
        collapse_around(p, g, i);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

enum status populator_start(struct kv_pool *p, struct note *why)
{
    if (pthread_create(&p->populator, NULL, populate, p)) {
        note_set(why, "cannot start the thread that populates the KV pool: too many threads?");
        return FULL;
    }
    p->populator_runs = true;
    return OK;
}

void populator_stop(struct kv_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_signal(&p->drained);
    pthread_mutex_unlock(&p->lock);
    if (p->populator_runs)
        pthread_join(p->populator, NULL);
}

void populator_wake(struct kv_pool *p)
{
    if (p->populator_idle && to_populate(p))
        pthread_cond_signal(&p->drained);
}
