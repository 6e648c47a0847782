/* Methods of text, as Python's str has them. Positions count characters. */
#include <string.h>

#include "base/utf8.h"
#include "text/jinja_chars.h"
#include "text/jinja_ops.h"

/* The mark that `safe` left stays. */
static struct jvalue like(const struct jcall *c, struct jtext out)
{
    out.safe = c->self.text.safe;
    return jtextv(out);
}

static bool is_none(const struct jcall *c, int i)
{
    return !jarg_given(c, i) || c->arg[i].kind == J_NONE;
}

/* ---- stripping and cases ---- */

static struct jvalue strip(struct jrun *r, const struct jcall *c, enum jtext_side side)
{
    if (is_none(c, 0))
        return like(c, jtext_strip(c->self.text, side));
    struct jtext set = jarg_text(r, c, 0, JTEXT(""));
    jrun_charge(r, (uint64_t)c->self.text.len * set.len);
    return like(c, jtext_strip_set(c->self.text, set, side));
}

static struct jvalue text_strip(struct jrun *r, const struct jcall *c)
{
    return strip(r, c, JTEXT_BOTH);
}

static struct jvalue text_lstrip(struct jrun *r, const struct jcall *c)
{
    return strip(r, c, JTEXT_LEFT);
}

static struct jvalue text_rstrip(struct jrun *r, const struct jcall *c)
{
    return strip(r, c, JTEXT_RIGHT);
}

static struct jvalue text_upper(struct jrun *r, const struct jcall *c)
{
    return like(c, jtext_cased(r, c->self.text, JTEXT_UPPER));
}

static struct jvalue text_lower(struct jrun *r, const struct jcall *c)
{
    return like(c, jtext_cased(r, c->self.text, JTEXT_LOWER));
}

static struct jvalue text_casefold(struct jrun *r, const struct jcall *c)
{
    return like(c, jtext_cased(r, c->self.text, JTEXT_FOLD));
}

static struct jvalue text_capitalize(struct jrun *r, const struct jcall *c)
{
    return like(c, jtext_cased(r, c->self.text, JTEXT_CAPITAL));
}

static struct jvalue text_title(struct jrun *r, const struct jcall *c)
{
    return like(c, jtext_cased(r, c->self.text, JTEXT_TITLE));
}

static struct jvalue text_swapcase(struct jrun *r, const struct jcall *c)
{
    return like(c, jtext_cased(r, c->self.text, JTEXT_SWAP));
}

/* ---- splitting and joining ---- */

/* Bytes of white space (or of none) from `at` on. */
static uint32_t span_of(struct jtext t, uint32_t at, bool space)
{
    uint32_t from = at, ch;
    while (at < t.len) {
        uint32_t n = jtext_char_len(t, at);
        utf8_read(t.bytes + at, n, &ch);
        if (jtext_is_space(ch) != space)
            break;
        at += n;
    }
    return at - from;
}

/* Where the word that ends the text begins. */
static uint32_t last_word(struct jtext t)
{
    uint32_t at = t.len;
    while (at > 0) {
        uint32_t before = jtext_char_before(t, at);
        if (span_of(jtext_slice(t, before, at), 0, true) > 0)
            break;
        at = before;
    }
    return at;
}

static void reverse(struct jlist *l)
{
    for (uint32_t i = 0; i < l->n / 2; i++) {
        struct jvalue swap = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = swap;
    }
}

/* Looking backwards for a text is not linear. */
static void charge_backwards(struct jrun *r, bool backwards, struct jtext t,
                             const struct jvalue *what)
{
    if (backwards && what->kind == J_TEXT)
        jrun_charge(r, (uint64_t)t.len * what->text.len);
}

/* At most `max` splits (negative: all); what is left then keeps the white space at its far end. */
static struct jvalue split_space(struct jrun *r, struct jtext t, int64_t max)
{
    struct jvalue out = jlist_new(r, J_LIST);
    t = jtext_strip(t, JTEXT_LEFT);
    for (; t.len > 0 && jrun_step(r, 1); max--) {
        uint32_t end = max == 0 ? t.len : span_of(t, 0, false);
        jlist_push(r, out.list, jtextv(jtext_slice(t, 0, end)));
        t = jtext_strip(jtext_slice(t, end, t.len), JTEXT_LEFT);
    }
    return out;
}

