/* Every policy on random pasts: what it keeps is what a plain twin in double precision keeps, at every step, and what
 * kv/keep.h promises holds (K1, K2). Where two rows rank the same but for rounding, either may stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/tables.h"
#include "kv/keep.h"
#include "kv/rank.h"
#include "kv/view.h"
#include "support/sanitized.h"
#include "twin/keep_twin.h"

enum { POSITIONS = 640, LAYERS = 3, WHOLE = 2, KV_HEADS = 2, GROUP = 2, D = 16, D_V = 24 };
enum { HEADS = KV_HEADS * GROUP, LISTS = WHOLE * KV_HEADS, QUERIES = 40 };

static const uint16_t MODEL_LAYER[WHOLE] = { 0, 2 };

static const struct kv_shape SHAPE = {
    .type = KV_F32,
    .n_group = 2,
    .group = { { .n_layer = WHOLE, .n_kv_head = KV_HEADS, .d_k = D, .d_v = D_V },
               { .n_layer = 1, .n_kv_head = KV_HEADS, .d_k = D, .d_v = D_V, .window = 100 } },
    .n_layer = LAYERS,
    .layer_group = { 0, 1, 0 },
    .layer_index = { 0, 0, 1 },
};

struct life {
    struct rng rng;
    const struct kernels *kern;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct kv_space *space;
    struct kv_excerpt *excerpt;
    struct kv_taps taps;
    struct kv_keep_model model;
    struct kv_shares shares;
    struct rank_twin twin;
    struct keep_twin kept;
};

static float any(struct life *f)
{
    return (float)(rng_unit(&f->rng) + rng_unit(&f->rng) + rng_unit(&f->rng) - 1.5);
}

static void fill(struct life *f, float *x, size_t n, float size)
{
    for (size_t i = 0; i < n; i++)
        x[i] = size * any(f);
}

/* ---- a sequence ---- */

static void open_life(struct life *f, uint64_t seed, uint32_t n_thread)
{
    const struct kv_pool_config pool = { .shape = &SHAPE, .bytes_max = 8 << 20 };
    *f = (struct life){ .rng = rng_seeded(seed, 1) };
    assert_int_equal(kernels_select(&f->kern, "auto", NULL), OK);
    assert_int_equal(kv_pool_new(&f->pool, &pool, NULL), OK);
    const struct kv_spaces_config spaces = { .pool = f->pool, .n_position_max = POSITIONS };
    assert_int_equal(kv_spaces_new(&f->spaces, &spaces, NULL), OK);
    assert_int_equal(kv_space_new(&f->space, f->spaces, NULL), OK);
    const struct kv_excerpt_config excerpt = { .pool = f->pool,
                                               .n_position_max = POSITIONS,
                                               .n_tail_mass = POSITIONS };
    assert_int_equal(kv_excerpt_new(&f->excerpt, &excerpt, NULL), OK);
    static const double freq[6] = { 1, 0.5, 0.2, 0.1, 0.02, 0.001 };
    f->model = (struct kv_keep_model){ .kern = f->kern,
                                       .shape = &SHAPE,
                                       .n_head = HEADS,
                                       .scale = 0.25f,
                                       .n_rot = 12,
                                       .rope_halves = seed % 2,
                                       .rope_freq = freq };
    assert_int_equal(workers_new(&f->model.workers, n_thread, NULL), OK);
    assert_int_equal(kv_keep_room_new(&f->model.room, &SHAPE, n_thread), OK);
    f->taps = (struct kv_taps){
        .mass = KV_TAP_MASS_SUM,
        .n_query = QUERIES,
        .query = mem_new((size_t)LAYERS * QUERIES * HEADS * D, sizeof(float)),
        .sum = mem_new((size_t)LAYERS * HEADS * D, sizeof(float)),
        .outer = mem_new((size_t)LAYERS * HEADS * D * D, sizeof(float)),
    };
    f->twin = (struct rank_twin){ .n_layer = WHOLE,
                                  .n_kv_head = KV_HEADS,
                                  .group = GROUP,
                                  .d = D,
                                  .d_v = D_V,
                                  .n_max = POSITIONS,
                                  .scale = 0.25,
                                  .n_rot = 12,
                                  .rope_halves = seed % 2,
                                  .model_layer = MODEL_LAYER };
    rank_twin_open(&f->twin);
    keep_twin_open(&f->kept, &f->twin, &SHAPE);
    fill(f, f->twin.future, 12, 1);
    assert_int_equal(kv_shares_open(&f->shares, WHOLE, KV_HEADS), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < LISTS; i++)
            f->shares.share[b][i] = (float)rng_unit(&f->rng) * 2;
}

