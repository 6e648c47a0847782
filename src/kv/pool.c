#include "kv/pool.h"

#include <assert.h>

#include "kv/pool_in.h"
#include "os/vm.h"

static block_id id_of(uint32_t class, uint32_t i)
{
    return (block_id){ class << 30 | i };
}

static struct pool_class *class_of(const struct kv_pool *p, block_id b)
{
    assert(kv_block_class(b) < p->n_class);
    return (struct pool_class *)&p->class[kv_block_class(b)];
}

static struct kv_pool_block *block_of(const struct kv_pool *p, block_id b)
{
    struct pool_class *g = class_of(p, b);
    assert(kv_block_index(b) < g->n_block);
    return &g->block[kv_block_index(b)];
}

bool pool_has_room(const struct kv_pool *p, const struct pool_class *g)
{
    return p->bytes_max - p->bytes_backed >= g->block_bytes;
}

static void promise_memory(struct kv_pool *p, struct pool_class *g, struct kv_pool_block *b)
{
    assert(b->memory == NONE);
    assert(pool_has_room(p, g));
    b->memory = PROMISED;
    g->n_backed++;
    p->bytes_backed += g->block_bytes;
}

static void count_bare(struct kv_pool *p, struct pool_class *g, struct kv_pool_block *b)
{
    assert(b->memory != NONE);
    b->memory = NONE;
    b->shown = false;
    g->n_backed--;
    p->bytes_backed -= g->block_bytes;
}

void pool_make_free(struct kv_pool *p, struct pool_class *g, uint32_t i)
{
    struct kv_pool_block *b = &g->block[i];
    if (b->memory == PROMISED)
        count_bare(p, g, b);
    b->state = FREE;
    if (b->n_map == 0)
        block_set_add(b->memory == THERE ? &g->ready : &g->bare, i);
}

/* Spaces map their blocks, neighbours at once; slots of excerpts are read where they lie. */
static bool is_mapped(const struct kv_pool *p, const struct pool_class *g)
{
    return g < p->class + p->shape.n_group;
}

bool pool_punch(struct kv_pool *p, struct pool_class *g)
{
    const uint32_t i = is_mapped(p, g) ? block_set_run(&g->ready).first : block_set_any(&g->ready);
    if (vm_punch(g->fd, (uint64_t)i * g->block_bytes, g->block_bytes) != OK)
        return false;
    block_set_remove(&g->ready, i);
    count_bare(p, g, &g->block[i]);
    block_set_add(&g->bare, i);
    return true;
}

/* Keeps the promise, outside of the lock. FULL: it stands. */
static enum status keep_promise(struct kv_pool *p, struct pool_class *g, uint32_t i)
{
    uint64_t offset = (uint64_t)i * g->block_bytes;
    pthread_mutex_unlock(&p->lock);
    enum status st = vm_back(g->base + offset, g->block_bytes, g->fd, offset);
    pthread_mutex_lock(&p->lock);
    if (st == OK)
        g->block[i].memory = THERE;
    return st;
}

/* ---- choosing a block ---- */

/* A newcomer starts the longest run of free blocks, and leaves half of it to a sequence that grows
 * towards it. */
static uint32_t choose(struct pool_class *g, struct block_set *set, block_id after)
{
    uint32_t next = kv_block_index(after) + 1;
    if (after.n != KV_NO_BLOCK.n && block_set_has(set, next))
        return next;
    struct block_run run = block_set_run(set);
    uint8_t before = run.first > 0 ? g->block[run.first - 1].state : SEALED;
    bool grows = before == OPEN || before == KEPT;
    return grows ? run.first + run.n / 2 : run.first;
}

/* Takes the block out of its set. What has memory goes first: resident memory follows what is
 * held. */
static bool remove_free(struct kv_pool *p, struct pool_class *g, block_id after, uint32_t *out)
{
    struct block_set *set = g->ready.n ? &g->ready : &g->bare;
    if (set->n == 0 || (set == &g->bare && !pool_has_room(p, g)))
        return false;
    *out = is_mapped(p, g) ? choose(g, set, after) : block_set_any(set);
    block_set_remove(set, *out);
    return true;
}

/* Takes memory away from a free block of another class. */
static bool punch_other(struct kv_pool *p, const struct pool_class *needy)
{
    for (uint32_t i = 0; i < p->n_class; i++) {
        struct pool_class *g = &p->class[i];
        if (g != needy && g->ready.n > 0)
            return pool_punch(p, g);
    }
    return false;
}

