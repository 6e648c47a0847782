/* sample: every filter against a plain slow twin, draws against exact probabilities, penalties
 * against sums done by hand, hostile logits, and stored ids that every machine must draw. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/candidates.h"
#include "engine/sample.h"

enum { N_SMALL = 8, N_VOCAB = 1000 };

static struct akv_sampling plain(void)
{
    return (struct akv_sampling){
        .temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .repeat_last_n = 64
    };
}

static struct sampler *sampler_for(const struct akv_sampling *p, uint32_t n_vocab)
{
    struct sampler *s = NULL;
    struct note why = { "" };
    assert_int_equal(sampler_new(&s, p, n_vocab, &why), OK);
    assert_string_equal(why.text, "");
    return s;
}

static int32_t pick(struct sampler *s, const float *logits)
{
    return sampler_pick(s, logits, NULL, 0);
}

/* Roughly bell-shaped; `coarse` ones come from few values, so that many are equal. */
static void random_logits(struct rng *rng, float *logits, uint32_t n, bool coarse)
{
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++)
            sum += rng_unit(rng) - 0.5;
        logits[i] = coarse ? (float)rint(sum * 4) : (float)(sum * 6);
    }
}

/* ---- twins: sort everything, use libm, cut ---- */

struct twin {
    int32_t id;
    double logit, p, key;
};

