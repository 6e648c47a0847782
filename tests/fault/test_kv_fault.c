/* The k-th allocation, and the k-th call on virtual memory, fails, for every k: births answer FULL
 * and leave nothing behind; a life goes on, refused or in the table form, with every row as
 * written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/vm.h"
#include "support/count_maps.h"
#include "support/kv_tags.h"

static const struct kv_shape shape = {
    .type = KV_INT8,
    .n_group = 2,
    .group = { { .n_layer = 1, .n_kv_head = 1, .d_k = 8, .d_v = 8 },
               { .n_layer = 1, .n_kv_head = 1, .d_k = 8, .d_v = 16, .window = 150 } },
    .n_layer = 2,
    .layer_group = { 0, 1 },
};

enum { N_POSITION = 1024, N_SPACE = 3, N_BLOCK = 30 };

struct options {
    bool map_ahead, table, populate;
};

struct life {
    struct kv_pool *pool;
    struct kv_spaces *all;
    struct kv_space *space[N_SPACE];
    uint64_t tag[N_SPACE][N_POSITION];
    uint32_t first[N_SPACE][KV_GROUP_MAX];
    uint32_t n_refused, n_refused_max;
};

static uint32_t count_fds(void)
{
    uint32_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static enum status open_all(struct life *f, struct options o, struct note *why)
{
    struct kv_pool_config pool = { .shape = &shape,
                                   .bytes_max = N_BLOCK * 2 * 4096,
                                   .populate = o.populate,
                                   .populate_ahead = 8 * 4096 };
    *f = (struct life){ 0 };
    enum status st = kv_pool_new(&f->pool, &pool, why);
    if (st != OK)
        return st;
    struct kv_spaces_config spaces = {
        .pool = f->pool, .n_position_max = N_POSITION, .map_ahead = o.map_ahead, .table = o.table
    };
    st = kv_spaces_new(&f->all, &spaces, why);
    return st == OK ? kv_space_new(&f->space[0], f->all, why) : st;
}

static void close_all(struct life *f)
{
    for (uint32_t i = 0; i < N_SPACE; i++)
        kv_space_free(f->space[i]);
    if (f->all)
        kv_spaces_settle(f->all);
    if (f->pool)
        kv_pool_check(f->pool);
    kv_spaces_free(f->all);
    kv_pool_free(f->pool);
}

typedef void fail_at(uint64_t k);

static void births(fail_at *refuse, struct options o)
{
    static struct life f;
    enum status st = FULL;
    uint32_t n_refused = 0;
    assert_int_equal(open_all(&f, o, NULL),
                     OK); // so that the C library has its thread stack already
    close_all(&f);
    for (uint64_t k = 1; st == FULL; k++) {
        struct note why = { "" };
        uint32_t n_map = count_maps(), n_fd = count_fds();
        refuse(k);
        st = open_all(&f, o, &why);
        refuse(0);
        close_all(&f);
        n_refused += st == FULL;
        assert_int_equal(count_maps(), n_map);
        assert_int_equal(count_fds(), n_fd);
        assert_true((st == FULL) == (why.text[0] != 0));
    }
    assert_int_equal(st, OK);
    assert_true(n_refused >= 3);
}

static void births_fail_whole(void **state)
{
    (void)state;
    births(mem_fail_at, (struct options){ 0 });
    births(vm_fail_at, (struct options){ 0 });
    births(mem_fail_at, (struct options){ .table = true });
    births(vm_fail_at, (struct options){ .table = true });
}

/* ---- lives ---- */

static struct kv_tags tags_of(const struct life *f, uint32_t i, uint32_t from, uint32_t to)
{
    return (struct kv_tags){ .space = f->space[i],
                             .shape = &shape,
                             .tag = f->tag[i],
                             .first = f->first[i],
                             .from = from,
                             .to = to };
}

/* Blocks of the windowed group that a query at n no longer sees. */
static void pass(struct life *f, uint32_t i, uint32_t n)
{
    uint32_t window = shape.group[1].window;
    f->first[i][1] = n >= window ? (n + 1 - window) / KV_BLOCK : 0;
}

static size_t held(const struct life *f)
{
    struct kv_pool_usage u;
    kv_pool_usage(f->pool, &u);
    return u.bytes_held;
}

