/* pretoken: the words of each rule, checked by hand and against the tokenizers library, and P1, P2
 * on any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "text/pretoken.h"
#include "text/vocab.h"

#define NBSP "\u00a0"
#define IDEOGRAPHIC_SPACE "\u3000"
#define ACUTE "\u0301"

struct sample {
    const char *pre, *text, *words; // words with '|' between
};

static const struct sample SAMPLES[] = {
    // one space goes with the word behind it, the others stay together
    { "gpt-2", "Hello  big   world ", "Hello| | big|  | world| " },
    { "gpt-2", "a\n\nb \n c", "a|\n|\n|b| \n| c" },
    { "gpt-2", "it's IT'S we'll O'Re", "it|'s| IT|'|S| we|'ll| O|'|Re" },
    { "gpt-2", "x12345 67,8", "x|12345| 67|,|8" },
    { "gpt-2", "a" NBSP "b" NBSP NBSP "c", "a|" NBSP "|b|" NBSP "|" NBSP "|c" },
    { "gpt-2", "e" ACUTE "a", "e|" ACUTE "|a" },
    { "gpt-2", "a\u180e b", "a|\u180e| b" }, // not white space, whatever PCRE2's \s says
    { "gpt-2", "\u0663\u00b2\u2167\u4e09", "\u0663\u00b2\u2167|\u4e09" },

    { "smollm", "x12 3\u0664", "x|1|2| |3|\u0664" },
    { "smollm", "tab\t\tend\r\n", "tab|\t|\t|end|\r\n" },

    { "qwen2", "x12 3", "x|1|2| |3" },
    { "qwen2", "it's IT'S'LL", "it|'s| IT|'S|'LL" },
    { "qwen2", "f(x) {\r\n\r\n  y;\n}", "f|(x|)| {\r\n\r\n| | y|;\n|}" },
    { "qwen2", "\t\tcall _name", "\t|\tcall| _|name" },
    { "qwen2", "  \n\n  a  ", "  \n\n| | a|  " },
    { "qwen2", IDEOGRAPHIC_SPACE "\u4e2d\u6587\u3002", IDEOGRAPHIC_SPACE "\u4e2d\u6587|\u3002" },
    { "qwen2", "'\u017fo", "'\u017fo" }, // long s is no s

    { "llama-bpe", "x1234567 89", "x|123|456|7| |89" },
    { "llama-bpe", "I'Ve  done\n", "I|'Ve| | done|\n" },

    { "tekken", "CamelCaseHTTPServer", "Camel|Case|HTTPServer" },
    { "tekken", "it's 12 a/b\n/", "it|'s| |1|2| a|/b|\n|/" },
    { "tekken", "e" ACUTE "te" ACUTE, "e" ACUTE "te" ACUTE },

    { "default", "a=b 1234.56!", "a|=|b| |123|4|.|56|!" },

    { "deepseek-llm", "Hi there\n\n42 \u4e2d\u6587a  ", "Hi| there|\n|\n|42| |\u4e2d\u6587|a|  " },
    { "deepseek-llm", "x  y \u0416\u00e9!?", "x| | y| \u0416\u00e9|!?" },
    { "deepseek-coder", "f(x) = 10;\n\tg", "f|(|x|)| = |1|0|;|\n|\tg" },
    { "deepseek-coder", "  \u0416\u00e9\u4e2d (!?) +", " | \u0416\u00e9|\u4e2d| (!?)| +" },
};

static enum status join_word(void *ctx, const char *word, size_t len, struct note *why)
{
    struct buf *joined = ctx;
    (void)why;
    assert_true(len > 0); // P1
    if (joined->len)
        buf_add_byte(joined, '|');
    buf_add(joined, word, len);
    return OK;
}

static void words_are_as_listed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SAMPLES / sizeof *SAMPLES; i++) {
        const struct sample *s = &SAMPLES[i];
        struct pretoken p;
        struct note why = { "" };
        struct buf got = { 0 };
        assert_int_equal(pretoken_open(&p, pretoken_find(s->pre), &why), OK);
        assert_int_equal(pretoken_split(&p, s->text, strlen(s->text), join_word, &got, &why), OK);
        if (strcmp(buf_text(&got), s->words) != 0)
            fail_msg("%s: '%s' gives '%s', not '%s'", s->pre, s->text, buf_text(&got), s->words);
        buf_close(&got);
        pretoken_close(&p);
    }
}

static void every_name_has_a_rule(void **state)
{
    (void)state;
    char names[1024];
    int n = 0;
    snprintf(names, sizeof names, "%s", vocab_pre_names());
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ","), n++) {
        struct pretoken p;
        assert_non_null(pretoken_find(name));
        assert_int_equal(pretoken_open(&p, pretoken_find(name), NULL), OK);
        pretoken_close(&p);
    }
    assert_true(n > 20);
    assert_null(pretoken_find("no-such"));
    assert_null(pretoken_find(""));
    assert_null(pretoken_find("gpt-2,phi-2"));
    assert_ptr_equal(pretoken_find("llama3"), pretoken_find("llama-bpe"));
    assert_true(pretoken_ignores_merges(pretoken_find("tekken")));
    assert_true(vocab_pre_adds_bos("llama3"));
    assert_false(vocab_pre_adds_bos("dbrx"));
    assert_false(vocab_pre_adds_bos("no-such"));
}

static enum status stop_at_once(void *ctx, const char *word, size_t len, struct note *why)
{
    (void)word, (void)len, (void)why;
    ++*(int *)ctx;
    return CANCELED;
}

static void a_refused_word_ends_it(void **state)
{
    (void)state;
    struct pretoken p;
    int n = 0;
    assert_int_equal(pretoken_open(&p, pretoken_find("default"), NULL), OK);
    assert_int_equal(pretoken_split(&p, "a b\xff c", 6, stop_at_once, &n, NULL), CANCELED);
    assert_int_equal(n, 1);
    pretoken_close(&p);
}

struct collected {
    const char *at; // where the next word must be
};

static enum status collect(void *ctx, const char *word, size_t len, struct note *why)
{
    struct collected *c = ctx;
    uint32_t unused;
    (void)why;
    assert_ptr_equal(word, c->at); // P1
    assert_true(len > 0);
    c->at = word + len;
    if (!utf8_valid(word, len)) { // P2
        for (size_t i = 0; i < len; i++)
            assert_int_equal(utf8_read(word + i, len - i, &unused), 0);
    }
    return OK;
}

static void words_are_the_text(void **state)
{
    (void)state;
    static const char *const bits[] = { " ",    "  ",   "\n",     "\r\n",   "a",      "Zz",
                                        "9",    "'s",   "\u4e2d", "\u00e9", "\u0301", "\xe2\x80",
                                        "\xff", "\xc3", ".",      "\u3000", "\u0e01" };
    static const char *const rules[] = { "default", "gpt-2",  "llama-bpe",   "qwen2",
                                         "smollm",  "tekken", "deepseek-llm" };
    struct rng rng = rng_seeded(1, 1);
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        struct pretoken p;
        assert_int_equal(pretoken_open(&p, pretoken_find(rules[r]), NULL), OK);
        for (int i = 0; i < 500; i++) {
            char text[256];
            size_t len = 0;
            for (uint32_t n = rng_below(&rng, 60); n; n--) {
                const char *bit = bits[rng_below(&rng, sizeof bits / sizeof *bits)];
                memcpy(text + len, bit, strlen(bit));
                len += strlen(bit);
            }
            struct collected c = { .at = text };
            assert_int_equal(pretoken_split(&p, text, len, collect, &c, NULL), OK);
            assert_ptr_equal(c.at, text + len);
        }
        pretoken_close(&p);
    }
}

/* A run that no pattern likes must neither take forever nor make one give up. */
static void long_runs_are_split(void **state)
{
    (void)state;
    enum { LEN = 200000 };
    static char text[LEN + 1];
    static const char runs[] = " \n\taA1'.\xff";
    for (const char *rule = "default\0gpt-2\0llama-bpe\0qwen2\0smollm\0tekken\0deepseek-llm\0";
         *rule; rule += strlen(rule) + 1) {
        struct pretoken p;
        assert_int_equal(pretoken_open(&p, pretoken_find(rule), NULL), OK);
        for (const char *c = runs; *c; c++) {
            struct note why = { "" };
            struct collected got = { .at = text };
            memset(text, *c, LEN);
            text[LEN] = 'x';
            if (pretoken_split(&p, text, LEN + 1, collect, &got, &why) != OK)
                fail_msg("%s", why.text);
            assert_ptr_equal(got.at, text + LEN + 1);
        }
        pretoken_close(&p);
    }
}

/* Ten million steps for one word are the limit. */
static void a_pattern_may_give_up(void **state)
{
    (void)state;
    enum { LEN = 12000000 };
    struct pretoken p;
    struct note why = { "" };
    char *text = mem_new(LEN, 1);
    assert_non_null(text);
    memset(text, ' ', LEN);
    text[0] = text[LEN - 1] = 'x';
    struct collected got = { .at = text };
    assert_int_equal(pretoken_open(&p, pretoken_find("stablelm2"), NULL), OK);
    assert_int_equal(pretoken_split(&p, text, LEN, collect, &got, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "pre-tokenizer 'qwen2' gave up at byte 1 "));
    pretoken_close(&p);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_as_listed),    cmocka_unit_test(every_name_has_a_rule),
        cmocka_unit_test(a_refused_word_ends_it), cmocka_unit_test(words_are_the_text),
        cmocka_unit_test(long_runs_are_split),    cmocka_unit_test(a_pattern_may_give_up),
    };
    return cmocka_run_group_tests_name("pretoken", tests, NULL, NULL);
}
