/* kv/pool_open.c - the pool's birth and death, and whether its invariants hold. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kv/pool_in.h"
#include "os/vm.h"

/* ---- birth and death ---- */

static enum status class_open(struct pool_class *g, const struct kv_pool_config *config,
                              uint32_t index, struct note *why)
{
    char name[32];
    *g = (struct pool_class){ .fd = -1, .block_bytes = kv_class_bytes(config->shape, index) };
    size_t n_block = config->bytes_max / g->block_bytes;
    if (n_block >= 1u << 30) {
        note_set(why, "a KV pool of %zu bytes would have %zu blocks of class %u; the limit is 2^30",
                 config->bytes_max, n_block, index);
        return BAD_INPUT;
    }
    g->n_block = (uint32_t)n_block;
    size_t file_bytes = n_block * g->block_bytes;
    g->block = mem_new(n_block, sizeof *g->block);
    if (!g->block || block_set_open(&g->ready, g->n_block) ||
        block_set_open(&g->bare, g->n_block)) {
        note_set(why, "no memory for the states of %zu KV blocks", n_block);
        return FULL;
    }
    for (uint32_t i = 0; i < g->n_block; i++)
        block_set_add(&g->bare, i);
    snprintf(name, sizeof name, "akvifer-kv-%u", index);
    enum status st = vm_file_open(name, file_bytes, &g->fd, why);
    if (st == OK)
        st = vm_reserve(file_bytes, &g->base, why);
    if (st == OK && (st = vm_map(g->base, file_bytes, g->fd, 0, VM_WRITE, false)) != OK)
        note_set(why, "cannot map %zu MiB of KV pool: %m", file_bytes >> 20);
    // Huge pages come from the populator alone: a fault that backs the neighbours too breaks P4.
    if (st == OK && !config->huge_pages)
        vm_forbid_huge(g->base, file_bytes);
    return st;
}

static void class_close(struct pool_class *g)
{
    vm_unreserve(g->base, (size_t)g->n_block * g->block_bytes);
    vm_file_close(g->fd);
    block_set_close(&g->ready);
    block_set_close(&g->bare);
    mem_free(g->block);
}

static enum status check_cap(const struct kv_pool_config *config, struct note *why)
{
    size_t least = 0;
    for (uint32_t i = 0; i < config->shape->n_group; i++)
        least += kv_block_bytes(config->shape, i);
    if (config->bytes_max >= least)
        return OK;
    note_set(why,
             "a KV pool of %zu KiB is too small: one block of each layer group (%u positions) "
             "takes %zu KiB; "
             "raise --kv-ram",
             config->bytes_max >> 10, KV_BLOCK, (least + 1023) >> 10);
    return BAD_INPUT;
}

enum status kv_pool_new(struct kv_pool **out, const struct kv_pool_config *config, struct note *why)
{
    assert(config->shape->n_group >= 1);
    assert(kv_n_class(config->shape) <= KV_CLASS_MAX);
    enum status st = check_cap(config, why);
    if (st != OK)
        return st;
    struct kv_pool *p = mem_new(1, sizeof *p);
    if (!p) {
        note_set(why, "no memory for the KV pool");
        return FULL;
    }
    p->shape = *config->shape;
    p->n_class = kv_n_class(config->shape);
    p->bytes_max = config->bytes_max;
    p->populate = config->populate;
    p->populate_ahead = config->populate_ahead;
    p->huge_pages = config->huge_pages;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->filled, NULL);
    pthread_cond_init(&p->drained, NULL);
    for (uint32_t i = 0; i < p->n_class; i++)
        p->class[i].fd = -1;
    for (uint32_t i = 0; i < p->n_class && st == OK; i++)
        st = class_open(&p->class[i], config, i, why);
    if (st == OK && config->populate)
        st = populator_start(p, why);
    if (st != OK) {
        kv_pool_free(p);
        return st;
    }
    *out = p;
    return OK;
}

void kv_pool_free(struct kv_pool *p)
{
    if (!p)
        return;
    populator_stop(p);
    for (uint32_t i = 0; i < p->n_class; i++) {
        struct pool_class *g = &p->class[i];
        assert(g->n_held == 0);
        if (g->bare.bits)
            assert(g->ready.n + g->bare.n == g->n_block); // nothing mapped, nothing kept
        class_close(g);
    }
    pthread_cond_destroy(&p->drained);
    pthread_cond_destroy(&p->filled);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

/* ---- the invariants, for tests ---- */

static void demand(bool holds, const char *what, uint32_t class, uint32_t i)
{
    if (holds)
        return;
    fprintf(stderr, "kv_pool_check: class %u, block %u: %s\n", class, i, what);
    abort();
}

static void check_block(const struct pool_class *g, uint32_t class, uint32_t i)
{
    const struct kv_pool_block *b = &g->block[i];
    bool held = b->state == OPEN || b->state == SEALED;
    bool idle = b->state == FREE && b->n_map == 0;
    demand(held == (b->holders > 0), "P1: held exactly when OPEN or SEALED", class, i);
    demand(b->state != OPEN || b->holders == 1, "P2: an OPEN block has one holder", class, i);
    demand(b->state != OPEN || b->n_map <= 1, "S2: an OPEN block is mapped at most once", class, i);
    demand(!held || b->memory == THERE, "a held block has memory", class, i);
    demand(b->state != FREE || b->memory != PROMISED, "nobody keeps this promise", class, i);
    demand(block_set_has(&g->ready, i) == (idle && b->memory == THERE), "P6: ready", class, i);
    demand(block_set_has(&g->bare, i) == (idle && b->memory == NONE), "P6: bare", class, i);
}

static void check_class(const struct pool_class *g, uint32_t class)
{
    uint32_t n_held = 0, n_backed = 0;
    for (uint32_t i = 0; i < g->n_block; i++) {
        check_block(g, class, i);
        n_held += g->block[i].holders > 0;
        n_backed += g->block[i].memory != NONE;
    }
    demand(n_held == g->n_held, "blocks held are miscounted", class, n_held);
    demand(n_backed == g->n_backed, "blocks with memory are miscounted", class, n_backed);
    demand(vm_file_backed(g->fd) <= n_backed * g->block_bytes,
           "P4: the file has more memory than we count", class, n_backed);
}

void kv_pool_check(const struct kv_pool *p)
{
    struct kv_pool *locked = (struct kv_pool *)p;
    size_t bytes_held = 0, bytes_backed = 0;
    pthread_mutex_lock(&locked->lock);
    for (uint32_t i = 0; i < p->n_class; i++) {
        check_class(&p->class[i], i);
        bytes_held += p->class[i].n_held * p->class[i].block_bytes;
        bytes_backed += p->class[i].n_backed * p->class[i].block_bytes;
    }
    demand(bytes_held == p->bytes_held, "bytes held are miscounted", 0, 0);
    demand(bytes_backed == p->bytes_backed, "bytes with memory are miscounted", 0, 0);
    demand(p->bytes_backed <= p->bytes_max, "P4: over the cap", 0, 0);
    demand(p->bytes_held <= p->bytes_backed, "P7: held without memory", 0, 0);
    pthread_mutex_unlock(&locked->lock);
}