static struct jvalue rsplit_space(struct jrun *r, struct jtext t, int64_t max)
{
    struct jvalue out = jlist_new(r, J_LIST);
    t = jtext_strip(t, JTEXT_RIGHT);
    for (; t.len > 0 && jrun_step(r, 1); max--) {
        uint32_t at = max == 0 ? 0 : last_word(t);
        jlist_push(r, out.list, jtextv(jtext_slice(t, at, t.len)));
        t = jtext_strip(jtext_slice(t, 0, at), JTEXT_RIGHT);
    }
    reverse(out.list);
    return out;
}

static struct jvalue split_at(struct jrun *r, struct jtext t, struct jtext sep, int64_t max)
{
    struct jvalue out = jlist_new(r, J_LIST);
    size_t at = 0;
    for (; max != 0 && jrun_step(r, 1); max--) {
        ptrdiff_t hit = jtext_find(t, sep, at);
        if (hit < 0)
            break;
        jlist_push(r, out.list, jtextv(jtext_slice(t, at, (size_t)hit)));
        at = (size_t)hit + sep.len;
    }
    jlist_push(r, out.list, jtextv(jtext_slice(t, at, t.len)));
    return out;
}

static struct jvalue rsplit_at(struct jrun *r, struct jtext t, struct jtext sep, int64_t max)
{
    struct jvalue out = jlist_new(r, J_LIST);
    size_t end = t.len;
    for (; max != 0 && jrun_step(r, 1); max--) {
        ptrdiff_t hit = jtext_rfind(t, sep, end);
        if (hit < 0)
            break;
        jlist_push(r, out.list, jtextv(jtext_slice(t, (size_t)hit + sep.len, end)));
        end = (size_t)hit;
    }
    jlist_push(r, out.list, jtextv(jtext_slice(t, 0, end)));
    reverse(out.list);
    return out;
}

static struct jvalue split(struct jrun *r, const struct jcall *c, bool from_right)
{
    int64_t max = is_none(c, 1) ? -1 : jarg_int(r, c, 1, -1);
    struct jtext t = c->self.text;
    charge_backwards(r, from_right, t, &c->arg[0]);
    if (is_none(c, 0))
        return from_right && max >= 0 ? rsplit_space(r, t, max) : split_space(r, t, max);
    struct jtext sep = jarg_text(r, c, 0, JTEXT(" "));
    if (sep.len == 0) {
        jrun_fail(r, "split: the separator is empty");
        return jnothing();
    }
    return from_right ? rsplit_at(r, t, sep, max) : split_at(r, t, sep, max);
}

static struct jvalue text_split(struct jrun *r, const struct jcall *c)
{
    return split(r, c, false);
}

static struct jvalue text_rsplit(struct jrun *r, const struct jcall *c)
{
    return split(r, c, true);
}

static struct jvalue text_splitlines(struct jrun *r, const struct jcall *c)
{
    struct jvalue out = jlist_new(r, J_LIST);
    struct jtext line;
    bool keep = jarg_truth(c, 0, false);
    for (uint32_t at = 0; jtext_next_line(c->self.text, &at, keep, &line) && jrun_step(r, 1);)
        jlist_push(r, out.list, jtextv(line));
    return out;
}

/* (before, separator, after) around byte `hit`. */
static struct jvalue parts(struct jrun *r, struct jtext t, size_t hit, size_t sep_len)
{
    struct jvalue out = jlist_new(r, J_TUPLE);
    jlist_push(r, out.list, jtextv(jtext_slice(t, 0, hit)));
    jlist_push(r, out.list, jtextv(jtext_slice(t, hit, hit + sep_len)));
    jlist_push(r, out.list, jtextv(jtext_slice(t, hit + sep_len, t.len)));
    return out;
}

static struct jtext separator(struct jrun *r, const struct jcall *c)
{
    struct jtext sep = jarg_text(r, c, 0, JTEXT(""));
    if (sep.len == 0)
        jrun_fail(r, "partition: the separator is empty");
    return sep;
}

static struct jvalue text_partition(struct jrun *r, const struct jcall *c)
{
    struct jtext t = c->self.text, sep = separator(r, c);
    ptrdiff_t hit = jtext_find(t, sep, 0);
    return hit < 0 ? parts(r, t, t.len, 0) : parts(r, t, (size_t)hit, sep.len);
}

