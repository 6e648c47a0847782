#include "text/jinja_lex.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- places and errors ---- */

/* Positions mostly grow, so lines are counted on from the last place. */
void jlex_place(struct jlex *lx, size_t at, uint32_t *line, uint32_t *column)
{
    if (at < lx->counted) {
        lx->counted = lx->line_begin = 0;
        lx->line = 1;
    }
    for (; lx->counted < at; lx->counted++) {
        if (lx->src[lx->counted] == '\n') {
            lx->line++;
            lx->line_begin = lx->counted + 1;
        }
    }
    *line = lx->line;
    *column = (uint32_t)(at - lx->line_begin) + 1;
}

void jlex_fail(struct jlex *lx, size_t at, const char *format, ...)
{
    if (lx->st != OK)
        return;
    uint32_t line, column;
    va_list ap;
    va_start(ap, format);
    note_set_v(lx->why, format, ap);
    va_end(ap);
    jlex_place(lx, at, &line, &column);
    note_prefix(lx->why, "template line %u, column %u", line, column);
    lx->st = BAD_INPUT;
}

static void out_of_memory(struct jlex *lx)
{
    if (lx->st != OK)
        return;
    note_set(lx->why, "no memory to compile the template");
    lx->st = FULL;
}

enum status jlex_open(struct jlex *lx, struct arena *arena, const char *source, size_t len,
                      struct note *why)
{
    *lx = (struct jlex){ .arena = arena, .why = why, .line_start = true, .line = 1 };
    if (len > JLEX_SOURCE_MAX) {
        note_set(why, "the template has %zu bytes, the limit is %d", len, JLEX_SOURCE_MAX);
        return lx->st = BAD_INPUT;
    }
    if (!utf8_valid(source, len)) {
        note_set(why, "the template is not valid UTF-8");
        return lx->st = BAD_INPUT;
    }
    char *copy = arena_new(arena, len + 1, 1);
    if (!copy) {
        out_of_memory(lx);
        return lx->st;
    }
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r' && i + 1 < len && source[i + 1] == '\n')
            continue;
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && copy[n - 1] == '\n')
        n--;
    lx->src = copy;
    lx->len = n;
    return OK;
}

/* ---- between the tags ---- */

enum opening_kind { OPEN_NONE, OPEN_PRINT, OPEN_BLOCK, OPEN_COMMENT, OPEN_RAW };

struct opening {
    enum opening_kind kind;
    size_t start, end; // of "{%-" and the like; OPEN_RAW: of the whole tag
    char sign;         // '-', '+' or 0
};

static bool at(const struct jlex *lx, size_t pos, const char *word)
{
    size_t n = strlen(word);
    return lx->len >= pos + n && memcmp(lx->src + pos, word, n) == 0;
}

static size_t skip_space(const struct jlex *lx, size_t pos)
{
    uint32_t c;
    while (pos < lx->len) {
        size_t n = utf8_read(lx->src + pos, lx->len - pos, &c);
        if (n == 0 || !jtext_is_space(c))
            break;
        pos += n;
    }
    return pos;
}

/* Where the tag "{% word %}" that begins at `pos` ends, or 0 when it is another one. A raw tag
 * keeps what follows it, an endraw tag drops one newline and may have a plus. */
static size_t lone_tag(const struct jlex *lx, size_t pos, const char *word, bool ends_block,
                       char *sign)
{
    if (!at(lx, pos, "{%"))
        return 0;
    pos += 2;
    *sign = pos < lx->len && (lx->src[pos] == '-' || lx->src[pos] == '+') ? lx->src[pos++] : 0;
    pos = skip_space(lx, pos);
    if (!at(lx, pos, word))
        return 0;
    pos = skip_space(lx, pos + strlen(word));
    if (at(lx, pos, "-%}"))
        return skip_space(lx, pos + 3);
    if (ends_block && at(lx, pos, "+%}"))
        return pos + 3;
    if (!at(lx, pos, "%}"))
        return 0;
    return pos + 2 + (ends_block && at(lx, pos + 2, "\n"));
}

