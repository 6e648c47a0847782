/* Any bytes as a template and a user's message: it renders or is refused with a note, within its
 * bounds (J2), and what the user wrote is never taken for the template's own (J1). The input is the
 * template, a 0x1e byte, the message. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"
#include "text/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char MARK[] = "\uE000"; // only the user writes this character

static json_t *conversation(const char *message, size_t len)
{
    struct buf b = { 0 };
    buf_add_text(&b, MARK);
    buf_add(&b, message, len);
    buf_add_text(&b, MARK);
    json_t *content = json_stringn(b.bytes, b.len);
    buf_close(&b);
    json_t *vars = json_pack("{s:[{s:s, s:O}, {s:s, s:n, s:[{s:s, s:{s:s, s:{s:O, s:i}}}]}], s:O, "
                             "s:b, s:s, s:f, s:[i, i]}",
                             "messages", "role", "user", "content", content, "role", "assistant",
                             "content", "tool_calls", "id", "c1", "function", "name", "f",
                             "arguments", "a", content, "b", 7, "s", content,
                             "add_generation_prompt", 1, "bos_token", "<s>", "x", 2.5, "l", 3, 1);
    json_decref(content);
    return vars;
}

static void expect_sound(const struct jinja_output *out, bool marked)
{
    size_t at = 0;
    for (size_t i = 0; i < out->n_span; i++) {
        const struct vocab_span *s = &out->span[i];
        assert(s->bytes == out->text.bytes + at && s->len > 0);
        assert(!marked || !s->trusted || !memmem(s->bytes, s->len, MARK, strlen(MARK)));
        at += s->len;
    }
    assert(at == out->text.len);
    assert(utf8_valid(buf_text(&out->text), out->text.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const char *const trusted[] = { "bos_token", NULL };
    const char *source = (const char *)bytes, *end = len ? memchr(source, 0x1e, len) : NULL;
    size_t n_source = end ? (size_t)(end - source) : len, n_message = end ? len - n_source - 1 : 0;
    struct note why = { "" };
    struct jinja *t;
    struct jinja_output out = { 0 };

    if (n_message > 0 && !utf8_valid(end + 1, n_message))
        return -1;
    if (jinja_new(&t, n_source ? source : "", n_source, &why) != OK) {
        assert(why.text[0]);
        return 0;
    }
    json_t *vars = conversation(n_message ? end + 1 : "", n_message);
    bool marked = !memmem(source, n_source, MARK, strlen(MARK)) && !memchr(source, '\\', n_source);
    enum status st = jinja_render(t, vars, trusted, 1753351330, &out, &why);
    if (st == OK)
        expect_sound(&out, marked);
    else
        assert(st == BAD_INPUT && why.text[0] && !out.text.bytes);
    jinja_output_close(&out);
    json_decref(vars);
    jinja_free(t);
    return 0;
}
