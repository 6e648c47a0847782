#include "text/jinja_text.h"

#include <string.h>

#include "base/utf8.h"
#include "text/jinja_run.h"

struct jtext jtext_of(const char *zero_terminated)
{
    return (struct jtext){ .bytes = zero_terminated,
                           .len = (uint32_t)strlen(zero_terminated),
                           .trusted = true };
}

bool jtext_is(struct jtext t, const char *word)
{
    return t.len == strlen(word) && memcmp(t.bytes, word, t.len) == 0;
}

bool jtext_equal(struct jtext a, struct jtext b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.bytes, b.bytes, a.len) == 0);
}

int jtext_compare(struct jtext a, struct jtext b)
{
    uint32_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? memcmp(a.bytes, b.bytes, n) : 0; // UTF-8 sorts as its code points do
    return order ? (order > 0) - (order < 0) : (a.len > b.len) - (a.len < b.len);
}

bool jtext_trusted_at(struct jtext t, uint32_t i)
{
    return t.mark ? t.mark[i] : t.trusted;
}

bool jtext_all_trusted(struct jtext t)
{
    return t.mark ? !memchr(t.mark, 0, t.len) : t.trusted;
}

struct jtext jtext_slice(struct jtext t, size_t from, size_t to)
{
    if (to > t.len)
        to = t.len;
    if (from > to)
        from = to;
    t.bytes += from;
    t.mark = t.mark ? t.mark + from : NULL;
    t.len = (uint32_t)(to - from);
    return t;
}

bool jtext_starts(struct jtext t, struct jtext with)
{
    return jtext_equal(jtext_slice(t, 0, with.len), with);
}

bool jtext_ends(struct jtext t, struct jtext with)
{
    return t.len >= with.len && jtext_equal(jtext_slice(t, t.len - with.len, t.len), with);
}

ptrdiff_t jtext_find(struct jtext t, struct jtext what, size_t from)
{
    if (from > t.len || what.len > t.len - from)
        return -1;
    if (what.len == 0)
        return (ptrdiff_t)from;
    const char *hit = memmem(t.bytes + from, t.len - from, what.bytes, what.len);
    return hit ? hit - t.bytes : -1;
}

ptrdiff_t jtext_rfind(struct jtext t, struct jtext what, size_t to)
{
    if (to > t.len)
        to = t.len;
    for (ptrdiff_t i = (ptrdiff_t)to - (ptrdiff_t)what.len; i >= 0; i--) {
        if (what.len == 0 || memcmp(t.bytes + i, what.bytes, what.len) == 0)
            return i;
    }
    return -1;
}

/* ---- characters ---- */

static bool continues(char c)
{
    return (c & 0xc0) == 0x80;
}

uint32_t jtext_n_char(struct jtext t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t.len; i++)
        n += !continues(t.bytes[i]);
    return n;
}

uint32_t jtext_offset(struct jtext t, uint32_t n_char)
{
    uint32_t i = 0;
    for (; i < t.len && n_char > 0; n_char--)
        i += jtext_char_len(t, i);
    return i;
}

uint32_t jtext_char_len(struct jtext t, uint32_t offset)
{
    uint32_t end = offset < t.len ? offset + 1 : t.len;
    while (end < t.len && continues(t.bytes[end]))
        end++;
    return end - offset;
}

uint32_t jtext_char_before(struct jtext t, uint32_t end)
{
    uint32_t at = end - 1;
    while (at > 0 && continues(t.bytes[at]))
        at--;
    return at;
}

bool jtext_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* Whether the character at `offset` goes: it is one of `set`, or white space when there is no
 * set. */
static bool strips(struct jtext t, uint32_t offset, const struct jtext *set)
{
    uint32_t c, n = jtext_char_len(t, offset);
    if (set)
        return jtext_find(*set, jtext_slice(t, offset, offset + n), 0) >= 0;
    return utf8_read(t.bytes + offset, n, &c) > 0 && jtext_is_space(c);
}

static struct jtext strip(struct jtext t, const struct jtext *set, enum jtext_side side)
{
    while ((side & JTEXT_LEFT) && t.len > 0 && strips(t, 0, set))
        t = jtext_slice(t, jtext_char_len(t, 0), t.len);
    while ((side & JTEXT_RIGHT) && t.len > 0) {
        uint32_t last = jtext_char_before(t, t.len);
        if (!strips(t, last, set))
            break;
        t = jtext_slice(t, 0, last);
    }
    return t;
}

struct jtext jtext_strip(struct jtext t, enum jtext_side side)
{
    return strip(t, NULL, side);
}

struct jtext jtext_strip_set(struct jtext t, struct jtext set, enum jtext_side side)
{
    return strip(t, &set, side);
}

