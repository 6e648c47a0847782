/* Word pieces: what becomes of characters, where words end, the longest pieces, and what cannot be cut. Against another
 * program: golden/test_minilm.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "text/wordpiece.h"
#include "text/wordpiece_fold.h"

#define B "\xe2\x96\x81"

static const char *const spelling[] = {
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", B "un",           B "want", "want", "ed",
    B "a",   "a",     "b",     B ",",   B "\xe4\xb8\xad", B "e",    "e",    "x"
};
enum { N = sizeof spelling / sizeof *spelling };

static struct wordpiece *make(void)
{
    struct text_span span[N];
    struct wordpiece *w;
    struct note why = { "" };
    for (size_t i = 0; i < N; i++)
        span[i] = (struct text_span){ spelling[i], strlen(spelling[i]) };
    assert_int_equal(wordpiece_new(&w, span, N, &why), OK);
    return w;
}

/* `wanted`: the spellings, with a space between. */
static void expect(const char *text, size_t len, const char *wanted)
{
    struct wordpiece *w = make();
    struct ids ids = { 0 };
    struct buf got = { 0 };
    wordpiece_encode(w, text, len, &ids);
    for (size_t i = 0; i < ids.n; i++)
        buf_addf(&got, "%s%s", i ? " " : "", spelling[ids.id[i]]);
    assert_string_equal(buf_text(&got), wanted);
    buf_close(&got);
    ids_close(&ids);
    wordpiece_free(w);
}

static void expect_text(const char *text, const char *wanted)
{
    expect(text, strlen(text), wanted);
}

static void words_become_their_longest_pieces(void **state)
{
    (void)state;
    expect_text("", "");
    expect_text(" \t\n", "");
    expect_text("unwanted", B "un want ed");
    expect_text("UNwanted want", B "un want ed " B "want");
    expect_text("unwant,aab", B "un want " B ", " B "a a b");
    expect_text("a\xe4\xb8\xad"
                "a",
                B "a " B "\xe4\xb8\xad " B "a");
    expect_text("\xc3\x89", B "e"); /* a letter with its accent */
    expect_text("E\xcc\x81"
                "e",
                B "e e"); /* and an accent of its own */
    expect_text("a\xc2\xad"
                "b",
                B "a b"); /* a soft hyphen goes */
    expect_text("a\xe2\x80\x83"
                "a",
                B "a " B "a"); /* an em space ends a word */
    expect("a\0b", 3, B "a b");
}

static void a_word_that_cannot_be_cut_is_unknown(void **state)
{
    (void)state;
    char longest[102];
    expect_text("unz", "[UNK]");
    expect_text("z un b", "[UNK] " B "un [UNK]"); /* b begins no word */
    expect_text("[CLS]", "[UNK] [UNK] [UNK]");    /* no text gives a control token */
    memset(longest, 'x', sizeof longest);
    longest[0] = 'a';
    expect(longest, 101, "[UNK]");
    longest[100] = ' ';
    struct wordpiece *w = make();
    struct ids ids = { 0 };
    wordpiece_encode(w, longest, 101, &ids);
    assert_int_equal(ids.n, 100);
    ids_close(&ids);
    wordpiece_free(w);
}

static void bytes_that_are_no_text_are_passed_over(void **state)
{
    (void)state;
    expect("a\xff\xc3"
           "b",
           4, B "a b");
    expect("\xe4\xb8", 2, "");
}

static void characters_fold(void **state)
{
    (void)state;
    uint32_t to[FOLD_MAX];
    assert_int_equal(fold_char('Q', to), 1);
    assert_int_equal(to[0], 'q');
    assert_int_equal(fold_char(0x130, to), 1); /* a capital i with its dot */
    assert_int_equal(to[0], 'i');
    assert_int_equal(fold_char(0x301, to), 0);
    assert_int_equal(fold_char(0xfffd, to), 0);
    assert_int_equal(fold_char(7, to), 0);
    assert_int_equal(fold_char(0xac01, to), 3); /* a syllable of three letters */
    assert_true(to[0] == 0x1100 && to[1] == 0x1161 && to[2] == 0x11a8);
    assert_int_equal(fold_char(0xac00, to), 2);
    assert_int_equal(fold_char(0x2260, to), 1); /* the stroke of an unequal sign is a mark */
    assert_int_equal(to[0], '=');
    assert_int_equal(fold_char(0xe000, to), 0); /* of private use */
    assert_true(fold_is_punctuation(0x2014) && fold_is_punctuation('`') &&
                !fold_is_punctuation('0'));
    assert_true(fold_is_space(0x3000) && !fold_is_space(0x200b) && !fold_is_space('a'));
    assert_true(fold_is_ideograph(0x4e2d) && !fold_is_ideograph(0x3042));
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const struct text_span one = { "[UNK]", 5 };
    struct wordpiece *w = NULL;
    struct note why = { "" };
    enum status st = FULL;
    for (uint64_t k = 1; st != OK; k++) {
        mem_fail_at(k);
        st = wordpiece_new(&w, &one, 1, &why);
        mem_fail_at(0);
        assert_true(st == OK || st == FULL);
    }
    wordpiece_free(w);
    assert_int_equal(wordpiece_new(&w, &(struct text_span){ "x", 1 }, 1, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "[UNK]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_their_longest_pieces),
        cmocka_unit_test(a_word_that_cannot_be_cut_is_unknown),
        cmocka_unit_test(bytes_that_are_no_text_are_passed_over),
        cmocka_unit_test(characters_fold),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
