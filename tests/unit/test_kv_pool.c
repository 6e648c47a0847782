/* pool: the cap over all groups, neighbours first, blocks kept ahead or still mapped, and the
 * populator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "kv/pool.h"

/* Group 0 has blocks of one page, group 1 of three. */
static const struct kv_shape shape = {
    .type = KV_INT8,
    .n_group = 2,
    .group = { { .n_layer = 2, .n_kv_head = 1, .d_k = 8, .d_v = 8 },
               { .n_layer = 2, .n_kv_head = 4, .d_k = 8, .d_v = 8, .window = 64 } },
    .n_layer = 4,
};
enum { PAGE = 4096 };

static struct kv_pool *pool_new(size_t bytes_max)
{
    struct kv_pool_config config = { .shape = &shape, .bytes_max = bytes_max };
    struct kv_pool *p;
    assert_int_equal(kv_block_bytes(&shape, 0), PAGE);
    assert_int_equal(kv_block_bytes(&shape, 1), 3 * PAGE);
    assert_int_equal(kv_pool_new(&p, &config, NULL), OK);
    return p;
}

static block_id take(struct kv_pool *p, uint32_t group)
{
    block_id b;
    assert_int_equal(kv_pool_take(p, group, &b), OK);
    return b;
}

static struct kv_pool_usage usage(const struct kv_pool *p)
{
    struct kv_pool_usage u;
    kv_pool_check(p);
    kv_pool_usage(p, &u);
    return u;
}

static void a_cap_below_one_block_of_each_is_refused(void **state)
{
    (void)state;
    struct kv_pool_config config = { .shape = &shape, .bytes_max = 4 * PAGE - 1 };
    struct kv_pool *p;
    struct note why = { "" };
    assert_int_equal(kv_pool_new(&p, &config, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "15 KiB"));
    assert_non_null(strstr(why.text, "16 KiB"));
    assert_non_null(strstr(why.text, "--kv-ram"));
}

static void a_block_lives_from_open_to_free(void **state)
{
    (void)state;
    struct kv_pool *p = pool_new(8 * PAGE);
    block_id b = take(p, 1);
    assert_int_equal(kv_block_class(b), 1);
    assert_int_equal(kv_pool_holders(p, b), 1);
    assert_false(kv_pool_is_sealed(p, b));
    memset(kv_pool_address(p, b), 'x', 3 * PAGE);
    kv_pool_seal(p, b);
    assert_true(kv_pool_is_sealed(p, b));
    kv_pool_hold(p, b);
    assert_int_equal(kv_pool_holders(p, b), 2);
    kv_pool_release(p, b);
    assert_int_equal(usage(p).n_held[1], 1);
    kv_pool_release(p, b);
    struct kv_pool_usage u = usage(p);
    assert_int_equal(u.n_held[1], 0);
    assert_int_equal(u.n_free_backed[1], 1);
    assert_int_equal(u.bytes_held, 0);
    kv_pool_free(p);
}

/* P7: n blocks of the group can be taken, and no more. */
static void expect_room(const struct kv_pool *p, uint32_t group, uint32_t n)
{
    uint32_t need[KV_CLASS_MAX] = { 0 };
    need[group] = n;
    assert_true(kv_pool_fits(p, need));
    need[group] = n + 1;
    assert_false(kv_pool_fits(p, need));
}

/* P4, P7: what fits under the cap can be taken, whatever groups the free memory was of. */
static void free_memory_moves_between_groups(void **state)
{
    (void)state;
    struct kv_pool *p = pool_new(10 * PAGE + 100);
    block_id small[10], large[3], b;
    for (int i = 0; i < 10; i++) {
        expect_room(p, 0, 10 - i);
        small[i] = take(p, 0);
        memset(kv_pool_address(p, small[i]), 'x', PAGE);
    }
    assert_int_equal(kv_pool_take(p, 0, &b), FULL);
    assert_int_equal(kv_pool_take(p, 1, &b), FULL);
    for (int i = 0; i < 9; i++)
        kv_pool_release(p, small[i]);
    expect_room(p, 1, 3);
    assert_false(kv_pool_fits(p, (uint32_t[KV_CLASS_MAX]){ 1, 3 }));
    assert_true(kv_pool_fits(p, (uint32_t[KV_CLASS_MAX]){ 3, 2 }));
    for (int i = 0; i < 3; i++) {
        large[i] = take(p, 1);
        memset(kv_pool_address(p, large[i]), 'y', 3 * PAGE);
        assert_true(usage(p).bytes_backed <= 10 * PAGE);
    }
    assert_int_equal(kv_pool_take(p, 0, &b), FULL);
    for (int i = 0; i < 3; i++)
        kv_pool_release(p, large[i]);
    for (int i = 0; i < 9; i++) {
        static const char zero[PAGE];
        small[i] = take(p, 0);
        assert_memory_equal(kv_pool_address(p, small[i]), zero, PAGE); // its memory was given back
    }
    for (int i = 0; i < 10; i++)
        kv_pool_release(p, small[i]);
    assert_int_equal(usage(p).bytes_held, 0);
    kv_pool_free(p);
}

