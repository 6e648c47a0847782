/* kv/shares: dealing spends the budget and keeps its bounds, shares of a replay are counted, profiles are read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/best.h"
#include "kv/keep.h"
#include "kv/shares.h"

enum { LAYERS = 30, HEADS = 3, N = LAYERS * HEADS };

static struct kv_shares random_shares(struct rng *rng, bool with_zeros)
{
    struct kv_shares s;
    assert_int_equal(kv_shares_open(&s, LAYERS, HEADS), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++) {
        double sum = 0;
        for (uint32_t i = 0; i < N; i++) {
            const double x = rng_unit(rng);
            s.share[b][i] = with_zeros && x < 0.3 ? 0 : (float)(x * x * x * 4);
            sum += s.share[b][i];
        }
        for (uint32_t i = 0; i < N; i++)
            s.share[b][i] *= (float)(N / sum);
    }
    return s;
}

static void deal(const struct kv_shares *s, float even, bool whole, uint32_t n_layer,
                 uint32_t n_kv_head, uint32_t budget, uint32_t n, uint32_t least, uint32_t *rows)
{
    const struct kv_dealing how = { least, even, whole };
    kv_shares_deal(s, &how, budget, n, n_layer * n_kv_head, rows);
}

static uint64_t sum_of_n(const uint32_t *rows, uint32_t n)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += rows[i];
    return sum;
}

static uint64_t sum_of(const uint32_t *rows)
{
    return sum_of_n(rows, N);
}

static void the_whole_budget_is_dealt(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(5, 1);
    for (int round = 0; round < 300; round++) {
        struct kv_shares s = random_shares(&rng, round % 2);
        const uint32_t n = 1 + rng_below(&rng, 8000), budget = 1 + rng_below(&rng, n + n / 8);
        const uint32_t least = rng_below(&rng, 100);
        const float even = (float)(round % 3) / 2;
        uint32_t rows[N];
        deal(&s, even, round / 3 % 2, LAYERS, HEADS, budget, n, least, rows);
        const uint32_t floor = least < n ? least : n;
        for (uint32_t i = 0; i < N; i++)
            assert_true(rows[i] >= floor && rows[i] <= n);
        const uint32_t each = budget < floor ? floor : budget > n ? n : budget;
        assert_int_equal(sum_of(rows), (uint64_t)N * each);
        kv_shares_close(&s);
    }
}

static void larger_shares_get_more(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(6, 1);
    struct kv_shares s = random_shares(&rng, false);
    uint32_t rows[N], more[N];
    deal(&s, 0, false, LAYERS, HEADS, 819, 4096, 45, rows); // 20 %: the shares as stored
    deal(&s, 0, false, LAYERS, HEADS, 900, 4096, 45, more);
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++)
            if (s.share[2][i] > s.share[2][j])
                assert_true(rows[i] + 1 >= rows[j]);
    assert_true(sum_of(more) > sum_of(rows));
    deal(NULL, 0, false, LAYERS, HEADS, 819, 4096, 45, rows);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(rows[i], 819);
    kv_shares_close(&s);
}

/* Two layers of two heads: the first has `first` of the mean at every budget, each other `rest`. */
static void open_four(struct kv_shares *s, float first, float rest)
{
    assert_int_equal(kv_shares_open(s, 2, 2), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < 4; i++)
            s->share[b][i] = i == 0 ? first : rest;
}

/* All of it evenly is as if there were no shares; of a part of it heads get that much, and the rest goes by shares. */
static void a_part_is_dealt_evenly(void **state)
{
    (void)state;
    struct kv_shares s;
    uint32_t rows[4];
    open_four(&s, 2.5f, 0.5f);
    deal(&s, 0.1f, false, 2, 2, 1000, 10000, 0, rows); // they have more than that by their shares
    assert_true(abs((int)rows[0] - 2500) <= 1 && abs((int)rows[1] - 500) <= 1);
    deal(&s, 0.8f, false, 2, 2, 1000, 10000, 0, rows);
    assert_true(abs((int)rows[0] - 1600) <= 3 && abs((int)rows[1] - 800) <= 1);
    deal(&s, 1, false, 2, 2, 1000, 10000, 0, rows);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(rows[i], 1000);
    kv_shares_close(&s);
}

