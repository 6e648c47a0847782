/* vocab: small vocabularies whose tokens can be worked out by hand; what is refused and why; spans;
 * decoding whole and as a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "support/small_vocab.h"

static struct vocab_maker maker;

static int make_bpe(void **state)
{
    small_bpe(&maker);
    *state = maker_build(&maker);
    return 0;
}

static int make_spm(void **state)
{
    small_spm(&maker);
    *state = maker_build(&maker);
    return 0;
}

static int unmake(void **state)
{
    vocab_free(*state);
    return 0;
}

/* The names of the ids, with '|' between. */
static const char *spell(const struct ids *ids)
{
    static char text[1024];
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i < ids->n; i++) {
        struct text_span name = maker.token[ids->id[i]];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", i ? "|" : "", (int)name.len,
                              name.bytes);
    }
    return text;
}

static void expect_bytes(const struct vocab *v, const char *text, size_t len, unsigned flags,
                         const char *names)
{
    struct ids ids = { 0 };
    struct note why = { "" };
    assert_int_equal(vocab_encode(v, text, len, flags, &ids, &why), OK);
    assert_string_equal(spell(&ids), names);
    ids_close(&ids);
}

static void expect(const struct vocab *v, const char *text, unsigned flags, const char *names)
{
    expect_bytes(v, text, strlen(text), flags, names);
}

/* ---- BPE ---- */

static void bpe_merges_by_rank(void **state)
{
    expect(*state, "", 0, "");
    expect(*state, "hello", 0, "hello");
    expect(*state, "helo", 0, "he|l|o");
    expect(*state, "hell", 0, "hell");
    expect(*state, "lll", 0, "ll|l"); // the leftmost of equals
    expect(*state, "hello world", 0, "hello|\u0120world");
    expect(*state, "  x", 0, "\u0120|\u0120|x"); // two words
    expect(*state, "   x", 0, "\u0120\u0120|\u0120|x");
    expect(*state, "aaaaaaa", 0, "aaaa|aa|a");
    expect(*state, "1212", 0, "12|12");
}

static void bpe_keeps_any_bytes(void **state)
{
    expect_bytes(*state, "h\0e", 3, 0, "h|\u0100|e");
    expect_bytes(*state, "he\xff\xfel", 5, 0, "he|\u00ff|\u00fe|l");
    expect_bytes(*state, "\xc3", 1, 0, "\u00c3");
    expect_bytes(*state, "\u00e9", 2, 0, "\u00c3|\u00a9");
}

static void bpe_drops_bytes_it_lacks(void **state)
{
    (void)state;
    maker_open(&maker, VOCAB_BPE);
    maker_token(&maker, "a", TOKEN_NORMAL, 0);
    maker_token(&maker, "b", TOKEN_CONTROL, 0);
    maker_merge(&maker, "a a");
    struct vocab *v = maker_build(&maker);
    expect(v, "axaab", 0, "a|aa");
    vocab_free(v);
}

static void bpe_takes_whole_words_if_told(void **state)
{
    (void)state;
    small_bpe(&maker);
    maker_token(&maker, "\u0120odd", TOKEN_NORMAL, 0); // no merge gives it
    struct vocab *v = maker_build(&maker);
    expect(v, "an odd", 0, "a|n|\u0120|o|d|d");
    vocab_free(v);

    maker.src.ignore_merges = true;
    v = maker_build(&maker);
    expect(v, "an odd", 0, "a|n|\u0120odd");
    expect(v, "<unk>", 0, "<|u|n|k|>");
    vocab_free(v);

    maker.src.ignore_merges = false;
    maker.src.pre = "llama3"; // has it from the table
    v = maker_build(&maker);
    expect(v, "an odd", 0, "a|n|\u0120odd");
    vocab_free(v);
}

