/* All spaces of a process: reservations, the budget of mappings, and what to let go of when blocks
 * are short. */
#include <assert.h>

#include "base/mem.h"
#include "kv/space_in.h"

/* ---- birth and death of all ---- */

/* Addresses of one space: the groups behind each other. */
static enum status reserve_bytes(const struct kv_spaces *all, size_t *out, struct note *why)
{
    size_t sum = 0, bytes;
    for (uint32_t g = 0; g < all->shape->n_group; g++) {
        if (__builtin_mul_overflow(all->n_block_max, kv_block_bytes(all->shape, g), &bytes) ||
            __builtin_add_overflow(sum, bytes, &sum) || sum > SIZE_MAX / 2) {
            note_set(why, "a context of %u positions has more KV than there are addresses",
                     all->n_position_max);
            return BAD_INPUT;
        }
    }
    *out = sum;
    return OK;
}

/* Mappings a space may make besides its runs: what is reserved before, between and behind the
 * groups, and the seam between read-only and writable blocks of each. */
static uint32_t vma_of_space(const struct kv_spaces *all)
{
    return 2 * all->shape->n_group + 1;
}

static uint32_t vma_budget(void)
{
    uint32_t most = vm_count_max(), now = vm_count();
    return most > now ? (uint32_t)((uint64_t)(most - now) * 4 / 5) : 0;
}

static bool let_go(void *arg);

enum status kv_spaces_new(struct kv_spaces **out, const struct kv_spaces_config *config,
                          struct note *why)
{
    assert(config->n_position_max > 0);
    struct kv_spaces *all = mem_new(1, sizeof *all);
    if (!all) {
        note_set(why, "no memory for the KV spaces");
        return FULL;
    }
    all->pool = config->pool;
    all->shape = kv_pool_shape(config->pool);
    all->n_position_max = config->n_position_max;
    all->n_block_max = blocks_of(config->n_position_max);
    all->map_ahead = config->map_ahead && !config->table;
    all->table = config->table;
    all->stats.n_vma_max = config->n_vma_max ? config->n_vma_max : vma_budget();
    enum status st = reserve_bytes(all, &all->reserve_bytes, why);
    if (st == OK && !all->table)
        st = mapper_new(&all->mapper, all->pool, why);
    if (st != OK) {
        kv_spaces_free(all);
        return st;
    }
    kv_pool_on_short(all->pool, let_go, all);
    *out = all;
    return OK;
}

static void destroy(struct kv_space *s)
{
    vm_unreserve(s->base, s->all->reserve_bytes);
    mem_free(s->span[0].address); // one piece of memory: see create
    mem_free(s);
}

void kv_spaces_free(struct kv_spaces *all)
{
    if (!all)
        return;
    assert(all->n_live == 0);
    kv_spaces_settle(all);
    if (all->mapper)
        mapper_give_up(all->mapper);
    kv_spaces_collect(all);
    mapper_free(all->mapper);
    while (all->unused) {
        struct kv_space *s = all->unused;
        all->unused = s->next;
        destroy(s);
    }
    kv_pool_on_short(all->pool, NULL, NULL);
    mem_free(all);
}

/* ---- spaces, live and unused ---- */

static enum status create(struct kv_space **out, struct kv_spaces *all, struct note *why)
{
    uint32_t n_group = all->shape->n_group;
    struct kv_space *s = mem_new(1, sizeof *s);
    char **address =
        mem_new((size_t)n_group * all->n_block_max, sizeof *address + 2 * sizeof(block_id));
    if (!s || !address) {
        note_set(why, "no memory for a sequence of %u positions", all->n_position_max);
        mem_free(address);
        mem_free(s);
        return FULL;
    }
    block_id *block = (block_id *)(address + (size_t)n_group * all->n_block_max);
    size_t base = 0;
    s->all = all;
    for (uint32_t g = 0; g < n_group; g++) {
        struct span *span = &s->span[g];
        span->address = address + (size_t)g * all->n_block_max;
        span->block = block + (size_t)2 * g * all->n_block_max;
        span->mapped = span->block + all->n_block_max;
        span->block_bytes = kv_block_bytes(all->shape, g);
        span->base = base;
        base += all->n_block_max * span->block_bytes;
    }
    *out = s;
    return OK;
}