static void close_life(struct life *f)
{
    kv_shares_close(&f->shares);
    keep_twin_close(&f->kept);
    rank_twin_close(&f->twin);
    mem_free(f->taps.query);
    mem_free(f->taps.sum);
    mem_free(f->taps.outer);
    kv_keep_room_free(f->model.room);
    workers_free(f->model.workers);
    kv_excerpt_free(f->excerpt);
    kv_space_free(f->space);
    kv_spaces_free(f->spaces);
    kv_pool_free(f->pool);
}

static void write_rows(struct life *f, uint32_t p)
{
    for (uint32_t i = 0; i < LISTS; i++) {
        const struct kv_view view = kv_view_layer(f->space, MODEL_LAYER[i / KV_HEADS]);
        float *k = f->twin.k + ((size_t)i * POSITIONS + p) * D;
        float *v = f->twin.v + ((size_t)i * POSITIONS + p) * D_V;
        fill(f, k, D, p < 2 ? 4 : 1);
        fill(f, v, D_V, 1);
        f->kern->store_k(KV_F32, kv_view_k(&view, p / KV_BLOCK, i % KV_HEADS), p % KV_BLOCK, k, D);
        f->kern->store_v(KV_F32, kv_view_v(&view, p / KV_BLOCK, i % KV_HEADS), p % KV_BLOCK, v,
                         D_V);
        f->twin.live[(size_t)i * POSITIONS + p] = true;
    }
}

/* Queries of one position, to the twin and to the taps. */
static void ask(struct life *f, uint32_t p)
{
    for (uint32_t l = 0; l < WHOLE; l++) {
        const size_t row = ((size_t)l * POSITIONS + p) * HEADS * D, layer = MODEL_LAYER[l];
        fill(f, f->twin.query + row, HEADS * D, 3);
        fill(f, f->twin.raw + row, HEADS * D, 2);
        memcpy(f->taps.query + (layer * QUERIES + p % QUERIES) * HEADS * D, f->twin.query + row,
               HEADS * D * sizeof(float));
        for (uint32_t h = 0; h < HEADS && p >= KV_OUTLIERS; h++) {
            const float *q = f->twin.raw + row + h * D;
            float *sum = f->taps.sum + (layer * HEADS + h) * D;
            float *outer = f->taps.outer + (layer * HEADS + h) * D * D;
            for (uint32_t i = 0; i < D; i++) {
                sum[i] += q[i];
                for (uint32_t j = 0; j <= i; j++)
                    outer[i * D + j] = fmaf(q[i], q[j], outer[i * D + j]);
            }
        }
    }
    f->taps.n_moment += p >= KV_OUTLIERS;
}

/* Mass for every live row, as a pass would count it. */
static void count(struct life *f)
{
    static kv_row row[POSITIONS];
    static uint32_t position[POSITIONS];
    for (uint32_t i = 0; i < LISTS; i++) {
        const uint32_t layer = MODEL_LAYER[i / KV_HEADS], h = i % KV_HEADS;
        const struct kv_list list = kv_excerpt_list(f->excerpt, layer, h);
        const uint32_t n = kv_excerpt_rows(f->excerpt, layer, h, f->twin.n_position, row, position);
        for (uint32_t j = 0; j < n; j++) {
            const uint32_t at = row[j] & ~KV_IN_TAIL;
            uint64_t *mass =
                row[j] & KV_IN_TAIL ? &list.tail_mass[at % list.n_tail_mass] : &list.mass[at];
            *mass += rng_u32(&f->rng) >> 4;
            f->twin.mass[(size_t)i * POSITIONS + position[j]] = *mass;
        }
    }
}

