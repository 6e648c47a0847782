/* Profiles of a tiny model: the same twice, and keys of the first layer, which no attention reaches, never change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

static void layers_change_with_what_they_read(void **state)
{
    (void)state;
    struct still s;
    struct kv_shares a, b;
    still_open(&s, "llama");
    measure(&s, &a);
    measure(&s, &b);
    assert_memory_equal(a.change, b.change, a.n_layer * sizeof *a.change);
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
