/* space and view: what may be touched and what faults, one mapping for many blocks, map-ahead, and
 * the table form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kv/view.h"
#include "support/count_maps.h"
#include "support/fault_catch.h"
#include "support/kv_tags.h"

/* Two groups; the second sees 100 positions. Blocks of one and of two pages. */
static const struct kv_shape shape = {
    .type = KV_F16,
    .n_group = 2,
    .group = { { .n_layer = 1, .n_kv_head = 1, .d_k = 8, .d_v = 8 },
               { .n_layer = 2, .n_kv_head = 1, .d_k = 8, .d_v = 16, .window = 100 } },
    .n_layer = 3,
    .layer_group = { 1, 0, 1 },
    .layer_index = { 0, 0, 1 },
};

enum { N_POSITION = 4096, N_PAIR = 3 * 4096 }; // N_PAIR: bytes of a block of each group

struct fixture {
    struct kv_pool *pool;
    struct kv_spaces *all;
    uint64_t tag[N_POSITION];
};

static struct fixture open_spaces(uint32_t n_block, struct kv_spaces_config config)
{
    struct fixture f;
    struct kv_pool_config pool = { .shape = &shape, .bytes_max = (size_t)n_block * N_PAIR };
    assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
    config.pool = f.pool;
    config.n_position_max = N_POSITION;
    assert_int_equal(kv_spaces_new(&f.all, &config, NULL), OK);
    for (uint32_t i = 0; i < N_POSITION; i++)
        f.tag[i] = 1000 + i;
    return f;
}

static void close_spaces(struct fixture *f)
{
    kv_spaces_settle(f->all);
    kv_pool_check(f->pool);
    kv_spaces_free(f->all);
    kv_pool_free(f->pool);
}

static struct kv_space *space_new(struct fixture *f)
{
    struct kv_space *s;
    assert_int_equal(kv_space_new(&s, f->all, NULL), OK);
    return s;
}

static struct kv_tags tags_of(const struct fixture *f, const struct kv_space *s, uint32_t from,
                              uint32_t to)
{
    return (struct kv_tags){ .space = s, .shape = &shape, .tag = f->tag, .from = from, .to = to };
}

/* A step: grow, write, commit. */
static void step(struct fixture *f, struct kv_space *s, uint32_t n)
{
    struct kv_tags tags = tags_of(f, s, kv_space_committed(s), n);
    assert_int_equal(kv_space_grow(s, n), OK);
    kv_tags_write(&tags);
    kv_space_commit(s, n);
}

static void expect_rows(const struct fixture *f, const struct kv_space *s, uint32_t from,
                        uint32_t to)
{
    struct kv_tags tags = tags_of(f, s, from, to);
    assert_int_equal(kv_tags_wrong(&tags), 0);
}

/* Where block i is, or would be. */
static char *block(const struct kv_space *s, uint32_t layer, uint32_t i)
{
    struct kv_view v = kv_view_layer(s, layer);
    return v.table ? v.table[i] + v.layer_offset : v.base + i * v.stride;
}

static struct kv_spaces_stats stats_of(const struct fixture *f)
{
    struct kv_spaces_stats st;
    kv_spaces_stats(f->all, &st);
    return st;
}

static void what_is_not_grown_faults(void **state)
{
    (void)state;
    struct fixture f = open_spaces(40, (struct kv_spaces_config){ 0 });
    struct kv_space *s = space_new(&f);
    assert_true(read_faults(block(s, 0, 0)));
    step(&f, s, 65);
    assert_false(write_faults(block(s, 1, 1)));
    assert_true(read_faults(block(s, 1, 2)));
    assert_true(write_faults(block(s, 1, 2)));
    assert_true(read_faults(block(s, 1, N_POSITION / KV_BLOCK - 1)));
    kv_space_free(s);
    close_spaces(&f);
}