static void special_tokens_need_the_flag(void **state)
{
    expect(*state, "<|im_start|>h", VOCAB_SPECIAL, "<|im_start|>|h");
    expect(*state, "<<>>", 0, "<<|>>"); // the merge that would make it is left out: V1
    expect(*state, "<<>>", VOCAB_SPECIAL, "<<>>");
    expect(*state, "<unk>", 0, "<|u|n|k|>");
    expect(*state, "<unk>", VOCAB_SPECIAL, "<unk>");
    expect(*state, "<tool>", 0, "<tool>"); // user-defined: always
    expect(*state, "<tool><x><tool>", 0, "<tool><x>|<tool>");
}

static void longer_special_tokens_go_first(void **state)
{
    expect(*state, "abc", 0, "ab|c");
    expect(*state, "abcd", 0, "a|bcd"); // not ab|c|d, though ab is further left
    expect(*state, "ababcdab", 0, "ab|a|bcd|ab");
    expect(*state, " ab cd", 0, "\u0120|ab|\u0120|c|d");
}

static void bos_and_eos_are_habits(void **state)
{
    (void)state;
    small_bpe(&maker);
    maker.src.add_bos = maker.src.add_eos = true;
    struct vocab *v = maker_build(&maker);
    assert_true(vocab_adds_bos(v));
    expect(v, "he", 0, "he");
    expect(v, "he", VOCAB_BOS, "<|im_start|>|he");
    expect(v, "", VOCAB_BOS | VOCAB_EOS, "<|im_start|>|<|end|>");
    expect(v, "<|im_start|>he", VOCAB_BOS | VOCAB_SPECIAL, "<|im_start|>|<|im_start|>|he");
    vocab_free(v);
    small_bpe(&maker);
    v = maker_build(&maker);
    expect(v, "he", VOCAB_BOS | VOCAB_EOS, "he");
    vocab_free(v);
}

/* ---- spans ---- */

#define TRUSTED(text)                                                                              \
    {                                                                                              \
        text, sizeof text - 1, true                                                                \
    }
#define USER(text)                                                                                 \
    {                                                                                              \
        text, sizeof text - 1, false                                                               \
    }
#define EXPECT_SPANS(v, bos, names, ...)                                                           \
    expect_spans(v, bos, names, (const struct vocab_span[]){ __VA_ARGS__ },                        \
                 sizeof((const struct vocab_span[]){ __VA_ARGS__ }) / sizeof(struct vocab_span))

static void expect_spans(const struct vocab *v, bool bos, const char *names,
                         const struct vocab_span *span, size_t n)
{
    struct ids ids = { 0 };
    struct note why = { "" };
    assert_int_equal(vocab_encode_spans(v, span, n, bos, &ids, &why), OK);
    assert_string_equal(spell(&ids), names);
    ids_close(&ids);
}

static void users_cannot_name_control_tokens(void **state)
{
    EXPECT_SPANS(*state, false, "<|im_start|>|he|<|end|>", TRUSTED("<|im_start|>"), USER("he"),
                 TRUSTED("<|end|>"));
    EXPECT_SPANS(*state, false, "<|im_start|>|<<|>>|<|end|>", TRUSTED("<|im_start|>"), USER("<<>>"),
                 TRUSTED("<|end|>"));
    // half of it from the user is not trusted either
    EXPECT_SPANS(*state, false, "<<|>>", TRUSTED("<<>"), USER(">"));
    EXPECT_SPANS(*state, false, "<<|>>", USER("<"), TRUSTED("<>>"));
    EXPECT_SPANS(*state, false, "<<|>>", TRUSTED("<"), USER("<"), TRUSTED(">>"));
}

static void spans_are_one_text(void **state)
{
    EXPECT_SPANS(*state, false, "hello|\u0120world", USER("hel"), TRUSTED("lo w"), USER("orld"));
    EXPECT_SPANS(*state, false, "<tool>", USER("<to"), TRUSTED("ol>"));
    EXPECT_SPANS(*state, false, "<|end|>|he", TRUSTED("<|en"), USER(""), TRUSTED("d|>h"),
                 USER("e"));
    expect_spans(*state, false, "", NULL, 0);
    EXPECT_SPANS(*state, false, "", USER(""), TRUSTED(""));
}

