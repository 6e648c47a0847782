/* The prefix index under random prompts, growth, ends, evictions and forgetting.
 *
 * Every row that a sequence writes carries a tag made of its salt and all ids up to it. So whatever a hit hands over is
 * checked by reading it: one row of another salt, another beginning or another position shows. Beside it stands a
 * list of all that was ever put, scanned from end to end: while nothing was evicted, a hit has exactly its longest
 * match, and never more than it at any time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kv/index.h"
#include "support/kv_tags.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOWER = 8 };
#else
enum { SLOWER = 1 };
#endif

enum { N_POSITION = 1024, N_SEQ = 6, N_PUT = 1 << 15 };

static const char *const salts[] = { "", "alice", "bob" };

struct setup {
    const char *name;
    uint32_t window; // of the second group; 0: one group
    uint32_t n_block_cap;
    uint32_t n_call;
    bool table, ample; // ample: nothing is ever evicted
};

struct live {
    const char *salt;
    struct kv_space *space;
    struct kv_trail trail;
    int32_t ids[N_POSITION];
    uint64_t tag[N_POSITION];
    uint32_t n_id;
};

/* What sequences that ended had put, as plain prompts. */
struct put {
    const char *salt;
    int32_t *ids;
    uint32_t n;
};

struct fixture {
    const struct setup *setup;
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct kv_index *index;
    struct rng rng;
    struct live *seq[N_SEQ];
    uint32_t n_seq;
    struct put *put;
    uint32_t n_put;
    uint64_t n_hit, n_hit_position, n_tail, n_lost, tick;
};

static void tags_of(struct live *s)
{
    uint64_t h = hash_bytes(1, s->salt, strlen(s->salt));
    for (uint32_t i = 0; i < s->n_id; i++) {
        h = hash_u64(h, (uint64_t)s->ids[i]);
        s->tag[i] = h;
    }
}

/* Few ids and few beginnings, so that prompts meet; lengths around block bounds. */
static void any_prompt(struct fixture *f, struct live *s)
{
    s->salt = salts[rng_below(&f->rng, 3)];
    s->n_id = 1 + rng_below(&f->rng, N_POSITION);
    const uint32_t kind = rng_below(&f->rng, 4);
    if (kind == 0)
        s->n_id = 64 * (1 + rng_below(&f->rng, 4)) + rng_below(&f->rng, 3);
    if (kind == 1)
        s->n_id = 1 + rng_below(&f->rng, 100);
    uint32_t from = 0;
    if (f->n_put && rng_below(&f->rng, 4)) { /* begins as an old one does */
        const struct put *old = &f->put[rng_below(&f->rng, f->n_put)];
        from = rng_below(&f->rng, old->n) + 1;
        from = from < s->n_id ? from : s->n_id;
        memcpy(s->ids, old->ids, from * sizeof *s->ids);
        s->salt = rng_below(&f->rng, 4) ? old->salt : s->salt;
    }
    for (uint32_t i = from; i < s->n_id; i++)
        s->ids[i] = (int32_t)rng_below(&f->rng, 3);
    tags_of(s);
}

static uint32_t match(const struct live *s, const char *salt, const int32_t *ids, uint32_t n_id)
{
    uint32_t n = 0;
    while (salt == s->salt && n < n_id && n + 1 < s->n_id && ids[n] == s->ids[n])
        n++;
    return n;
}

static uint32_t longest(const struct fixture *f, const struct live *s)
{
    uint32_t best = 0, n;
    for (uint32_t i = 0; i < f->n_put; i++) {
        n = match(s, f->put[i].salt, f->put[i].ids, f->put[i].n);
        best = n > best ? n : best;
    }
    for (uint32_t i = 0; i < f->n_seq; i++) {
        const struct live *other = f->seq[i];
        n = match(s, other->salt, other->ids, other->trail.n_block * KV_BLOCK);
        best = n > best ? n : best;
    }
    return best;
}

static void remember(struct fixture *f, const struct live *s, uint32_t n)
{
    if (n == 0)
        return;
    assert_true(f->n_put < N_PUT);
    int32_t *ids = mem_new(n, sizeof *ids);
    memcpy(ids, s->ids, n * sizeof *ids);
    f->put[f->n_put++] = (struct put){ s->salt, ids, n };
}

static struct kv_tags rows(const struct fixture *f, const struct live *s, uint32_t from,
                           uint32_t to, uint32_t first[KV_GROUP_MAX])
{
    for (uint32_t g = 0; g < f->shape.n_group; g++)
        first[g] = kv_space_first(s->space, g);
    return (struct kv_tags){
        .space = s->space, .shape = &f->shape, .tag = s->tag, .first = first, .from = from, .to = to
    };
}

static void expect_tags(const struct fixture *f, const struct live *s)
{
    uint32_t first[KV_GROUP_MAX];
    struct kv_tags tags = rows(f, s, 0, kv_space_committed(s->space), first);
    assert_int_equal(kv_tags_wrong(&tags), 0);
}

