/* Safetensors files: a right one, and every way of being wrong that a header has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bin/safetensors.h"

enum { ROOM = 1024 };

/* Header and `n_data` bytes behind it. Answers how many there are. */
static size_t build(char *out, const char *header, size_t n_data)
{
    const uint64_t n = strlen(header);
    memcpy(out, &n, sizeof n);
    memcpy(out + sizeof n, header, n);
    for (size_t i = 0; i < n_data; i++)
        out[sizeof n + n + i] = (char)i;
    return sizeof n + n + n_data;
}

#define ENTRY(dtype, shape, at)                                                                    \
    "{\"__metadata__\": {\"format\": \"pt\"}, \"w\": {\"dtype\": \"" dtype "\", \"shape\": " shape \
    ", \"data_offsets\": " at "}}"

static enum status find(const char *header, size_t n_data, uint32_t n_row, uint32_t n,
                        const void **data, struct note *why)
{
    static char bytes[ROOM];
    struct safetensors s;
    enum status st = safetensors_open(&s, bytes, build(bytes, header, n_data), why);
    if (st != OK)
        return st;
    st = safetensors_find(&s, "w", n_row, n, data, why);
    safetensors_close(&s);
    return st;
}

static void a_tensor_is_found(void **state)
{
    (void)state;
    const void *data;
    struct note why = { "" };
    assert_int_equal(find(ENTRY("F32", "[2, 3]", "[8, 32]"), 40, 2, 3, &data, &why), OK);
    assert_int_equal(*(const char *)data, 8);
    assert_int_equal(find(ENTRY("F32", "[5]", "[0, 20]"), 20, 0, 5, &data, &why), OK);
    assert_int_equal(*(const char *)data, 0);
}

static void wrong_ones_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        ENTRY("F16", "[2, 3]", "[0, 24]"),
        ENTRY("F32", "[3, 2]", "[0, 24]"),
        ENTRY("F32", "[6]", "[0, 24]"),
        ENTRY("F32", "[1, 2, 3]", "[0, 24]"),
        ENTRY("F32", "6", "[0, 24]"),
        ENTRY("F32", "[2, 3]", "[0, 20]"),
        ENTRY("F32", "[2, 3]", "[16, 40]"),
        ENTRY("F32", "[2, 3]", "[-24, 0]"),
        ENTRY("F32", "[2, 3]", "[24, 0]"),
        ENTRY("F32", "[2, 3]", "[0]"),
        ENTRY("F32", "[2, 3]", "\"0\""),
        "{\"v\": {}}",
        "{\"w\": []}",
        "[]",
        "{\"w\": {\"dtype\": 4}}",
        "{",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const void *data = NULL;
        struct note why = { "" };
        assert_int_equal(find(wrong[i], 32, 2, 3, &data, &why), BAD_INPUT);
        assert_true(why.text[0] && !data);
    }
}

static void a_header_that_is_not_there_is_refused(void **state)
{
    (void)state;
    char bytes[ROOM];
    struct safetensors s;
    struct note why = { "" };
    const size_t len = build(bytes, "{}", 0);
    assert_int_equal(safetensors_open(&s, bytes, 7, &why), BAD_INPUT);
    assert_int_equal(safetensors_open(&s, bytes, len - 1, &why), BAD_INPUT);
    memset(bytes, 0xff, 8);
    assert_int_equal(safetensors_open(&s, bytes, len, &why), BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_is_found),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(a_header_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
