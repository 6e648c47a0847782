/* Random lives of pruned sequences beside a plain twin: the same rows live, in the same order, with the same bytes,
 * positions and mass, whatever was dropped, settled, forked and freed in between; and the pool's cap holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "kv/excerpt.h"
#include "kv/view.h"
#include "support/sanitized.h"

enum { POSITIONS = 640, TAIL_MASS = 384, SEQS = 4, HEADS = 2, LAYERS = 3, LISTS = 4 };

/* Layers 0 and 2 see everything, layer 1 has a window. */
static struct kv_shape shape_of(enum kv_type type)
{
    return (struct kv_shape){
        .type = type,
        .n_group = 2,
        .group = { { .n_layer = 2, .n_kv_head = HEADS, .d_k = 16, .d_v = 24 },
                   { .n_layer = 1, .n_kv_head = HEADS, .d_k = 16, .d_v = 24, .window = 100 } },
        .n_layer = LAYERS,
        .layer_group = { 0, 1, 0 },
        .layer_index = { 0, 0, 1 },
    };
}

/* ---- the twin: a list is what its slots hold, and which rows of the tail are kept ---- */

enum { NO_ROW = UINT32_MAX };

struct twin_list {
    uint32_t slot[POSITIONS], n_slot; // positions, or NO_ROW
    bool kept[POSITIONS];
    uint64_t mass[POSITIONS];
};

struct twin {
    uint64_t tag[POSITIONS]; // what was written
    uint32_t committed, tail_first;
    struct twin_list list[LISTS];
};

struct life {
    struct rng rng;
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *all;
    uint32_t n;
    struct kv_space *space[SEQS];
    struct kv_excerpt *excerpt[SEQS];
    struct twin *twin[SEQS];
    uint64_t n_tag;
    uint32_t n_settled, n_full;
};

static uint32_t layer_of(uint32_t list)
{
    return list / HEADS * 2;
}

static uint32_t lowest_hole(const struct twin_list *t)
{
    uint32_t i = 0;
    while (i < t->n_slot && t->slot[i] != NO_ROW)
        i++;
    return i;
}

static void twin_put(struct twin_list *t, uint32_t position)
{
    const uint32_t at = lowest_hole(t);
    t->slot[at] = position;
    t->n_slot += at == t->n_slot;
}

static void twin_settle_list(struct twin_list *t, uint32_t from, uint32_t to)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_slot; i++)
        n += t->slot[i] != NO_ROW;
    for (uint32_t p = from; p < to; p++)
        n += t->kept[p];
    for (; t->n_slot > n; t->n_slot--) {
        const uint32_t last = t->slot[t->n_slot - 1];
        t->slot[t->n_slot - 1] = NO_ROW;
        if (last != NO_ROW)
            twin_put(t, last);
    }
    for (uint32_t p = from; p < to; p++)
        if (t->kept[p])
            twin_put(t, p);
}

/* ---- rows ---- */

static size_t element_bytes(enum kv_type type)
{
    return type == KV_F32 ? 4 : type == KV_F16 ? 2 : 1;
}

/* Every byte of one row of a part, in the order of its elements; the scale last. */
static uint32_t row_bytes(enum kv_type type, char *part, uint32_t row, uint32_t d, bool is_k,
                          char *at[])
{
    const size_t bytes = element_bytes(type);
    uint32_t n = 0;
    for (size_t j = 0; j < d; j++)
        for (size_t i = 0; i < bytes; i++)
            at[n++] = part + (is_k ? j * KV_BLOCK + row : row * (size_t)d + j) * bytes + i;
    for (size_t i = 0; type == KV_INT8 && i < sizeof(float); i++)
        at[n++] = part + (size_t)KV_BLOCK * d + row * sizeof(float) + i;
    return n;
}

static char byte_of(uint64_t tag, uint32_t layer, uint32_t head, bool is_k, uint32_t i)
{
    struct rng r = rng_seeded(tag * 64 + layer * 16 + head * 2 + is_k, i);
    return (char)rng_u32(&r);
}

/* Writes a row, or counts the bytes that are not as written. */
static uint32_t touch_part(const struct life *f, char *part, uint32_t row, uint64_t tag,
                           uint32_t layer, uint32_t head, bool is_k, bool write)
{
    char *at[24 * 4 + 4];
    const uint32_t d = is_k ? 16 : 24, n = row_bytes(f->shape.type, part, row, d, is_k, at);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < n;
         i += 3) { // a third of them, and the last: enough to tell rows apart
        const uint32_t j = i + 3 < n ? i : n - 1;
        if (write)
            *at[j] = byte_of(tag, layer, head, is_k, j);
        else
            wrong += *at[j] != byte_of(tag, layer, head, is_k, j);
    }
    return wrong;
}