static void templates_may_write_bos(void **state)
{
    EXPECT_SPANS(*state, true, "<s>|\u2581hello", TRUSTED("<s>"), USER("hello"));
    EXPECT_SPANS(*state, true, "<s>|\u2581hello", USER("hello"));
    EXPECT_SPANS(*state, true, "<s>|\u2581|<s|>|\u2581hello", USER("<s> hello"));
    EXPECT_SPANS(*state, false, "\u2581hello", USER("hello"));
    EXPECT_SPANS(*state, true, "<s>", USER(""));
}

/* ---- SPM ---- */

static void spm_merges_by_score(void **state)
{
    expect(*state, "", 0, "");
    expect(*state, "hello", 0, "\u2581hello");
    expect(*state, "hello hello", 0, "\u2581hello|\u2581hello");
    expect(*state, "ahello", 0, "\u2581|a|hello");
    expect(*state, "hhell", 0, "\u2581|h|hell");
    expect(*state, "aab", 0, "\u2581|a|ab"); // ab is better than aa
    expect(*state, "aaa", 0, "\u2581|aa|a"); // the leftmost of equals
    expect(*state, "  l", 0, "\u2581\u2581|\u2581|l");
}

static void spm_falls_back_to_bytes(void **state)
{
    expect(*state, "\u00e9", 0, "\u2581|\u00e9");
    expect(*state, "z", 0, "\u2581|<0x7A>");
    expect(*state, "\u4e2d", 0, "\u2581|<0xE4>|<0xB8>|<0xAD>");
    expect_bytes(*state, "\0\xff\xe4\xb8", 4, 0, "\u2581|<0x00>|<0xFF>|<0xE4>|<0xB8>");
}

static void spm_makes_no_control_and_no_byte_tokens(void **state)
{
    expect(*state, "<s>", 0, "\u2581|<s|>"); // V1
    expect(*state, "<s>", VOCAB_SPECIAL, "<s>");
    expect(*state, "<0x41>", 0, "\u2581|<0|x41>"); // V2: not the byte 0x41
}

static void spm_puts_a_space_in_front(void **state)
{
    expect(*state, "</s>hello", VOCAB_SPECIAL, "</s>|\u2581hello");
    expect(*state, "hello<b>hello", 0, "\u2581hello|<b>|\u2581hello");
    expect(*state, "hello\n\nhello", VOCAB_BOS, "<s>|\u2581hello|\n\n|\u2581hello");
    maker.src.add_space_prefix = false;
    struct vocab *v = maker_build(&maker);
    expect(v, "hello hello", 0, "hello|\u2581hello");
    vocab_free(v);
}

static void spm_without_bytes_has_an_unknown_token(void **state)
{
    (void)state;
    maker_open(&maker, VOCAB_SPM);
    maker_token(&maker, "a", TOKEN_NORMAL, -1);
    maker.src.unk = maker_token(&maker, "<unk>", TOKEN_UNKNOWN, 0);
    struct vocab *v = maker_build(&maker);
    expect(v, "a\u4e2da", 0, "a|<unk>|a");
    vocab_free(v);
}

static void odd_scores_do_no_harm(void **state)
{
    (void)state;
    maker_open(&maker, VOCAB_SPM);
    maker_byte_tokens(&maker);
    maker_token(&maker, "ab", TOKEN_NORMAL, NAN);
    maker_token(&maker, "bc", TOKEN_NORMAL, -INFINITY);
    maker_token(&maker, "cd", TOKEN_NORMAL, -0.0f);
    maker_token(&maker, "de", TOKEN_NORMAL, 0.0f);
    struct vocab *v = maker_build(&maker);
    expect(v, "abc", 0, "<0x61>|bc"); // no number comes last
    expect(v, "cde", 0, "cd|<0x65>"); // -0 and 0 are equal: the leftmost
    vocab_free(v);
}