static int by_key(const void *a, const void *b)
{
    const struct twin *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static void twin_softmax(struct twin *t, uint32_t n)
{
    double max = -INFINITY, total = 0;
    for (uint32_t i = 0; i < n; i++)
        max = fmax(max, t[i].logit);
    for (uint32_t i = 0; i < n; i++)
        total += exp(t[i].logit - max);
    for (uint32_t i = 0; i < n; i++)
        t[i].p = exp(t[i].logit - max) / total;
}

static uint32_t twin_cut(struct twin *t, uint32_t n, double p)
{
    double sum = 0;
    qsort(t, n, sizeof *t, by_key);
    for (uint32_t i = 0; i < n; i++) {
        sum += t[i].p;
        if (sum >= p)
            return i + 1;
    }
    return n;
}

static uint32_t twin_top_p(struct twin *t, uint32_t n, double p)
{
    twin_softmax(t, n);
    for (uint32_t i = 0; i < n; i++)
        t[i].key = -t[i].logit;
    return twin_cut(t, n, p);
}

static uint32_t twin_typical(struct twin *t, uint32_t n, double p)
{
    double entropy = 0;
    twin_softmax(t, n);
    for (uint32_t i = 0; i < n; i++)
        entropy -= t[i].p * log(t[i].p);
    for (uint32_t i = 0; i < n;
         i++) /* rounded: equal distances must stay equal through the logarithm */
        t[i].key = rint(fabs(-log(t[i].p) - entropy) * 1e9) / 1e9;
    return twin_cut(t, n, p);
}

static uint32_t twin_min_p(struct twin *t, uint32_t n, double p)
{
    double max = 0;
    uint32_t kept = 0;
    twin_softmax(t, n);
    for (uint32_t i = 0; i < n; i++)
        max = fmax(max, t[i].p);
    for (uint32_t i = 0; i < n; i++)
        if (t[i].p >= p * max)
            t[kept++] = t[i];
    return kept;
}

static uint32_t twin_all(struct twin *t, const float *logits, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        t[i] = (struct twin){ .id = (int32_t)i, .logit = logits[i] };
    return n;
}

static void expect_same(const struct candidates *c, const struct twin *t, uint32_t n)
{
    assert_int_equal(c->n, n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(c->at[i].id, t[i].id);
}

static void filters_agree_with_twins(void **state)
{
    (void)state;
    static float logits[N_VOCAB];
    static struct akv_logprob at[N_VOCAB];
    static struct twin t[N_VOCAB];
    struct rng rng = rng_seeded(1, 1);

    for (int round = 0; round < 300; round++) {
        uint32_t n = 1 + rng_below(&rng, N_VOCAB);
        double p = 0.01 + 0.985 * rng_unit(&rng);
        struct candidates c = { .at = at };
        random_logits(&rng, logits, n, round % 2);

        candidates_all(&c, logits, n);
        candidates_keep_top_p(&c, p);
        expect_same(&c, t, twin_top_p(t, twin_all(t, logits, n), p));

        candidates_all(&c, logits, n);
        candidates_keep_typical(&c, p);
        expect_same(&c, t, twin_typical(t, twin_all(t, logits, n), p));

        candidates_all(&c, logits, n);
        candidates_keep_min_p(&c, p);
        expect_same(&c, t, twin_min_p(t, twin_all(t, logits, n), p));
    }
}

static void best_agrees_with_a_sort(void **state)
{
    (void)state;
    static float logits[N_VOCAB];
    static struct akv_logprob at[N_VOCAB];
    static struct twin t[N_VOCAB];
    struct rng rng = rng_seeded(2, 1);

    for (int round = 0; round < 300; round++) {
        uint32_t n = 1 + rng_below(&rng, N_VOCAB), k = 1 + rng_below(&rng, n + 3), kept = 0;
        struct candidates c = { .at = at };
        random_logits(&rng, logits, n, round % 2);
        for (uint32_t i = rng_below(&rng, 5); i < n; i += 1 + rng_below(&rng, 20))
            logits[i] = rng_below(&rng, 2) ? NAN : -INFINITY;

        candidates_best(&c, logits, n, k);
        for (uint32_t i = 0; i < n; i++)
            if (logits[i] > -INFINITY)
                t[kept++] = (struct twin){ .id = (int32_t)i, .key = -(double)logits[i] };
        qsort(t, kept, sizeof *t, by_key);
        expect_same(&c, t, kept < k ? kept : k);
    }
}

/* However small the share that a filter keeps, it keeps the most fitting. */
static void filters_leave_one(void **state)
{
    (void)state;
    const float logits[4] = { 1, 3, 3, 2 };
    struct akv_logprob at[4];
    struct candidates c = { .at = at };

    candidates_all(&c, logits, 4);
    candidates_keep_top_p(&c, 0);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.at[0].id, 1);
    candidates_all(&c, logits, 4);
    candidates_keep_min_p(&c, 1);
    assert_int_equal(c.n, 2);
    candidates_all(&c, logits, 4);
    candidates_keep_typical(&c, 0);
    assert_int_equal(c.n, 1);
}

/* ---- draws ---- */

/* Pearson's chi-square of `n_draw` picks; ids of probability 0 must not come at all. */
static double chi_square(struct sampler *s, const float *logits, const double *p, uint32_t n_draw)
{
    uint32_t seen[N_SMALL] = { 0 };
    double sum = 0;
    for (uint32_t i = 0; i < n_draw; i++)
        seen[pick(s, logits)]++;
    for (uint32_t i = 0; i < N_SMALL; i++) {
        double expected = p[i] * n_draw;
        if (p[i] == 0)
            assert_int_equal(seen[i], 0);
        else
            sum += (seen[i] - expected) * (seen[i] - expected) / expected;
    }
    return sum;
}

static void draws_follow_the_probabilities(void **state)
{
    (void)state;
    const float logits[N_SMALL] = { 0.5f, -1, 2, 0, 1.5f, -0.25f, 2, 1 };
    const float temperature[] = { 0.5f, 1, 2 };
    for (size_t k = 0; k < 3; k++) {
        double p[N_SMALL], total = 0;
        for (int i = 0; i < N_SMALL; i++)
            total += p[i] = exp((double)logits[i] / (double)temperature[k]);
        for (int i = 0; i < N_SMALL; i++)
            p[i] /= total;
        struct akv_sampling set = plain();
        set.temperature = temperature[k];
        set.seed = 7 + k;
        struct sampler *s = sampler_for(&set, N_SMALL);
        assert_true(chi_square(s, logits, p, 20000) <
                    24.32); // 99.9 % of fair ones, 7 degrees of freedom
        sampler_free(s);
    }
}

/* top_k 5 -> top_p 0.8 -> min_p 0.4 -> temperature 2, worked out by hand. */
static void the_chain_is_in_order(void **state)
{
    (void)state;
    const float logits[N_SMALL] = { logf(30), logf(1), logf(20), logf(2),
                                    logf(18), logf(3), logf(10), logf(16) };
    /* top_k: 30 20 18 16 10, in all 94; 0.8 of it is 75.2: 30 20 18 16; at least 0.4 * 30: all
     * four; and the temperature makes square roots of them. */
    double total = sqrt(30) + sqrt(20) + sqrt(18) + sqrt(16);
    double p[N_SMALL] = { sqrt(30) / total, 0, sqrt(20) / total, 0, sqrt(18) / total, 0, 0,
                          4 / total };
    struct akv_sampling set = plain();
    set.temperature = 2;
    set.top_k = 5;
    set.top_p = 0.8f;
    set.min_p = 0.4f;
    struct sampler *s = sampler_for(&set, N_SMALL);
    assert_true(chi_square(s, logits, p, 20000) < 16.27); // 3 degrees of freedom
    sampler_free(s);

    set.min_p = 0.55f; // at least 16.5: 30 20 18
    total = sqrt(30) + sqrt(20) + sqrt(18);
    double q[N_SMALL] = { sqrt(30) / total, 0, sqrt(20) / total, 0, sqrt(18) / total };
    s = sampler_for(&set, N_SMALL);
    assert_true(chi_square(s, logits, q, 20000) < 13.82); // 2 degrees of freedom
    sampler_free(s);
}

struct stored {
    struct akv_sampling set;
    int32_t id[12];
};

/* X1: these ids were drawn once and must be drawn by every machine. */
static void same_seed_same_ids_everywhere(void **state)
{
    (void)state;
    static const struct stored row[] = {
        { { 1, 0, 1, 0, 1, 1, 0, 0, 0, 42, NULL, NULL, 0 },
          { 839, 994, 723, 507, 116, 557, 294, 330, 53, 834, 452, 731 } },
        { { 0.8f, 40, 0.95f, 0.05f, 1, 1, 64, 0, 0, 0, NULL, NULL, 0 },
          { 438, 297, 947, 13, 116, 190, 946, 40, 806, 258, 858, 54 } },
        { { 1.5f, 0, 0.9f, 0, 0.7f, 1.1f, -1, 0.5f, 0.25f, UINT64_MAX, NULL, NULL, 0 },
          { 360, 613, 204, 89, 441, 914, 435, 8, 442, 533, 318, 54 } },
    };
    static float logits[N_VOCAB];
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        struct rng rng = rng_seeded(99, 3);
        struct sampler *s = sampler_for(&row[k].set, N_VOCAB);
        for (int i = 0; i < 12; i++) {
            random_logits(&rng, logits, N_VOCAB, false);
            int32_t id = pick(s, logits);
            assert_int_equal(id, row[k].id[i]);
            assert_int_equal(sampler_accept(s, id), OK);
        }
        sampler_free(s);
    }
}

