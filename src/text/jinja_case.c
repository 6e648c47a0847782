/* Cases of whole texts, as Python's str methods change them. */
#include "base/utf8.h"
#include "text/jinja_chars.h"
#include "text/jinja_run.h"

enum { SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2 };

struct walk {
    uint32_t c;       // the character
    bool first;       // of the text
    bool after_cased; // the one before has a case: inside a word, for title()
    bool before_cased;
};

/* A capital sigma at the end of a word has a small form of its own. */
static unsigned lower(const struct walk *w, uint32_t out[JCHAR_FORM_MAX])
{
    unsigned n = jchar_lower(w->c, out);
    if (w->c == SIGMA && w->after_cased && !w->before_cased)
        out[0] = FINAL_SIGMA;
    return n;
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

static unsigned form_of(const struct walk *w, enum jtext_case form, uint32_t out[JCHAR_FORM_MAX])
{
    unsigned n = lower(w, out);
    bool small = n == 1 && out[0] == w->c;
    if (form == JTEXT_FOLD)
        return folded(w->c, out);
    if (form == JTEXT_UPPER || (form == JTEXT_SWAP && small))
        return jchar_upper(w->c, out);
    if ((form == JTEXT_CAPITAL && w->first) || (form == JTEXT_TITLE && !w->after_cased))
        return jchar_title(w->c, out);
    return n;
}

static uint32_t char_at(struct jtext t, uint32_t at)
{
    uint32_t c = 0;
    utf8_read(t.bytes + at, t.len - at, &c);
    return c;
}

struct jtext jtext_cased(struct jrun *r, struct jtext t, enum jtext_case form)
{
    struct jbuild out;
    struct walk w = { .first = true };
    uint32_t changed[JCHAR_FORM_MAX];
    jbuild_open(&out, r);
    for (uint32_t at = 0, next; at < t.len && jrun_step(r, 1); at = next) {
        next = at + jtext_char_len(t, at);
        w.c = char_at(t, at);
        w.before_cased = next < t.len && jchar_has_case(char_at(t, next));
        unsigned n = form_of(&w, form, changed);
        for (unsigned i = 0; i < n; i++)
            jbuild_add_char(&out, changed[i], jtext_trusted_at(t, at));
        w.first = false;
        w.after_cased = jchar_has_case(w.c);
    }
    return jbuild_text(&out);
}
