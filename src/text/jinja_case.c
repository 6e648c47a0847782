/* Cases of whole texts, as Python's str methods change them. */
#include "base/utf8.h"
#include "text/jinja_chars.h"
#include "text/jinja_run.h"

enum { SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2 };

static uint32_t char_at(struct jtext t, uint32_t at)
{
    uint32_t c = 0;
    utf8_read(t.bytes + at, t.len - at, &c);
    return c;
}

static bool is(struct jrun *r, enum jchar_class class, uint32_t c)
{
    return jchar_is(&r->chars, class, c);
}

static bool cased_before(struct jrun *r, struct jtext t, uint32_t at)
{
    return at > 0 && is(r, JCHAR_CASED, char_at(t, jtext_char_before(t, at)));
}

static bool cased_after(struct jrun *r, struct jtext t, uint32_t at)
{
    uint32_t next = at + jtext_char_len(t, at);
    return next < t.len && is(r, JCHAR_CASED, char_at(t, next));
}

/* A capital sigma at the end of a word has a small form of its own. */
static unsigned lower(struct jrun *r, struct jtext t, uint32_t at, uint32_t out[JCHAR_FORM_MAX])
{
    uint32_t c = char_at(t, at);
    unsigned n = jchar_lower(c, out);
    if (c == SIGMA && cased_before(r, t, at) && !cased_after(r, t, at))
        out[0] = FINAL_SIGMA;
    return n;
}

static unsigned swapped(struct jrun *r, struct jtext t, uint32_t at, uint32_t out[JCHAR_FORM_MAX])
{
    uint32_t c = char_at(t, at);
    if (is(r, JCHAR_UPPER, c))
        return lower(r, t, at, out);
    if (is(r, JCHAR_LOWER, c))
        return jchar_upper(c, out);
    out[0] = c;
    return 1;
}

/* For comparing without case: the small form of the capital form, so that ß and SS are equal. */
static unsigned folded(uint32_t c, uint32_t out[JCHAR_FORM_MAX])
{
    uint32_t one[JCHAR_FORM_MAX];
    unsigned n = jchar_upper(c, out);
    for (unsigned i = 0; i < n; i++) {
        jchar_lower(out[i], one);
        out[i] = one[0];
    }
    return n;
}

/* The character at byte `at` in the form asked for; gives how many characters that is. */
static unsigned form_of(struct jrun *r, struct jtext t, uint32_t at, enum jtext_case form,
                        uint32_t out[JCHAR_FORM_MAX])
{
    uint32_t c = char_at(t, at);
    switch (form) {
    case JTEXT_UPPER:
        return jchar_upper(c, out);
    case JTEXT_SWAP:
        return swapped(r, t, at, out);
    case JTEXT_FOLD:
        return folded(c, out);
    case JTEXT_CAPITAL:
        return at == 0 ? jchar_title(c, out) : lower(r, t, at, out);
    case JTEXT_TITLE:
        return cased_before(r, t, at) ? lower(r, t, at, out) : jchar_title(c, out);
    default:
        return lower(r, t, at, out);
    }
}

struct jtext jtext_cased(struct jrun *r, struct jtext t, enum jtext_case form)
{
    struct jbuild out;
    uint32_t changed[JCHAR_FORM_MAX];
    jbuild_open(&out, r);
    for (uint32_t at = 0; at < t.len && jrun_step(r, 1); at += jtext_char_len(t, at)) {
        unsigned n = form_of(r, t, at, form, changed);
        for (unsigned i = 0; i < n; i++)
            jbuild_add_char(&out, changed[i], jtext_trusted_at(t, at));
    }
    return jbuild_text(&out);
}

bool jtext_has_case(struct jrun *r, struct jtext t, enum jtext_case form)
{
    enum jchar_class wanted = form == JTEXT_UPPER ? JCHAR_UPPER : JCHAR_LOWER;
    bool any = false;
    for (uint32_t at = 0; at < t.len && jrun_step(r, 1); at += jtext_char_len(t, at)) {
        uint32_t c = char_at(t, at);
        bool right = is(r, wanted, c);
        if (!right && is(r, JCHAR_CASED, c))
            return false;
        any |= right;
    }
    return any;
}