static void another_seed_draws_other_ids(void **state)
{
    (void)state;
    static float logits[N_VOCAB]; // all equal: 1 in 10^12 that four draws agree
    struct akv_sampling set = plain();
    struct sampler *a = sampler_for(&set, N_VOCAB), *same = sampler_for(&set, N_VOCAB);
    set.seed = 1;
    struct sampler *b = sampler_for(&set, N_VOCAB);
    int differ = 0;
    for (int i = 0; i < 4; i++) {
        int32_t id = pick(a, logits);
        assert_int_equal(pick(same, logits), id);
        differ += pick(b, logits) != id;
    }
    assert_true(differ > 0);
    sampler_free(a);
    sampler_free(same);
    sampler_free(b);
}

/* ---- greedy, hostile logits, bans ---- */

static int32_t greedy_of(const float *logits, const int32_t *forbidden, uint32_t n_forbidden)
{
    struct akv_sampling set = plain();
    set.temperature = 0;
    struct sampler *s = sampler_for(&set, 4);
    int32_t id = sampler_pick(s, logits, forbidden, n_forbidden);
    sampler_free(s);
    return id;
}

static void greedy_takes_the_lower_of_equals(void **state)
{
    (void)state;
    const int32_t ban[] = { 1, 2 };
    assert_int_equal(greedy_of((float[]){ 1, 5, 5, 2 }, NULL, 0), 1);
    assert_int_equal(greedy_of((float[]){ 1, 5, 5, 2 }, ban, 1), 2);
    assert_int_equal(greedy_of((float[]){ 1, 5, 5, 2 }, ban, 2), 3);
    assert_int_equal(greedy_of((float[]){ NAN, -INFINITY, -3, NAN }, NULL, 0), 2);
    assert_int_equal(greedy_of((float[]){ 1, INFINITY, FLT_MAX, INFINITY }, NULL, 0), 1);
    assert_int_equal(greedy_of((float[]){ NAN, -INFINITY, NAN, NAN }, NULL, 0), -1);
    assert_int_equal(greedy_of((float[]){ NAN, 5, 5, NAN }, ban, 2), -1);
}

