/* kernels.h: which tables run here, and what is said about those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kernels/kernels.h"
#include "kernels/tables.h"

static void ref_always_runs(void **state)
{
    (void)state;
    const struct kernels *k[8], *one;
    uint32_t n = kernels_available(k, 8);
    assert_true(n >= 1 && n <= 4);
    assert_ptr_equal(k[0], &kernels_ref);
    assert_int_equal(kernels_available(&one, 1), 1);
    assert_ptr_equal(one, &kernels_ref);
}

static void every_available_one_can_be_named(void **state)
{
    (void)state;
    const struct kernels *k[8], *out;
    uint32_t n = kernels_available(k, 8);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(kernels_select(&out, k[i]->name, NULL), OK);
        assert_ptr_equal(out, k[i]);
    }
    assert_int_equal(kernels_select(&out, "auto", NULL), OK);
    assert_ptr_equal(out, k[n - 1]);
}

/* Also in those that this machine cannot run. */
static void no_table_has_a_hole(void **state)
{
    (void)state;
    enum { FIRST = offsetof(struct kernels, quantise) };
    const struct kernels *all[] = { &kernels_ref, &kernels_avx2, &kernels_avx512, &kernels_amx };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *functions[(sizeof *all[i] - FIRST) / sizeof(void *)];
        memcpy(functions, (const char *)all[i] + FIRST, sizeof functions);
        for (size_t f = 0; f < sizeof functions / sizeof *functions; f++)
            assert_non_null(functions[f]);
    }
}

static void a_wrong_name_is_told_the_right_ones(void **state)
{
    (void)state;
    const struct kernels *out = NULL;
    struct note why = { "" };
    assert_int_equal(kernels_select(&out, "sse9", &why), BAD_INPUT);
    assert_null(out);
    assert_non_null(strstr(why.text, "'sse9'"));
    assert_non_null(strstr(why.text, "auto ref"));
}

static void a_missing_set_is_told_what_it_lacks(void **state)
{
    (void)state;
    const struct kernels *k[8], *out = NULL;
    struct note why = { "" };
    if (kernels_available(k, 8) == 4)
        skip();
    assert_int_equal(kernels_select(&out, "amx", &why), BAD_INPUT);
    assert_null(out);
    assert_non_null(strstr(why.text, "lacks"));
}

static void describe_fits_where_it_is_put(void **state)
{
    (void)state;
    char text[160], small[8];
    assert_ptr_equal(kernels_describe(&kernels_ref, text, sizeof text), text);
    assert_true(strncmp(text, "ref (", 5) == 0 && text[strlen(text) - 1] == ')');
    kernels_describe(&kernels_ref, small, sizeof small);
    assert_int_equal(strlen(small), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_always_runs),
        cmocka_unit_test(every_available_one_can_be_named),
        cmocka_unit_test(no_table_has_a_hole),
        cmocka_unit_test(a_wrong_name_is_told_the_right_ones),
        cmocka_unit_test(a_missing_set_is_told_what_it_lacks),
        cmocka_unit_test(describe_fits_where_it_is_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