static uint32_t touch_row(const struct life *f, uint32_t s, uint32_t layer, uint32_t head,
                          uint32_t position, bool write)
{
    const struct kv_view v = kv_view_layer(f->space[s], layer);
    const uint32_t block = position / KV_BLOCK, row = position % KV_BLOCK;
    const uint64_t tag = f->twin[s]->tag[position];
    return touch_part(f, kv_view_k(&v, block, head), row, tag, layer, head, true, write) +
           touch_part(f, kv_view_v(&v, block, head), row, tag, layer, head, false, write);
}

/* ---- what must always hold ---- */

static void check_slot(const struct life *f, uint32_t s, uint32_t list, uint32_t slot)
{
    const uint32_t layer = layer_of(list), head = list % HEADS;
    const struct kv_list l = kv_excerpt_list(f->excerpt[s], layer, head);
    const struct twin *t = f->twin[s];
    const uint32_t position = t->list[list].slot[slot];
    char *block = l.block[slot / KV_BLOCK];
    assert_int_equal(l.position[slot], position);
    assert_true(l.mass[slot] == t->list[list].mass[position]);
    assert_int_equal(
        touch_part(f, block, slot % KV_BLOCK, t->tag[position], layer, head, true, false), 0);
    assert_int_equal(touch_part(f, block + kv_part_bytes(f->shape.type, 16), slot % KV_BLOCK,
                                t->tag[position], layer, head, false, false),
                     0);
}

static void check_list(const struct life *f, uint32_t s, uint32_t list)
{
    static kv_row row[POSITIONS];
    static uint32_t position[POSITIONS];
    const uint32_t layer = layer_of(list), head = list % HEADS;
    const struct kv_list l = kv_excerpt_list(f->excerpt[s], layer, head);
    const struct twin *t = f->twin[s];
    const struct twin_list *want = &t->list[list];
    const uint32_t n = kv_excerpt_rows(f->excerpt[s], layer, head, t->committed, row, position);
    uint32_t i = 0;
    for (uint32_t slot = 0; slot < want->n_slot; slot++) {
        if (want->slot[slot] == NO_ROW)
            continue;
        assert_true(i < n);
        assert_int_equal(row[i], slot);
        assert_int_equal(position[i++], want->slot[slot]);
        check_slot(f, s, list, slot);
    }
    for (uint32_t p = t->tail_first * KV_BLOCK; p < t->committed; p++) {
        if (!want->kept[p])
            continue;
        assert_true(i < n);
        assert_int_equal(row[i], KV_IN_TAIL | p);
        assert_int_equal(position[i++], p);
        assert_true(l.tail_mass[p % l.n_tail_mass] == want->mass[p]);
        assert_int_equal(touch_row(f, s, layer, head, p, false), 0);
    }
    assert_int_equal(i, n);
    assert_int_equal(kv_excerpt_n_live(f->excerpt[s], layer, head, t->committed), n);
}

static void check(const struct life *f)
{
    struct kv_pool_usage u;
    kv_pool_check(f->pool);
    kv_pool_usage(f->pool, &u);
    assert_true(u.bytes_held <= u.bytes_max);
    for (uint32_t s = 0; s < f->n; s++) {
        uint32_t most = 0;
        size_t blocks = 0;
        for (uint32_t list = 0; list < LISTS; list++) {
            const uint32_t n_block =
                kv_excerpt_list(f->excerpt[s], layer_of(list), list % HEADS).n_block;
            check_list(f, s, list);
            blocks += n_block;
            most = n_block > most ? n_block : most;
        }
        assert_int_equal(kv_excerpt_slot_blocks(f->excerpt[s]), most);
        assert_int_equal(kv_excerpt_bytes(f->excerpt[s]),
                         blocks * kv_class_bytes(&f->shape, kv_excerpt_class(&f->shape)));
        assert_int_equal(kv_space_first(f->space[s], 0), f->twin[s]->tail_first);
    }
}

/* ---- what can happen ---- */

static void begin(struct life *f)
{
    const struct kv_excerpt_config config = { .pool = f->pool,
                                              .n_position_max = POSITIONS,
                                              .n_tail_mass = TAIL_MASS - 7 };
    const uint32_t s = f->n;
    if (s == SEQS)
        return;
    assert_int_equal(kv_space_new(&f->space[s], f->all, NULL), OK);
    assert_int_equal(kv_excerpt_new(&f->excerpt[s], &config, NULL), OK);
    assert_true(kv_excerpt_is_whole(f->excerpt[s]));
    f->twin[s] = calloc(1, sizeof *f->twin[s]);
    for (uint32_t list = 0; list < LISTS; list++)
        memset(f->twin[s]->list[list].kept, true, POSITIONS);
    f->n++;
}