/* ---- decoding ---- */

static void expect_text(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                        const char *text)
{
    struct buf whole = { 0 }, streamed = { 0 };
    struct detok d;
    assert_int_equal(vocab_decode(v, ids, n, special, &whole, NULL), OK);
    assert_string_equal(buf_text(&whole), text);
    detok_open(&d, v, special);
    for (size_t i = 0; i < n; i++)
        detok_push(&d, ids[i], &streamed);
    detok_flush(&d, &streamed);
    assert_string_equal(buf_text(&streamed), text);
    detok_close(&d);
    buf_close(&whole);
    buf_close(&streamed);
}

#define IDS(...)                                                                                   \
    (const int32_t[]){ __VA_ARGS__ }, sizeof((int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t)

static int32_t id_of(const char *name)
{
    int32_t id = maker_find(&maker, name);
    assert_true(id >= 0);
    return id;
}

static void control_tokens_are_hidden_if_told(void **state)
{
    int32_t start = id_of("<|im_start|>"), tool = id_of("<tool>"), world = id_of("\u0120world");
    expect_text(*state, IDS(start, id_of("hello"), tool, world), true,
                "<|im_start|>hello<tool> world");
    expect_text(*state, IDS(start, id_of("hello"), tool, world), false, "hello<tool> world");
    expect_text(*state, IDS(id_of("<unk>")), false, "");
    expect_text(*state, NULL, 0, true, "");
}

static void decoding_drops_only_the_space_it_put_there(void **state)
{
    int32_t hello = id_of("\u2581hello"), plain = id_of("hello"), two = id_of("\u2581\u2581");
    expect_text(*state, IDS(hello, hello), false, "hello hello");
    expect_text(*state, IDS(id_of("<s>"), hello, hello), false, "hello hello");
    expect_text(*state, IDS(id_of("<s>"), hello, hello), true, "<s>hello hello");
    expect_text(*state, IDS(plain, hello), false, "hello hello");
    expect_text(*state, IDS(two, plain), false, " hello");
    expect_text(*state, IDS(hello, id_of("<b>"), hello), false, "hello<b>hello");
    expect_text(*state, IDS(id_of("<0x20>"), plain), false, "hello");
}

static void a_completion_keeps_its_space(void **state)
{
    struct detok d;
    struct buf out = { 0 };
    detok_open(&d, *state, false);
    d.started = true;
    detok_push(&d, id_of("\u2581hello"), &out);
    assert_string_equal(buf_text(&out), " hello");
    detok_close(&d);
    buf_close(&out);
}

static void streams_do_not_split_characters(void **state)
{
    struct detok d;
    struct buf out = { 0 };
    detok_open(&d, *state, false);
    detok_push(&d, 'h', &out);
    assert_string_equal(buf_text(&out), "h");
    detok_push(&d, 0xe4, &out);
    detok_push(&d, 0xb8, &out);
    assert_string_equal(buf_text(&out), "h");
    detok_push(&d, 0xad, &out);
    assert_string_equal(buf_text(&out), "h\u4e2d");
    detok_push(&d, 0xff, &out); // begins nothing
    assert_string_equal(buf_text(&out), "h\u4e2d\xff");
    detok_push(&d, 0xf0, &out);
    detok_push(&d, -1, &out);
    detok_push(&d, INT32_MAX, &out);
    detok_push(&d, 0x9f, &out);
    assert_string_equal(buf_text(&out), "h\u4e2d\xff");
    detok_flush(&d, &out);
    assert_string_equal(buf_text(&out), "h\u4e2d\xff\xf0\x9f");
    detok_flush(&d, &out);
    assert_int_equal(out.len, 7);
    detok_close(&d);
    buf_close(&out);
}

static void ids_out_of_range_are_refused(void **state)
{
    struct buf out = { 0 };
    struct note why = { "" };
    buf_add_text(&out, "kept");
    assert_int_equal(vocab_decode(*state, IDS('h', -1), true, &out, &why), BAD_INPUT);
    assert_string_equal(buf_text(&out), "kept");
    assert_non_null(strstr(why.text, "-1"));
    int32_t n = (int32_t)vocab_n_token(*state);
    assert_int_equal(vocab_decode(*state, IDS(n), true, &out, &why), BAD_INPUT);
    assert_int_equal(vocab_piece(*state, n, true).len, 0);
    assert_int_equal(vocab_piece(*state, -5, true).len, 0);
    assert_int_equal(vocab_type(*state, -5), TOKEN_UNUSED);
    assert_false(vocab_is_end(*state, n));
    buf_close(&out);
}

/* ---- what a vocabulary knows of its tokens ---- */

static void pieces_are_what_tokens_stand_for(void **state)
{
    const struct vocab *v = *state;
    struct text_span world = vocab_piece(v, id_of("\u0120world"), false);
    assert_int_equal(world.len, 6);
    assert_memory_equal(world.bytes, " world", 6);
    assert_int_equal(vocab_piece(v, '\n', false).bytes[0], '\n');
    assert_int_equal(vocab_find(v, "\u0120world", 7), id_of("\u0120world"));
    assert_int_equal(vocab_find(v, " world", 6), -1);
    assert_int_equal(vocab_find(v, "", 0), -1);
    assert_int_equal(vocab_type(v, id_of("<tool>")), TOKEN_USER);
    assert_int_equal(vocab_bos(v), id_of("<|im_start|>"));
    assert_int_equal(vocab_eos(v), id_of("<|end|>"));
}

static void names_that_spell_no_bytes_stay(void **state)
{
    (void)state;
    small_bpe(&maker);
    int32_t odd = maker_token(&maker, "\u4e2d x", TOKEN_NORMAL, 0);
    int32_t bad = maker_token(&maker, "\xff", TOKEN_NORMAL, 0);
    int32_t cut = maker_token(&maker, "\xc4", TOKEN_NORMAL, 0);
    int32_t byte = maker_token(&maker, "<0x7F>", TOKEN_BYTE, 0);
    int32_t no_byte = maker_token(&maker, "<0x7g>", TOKEN_BYTE, 0);
    int32_t empty = maker_token(&maker, "", TOKEN_USER, 0);
    struct vocab *v = maker_build(&maker);
    expect_text(v, IDS(odd, bad, cut, byte, no_byte, empty), true, "\u4e2d x\xff\xc4\x7f<0x7g>");
    vocab_free(v);
}

static void end_markers_go_by_id_and_by_name(void **state)
{
    (void)state;
    small_bpe(&maker);
    maker.src.eot = maker_token(&maker, "<turn over>", TOKEN_NORMAL, 0);
    maker.src.eom = maker_token(&maker, "<message over>", TOKEN_CONTROL, 0);
    int32_t named = maker_token(&maker, "<|im_end|>", TOKEN_NORMAL, 0);
    int32_t other = maker_token(&maker, "<|im_other|>", TOKEN_CONTROL, 0);
    struct vocab *v = maker_build(&maker);
    assert_true(vocab_is_end(v, maker.src.eos));
    assert_true(vocab_is_end(v, maker.src.eot));
    assert_true(vocab_is_end(v, maker.src.eom));
    assert_true(vocab_is_end(v, named));
    assert_false(vocab_is_end(v, other));
    assert_false(vocab_is_end(v, maker.src.bos));
    expect(v, "<|im_end|>", VOCAB_SPECIAL, "<|im_end|>"); // whatever the file's type is
    expect_text(v, IDS(named), false, "");
    vocab_free(v);
}

/* A text that the file calls an ordinary word and that is an end marker by name: merging still
 * gives it. */
static void a_word_may_be_named_like_an_end(void **state)
{
    (void)state;
    small_spm(&maker);
    maker.type[maker.src.eos] = TOKEN_NORMAL;
    maker_token(&maker, "</", TOKEN_NORMAL, -1);
    maker_token(&maker, "s>", TOKEN_NORMAL, -1);
    struct vocab *v = maker_build(&maker);
    expect(v, "hello</s>", 0, "\u2581hello|</s>");
    expect(v, "hello</s>hello", VOCAB_SPECIAL, "\u2581hello|</s>|\u2581hello");
    assert_int_equal(vocab_type(v, id_of("</s>")), TOKEN_NORMAL);
    assert_true(vocab_is_end(v, id_of("</s>")));
    vocab_free(v);
}

static void types_may_be_missing(void **state)
{
    (void)state;
    small_spm(&maker);
    maker.src.type = NULL;
    struct vocab *v = maker_build(&maker);
    assert_int_equal(vocab_type(v, id_of("<0x41>")), TOKEN_BYTE);
    assert_int_equal(vocab_type(v, id_of("hello")), TOKEN_NORMAL);
    expect(v, "z", 0, "\u2581|<0x7A>");
    vocab_free(v);
}

static void of_equal_tokens_the_first_counts(void **state)
{
    (void)state;
    small_bpe(&maker);
    int32_t again = maker_token(&maker, "hello", TOKEN_NORMAL, 0);
    int32_t tool = maker_token(&maker, "<tool>", TOKEN_USER, 0);
    struct vocab *v = maker_build(&maker);
    struct ids ids = { 0 };
    assert_int_equal(vocab_encode(v, "hello<tool>", 11, 0, &ids, NULL), OK);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.id[0], id_of("hello"));
    assert_int_equal(ids.id[1], id_of("<tool>"));
    expect_text(v, IDS(again, tool), false, "hello<tool>");
    ids_close(&ids);
    vocab_free(v);
}