static void sealed_blocks_cannot_be_written(void **state)
{
    (void)state;
    struct fixture f = open_spaces(40, (struct kv_spaces_config){ 0 });
    struct kv_space *s = space_new(&f), *child;
    step(&f, s, 70);
    assert_true(write_faults(block(s, 0, 0)));
    assert_false(write_faults(block(s, 0, 1)));
    assert_int_equal(kv_space_fork(&child, s, 70, NULL), OK);
    assert_int_equal(kv_space_block(child, 0, 0).n, kv_space_block(s, 0, 0).n);
    assert_int_not_equal(kv_space_block(child, 0, 1).n, kv_space_block(s, 0, 1).n);
    expect_rows(&f, child, 0, 70);
    assert_true(write_faults(block(child, 0, 0)));
    assert_false(write_faults(block(child, 0, 1)));
    kv_space_free(s);
    kv_spaces_settle(f.all);
    expect_rows(&f, child, 0, 70);
    kv_space_free(child);
    close_spaces(&f);
}

static void a_window_gives_blocks_back(void **state)
{
    (void)state;
    struct fixture f = open_spaces(40, (struct kv_spaces_config){ 0 });
    struct kv_space *s = space_new(&f), *child;
    struct kv_pool_usage u;
    struct note why = { "" };
    for (uint32_t n = 1; n <= 1000; n++)
        step(&f, s, n);
    kv_spaces_settle(f.all);
    kv_pool_usage(f.pool, &u);
    assert_int_equal(u.n_held[0], 16);
    assert_int_equal(u.n_held[1], 2); // positions 901..999
    assert_true(read_faults(block(s, 0, 13)));
    assert_false(read_faults(block(s, 0, 14)));
    assert_false(read_faults(block(s, 1, 13))); // the other group keeps it
    expect_rows(&f, s, 901, 1000);

    assert_int_equal(kv_space_fork(&child, s, 990, &why), NOT_FOUND);
    assert_non_null(strstr(why.text, "window"));
    assert_int_equal(kv_space_fork(&child, s, 999, NULL), OK);
    expect_rows(&f, child, 901, 999);
    kv_space_free(child);
    assert_int_equal(kv_space_fork(&child, s, 0, NULL), OK); // nothing is needed for nothing
    step(&f, child, 200);
    expect_rows(&f, child, 150, 200);
    kv_space_free(child);
    kv_space_free(s);
    close_spaces(&f);
}

/* With a window of one position a full block is passed at once, and nothing of the group is left
 * mapped. */
static void a_window_of_one_gives_back_all_it_has(void **state)
{
    (void)state;
    static struct kv_shape one;
    one = shape;
    one.group[1].window = 1;
    struct kv_pool_config pool = { .shape = &one, .bytes_max = 4 * N_PAIR };
    struct kv_spaces_config config = { .n_position_max = N_POSITION, .map_ahead = true };
    struct fixture f;
    assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
    config.pool = f.pool;
    assert_int_equal(kv_spaces_new(&f.all, &config, NULL), OK);
    struct kv_space *s = space_new(&f), *other = space_new(&f);
    assert_int_equal(kv_space_grow(other, 192), OK); // leaves nothing to map ahead
    assert_int_equal(kv_space_grow(s, 64), OK);
    kv_space_commit(s, 64);
    kv_space_free(other);
    kv_spaces_settle(f.all);
    assert_int_equal(kv_space_grow(s, 128), OK);
    assert_int_equal(kv_space_first(s, 1), 1);
    assert_false(write_faults(block(s, 0, 1)));
    assert_true(read_faults(block(s, 0, 0)));
    kv_space_free(s);
    close_spaces(&f);
}

static void a_growing_sequence_is_few_mappings(void **state)
{
    (void)state;
    struct fixture f = open_spaces(400, (struct kv_spaces_config){ 0 });
    struct kv_space *s = space_new(&f);
    uint32_t before = count_maps();
    for (uint32_t n = 1; n <= 64 * 60; n++)
        step(&f, s, n);
    kv_spaces_settle(f.all);
    assert_true(count_maps() <= before + 6); // each group: given back, read-only, reserved
    assert_true(count_maps() - before <= stats_of(&f).n_vma);
    kv_space_free(s);
    kv_spaces_settle(f.all);
    assert_true(count_maps() <= before);
    close_spaces(&f);
}

static void decode_never_waits_for_a_mapping(void **state)
{
    (void)state;
    struct fixture f = open_spaces(400, (struct kv_spaces_config){ .map_ahead = true });
    struct kv_space *s = space_new(&f);
    step(&f, s, 1);
    uint64_t inline_before = stats_of(&f).n_map_inline;
    for (uint32_t n = 2; n <= 64 * 20; n++)
        step(&f, s, n);
    assert_int_equal(stats_of(&f).n_map_inline, inline_before);
    assert_true(stats_of(&f).n_map_ahead >= 2 * 19);
    expect_rows(&f, s, 64 * 20 - 99, 64 * 20);
    kv_space_free(s);
    close_spaces(&f);
}

