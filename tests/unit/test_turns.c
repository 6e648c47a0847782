/* turns: a conversation cut into what was said, chats by their end tokens, texts by their lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "support/small_vocab.h"
#include "text/turns.h"

static struct vocab_maker maker;
static struct vocab *vocab;

static int open_vocab(void **state)
{
    (void)state;
    small_bpe(&maker);
    vocab = maker_build(&maker);
    return 0;
}

static int close_vocab(void **state)
{
    (void)state;
    vocab_free(vocab);
    return 0;
}

static struct ids ids_of(const char *text)
{
    struct ids ids = { 0 };
    struct note why;
    assert_int_equal(vocab_encode(vocab, text, strlen(text), VOCAB_SPECIAL, &ids, &why), OK);
    return ids;
}

static void expect_turn(const struct ids *ids, const struct turns *t, uint32_t i, const char *text)
{
    struct buf got = { 0 };
    struct note why;
    assert_true(i < t->n);
    assert_int_equal(vocab_decode(vocab, ids->id + t->turn[i].first,
                                  t->turn[i].end - t->turn[i].first, true, &got, &why),
                     OK);
    assert_string_equal(buf_text(&got), text);
    buf_close(&got);
}

/* N1 */
static void expect_whole(const struct turns *t, size_t n)
{
    assert_true(t->n > 0);
    assert_int_equal(t->turn[0].first, 0);
    for (uint32_t i = 0; i + 1 < t->n; i++)
        assert_int_equal(t->turn[i].end, t->turn[i + 1].first);
    assert_int_equal(t->turn[t->n - 1].end, n);
}

static void a_chat_is_cut_at_its_end_tokens(void **state)
{
    (void)state;
    struct ids ids = ids_of("<|im_start|>user\nhello<|end|>\n<|im_start|>bot\nhello world"
                            "<|end|>\n<|im_start|>user\nand?<|end|>\n<|im_start|>bot\n");
    struct turns t;
    assert_int_equal(turns_cut(&t, vocab, ids.id, (uint32_t)ids.n, NULL), OK);
    expect_whole(&t, ids.n);
    assert_true(t.is_chat);
    assert_int_equal(t.n, 4);
    expect_turn(&ids, &t, 0, "<|im_start|>user\nhello<|end|>\n");
    expect_turn(&ids, &t, 1, "<|im_start|>bot\nhello world<|end|>\n");
    expect_turn(&ids, &t, 2, "<|im_start|>user\nand?<|end|>\n");
    expect_turn(&ids, &t, 3, "<|im_start|>bot\n");
    assert_int_equal(t.header, t.turn[3].first);
    const bool answers[] = { false, true, false, true };
    for (uint32_t i = 0; i < t.n; i++)
        assert_int_equal(t.turn[i].answers, answers[i]);
    turns_close(&t);
    ids_close(&ids);
}

static void a_text_is_cut_at_its_lines(void **state)
{
    (void)state;
    struct ids ids = ids_of("\nUser: hello\nBot: hello world\n\n\nUser: 1\n2");
    struct turns t;
    assert_int_equal(turns_cut(&t, vocab, ids.id, (uint32_t)ids.n, NULL), OK);
    expect_whole(&t, ids.n);
    assert_false(t.is_chat);
    assert_int_equal(t.header, ids.n);
    assert_int_equal(t.n, 4);
    expect_turn(&ids, &t, 0, "\nUser: hello\n");
    expect_turn(&ids, &t, 1, "Bot: hello world\n");
    expect_turn(&ids, &t, 2, "\n\nUser: 1\n");
    expect_turn(&ids, &t, 3, "2");
    turns_close(&t);
    ids_close(&ids);
}

static void a_long_speech_is_cut_behind_sentences(void **state)
{
    (void)state;
    struct buf text = { 0 };
    for (int i = 0; i < 40; i++)
        buf_add_text(&text, "hello hello hello. ");
    buf_add_text(&text, "\nEnd");
    struct ids ids = ids_of(buf_text(&text));
    struct turns t;
    assert_int_equal(turns_cut(&t, vocab, ids.id, (uint32_t)ids.n, NULL), OK);
    expect_whole(&t, ids.n);
    assert_true(t.n > 3);
    for (uint32_t i = 0; i + 1 < t.n; i++) {
        assert_int_equal(t.turn[i].speech, 0);
        assert_true(t.turn[i].end - t.turn[i].first <= TURN_LONG + TURN_LONG / 4);
    }
    assert_int_equal(t.turn[t.n - 1].speech, 1);
    turns_close(&t);
    ids_close(&ids);
    buf_close(&text);
}

static void one_word_is_a_turn(void **state)
{
    (void)state;
    for (const char *const *text = (const char *const[]){ "hello", "\n", "<|end|>", NULL }; *text;
         text++) {
        struct ids ids = ids_of(*text);
        struct turns t;
        assert_int_equal(turns_cut(&t, vocab, ids.id, (uint32_t)ids.n, NULL), OK);
        expect_whole(&t, ids.n);
        assert_int_equal(t.n, 1);
        turns_close(&t);
        ids_close(&ids);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chat_is_cut_at_its_end_tokens),
        cmocka_unit_test(a_text_is_cut_at_its_lines),
        cmocka_unit_test(a_long_speech_is_cut_behind_sentences),
        cmocka_unit_test(one_word_is_a_turn),
    };
    return cmocka_run_group_tests(tests, open_vocab, close_vocab);
}