static void hostile_logits_are_never_drawn(void **state)
{
    (void)state;
    const float logits[N_SMALL] = { NAN, -INFINITY, 1, -FLT_MAX, NAN, 1, -1e30f, -INFINITY };
    const float endless[N_SMALL] = { NAN, INFINITY, 1, FLT_MAX / 2, 3, INFINITY, 0, -INFINITY };
    const double p[N_SMALL] = { 0, 0, 0.5, 0, 0, 0.5, 0, 0 };
    const double q[N_SMALL] = { 0, 0.5, 0, 0, 0, 0.5, 0, 0 };
    struct akv_sampling set = plain();
    for (int chain = 0; chain < 5; chain++) { // each filter alone, and none
        set.top_k = chain == 1 ? 3 : 0;
        set.typical_p = chain == 2 ? 0.99f : 1;
        set.top_p = chain == 3 ? 0.99f : 1;
        set.min_p = chain == 4 ? 0.1f : 0;
        struct sampler *s = sampler_for(&set, N_SMALL);
        assert_true(chi_square(s, logits, p, 2000) < 10.83); // 1 degree of freedom
        assert_true(chi_square(s, endless, q, 2000) < 10.83);
        sampler_free(s);
    }
}

static void a_row_without_candidates_draws_nothing(void **state)
{
    (void)state;
    const float logits[N_SMALL] = { NAN, -INFINITY, NAN, NAN, NAN, NAN, NAN, NAN };
    struct akv_sampling set = plain();
    set.top_p = 0.5f;
    struct sampler *s = sampler_for(&set, N_SMALL);
    assert_int_equal(pick(s, logits), -1);
    sampler_free(s);
}

static void bias_is_added_and_forbids(void **state)
{
    (void)state;
    const int32_t id[] = { 2, 0, 2 };
    const float bias[] = { 1.5f, -INFINITY, 1 };
    const float logits[4] = { 9, 2, 0, 2.25f };
    struct akv_sampling set = plain();
    set.temperature = 0;
    set.bias_id = id;
    set.bias = bias;
    set.n_bias = 3;
    struct sampler *s = sampler_for(&set, 4);
    assert_int_equal(pick(s, logits), 2); // 0 + 1.5 + 1
    sampler_free(s);
}

/* ---- penalties: greedy between token 0 and a rival shows where token 0's logit went ---- */

static float penalized(struct sampler *s, float logit)
{
    float low = -100, high = 100;
    for (int i = 0; i < 40; i++) { // ties go to token 0: the largest rival it still beats
        float rival = (low + high) / 2;
        if (pick(s, (float[]){ logit, rival, -200, -200 }) == 0)
            low = rival;
        else
            high = rival;
    }
    return low;
}

static void accept_all(struct sampler *s, const char *ids)
{
    for (; *ids != 0; ids++)
        assert_int_equal(sampler_accept(s, *ids - '0'), OK);
}