static struct jvalue text_rpartition(struct jrun *r, const struct jcall *c)
{
    struct jtext t = c->self.text, sep = separator(r, c);
    charge_backwards(r, true, t, &c->arg[0]);
    ptrdiff_t hit = jtext_rfind(t, sep, t.len);
    return hit < 0 ? parts(r, t, 0, 0) : parts(r, t, (size_t)hit, sep.len);
}

static struct jvalue text_join(struct jrun *r, const struct jcall *c)
{
    const struct jlist *items = jvalue_items(r, &c->arg[0]);
    struct jbuild out;
    jbuild_open(&out, r);
    for (uint32_t i = 0; i < items->n && jrun_step(r, 1); i++) {
        if (items->item[i].kind != J_TEXT)
            jrun_fail(r, "join: item %u is a %s, not a string", i, jvalue_type(&items->item[i]));
        else if (i > 0)
            jbuild_add(&out, c->self.text);
        if (jrun_ok(r))
            jbuild_add(&out, items->item[i].text);
    }
    return like(c, jbuild_text(&out));
}

/* ---- looking for text ---- */

/* The part of self between the character positions in arguments i and i + 1; *from is where it
 * begins, in bytes. */
static struct jtext window(struct jrun *r, const struct jcall *c, int i, size_t *from)
{
    struct jtext t = c->self.text;
    int64_t n = jtext_n_char(t);
    int64_t start = is_none(c, i) ? 0 : jarg_int(r, c, i, 0),
            end = is_none(c, i + 1) ? n : jarg_int(r, c, i + 1, n);
    start = start < 0 ? start + n : start;
    end = end < 0 ? end + n : end;
    start = start < 0 ? 0 : start > n ? n : start;
    end = end < start ? start : end > n ? n : end;
    *from = jtext_offset(t, (uint32_t)start);
    return jtext_slice(t, *from, jtext_offset(t, (uint32_t)end));
}

static bool touches(struct jrun *r, struct jtext t, const struct jvalue *with, bool at_end)
{
    if (with->kind != J_TEXT) {
        jrun_fail(r, "startswith and endswith look for strings, not for a %s", jvalue_type(with));
        return false;
    }
    return at_end ? jtext_ends(t, with->text) : jtext_starts(t, with->text);
}

static struct jvalue starts_or_ends(struct jrun *r, const struct jcall *c, bool at_end)
{
    size_t from;
    struct jtext t = window(r, c, 1, &from);
    if (c->arg[0].kind != J_TUPLE)
        return jbool(touches(r, t, &c->arg[0], at_end));
    const struct jlist *any = c->arg[0].list;
    for (uint32_t i = 0; i < any->n && jrun_step(r, 1); i++) {
        if (touches(r, t, &any->item[i], at_end))
            return jbool(true);
    }
    return jbool(false);
}

static struct jvalue text_startswith(struct jrun *r, const struct jcall *c)
{
    return starts_or_ends(r, c, false);
}

static struct jvalue text_endswith(struct jrun *r, const struct jcall *c)
{
    return starts_or_ends(r, c, true);
}

/* Character position of the first or last occurrence; -1 when there is none. */
static int64_t position(struct jrun *r, const struct jcall *c, bool last)
{
    size_t from;
    struct jtext t = window(r, c, 1, &from), what = jarg_text(r, c, 0, JTEXT(""));
    charge_backwards(r, last, t, &c->arg[0]);
    ptrdiff_t hit = last ? jtext_rfind(t, what, t.len) : jtext_find(t, what, 0);
    return hit < 0 ? -1 : (int64_t)jtext_n_char(jtext_slice(c->self.text, 0, from + (size_t)hit));
}

static struct jvalue text_find(struct jrun *r, const struct jcall *c)
{
    return jint(position(r, c, false));
}

static struct jvalue text_rfind(struct jrun *r, const struct jcall *c)
{
    return jint(position(r, c, true));
}

static struct jvalue found(struct jrun *r, int64_t at)
{
    if (at < 0)
        jrun_fail(r, "index: the string does not hold what is looked for");
    return jint(at);
}

static struct jvalue text_index(struct jrun *r, const struct jcall *c)
{
    return found(r, position(r, c, false));
}

static struct jvalue text_rindex(struct jrun *r, const struct jcall *c)
{
    return found(r, position(r, c, true));
}