static void read_on(struct life *f, uint32_t n)
{
    const uint32_t from = f->twin.n_position, to = from + n;
    assert_int_equal(kv_space_grow(f->space, to), OK);
    for (uint32_t p = from; p < to; p++) {
        write_rows(f, p);
        ask(f, p);
    }
    kv_space_commit(f->space, to);
    f->twin.n_position = to;
    count(f);
}

/* ---- lives ---- */

static uint32_t count_live(const struct life *f, const bool *live)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < f->twin.n_position; p++)
        n += live[p];
    return n;
}

static struct kv_choice choice_of(const char *text)
{
    struct kv_choice c;
    struct note why = { "" };
    if (kv_choice_parse(&c, text, &why) != OK)
        fail_msg("%s: %s", text, why.text);
    return c;
}

static void keep(struct life *f, const struct kv_choice *c, uint32_t n_whole, bool one)
{
    const struct kv_keep_job job = { .choice = c,
                                     .shares = &f->shares,
                                     .excerpt = f->excerpt,
                                     .space = f->space,
                                     .taps = &f->taps,
                                     .future = f->twin.future,
                                     .n_position = f->twin.n_position,
                                     .n_whole = n_whole };
    keep_twin_look(&f->kept, &job);
    assert_int_equal(one ? kv_keep_one(&f->model, &job, NULL) : kv_keep_run(&f->model, &job, NULL),
                     OK);
    keep_twin_check(&f->kept, &job, one);
    kv_pool_check(f->pool);
}

/* A prompt read in blocks, kept within after each; then an answer. */
static uint32_t live_with(const char *text, uint64_t seed)
{
    const struct kv_choice c = choice_of(text);
    struct life f;
    open_life(&f, seed, 1 + seed % 3);
    const uint32_t n_prompt = 200 + rng_below(&f.rng, 200);
    while (f.twin.n_position < n_prompt) {
        const uint32_t left = n_prompt - f.twin.n_position, n = 1 + rng_below(&f.rng, 150);
        read_on(&f, n < left ? n : left);
        if (seed % 2 || f.twin.n_position == n_prompt)
            keep(&f, &c, n_prompt, false);
    }
    size_t most;
    assert_int_equal(kv_keep_bytes(&c, &f.shares, &SHAPE, n_prompt, n_prompt, &most), OK);
    assert_true(kv_excerpt_bytes(f.excerpt) <= most);
    for (uint32_t i = 0; i < 60 && f.twin.n_position < POSITIONS; i++) {
        read_on(&f, 1);
        if (c.policy->evicts_each)
            keep(&f, &c, n_prompt, true);
        if (i % 16 == 15)
            keep(&f, &c, n_prompt, false);
    }
    const uint32_t n_tie = f.kept.n_tie;
    close_life(&f);
    return n_tie;
}

static void the_twin_keeps_the_same(void **state)
{
    (void)state;
    static const char *const choices[] = {
        "window:budget=64,sinks=4,recent=10",
        "window:budget=20%,preset=paper",
        "random:budget=25%,seed=7",
        "h2o:budget=30%,preset=paper",
        "h2o:budget=20%",
        "h2o-chunked:budget=100",
        "h2o:budget=30%,score=mean",
        "h2o:budget=30%,score=last,last=9,group=max",
        "h2o:budget=30%,score=ema,decay=0.8,last=20,recent=3",
        "h2o:budget=15%,values=on",
        "snapkv:budget=60,window=20",
        "sentencekv:budget=30,keep_factor=2,window=20,recent=8",
        "snapkv:budget=40%,window=8,kernel=5,pool=mean,shares=profile",
        "snapkv:budget=40%,kernel=4,recent=2",
        "tova:budget=20%",
        "keydiff:budget=30%",
        "keydiff:budget=10%,sinks=0,recent=25%",
        "expected:budget=25%",
        "expected:budget=25%,covariance=off,values=off,shares=profile",
        "auto:budget=20%",
        "auto:budget=35%,ranks=last+expected+keydiff,rest=last,whole=on",
        "auto:budget=30%,ranks=last",
        "auto:budget=25%,ranks=probe+expected,rest=last+expected,even=0.5",
        "auto:budget=16KiB,ranks=expected+keydiff,shares=equal",
        "auto:budget=290",
        "kvzip:budget=25%",
        "kvzip:budget=25%,preset=paper,shares=profile",
        "epicache:budget=20%",
        "epicache:budget=5%",
        "epicache:budget=20%,ranks=mass",
        "epicache:budget=20%,shares=equal,whole=off",
        "epicache:budget=20%,preset=paper",
    };
    const uint32_t n_choice = sizeof choices / sizeof *choices, n_life = 2;
    uint32_t n_tie = 0;
    for (uint32_t i = 0; i < n_choice; i++)
        for (uint32_t seed = 1; seed <= n_life; seed++)
            n_tie += live_with(choices[i], i * 100 + seed);
    print_message("%u keeps were decided by rounding\n", n_tie);
    assert_true(n_tie < n_choice * n_life * 2);
}