/* ---- threads ---- */

static void *encode_often(void *v)
{
    static const char text[] = "hello <tool> world 1234 \xff <|end|>";
    struct ids first = { 0 };
    size_t n_wrong = vocab_encode(v, text, sizeof text - 1, VOCAB_SPECIAL, &first, NULL) != OK;
    for (int i = 0; i < 200; i++) {
        struct ids again = { 0 };
        enum status st = vocab_encode(v, text, sizeof text - 1, VOCAB_SPECIAL, &again, NULL);
        n_wrong += st != OK || again.n != first.n ||
                   memcmp(again.id, first.id, first.n * sizeof *first.id) != 0;
        ids_close(&again);
    }
    ids_close(&first);
    return (void *)n_wrong;
}

static void any_number_may_encode_at_once(void **state)
{
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, encode_often, *state), 0);
    for (int i = 0; i < 4; i++) {
        void *n_wrong;
        assert_int_equal(pthread_join(thread[i], &n_wrong), 0);
        assert_null(n_wrong);
    }
}

/* ---- refusals ---- */

static void expect_refused(const char *phrase)
{
    struct vocab *v = NULL;
    struct note why = { "" };
    assert_int_equal(vocab_new(&v, &maker.src, &why), BAD_INPUT);
    assert_null(v);
    if (!strstr(why.text, phrase))
        fail_msg("'%s' does not say '%s'", why.text, phrase);
}