static struct opening opening_at(const struct jlex *lx, size_t pos)
{
    struct opening o = { .start = pos };
    size_t end = lone_tag(lx, pos, "raw", false, &o.sign);
    if (end > 0) {
        o.kind = OPEN_RAW;
        o.end = end;
        return o;
    }
    char c = lx->src[pos + 1];
    o.kind = c == '{' ? OPEN_PRINT : c == '%' ? OPEN_BLOCK : OPEN_COMMENT;
    o.end = pos + 2;
    o.sign = 0;
    if (o.end < lx->len && (lx->src[o.end] == '-' || lx->src[o.end] == '+'))
        o.sign = lx->src[o.end++];
    return o;
}

static struct opening find_opening(const struct jlex *lx)
{
    const char *from = lx->src + lx->pos, *end = lx->src + lx->len;
    while (from + 1 < end) {
        const char *brace = memchr(from, '{', (size_t)(end - from) - 1);
        if (!brace)
            break;
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#')
            return opening_at(lx, (size_t)(brace - lx->src));
        from = brace + 1;
    }
    return (struct opening){ .kind = OPEN_NONE, .start = lx->len, .end = lx->len };
}

static struct jtext source_text(const struct jlex *lx, size_t from, size_t to)
{
    return (struct jtext){ .bytes = lx->src + from, .len = (uint32_t)(to - from), .trusted = true };
}

/* What remains of the text before a tag: "-" takes all white space, else a tag alone on its line
 * takes its indent. */
static struct jtext stripped(const struct jlex *lx, struct jtext text, char sign, bool is_print)
{
    if (sign == '-')
        return jtext_strip(text, JTEXT_RIGHT);
    if (sign == '+' || is_print)
        return text;
    struct jtext newline = JTEXT("\n");
    ptrdiff_t last = jtext_rfind(text, newline, text.len);
    if (last < 0 && !lx->line_start)
        return text;
    struct jtext indent = jtext_slice(text, (size_t)(last + 1), text.len);
    return jtext_strip(indent, JTEXT_BOTH).len == 0 ? jtext_slice(text, 0, (size_t)(last + 1))
                                                    : text;
}

static void move_to(struct jlex *lx, size_t pos)
{
    lx->line_start = pos > 0 && lx->src[pos - 1] == '\n';
    lx->pos = pos;
}

static void skip_comment(struct jlex *lx, struct opening o)
{
    const char *end = memmem(lx->src + o.end, lx->len - o.end, "#}", 2);
    if (!end) {
        jlex_fail(lx, o.start, "this comment is never closed: expected #}");
        return;
    }
    size_t pos = (size_t)(end - lx->src);
    char before = pos > o.end ? end[-1] : 0;
    if (before == '-')
        move_to(lx, skip_space(lx, pos + 2));
    else
        move_to(lx, pos + 2 + (before != '+' && at(lx, pos + 2, "\n")));
}

static struct jtext raw_text(struct jlex *lx, struct opening o)
{
    move_to(lx, o.end);
    for (size_t pos = o.end; pos < lx->len; pos++) {
        char sign;
        size_t end = lone_tag(lx, pos, "endraw", true, &sign);
        if (end == 0)
            continue;
        struct jtext text = stripped(lx, source_text(lx, o.end, pos), sign, false);
        move_to(lx, end);
        return text;
    }
    jlex_fail(lx, o.start, "this raw block is never closed: expected {%% endraw %%}");
    return JTEXT("");
}

static struct jtoken token_at(struct jlex *lx, enum jtoken_kind kind, size_t from, size_t to)
{
    struct jtoken tok = { .kind = kind, .text = source_text(lx, from, to) };
    jlex_place(lx, from, &tok.line, &tok.column);
    return tok;
}