/* Where it was measured, the even part goes to where text that follows looks. */
static void the_even_part_follows_the_text(void **state)
{
    (void)state;
    struct kv_shares s;
    uint32_t rows[4];
    assert_int_equal(kv_shares_open(&s, 2, 2), OK);
    assert_false(kv_shares_has_follow(&s));
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < 4; i++) {
            s.share[b][i] = i == 0 ? 4 : 0;
            s.follow[b][i] = i == 1 ? 2.5f : 0.5f;
        }
    assert_true(kv_shares_has_follow(&s));
    deal(&s, 0.4f, false, 2, 2, 1000, 10000, 10, rows);
    assert_true(abs((int)rows[1] - 1000) <= 1 && abs((int)rows[2] - 200) <= 1);
    assert_int_equal(sum_of_n(rows, 4), 4000);
    deal(&s, 0.4f, false, 2, 2, 1000, 10000, 250, rows); // floors come first
    assert_true(abs((int)rows[1] - 1000) <= 1 && abs((int)rows[2] - 250) <= 1);
    kv_shares_close(&s);
}

static void deal_choice(const struct kv_shares *s, const char *text, uint32_t rows[4])
{
    static const struct kv_shape shape = {
        .n_group = 1,
        .group = { { .n_layer = 2, .n_kv_head = 2, .d_k = 8, .d_v = 8 } },
        .n_layer = 2,
        .layer_index = { 0, 1 },
    };
    struct kv_choice c;
    assert_int_equal(kv_choice_parse(&c, text, NULL), OK);
    kv_keep_deal(&c, s, &shape, 1000, 1000, rows);
}

/* What is kept at the ends of blocks is dealt by shares alone where heads get parts. */
static void blocks_have_an_even_part_of_their_own(void **state)
{
    static const struct {
        const char *text;
        bool even;
    } of[] = {
        { "auto:budget=100,even=1,whole=off", true },
        { "auto:budget=100,even=1,whole=off,block=64", false },
        { "auto:budget=100,even=1,whole=off,block=64,even_block=1", true },
        { "auto:budget=100,even=1,whole=on,block=64", true },
        { "auto:budget=100,even=0,whole=on,block=64,even_block=1", false },
    };
    (void)state;
    struct kv_shares s;
    open_four(&s, 2.5f, 0.5f);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        uint32_t rows[4];
        deal_choice(&s, of[i].text, rows);
        assert_int_equal(sum_of_n(rows, 4), 400);
        assert_int_equal(rows[0] == rows[1], of[i].even);
    }
    kv_shares_close(&s);
}

/* The control: the same shares, of other heads. */
static void shuffled_shares_go_to_others(void **state)
{
    static const char *const of[] = { "auto:budget=100,even=0", "auto:budget=100,even=0,whole=on",
                                      "auto:budget=200" };
    (void)state;
    struct kv_shares s;
    open_four(&s, 2, 0.5f);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < 4; i++) {
            s.share[b][i] = (float)(i + 1) / 2.5f;
            s.follow[b][i] = (float)(4 - i) / 2.5f;
        }
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char text[128];
        uint32_t own[4], others[4];
        int n_same = 0;
        snprintf(text, sizeof text, "%s,shares=shuffled", of[i]);
        deal_choice(&s, of[i], own);
        deal_choice(&s, text, others);
        assert_memory_not_equal(own, others, sizeof own);
        for (uint32_t h = 0; h < 4; h++)
            for (uint32_t o = 0; o < 4; o++)
                n_same += (own[h] == others[o]) - (own[h] == own[o]);
        assert_int_equal(n_same, 0);
    }
    kv_shares_close(&s);
}

/* Rows of a head that retrieves nothing, of budgets below a tenth of all rows, of that, and above. */
static void the_even_part_depends_on_the_budget(void **state)
{
    static const struct {
        const char *text;
        uint32_t rows;
    } of[] = {
        { "budget=50,whole=off", 15 }, // 50 * (1 - 0.5 * sqrt(2))
        { "budget=100,whole=off", 50 },
        { "budget=400,whole=off", 200 },
        { "budget=400,whole=on", 300 }, // 400 * (1 - 0.5 * sqrt(1 / 4))
    };
    (void)state;
    struct kv_shares s;
    open_four(&s, 4, 0);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char text[128];
        uint32_t rows[4];
        snprintf(text, sizeof text, "auto:even=0.5,round=off,sinks=0,recent=0,%s", of[i].text);
        deal_choice(&s, text, rows);
        if (abs((int)rows[1] - (int)of[i].rows) > 1)
            fail_msg("%s: %u rows instead of %u", text, rows[1], of[i].rows);
    }
    kv_shares_close(&s);
}

