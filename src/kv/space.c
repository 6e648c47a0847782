#include "kv/space.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "kv/space_in.h"
#include "os/clock.h"

/* When so few writable rows are left, the next blocks are mapped in the background: 16 steps of
 * decode are at least 60 ms, mapping takes about one. */
enum { AHEAD_ROWS = 16 };

/* The first block that a query at position n still sees, or will write. */
static uint32_t first_needed(const struct kv_space *s, uint32_t group, uint32_t n_position)
{
    return kv_first_seen(s->all->shape, group, n_position);
}

/* Whether the window passed what a query at n would still see. */
static bool is_lost(const struct kv_space *s, uint32_t n_position)
{
    bool lost = false;
    for (uint32_t g = 0; g < s->all->shape->n_group && n_position > 0; g++)
        lost |= first_needed(s, g, n_position) < s->span[g].first;
    return lost;
}

static uint32_t n_block(const struct kv_space *s)
{
    return blocks_of(s->n_grown);
}

static void add_block(struct kv_space *s, struct span *span, block_id b)
{
    span->block[span->n] = b;
    span->address[span->n] = kv_pool_address(s->all->pool, b);
    span->n++;
    if (s->table)
        kv_pool_show(s->all->pool, b);
}

/* Where the rows of a held block can be touched without faults. */
static char *address_of(const struct kv_space *s, uint32_t group, uint32_t i)
{
    const struct span *span = &s->span[group];
    return s->table ? span->address[i] : block_at(s, span, i);
}

/* Forgets blocks [n, ..) of every group. */
static void drop_tail(struct kv_space *s, uint32_t n)
{
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        struct span *span = &s->span[g];
        space_drop_ahead(s, g);
        space_unmap_tail(s, g, n > span->mapped_from ? n : span->mapped_from);
        while (span->n > n && span->n > span->first) {
            kv_pool_release(s->all->pool, span->block[--span->n]);
            span->address[span->n] = NULL; // V1
        }
    }
}

/* ---- growing ---- */

static void use_ahead(struct kv_space *s, struct span *span, uint32_t n)
{
    while (span->n < n && span->n_ahead) {
        kv_pool_take_kept(s->all->pool, span->block[span->n]);
        span->n_ahead--;
        add_block(s, span, span->block[span->n]);
    }
}

static enum status take_blocks(struct kv_space *s, uint32_t group, uint32_t n)
{
    struct span *span = &s->span[group];
    while (span->n < n) {
        block_id after = span->n > span->first ? span->block[span->n - 1] : KV_NO_BLOCK, b;
        enum status st = kv_pool_take_after(s->all->pool, group, after, &b);
        if (st != OK)
            return st;
        add_block(s, span, b);
    }
    return OK;
}

static enum status grow_blocks(struct kv_space *s, uint32_t n)
{
    uint32_t old = n_block(s);
    enum status st = OK;
    kv_spaces_collect(s->all);
    space_collect_ahead(s);
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        use_ahead(s, &s->span[g], n);
    for (uint32_t g = 0; g < s->all->shape->n_group && st == OK; g++)
        st = take_blocks(s, g, n);
    if (st != OK) {
        drop_tail(s, old);
        return st;
    }
    space_map(s, n, VM_WRITE);
    s->n_block_last = n - old;
    return OK;
}

/* As soon as this step's rows have their place, so that it is done while the step computes. */
static void map_next(struct kv_space *s)
{
    const uint32_t n = n_block(s), left = s->all->n_block_max - n, end = blocks_of(s->n_expected);
    uint32_t ahead = end > n ? end - n : 1;
    ahead = s->n_block_last < ahead ? s->n_block_last : ahead;
    if (s->all->map_ahead && !s->table && n * KV_BLOCK - s->n_grown <= AHEAD_ROWS)
        space_map_ahead(s, ahead < left ? ahead : left);
}

void kv_space_expect(struct kv_space *s, uint32_t n_position)
{
    s->n_expected = n_position;
}

enum status kv_space_grow(struct kv_space *s, uint32_t n_position)
{
    uint32_t need[KV_CLASS_MAX];
    if (n_position > s->all->n_position_max)
        return BAD_INPUT;
    if (blocks_of(n_position) > n_block(s)) {
        uint64_t start = os_now_ns();
        kv_space_need(s, n_position, need);
        bool fits = kv_pool_fits(s->all->pool, need);
        enum status st = fits ? grow_blocks(s, blocks_of(n_position)) : FULL;
        s->all->stats.map_ns += os_now_ns() - start;
        if (st != OK)
            return st;
    }
    if (n_position > s->n_grown)
        s->n_grown = n_position;
    map_next(s);
    return OK;
}

void kv_space_need(const struct kv_space *s, uint32_t n_position, uint32_t n[KV_CLASS_MAX])
{
    uint32_t want = blocks_of(n_position), have = n_block(s);
    for (uint32_t g = 0; g < KV_CLASS_MAX; g++)
        n[g] = g < s->all->shape->n_group && want > have ? want - have : 0;
}

/* ---- committing ---- */