static void penalties_are_as_defined(void **state)
{
    (void)state;
    struct akv_sampling set = plain();
    set.temperature = 0;
    set.repeat_penalty = 2;
    struct sampler *s = sampler_for(&set, 4);
    assert_float_equal(penalized(s, 6), 6, 1e-5);
    accept_all(s, "0230"); // the rival, 1, is never seen
    assert_float_equal(penalized(s, 6), 3, 1e-5);
    assert_float_equal(penalized(s, -6), -12, 1e-5);
    sampler_free(s);

    set.repeat_penalty = 1;
    set.presence_penalty = 0.5f;
    set.frequency_penalty = 0.25f;
    s = sampler_for(&set, 4);
    accept_all(s, "0230030");
    assert_float_equal(penalized(s, 6), 6 - 0.5 - 4 * 0.25, 1e-5);
    assert_int_equal(sampler_accept(s, 4), BAD_INPUT);
    assert_int_equal(sampler_accept(s, -1), BAD_INPUT);
    sampler_free(s);
}

static void penalties_look_back_so_far(void **state)
{
    (void)state;
    struct akv_sampling set = plain();
    set.temperature = 0;
    set.frequency_penalty = 1;
    const struct {
        int32_t last_n;
        float left;
    } row[] = { { 3, 9 }, { 4, 8 }, { 7, 7 }, { 100, 7 }, { -1, 7 }, { 0, 10 } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        set.repeat_last_n = row[i].last_n;
        struct sampler *s = sampler_for(&set, 4);
        accept_all(s, "0220230");
        assert_float_equal(penalized(s, 10), row[i].left, 1e-5);
        sampler_free(s);
    }
}

/* The ring against a plain count of the last few, over a long run. */
static void window_agrees_with_a_plain_count(void **state)
{
    (void)state;
    enum { LONG = 500, LAST = 17 };
    struct rng rng = rng_seeded(5, 5);
    int32_t history[LONG];
    struct akv_sampling set = plain();
    set.temperature = 0;
    set.frequency_penalty = 1;
    set.repeat_last_n = LAST;
    struct sampler *s = sampler_for(&set, 4);
    for (int n = 0; n < LONG; n++) {
        history[n] = rng_below(&rng, 3) == 0 ? 0 : 2;
        assert_int_equal(sampler_accept(s, history[n]), OK);
        int seen = 0;
        for (int i = n < LAST ? 0 : n - LAST + 1; i <= n; i++)
            seen += history[i] == 0;
        assert_int_equal(pick(s, (float[]){ 30, 30.5f - (float)seen, 0, 0 }), 1);
        assert_int_equal(pick(s, (float[]){ 30, 29.5f - (float)seen, 0, 0 }), 0);
    }
    sampler_free(s);
}

/* ---- log-probabilities ---- */

static void logprobs_agree_with_libm(void **state)
{
    (void)state;
    static float logits[N_VOCAB];
    struct akv_logprob best[8];
    struct rng rng = rng_seeded(11, 1);
    random_logits(&rng, logits, N_VOCAB, true);
    double sum = 0;
    for (int i = 0; i < N_VOCAB; i++)
        sum += exp((double)logits[i]);
    double lse = logits_lse(logits, N_VOCAB);
    assert_true(fabs(lse - log(sum)) < 1e-12);

    logits_best(logits, N_VOCAB, lse, best, 8);
    for (int i = 0; i < 8; i++) {
        assert_float_equal(best[i].logprob, logits[best[i].id] - log(sum), 1e-6);
        if (i > 0 && best[i].logprob == best[i - 1].logprob)
            assert_true(best[i].id > best[i - 1].id);
        else if (i > 0)
            assert_true(best[i].logprob < best[i - 1].logprob);
    }
}

static void logprobs_of_hostile_rows(void **state)
{
    (void)state;
    struct akv_logprob best[3];
    const float few[4] = { -INFINITY, 1000, -INFINITY, 1000 };
    double lse = logits_lse(few, 4);
    assert_true(fabs(lse - (1000 + log(2))) < 1e-12);
    logits_best(few, 4, lse, best, 3);
    assert_int_equal(best[0].id, 1);
    assert_int_equal(best[1].id, 3);
    assert_int_equal(best[2].id, -1);
    assert_float_equal(best[0].logprob, -log(2), 1e-6);

    assert_true(isnan(logits_lse((float[]){ 1, NAN }, 2)));
    assert_true(isnan(logits_lse((float[]){ -INFINITY, -INFINITY }, 2)));
}

