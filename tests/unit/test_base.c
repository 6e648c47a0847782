/* base: memory that runs out, sizes that overflow, text that is cut or is no text, known numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/note.h"
#include "base/rng.h"
#include "base/utf8.h"

/* ---- arena ---- */

static bool is_zero(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

static void an_arena_gives_zeroed_aligned_objects(void **state)
{
    (void)state;
    struct arena a = { 0 };
    char *last = NULL;
    for (size_t n = 1; n <= 300000; n = n * 3 + 1) { // more than one chunk
        char *p = arena_new(&a, n, 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_true(is_zero(p, n));
        assert_ptr_not_equal(p, last);
        memset(p, 0xee, n);
        last = p;
    }
    assert_string_equal(arena_copy_text(&a, "a word and more", 6), "a word");
    assert_string_equal(arena_copy_text(&a, NULL, 0), "");
    for (int round = 0; round < 3; round++) { // cleared: the same memory, zero again
        arena_clear(&a);
        const size_t held = a.bytes_held;
        char *p = arena_new(&a, 1, 100000);
        assert_true(is_zero(p, 100000));
        memset(p, 0xee, 100000);
        assert_int_equal(a.bytes_held, held);
    }
    arena_close(&a);
    arena_clear(&a);
    assert_int_equal(a.bytes_held, 0);
    arena_close(&a);
}

static void an_arena_refuses_what_it_cannot_hold(void **state)
{
    (void)state;
    struct arena a;
    arena_open(&a, 100000);
    assert_null(arena_new(&a, SIZE_MAX, 2));
    assert_null(arena_new(&a, SIZE_MAX, 1));
    assert_null(arena_new(&a, 100001, 1));
    assert_non_null(arena_new(&a, 60000, 1));
    assert_null(arena_new(&a, 60000, 1));
    assert_non_null(arena_new(&a, 1000, 1)); // what is left is still good
    assert_true(a.bytes_held <= 100000);
    arena_close(&a);

    arena_open(&a, 0);
    mem_fail_at(1);
    assert_null(arena_new(&a, 1, 1));
    mem_fail_at(0);
    assert_non_null(arena_new(&a, 1, 1));
    arena_close(&a);
}

/* ---- mem ---- */

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    char *p = mem_new(3, 5);
    assert_true(is_zero(p, 15));
    assert_null(mem_new(SIZE_MAX / 2, 3));
    assert_null(mem_new_aligned(SIZE_MAX / 2, 3, 64));
    strcpy(p, "kept");
    assert_null(mem_resize(p, SIZE_MAX / 2, 3));
    assert_string_equal(p, "kept");
    mem_free(p);
    mem_free(mem_new(0, 8)); // a pointer like others
    mem_free(NULL);
}

/* ---- buf and ids ---- */

static void a_buf_that_failed_stays_so(void **state)
{
    (void)state;
    struct buf b = { 0 };
    assert_string_equal(buf_text(&b), "");
    buf_addf(&b, "%s %d", "seven is", 7);
    buf_add_byte(&b, '.');
    assert_string_equal(b.bytes, "seven is 7.");
    mem_fail_at(1);
    for (int i = 0; i < 10000 && !b.failed; i++)
        buf_add_text(&b, "more and more ");
    mem_fail_at(0);
    assert_true(b.failed);
    assert_int_equal(b.bytes[b.len], 0);
    assert_int_equal(strlen(b.bytes), b.len);
    size_t len = b.len;
    buf_add_text(&b, "x");
    assert_int_equal(b.len, len);
    buf_clear(&b);
    buf_add_text(&b, "x");
    assert_false(b.failed);
    assert_string_equal(b.bytes, "x");
    buf_close(&b);
}

/* vsnprintf cannot print what has no encoding, nor more than INT_MAX bytes: never silently. */
static void what_cannot_be_printed_fails(void **state)
{
    (void)state;
    struct buf b = { 0 };
    const wchar_t none[] = { 0x7fffffff, 0 };
    buf_addf(&b, "%ls", none);
    assert_true(b.failed);
    buf_close(&b);
}

static void json_text_is_one_line_of_valid_utf8(void **state)
{
    (void)state;
    struct buf b = { 0 };
    const char text[] = "a\"\\\n\t\0\x7f\xc2\x85\xe2\x80\xa8\xff\xc3(\xf0\x9f\x98\x80";
    struct note why = { "" };
    json_t *back;
    buf_add_json_text(&b, text, sizeof text - 1);
    assert_string_equal(b.bytes, "\"a\\\"\\\\\\n\\u0009\\u0000\\u007f\\u0085\\u2028\\ufffd\\ufffd("
                                 "\xf0\x9f\x98\x80\"");
    assert_int_equal(json_from_text(&back, b.bytes, b.len, &why), OK);
    json_decref(back);
    buf_close(&b);
}

static void ids_grow_and_fail(void **state)
{
    (void)state;
    struct ids v = { 0 };
    const int32_t some[] = { 5, -1, 7 };
    for (int32_t i = 0; i < 1000; i++)
        ids_add(&v, i);
    ids_add_all(&v, some, 3);
    assert_int_equal(v.n, 1003);
    assert_int_equal(v.id[999], 999);
    assert_int_equal(v.id[1001], -1);
    mem_fail_at(1);
    for (int32_t i = 0; i < 1000; i++)
        ids_add(&v, i);
    mem_fail_at(0);
    assert_true(v.failed);
    assert_int_equal(v.n, 1024);
    ids_close(&v);
}

/* ---- note ---- */

static void notes_are_cut_not_overrun(void **state)
{
    (void)state;
    struct note why;
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    errno = ENOENT;
    note_set(&why, "cannot open '%s': %m", "f");
    assert_string_equal(why.text, "cannot open 'f': No such file or directory");
    note_prefix(&why, "part %d", 2);
    assert_string_equal(why.text, "part 2: cannot open 'f': No such file or directory");
    note_set(&why, "%s", longer);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    note_prefix(&why, "part %d", 2);
    assert_int_equal(strncmp(why.text, "part 2: xxx", 11), 0);
    assert_true(strlen(why.text) < sizeof why.text);
    note_prefix(&why, "%s", longer);
    assert_true(strlen(why.text) < sizeof why.text);
    note_set(NULL, "nobody reads this");
    note_prefix(NULL, "nor this");
}

/* ---- utf8 ---- */

static void only_shortest_forms_of_scalar_values_are_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len, read;
        uint32_t c;
    } cases[] = {
        { "A", 1, 1, 'A' },
        { "\0", 1, 1, 0 },
        { "\x7f", 1, 1, 0x7f },
        { "\xc2\x80", 2, 2, 0x80 },
        { "\xdf\xbf", 2, 2, 0x7ff },
        { "\xe0\xa0\x80", 3, 3, 0x800 },
        { "\xed\x9f\xbf", 3, 3, 0xd7ff },
        { "\xee\x80\x80", 3, 3, 0xe000 },
        { "\xef\xbf\xbf", 3, 3, 0xffff },
        { "\xf0\x90\x80\x80", 4, 4, 0x10000 },
        { "\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff },
        { "", 0, 0, 0 },         // nothing
        { "\x80", 1, 0, 0 },     // a tail alone
        { "\xc0\x80", 2, 0, 0 }, // longer than need be
        { "\xc1\xbf", 2, 0, 0 },
        { "\xe0\x9f\xbf", 3, 0, 0 },
        { "\xf0\x8f\xbf\xbf", 4, 0, 0 },
        { "\xed\xa0\x80", 3, 0, 0 }, // surrogates
        { "\xed\xbf\xbf", 3, 0, 0 },
        { "\xf4\x90\x80\x80", 4, 0, 0 }, // above U+10FFFF
        { "\xf8\x88\x80\x80", 4, 0, 0 },
        { "\xff", 1, 0, 0 },
        { "\xc2", 1, 0, 0 }, // cut
        { "\xe2\x82", 2, 0, 0 },
        { "\xf0\x9f\x98", 3, 0, 0 },
        { "\xe2(\xa1", 3, 0, 0 }, // a tail that is none
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t c = 0;
        char back[4];
        assert_int_equal(utf8_read(cases[i].bytes, cases[i].len, &c), cases[i].read);
        assert_int_equal(utf8_valid(cases[i].bytes, cases[i].len), cases[i].read == cases[i].len);
        if (cases[i].read == 0)
            continue;
        assert_int_equal(c, cases[i].c);
        assert_int_equal(utf8_write(c, back), cases[i].len);
        assert_memory_equal(back, cases[i].bytes, cases[i].len);
    }
}