/* Releases the blocks of a group below `keep`. */
static void pass_blocks(struct kv_space *s, uint32_t group, uint32_t keep)
{
    struct span *span = &s->span[group];
    while (span->first < keep && span->first < span->n) {
        kv_pool_release(s->all->pool, span->block[span->first]);
        span->address[span->first++] = NULL;
    }
    space_unmap_passed(s, group);
}

void kv_space_commit(struct kv_space *s, uint32_t n_position)
{
    assert(n_position >= s->n_committed);
    assert(n_position <= s->n_grown);
    uint32_t from = s->n_committed / KV_BLOCK, to = n_position / KV_BLOCK;
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        for (uint32_t i = from; i < to; i++)
            kv_pool_seal(s->all->pool, s->span[g].block[i]);
    space_protect(s, from, to);
    s->n_committed = n_position;
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        pass_blocks(s, g, first_needed(s, g, n_position));
}

void kv_space_pass(struct kv_space *s, uint32_t block)
{
    assert(block <= s->n_committed / KV_BLOCK);
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        if (!s->all->shape->group[g].window)
            pass_blocks(s, g, block);
}

/* ---- forking ---- */

/* Takes a block of each group, for a copy. FULL: nothing changed. */
static enum status take_copies(struct kv_spaces *all, block_id copy[KV_GROUP_MAX])
{
    for (uint32_t g = 0; g < all->shape->n_group; g++) {
        enum status st = kv_pool_take(all->pool, g, &copy[g]);
        if (st != OK) {
            while (g-- > 0)
                kv_pool_release(all->pool, copy[g]);
            return st;
        }
    }
    return OK;
}

static void append_copies(struct kv_space *s, const block_id copy[KV_GROUP_MAX])
{
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        add_block(s, &s->span[g], copy[g]);
    space_map(s, s->span[0].n, VM_WRITE);
}

/* Blocks of each group by index, of somebody who holds them from `first` on: [n_position / KV_BLOCK] or one more. */
struct blocks {
    const block_id *of[KV_GROUP_MAX];
    uint32_t first[KV_GROUP_MAX];
};

static void share_blocks(struct kv_space *s, const struct blocks *from, uint32_t n_position)
{
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        struct span *span = &s->span[g];
        span->first = span->n = span->mapped_from = span->mapped_to = from->first[g];
        while (span->n < n_position / KV_BLOCK) {
            kv_pool_hold(s->all->pool, from->of[g][span->n]);
            add_block(s, span, from->of[g][span->n]);
        }
    }
    space_map(s, n_position / KV_BLOCK, VM_READ);
}

/* A new space over the first n positions of those blocks. A partial last block gets a block of its own, to be filled by
 * the caller. */
static enum status space_over(struct kv_space **out, struct kv_spaces *all,
                              const struct blocks *from, uint32_t n_position, struct note *why)
{
    struct kv_space *s;
    block_id copy[KV_GROUP_MAX];
    const bool copies = n_position % KV_BLOCK;
    enum status st = kv_space_new(&s, all, why);
    if (st != OK)
        return st;
    if (copies && (st = take_copies(all, copy)) != OK) {
        note_set(why, "no KV block is free for the copy of position %u's block", n_position);
        kv_space_free(s);
        return st;
    }
    share_blocks(s, from, n_position);
    if (copies)
        append_copies(s, copy);
    s->n_grown = s->n_committed = n_position;
    *out = s;
    return OK;
}

/* Blocks that the sequence itself still holds. */
static enum status fork_held(struct kv_space **out, struct kv_space *s, uint32_t n_position,
                             struct note *why)
{
    assert(n_position <= s->n_committed);
    const uint32_t whole = n_position / KV_BLOCK;
    struct blocks from = { 0 };
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        const uint32_t first = first_needed(s, g, n_position);
        from.of[g] = s->span[g].block;
        from.first[g] = first > s->span[g].first ? first : s->span[g].first;
    }
    enum status st = space_over(out, s->all, &from, n_position, why);
    for (uint32_t g = 0; st == OK && n_position % KV_BLOCK && g < s->all->shape->n_group; g++)
        memcpy(address_of(*out, g, whole), address_of(s, g, whole), s->span[g].block_bytes);
    return st;
}

enum status kv_space_fork(struct kv_space **out, struct kv_space *s, uint32_t n_position,
                          struct note *why)
{
    if (is_lost(s, n_position)) {
        note_set(why, "rows before position %u were given back: a window or a policy passed them",
                 n_position);
        return NOT_FOUND;
    }
    return n_position > 0 ? fork_held(out, s, n_position, why) : kv_space_new(out, s->all, why);
}

enum status kv_space_fork_rest(struct kv_space **out, struct kv_space *s, uint32_t n_position,
                               struct note *why)
{
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        const bool passed = !s->all->shape->group[g].window && s->span[g].first > 0;
        assert(!passed || s->span[g].first <= n_position / KV_BLOCK);
        if (!passed && n_position > 0 && first_needed(s, g, n_position) < s->span[g].first) {
            note_set(why, "rows before position %u were given back: a window passed them",
                     n_position);
            return NOT_FOUND;
        }
    }
    return fork_held(out, s, n_position, why);
}