/* One head wants all of 1,000 rows, one half of them, ten what is nearly their floor. In proportion, or one after the
 * other. */
static void who_wants_most_comes_first(void **state)
{
    (void)state;
    struct kv_shares s;
    uint32_t rows[12];
    assert_int_equal(kv_shares_open(&s, 6, 2), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < 12; i++)
            s.share[b][i] = i == 0 ? 7.2f : i == 1 ? 3.6f : 0.12f;
    deal(&s, 0.3f, false, 6, 2, 138, 1000, 20, rows);
    assert_true(rows[0] > 800 && rows[0] < 900 && rows[1] > 400 && rows[2] >= 41);
    deal(&s, 0.3f, true, 6, 2, 138, 1000, 20, rows);
    assert_int_equal(rows[0], 1000);
    assert_int_equal(rows[1], 12 * 138 - 1000 - 10 * 41);
    assert_int_equal(rows[2], 41);
    deal(&s, 1, true, 6, 2, 138, 1000, 20, rows); // the even part is all
    assert_true(rows[0] == 138 && rows[11] == 138);
    kv_shares_close(&s);
}

/* Between two stored budgets a head moves from one share to the other, and at the context all are equal. */
static void shares_are_interpolated(void **state)
{
    (void)state;
    struct kv_shares s;
    uint32_t rows[4], last = 0;
    assert_int_equal(kv_shares_open(&s, 2, 2), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < 4; i++)
            s.share[b][i] = i == 0 ? 2.5f - 0.5f * (float)b : (1.5f + 0.5f * (float)b) / 3;
    deal(&s, 0, false, 2, 2, 1500, 10000, 0, rows); // 15 %: 1.75 of the mean
    assert_true(abs((int)rows[0] - 2625) <= 2);
    deal(&s, 0, false, 2, 2, 300, 10000, 0, rows); // below 5 %: the shares of 5 %
    assert_true(abs((int)rows[0] - 750) <= 2);
    deal(&s, 0, false, 2, 2, 7500, 10000, 0, rows); // 75 %: 1.0 of 50 % and of 100 %
    assert_true(abs((int)rows[0] - 7500) <= 2);
    for (uint32_t budget = 100; budget <= 10000; budget += 100) {
        deal(&s, 0, false, 2, 2, budget, 10000, 0, rows);
        assert_true(rows[0] >= last); // never fewer rows of a larger budget
        last = rows[0];
    }
    assert_int_equal(last, 10000);
    kv_shares_close(&s);
}

static void rounded_budgets_fill_blocks(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(7, 1);
    for (int round = 0; round < 500; round++) {
        struct kv_shares s = random_shares(&rng, round % 2);
        const uint32_t n = 300 + rng_below(&rng, 8000), budget = 1 + rng_below(&rng, n);
        const uint32_t least = rng_below(&rng, 100), loose = rng_below(&rng, KV_BLOCK);
        uint32_t rows[N], was[N];
        deal(&s, 0, false, LAYERS, HEADS, budget, n, least, rows);
        memcpy(was, rows, sizeof was);
        kv_shares_round(rows, N, loose, least, n);
        for (uint32_t i = 0; i < N; i++) {
            assert_true(abs((int)rows[i] - (int)was[i]) < KV_BLOCK);
            assert_true(rows[i] >= (was[i] < least ? was[i] : least) && rows[i] <= n);
            const bool whole = rows[i] > loose && (rows[i] - loose) % KV_BLOCK == 0;
            assert_true(whole || rows[i] == n || rows[i] <= loose || rows[i] < least + KV_BLOCK);
        }
        assert_true(sum_of(rows) <= sum_of(was));
        assert_true(sum_of(rows) + KV_BLOCK + N > sum_of(was));
        kv_shares_close(&s);
    }
}

