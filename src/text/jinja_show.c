#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/jinja_chars.h"
#include "text/jinja_ops.h"

/* ---- numbers ---- */

void jfloat_print(double d, char out[JFLOAT_ROOM])
{
    char digits[32];
    if (!isfinite(d)) {
        snprintf(out, JFLOAT_ROOM, "%s", isnan(d) ? "nan" : d < 0 ? "-inf" : "inf");
        return;
    }
    int n = 0;
    do {
        snprintf(digits, sizeof digits, "%.*e", n++, d);
    } while (n < 18 && strtod(digits, NULL) != d);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) { // digits, then the exponent with two places at least
        *strchr(digits, 'e') = 0;
        snprintf(out, JFLOAT_ROOM, "%.24se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    int places = n - 1 - exponent;
    snprintf(out, JFLOAT_ROOM, "%.*f", places > 1 ? places : 1, d);
}

static void add_number(struct jbuild *b, const struct jvalue *v)
{
    char out[JFLOAT_ROOM];
    if (v->kind == J_INT)
        snprintf(out, sizeof out, "%" PRId64, v->whole);
    else
        jfloat_print(v->real, out);
    jbuild_add_word(b, out, v->trusted);
}

/* ---- repr ---- */

static void add_repr(struct jbuild *b, const struct jvalue *v);

/* \n, \xe9, \u200b: what Python writes for a character it does not show. */
static void add_repr_escape(struct jbuild *b, uint32_t c, bool trusted)
{
    char out[12];
    const char *plain = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    if (plain)
        snprintf(out, sizeof out, "%s", plain);
    else if (c < 0x100)
        snprintf(out, sizeof out, "\\x%02x", c);
    else
        snprintf(out, sizeof out, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    jbuild_add_word(b, out, trusted);
}

static bool shows(struct jrun *r, uint32_t c)
{
    return c < 0x7f ? c >= 0x20 : jchar_is(&r->chars, JCHAR_PRINTABLE, c);
}

static void add_text_repr(struct jbuild *b, struct jtext t)
{
    bool trusted = jtext_all_trusted(t);
    if (t.safe)
        jbuild_add_word(b, "Markup(", trusted);
    bool single = jtext_find(t, JTEXT("'"), 0) < 0 || jtext_find(t, JTEXT("\""), 0) >= 0;
    const char *quote = single ? "'" : "\"";
    uint32_t c, done = 0;
    jbuild_add_word(b, quote, trusted);
    for (uint32_t i = 0, n; i < t.len && jrun_step(b->run, i & 1); i += n) {
        n = jtext_char_len(t, i);
        utf8_read(t.bytes + i, n, &c);
        bool bare = c == '\\' || c == (uint32_t)*quote;
        if (!bare && shows(b->run, c))
            continue;
        jbuild_add(b, jtext_slice(t, done, i));
        done =
            bare ? i : i + n; // a backslash in front, the character itself comes with what follows
        if (bare)
            jbuild_add_word(b, "\\", jtext_trusted_at(t, i));
        else
            add_repr_escape(b, c, jtext_trusted_at(t, i));
    }
    jbuild_add(b, jtext_slice(t, done, t.len));
    jbuild_add_word(b, quote, trusted);
    if (t.safe)
        jbuild_add_word(b, ")", trusted);
}

static void add_items_repr(struct jbuild *b, const struct jvalue *v, const char *open,
                           const char *close)
{
    jbuild_add_word(b, open, v->trusted);
    for (uint32_t i = 0; i < v->list->n && jrun_step(b->run, 1); i++) {
        if (i > 0)
            jbuild_add_word(b, ", ", v->trusted);
        add_repr(b, &v->list->item[i]);
    }
    jbuild_add_word(b, close, v->trusted);
}

static void add_dict_repr(struct jbuild *b, const struct jvalue *v)
{
    jbuild_add_word(b, "{", v->trusted);
    for (uint32_t i = 0; i < v->dict->n && jrun_step(b->run, 1); i++) {
        if (i > 0)
            jbuild_add_word(b, ", ", v->trusted);
        add_repr(b, &v->dict->pair[i].key);
        jbuild_add_word(b, ": ", v->trusted);
        add_repr(b, &v->dict->pair[i].value);
    }
    jbuild_add_word(b, "}", v->trusted);
}

const char *jshow_range(struct jrun *r, int64_t first, int64_t end, int64_t step)
{
    enum {
        ROOM = sizeof "range(-9223372036854775808, -9223372036854775808, -9223372036854775808)"
    };
    char *out = jrun_new(r, ROOM, 1);
    if (!out)
        return "";
    snprintf(out, ROOM,
             step == 1 ? "range(%" PRId64 ", %" PRId64 ")"
                       : "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")",
             first, end, step);
    return out;
}

/* What range() gave knows its words; of a slice they follow from the numbers, as in Python. */
static void add_range_repr(struct jbuild *b, const struct jlist *l)
{
    int64_t first = l->n > 0 ? l->item[0].whole : 0, step = 1, length, end;
    if (l->word) {
        jbuild_add_word(b, l->word, true);
        return;
    }
    bool too_large = l->n > 1 && __builtin_sub_overflow(l->item[1].whole, first, &step);
    too_large |= __builtin_mul_overflow(step, (int64_t)l->n, &length);
    too_large |= __builtin_add_overflow(first, length, &end);
    if (too_large)
        jrun_fail(b->run, "an end of a range does not fit in 64 bits, the bound of integers");
    else
        jbuild_add_word(b, jshow_range(b->run, first, end, step), true);
}

static void add_list_repr(struct jbuild *b, const struct jvalue *v)
{
    switch (v->kind) {
    case J_LIST:
        add_items_repr(b, v, "[", "]");
        return;
    case J_TUPLE:
        add_items_repr(b, v, "(", v->list->n == 1 ? ",)" : ")");
        return;
    case J_VIEW:
        jbuild_add_word(b, v->list->word, true);
        add_items_repr(b, v, "([", "])");
        return;
    case J_RANGE:
        add_range_repr(b, v->list);
        return;
    default:
        jbuild_add_word(b, "<generator object>", true);
    }
}

static void add_object_repr(struct jbuild *b, const struct jvalue *v)
{
    jbuild_add_word(b, "<", true);
    jbuild_add_word(b, jvalue_type(v), true);
    if (v->kind == J_NAMESPACE) {
        jbuild_add_word(b, " ", true);
        add_dict_repr(b, v);
    }
    jbuild_add_word(b, ">", true);
}

static void add_repr(struct jbuild *b, const struct jvalue *v)
{
    if (!jrun_enter(b->run))
        return;
    if (v->kind == J_TEXT)
        add_text_repr(b, v->text);
    else if (v->kind == J_INT || v->kind == J_FLOAT)
        add_number(b, v);
    else if (v->kind == J_BOOL)
        jbuild_add_word(b, v->truth ? "True" : "False", v->trusted);
    else if (v->kind == J_NONE)
        jbuild_add_word(b, "None", v->trusted);
    else if (v->kind == J_UNDEFINED)
        jbuild_add_word(b, "Undefined", true);
    else if (v->kind == J_DICT)
        add_dict_repr(b, v);
    else if (jvalue_is_list(v))
        add_list_repr(b, v);
    else
        add_object_repr(b, v);
    jrun_leave(b->run);
}

struct jtext jshow_repr(struct jrun *r, const struct jvalue *v)
{
    struct jbuild b;
    jbuild_open(&b, r);
    add_repr(&b, v);
    return jbuild_text(&b);
}

struct jtext jshow_text(struct jrun *r, const struct jvalue *v)
{
    if (v->kind == J_TEXT)
        return v->text;
    if (v->kind == J_UNDEFINED)
        return JTEXT("");
    return jshow_repr(r, v);
}