/* A new space over sealed blocks that the caller holds; the partial last one is copied. */
static enum status adopt(struct kv_space **out, struct kv_spaces *all, const struct blocks *from,
                         uint32_t n_position, struct note *why)
{
    const uint32_t whole = n_position / KV_BLOCK;
    enum status st = space_over(out, all, from, n_position, why);
    for (uint32_t g = 0; st == OK && n_position % KV_BLOCK && g < all->shape->n_group; g++) {
        const block_id tail = from->of[g][whole];
        memcpy(address_of(*out, g, whole), kv_pool_address(all->pool, tail),
               (*out)->span[g].block_bytes);
        if (!(*out)->table)
            kv_pool_hide(all->pool, tail);
    }
    return st;
}

enum status kv_space_adopt(struct kv_space **out, struct kv_spaces *all, uint32_t n_position,
                           const block_id *block, struct note *why)
{
    struct blocks from = { 0 };
    assert(n_position > 0);
    assert(n_position <= all->n_position_max);
    for (uint32_t g = 0; g < all->shape->n_group; g++) {
        from.first[g] = kv_first_seen(all->shape, g, n_position);
        from.of[g] = block + (size_t)g * blocks_of(n_position);
    }
    return adopt(out, all, &from, n_position, why);
}

/* ---- out of the pool, and back ---- */

size_t kv_space_save(const struct kv_space *s, char *bytes)
{
    size_t n = 0;
    assert(s->n_committed == s->n_grown);
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        const struct span *span = &s->span[g];
        for (uint32_t i = span->first; i < n_block(s); i++, n += span->block_bytes)
            if (bytes)
                memcpy(bytes + n, address_of(s, g, i), span->block_bytes);
    }
    return n;
}

/* Takes a block, fills it and seals it: nobody is to write it again. */
static enum status take_filled(struct kv_spaces *all, uint32_t group, const char *bytes,
                               block_id *out)
{
    const enum status st = kv_pool_take(all->pool, group, out);
    if (st != OK)
        return st;
    memcpy(kv_pool_address(all->pool, *out), bytes, kv_block_bytes(all->shape, group));
    kv_pool_seal(all->pool, *out);
    if (!all->table)
        kv_pool_hide(all->pool, *out);
    return OK;
}

enum status kv_space_restore(struct kv_space **out, struct kv_spaces *all, uint32_t n_position,
                             const uint32_t first[KV_GROUP_MAX], const char *bytes,
                             struct note *why)
{
    const uint32_t n_group = all->shape->n_group, n = blocks_of(n_position);
    struct blocks from = { 0 };
    uint32_t g = 0, i = n_group ? first[0] : 0;
    block_id *block = mem_new((size_t)n_group * n, sizeof *block);
    enum status st = block ? OK : FULL;
    for (; st == OK && g < n_group; g++) {
        from.first[g] = first[g];
        from.of[g] = block + (size_t)g * n;
        for (i = first[g]; i < n; i++, bytes += kv_block_bytes(all->shape, g)) {
            st = take_filled(all, g, bytes, &block[(size_t)g * n + i]);
            if (st != OK)
                break;
        }
        if (st != OK)
            break;
    }
    if (st == OK)
        st = adopt(out, all, &from, n_position, why);
    else
        note_set(why, "no KV block is free for %u positions that come back", n_position);
    for (uint32_t h = 0; block && h < n_group && h <= g; h++) // the space holds them itself
        for (uint32_t j = first[h]; j < (h < g ? n : i); j++)
            kv_pool_release(all->pool, block[(size_t)h * n + j]);
    mem_free(block);
    return st;
}

/* The partial last block too: nothing can be written behind it any more. */
void kv_space_seal(struct kv_space *s)
{
    const uint32_t whole = s->n_committed / KV_BLOCK;
    assert(s->n_committed % KV_BLOCK);
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        kv_pool_seal(s->all->pool, s->span[g].block[whole]);
    space_protect(s, whole, whole + 1);
}

/* ---- looking ---- */

uint32_t kv_space_shared(const struct kv_space *a, const struct kv_space *b)
{
    uint32_t shared = 0;
    bool any = false;
    for (uint32_t g = 0; g < a->all->shape->n_group; g++) {
        const struct span *x = &a->span[g], *y = &b->span[g];
        const uint32_t most = x->n < y->n ? x->n : y->n;
        uint32_t n = 0;
        if (a->all->shape->group[g].window)
            continue;
        if (x->first > 0 || y->first > 0)
            return 0;
        while (n < most && x->block[n].n == y->block[n].n)
            n++;
        shared = !any || n < shared ? n : shared;
        any = true;
    }
    return shared;
}

uint32_t kv_space_committed(const struct kv_space *s)
{
    return s->n_committed;
}

uint32_t kv_space_grown(const struct kv_space *s)
{
    return s->n_grown;
}

uint32_t kv_space_first(const struct kv_space *s, uint32_t group)
{
    return s->span[group].first;
}

block_id kv_space_block(const struct kv_space *s, uint32_t group, uint32_t i)
{
    assert(i >= s->span[group].first);
    assert(i < s->span[group].n);
    return s->span[group].block[i];
}