static void append_to(struct life *f, uint32_t s, uint32_t to)
{
    struct twin *t = f->twin[s];
    if (to > POSITIONS || to - t->tail_first * KV_BLOCK > TAIL_MASS)
        return;
    if (kv_space_grow(f->space[s], to) != OK) {
        f->n_full++;
        return;
    }
    for (uint32_t p = t->committed; p < to; p++) {
        t->tag[p] = ++f->n_tag;
        for (uint32_t i = 0; i < LAYERS * HEADS; i++)
            touch_row(f, s, i / HEADS, i % HEADS, p, true);
    }
    kv_space_commit(f->space[s], to);
    t->committed = to;
}

static void append(struct life *f, uint32_t s)
{
    append_to(f, s, f->twin[s]->committed + 1 + rng_below(&f->rng, 150));
}

/* Mass for some rows, as a tap would count it. */
static void count(struct life *f, uint32_t s)
{
    for (uint32_t list = 0; list < LISTS; list++) {
        const struct kv_list l = kv_excerpt_list(f->excerpt[s], layer_of(list), list % HEADS);
        struct twin_list *t = &f->twin[s]->list[list];
        for (uint32_t i = 0; i < t->n_slot; i++) {
            if (t->slot[i] != NO_ROW)
                l.mass[i] = t->mass[t->slot[i]] = rng_u32(&f->rng);
        }
        for (uint32_t p = f->twin[s]->tail_first * KV_BLOCK; p < f->twin[s]->committed; p++) {
            if (t->kept[p])
                l.tail_mass[p % l.n_tail_mass] = t->mass[p] = rng_u32(&f->rng);
        }
    }
}

/* Each row of each list with a chance of its own; sometimes a row that is still to come. */
static void drop(struct life *f, uint32_t s)
{
    const uint32_t n_ahead = rng_below(&f->rng, 8) == 0 ? 20 : 0;
    struct twin *t = f->twin[s];
    for (uint32_t list = 0; list < LISTS; list++) {
        struct twin_list *l = &t->list[list];
        const uint32_t chance = rng_below(&f->rng, 101), layer = layer_of(list);
        for (uint32_t i = 0; i < l->n_slot; i++) {
            if (l->slot[i] == NO_ROW || rng_below(&f->rng, 100) >= chance)
                continue;
            kv_excerpt_drop(f->excerpt[s], layer, list % HEADS, i);
            l->slot[i] = NO_ROW;
        }
        for (uint32_t p = t->tail_first * KV_BLOCK; p < t->committed + n_ahead && p < POSITIONS;
             p++) {
            if (!l->kept[p] || rng_below(&f->rng, 100) >= chance)
                continue;
            kv_excerpt_drop(f->excerpt[s], layer, list % HEADS, KV_IN_TAIL | p);
            l->kept[p] = false;
        }
    }
}

static void settle(struct life *f, uint32_t s)
{
    struct twin *t = f->twin[s];
    const uint32_t n = rng_below(&f->rng, t->committed + 1), block = n / KV_BLOCK;
    const uint32_t to = block > t->tail_first ? block : t->tail_first;
    uint32_t need[KV_CLASS_MAX] = { 0 };
    need[kv_excerpt_class(&f->shape)] = kv_excerpt_need(f->excerpt[s], n);
    const bool fits = kv_pool_fits(f->pool, need);
    const enum status st = kv_excerpt_settle(f->excerpt[s], f->space[s], n);
    if (st != OK) {
        assert_int_equal(st, FULL);
        assert_false(fits);
        f->n_full++;
        return;
    }
    for (uint32_t list = 0; list < LISTS; list++)
        twin_settle_list(&t->list[list], t->tail_first * KV_BLOCK, to * KV_BLOCK);
    t->tail_first = to;
    f->n_settled++;
}

static void fork_one(struct life *f, uint32_t s)
{
    const uint32_t to = f->n;
    struct note why = { "" };
    if (to == SEQS)
        return;
    const uint32_t n = f->twin[s]->committed;
    if (f->twin[s]->tail_first > 0)
        assert_int_equal(kv_space_fork(&f->space[to], f->space[s], n, &why), NOT_FOUND);
    if (kv_space_fork_rest(&f->space[to], f->space[s], n, &why) != OK) {
        f->n_full++;
        return;
    }
    assert_int_equal(kv_excerpt_fork(&f->excerpt[to], f->excerpt[s], POSITIONS, &why), OK);
    assert_int_equal(kv_excerpt_is_whole(f->excerpt[to]), kv_excerpt_is_whole(f->excerpt[s]));
    f->twin[to] = malloc(sizeof *f->twin[to]);
    *f->twin[to] = *f->twin[s];
    if (f->twin[s]->tail_first > 0)
        assert_int_equal(kv_space_shared(f->space[to], f->space[s]), 0);
    f->n++;
}

