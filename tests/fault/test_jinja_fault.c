/* Templates with the k-th allocation failing, for every k: FULL with a note, nothing leaked
 * (SAN=address). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/jinja.h"

/* Each takes several chunks of memory, in the parts that its name says. */
static const struct {
    const char *what, *source;
    unsigned repeat; // so many times in a row, to make a large template
} templates[] = {
    { "compiling", "{% if s %}{{ s ~ 'a\\n' }}{% else %}{{ [1, {'k': s|upper}] }}{% endif %}\n",
      100 },
    { "scopes",
      "{% for i in range(900) %}{% set a = i %}{% macro m() %}{{ a }}{% endmacro %}{{ m() }}{% "
      "endfor %}",
      1 },
    { "texts",
      "{% set x %}{% for i in range(999) %}{{ s }}{{ i }}{% endfor %}{% endset %}{{ "
      "x|upper|replace('A', 'bb')|tojson }}",
      1 },
    { "lists",
      "{% set l = range(3000)|list %}{{ l|sort(reverse=true)|map('string')|join }}{{ l[::-1] ~ (l "
      "+ l)|unique|list|length }}",
      1 },
    { "dicts",
      "{% set d = {} %}{% for i in range(200) %}{{ d.update({i: [s] * 20}) or '' }}{% endfor %}{{ "
      "d|dictsort|tojson(indent=1) }}",
      1 },
    { "characters",
      "{{ [s, 'a\u200bb\u00e9'] }}{{ 'é'.isalpha() }}{{ s.split()|map('title')|list }}", 1 },
};

static enum status render(const char *source, const json_t *vars, struct jinja_output *out,
                          struct note *why)
{
    struct jinja *t;
    enum status st = jinja_new(&t, source, strlen(source), why);
    if (st != OK)
        return st;
    st = jinja_render(t, vars, NULL, 0, out, why);
    jinja_free(t);
    return st;
}

static void expect_full_for_every_k(const char *source, const json_t *vars)
{
    for (uint64_t k = 1;; k++) {
        struct jinja_output out = { 0 };
        struct note why = { "" };
        mem_fail_at(k);
        enum status st = render(source, vars, &out, &why);
        uint64_t n_asked = mem_fail_count();
        mem_fail_at(0);
        if (n_asked < k) { // none was left to fail
            if (st != OK)
                fail_msg("%s", why.text);
            assert_true(k > 5);
            jinja_output_close(&out);
            return;
        }
        assert_true(st == FULL || st == OK); // classes of characters fall back on ASCII
        assert_true(st == OK || (!out.span && !out.text.bytes && why.text[0]));
        jinja_output_close(&out);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    json_t *vars = json_pack("{s:s}", "s", "some words of a caller, é");
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        struct buf source = { 0 };
        for (unsigned n = 0; n < templates[i].repeat; n++)
            buf_add_text(&source, templates[i].source);
        expect_full_for_every_k(source.bytes, vars);
        buf_close(&source);
    }
    json_decref(vars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
