/* text/sentences: where they end, on the default model's tokens, however a text is cut, and on random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "model/vocab_load.h"
#include "support/small_vocab.h"
#include "text/sentences.h"

static struct vocab *vocab;

static int open_vocab(void **state)
{
    struct note why = { "" };
    struct gguf *g;
    (void)state;
    assert_int_equal(gguf_open(&g, "models/SmolLM2-135M-Instruct.Q4_1.gguf", &why), OK);
    assert_int_equal(model_vocab_load(&vocab, g, &why), OK);
    gguf_close(g);
    return 0;
}

static int close_vocab(void **state)
{
    (void)state;
    vocab_free(vocab);
    return 0;
}

/* The text with ~ where a sentence ended. */
static void mark(const struct vocab *v, enum sentence_rule rule, uint32_t longest, const char *text,
                 struct buf *out)
{
    struct ids ids = { 0 };
    struct sentences s;
    assert_int_equal(vocab_encode(v, text, strlen(text), VOCAB_SPECIAL, &ids, NULL), OK);
    sentences_open(&s, v, rule, longest);
    for (size_t i = 0; i < ids.n; i++) {
        const struct text_span piece = vocab_piece(v, ids.id[i], true);
        if (sentences_next(&s, ids.id[i]))
            buf_add_byte(out, '~');
        buf_add(out, piece.bytes, piece.len);
    }
    ids_close(&ids);
}

/* `want` without ~ is the text. */
static void expect(enum sentence_rule rule, uint32_t longest, const char *want)
{
    struct buf text = { 0 }, got = { 0 };
    for (const char *c = want; *c; c++)
        if (*c != '~')
            buf_add_byte(&text, *c);
    mark(vocab, rule, longest, buf_text(&text), &got);
    assert_string_equal(buf_text(&got), want);
    buf_close(&text);
    buf_close(&got);
}

static void text_ends_where_a_reader_would_end_it(void **state)
{
    (void)state;
    static const char *const text[] = {
        "One is here.~ Two is not!~ Is three?~ Four",
        "He said \"No.\"~ Then he left (at last).~ All was quiet...~ Very.",
        "Dr. Smith and Mrs. J. K. Jones met at St. Mary, U.S. and left.~ They had e.g. pie.~ Good",
        "It costs 3.14 or 2.5 of them.~ In 2024.~ He can't.~ I'm fine.",
        "See https://www.example.com/a.html?q=1&r=2.3 or mail a.b@c.org now.~ It works",
        "Call f.open(x.y) and a?b:c != d.~ Done",
        "First line\n~second line\n\n~third",
        "int main(void) {\n   ~ return a.b;\n}\n~ next",
        "Great!~ \xf0\x9f\x98\x80 is a face.~ So is \xf0\x9f\x98\x8e!~ Yes",
        "\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82~\xe5\x86\x8d\xe8\xa7\x81\xef\xbc\x81~\xe5\xa5\xbd",
        "no marks at all in this text",
        "<|im_start|>~user\n~Hi there.~<|im_end|>\n<|im_start|>~assistant\n",
        "",
    };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        expect(SENTENCES_AUTO, 100, text[i]);
}

static void other_rules_have_other_ends(void **state)
{
    (void)state;
    expect(SENTENCES_LINES, 100, "One. Two!\n~Three.\n\n~Four");
    expect(SENTENCES_STRICT, 100, "It is 3.~14 of them.~ \"No.\" He?~ Yes");
    expect(SENTENCES_FIXED, 3, "one two three~ four five six~ seven");
    expect(SENTENCES_AUTO, 1, "one~ two~ three");
}

/* From three quarters on at a comma, and at the latest when it is full. */
static void long_ones_are_cut(void **state)
{
    (void)state;
    expect(SENTENCES_AUTO, 8, "a, b c d e,~ f g h i j k l m~ n o p q.~ r");
    expect(SENTENCES_LINES, 4, "a b c d~ e f g h~ i");
}

/* A state copied after each token goes on as the other does; no sentence is too long. */
static void what_follows_changes_nothing(void **state)
{
    struct rng rng = rng_seeded(8, 8);
    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        const enum sentence_rule rule = (enum sentence_rule)rng_below(&rng, 4);
        const uint32_t longest = 1 + rng_below(&rng, 40);
        struct sentences s, t;
        uint32_t n = 0;
        sentences_open(&s, vocab, rule, longest);
        for (uint32_t i = 0; i < 300; i++) {
            const int32_t id = (int32_t)rng_below(&rng, i % 3 ? vocab_n_token(vocab) : 300);
            t = s;
            const bool ended = sentences_next(&s, id);
            assert_int_equal(sentences_next(&t, id), ended);
            n = ended ? 1 : n + 1;
            assert_true(n <= longest);
        }
    }
}

/* Characters in pieces of one byte each: an end is seen with the character that is whole. */
static void characters_may_come_in_bytes(void **state)
{
    static struct vocab_maker m;
    struct buf got = { 0 };
    (void)state;
    small_bpe(&m);
    struct vocab *v = maker_build(&m);
    mark(v, SENTENCES_AUTO, 100, "x\xe3\x80\x82y. z\xff\xe2\x80\x9d.", &got);
    assert_string_equal(buf_text(&got), "x\xe3\x80\x82~y. ~z\xff\xe2\x80\x9d.");
    buf_close(&got);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_ends_where_a_reader_would_end_it),
        cmocka_unit_test(other_rules_have_other_ends),
        cmocka_unit_test(long_ones_are_cut),
        cmocka_unit_test(what_follows_changes_nothing),
        cmocka_unit_test(characters_may_come_in_bytes),
    };
    return cmocka_run_group_tests(tests, open_vocab, close_vocab);
}