static void what_has_memory_is_taken_first(void **state)
{
    (void)state;
    struct kv_pool *p = pool_new(1000 * PAGE);
    block_id a = take(p, 0), b;
    kv_pool_release(p, a);
    b = take(p, 0);
    assert_int_equal(b.n, a.n);
    assert_int_equal(usage(p).bytes_backed, PAGE);
    kv_pool_release(p, b);
    kv_pool_free(p);
}

static void what_lies_free_goes_back(void **state)
{
    (void)state;
    struct kv_pool *p = pool_new(1000 * PAGE);
    block_id small[5], large = take(p, 1);
    for (int i = 0; i < 5; i++)
        small[i] = take(p, 0);
    for (int i = 0; i < 4; i++)
        kv_pool_release(p, small[i]);
    kv_pool_release(p, large);
    assert_int_equal(kv_pool_spare(p), 7 * PAGE);
    assert_int_equal(kv_pool_trim(p, PAGE + 1), 2 * PAGE);
    assert_int_equal(usage(p).bytes_backed, 6 * PAGE);
    assert_int_equal(kv_pool_trim(p, SIZE_MAX), 5 * PAGE);
    assert_int_equal(kv_pool_trim(p, SIZE_MAX), 0);
    assert_int_equal(usage(p).bytes_backed, PAGE); // what is held stays
    assert_int_equal(take(p, 1).n, large.n);
    kv_pool_release(p, large);
    kv_pool_release(p, small[4]);
    kv_pool_free(p);
}

/* Sequences that grow in turn find their next block behind their last one nearly always. */
static void growing_sequences_keep_their_neighbourhood(void **state)
{
    (void)state;
    enum { N_SEQ = 8, N_BLOCK = 100 };
    static block_id held[N_SEQ][N_BLOCK];
    struct kv_pool *p = pool_new((size_t)N_SEQ * N_BLOCK * PAGE * 2);
    for (int life = 0; life < 3; life++) { // bare memory, then what the life before left
        int n_run = 0;
        for (int i = 0; i < N_BLOCK; i++) {
            for (int s = 0; s < N_SEQ; s++) {
                block_id after = i ? held[s][i - 1] : KV_NO_BLOCK;
                assert_int_equal(kv_pool_take_after(p, 0, after, &held[s][i]), OK);
                n_run += !i || !kv_block_follows(after, held[s][i]);
            }
        }
        print_message("life %d: %d blocks in %d runs\n", life, N_SEQ * N_BLOCK, n_run);
        assert_true(n_run <= N_SEQ * N_BLOCK / 8);
        for (int s = 0; s < N_SEQ; s++)
            for (int i = 0; i < N_BLOCK; i++)
                kv_pool_release(p, held[s][i]);
    }
    kv_pool_free(p);
}

/* P6 */
static void a_mapped_block_is_not_taken(void **state)
{
    (void)state;
    struct kv_pool *p = pool_new(4 * PAGE);
    block_id held[4], b;
    for (int i = 0; i < 4; i++)
        held[i] = take(p, 0);
    kv_pool_mapped(p, held[2]);
    kv_pool_mapped(p, held[2]);
    kv_pool_release(p, held[2]);
    expect_room(p, 0, 1);
    assert_int_equal(kv_pool_take(p, 0, &b), FULL); // nobody lets go
    kv_pool_unmapped(p, held[2]);
    assert_int_equal(kv_pool_take(p, 0, &b), FULL);
    kv_pool_unmapped(p, held[2]);
    b = take(p, 0);
    assert_int_equal(b.n, held[2].n);
    for (int i = 0; i < 4; i++)
        kv_pool_release(p, held[i]);
    kv_pool_free(p);
}

struct keeper {
    struct kv_pool *pool;
    block_id kept;
    int n_asked;
};

static bool let_go(void *arg)
{
    struct keeper *k = arg;
    if (k->n_asked++)
        return false;
    kv_pool_unkeep(k->pool, k->kept);
    return true;
}

