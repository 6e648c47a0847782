/* Random lives of sequences over pool and spaces, beside a plain twin: same answers, same holders,
 * same bytes.
 *
 * Every position is written with a tag of its own, in every layer, K and V; forks inherit tags. A
 * wrong mapping, a lost copy, a block that two sequences write: each shows as a wrong tag. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "os/pages.h"
#include "support/kv_tags.h"
#include "twin/kv_twin.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOWER = 10 };
#else
enum { SLOWER = 1 };
#endif

enum { SEQ_MAX = 24 };

struct setup {
    const char *name;
    struct kv_shape shape;
    uint32_t n_position_max, n_seq_max;
    uint32_t n_block_cap; // the cap, in blocks of each group
    bool table, map_ahead, populate;
    size_t populate_ahead;
    uint32_t n_vma_max;
    uint32_t n_call;
    bool threads; // rows are written and read by two other threads, as workers do
};

struct life {
    const struct setup *setup;
    struct rng rng;
    struct kv_pool *pool;
    struct kv_spaces *all;
    struct kv_twin twin;
    uint32_t n_seq;
    struct kv_space *space[SEQ_MAX];
    struct twin_seq *seq[SEQ_MAX];
    uint64_t n_tag;
    uint32_t call;
    uint64_t n_full, n_lost; // refusals met
};

static void die(const struct life *f, const char *what, uint64_t got, uint64_t want)
{
    fail_msg("%s, call %u: %s: got %llu, want %llu", f->setup->name, f->call, what,
             (unsigned long long)got, (unsigned long long)want);
}

static void expect(const struct life *f, const char *what, uint64_t got, uint64_t want)
{
    if (got != want)
        die(f, what, got, want);
}

/* ---- rows ---- */

struct share {
    struct kv_tags tags;
    bool write;
    uint64_t wrong;
};

static void *touch_share(void *arg)
{
    struct share *s = arg;
    if (s->write)
        kv_tags_write(&s->tags);
    else
        s->wrong = kv_tags_wrong(&s->tags);
    return NULL;
}

static void touch(struct life *f, uint32_t seq, uint32_t from, uint32_t to, bool write)
{
    struct share all = {
        .tags = { .space = f->space[seq],
                  .shape = &f->setup->shape,
                  .tag = f->seq[seq]->tag,
                  .first = f->seq[seq]->first,
                  .from = from,
                  .to = to },
        .write = write,
    };
    struct share half[2] = { all, all };
    if (!f->setup->threads) {
        touch_share(&all);
    } else {
        pthread_t other;
        half[0].tags.layer_step = half[1].tags.layer_step = 2;
        half[1].tags.layer_from = 1;
        assert_int_equal(pthread_create(&other, NULL, touch_share, &half[1]), 0);
        touch_share(&half[0]);
        pthread_join(other, NULL);
    }
    expect(f, "rows with a wrong tag", all.wrong + half[0].wrong + half[1].wrong, 0);
}

/* ---- what must always hold ---- */

static void check_seq(struct life *f, uint32_t i)
{
    const struct twin_seq *t = f->seq[i];
    expect(f, "committed", kv_space_committed(f->space[i]), t->committed);
    expect(f, "grown", kv_space_grown(f->space[i]), t->grown);
    for (uint32_t g = 0; g < f->setup->shape.n_group; g++) {
        for (uint32_t b = t->first[g]; b < t->n[g]; b++) {
            block_id id = kv_space_block(f->space[i], g, b);
            expect(f, "holders", kv_pool_holders(f->pool, id), f->twin.holders[t->block[g][b]]);
            expect(f, "sealed", kv_pool_is_sealed(f->pool, id), b < t->committed / KV_BLOCK);
        }
    }
}

static void check_usage(struct life *f)
{
    struct kv_pool_usage u;
    kv_pool_usage(f->pool, &u);
    expect(f, "bytes held", u.bytes_held, f->twin.bytes_held);
    if (u.bytes_backed > u.bytes_max)
        die(f, "P4: bytes backed", u.bytes_backed, u.bytes_max);
    for (uint32_t g = 0; g < f->setup->shape.n_group; g++)
        expect(f, "blocks held", u.n_held[g], f->twin.n_held[g]);
}

/* ---- what the kernel says is mapped ---- */

