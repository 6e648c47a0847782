/* chat_template: which template is taken, what a request may bring and what it may not, BOS once,
 * and memory that runs out. What templates mean is tested with the template language, and real
 * ones in tests/golden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "model/chat_template.h"
#include "support/gguf_writer.h"
#include "support/small_vocab.h"

enum { NOW = 1000000000 }; // 2001-09-09

/* A vocabulary, and a file with the templates of a test. */
struct fixture {
    struct vocab_maker maker;
    struct vocab *vocab;
    struct gguf_writer writer;
    struct buf bytes;
    struct gguf *file;
};

static struct fixture f;

static void open_with(void (*make)(struct vocab_maker *))
{
    make(&f.maker);
    f.vocab = maker_build(&f.maker);
    gguf_writer_open(&f.writer, 3);
    gguf_write_text(&f.writer, "general.architecture", "llama");
}

static int open_bpe(void **state)
{
    (void)state;
    open_with(small_bpe);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    gguf_close(f.file);
    gguf_writer_close(&f.writer);
    buf_close(&f.bytes);
    vocab_free(f.vocab);
    f.file = NULL;
    return 0;
}

static void file_has(const char *key, const char *source)
{
    gguf_write_text(&f.writer, key, source);
}

static enum status make(struct chat_template **out, struct note *why)
{
    if (!f.file) {
        gguf_writer_finish(&f.writer, &f.bytes);
        assert_int_equal(gguf_open_bytes(&f.file, f.bytes.bytes, f.bytes.len, why), OK);
    }
    return chat_template_new(out, f.file, f.vocab, NULL, 0, why);
}

static struct chat_template *made(void)
{
    struct chat_template *t = NULL;
    struct note why = { "" };
    if (make(&t, &why) != OK)
        fail_msg("%s", why.text);
    return t;
}

static enum status render(const struct chat_template *t, const char *request, bool prompt_after,
                          struct jinja_output *out, struct note *why)
{
    json_t *json = json_loads(request, 0, NULL);
    assert_non_null(json);
    enum status st = chat_template_render(t, json, prompt_after, NOW, out, why);
    json_decref(json);
    return st;
}

static void expect_text(const struct chat_template *t, const char *request, const char *text)
{
    struct jinja_output out = { 0 };
    struct note why = { "" };
    if (render(t, request, false, &out, &why) != OK)
        fail_msg("%s: %s", request, why.text);
    assert_string_equal(buf_text(&out.text), text);
    jinja_output_close(&out);
}

static void expect_wrong(const struct chat_template *t, const char *request, const char *words)
{
    struct jinja_output out = { 0 };
    struct note why = { "" };
    assert_int_equal(render(t, request, false, &out, &why), BAD_INPUT);
    if (!strstr(why.text, words))
        fail_msg("%s: '%s' has no '%s'", request, why.text, words);
    jinja_output_close(&out);
}

#define HI "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]"

/* ---- which template ---- */

static void a_file_without_template(void **state)
{
    (void)state;
    struct chat_template *t = NULL;
    struct note why = { "" };
    assert_int_equal(make(&t, &why), NOT_FOUND);
    assert_null(t);
    assert_non_null(strstr(why.text, "tokenizer.chat_template"));
}

static void the_one_for_tools(void **state)
{
    (void)state;
    file_has("tokenizer.chat_template", "usual");
    file_has("tokenizer.chat_template.tool_use", "tools");
    struct chat_template *t = made();
    expect_text(t, HI "}", "usual");
    expect_text(t, HI ", \"tools\": []}", "usual");
    expect_text(t, HI ", \"tools\": null}", "usual");
    expect_text(t, HI ", \"tools\": [{}]}", "tools");
    chat_template_free(t);
}

static void a_default_by_name(void **state)
{
    (void)state;
    file_has("tokenizer.chat_template.default", "named");
    struct chat_template *t = made();
    expect_text(t, HI ", \"tools\": [{}]}", "named");
    chat_template_free(t);
}

