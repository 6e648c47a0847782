/* text/jinja_chars.h - what Unicode says about a character: its class, its capital and small form.
 *
 * Classes come from PCRE2's tables, compiled on first use; cases from a table of our own, because
 * PCRE2 has no mappings to several characters. The words are Python's: str.isalpha(), str.upper(),
 * ...
 *
 * Lifetime  classes belong to one render. Threads  one at a time. */
#ifndef TEXT_JINJA_CHARS_H
#define TEXT_JINJA_CHARS_H

#include <stdbool.h>
#include <stdint.h>

enum jchar_class {
    JCHAR_PRINTABLE,
    JCHAR_ALPHA,
    JCHAR_DECIMAL,
    JCHAR_DIGIT,
    JCHAR_NUMERIC, // but for numerals among ideographs
    JCHAR_UPPER,
    JCHAR_LOWER,
    JCHAR_CASED, // upper, lower or title
    JCHAR_CLASSES,
};

struct jchars;

/* A class that PCRE2 cannot compile (no memory) counts as ASCII only. */
bool jchar_is(struct jchars **chars, enum jchar_class class, uint32_t c);
void jchars_free(struct jchars *chars);

/* The other form of c in out[3]; gives how many characters that is. A character without one is its
 * own. */
enum { JCHAR_FORM_MAX = 3 };
unsigned jchar_upper(uint32_t c, uint32_t out[JCHAR_FORM_MAX]);
unsigned jchar_title(uint32_t c, uint32_t out[JCHAR_FORM_MAX]); // at the start of a word
unsigned jchar_lower(uint32_t c, uint32_t out[JCHAR_FORM_MAX]);

#endif
