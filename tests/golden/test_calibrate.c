/* Profiles of a tiny model: the same twice, and keys of the first layer, which no attention reaches, never change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/calibrate.h"
#include "support/still.h"

enum { TEXT = 1500 };

static void measure(struct still *s, struct kv_shares *out)
{
    static char text[TEXT];
    const struct calibration_text of = { text, TEXT };
    struct kv_shape shape;
    struct note why = { "" };
    for (uint32_t i = 0; i < TEXT; i++)
        text[i] = i % 7 ? (char)('a' + i * i % 23) : ' ';
    hparams_kv_shape(model_hparams(s->model), KV_F16, &shape);
    const struct kv_group *g = &shape.group[kv_whole_group(&shape)];
    assert_int_equal(kv_shares_open(out, g->n_layer, g->n_kv_head), OK);
    if (calibrate(out, s->model, s->vocab, KV_F16, &of, &why) != OK)
        fail_msg("%s", why.text);
    kv_shares_mean(out, 1);
}

static double mean(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum / (double)n;
}

static void layers_change_with_what_they_read(void **state)
{
    (void)state;
    struct still s;
    struct kv_shares a, b;
    still_open(&s, "llama");
    measure(&s, &a);
    measure(&s, &b);
    assert_memory_equal(a.change, b.change, a.n_layer * sizeof *a.change);
    assert_true(kv_shares_has_follow(&a));
    for (uint32_t i = 0; i < KV_SHARES_BUDGETS; i++) {
        const size_t n = (size_t)a.n_layer * a.n_kv_head;
        assert_memory_equal(a.share[i], b.share[i], n * sizeof *a.share[i]);
        assert_memory_equal(a.follow[i], b.follow[i], n * sizeof *a.follow[i]);
        assert_true(fabs(mean(a.follow[i], n) - 1) < 0.02 && fabs(mean(a.share[i], n) - 1) < 0.02);
    }
    assert_true(a.change[0] < 1e-6f && a.change[0] > -1e-6f);
    for (uint32_t l = 1; l < a.n_layer; l++) {
        print_message("layer %u: %g\n", l, (double)a.change[l]);
        assert_true(a.change[l] > 1e-6f && a.change[l] < 1);
    }
    kv_shares_close(&a);
    kv_shares_close(&b);
    still_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_change_with_what_they_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