static struct jtoken end_token(struct jlex *lx)
{
    return token_at(lx, JT_END, lx->len, lx->len);
}

static struct jtoken data_token(struct jlex *lx, size_t from, struct jtext text)
{
    struct jtoken tok = token_at(lx, JT_DATA, from, from);
    tok.text = text;
    return tok;
}

/* Data up to the next tag; when there is none left, the tag itself. Comments and raw blocks end
 * here. */
static struct jtoken next_outside(struct jlex *lx)
{
    while (lx->st == OK && lx->pos < lx->len) {
        struct opening o = find_opening(lx);
        struct jtext text = source_text(lx, lx->pos, o.start);
        size_t from = lx->pos;
        if (o.kind != OPEN_NONE)
            text = stripped(lx, text, o.sign, o.kind == OPEN_PRINT);
        lx->pos = o.start;
        if (text.len > 0) {
            lx->line_start = false; // the indent of the tag, if any, is dealt with
            return data_token(lx, from, text);
        }
        if (o.kind == OPEN_COMMENT) {
            skip_comment(lx, o);
        } else if (o.kind == OPEN_RAW) {
            text = raw_text(lx, o);
            if (text.len > 0)
                return data_token(lx, o.end, text);
        } else if (o.kind != OPEN_NONE) {
            lx->pos = o.end;
            lx->mode = o.kind == OPEN_PRINT ? JLEX_PRINT : JLEX_BLOCK;
            return token_at(lx, o.kind == OPEN_PRINT ? JT_PRINT_BEGIN : JT_BLOCK_BEGIN, o.start,
                            o.end);
        }
    }
    return end_token(lx);
}

/* ---- inside a tag ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static int digit_of(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* The tag's end, when it is here: where the source goes on; 0 otherwise. Open brackets hide it. */
static size_t tag_end(const struct jlex *lx, size_t pos)
{
    bool print = lx->mode == JLEX_PRINT;
    const char *end = print ? "}}" : "%}";
    if (lx->n_open > 0)
        return 0;
    if (lx->src[pos] == '-' && at(lx, pos + 1, end))
        return skip_space(lx, pos + 3);
    if (!print && lx->src[pos] == '+' && at(lx, pos + 1, end))
        return pos + 3;
    if (!at(lx, pos, end))
        return 0;
    return pos + 2 + (!print && at(lx, pos + 2, "\n"));
}

/* Digits of `base`, single underscores between them; gives where they end. */
static size_t digits_end(const struct jlex *lx, size_t pos, int base)
{
    while (pos < lx->len) {
        size_t skip = lx->src[pos] == '_';
        if (pos + skip >= lx->len || digit_of(lx->src[pos + skip]) >= base)
            break;
        pos += skip + 1;
    }
    return pos;
}

static struct jtoken int_token(struct jlex *lx, size_t from, size_t to, int base)
{
    struct jtoken tok = token_at(lx, JT_INT, from, to);
    for (size_t i = from + (base == 10 ? 0 : 2); i < to; i++) {
        if (lx->src[i] == '_')
            continue;
        if (__builtin_mul_overflow(tok.whole, base, &tok.whole) ||
            __builtin_add_overflow(tok.whole, digit_of(lx->src[i]), &tok.whole)) {
            jlex_fail(lx, from, "the number %.*s does not fit in 64 bits", (int)(to - from),
                      lx->src + from);
            return end_token(lx);
        }
    }
    lx->pos = to;
    return tok;
}

static struct jtoken float_token(struct jlex *lx, size_t from, size_t to)
{
    struct jtoken tok = token_at(lx, JT_FLOAT, from, to);
    char digits[64];
    size_t n = 0;
    for (size_t i = from; i < to && n + 1 < sizeof digits; i++) {
        if (lx->src[i] != '_')
            digits[n++] = lx->src[i];
    }
    digits[n] = 0;
    if (to - from >= sizeof digits)
        jlex_fail(lx, from, "a number of %zu characters; the limit is %zu", to - from,
                  sizeof digits - 1);
    tok.real = strtod(digits, NULL);
    lx->pos = to;
    return tok;
}