static int descending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void the_best_are_the_best(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(8, 1);
    for (int round = 0; round < 500; round++) {
        uint64_t key[300], sorted[300];
        const size_t n = 1 + rng_below(&rng, 300), k = rng_below(&rng, (uint32_t)n + 1);
        for (size_t i = 0; i < n; i++)
            key[i] = round % 3 == 0 ? rng_below(&rng, 4) : rng_u64(&rng);
        memcpy(sorted, key, sizeof sorted);
        qsort(sorted, n, sizeof *sorted, descending);
        struct kv_best best = kv_best_of(key, n, k);
        size_t n_taken = 0;
        for (size_t i = 0; i < n; i++)
            if (kv_best_take(&best, key[i])) {
                n_taken++;
                assert_true(key[i] >= sorted[k - 1]);
            }
        assert_int_equal(n_taken, k);
    }
    const float up[] = { NAN, -INFINITY, -2, -1e-40f, 0, 1e-40f, 1, INFINITY };
    for (size_t i = 1; i < sizeof up / sizeof *up; i++)
        assert_true(kv_rank_key(up[i - 1]) < kv_rank_key(up[i]));
    assert_int_equal(kv_rank_key(-0.0f), kv_rank_key(0));
    assert_true(kv_row_key(1, 5) > kv_row_key(1, 4)); // the later position stays
}

/* One head wants its rows, the others have theirs where sinks and recent rows are. */
static void a_replay_is_counted(void **state)
{
    (void)state;
    enum { ROWS = 1000 };
    float *z = mem_new((size_t)N * ROWS, sizeof *z);
    struct kv_shares s;
    assert_int_equal(kv_shares_open(&s, LAYERS, HEADS), OK);
    for (uint32_t i = 0; i < ROWS; i++) {
        z[(size_t)7 * ROWS + i] = 1;
        z[(size_t)9 * ROWS + i] = i < 500 ? 0.5f : -1;
    }
    assert_int_equal(kv_shares_add(&s, s.share, z, ROWS), OK);
    assert_int_equal(kv_shares_add(&s, s.share, z, ROWS), OK);
    kv_shares_mean(&s, 2);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++) {
        const double budget = ROWS * kv_shares_percent[b] / 100.0;
        double sum = 0;
        for (uint32_t i = 0; i < N; i++)
            sum += s.share[b][i];
        assert_true(fabs(sum - N) < 0.01);
        assert_true(fabs(s.share[b][7] - fmin(ROWS, N * budget) / budget) < 0.5);
    }
    assert_true(fabs(s.share[2][9] - (500 + 20) / 200.0) < 0.01);
    assert_true(kv_shares_correlation(&s, &s, 2) > 0.9999);
    assert_true(kv_shares_half(&s, 0) >= 1 && kv_shares_half(&s, 3) > kv_shares_half(&s, 0));
    kv_shares_close(&s);
    mem_free(z);
}

static const struct kv_shares_id ID = { "0123456789abcdef0123456789abcdef", "f16" };

