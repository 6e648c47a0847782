/* Chat templates: what jinja2 renders (tests/data/jinja, written by make_cases.py), who wrote each
 * byte (J1), and where it ends (J2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"

enum { NOW = 1753351330 }; // as in make_cases.py

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!j)
        fail_msg("%s: %s", path, error.text);
    return j;
}

/* Compiles and renders in one go; on failure `why` says why, and there is no output. */
static enum status render(const json_t *source, const json_t *vars, struct jinja_output *out,
                          struct note *why)
{
    static const char *const trusted[] = { "bos_token", "eos_token", NULL };
    struct jinja *t;
    *out = (struct jinja_output){ 0 };
    enum status st = jinja_new(&t, json_string_value(source), json_string_length(source), why);
    if (st != OK)
        return st;
    st = jinja_render(t, vars, trusted, NOW, out, why);
    jinja_free(t);
    return st;
}

/* ---- the same text as jinja2 ---- */

static void expect_same(const json_t *record, const char *what, const json_t *source,
                        const json_t *vars)
{
    struct jinja_output out;
    struct note why = { "" };
    const json_t *want = json_object_get(record, "rendered");
    enum status st = render(source, vars, &out, &why);
    if (!want && st != BAD_INPUT)
        fail_msg("%s renders as '%s', jinja2 refuses it", what, buf_text(&out.text));
    if (want && st != OK)
        fail_msg("%s fails: %s", what, why.text);
    if (want && (out.text.len != json_string_length(want) ||
                 memcmp(buf_text(&out.text), json_string_value(want), out.text.len) != 0))
        fail_msg("%s renders as\n%s\nexpected\n%s", what, buf_text(&out.text),
                 json_string_value(want));
    assert_true(st == OK || why.text[0]);
    jinja_output_close(&out);
}

static void for_each_line(const char *path, size_t n_min, void (*check)(json_t *, void *),
                          void *data)
{
    char *line = NULL;
    size_t room = 0, n = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (; getline(&line, &room, f) > 0; n++) {
        json_t *record = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(record);
        check(record, data);
        json_decref(record);
    }
    assert_true(n >= n_min);
    free(line);
    fclose(f);
}

static void check_case(json_t *record, void *vars)
{
    const json_t *source = json_object_get(record, "source");
    expect_same(record, json_string_value(source), source, vars);
}

static void renders_cases(void **state)
{
    (void)state;
    json_t *vars = load("tests/data/jinja/vars.json");
    for_each_line("tests/data/jinja/cases.jsonl", 350, check_case, vars);
    json_decref(vars);
}

static json_t *template_source(const char *name)
{
    char path[200], text[32 * 1024];
    snprintf(path, sizeof path, "tests/data/jinja/templates/%s", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text, f);
    assert_true(n < sizeof text);
    fclose(f);
    return json_stringn(text, n);
}

static void check_chat(json_t *record, void *data)
{
    const char *name = json_string_value(json_object_get(record, "template"));
    const char *conversation = json_string_value(json_object_get(record, "conversation"));
    const char *extra = json_string_value(json_object_get(record, "extra"));
    json_t *all = data, *source = template_source(name);
    json_t *vars = json_copy(json_object_get(json_object_get(all, "extras"), extra));
    json_object_set(vars, "messages",
                    json_object_get(json_object_get(all, "conversations"), conversation));
    json_object_set_new(vars, "bos_token", json_string("<s>"));
    json_object_set_new(vars, "eos_token", json_string("</s>"));
    char what[300];
    snprintf(what, sizeof what, "%s with '%s' and '%s'", name, conversation, extra);
    expect_same(record, what, source, vars);
    json_decref(vars);
    json_decref(source);
}

static void renders_chats(void **state)
{
    (void)state;
    json_t *all = load("tests/data/jinja/chat_vars.json");
    for_each_line("tests/data/jinja/chats.jsonl", 600, check_chat, all);
    json_decref(all);
}

/* ---- J1: who wrote it ---- */

/* The output with [ ] around what is not the template's own. */
static void expect_marks(const char *source, const char *want)
{
    json_t *vars = load("tests/data/jinja/vars.json"), *text = json_string(source);
    struct jinja_output out;
    struct note why = { "" };
    struct buf shown = { 0 };
    json_object_set_new(vars, "bos_token", json_string("<s>"));
    json_object_set_new(vars, "messages",
                        json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "U",
                                  "role", "admin", "content", "user"));
    if (render(text, vars, &out, &why) != OK)
        fail_msg("%s: %s", source, why.text);
    for (size_t i = 0; i < out.n_span; i++) {
        buf_add_text(&shown, out.span[i].trusted ? "" : "[");
        buf_add(&shown, out.span[i].bytes, out.span[i].len);
        buf_add_text(&shown, out.span[i].trusted ? "" : "]");
    }
    if (strcmp(buf_text(&shown), want) != 0)
        fail_msg("%s is marked\n%s\nexpected\n%s", source, buf_text(&shown), want);
    buf_close(&shown);
    jinja_output_close(&out);
    json_decref(text);
    json_decref(vars);
}