static void call_new(struct fixture *f)
{
    struct live *s = mem_new(1, sizeof *s);
    struct kv_hit hit;
    any_prompt(f, s);
    const struct kv_hit promised = kv_index_find(f->index, s->salt, s->ids, s->n_id);
    enum status st =
        kv_index_take(f->index, s->salt, s->ids, s->n_id, &s->space, &s->trail, &hit, NULL);
    assert_int_equal(promised.n_position, hit.n_position);
    const uint32_t best = longest(f, s);
    assert_true(hit.n_position <= best);
    if (f->setup->ample)
        assert_int_equal(hit.n_position, best);
    f->n_lost += hit.n_position < best;
    if (hit.n_position + 1 == s->n_id)
        assert_int_equal(hit.miss, KV_MISS_NONE);
    if (st == OK) {
        assert_int_equal(kv_space_committed(s->space), hit.n_position);
        expect_tags(f, s);
        f->n_hit++;
        f->n_hit_position += hit.n_position;
        f->n_tail += hit.n_position % KV_BLOCK != 0;
    } else if (kv_space_new(&s->space, f->spaces, NULL) != OK) {
        mem_free(s);
        return;
    }
    f->seq[f->n_seq++] = s;
}

static void call_end(struct fixture *f, uint32_t i, bool keep)
{
    struct live *s = f->seq[i];
    const uint32_t n = kv_space_committed(s->space);
    remember(f, s, keep ? n : s->trail.n_block * KV_BLOCK);
    if (keep) {
        kv_index_leave(f->index, s->salt, s->ids, s->space, &s->trail);
    } else {
        kv_index_drop(f->index, &s->trail);
        kv_space_free(s->space);
    }
    mem_free(s);
    f->seq[i] = f->seq[--f->n_seq];
}

/* A step of one sequence: as many rows as it likes; what is short goes from the index, then the sequence itself. */
static void call_step(struct fixture *f, uint32_t i)
{
    struct live *s = f->seq[i];
    uint32_t first[KV_GROUP_MAX];
    const uint32_t from = kv_space_committed(s->space);
    uint32_t to = from + 1 + rng_below(&f->rng, 200);
    to = to < s->n_id ? to : s->n_id;
    while (kv_space_grow(s->space, to) != OK) {
        if (!kv_index_evict(f->index)) {
            call_end(f, i, false);
            return;
        }
        assert_false(f->setup->ample);
    }
    struct kv_tags tags = rows(f, s, from, to, first);
    kv_tags_write(&tags);
    kv_space_commit(s->space, to);
    kv_index_put(f->index, s->salt, s->ids, s->space, &s->trail);
    if (to == s->n_id)
        call_end(f, i, rng_below(&f->rng, 8) != 0);
}

static void call_any(struct fixture *f)
{
    const uint32_t kind = rng_below(&f->rng, 100);
    kv_index_tick(f->index, ++f->tick);
    if (f->n_seq == 0 || (kind < 20 && f->n_seq < N_SEQ))
        call_new(f);
    else if (kind < 94)
        call_step(f, rng_below(&f->rng, f->n_seq));
    else if (kind < 96)
        expect_tags(f, f->seq[rng_below(&f->rng, f->n_seq)]);
    else if (kind < 98)
        call_end(f, rng_below(&f->rng, f->n_seq), true);
    else if (!f->setup->ample)
        kv_index_evict(f->index);
}

static struct kv_shape shape_of(const struct setup *setup)
{
    return (struct kv_shape){
        .type = KV_F16,
        .n_group = setup->window ? 2 : 1,
        .group = { { .n_layer = 1, .n_kv_head = 1, .d_k = 8, .d_v = 8 },
                   { .n_layer = 2, .n_kv_head = 1, .d_k = 8, .d_v = 8, .window = setup->window } },
        .n_layer = setup->window ? 3 : 1,
        .layer_group = { 0, 1, 1 },
        .layer_index = { 0, 0, 1 },
    };
}