/* Gives a space that has none its addresses, where the budget allows. FULL: the system has none
 * left. */
static enum status reserve(struct kv_space *s, struct note *why)
{
    struct kv_spaces *all = s->all;
    uint32_t n_vma = vma_of_space(all);
    s->table = all->table;
    if (s->table || s->base)
        return OK;
    if (all->stats.n_vma + n_vma > all->stats.n_vma_max) {
        s->table = true;
        all->stats.n_left++;
        return OK;
    }
    enum status st = vm_reserve(all->reserve_bytes, &s->base, why);
    if (st == OK)
        all->stats.n_vma += n_vma;
    return st;
}

static void list_add(struct kv_space **list, struct kv_space *s)
{
    s->before = NULL;
    s->next = *list;
    if (s->next)
        s->next->before = s;
    *list = s;
}

static void list_remove(struct kv_space **list, struct kv_space *s)
{
    if (s->before)
        s->before->next = s->next;
    else
        *list = s->next;
    if (s->next)
        s->next->before = s->before;
}

enum status kv_space_new(struct kv_space **out, struct kv_spaces *all, struct note *why)
{
    struct kv_space *s;
    kv_spaces_collect(all);
    if (!all->unused) {
        enum status st = create(&s, all, why);
        if (st != OK)
            return st;
        list_add(&all->unused, s);
    }
    s = all->unused;
    enum status st = reserve(s, why);
    if (st != OK)
        return st;
    list_remove(&all->unused, s);
    list_add(&all->live, s);
    all->n_live++;
    s->n_expected = all->n_position_max;
    *out = s;
    return OK;
}

/* A dead space without mappings can be used again. */
static void recycle(struct kv_space *s)
{
    s->dead = false;
    s->n_grown = s->n_committed = s->n_block_last = 0;
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        struct span *span = &s->span[g];
        assert(span->mapped_from == span->mapped_to);
        assert(span->n_ahead == 0);
        span->first = span->n = span->mapped_from = span->mapped_to = 0;
    }
    list_add(&s->all->unused, s);
}

void kv_space_free(struct kv_space *s)
{
    if (!s)
        return;
    struct kv_spaces *all = s->all;
    for (uint32_t g = 0; g < all->shape->n_group; g++) {
        struct span *span = &s->span[g];
        space_abandon_ahead(s, g);
        for (uint32_t i = span->first; i < span->n; i++) {
            kv_pool_release(all->pool, span->block[i]);
            span->address[i] = NULL; // V1, for who uses this space next
        }
    }
    space_unmap_all(s);
    list_remove(&all->live, s);
    all->n_live--;
    s->dead = true;
    if (s->n_job == 0)
        recycle(s);
}

/* ---- what the mapper did ---- */

void kv_spaces_collect(struct kv_spaces *all)
{
    struct map_job *job;
    while (all->mapper && (job = mapper_collect(all->mapper)) != NULL) {
        struct kv_space *s = job->owner;
        s->n_job--;
        space_job_done(s, job);
        if (s->dead && s->n_job == 0)
            recycle(s);
    }
}

void kv_spaces_settle(struct kv_spaces *all)
{
    while (all->mapper && mapper_await_any(all->mapper))
        kv_spaces_collect(all);
}

static bool drop_some_ahead(struct kv_spaces *all)
{
    for (struct kv_space *s = all->live; s; s = s->next) {
        for (uint32_t g = 0; g < all->shape->n_group; g++) {
            if (s->span[g].n_ahead == 0)
                continue;
            space_drop_ahead(s, g);
            return true;
        }
    }
    return false;
}

/* The pool is short: blocks whose mappings are on their way out come first, those kept ahead then.
 * False also where the system keeps refusing to take mappings away: who wants a block shall not
 * hang on that. */
static bool let_go(void *arg)
{
    struct kv_spaces *all = arg;
    if (all->mapper && mapper_await_any(all->mapper)) {
        kv_spaces_collect(all);
        return true;
    }
    return drop_some_ahead(all);
}

void kv_spaces_stats(const struct kv_spaces *all, struct kv_spaces_stats *out)
{
    *out = all->stats;
}