static void a_kept_block_is_let_go_of_when_short(void **state)
{
    (void)state;
    struct kv_pool *p = pool_new(4 * PAGE);
    struct keeper k = { .pool = p };
    block_id held[4], b;
    kv_pool_on_short(p, let_go, &k);
    for (int i = 0; i < 3; i++)
        held[i] = take(p, 0);
    assert_int_equal(kv_pool_keep(p, 0, held[2], &k.kept), OK);
    assert_int_equal(kv_pool_back(p, k.kept), OK);
    expect_room(p, 0, 1);
    assert_int_equal(kv_pool_keep(p, 0, KV_NO_BLOCK, &b), FULL);
    assert_int_equal(k.n_asked, 0);
    held[3] = take(p, 0);
    assert_int_equal(k.n_asked, 1);
    assert_int_equal(held[3].n, k.kept.n);
    kv_pool_release(p, held[3]);

    assert_int_equal(kv_pool_keep(p, 0, held[2], &k.kept), OK);
    kv_pool_take_kept(p, k.kept);
    assert_int_equal(kv_pool_holders(p, k.kept), 1);
    for (int i = 0; i < 3; i++)
        kv_pool_release(p, held[i]);
    kv_pool_release(p, k.kept);
    assert_int_equal(usage(p).bytes_held, 0);
    kv_pool_free(p);
}

/* A block kept without memory that nobody backed goes back as it was. */
static void an_unkept_promise_is_no_memory(void **state)
{
    (void)state;
    struct kv_pool *p = pool_new(4 * PAGE);
    block_id b;
    assert_int_equal(kv_pool_keep(p, 1, KV_NO_BLOCK, &b), OK);
    assert_int_equal(usage(p).bytes_backed, 3 * PAGE);
    kv_pool_unkeep(p, b);
    assert_int_equal(usage(p).bytes_backed, 0);
    kv_pool_free(p);
}

static void wait_for_backed(const struct kv_pool *p, size_t bytes)
{
    for (int i = 0; i < 5000 && usage(p).bytes_backed < bytes; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    assert_true(usage(p).bytes_backed >= bytes);
}

static void the_populator_stays_ahead(void **state)
{
    (void)state;
    struct kv_pool_config config = {
        .shape = &shape, .bytes_max = 100 * PAGE, .populate = true, .populate_ahead = 10 * PAGE
    };
    struct kv_pool *p;
    assert_int_equal(kv_pool_new(&p, &config, NULL), OK);
    wait_for_backed(p, 10 * PAGE);
    assert_true(usage(p).bytes_backed < 13 * PAGE); // one block too far at most
    block_id held[20];
    for (int i = 0; i < 20; i++)
        held[i] = take(p, 0);
    wait_for_backed(p, 30 * PAGE);
    assert_true(usage(p).bytes_backed < 33 * PAGE);
    for (int i = 0; i < 20; i++)
        kv_pool_release(p, held[i]);
    kv_pool_free(p);
}

/* With huge pages asked for, granted or not: the cap holds and bytes stay. Blocks of 1.5 MiB lie
 * across huge pages. */
static void the_populator_fills_the_cap(void **state)
{
    (void)state;
    static const struct kv_shape large = {
        .type = KV_F16,
        .n_group = 1,
        .group = { { .n_layer = 32, .n_kv_head = 3, .d_k = 64, .d_v = 64 } },
        .n_layer = 32,
    };
    struct kv_pool_config config = {
        .shape = &large, .bytes_max = 24 << 20, .populate = true, .huge_pages = true
    };
    struct kv_pool *p;
    block_id held[16];
    size_t bytes = kv_block_bytes(&large, 0);
    assert_int_equal(kv_pool_new(&p, &config, NULL), OK);
    for (int i = 0; i < 8; i++) { // taken while it works
        held[i] = take(p, 0);
        memset(kv_pool_address(p, held[i]), 'a' + i, bytes);
    }
    wait_for_backed(p, config.bytes_max / bytes * bytes);
    for (int i = 8; i < 16; i++) {
        held[i] = take(p, 0);
        memset(kv_pool_address(p, held[i]), 'a' + i, bytes);
    }
    expect_room(p, 0, 0);
    for (int i = 0; i < 16; i++) {
        const char *at = kv_pool_address(p, held[i]);
        for (size_t k = 0; k < bytes; k++)
            if (at[k] != 'a' + i)
                fail_msg("block %d, byte %zu", i, k);
        kv_pool_release(p, held[i]);
    }
    assert_true(usage(p).bytes_backed <= config.bytes_max);
    kv_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cap_below_one_block_of_each_is_refused),
        cmocka_unit_test(a_block_lives_from_open_to_free),
        cmocka_unit_test(free_memory_moves_between_groups),
        cmocka_unit_test(what_has_memory_is_taken_first),
        cmocka_unit_test(what_lies_free_goes_back),
        cmocka_unit_test(growing_sequences_keep_their_neighbourhood),
        cmocka_unit_test(a_mapped_block_is_not_taken),
        cmocka_unit_test(a_kept_block_is_let_go_of_when_short),
        cmocka_unit_test(an_unkept_promise_is_no_memory),
        cmocka_unit_test(the_populator_stays_ahead),
        cmocka_unit_test(the_populator_fills_the_cap),
    };
    return cmocka_run_group_tests_name("kv_pool", tests, NULL, NULL);
}