static void check_rows(const struct life *f)
{
    kv_pool_check(f->pool);
    for (uint32_t i = 0; i < N_SPACE; i++) {
        if (!f->space[i])
            continue;
        struct kv_tags tags = tags_of(f, i, 0, kv_space_committed(f->space[i]));
        assert_int_equal(kv_tags_wrong(&tags), 0);
    }
}

enum { N_LONG = 30 }; // calls that vm_fail_long refuses

/* The call was refused: nothing changed, and the next try, or one soon, is granted. */
#define UNTIL_GRANTED(f, call)                                                                     \
    do {                                                                                           \
        size_t held_before = held(f);                                                              \
        enum status st_;                                                                           \
        while ((st_ = (call)) == FULL) {                                                           \
            assert_int_equal(held(f), held_before);                                                \
            check_rows(f);                                                                         \
            assert_true(++(f)->n_refused <= (f)->n_refused_max);                                   \
            usleep(1000);                                                                          \
        }                                                                                          \
        assert_int_equal(st_, OK);                                                                 \
    } while (0)

static void grow(struct life *f, uint32_t i, uint32_t n)
{
    uint32_t old = kv_space_committed(f->space[i]);
    UNTIL_GRANTED(f, kv_space_grow(f->space[i], n));
    for (uint32_t p = old; p < n; p++)
        f->tag[i][p] = (uint64_t)i << 32 | p;
    struct kv_tags tags = tags_of(f, i, old, n);
    kv_tags_write(&tags);
    kv_space_commit(f->space[i], n);
    pass(f, i, n);
}

static void fork_space(struct life *f, uint32_t from, uint32_t to, uint32_t n)
{
    UNTIL_GRANTED(f, kv_space_fork(&f->space[to], f->space[from], n, NULL));
    for (uint32_t p = 0; p < n; p++)
        f->tag[to][p] = f->tag[from][p];
    pass(f, to, n);
}

static void free_space(struct life *f, uint32_t i)
{
    kv_space_free(f->space[i]);
    f->space[i] = NULL;
}

/* A bit of everything: growth by one and by many, a window that passes, forks, ends, reuse, a full
 * pool. */
static void live(struct life *f)
{
    for (uint32_t n = 1; n <= 130; n += 3)
        grow(f, 0, n);
    fork_space(f, 0, 1, 120);
    grow(f, 1, 400);
    grow(f, 0, 140);
    fork_space(f, 1, 2, 400);
    check_rows(f);
    free_space(f, 1);
    UNTIL_GRANTED(f, kv_space_new(&f->space[1], f->all, NULL));
    f->first[1][1] = 0;
    for (uint32_t n = 60; n <= 900; n += 60)
        grow(f, 1, n);
    UNTIL_GRANTED(f, kv_space_grow(f->space[2], N_POSITION));
    assert_int_equal(kv_space_grow(f->space[0], N_POSITION), FULL); // the cap
    free_space(f, 1);
    fork_space(f, 0, 1, 100);
    grow(f, 1, 170);
    check_rows(f);
}

static void vm_fail_long(uint64_t k)
{
    vm_fail_run(k, N_LONG);
}

static uint64_t lives(fail_at *refuse, uint64_t (*count)(void), struct options o)
{
    static struct life f;
    uint64_t k = 1, n_call;
    do {
        uint32_t n_fd = count_fds();
        assert_int_equal(open_all(&f, o, NULL), OK);
        f.n_refused_max = refuse == vm_fail_long ? 2 * N_LONG : 2;
        refuse(k);
        live(&f);
        n_call = count();
        refuse(0);
        close_all(&f);
        assert_int_equal(count_fds(), n_fd);
        k += refuse == vm_fail_long ? 8 : 1; // a stretch meets the calls after it too
    } while (k <= n_call);
    return k;
}

static void lives_go_on(void **state)
{
    (void)state;
    const struct options all[] = {
        { 0 }, { .map_ahead = true }, { .map_ahead = true, .populate = true }, { .table = true }
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        lives(vm_fail_long, vm_fail_count, all[i]);
        uint64_t n_vm = lives(vm_fail_at, vm_fail_count, all[i]),
                 n_mem = lives(mem_fail_at, mem_fail_count, all[i]);
        print_message("failed each of %llu calls on memory maps, %llu allocations\n",
                      (unsigned long long)n_vm - 1, (unsigned long long)n_mem - 1);
    }
}