static struct jvalue text_count(struct jrun *r, const struct jcall *c)
{
    size_t from, at = 0;
    struct jtext t = window(r, c, 1, &from), what = jarg_text(r, c, 0, JTEXT(""));
    int64_t n = 0;
    if (what.len == 0)
        return jint(jtext_n_char(t) + 1);
    for (ptrdiff_t hit; (hit = jtext_find(t, what, at)) >= 0 && jrun_step(r, 1); n++)
        at = (size_t)hit + what.len;
    return jint(n);
}

/* ---- new texts ---- */

static struct jvalue text_replace(struct jrun *r, const struct jcall *c)
{
    return like(c, jtext_replace(r, c->self.text, jarg_text(r, c, 0, JTEXT("")),
                                 jarg_text(r, c, 1, JTEXT("")), jarg_int(r, c, 2, -1)));
}

static struct jvalue text_removeprefix(struct jrun *r, const struct jcall *c)
{
    struct jtext t = c->self.text, prefix = jarg_text(r, c, 0, JTEXT(""));
    return like(c, jtext_starts(t, prefix) ? jtext_slice(t, prefix.len, t.len) : t);
}

static struct jvalue text_removesuffix(struct jrun *r, const struct jcall *c)
{
    struct jtext t = c->self.text, suffix = jarg_text(r, c, 0, JTEXT(""));
    return like(c, jtext_ends(t, suffix) ? jtext_slice(t, 0, t.len - suffix.len) : t);
}

static struct jvalue text_format(struct jrun *r, const struct jcall *c)
{
    return like(c, jformat_braces(r, c->self.text, c->all));
}

/* self between `left` and `right` copies of the fill character, argument 1. */
static struct jvalue padded(struct jrun *r, const struct jcall *c, int64_t left, int64_t right)
{
    struct jtext fill = jarg_text(r, c, 1, JTEXT(" "));
    if (jtext_n_char(fill) != 1)
        jrun_fail(r, "the fill must be one character");
    struct jtext t = jtext_join2(r, jtext_repeat(r, fill, left), c->self.text);
    return like(c, jtext_join2(r, t, jtext_repeat(r, fill, right)));
}

static int64_t padding(struct jrun *r, const struct jcall *c)
{
    int64_t width = jarg_int(r, c, 0, 0), n = jtext_n_char(c->self.text);
    return width > n ? width - n : 0;
}

static struct jvalue text_ljust(struct jrun *r, const struct jcall *c)
{
    return padded(r, c, 0, padding(r, c));
}

static struct jvalue text_rjust(struct jrun *r, const struct jcall *c)
{
    return padded(r, c, padding(r, c), 0);
}

static struct jvalue text_center(struct jrun *r, const struct jcall *c)
{
    int64_t pad = padding(r, c), left = pad / 2 + (pad & jarg_int(r, c, 0, 0) & 1);
    return padded(r, c, left, pad - left);
}

static struct jvalue text_zfill(struct jrun *r, const struct jcall *c)
{
    struct jtext t = c->self.text;
    bool sign = t.len > 0 && (t.bytes[0] == '-' || t.bytes[0] == '+');
    struct jtext zeros = jtext_repeat(r, JTEXT("0"), padding(r, c));
    struct jtext head = jtext_join2(r, jtext_slice(t, 0, sign), zeros);
    return like(c, jtext_join2(r, head, jtext_slice(t, sign, t.len)));
}

/* ---- what the characters are ---- */

/* Whether there are characters and all of them are in one of two classes. */
static struct jvalue all_in(struct jrun *r, const struct jcall *c, enum jchar_class a,
                            enum jchar_class b)
{
    struct jtext t = c->self.text;
    for (uint32_t at = 0, ch; at < t.len && jrun_step(r, 1); at += jtext_char_len(t, at)) {
        utf8_read(t.bytes + at, jtext_char_len(t, at), &ch);
        if (!jchar_is(&r->chars, a, ch) && !jchar_is(&r->chars, b, ch))
            return jbool(false);
    }
    return jbool(t.len > 0);
}

static struct jvalue text_isalpha(struct jrun *r, const struct jcall *c)
{
    return all_in(r, c, JCHAR_ALPHA, JCHAR_ALPHA);
}

static struct jvalue text_isalnum(struct jrun *r, const struct jcall *c)
{
    return all_in(r, c, JCHAR_ALPHA, JCHAR_NUMERIC);
}

static struct jvalue text_isdecimal(struct jrun *r, const struct jcall *c)
{
    return all_in(r, c, JCHAR_DECIMAL, JCHAR_DECIMAL);
}