/* Where a fraction or exponent that starts at `pos` ends; `pos` itself when there is none. */
static size_t fraction_end(const struct jlex *lx, size_t pos)
{
    size_t end = pos;
    if (at(lx, pos, ".") && pos + 1 < lx->len && is_digit(lx->src[pos + 1]))
        end = digits_end(lx, pos + 1, 10);
    if (at(lx, end, "e") || at(lx, end, "E")) {
        size_t exp = end + 1 + (at(lx, end + 1, "+") || at(lx, end + 1, "-"));
        if (exp < lx->len && is_digit(lx->src[exp]))
            end = digits_end(lx, exp, 10);
    }
    return end;
}

static struct jtoken number_token(struct jlex *lx, size_t pos)
{
    char second = pos + 1 < lx->len ? lx->src[pos + 1] | 0x20 : 0;
    int base = lx->src[pos] != '0' ? 10
               : second == 'x'     ? 16
               : second == 'o'     ? 8
               : second == 'b'     ? 2
                                   : 10;
    if (base != 10 && digits_end(lx, pos + 2, base) > pos + 2)
        return int_token(lx, pos, digits_end(lx, pos + 2, base), base);
    size_t whole = digits_end(lx, pos, 10);
    size_t zeros = lx->src[pos] == '0' ? digits_end(lx, pos, 1) : whole; // no integer begins with 0
    bool after_dot = pos > 0 && lx->src[pos - 1] == '.'; // a.0.1 is two keys, no fraction
    size_t end = after_dot ? whole : fraction_end(lx, whole);
    return end > whole ? float_token(lx, pos, end) : int_token(lx, pos, zeros, 10);
}

/* Reads n hexadecimal digits at *pos; false when they are not there. */
static bool read_hex(const char *s, size_t len, size_t *pos, int n, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, ++*pos) {
        if (*pos >= len || digit_of(s[*pos]) > 15)
            return false;
        *out = *out << 4 | (uint32_t)digit_of(s[*pos]);
    }
    return true;
}

/* One escape, the backslash at s[*pos], as Python reads it; false when it is none that makes a
 * character. */