static void live(const struct setup *setup)
{
    struct fixture f = { .setup = setup, .shape = shape_of(setup) };
    size_t pair = 0;
    for (uint32_t g = 0; g < f.shape.n_group; g++)
        pair += kv_block_bytes(&f.shape, g);
    f.rng = rng_seeded(7, setup->n_block_cap);
    f.put = mem_new(N_PUT, sizeof *f.put);
    const struct kv_pool_config pool = { .shape = &f.shape,
                                         .bytes_max = pair * setup->n_block_cap };
    assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
    const struct kv_spaces_config spaces = {
        .pool = f.pool, .n_position_max = N_POSITION, .map_ahead = true, .table = setup->table
    };
    assert_int_equal(kv_spaces_new(&f.spaces, &spaces, NULL), OK);
    const struct kv_index_config config = { .pool = f.pool, .spaces = f.spaces, .model = { 1, 2 } };
    assert_int_equal(kv_index_new(&f.index, &config, NULL), OK);

    for (uint32_t i = 0; i < setup->n_call / SLOWER; i++) {
        call_any(&f);
        if (i % 64 == 0) {
            kv_index_check(f.index);
            kv_pool_check(f.pool);
        }
    }
    struct kv_index_stats stats;
    kv_index_stats(f.index, &stats);
    print_message(
        "%-16s hits %llu of %llu positions, %llu with a tail; %llu shorter than ever put; "
        "evicted %llu, windows dropped %llu, put twice %llu\n",
        setup->name, (unsigned long long)f.n_hit, (unsigned long long)f.n_hit_position,
        (unsigned long long)f.n_tail, (unsigned long long)f.n_lost,
        (unsigned long long)stats.n_evicted, (unsigned long long)stats.n_window_dropped,
        (unsigned long long)stats.n_put_twice);
    assert_true(f.n_hit > 0 && f.n_tail > 0);

    while (f.n_seq)
        call_end(&f, 0, false);
    kv_index_free(f.index);
    kv_spaces_settle(f.spaces);
    struct kv_pool_usage usage;
    kv_pool_usage(f.pool, &usage);
    assert_int_equal(usage.bytes_held, 0);
    kv_pool_check(f.pool);
    kv_spaces_free(f.spaces);
    kv_pool_free(f.pool);
    for (uint32_t i = 0; i < f.n_put; i++)
        mem_free(f.put[i].ids);
    mem_free(f.put);
}

static void a_hit_is_the_longest_match_and_holds_its_rows(void **state)
{
    (void)state;
    const struct setup all[] = {
        { "ample", 0, 60000, 8000, false, true },
        { "small", 0, 120, 30000, false, false },
        { "windows", 100, 120, 30000, false, false },
        { "window 1", 1, 120, 15000, false, false },
        { "window 2", 2, 120, 15000, false, false },
        { "window 63", 63, 120, 15000, false, false },
        { "windows, ample", 64, 30000, 8000, false, false },
        { "table", 130, 100, 20000, true, false },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        live(&all[i]);
}

/* What one salt put, no other finds, nor is told of. */
static void salts_never_meet(void **state)
{
    (void)state;
    const struct setup setup = { "salts", 0, 100, 0, false, false };
    struct fixture f = { .setup = &setup, .shape = shape_of(&setup) };
    struct kv_space *space;
    struct kv_trail trail = { 0 };
    int32_t ids[200] = { 0 };
    const struct kv_pool_config pool = { .shape = &f.shape, .bytes_max = 100 * 8192 };
    assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
    const struct kv_spaces_config spaces = { .pool = f.pool, .n_position_max = N_POSITION };
    assert_int_equal(kv_spaces_new(&f.spaces, &spaces, NULL), OK);
    const struct kv_index_config config = { .pool = f.pool, .spaces = f.spaces };
    assert_int_equal(kv_index_new(&f.index, &config, NULL), OK);
    assert_int_equal(kv_space_new(&space, f.spaces, NULL), OK);
    assert_int_equal(kv_space_grow(space, 200), OK);
    kv_space_commit(space, 200);
    kv_index_leave(f.index, "alice", ids, space, &trail);

    struct kv_hit hit = kv_index_find(f.index, "alice", ids, 200);
    assert_int_equal(hit.n_position, 199);
    assert_int_equal(hit.miss, KV_MISS_NONE);
    hit = kv_index_find(f.index, "bob", ids, 200);
    assert_int_equal(hit.n_position, 0);
    assert_int_equal(hit.miss, KV_MISS_COLD);
    assert_int_equal(kv_index_elsewhere(f.index, "bob", ids, 200), KV_MISS_TENANT);
    assert_int_equal(kv_index_elsewhere(f.index, "bob/alice", ids, 200), KV_MISS_TENANT);
    assert_int_equal(kv_index_elsewhere(f.index, "alice/x", ids, 200), KV_MISS_SALT);
    assert_int_equal(kv_index_elsewhere(f.index, "alice", ids, 200), KV_MISS_COLD); // itself
    ids[15] = 1;
    assert_int_equal(kv_index_elsewhere(f.index, "alice/x", ids, 200), KV_MISS_COLD);
    assert_int_equal(kv_index_elsewhere(f.index, "alice/x", ids, 16), KV_MISS_SALT);
    ids[15] = 0;
    ids[70] = 1;
    hit = kv_index_find(f.index, "alice", ids, 200);
    assert_int_equal(hit.n_position, 70);
    assert_int_equal(hit.miss, KV_MISS_DIVERGED);
    assert_int_equal(hit.miss_at, 70);
    ids[70] = 0;
    kv_index_tick(f.index, 5);
    while (kv_index_evict(f.index))
        ;
    hit = kv_index_find(f.index, "alice", ids, 200);
    assert_int_equal(hit.miss, KV_MISS_EVICTED); /* though even its root went */
    assert_int_equal(hit.gone.tick, 5);
    kv_index_free(f.index);
    kv_spaces_free(f.spaces);
    kv_pool_free(f.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_is_the_longest_match_and_holds_its_rows),
        cmocka_unit_test(salts_never_meet),
    };
    return cmocka_run_group_tests_name("kv_index", tests, NULL, NULL);
}