/* Bytes of the line end at `at`; 0 when there is none. */
static uint32_t line_end_len(struct jtext t, uint32_t at)
{
    uint32_t c, n = jtext_char_len(t, at);
    utf8_read(t.bytes + at, n, &c);
    if (c == '\r' && at + 1 < t.len && t.bytes[at + 1] == '\n')
        return 2;
    bool ends =
        (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
    return ends ? n : 0;
}

bool jtext_next_line(struct jtext t, uint32_t *at, bool keep, struct jtext *line)
{
    uint32_t end = *at, n = 0;
    if (*at >= t.len)
        return false;
    while (end < t.len && (n = line_end_len(t, end)) == 0)
        end += jtext_char_len(t, end);
    *line = jtext_slice(t, *at, keep ? end + n : end);
    *at = end + n;
    return true;
}

/* ---- building ---- */

void jbuild_open(struct jbuild *b, struct jrun *run)
{
    *b = (struct jbuild){ .run = run, .trusted = true };
}

/* Room for `more` bytes, and marks for them if they are kept one by one. */
static bool grow(struct jbuild *b, size_t more, bool marks)
{
    if (!jrun_ok(b->run))
        return false;
    if (b->len + more > JRUN_TEXT_MAX) {
        jrun_fail(b->run, "a text grows beyond %d bytes, the bound of texts and output",
                  JRUN_TEXT_MAX);
        return false;
    }
    if (b->len + more > b->room) {
        size_t room = b->room * 2 > b->len + more ? b->room * 2 : b->len + more;
        char *bytes = jrun_new(b->run, room, 1);
        if (!bytes)
            return false;
        if (b->len > 0)
            memcpy(bytes, b->bytes, b->len);
        b->bytes = bytes;
        b->room = room;
    }
    if (marks && b->mark_room < b->room) {
        uint8_t *mark = jrun_new(b->run, b->room, 1);
        if (!mark)
            return false;
        if (b->mark)
            memcpy(mark, b->mark, b->len);
        else
            memset(mark, b->trusted, b->len);
        b->mark = mark;
        b->mark_room = b->room;
    }
    return true;
}

void jbuild_add(struct jbuild *b, struct jtext t)
{
    if (t.len == 0)
        return;
    if (b->len == 0 && !b->mark)
        b->trusted = t.trusted;
    bool marks = b->mark || t.mark || t.trusted != b->trusted;
    jrun_charge(b->run, t.len);
    if (!grow(b, t.len, marks))
        return;
    memcpy(b->bytes + b->len, t.bytes, t.len);
    if (t.mark)
        memcpy(b->mark + b->len, t.mark, t.len);
    else if (marks)
        memset(b->mark + b->len, t.trusted, t.len);
    b->len += t.len;
}

void jbuild_add_word(struct jbuild *b, const char *word, bool trusted)
{
    struct jtext t = jtext_of(word);
    t.trusted = trusted;
    jbuild_add(b, t);
}

void jbuild_add_char(struct jbuild *b, uint32_t code_point, bool trusted)
{
    char bytes[4];
    size_t n = utf8_write(code_point, bytes);
    jbuild_add(b, (struct jtext){ .bytes = bytes, .len = (uint32_t)n, .trusted = trusted });
}

struct jtext jbuild_text(const struct jbuild *b)
{
    return (struct jtext){ .bytes = b->bytes ? b->bytes : "",
                           .mark = b->mark,
                           .len = (uint32_t)b->len,
                           .trusted = b->trusted };
}

/* ---- whole texts ---- */

struct jtext jtext_join2(struct jrun *r, struct jtext a, struct jtext b)
{
    struct jbuild out;
    if (a.len == 0 || b.len == 0)
        return a.len == 0 ? b : a;
    jbuild_open(&out, r);
    if (!grow(&out, (size_t)a.len + b.len, false))
        return JTEXT("");
    jbuild_add(&out, a);
    jbuild_add(&out, b);
    return jbuild_text(&out);
}

struct jtext jtext_repeat(struct jrun *r, struct jtext t, int64_t times)
{
    struct jbuild out;
    jbuild_open(&out, r);
    if (t.len == 0 || times <= 0)
        return JTEXT("");
    size_t total = times > JRUN_TEXT_MAX ? SIZE_MAX / 2 : t.len * (size_t)times;
    if (!grow(&out, total, false))
        return JTEXT("");
    jbuild_add(&out, t);
    while (out.len < total && jrun_ok(r)) // twice as much each time
        jbuild_add(&out, jtext_slice(jbuild_text(&out), 0, total - out.len));
    return jbuild_text(&out);
}

struct jtext jtext_replace(struct jrun *r, struct jtext t, struct jtext old, struct jtext with,
                           int64_t count)
{
    struct jbuild out;
    uint32_t done = 0; // bytes of t that are dealt with
    size_t look = 0;
    jbuild_open(&out, r);
    for (; count != 0 && jrun_step(r, 1); count--) {
        ptrdiff_t hit = jtext_find(t, old, look);
        if (hit < 0)
            break;
        jbuild_add(&out, jtext_slice(t, done, (size_t)hit));
        jbuild_add(&out, with);
        done = (uint32_t)hit + old.len;
        look = done;
        if (old.len == 0) {
            if (done >= t.len)
                break;
            look = done + jtext_char_len(t, done);
        }
    }
    if (done == 0 && out.len == 0)
        return t;
    jbuild_add(&out, jtext_slice(t, done, t.len));
    return jbuild_text(&out);
}

struct jtext jtext_escape(struct jrun *r, struct jtext t)
{
    static const char *const entity[128] = {
        ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['\''] = "&#39;", ['"'] = "&#34;"
    };
    struct jbuild out;
    uint32_t done = 0;
    jbuild_open(&out, r);
    for (uint32_t i = 0; i < t.len && jrun_ok(r); i++) {
        const char *word =
            (unsigned char)t.bytes[i] < 128 ? entity[(unsigned char)t.bytes[i]] : NULL;
        if (!word)
            continue;
        jbuild_add(&out, jtext_slice(t, done, i));
        jbuild_add_word(&out, word, jtext_trusted_at(t, i));
        done = i + 1;
    }
    jbuild_add(&out, jtext_slice(t, done, t.len));
    t = jbuild_text(&out);
    t.safe = true;
    return t;
}