static bool read_escape(const char *s, size_t len, size_t *pos, char *out, size_t *n)
{
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = s[++*pos];
    uint32_t code = 0;
    if (c == '\n') {
        ++*pos;
        return true;
    }
    for (const char *p = plain; *p; p += 2) {
        if (*p == c) {
            out[(*n)++] = p[1];
            ++*pos;
            return true;
        }
    }
    if (c >= '0' && c <= '7') {
        for (int i = 0; i < 3 && *pos < len && s[*pos] >= '0' && s[*pos] <= '7'; i++)
            code = code * 8 + (uint32_t)(s[(*pos)++] - '0');
    } else if (c == 'x' || c == 'u' || c == 'U') {
        ++*pos;
        if (!read_hex(s, len, pos, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code))
            return false;
    } else if (c == 'N') {
        return false;
    } else { // not an escape: the backslash stays
        out[(*n)++] = '\\';
        return true;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return false;
    *n += utf8_write(code, out + *n);
    return true;
}

static struct jtext unescaped(struct jlex *lx, size_t from, size_t to)
{
    const char *s = lx->src + from;
    size_t len = to - from, n = 0, i = 0;
    if (!memchr(s, '\\', len))
        return source_text(lx, from, to);
    char *out = arena_new(lx->arena, len + 4, 1); // an escape is never shorter than what it means
    if (!out) {
        out_of_memory(lx);
        return JTEXT("");
    }
    while (i < len) {
        if (s[i] != '\\') {
            out[n++] = s[i++];
        } else if (!read_escape(s, len, &i, out, &n)) {
            jlex_fail(lx, from, "a string has an escape that names no character");
            return JTEXT("");
        }
    }
    return (struct jtext){ .bytes = out, .len = (uint32_t)n, .trusted = true };
}

static struct jtoken string_token(struct jlex *lx, size_t from)
{
    size_t end = from + 1;
    while (end < lx->len && lx->src[end] != lx->src[from])
        end += lx->src[end] == '\\' ? 2 : 1;
    if (end >= lx->len) {
        jlex_fail(lx, from, "this string is never closed");
        return end_token(lx);
    }
    struct jtoken tok = token_at(lx, JT_STRING, from, end + 1);
    tok.text = unescaped(lx, from + 1, end);
    lx->pos = end + 1;
    return lx->st == OK ? tok : end_token(lx);
}

/* Remembers open brackets, and refuses one that closes another. */
static bool brackets_match(struct jlex *lx, char c, size_t pos)
{
    const char *open = strchr("(){}[]", c);
    if (!open)
        return true;
    if (c == '(' || c == '{' || c == '[') {
        if (lx->n_open == JLEX_OPEN_MAX) {
            jlex_fail(lx, pos, "brackets are nested deeper than %d", JLEX_OPEN_MAX);
            return false;
        }
        lx->open[lx->n_open++] = open[1];
        return true;
    }
    char expected = lx->n_open > 0 ? lx->open[--lx->n_open] : 0;
    if (expected == c)
        return true;
    if (expected)
        jlex_fail(lx, pos, "found '%c', expected '%c'", c, expected);
    else
        jlex_fail(lx, pos, "found '%c', but no bracket is open", c);
    return false;
}

static struct jtoken operator_token(struct jlex *lx, size_t pos)
{
    static const char *const pairs[] = { "//", "**", "==", "!=", ">=", "<=" };
    char c = lx->src[pos];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (at(lx, pos, pairs[i])) {
            struct jtoken tok = token_at(lx, JT_OPERATOR, pos, pos + 2);
            tok.op = JOP2(c, pairs[i][1]);
            lx->pos = pos + 2;
            return tok;
        }
    }
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c)) {
        jlex_fail(lx, pos, "found '%.*s', which means nothing here",
                  (int)jtext_char_len(source_text(lx, pos, lx->len), 0), lx->src + pos);
        return end_token(lx);
    }
    struct jtoken tok = token_at(lx, JT_OPERATOR, pos, pos + 1);
    tok.op = c;
    lx->pos = pos + 1;
    return brackets_match(lx, c, pos) ? tok : end_token(lx);
}

static struct jtoken next_inside(struct jlex *lx)
{
    size_t pos = lx->pos = skip_space(lx, lx->pos);
    if (pos >= lx->len) {
        jlex_fail(lx, pos, "the template ends inside a tag: expected %s",
                  lx->mode == JLEX_PRINT ? "}}" : "%}");
        return end_token(lx);
    }
    size_t end = tag_end(lx, pos);
    if (end > 0) {
        struct jtoken tok =
            token_at(lx, lx->mode == JLEX_PRINT ? JT_PRINT_END : JT_BLOCK_END, pos, pos + 2);
        lx->mode = JLEX_TEXT;
        move_to(lx, end);
        return tok;
    }
    char c = lx->src[pos];
    if (is_digit(c))
        return number_token(lx, pos);
    if (c == '\'' || c == '"')
        return string_token(lx, pos);
    if (!is_name(c))
        return operator_token(lx, pos);
    end = pos;
    while (end < lx->len && is_name(lx->src[end]))
        end++;
    lx->pos = end;
    return token_at(lx, JT_NAME, pos, end);
}

struct jtoken jlex_next(struct jlex *lx)
{
    struct jtoken tok = { .kind = JT_END };
    if (lx->st == OK)
        tok = lx->mode == JLEX_TEXT ? next_outside(lx) : next_inside(lx);
    if (lx->st != OK) {
        tok.kind = JT_END;
        lx->pos = lx->len;
    }
    return tok;
}