static void marks_follow_text(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "a{{ s }}b", "a[Hello, World]b" },
        { "{{ 'a' + s[:2] + 'b' }}", "a[He]b" },
        { "{{ ('<' ~ s ~ '>')[1:3] }}{{ ('<' ~ s ~ '>')[::-1] }}", "[He]>[dlroW ,olleH]<" },
        { "{{ ('a' ~ s)|upper }}{{ ('a' ~ u)|title }}",
          "A[HELLO, WORLD]A[größe Σας FIn Ǆ ✓\u00a0X]" },
        { "{{ s|replace('l', '<>') }}", "[He]<><>[o, Wor]<>[d]" },
        { "{{ 'a-b'|replace('-', s[0]) }}", "a[H]b" },
        { "{{ 'x%sy%%'|format(s[0]) }}{{ 'x{}y'.format(s[0]) }}", "x[H]y%x[H]y" },
        { "{{ w|join('+') }}{{ '+'.join(w) }}", "[b]+[A]+[c]+[ab]+[A]+[c]+[a]" },
        { "{{ (s ~ '|' ~ s[0]).split('|')[1] }}{{ s.split(', ')[1]|trim }}", "[HWorld]" },
        { "{{ s|tojson }}{{ {'k': s[0]}|tojson }}{{ ['k', s[0]] }}",
          "[\"Hello, World\"]{\"k\": [\"H\"]}['k', ['H']]" },
        { "{{ d }}{{ d|tojson }}{{ i }}{{ x }}{{ t }}{{ n }}",
          "[{'b': 1, 'a': [1, {'k': None}], 'Z': 'z'}{\"b\": 1, \"a\": [1, {\"k\": null}], \"Z\": "
          "\"z\"}72.5TrueNone]" },
        { "{{ i + 1 }}{{ 1 + 1 }}{{ s|length }}{{ l[0] * 2 }}{{ '7'|int }}{{ (i ~ '')|int }}",
          "[8]212[6]7[7]" },
        { "{{ i|round }}{{ -i }}{{ neg|abs }}{{ l|sum }}{{ l|max }}", "[7-7763]" },
        { "{{ html|e }}{{ '<'|e }}{{ u[:5]|urlencode }}",
          "[&lt;a href=&#34;x&#34;&gt;&#39;&amp;&#39;&lt;/a&gt;]&lt;[Gr%C3%B6%C3%9Fe]" },
        { "{% set a %}x{{ s[0] }}{% endset %}{{ a ~ a|lower }}", "x[H]x[h]" },
        { "{% macro m(a) %}({{ a }}{{ caller and caller() }}){% endmacro %}{{ m(s[0]) }}{% call "
          "m(1) %}{{ s[1] }}!{% endcall %}",
          "([H])(1[e]!)" },
        { "{% filter lower %}A{{ s[0] }}B{% endfilter %}", "a[h]b" },
        { "{% for k, v in d.items() %}{{ k }}={% endfor %}{% for c in s[:2] %}{{ c }}.{% endfor %}",
          "[b]=[a]=[Z]=[H].[e]." },
        { "{{ s|center(14) }}{{ s|indent(1, true) }}{{ 'a'|indent(w[0]) }}",
          " [Hello, World]  [Hello, World]a" },
        { "{{ s.upper() if s.startswith('H') }}{{ s.partition(',')[1] ~ ',' }}",
          "[HELLO, WORLD,]," },
        { "{{ bos_token }}{{ bos_token ~ s[0] }}", "<s><s>[H]" },
        { "{{ strftime_now('%Y' ~ s[0]) }}{{ missing|default(s[0]) }}{{ s[0]|default('x') }}",
          "2025[HHH]" },
        { "{{ s|wordcount }}{{ s|truncate(8, leeway=0) }}{{ w|sort|first }}", "2[Hello]...[A]" },
        // roles of the closed list may make control tokens, others and other keys may not
        { "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}",
          "<|user|>[U]<|[admin]|>[user]" },
        { "{{ s }}{{ s }}", "[Hello, WorldHello, World]" },
        { "{{ e }}a{{ e }}b", "ab" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_marks(cases[i][0], cases[i][1]);
}

/* ---- errors and bounds ---- */

static void expect_error(const char *source, const char *words)
{
    json_t *text = json_string(source),
           *vars = json_pack("{s:s}", "s", "a string of thirty-two characters");
    struct jinja_output out;
    struct note why = { "" };
    assert_int_equal(render(text, vars, &out, &why), BAD_INPUT);
    if (!strstr(why.text, words))
        fail_msg("%s fails with '%s', expected '%s'", source, why.text, words);
    assert_int_equal(out.n_span, 0);
    assert_null(out.text.bytes);
    json_decref(text);
    json_decref(vars);
}