static void one_of_ones_own(void **state)
{
    (void)state;
    struct chat_template *t = NULL;
    struct note why = { "" };
    file_has("tokenizer.chat_template", "usual");
    chat_template_free(made());
    assert_int_equal(chat_template_new(&t, f.file, f.vocab, "own", 3, &why), OK);
    expect_text(t, HI "}", "own");
    chat_template_free(t);
    t = NULL;
    assert_int_equal(chat_template_new(&t, f.file, f.vocab, "a\n{% if %}", 10, &why), BAD_INPUT);
    assert_null(t);
    assert_non_null(strstr(why.text, "line 2"));
}

static void a_broken_one_is_named(void **state)
{
    (void)state;
    struct chat_template *t = NULL;
    struct note why = { "" };
    file_has("tokenizer.chat_template", "usual");
    file_has("tokenizer.chat_template.tool_use", "{{");
    assert_int_equal(make(&t, &why), BAD_INPUT);
    assert_null(t);
    assert_non_null(strstr(why.text, "tokenizer.chat_template.tool_use: "));
}

/* ---- what templates are given ---- */

static void what_is_absent_has_a_value(void **state)
{
    (void)state;
    struct jinja_output out = { 0 };
    file_has("tokenizer.chat_template", "{{ add_generation_prompt }} {{ tools is none }} "
                                        "{{ strftime_now('%Y') }} {{ extra }}");
    struct chat_template *t = made();
    expect_text(t, HI "}", "False True 2001 ");
    expect_text(t, HI ", \"add_generation_prompt\": true, \"tools\": [], \"extra\": 7}",
                "True False 2001 7");
    assert_int_equal(render(t, HI "}", true, &out, NULL), OK);
    assert_string_equal(buf_text(&out.text), "True True 2001 ");
    jinja_output_close(&out);
    assert_int_equal(render(t, HI ", \"add_generation_prompt\": false}", true, &out, NULL), OK);
    assert_string_equal(buf_text(&out.text), "False True 2001 ");
    jinja_output_close(&out);
    chat_template_free(t);
}

static void arguments_are_parsed(void **state)
{
    (void)state;
    file_has("tokenizer.chat_template",
             "{% for m in messages %}{% for c in m.tool_calls %}"
             "{{ c.function.arguments | tojson if c.function and 'arguments' in c.function }};"
             "{% endfor %}{% endfor %}");
    struct chat_template *t = made();
    expect_text(
        t,
        "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": ["
        "{\"function\": {\"name\": \"f\", \"arguments\": \"{\\\"b\\\": 1, \\\"a\\\": [2]}\"}},"
        "{\"function\": {\"name\": \"f\", \"arguments\": {\"b\": 1}}},"
        "{\"function\": {\"name\": \"f\", \"arguments\": \"[1]\"}},"
        "{\"function\": {\"name\": \"f\", \"arguments\": \"{\\\"cut\"}},"
        "{\"function\": {\"name\": \"f\"}}, {}, 5]}]}",
        "{\"b\": 1, \"a\": [2]};{\"b\": 1};\"[1]\";\"{\\\"cut\";;;;");
    expect_text(t, "{\"messages\": [{\"role\": \"user\", \"tool_calls\": []}]}", "");
    chat_template_free(t);
}

static void wrong_requests_are_named(void **state)
{
    (void)state;
    file_has("tokenizer.chat_template",
             "{{ raise_exception('no such role') if messages[0].role == 'x' }}");
    struct chat_template *t = made();
    expect_wrong(t, "[]", "\"messages\"");
    expect_wrong(t, "{}", "\"messages\"");
    expect_wrong(t, "{\"messages\": {}}", "\"messages\"");
    expect_wrong(t, "{\"messages\": [{\"role\": \"user\"}, {\"role\": 1}]}", "messages[1]");
    expect_wrong(t, "{\"messages\": [\"hello\"]}", "messages[0]");
    expect_wrong(t, HI ", \"tools\": {}}", "\"tools\"");
    expect_wrong(t, HI ", \"add_generation_prompt\": 1}", "\"add_generation_prompt\"");
    expect_wrong(t, "{\"messages\": [{\"role\": \"x\"}]}", "no such role");
    chat_template_free(t);
}

/* ---- ids ---- */

static struct ids ids_of(const struct chat_template *t, const char *request, bool bos)
{
    struct jinja_output out = { 0 };
    struct ids ids = { 0 };
    struct note why = { "" };
    assert_int_equal(render(t, request, false, &out, &why), OK);
    if (chat_template_ids(t, &out, bos, &ids, &why) != OK)
        fail_msg("%s", why.text);
    jinja_output_close(&out);
    return ids;
}

static size_t n_control(const struct ids *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->n; i++)
        n += vocab_type(f.vocab, ids->id[i]) == TOKEN_CONTROL;
    return n;
}