struct map_line {
    uintptr_t from, to;
    char access[5];
    uint64_t offset, inode;
};

struct map_list {
    uint32_t n;
    struct map_line line[20000];
};

/* The kernel prints in pieces, and the mapper may make one mapping of two meanwhile: then the
 * second piece begins with addresses of the first again. */
static void read_maps(struct map_list *maps)
{
    char text[512];
    uintptr_t seen = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    for (maps->n = 0; maps->n < 20000 && fgets(text, sizeof text, f);) {
        struct map_line *l = &maps->line[maps->n];
        if (sscanf(text, "%lx-%lx %4s %lx %*s %lu", &l->from, &l->to, l->access, &l->offset,
                   &l->inode) != 5)
            continue;
        if (l->from < seen) {
            l->offset += seen - l->from;
            l->from = seen;
        }
        seen = l->to;
        maps->n += l->from < l->to;
    }
    fclose(f);
}

static const struct map_line *line_at(const struct map_list *maps, const void *at)
{
    for (uint32_t i = 0; i < maps->n; i++)
        if ((uintptr_t)at >= maps->line[i].from && (uintptr_t)at < maps->line[i].to)
            return &maps->line[i];
    return NULL;
}

/* S2 for every block at once, also those of freed spaces: no page of a pool's file is writable at
 * two addresses, the pool's own mapping aside. */
static void check_writable_once(struct life *f, uint32_t group, const struct map_list *maps)
{
    static uint8_t seen[1 << 16];
    size_t page = os_page_bytes();
    const struct map_line *own = line_at(maps, kv_pool_address(f->pool, (block_id){ group << 30 }));
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; own && i < maps->n; i++) {
        const struct map_line *l = &maps->line[i];
        if (l == own || l->inode != own->inode || l->access[1] != 'w')
            continue;
        for (uint64_t p = l->offset / page; p < (l->offset + l->to - l->from) / page; p++)
            if (seen[p]++)
                die(f, "S2: writable at two addresses: page", p, group);
    }
}

/* S1..S3 of one space: block by block, reserved or mapped as it should be. */
static void check_addresses(struct life *f, uint32_t seq, const struct map_list *maps)
{
    const struct kv_shape *shape = &f->setup->shape;
    const struct twin_seq *t = f->seq[seq];
    for (uint32_t g = 0; g < shape->n_group; g++) {
        uint32_t layer = 0;
        while (shape->layer_group[layer] != g)
            layer++;
        struct kv_view v = kv_view_layer(f->space[seq], layer);
        for (uint32_t b = 0; !v.table && b < f->setup->n_position_max / KV_BLOCK; b++) {
            const struct map_line *line = line_at(maps, v.base + b * v.stride);
            const char *want = b < t->committed / KV_BLOCK ? "r--s" : "rw-s";
            if (!line)
                die(f, "S3: a hole in the reservation at block", b, 0);
            if (b >= t->first[g] && b < t->n[g] && strcmp(line->access, want))
                die(f, "S2: wrong access of block", b, t->committed / KV_BLOCK);
            bool beyond = b < t->first[g] || b >= t->n[g];
            if (beyond && !f->setup->map_ahead && strcmp(line->access, "---p") && b >= t->n[g])
                die(f, "S3: accessible behind what is grown: block", b, t->n[g]);
        }
    }
}

static void check_all(struct life *f)
{
    static struct map_list maps;
    struct kv_spaces_stats stats;
    uint32_t n_ours = 0;
    kv_pool_check(f->pool);
    read_maps(&maps);
    for (uint32_t i = 0; i < maps.n; i++)
        n_ours += maps.line[i].access[3] == 's';
    kv_spaces_stats(f->all, &stats);
    if (n_ours > stats.n_vma + kv_n_class(&f->setup->shape) || stats.n_vma > stats.n_vma_max)
        die(f, "S4: mappings", n_ours, stats.n_vma);
    for (uint32_t g = 0; g < f->setup->shape.n_group; g++)
        check_writable_once(f, g, &maps);
    for (uint32_t i = 0; i < f->n_seq; i++) {
        check_seq(f, i);
        touch(f, i, 0, f->seq[i]->committed, false);
        check_addresses(f, i, &maps);
    }
}

/* ---- the calls ---- */