static void errors_say_where_and_what(void **state)
{
    (void)state;
    expect_error("a\n{% if x %}\n{{ 1 + }}",
                 "line 3, column 8: found '}}', expected an expression");
    expect_error("a\n{% for x in y %}", "line 2, column 17: the template ends here, expected");
    expect_error("{{ 'abc }}", "line 1, column 4: this string is never closed");
    expect_error("{% include 'x' %}", "found 'include', expected if, for, set");
    expect_error("\n\n{{ raise_exception('No ' ~ s[0]) }}", "line 3: No a");
    expect_error("{{ s.x.y }}", "line 1: 'x' is undefined, it has no attributes");
    expect_error("{{ nosuch() }}", "'nosuch' is undefined, it cannot be called");
    expect_error("{{ s|nosuch }}", "there is no filter named 'nosuch'");
    expect_error("{{ s|replace('a') }}", "replace needs at least 2 arguments: old new count");
    expect_error("{% macro m() %}{% endmacro %}{{ m(1) }}",
                 "macro 'm' was given 1 arguments, too many");
}

static void sources_are_utf8(void **state)
{
    (void)state;
    struct note why = { "" };
    struct jinja *t;
    assert_int_equal(jinja_new(&t, "a\xff", 2, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "not valid UTF-8"));
}

static void bounds_are_named(void **state)
{
    (void)state;
    expect_error("{{ range(100001) }}", "100000 numbers, the bound of ranges");
    expect_error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "600, the bound of recursion");
    expect_error(
        "{% set r = range(9999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        "8000000 steps, the bound of work");
    expect_error("{{ 'x' * 99999999 }}", "16777216 bytes, the bound of texts");
    expect_error(
        "{% for a in range(9999) %}{% for b in range(99) %}{{ s * 99 }}{% endfor %}{% endfor %}",
        "16777216 bytes, the bound of texts and output");
    expect_error(
        "{% set n = namespace(a=[1]) %}{% for a in range(99) %}{% set n.a = n.a * 2 %}{% endfor %}",
        "268435456 bytes, the bound of memory");
    expect_error("{% set n = namespace(a=[]) %}{% for a in range(999) %}{% set n.a = [n.a] %}{% "
                 "endfor %}{{ n.a }}",
                 "600, the bound of recursion");
    expect_error("{% set a = [] %}{{ a.append(a) }}{{ a }}", "600, the bound of recursion");
    expect_error("{% set a = [1] %}{% for x in a %}{{ a.append(1) or '' }}{% endfor %}",
                 "the bound of");
    expect_error("{{ 9223372036854775807 + 1 }}", "64 bits, the bound of integers");
    expect_error("{{ 10 ** 19 }}", "64 bits, the bound of integers");
    expect_error("{{ range(-9223372036854775807, 9223372036854775807, 9223372036854775806)[::2] }}",
                 "64 bits, the bound of integers");
    expect_error("{{ 99999999999999999999 }}", "99999999999999999999 does not fit in 64 bits");
}

static void nesting_is_bounded_when_compiled(void **state)
{
    (void)state;
    static const char *const parts[] = { "(", "[", "-", "not ", "{% if x %}", "1 if ", "x[" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct buf b = { 0 };
        bool statement = parts[i][0] == '{';
        buf_add_text(&b, statement ? "" : "{{ ");
        for (int n = 0; n < 5000; n++)
            buf_add_text(&b, parts[i]);
        expect_error(b.bytes, "");
        buf_close(&b);
    }
}

/* ---- threads ---- */

static void *render_often(void *data)
{
    struct jinja_output out;
    struct note why = { "" };
    for (int i = 0; i < 200; i++) {
        json_t *vars = json_pack("{s:[s, s]}", "l", "é", "b");
        if (jinja_render(data, vars, NULL, 0, &out, &why) != OK ||
            strcmp(out.text.bytes, "['É', 'B']") != 0)
            return "wrong";
        jinja_output_close(&out);
        json_decref(vars);
    }
    return NULL;
}

static void many_threads_share_a_template(void **state)
{
    (void)state;
    static const char source[] = "{{ l|map('upper')|list }}";
    struct note why = { "" };
    struct jinja *t;
    pthread_t thread[3];
    assert_int_equal(jinja_new(&t, source, strlen(source), &why), OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, render_often, t), 0);
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(thread[i], &wrong);
        assert_null(wrong);
    }
    jinja_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_cases),
        cmocka_unit_test(renders_chats),
        cmocka_unit_test(marks_follow_text),
        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(sources_are_utf8),
        cmocka_unit_test(bounds_are_named),
        cmocka_unit_test(nesting_is_bounded_when_compiled),
        cmocka_unit_test(many_threads_share_a_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