static struct jvalue text_isdigit(struct jrun *r, const struct jcall *c)
{
    return all_in(r, c, JCHAR_DIGIT, JCHAR_DECIMAL);
}

static struct jvalue text_isnumeric(struct jrun *r, const struct jcall *c)
{
    return all_in(r, c, JCHAR_NUMERIC, JCHAR_NUMERIC);
}

static struct jvalue text_isprintable(struct jrun *r, const struct jcall *c)
{
    return c->self.text.len == 0 ? jbool(true) : all_in(r, c, JCHAR_PRINTABLE, JCHAR_PRINTABLE);
}

static struct jvalue text_isspace(struct jrun *r, const struct jcall *c)
{
    (void)r;
    return jbool(c->self.text.len > 0 && span_of(c->self.text, 0, true) == c->self.text.len);
}

static struct jvalue text_isascii(struct jrun *r, const struct jcall *c)
{
    (void)r;
    return jbool(jtext_n_char(c->self.text) == c->self.text.len);
}

static struct jvalue text_isupper(struct jrun *r, const struct jcall *c)
{
    return jbool(jtext_has_case(r, c->self.text, JTEXT_UPPER));
}

static struct jvalue text_islower(struct jrun *r, const struct jcall *c)
{
    return jbool(jtext_has_case(r, c->self.text, JTEXT_LOWER));
}

/* Has letters; capitals where words begin and only there. */
static struct jvalue text_istitle(struct jrun *r, const struct jcall *c)
{
    struct jtext t = c->self.text;
    bool inside = false, any = false;
    for (uint32_t at = 0, ch; at < t.len && jrun_step(r, 1); at += jtext_char_len(t, at)) {
        utf8_read(t.bytes + at, jtext_char_len(t, at), &ch);
        bool cased = jchar_is(&r->chars, JCHAR_CASED, ch);
        if (cased && jchar_is(&r->chars, JCHAR_LOWER, ch) != inside)
            return jbool(false);
        inside = cased;
        any |= cased;
    }
    return jbool(any);
}

static const struct jbuiltin rows[] = {
    { "capitalize", text_capitalize, "", 0 },
    { "casefold", text_casefold, "", 0 },
    { "center", text_center, "width fillchar", 1 },
    { "count", text_count, "sub start end", 1 },
    { "endswith", text_endswith, "suffix start end", 1 },
    { "find", text_find, "sub start end", 1 },
    { "format", text_format, NULL, 0 },
    { "index", text_index, "sub start end", 1 },
    { "isalnum", text_isalnum, "", 0 },
    { "isalpha", text_isalpha, "", 0 },
    { "isascii", text_isascii, "", 0 },
    { "isdecimal", text_isdecimal, "", 0 },
    { "isdigit", text_isdigit, "", 0 },
    { "islower", text_islower, "", 0 },
    { "isnumeric", text_isnumeric, "", 0 },
    { "isprintable", text_isprintable, "", 0 },
    { "isspace", text_isspace, "", 0 },
    { "istitle", text_istitle, "", 0 },
    { "isupper", text_isupper, "", 0 },
    { "join", text_join, "iterable", 1 },
    { "ljust", text_ljust, "width fillchar", 1 },
    { "lower", text_lower, "", 0 },
    { "lstrip", text_lstrip, "chars", 0 },
    { "partition", text_partition, "sep", 1 },
    { "removeprefix", text_removeprefix, "prefix", 1 },
    { "removesuffix", text_removesuffix, "suffix", 1 },
    { "replace", text_replace, "old new count", 2 },
    { "rfind", text_rfind, "sub start end", 1 },
    { "rindex", text_rindex, "sub start end", 1 },
    { "rjust", text_rjust, "width fillchar", 1 },
    { "rpartition", text_rpartition, "sep", 1 },
    { "rsplit", text_rsplit, "sep maxsplit", 0 },
    { "rstrip", text_rstrip, "chars", 0 },
    { "split", text_split, "sep maxsplit", 0 },
    { "splitlines", text_splitlines, "keepends", 0 },
    { "startswith", text_startswith, "prefix start end", 1 },
    { "strip", text_strip, "chars", 0 },
    { "swapcase", text_swapcase, "", 0 },
    { "title", text_title, "", 0 },
    { "upper", text_upper, "", 0 },
    { "zfill", text_zfill, "width", 1 },
};

const struct jbuiltin_table jmethods_of_text = JBUILTIN_TABLE(rows);