static void a_character_may_still_arrive(void **state)
{
    (void)state;
    assert_int_equal(utf8_complete("ab\xe2\x82\xac", 5), 5);
    assert_int_equal(utf8_complete("ab\xe2\x82", 4), 2);
    assert_int_equal(utf8_complete("ab\xe2", 3), 2);
    assert_int_equal(utf8_complete("ab\xf0\x9f\x98", 5), 2);
    assert_int_equal(utf8_complete("ab\xff", 3), 3); // nothing will make it one
    assert_int_equal(utf8_complete("\xed\xa0", 2), 2);
    assert_int_equal(utf8_complete("", 0), 0);
}

/* ---- rng and hash ---- */

/* The first numbers that the paper's own program prints for pcg32_srandom(42, 54). */
static void pcg32_is_pcg32(void **state)
{
    (void)state;
    static const uint32_t want[] = { 0xa15c02b7, 0x7b47f409, 0xba1d3330,
                                     0x83d2f293, 0xbfa4784b, 0xcbed606e };
    struct rng r = rng_seeded(42, 54);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(rng_u32(&r), want[i]);
}

static void random_numbers_keep_their_bounds(void **state)
{
    (void)state;
    struct rng r = rng_seeded(1, 1);
    uint32_t seen[7] = { 0 };
    for (int i = 0; i < 70000; i++) {
        seen[rng_below(&r, 7)]++;
        double x = rng_unit(&r);
        assert_true(x >= 0 && x < 1);
    }
    for (int i = 0; i < 7; i++) // 10,000 each; 6 standard deviations
        assert_true(seen[i] > 9440 && seen[i] < 10560);
    assert_int_equal(rng_below(&r, 1), 0);
    assert_true(rng_below(&r, UINT32_MAX) < UINT32_MAX);
}