/* K2: nothing is touched, and memory neither. */
static void a_budget_of_all_changes_nothing(void **state)
{
    (void)state;
    static const char *const choices[] = { "h2o:budget=100%", "auto:budget=100%",
                                           "kvzip:budget=400", "window:budget=300", "full" };
    for (uint32_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const struct kv_choice c = choice_of(choices[i]);
        struct life f;
        open_life(&f, i, 2);
        read_on(&f, 300);
        const struct kv_keep_job job = { .choice = &c,
                                         .shares = &f.shares,
                                         .excerpt = f.excerpt,
                                         .space = f.space,
                                         .taps = &f.taps,
                                         .future = f.twin.future,
                                         .n_position = 300,
                                         .n_whole = 300 };
        assert_int_equal(kv_keep_run(&f.model, &job, NULL), OK);
        assert_true(kv_excerpt_is_whole(f.excerpt));
        assert_int_equal(kv_excerpt_bytes(f.excerpt), 0);
        close_life(&f);
    }
}

/* A prompt shorter than its budget: the answer fills it before anything goes. */
static void a_budget_is_filled_first(void **state)
{
    (void)state;
    static const char *const choices[] = { "window:budget=100", "h2o:budget=100", "auto:budget=100",
                                           "kvzip:budget=100" };
    for (uint32_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const struct kv_choice c = choice_of(choices[i]);
        struct life f;
        open_life(&f, 61, 2);
        read_on(&f, 30);
        while (f.twin.n_position < 400) {
            size_t most;
            keep(&f, &c, 30, false);
            const uint32_t n = f.twin.n_position, stays = n < 100 ? n : 100;
            uint32_t n_live = 0;
            for (uint32_t l = 0; l < LISTS; l++)
                n_live += count_live(&f, f.twin.live + (size_t)l * POSITIONS);
            assert_int_equal(n_live, stays * LISTS);
            assert_int_equal(kv_keep_bytes(&c, &f.shares, &SHAPE, 30, n, &most), OK);
            assert_true(kv_excerpt_bytes(f.excerpt) <= most);
            read_on(&f, 1 + rng_below(&f.rng, 40));
        }
        close_life(&f);
    }
}

/* Invariants of the paper's cache: never more than k rows, the newest always there, one row a token, and with no heavy
 * hitters it is the window. */