/* Blocks mapped ahead are free: who needs one gets it, and it is mapped there no longer. */
static void blocks_kept_ahead_are_let_go_of(void **state)
{
    (void)state;
    struct fixture f = open_spaces(4, (struct kv_spaces_config){ .map_ahead = true });
    struct kv_space *a = space_new(&f), *b = space_new(&f);
    uint32_t need[KV_CLASS_MAX];
    step(&f, a, 60); // keeps its second block ahead
    kv_spaces_settle(f.all);
    assert_false(read_faults(block(a, 0, 1)));
    assert_true(
        kv_pool_fits(f.pool, (uint32_t[KV_CLASS_MAX]){ 0, 4 })); // 9 pages, as if nothing was kept
    kv_space_need(b, 192, need);
    assert_true(kv_pool_fits(f.pool, need));
    assert_int_equal(kv_space_grow(b, 192), OK);
    assert_true(read_faults(block(a, 0, 1)));
    assert_int_equal(kv_space_grow(a, 65), FULL);
    assert_int_equal(kv_space_grown(a), 60);
    expect_rows(&f, a, 0, 60);
    kv_space_free(b);
    step(&f, a, 65);
    expect_rows(&f, a, 0, 65);
    kv_space_free(a);
    close_spaces(&f);
}

/* The same life in both forms; in a third it leaves its addresses on the way. */
static void views_read_the_same_in_every_form(void **state)
{
    (void)state;
    const struct kv_spaces_config config[] = { { 0 }, { .table = true }, { .n_vma_max = 8 } };
    for (int i = 0; i < 3; i++) {
        struct fixture f = open_spaces(40, config[i]);
        struct kv_space *other = space_new(&f), *s = space_new(&f);
        for (uint32_t n = 90; n <= 900; n += 90) {
            step(&f, s, n);
            step(&f, other, n);
            expect_rows(&f, s, n - 90, n);
        }
        struct kv_view v = kv_view_layer(s, 2);
        assert_int_equal(v.table != NULL, i > 0);
        assert_int_equal(v.base == NULL, i > 0);
        assert_int_equal(stats_of(&f).n_left > 0, i == 2);
        assert_int_equal(kv_view_v(&v, 13, 0) - kv_view_k(&v, 13, 0), v.k_bytes);
        assert_int_equal((uintptr_t)kv_view_k(&v, 13, 0) % 64, 0);
        assert_int_equal(v.k_bytes, 64 * 8 * 2);
        assert_int_equal(v.v_bytes, 64 * 16 * 2);
        assert_int_equal(v.window, 100);
        kv_space_free(s);
        kv_space_free(other);
        close_spaces(&f);
    }
}

/* Of shared memory, as the process's resident memory counts it. */
static uint64_t resident_bytes(void)
{
    char line[128];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "RssShmem: %lu", &kib);
    fclose(f);
    return (uint64_t)kib << 10;
}

/* A page mapped in the pool and in a space would count twice. */
static void resident_memory_counts_rows_once(void **state)
{
    (void)state;
    static const struct kv_shape large = {
        .type = KV_F16,
        .n_group = 1,
        .group = { { .n_layer = 16, .n_kv_head = 4, .d_k = 64, .d_v = 64 } },
        .n_layer = 16,
    };
    const uint32_t n_block = 32;
    const size_t block_bytes = kv_block_bytes(&large, 0);
    const struct kv_spaces_config forms[] = { { 0 }, { .map_ahead = true }, { .table = true } };
    for (int i = 0; i < 3; i++) {
        struct kv_pool_config pool = { .shape = &large,
                                       .bytes_max = n_block * block_bytes,
                                       .populate = i == 1 };
        struct kv_spaces_config config = forms[i];
        struct kv_space *s, *child;
        struct fixture f;
        uint64_t before = resident_bytes();
        assert_int_equal(kv_pool_new(&f.pool, &pool, NULL), OK);
        config.pool = f.pool;
        config.n_position_max = N_POSITION;
        assert_int_equal(kv_spaces_new(&f.all, &config, NULL), OK);
        s = space_new(&f);
        for (uint32_t n = 64; n <= 64 * 20; n += 64) {
            assert_int_equal(kv_space_grow(s, n), OK);
            memset(block(s, 0, n / 64 - 1), 1, block_bytes);
            kv_space_commit(s, n);
        }
        assert_int_equal(kv_space_fork(&child, s, 64 * 19 + 1, NULL), OK);
        kv_spaces_settle(f.all);
        uint64_t grown = resident_bytes() - before, held = 20 * block_bytes;
        print_message("form %d: %.1f blocks resident\n", i, (double)grown / (double)block_bytes);
        assert_true(grown >= held);
        assert_true(grown <= held + 3 * block_bytes);
        kv_space_free(s);
        kv_space_free(child);
        close_spaces(&f);
    }
}