/* Lets others free memory or a block, the cheapest way first; false when nothing can come of it. */
static bool make_room(struct kv_pool *p, struct pool_class *g)
{
    if (g->bare.n && punch_other(p, g))
        return true;
    if (p->n_filling) {
        pthread_cond_wait(&p->filled, &p->lock);
        return true;
    }
    if (!p->let_go)
        return false;
    pthread_mutex_unlock(&p->lock);
    bool again = p->let_go(p->let_go_arg);
    pthread_mutex_lock(&p->lock);
    return again;
}

static void hold_first(struct kv_pool *p, struct pool_class *g, uint32_t i)
{
    struct kv_pool_block *b = &g->block[i];
    assert(b->holders == 0);
    assert(b->memory == THERE);
    b->state = OPEN;
    b->holders = 1;
    g->n_held++;
    p->bytes_held += g->block_bytes;
    populator_wake(p);
}

enum status pool_fill(struct kv_pool *p, struct pool_class *g, uint32_t i)
{
    g->block[i].state = FILLING;
    promise_memory(p, g, &g->block[i]);
    p->n_filling++;
    enum status st = keep_promise(p, g, i);
    p->n_filling--;
    pthread_cond_broadcast(&p->filled);
    return st;
}

enum status kv_pool_take(struct kv_pool *p, uint32_t class, block_id *out)
{
    return kv_pool_take_after(p, class, KV_NO_BLOCK, out);
}

enum status kv_pool_take_after(struct kv_pool *p, uint32_t class, block_id after, block_id *out)
{
    assert(class < p->n_class);
    assert(after.n == KV_NO_BLOCK.n || kv_block_class(after) == class);
    struct pool_class *g = &p->class[class];
    if (p->bytes_max - p->bytes_held < g->block_bytes)
        return FULL;
    enum status st = OK;
    uint32_t i;
    pthread_mutex_lock(&p->lock);
    while (st == OK && !remove_free(p, g, after, &i))
        st = make_room(p, g) ? OK : FULL;
    if (st == OK && g->block[i].memory == NONE) {
        st = pool_fill(p, g, i);
        if (st != OK)
            pool_make_free(p, g, i);
    }
    if (st == OK) {
        hold_first(p, g, i);
        *out = id_of(class, i);
    }
    pthread_mutex_unlock(&p->lock);
    return st;
}

enum status kv_pool_keep(struct kv_pool *p, uint32_t class, block_id after, block_id *out)
{
    struct pool_class *g = &p->class[class];
    enum status st = FULL;
    uint32_t i;
    pthread_mutex_lock(&p->lock);
    if (remove_free(p, g, after, &i)) {
        g->block[i].state = KEPT;
        if (g->block[i].memory == NONE)
            promise_memory(p, g, &g->block[i]);
        *out = id_of(class, i);
        st = OK;
    }
    pthread_mutex_unlock(&p->lock);
    return st;
}

enum status kv_pool_back(struct kv_pool *p, block_id kept)
{
    struct kv_pool_block *b = block_of(p, kept);
    pthread_mutex_lock(&p->lock);
    assert(b->state == KEPT);
    enum status st =
        b->memory == THERE ? OK : keep_promise(p, class_of(p, kept), kv_block_index(kept));
    pthread_mutex_unlock(&p->lock);
    return st;
}

void kv_pool_take_kept(struct kv_pool *p, block_id kept)
{
    pthread_mutex_lock(&p->lock);
    assert(block_of(p, kept)->state == KEPT);
    assert(p->bytes_max - p->bytes_held >= class_of(p, kept)->block_bytes);
    hold_first(p, class_of(p, kept), kv_block_index(kept));
    pthread_mutex_unlock(&p->lock);
}

void kv_pool_unkeep(struct kv_pool *p, block_id kept)
{
    pthread_mutex_lock(&p->lock);
    assert(block_of(p, kept)->state == KEPT);
    pool_make_free(p, class_of(p, kept), kv_block_index(kept));
    pthread_mutex_unlock(&p->lock);
}

/* ---- holders and mappings ---- */

void kv_pool_seal(struct kv_pool *p, block_id b)
{
    struct kv_pool_block *blk = block_of(p, b);
    assert(blk->state == OPEN);
    blk->state = SEALED;
}

void kv_pool_reopen(struct kv_pool *p, block_id b)
{
    struct kv_pool_block *blk = block_of(p, b);
    assert(blk->state == SEALED);
    assert(blk->holders == 1);
    blk->state = OPEN;
}

void kv_pool_hold(struct kv_pool *p, block_id b)
{
    struct kv_pool_block *blk = block_of(p, b);
    assert(blk->state == SEALED);
    assert(blk->holders < UINT32_MAX);
    blk->holders++;
}

