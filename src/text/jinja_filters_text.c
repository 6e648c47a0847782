/* Filters of text. What they answer is what jinja2's filters.py answers; a value that is no text is
 * printed first, where jinja2 does so. */
#include <string.h>

#include "base/utf8.h"
#include "text/jinja_chars.h"
#include "text/jinja_ops.h"

/* Text in, text out: the mark that `safe` left stays. */
static struct jvalue like(const struct jvalue *in, struct jtext out)
{
    out.safe = in->kind == J_TEXT && in->text.safe;
    return jtextv(out);
}

static struct jvalue filter_string(struct jrun *r, const struct jcall *c)
{
    return jtextv(jshow_text(r, &c->self));
}

static struct jvalue filter_safe(struct jrun *r, const struct jcall *c)
{
    struct jtext t = jshow_text(r, &c->self);
    t.safe = true;
    return jtextv(t);
}

static struct jvalue filter_escape(struct jrun *r, const struct jcall *c)
{
    struct jtext t = jshow_text(r, &c->self);
    return jtextv(t.safe ? t : jtext_escape(r, t));
}

static struct jvalue filter_forceescape(struct jrun *r, const struct jcall *c)
{
    return jtextv(jtext_escape(r, jshow_text(r, &c->self)));
}

static struct jvalue cased(struct jrun *r, const struct jcall *c, enum jtext_case form)
{
    return like(&c->self, jtext_cased(r, jshow_text(r, &c->self), form));
}

static struct jvalue filter_upper(struct jrun *r, const struct jcall *c)
{
    return cased(r, c, JTEXT_UPPER);
}

static struct jvalue filter_lower(struct jrun *r, const struct jcall *c)
{
    return cased(r, c, JTEXT_LOWER);
}

static struct jvalue filter_capitalize(struct jrun *r, const struct jcall *c)
{
    return cased(r, c, JTEXT_CAPITAL);
}

/* Where a word begins for `title`: after white space, - ( { [ and <. */
static bool separates(struct jtext t, uint32_t at)
{
    uint32_t ch;
    utf8_read(t.bytes + at, jtext_char_len(t, at), &ch);
    return jtext_is_space(ch) || (ch < 128 && ch > 0 && strchr("-({[<", (int)ch));
}

static struct jvalue filter_title(struct jrun *r, const struct jcall *c)
{
    struct jtext t = jshow_text(r, &c->self);
    struct jbuild out;
    jbuild_open(&out, r);
    for (uint32_t at = 0, end; at < t.len && jrun_step(r, 1); at = end) {
        uint32_t first = at + jtext_char_len(t, at);
        end = first;
        while (end < t.len && separates(t, end) == separates(t, at))
            end += jtext_char_len(t, end);
        jbuild_add(&out, jtext_cased(r, jtext_slice(t, at, first), JTEXT_UPPER));
        jbuild_add(&out, jtext_cased(r, jtext_slice(t, first, end), JTEXT_LOWER));
    }
    return jtextv(jbuild_text(&out));
}

static struct jvalue filter_trim(struct jrun *r, const struct jcall *c)
{
    struct jtext t = jshow_text(r, &c->self);
    if (!jarg_given(c, 0) || c->arg[0].kind == J_NONE)
        return like(&c->self, jtext_strip(t, JTEXT_BOTH));
    struct jtext set = jarg_text(r, c, 0, JTEXT(""));
    jrun_charge(r, (uint64_t)t.len * set.len);
    return like(&c->self, jtext_strip_set(t, set, JTEXT_BOTH));
}

static struct jvalue filter_replace(struct jrun *r, const struct jcall *c)
{
    bool counted = jarg_given(c, 2) && c->arg[2].kind != J_NONE;
    struct jtext t = jshow_text(r, &c->self);
    t = jtext_replace(r, t, jshow_text(r, &c->arg[0]), jshow_text(r, &c->arg[1]),
                      counted ? jarg_int(r, c, 2, -1) : -1);
    t.safe = false;
    return jtextv(t);
}

static struct jvalue filter_center(struct jrun *r, const struct jcall *c)
{
    struct jtext t = jshow_text(r, &c->self);
    int64_t width = jarg_int(r, c, 0, 80), n = jtext_n_char(t);
    int64_t pad = width > n ? width - n : 0, left = pad / 2 + (pad & width & 1);
    struct jbuild out;
    jbuild_open(&out, r);
    jbuild_add(&out, jtext_repeat(r, JTEXT(" "), left));
    jbuild_add(&out, t);
    jbuild_add(&out, jtext_repeat(r, JTEXT(" "), pad - left));
    return jtextv(jbuild_text(&out));
}

static struct jvalue filter_indent(struct jrun *r, const struct jcall *c)
{
    bool first = jarg_truth(c, 1, false), blank = jarg_truth(c, 2, false);
    struct jtext indent, line;
    struct jbuild out;
    if (c->self.kind != J_TEXT)
        jrun_fail(r, "indent: a %s is no string", jvalue_type(&c->self));
    if (c->arg[0].kind == J_TEXT)
        indent = c->arg[0].text;
    else
        indent = jtext_repeat(r, JTEXT(" "), jarg_int(r, c, 0, 4));
    struct jtext t =
        jtext_join2(r, jshow_text(r, &c->self), JTEXT("\n")); // so a last empty line counts
    jbuild_open(&out, r);
    for (uint32_t at = 0, n = 0; jrun_step(r, 1) && jtext_next_line(t, &at, false, &line); n++) {
        if (n > 0)
            jbuild_add(&out, JTEXT("\n"));
        if (n == 0 ? first : blank || line.len > 0)
            jbuild_add(&out, indent);
        jbuild_add(&out, line);
    }
    return like(&c->self, jbuild_text(&out));
}