static void call_new(struct life *f)
{
    if (f->n_seq == f->setup->n_seq_max)
        return;
    assert_int_equal(kv_space_new(&f->space[f->n_seq], f->all, NULL), OK);
    f->seq[f->n_seq++] = twin_new(&f->twin);
}

static void call_free(struct life *f, uint32_t i)
{
    kv_space_free(f->space[i]);
    twin_free(&f->twin, f->seq[i]);
    f->n_seq--;
    f->space[i] = f->space[f->n_seq];
    f->seq[i] = f->seq[f->n_seq];
}

/* A step of the engine: grow, write the new rows, commit them; now and then only some of them. */
static void call_step(struct life *f, uint32_t i, uint32_t n_more)
{
    struct twin_seq *t = f->seq[i];
    uint32_t n = t->committed + n_more, need[KV_CLASS_MAX];
    kv_space_need(f->space[i], n, need);
    bool fits = kv_pool_fits(f->pool, need);
    enum status want = twin_grow(&f->twin, t, n);
    expect(f, "grow", kv_space_grow(f->space[i], n), want);
    if (want == FULL)
        f->n_full++;
    if (want != BAD_INPUT)
        expect(f, "fits", fits, want == OK);
    if (want != OK)
        return;
    for (uint32_t p = t->committed; p < n; p++)
        t->tag[p] = ++f->n_tag;
    touch(f, i, t->committed, n, true);
    uint32_t done =
        rng_below(&f->rng, 8) ? n : t->committed + rng_below(&f->rng, n - t->committed + 1);
    kv_space_commit(f->space[i], done);
    twin_commit(&f->twin, t, done);
}

static void call_fork(struct life *f, uint32_t i)
{
    if (f->n_seq == f->setup->n_seq_max)
        return;
    uint32_t committed = f->seq[i]->committed, near = committed < 100 ? committed : 100;
    uint32_t n = rng_below(&f->rng, 2) ? rng_below(&f->rng, committed + 1)
                                       : committed - rng_below(&f->rng, near + 1);
    enum status want = twin_fork(&f->twin, f->seq[i], n, &f->seq[f->n_seq]);
    expect(f, "fork", kv_space_fork(&f->space[f->n_seq], f->space[i], n, NULL), want);
    f->n_full += want == FULL;
    f->n_lost += want == NOT_FOUND;
    f->n_seq += want == OK;
}

static void call_any(struct life *f)
{
    uint32_t dice = rng_below(&f->rng, 100);
    if (f->n_seq == 0 || dice < 4) {
        call_new(f);
        return;
    }
    uint32_t i = rng_below(&f->rng, f->n_seq);
    if (dice < 8)
        call_free(f, i);
    else if (dice < 12)
        call_fork(f, i);
    else
        call_step(f, i, dice < 22 ? 1 + rng_below(&f->rng, 200) : 1 + rng_below(&f->rng, 12));
    if (f->n_seq == 0)
        return;
    uint32_t j = rng_below(&f->rng, f->n_seq), n = f->seq[j]->committed;
    if (n) {
        uint32_t p = rng_below(&f->rng, n);
        touch(f, j, p, p + 1, false);
    }
}

static size_t cap_of(const struct setup *setup)
{
    size_t bytes = 0;
    for (uint32_t g = 0; g < setup->shape.n_group; g++)
        bytes += setup->n_block_cap * kv_block_bytes(&setup->shape, g);
    return bytes;
}