static void a_profile_is_read_back(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(9, 1);
    struct kv_shares s = random_shares(&rng, true), back;
    struct buf text = { 0 };
    struct note why = { "" };
    kv_shares_write(&s, &ID, &text);
    assert_int_equal(kv_shares_open(&back, LAYERS, HEADS), OK);
    assert_int_equal(kv_shares_read(&back, &ID, buf_text(&text), text.len, &why), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < N; i++)
            assert_true(fabsf(back.share[b][i] - s.share[b][i]) <= 5e-4f * s.share[b][i]);
    assert_false(kv_shares_has_follow(&back)); /* an older profile has none */
    memcpy(s.follow[0], s.share[0], (size_t)KV_SHARES_BUDGETS * N * sizeof **s.share);
    assert_false(back.whole);
    s.whole = true;
    buf_clear(&text);
    kv_shares_write(&s, &ID, &text);
    assert_int_equal(kv_shares_read(&back, &ID, buf_text(&text), text.len, &why), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        assert_memory_equal(back.follow[b], back.share[b], N * sizeof **back.share);
    assert_true(back.whole);
    const struct kv_shares_id other = { "ff", "f16" }, int8 = { ID.model, "int8" };
    assert_int_equal(kv_shares_read(&back, &other, buf_text(&text), text.len, &why), NOT_FOUND);
    assert_non_null(strstr(why.text, "akvifer profile"));
    assert_int_equal(kv_shares_read(&back, &int8, buf_text(&text), text.len, &why), NOT_FOUND);
    kv_shares_close(&back);
    assert_int_equal(kv_shares_open(&back, LAYERS, HEADS + 1), OK);
    assert_int_equal(kv_shares_read(&back, &ID, buf_text(&text), text.len, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "at 5 %"));
    kv_shares_close(&back);
    kv_shares_close(&s);
    buf_close(&text);
}

/* What each head gets by its layer's change. */
static void deal_by_layer(const struct kv_shares *s, float alpha, uint32_t budget, uint32_t n,
                          uint32_t *rows)
{
    struct kv_shares by;
    float layer[LAYERS];
    kv_shares_by_layer(s, alpha, layer, &by);
    deal(&by, 0, false, LAYERS, HEADS, budget, n, 0, rows);
}

/* Budgets of layers as their keys change, to a power, and all of the budget is spent. */
static void layers_have_budgets(void **state)
{
    (void)state;
    enum { BUDGET = 1000, OF = 100000 };
    static const float alphas[] = { 0, 0.5f, 1, 2, 4 };
    struct kv_shares s, back;
    struct buf text = { 0 };
    struct note why = { "" };
    uint32_t rows[N];
    assert_int_equal(kv_shares_open(&s, LAYERS, HEADS), OK);
    assert_false(kv_shares_has_layers(&s)); /* not measured */
    for (uint32_t l = 0; l < LAYERS; l++)
        s.change[l] = 0.01f * (float)(l + 10);
    kv_shares_write(&s, &ID, &text);
    assert_int_equal(kv_shares_open(&back, LAYERS, HEADS), OK);
    assert_int_equal(kv_shares_read(&back, &ID, buf_text(&text), text.len, &why), OK);
    assert_true(kv_shares_has_layers(&back));
    for (size_t a = 0; a < sizeof alphas / sizeof *alphas; a++) {
        double sum = 0, least = 1;
        uint64_t dealt = 0;
        for (uint32_t l = 0; l < LAYERS; l++)
            sum += pow((double)s.change[l], (double)alphas[a]) / LAYERS;
        deal_by_layer(&back, alphas[a], BUDGET, OF, rows);
        for (uint32_t l = 0; l < LAYERS; l++)
            least = fmin(least, pow((double)s.change[l], (double)alphas[a]) / sum);
        for (uint32_t i = 0; i < N; i++) {
            const double share = pow((double)s.change[i / HEADS], (double)alphas[a]) / sum;
            dealt += rows[i];
            if (least > 0.25) /* no floor moves what others get */
                assert_true(fabs(rows[i] - share * BUDGET) < 2);
        }
        assert_int_equal(dealt, N * BUDGET);
    }
    s.change[0] = 0;
    deal_by_layer(&s, 2, BUDGET, OF, rows);
    assert_true(rows[0] > BUDGET / 5 &&
                rows[0] < BUDGET / 3); /* a quarter of the mean, or nearly */
    kv_shares_close(&back);
    kv_shares_close(&s);
    buf_close(&text);
}

static void broken_profiles_are_refused(void **state)
{
    (void)state;
    struct rng rng = rng_seeded(10, 1);
    struct kv_shares s = random_shares(&rng, true), back;
    struct buf text = { 0 };
    kv_shares_write(&s, &ID, &text);
    assert_int_equal(kv_shares_open(&back, LAYERS, HEADS), OK);
    for (int round = 0; round < 300; round++) {
        const size_t at = rng_below(&rng, (uint32_t)text.len - 1); // all but the last newline
        const char was = text.bytes[at];
        struct note why = { "" };
        text.bytes[at] = (char)rng_below(&rng, 256);
        enum status st = kv_shares_read(&back, &ID, buf_text(&text), text.len, &why);
        assert_true(st == OK || (why.text[0] && (st == BAD_INPUT || st == NOT_FOUND)));
        text.bytes[at] = was;
        assert_int_not_equal(kv_shares_read(&back, &ID, buf_text(&text), at, NULL), OK);
    }
    assert_int_equal(kv_shares_read(&back, &ID, "[]", 2, NULL), BAD_INPUT);
    kv_shares_close(&back);
    kv_shares_close(&s);
    buf_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_budget_is_dealt),
        cmocka_unit_test(larger_shares_get_more),
        cmocka_unit_test(shares_are_interpolated),
        cmocka_unit_test(a_part_is_dealt_evenly),
        cmocka_unit_test(the_even_part_follows_the_text),
        cmocka_unit_test(blocks_have_an_even_part_of_their_own),
        cmocka_unit_test(shuffled_shares_go_to_others),
        cmocka_unit_test(the_even_part_depends_on_the_budget),
        cmocka_unit_test(who_wants_most_comes_first),
        cmocka_unit_test(rounded_budgets_fill_blocks),
        cmocka_unit_test(the_best_are_the_best),
        cmocka_unit_test(a_replay_is_counted),
        cmocka_unit_test(a_profile_is_read_back),
        cmocka_unit_test(layers_have_budgets),
        cmocka_unit_test(broken_profiles_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