static void h2o_is_a_cache_of_k_rows(void **state)
{
    (void)state;
    const struct kv_choice c = choice_of("h2o:budget=50,preset=paper");
    const struct kv_choice recent = choice_of("h2o:budget=50,sinks=4,recent=46,preset=paper");
    const struct kv_choice window = choice_of("window:budget=50,sinks=4,preset=paper");
    struct life f, g, w;
    open_life(&f, 21, 1);
    open_life(&g, 22, 1);
    open_life(&w, 22, 1);
    read_on(&f, 300);
    read_on(&g, 300);
    read_on(&w, 300);
    keep(&f, &c, 300, false);
    for (uint32_t i = 0; i < 100; i++) {
        read_on(&f, 1);
        keep(&f, &c, 300, true);
        for (uint32_t l = 0; l < LISTS; l++) {
            const bool *live = f.twin.live + (size_t)l * POSITIONS;
            assert_int_equal(count_live(&f, live), 50);
            for (uint32_t p = f.twin.n_position - 25; p < f.twin.n_position; p++)
                assert_true(live[p]);
        }
        if (i % 64 == 63)
            keep(&f, &c, 300, false); // tidies, drops nothing
        read_on(&g, 1);
        read_on(&w, 1);
        keep(&g, &recent, 300, false);
        keep(&w, &window, 300, false);
        assert_memory_equal(g.twin.live, w.twin.live, (size_t)LISTS * POSITIONS * sizeof(bool));
    }
    close_life(&f);
    close_life(&g);
    close_life(&w);
}

/* K3: threads do not matter, nor whether memory was tidied in between. */
static void threads_keep_the_same(void **state)
{
    (void)state;
    static const char *const choices[] = { "auto:budget=20%", "snapkv:budget=30%",
                                           "h2o:budget=20%" };
    for (uint32_t i = 0; i < 3; i++) {
        const struct kv_choice c = choice_of(choices[i]);
        struct life f[2];
        for (uint32_t j = 0; j < 2; j++) {
            open_life(&f[j], 31, 1 + j * 3);
            read_on(&f[j], 350);
            keep(&f[j], &c, 350, false);
            read_on(&f[j], 80);
            keep(&f[j], &c, 350, false);
        }
        assert_memory_equal(f[0].twin.live, f[1].twin.live, (size_t)LISTS * POSITIONS);
        close_life(&f[0]);
        close_life(&f[1]);
    }
}

/* Whole blocks: what the excerpt holds is the budget, not each head's part of a block more. */
static void rounded_heads_fill_their_blocks(void **state)
{
    (void)state;
    const struct kv_choice c = choice_of("auto:budget=260");
    struct life f;
    open_life(&f, 41, 2);
    read_on(&f, 576); // nine blocks
    keep(&f, &c, 576, false);
    uint64_t n_row = 0;
    for (uint32_t i = 0; i < LISTS; i++)
        n_row += count_live(&f, f.twin.live + (size_t)i * POSITIONS);
    assert_true(n_row <= 260 * LISTS);
    assert_int_equal(kv_excerpt_bytes(f.excerpt),
                     n_row / KV_BLOCK * kv_class_bytes(&SHAPE, kv_excerpt_class(&SHAPE)));
    close_life(&f);
}

/* The k-th allocation fails: FULL, and a second call does it. */
static void memory_may_be_short(void **state)
{
    (void)state;
    static const char *const choices[] = { "auto:budget=20%,ranks=last+expected+keydiff",
                                           "snapkv:budget=20%",
                                           "h2o:budget=20%,score=ema,values=on" };
    for (uint32_t i = 0; i < 3; i++) {
        const struct kv_choice c = choice_of(choices[i]);
        enum status st = FULL;
        for (uint64_t k = 1; st != OK; k++) {
            struct life f;
            struct note why = { "" };
            open_life(&f, 51, 1);
            read_on(&f, 300);
            const struct kv_keep_job job = { .choice = &c,
                                             .shares = &f.shares,
                                             .excerpt = f.excerpt,
                                             .space = f.space,
                                             .taps = &f.taps,
                                             .future = f.twin.future,
                                             .n_position = 300,
                                             .n_whole = 300 };
            mem_fail_at(k);
            st = kv_keep_run(&f.model, &job, &why);
            mem_fail_at(0);
            assert_true(st == OK || (st == FULL && why.text[0]));
            keep(&f, &c, 300, false);
            close_life(&f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_twin_keeps_the_same),
        cmocka_unit_test(a_budget_of_all_changes_nothing),
        cmocka_unit_test(a_budget_is_filled_first),
        cmocka_unit_test(h2o_is_a_cache_of_k_rows),
        cmocka_unit_test(threads_keep_the_same),
        cmocka_unit_test(rounded_heads_fill_their_blocks),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