static void end(struct life *f, uint32_t s)
{
    kv_excerpt_free(f->excerpt[s]);
    kv_space_free(f->space[s]);
    free(f->twin[s]);
    f->n--;
    f->space[s] = f->space[f->n];
    f->excerpt[s] = f->excerpt[f->n];
    f->twin[s] = f->twin[f->n];
}

static void happen(struct life *f)
{
    const uint32_t what = rng_below(&f->rng, 16);
    if (f->n == 0 || what == 0) {
        begin(f);
        return;
    }
    const uint32_t s = rng_below(&f->rng, f->n);
    if (what < 6)
        append(f, s);
    else if (what < 8)
        count(f, s);
    else if (what < 11)
        drop(f, s);
    else if (what < 14)
        settle(f, s);
    else if (what < 15)
        fork_one(f, s);
    else
        end(f, s);
}

static void live(enum kv_type type, bool table, uint64_t seed)
{
    struct life f = { .rng = rng_seeded(seed, 7), .shape = shape_of(type) };
    const struct kv_pool_config pool = {
        .shape = &f.shape,
        .bytes_max = 2 * kv_sequence_bytes(&f.shape, POSITIONS, 150),
    };
    assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
    const struct kv_spaces_config spaces = {
        .pool = f.pool, .n_position_max = POSITIONS, .table = table, .map_ahead = !table
    };
    assert_int_equal(kv_spaces_new(&f.all, &spaces, NULL), OK);
    for (int i = 0; i < (SANITIZED ? 150 : 600); i++) {
        happen(&f);
        check(&f);
    }
    assert_true(f.n_settled > 10);
    while (f.n > 0)
        end(&f, 0);
    kv_spaces_free(f.all);
    struct kv_pool_usage u;
    kv_pool_usage(f.pool, &u);
    assert_int_equal(u.bytes_held, 0);
    kv_pool_free(f.pool);
}

static void lists_agree_with_their_twins(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        live(KV_F16, false, seed);
        live(KV_F32, true, seed);
        live(KV_INT8, false, seed);
    }
}

/* A long past is pruned in a pool that has room for little beside it: slots come as blocks of the tail go. */
static void settling_asks_for_little_at_a_time(void **state)
{
    (void)state;
    struct life f = { .rng = rng_seeded(3, 7), .shape = shape_of(KV_F16) };
    const struct kv_pool_config pool = {
        .shape = &f.shape,
        .bytes_max = kv_sequence_bytes(&f.shape, 350, 350) +
                     LISTS * kv_class_bytes(&f.shape, kv_excerpt_class(&f.shape)),
    };
    const struct kv_spaces_config spaces = { .n_position_max = POSITIONS, .map_ahead = true };
    assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
    struct kv_spaces_config of = spaces;
    of.pool = f.pool;
    assert_int_equal(kv_spaces_new(&f.all, &of, NULL), OK);
    begin(&f);
    append_to(&f, 0, 350);
    assert_int_equal(f.twin[0]->committed, 350);
    for (uint32_t list = 0; list < LISTS; list++) // half of all rows
        for (uint32_t p = list % 2; p < 320; p += 2) {
            kv_excerpt_drop(f.excerpt[0], layer_of(list), list % HEADS, KV_IN_TAIL | p);
            f.twin[0]->list[list].kept[p] = false;
        }
    uint32_t need[KV_CLASS_MAX] = { 0 };
    need[kv_excerpt_class(&f.shape)] = kv_excerpt_need(f.excerpt[0], 320);
    assert_false(kv_pool_fits(f.pool, need)); // all at once
    assert_int_equal(kv_excerpt_bytes(f.excerpt[0]), 0);
    assert_int_equal(kv_excerpt_settle(f.excerpt[0], f.space[0], 320), OK);
    for (uint32_t list = 0; list < LISTS; list++)
        twin_settle_list(&f.twin[0]->list[list], 0, 320);
    f.twin[0]->tail_first = 5;
    check(&f);
    assert_int_equal(kv_excerpt_slot_blocks(f.excerpt[0]), 3); // 160 rows
    end(&f, 0);
    kv_spaces_free(f.all);
    kv_pool_free(f.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_agree_with_their_twins),
        cmocka_unit_test(settling_asks_for_little_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