/* In a child, which says nothing. */
static bool aborts_on(const struct kv_view *v, uint32_t i)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        kv_view_k(v, i, 0);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* V1: asking aborts, in both forms, and the table knows no old address. */
static void a_view_ends_where_its_blocks_do(void **state)
{
    (void)state;
    for (int table = 0; table < 2; table++) {
        struct fixture f = open_spaces(40, (struct kv_spaces_config){ .table = table });
        struct kv_space *s = space_new(&f);
        step(&f, s, 310);
        struct kv_view v = kv_view_layer(s, 0); // of the group that sees 100 positions
        assert_int_equal(v.first, 3);
        assert_int_equal(v.n_block, 5);
        assert_true(table == 0 || (!v.table[2] && v.table[3] && v.table[4] && !v.table[5]));
        for (uint32_t i = 2; i <= 5; i++)
            assert_int_equal(aborts_on(&v, i), i < v.first || i >= v.n_block);
        kv_space_free(s);
        close_spaces(&f);
    }
}

static void limits_are_told(void **state)
{
    (void)state;
    struct fixture f = open_spaces(4, (struct kv_spaces_config){ 0 });
    struct kv_space *s = space_new(&f);
    uint32_t need[KV_CLASS_MAX];
    assert_int_equal(kv_space_grow(s, N_POSITION + 1), BAD_INPUT);
    assert_int_equal(kv_space_grow(s, 4 * 64), OK);
    assert_int_equal(kv_space_grow(s, 4 * 64 + 1), FULL);
    kv_space_need(s, 64 * 10, need);
    assert_int_equal(need[0], 6);
    assert_int_equal(need[1], 6);
    kv_space_need(s, 10, need);
    assert_int_equal(need[0], 0);
    kv_space_free(s);
    close_spaces(&f);

    struct kv_pool *pool;
    struct kv_spaces *all;
    struct note why = { "" };
    static struct kv_shape wide;
    wide = shape;
    wide.n_group = 1;
    wide.group[0].n_layer = 512;
    wide.group[0].d_k = wide.group[0].d_v = 4096;
    struct kv_pool_config config = { .shape = &wide, .bytes_max = (size_t)1 << 30 };
    assert_int_equal(kv_pool_new(&pool, &config, NULL), OK);
    struct kv_spaces_config spaces = { .pool = pool, .n_position_max = 1u << 26 };
    assert_int_equal(kv_spaces_new(&all, &spaces, &why), OK);
    assert_int_equal(kv_space_new(&s, all, &why), FULL); // 2^20 blocks of 512 MiB
    assert_non_null(strstr(why.text, "addresses"));
    kv_spaces_free(all);
    kv_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_grown_faults),
        cmocka_unit_test(sealed_blocks_cannot_be_written),
        cmocka_unit_test(a_window_gives_blocks_back),
        cmocka_unit_test(a_window_of_one_gives_back_all_it_has),
        cmocka_unit_test(a_growing_sequence_is_few_mappings),
        cmocka_unit_test(decode_never_waits_for_a_mapping),
        cmocka_unit_test(blocks_kept_ahead_are_let_go_of),
        cmocka_unit_test(views_read_the_same_in_every_form),
        cmocka_unit_test(resident_memory_counts_rows_once),
        cmocka_unit_test(a_view_ends_where_its_blocks_do),
        cmocka_unit_test(limits_are_told),
    };
    return cmocka_run_group_tests_name("kv_space", tests, NULL, NULL);
}