/* ---- refused for long ---- */

enum { FOREVER = 1 << 30 };

/* Whoever hangs in a test here is ended by SIGALRM. */
static int no_hang(void **state)
{
    (void)state;
    alarm(30);
    return 0;
}

static int unrefused(void **state)
{
    (void)state;
    alarm(0);
    vm_fail_at(0);
    return 0;
}

static void open_for_long(struct life *f)
{
    assert_int_equal(open_all(f, (struct options){ .map_ahead = true }, NULL), OK);
    assert_int_equal(kv_space_new(&f->space[1], f->all, NULL), OK);
}

/* All blocks are free, but mapped where a dead sequence had them, and the system takes no mapping
 * away: who wants one is told FULL, and gets it once the system does. */
static void what_stays_mapped_is_full_not_a_hang(void **state)
{
    (void)state;
    static struct life f;
    open_for_long(&f);
    assert_int_equal(kv_space_new(&f.space[2], f.all, NULL), OK);
    assert_int_equal(kv_space_grow(f.space[0], 16 * KV_BLOCK), OK);
    assert_int_equal(kv_space_grow(f.space[1], 14 * KV_BLOCK), OK); // N_BLOCK in all
    vm_fail_run(1, FOREVER);
    free_space(&f, 0);
    free_space(&f, 1);
    assert_int_equal(held(&f), 0);
    assert_int_equal(kv_space_grow(f.space[2], 1), FULL);
    assert_int_equal(kv_space_grow(f.space[2], 1), FULL);
    kv_pool_check(f.pool);
    vm_fail_at(0);
    f.n_refused_max = 1000; // it is tried again within milliseconds
    grow(&f, 2, N_POSITION);
    check_rows(&f);
    close_all(&f);
}

/* A sequence that ends leaves blocks with memory: taking those asks nothing of the system. */
static void back_some(struct life *f)
{
    grow(f, 0, 800);
    free_space(f, 0);
    kv_spaces_settle(f->all);
    assert_int_equal(kv_space_new(&f->space[0], f->all, NULL), OK);
    f->first[0][1] = 0;
}

/* A sequence grows, and a window passes, while nothing can be mapped or unmapped: it goes on without
 * addresses, and what it let go of is not taken by another. */
static void growth_does_not_wait_for_the_system(void **state)
{
    (void)state;
    static struct life f;
    struct kv_spaces_stats stats;
    open_for_long(&f);
    back_some(&f);
    grow(&f, 0, 400);
    grow(&f, 1, 100);
    vm_fail_run(1, FOREVER);
    grow(&f, 0, 600);
    kv_spaces_stats(f.all, &stats);
    assert_int_equal(stats.n_left, 1);
    check_rows(&f);
    vm_fail_at(0);
    kv_spaces_settle(f.all);
    grow(&f, 0, 700);
    grow(&f, 1, 300);
    check_rows(&f);
    free_space(&f, 0);
    kv_spaces_settle(f.all);
    grow(&f, 1, 900);
    check_rows(&f);
    close_all(&f);
}

static void an_end_does_not_wait_for_the_system(void **state)
{
    (void)state;
    static struct life f;
    uint32_t n_fd = count_fds();
    open_for_long(&f);
    back_some(&f);
    grow(&f, 0, 400);
    grow(&f, 1, 70);
    vm_fail_run(1, FOREVER);
    grow(&f, 1, 140);
    close_all(&f);
    assert_int_equal(count_fds(), n_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(births_fail_whole),
        cmocka_unit_test(lives_go_on),
        cmocka_unit_test_setup_teardown(what_stays_mapped_is_full_not_a_hang, no_hang, unrefused),
        cmocka_unit_test_setup_teardown(growth_does_not_wait_for_the_system, no_hang, unrefused),
        cmocka_unit_test_setup_teardown(an_end_does_not_wait_for_the_system, no_hang, unrefused),
    };
    return cmocka_run_group_tests_name("kv_fault", tests, NULL, NULL);
}