void kv_pool_release(struct kv_pool *p, block_id b)
{
    struct pool_class *g = class_of(p, b);
    struct kv_pool_block *blk = block_of(p, b);
    assert(blk->state == OPEN || blk->state == SEALED);
    assert(blk->holders > 0);
    if (--blk->holders > 0)
        return;
    pthread_mutex_lock(&p->lock);
    g->n_held--;
    p->bytes_held -= g->block_bytes;
    pool_make_free(p, g, kv_block_index(b));
    pthread_mutex_unlock(&p->lock);
}

bool kv_pool_is_sealed(const struct kv_pool *p, block_id b)
{
    return block_of(p, b)->state == SEALED;
}

uint32_t kv_pool_holders(const struct kv_pool *p, block_id b)
{
    return block_of(p, b)->holders;
}

void kv_pool_mapped(struct kv_pool *p, block_id b)
{
    struct kv_pool_block *blk = block_of(p, b);
    assert(blk->state == KEPT || blk->state == OPEN || blk->state == SEALED);
    blk->n_map++;
}

void kv_pool_unmapped(struct kv_pool *p, block_id b)
{
    struct kv_pool_block *blk = block_of(p, b);
    assert(blk->n_map > 0);
    if (--blk->n_map > 0 || blk->state != FREE)
        return;
    pthread_mutex_lock(&p->lock);
    pool_make_free(p, class_of(p, b), kv_block_index(b));
    pthread_mutex_unlock(&p->lock);
}

void *kv_pool_address(const struct kv_pool *p, block_id b)
{
    const struct pool_class *g = class_of(p, b);
    return g->base + (size_t)kv_block_index(b) * g->block_bytes;
}

void kv_pool_show(struct kv_pool *p, block_id b)
{
    struct kv_pool_block *blk = block_of(p, b);
    if (!blk->shown)
        vm_show(kv_pool_address(p, b), class_of(p, b)->block_bytes);
    blk->shown = true;
}

void kv_pool_hide(struct kv_pool *p, block_id b)
{
    vm_hide(kv_pool_address(p, b), class_of(p, b)->block_bytes);
    block_of(p, b)->shown = false;
}

void kv_pool_file(const struct kv_pool *p, block_id b, int *fd, uint64_t *offset)
{
    const struct pool_class *g = class_of(p, b);
    *fd = g->fd;
    *offset = (uint64_t)kv_block_index(b) * g->block_bytes;
}

void kv_pool_on_short(struct kv_pool *p, kv_let_go *let_go, void *arg)
{
    p->let_go = let_go;
    p->let_go_arg = arg;
}

/* ---- accounts ---- */

void kv_pool_usage(const struct kv_pool *p, struct kv_pool_usage *out)
{
    struct kv_pool *locked = (struct kv_pool *)p;
    pthread_mutex_lock(&locked->lock);
    *out = (struct kv_pool_usage){
        .bytes_max = p->bytes_max,
        .bytes_backed = p->bytes_backed,
        .bytes_held = p->bytes_held,
    };
    for (uint32_t i = 0; i < p->n_class; i++) {
        out->n_held[i] = p->class[i].n_held;
        out->n_free_backed[i] = p->class[i].n_backed - p->class[i].n_held;
    }
    pthread_mutex_unlock(&locked->lock);
}

bool kv_pool_fits(const struct kv_pool *p, const uint32_t n_block[KV_CLASS_MAX])
{
    size_t left = p->bytes_max - p->bytes_held;
    for (uint32_t i = 0; i < p->n_class; i++) {
        size_t block_bytes = p->class[i].block_bytes;
        if (n_block[i] > left / block_bytes)
            return false;
        left -= n_block[i] * block_bytes;
    }
    return true;
}

/* Memory of blocks that could be taken at once. */
static size_t spare_bytes(const struct kv_pool *p)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < p->n_class; i++)
        bytes += p->class[i].ready.n * p->class[i].block_bytes;
    return bytes;
}

size_t kv_pool_spare(struct kv_pool *p)
{
    pthread_mutex_lock(&p->lock);
    const size_t bytes = spare_bytes(p);
    pthread_mutex_unlock(&p->lock);
    return bytes;
}

size_t kv_pool_trim(struct kv_pool *p, size_t bytes)
{
    size_t given = 0;
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < p->n_class; i++) {
        struct pool_class *g = &p->class[i];
        while (given < bytes && g->ready.n > 0 && pool_punch(p, g))
            given += g->block_bytes;
    }
    pthread_mutex_unlock(&p->lock);
    return given;
}

const struct kv_shape *kv_pool_shape(const struct kv_pool *p)
{
    return &p->shape;
}