static void each_byte_and_the_length_change_a_hash(void **state)
{
    (void)state;
    unsigned char text[40] = { 0 };
    for (size_t len = 0; len <= sizeof text; len++) {
        uint64_t h = hash_bytes(1, text, len);
        assert_int_equal(h, hash_bytes(1, text, len));
        assert_int_not_equal(h, hash_bytes(2, text, len));
        for (size_t i = 0; i < len; i++) {
            text[i] ^= 0x10;
            assert_int_not_equal(h, hash_bytes(1, text, len));
            text[i] ^= 0x10;
        }
        if (len)
            assert_int_not_equal(h, hash_bytes(1, text, len - 1));
        assert_true(hash_place(h, 10) < 10);
    }
    assert_int_equal(hash_seed(), hash_seed());
    assert_int_equal(hash_place(UINT64_MAX, 7), 6);
}

/* ---- json ---- */

static void json_is_strict_and_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        { "", "column" },
        { "{\"a\":1,\"a\":2}", "duplicate" },
        { "[1,]", "column 4" },
        { "1 2", "column" },
        { "[\n01]", "line 2" },
        { "\"\xff\"", "column" },
        { "\"\\ud800\"", "column" },
        { "NaN", "column" },
    };
    json_t *value = NULL;
    struct note why;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].text;
        assert_int_equal(json_from_text(&value, text, strlen(text), &why), BAD_INPUT);
        assert_null(value);
        if (!strstr(why.text, cases[i].word))
            fail_msg("'%s' is not in the note '%s'", cases[i].word, why.text);
    }
    char deep[5000];
    memset(deep, '[', sizeof deep);
    assert_int_equal(json_from_text(&value, deep, sizeof deep, &why), BAD_INPUT);
    assert_int_equal(json_from_text(&value, "\"a\\u0000b\"", 10, &why), OK);
    assert_int_equal(json_string_length(value), 3);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arena_gives_zeroed_aligned_objects),
        cmocka_unit_test(an_arena_refuses_what_it_cannot_hold),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(a_buf_that_failed_stays_so),
        cmocka_unit_test(what_cannot_be_printed_fails),
        cmocka_unit_test(json_text_is_one_line_of_valid_utf8),
        cmocka_unit_test(ids_grow_and_fail),
        cmocka_unit_test(notes_are_cut_not_overrun),
        cmocka_unit_test(only_shortest_forms_of_scalar_values_are_utf8),
        cmocka_unit_test(a_character_may_still_arrive),
        cmocka_unit_test(pcg32_is_pcg32),
        cmocka_unit_test(random_numbers_keep_their_bounds),
        cmocka_unit_test(each_byte_and_the_length_change_a_hash),
        cmocka_unit_test(json_is_strict_and_says_where),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