static void live(const struct setup *setup)
{
    static struct life f;
    memset(&f, 0, sizeof f);
    f.setup = setup;
    f.rng = rng_seeded(42, setup->n_block_cap);
    struct kv_pool_config pool = {
        .shape = &setup->shape,
        .bytes_max = cap_of(setup),
        .populate = setup->populate,
        .populate_ahead = setup->populate_ahead,
    };
    assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
    struct kv_spaces_config spaces = {
        .pool = f.pool,
        .n_position_max = setup->n_position_max,
        .map_ahead = setup->map_ahead,
        .table = setup->table,
        .n_vma_max = setup->n_vma_max,
    };
    assert_int_equal(kv_spaces_new(&f.all, &spaces, NULL), OK);
    twin_open(&f.twin, &setup->shape, pool.bytes_max, setup->n_position_max);

    for (f.call = 0; f.call < setup->n_call / SLOWER; f.call++) {
        call_any(&f);
        check_usage(&f);
        if (f.call % 1000 == 0)
            check_all(&f);
    }
    check_all(&f);

    struct kv_spaces_stats stats;
    kv_spaces_stats(f.all, &stats);
    print_message("%-24s refused %llu, lost %llu; mapped %llu (ahead %llu), unmapped %llu in %llu, "
                  "left %llu\n",
                  setup->name, (unsigned long long)f.n_full, (unsigned long long)f.n_lost,
                  (unsigned long long)stats.n_map, (unsigned long long)stats.n_map_ahead,
                  (unsigned long long)stats.n_unmap, (unsigned long long)stats.n_unmap_batch,
                  (unsigned long long)stats.n_left);
    while (f.n_seq)
        call_free(&f, 0);
    kv_spaces_settle(f.all);
    kv_pool_check(f.pool);
    check_usage(&f);
    expect(&f, "held at the end", f.twin.bytes_held, 0);
    kv_spaces_free(f.all);
    kv_pool_free(f.pool);
}

/* Blocks of one and two pages. */
static struct kv_shape one_group(void)
{
    return (struct kv_shape){
        .type = KV_INT8,
        .n_group = 1,
        .group = { { .n_layer = 2, .n_kv_head = 1, .d_k = 8, .d_v = 8 } },
        .n_layer = 2,
        .layer_index = { 0, 1 },
    };
}

static struct kv_shape two_groups(uint32_t window)
{
    return (struct kv_shape){
        .type = KV_F16,
        .n_group = 2,
        .group = { { .n_layer = 1, .n_kv_head = 2, .d_k = 8, .d_v = 8 },
                   { .n_layer = 2, .n_kv_head = 2, .d_k = 8, .d_v = 8, .window = window } },
        .n_layer = 3,
        .layer_group = { 1, 0, 1 },
        .layer_index = { 0, 0, 1 },
    };
}

static void spaces_agree_with_twin(void **state)
{
    (void)state;
    struct setup all[] = {
        { "plain", one_group(), 4096, 20, 400, .n_call = 150000 },
        { "map ahead", one_group(), 4096, 20, 400, .map_ahead = true, .n_call = 150000 },
        { "ahead, populated", one_group(), 4096, 20, 400, .map_ahead = true, .populate = true,
          .n_call = 100000 },
        { "too small a pool", one_group(), 2048, 20, 60, .map_ahead = true, .populate = true,
          .populate_ahead = 1 << 15, .n_call = 150000 },
        { "two groups", two_groups(100), 2048, 16, 200, .n_call = 100000 },
        { "two groups, ahead, small", two_groups(64), 2048, 20, 40, .map_ahead = true,
          .populate = true, .n_call = 100000 },
        { "few mappings", two_groups(130), 2048, 16, 200, .map_ahead = true, .n_vma_max = 120,
          .n_call = 100000 },
        { "window 1", two_groups(1), 2048, 16, 200, .n_call = 30000 },
        { "window 1, ahead, small", two_groups(1), 2048, 20, 40, .map_ahead = true,
          .populate = true, .n_call = 30000 },
        { "window 2, few mappings", two_groups(2), 2048, 16, 200, .map_ahead = true,
          .n_vma_max = 120, .n_call = 30000 },
        { "window 63, ahead", two_groups(63), 2048, 16, 100, .map_ahead = true, .n_call = 30000 },
        { "table", two_groups(65), 2048, 16, 100, .table = true, .populate = true,
          .n_call = 150000 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        live(&all[i]);
}

static void workers_touch_rows_too(void **state)
{
    (void)state;
    struct setup small = {
        "threads, small", two_groups(100), 1024,           12, 60, .map_ahead = true,
        .populate = true, .n_call = 20000, .threads = true
    };
    struct setup ample = { "threads, ample",
                           one_group(),
                           2048,
                           20,
                           400,
                           .map_ahead = true,
                           .populate = true,
                           .populate_ahead = 1 << 16,
                           .n_call = 20000,
                           .threads = true };
    live(&small);
    live(&ample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spaces_agree_with_twin),
        cmocka_unit_test(workers_touch_rows_too),
    };
    return cmocka_run_group_tests_name("kv_space", tests, NULL, NULL);
}