/* ---- parameters and memory ---- */

static void wrong_parameters_are_named(void **state)
{
    (void)state;
    const int32_t id[] = { 4 };
    const float bias[] = { NAN };
    struct akv_sampling wrong[12];
    const char *const words[12] = { "temperature is -1",
                                    "temperature is nan",
                                    "top_k is -1",
                                    "top_p is 1.5",
                                    "min_p is -0.5",
                                    "typical_p is 2",
                                    "repeat_penalty is 0",
                                    "repeat_last_n is -2",
                                    "presence_penalty is inf",
                                    "frequency_penalty is -101",
                                    "token 4; the vocabulary has 0 to 3",
                                    "token 4 is nan" };
    for (int i = 0; i < 12; i++)
        wrong[i] = plain();
    wrong[0].temperature = -1;
    wrong[1].temperature = NAN;
    wrong[2].top_k = -1;
    wrong[3].top_p = 1.5f;
    wrong[4].min_p = -0.5f;
    wrong[5].typical_p = 2;
    wrong[6].repeat_penalty = 0;
    wrong[7].repeat_last_n = -2;
    wrong[8].presence_penalty = INFINITY;
    wrong[9].frequency_penalty = -101;
    wrong[10].bias_id = wrong[11].bias_id = id;
    wrong[10].bias = wrong[11].bias = bias;
    wrong[10].n_bias = wrong[11].n_bias = 1;
    for (int i = 0; i < 12; i++) {
        struct sampler *s = (struct sampler *)&s;
        struct note why = { "" };
        assert_int_equal(sampler_new(&s, &wrong[i], i == 11 ? 5 : 4, &why), BAD_INPUT);
        assert_ptr_equal(s, &s); // untouched
        assert_non_null(strstr(why.text, words[i]));
    }
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    const int32_t id[] = { 1 };
    const float bias[] = { 1 };
    struct akv_sampling set = plain();
    set.presence_penalty = 1;
    set.bias_id = id;
    set.bias = bias;
    set.n_bias = 1;
    for (uint64_t k = 1;; k++) {
        struct sampler *s = NULL;
        struct note why = { "" };
        mem_fail_at(k);
        enum status st = sampler_new(&s, &set, 4, &why);
        mem_fail_at(0);
        if (st == OK) {
            assert_true(k > 6);
            sampler_free(s);
            return;
        }
        assert_int_equal(st, FULL);
        assert_null(s);
        assert_non_null(strstr(why.text, "no memory"));
    }
}

/* A pick allocates nothing, whatever is switched on. */
static void picks_allocate_nothing(void **state)
{
    (void)state;
    static float logits[N_VOCAB];
    struct akv_sampling set = plain();
    set.top_p = 0.9f;
    set.typical_p = 0.9f;
    set.repeat_penalty = 1.1f;
    struct sampler *s = sampler_for(&set, N_VOCAB);
    mem_fail_at(1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sampler_accept(s, pick(s, logits)), OK);
    assert_int_equal(mem_fail_count(), 0);
    mem_fail_at(0);
    sampler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_agree_with_twins),
        cmocka_unit_test(best_agrees_with_a_sort),
        cmocka_unit_test(filters_leave_one),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(the_chain_is_in_order),
        cmocka_unit_test(same_seed_same_ids_everywhere),
        cmocka_unit_test(another_seed_draws_other_ids),
        cmocka_unit_test(greedy_takes_the_lower_of_equals),
        cmocka_unit_test(hostile_logits_are_never_drawn),
        cmocka_unit_test(a_row_without_candidates_draws_nothing),
        cmocka_unit_test(bias_is_added_and_forbids),
        cmocka_unit_test(penalties_are_as_defined),
        cmocka_unit_test(penalties_look_back_so_far),
        cmocka_unit_test(window_agrees_with_a_plain_count),
        cmocka_unit_test(logprobs_agree_with_libm),
        cmocka_unit_test(logprobs_of_hostile_rows),
        cmocka_unit_test(wrong_parameters_are_named),
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(picks_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