/* C1: a request that knows every name still writes no control token. */
static void requests_write_no_control_tokens(void **state)
{
    (void)state;
    file_has("tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}<|end|>"
                                        "{{ messages[0].name }}{{ eos_token }}");
    struct chat_template *t = made();
    struct ids ids = ids_of(t,
                            "{\"messages\": [{\"role\": \"user\", \"content\": \"<|end|>\", "
                            "\"name\": \"<|im_start|>\"}], \"bos_token\": \"<|end|>\", "
                            "\"eos_token\": \"<|end|>\", \"chat_template\": \"<|end|><|end|>\"}",
                            false);
    assert_int_equal(n_control(&ids), 2 + (vocab_eos(f.vocab) >= 0)); // its own, BOS and EOS
    assert_int_equal(ids.id[0], vocab_bos(f.vocab));
    ids_close(&ids);
    chat_template_free(t);
}

static void bos_comes_once(void **state)
{
    (void)state;
    open_with(small_spm);
    file_has("tokenizer.chat_template",
             "{{ bos_token if messages[0].role == 'user' }}{{ messages[0].content }}");
    struct chat_template *t = made();
    int32_t bos = vocab_bos(f.vocab);
    struct ids written = ids_of(t, HI "}", true);
    assert_int_equal(written.id[0], bos);
    assert_int_not_equal(written.id[1], bos);
    struct ids not_written =
        ids_of(t, "{\"messages\": [{\"role\": \"system\", \"content\": \"hello\"}]}", true);
    assert_int_equal(not_written.id[0], bos);
    assert_int_not_equal(not_written.id[1], bos);
    struct ids plain =
        ids_of(t, "{\"messages\": [{\"role\": \"system\", \"content\": \"hello\"}]}", false);
    assert_int_not_equal(plain.id[0], bos);
    ids_close(&written);
    ids_close(&not_written);
    ids_close(&plain);
    chat_template_free(t);
}

/* ---- memory ---- */

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    file_has("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}");
    chat_template_free(made());
    enum status st = FULL;
    for (uint64_t k = 1; st != OK; k++) {
        struct chat_template *t = NULL;
        struct jinja_output out = { 0 };
        struct ids ids = { 0 };
        struct note why = { "" };
        mem_fail_at(k);
        st = make(&t, &why);
        if (st == OK)
            st = render(t, HI "}", false, &out, &why);
        if (st == OK)
            st = chat_template_ids(t, &out, true, &ids, &why);
        mem_fail_at(0);
        assert_true(st == OK || st == FULL);
        assert_true(st == OK || why.text[0]);
        jinja_output_close(&out);
        ids_close(&ids);
        chat_template_free(t);
        assert_true(k < 1000);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_bpe, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_without_template),
        TEST(the_one_for_tools),
        TEST(a_default_by_name),
        TEST(one_of_ones_own),
        TEST(a_broken_one_is_named),
        TEST(what_is_absent_has_a_value),
        TEST(arguments_are_parsed),
        TEST(wrong_requests_are_named),
        TEST(requests_write_no_control_tokens),
        cmocka_unit_test_teardown(bos_comes_once, close_all),
        TEST(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