static struct jvalue filter_truncate(struct jrun *r, const struct jcall *c)
{
    int64_t length = jarg_int(r, c, 0, 255), leeway = jarg_given(c, 3) ? jarg_int(r, c, 3, 5) : 5;
    struct jtext t = jshow_text(r, &c->self), end = jarg_text(r, c, 2, JTEXT("..."));
    int64_t n = jtext_n_char(t), n_end = jtext_n_char(end);
    if (c->self.kind != J_TEXT)
        jrun_fail(r, "truncate: a %s is no string", jvalue_type(&c->self));
    if (length < n_end || leeway < 0)
        jrun_fail(r, "truncate: %lld characters leave no room for the end", (long long)length);
    if (!jrun_ok(r) || n - length <= leeway)
        return jtextv(t);
    struct jtext cut = jtext_slice(t, 0, jtext_offset(t, (uint32_t)(length - n_end)));
    ptrdiff_t space = jtext_rfind(cut, JTEXT(" "), cut.len);
    if (!jarg_truth(c, 1, false) && space >= 0)
        cut = jtext_slice(cut, 0, (size_t)space);
    return jtextv(jtext_join2(r, cut, end));
}

static bool in_word(struct jrun *r, uint32_t c)
{
    return c == '_' || jchar_is(&r->chars, JCHAR_ALPHA, c) || jchar_is(&r->chars, JCHAR_NUMERIC, c);
}

static struct jvalue filter_wordcount(struct jrun *r, const struct jcall *c)
{
    struct jtext t = jshow_text(r, &c->self);
    int64_t n = 0;
    bool inside = false;
    for (uint32_t at = 0; at < t.len && jrun_step(r, 1); at += jtext_char_len(t, at)) {
        uint32_t ch;
        utf8_read(t.bytes + at, jtext_char_len(t, at), &ch);
        bool word = in_word(r, ch);
        n += word && !inside;
        inside = word;
    }
    return jint(n);
}

static struct jvalue filter_format(struct jrun *r, const struct jcall *c)
{
    if (c->all->n_pos > 0 && c->all->n_named > 0)
        jrun_fail(r, "format: arguments either by position or by name");
    return like(&c->self, jformat_percent(r, jshow_text(r, &c->self), c->all));
}

/* ---- URLs ---- */

static void add_quoted(struct jbuild *out, struct jtext t, bool in_query)
{
    static const char hex[] = "0123456789ABCDEF", bare[] = "_.-~";
    for (uint32_t i = 0; i < t.len && jrun_ok(out->run); i++) {
        unsigned char ch = (unsigned char)t.bytes[i];
        bool letter = (ch | 32) >= 'a' && (ch | 32) <= 'z', digit = ch >= '0' && ch <= '9';
        char code[4] = { '%', hex[ch >> 4], hex[ch & 15], 0 };
        if (letter || digit || (ch && strchr(bare, ch)) || (ch == '/' && !in_query))
            jbuild_add(out, jtext_slice(t, i, i + 1));
        else
            jbuild_add_word(out, in_query && ch == ' ' ? "+" : code, jtext_trusted_at(t, i));
    }
}

static void add_query_pair(struct jbuild *out, const struct jvalue *key, const struct jvalue *value)
{
    if (out->len > 0)
        jbuild_add(out, JTEXT("&"));
    add_quoted(out, jshow_text(out->run, key), true);
    jbuild_add(out, JTEXT("="));
    add_quoted(out, jshow_text(out->run, value), true);
}

static struct jvalue filter_urlencode(struct jrun *r, const struct jcall *c)
{
    struct jbuild out;
    jbuild_open(&out, r);
    if (c->self.kind != J_DICT && !jvalue_is_list(&c->self)) {
        add_quoted(&out, jshow_text(r, &c->self), false);
        return jtextv(jbuild_text(&out));
    }
    struct jvalue pairs =
        c->self.kind == J_DICT ? jdict_list(r, c->self.dict, JDICT_ITEMS) : c->self;
    const struct jlist *items = jvalue_items(r, &pairs);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        const struct jlist *pair = jvalue_items(r, &items->item[i]);
        if (pair->n != 2)
            jrun_fail(r, "urlencode: an item is no pair");
        else
            add_query_pair(&out, &pair->item[0], &pair->item[1]);
    }
    return jtextv(jbuild_text(&out));
}

static const struct jbuiltin rows[] = {
    { "capitalize", filter_capitalize, "", 0 },
    { "center", filter_center, "width", 0 },
    { "e", filter_escape, "", 0 },
    { "escape", filter_escape, "", 0 },
    { "forceescape", filter_forceescape, "", 0 },
    { "format", filter_format, NULL, 0 },
    { "indent", filter_indent, "width first blank", 0 },
    { "lower", filter_lower, "", 0 },
    { "replace", filter_replace, "old new count", 2 },
    { "safe", filter_safe, "", 0 },
    { "string", filter_string, "", 0 },
    { "title", filter_title, "", 0 },
    { "trim", filter_trim, "chars", 0 },
    { "truncate", filter_truncate, "length killwords end leeway", 0 },
    { "upper", filter_upper, "", 0 },
    { "urlencode", filter_urlencode, "", 0 },
    { "wordcount", filter_wordcount, "", 0 },
};

const struct jbuiltin_table jfilters_of_text = JBUILTIN_TABLE(rows);