static void wrong_merges_are_refused(void **state)
{
    static const struct {
        const char *merge, *phrase;
    } wrong[] = {
        { "hello", "merge 16 ('hello') is not two tokens" },
        { "", "is not two tokens" },
        { " ", "is not two tokens" },
        { "h ", "has a part that is no token" },
        { "h nope", "has a part that is no token" },
        { "nope h", "has a part that is no token" },
        { "h h", "makes no token" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        small_bpe(&maker);
        maker.merge[maker.src.n_merge++] =
            (struct text_span){ wrong[i].merge, strlen(wrong[i].merge) };
        expect_refused(wrong[i].phrase);
    }
}

static void wrong_vocabularies_are_refused(void **state)
{
    (void)state;
    small_bpe(&maker);
    maker.src.pre = "grunt";
    expect_refused("'grunt' (tokenizer.ggml.pre) is unknown; there are: default,gpt-2");
    small_bpe(&maker);
    maker.src.n_token = 0;
    expect_refused("0 tokens");
    small_bpe(&maker);
    maker.src.eom = (int32_t)maker.src.n_token;
    expect_refused("the EOM token is");
    small_bpe(&maker);
    maker.src.pad = -2;
    expect_refused("the PAD token is -2");
    small_bpe(&maker);
    maker.src.add_bos = true;
    maker.src.bos = -1;
    expect_refused("wants BOS added");
    small_bpe(&maker);
    maker.src.add_eos = true;
    maker.src.eos = -1;
    expect_refused("wants EOS added");
    small_bpe(&maker);
    maker.type[3] = 7;
    expect_refused("token 3 is of type 7");
    small_spm(&maker);
    maker.src.score = NULL;
    expect_refused("tokenizer.ggml.scores is missing");
    small_spm(&maker);
    maker.token[0x41].bytes = "<0xZZ>";
    expect_refused("neither the byte token <0x41> nor an unknown token");
}

static void a_missing_pre_is_noted(void **state)
{
    (void)state;
    struct vocab *v = NULL;
    struct note why = { "" };
    small_bpe(&maker);
    maker.src.pre = NULL;
    assert_int_equal(vocab_new(&v, &maker.src, &why), OK);
    assert_non_null(strstr(why.text, "'default' is used"));
    expect(v, "hello 123,4", 0, "hello|\u0120|12|3|,|4");
    vocab_free(v);
}

#define BPE(test) cmocka_unit_test_setup_teardown(test, make_bpe, unmake)
#define SPM(test) cmocka_unit_test_setup_teardown(test, make_spm, unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BPE(bpe_merges_by_rank),
        BPE(bpe_keeps_any_bytes),
        cmocka_unit_test(bpe_drops_bytes_it_lacks),
        cmocka_unit_test(bpe_takes_whole_words_if_told),
        BPE(special_tokens_need_the_flag),
        BPE(longer_special_tokens_go_first),
        cmocka_unit_test(bos_and_eos_are_habits),
        BPE(users_cannot_name_control_tokens),
        BPE(spans_are_one_text),
        SPM(templates_may_write_bos),
        SPM(spm_merges_by_score),
        SPM(spm_falls_back_to_bytes),
        SPM(spm_makes_no_control_and_no_byte_tokens),
        SPM(spm_puts_a_space_in_front),
        cmocka_unit_test(spm_without_bytes_has_an_unknown_token),
        cmocka_unit_test(odd_scores_do_no_harm),
        BPE(control_tokens_are_hidden_if_told),
        SPM(decoding_drops_only_the_space_it_put_there),
        SPM(a_completion_keeps_its_space),
        BPE(streams_do_not_split_characters),
        BPE(ids_out_of_range_are_refused),
        BPE(pieces_are_what_tokens_stand_for),
        cmocka_unit_test(names_that_spell_no_bytes_stay),
        cmocka_unit_test(end_markers_go_by_id_and_by_name),
        cmocka_unit_test(a_word_may_be_named_like_an_end),
        cmocka_unit_test(types_may_be_missing),
        cmocka_unit_test(of_equal_tokens_the_first_counts),
        BPE(any_number_may_encode_at_once),
        SPM(any_number_may_encode_at_once),
        cmocka_unit_test(wrong_merges_are_refused),
        cmocka_unit_test(wrong_vocabularies_are_refused),
        cmocka_unit_test(a_missing_pre_is_noted),
    };
    return cmocka_run_group_tests_name("vocab", tests, NULL, NULL);
}
