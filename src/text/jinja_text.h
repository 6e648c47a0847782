/* text/jinja_text.h - text whose every byte knows where it came from.
 *
 *   bytes   < | i m _ s t a r t | >  h i !
 *   mark    1 1 1 1 1 1 1 1 1 1 1 1  0 0 0
 *
 * A text points into the template, a caller's value or the arena, and is never changed.
 *
 * T1  `mark` has one byte (0 or 1) for each of `bytes`, or is NULL: then all of them are `trusted`.
 * T2  `bytes` is valid UTF-8. Positions that a template sees count characters; in here, bytes.
 * T3  Whatever a function here copies keeps its mark; what it adds (padding) is trusted.
 *
 * Lifetime  as long as the arena or JSON value behind it. Threads  one render at a time.
 * Cost  slicing is O(1), building is linear. */
#ifndef TEXT_JINJA_TEXT_H
#define TEXT_JINJA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jrun;

struct jtext {
    const char *bytes;
    const uint8_t *mark;
    uint32_t len;
    bool trusted;
    bool safe; // passed `safe` or `escape`: `+` then escapes the other side, as Markup does
};

#define JTEXT(literal)                                                                             \
    ((struct jtext){ .bytes = (literal), .len = sizeof(literal) - 1, .trusted = true })

struct jtext jtext_of(const char *zero_terminated); // trusted
bool jtext_is(struct jtext t, const char *word);
bool jtext_equal(struct jtext a, struct jtext b);
int jtext_compare(struct jtext a, struct jtext b); // by code point
bool jtext_all_trusted(struct jtext t);
bool jtext_trusted_at(struct jtext t, uint32_t i);

/* Bytes from..to, clipped. */
struct jtext jtext_slice(struct jtext t, size_t from, size_t to);
bool jtext_starts(struct jtext t, struct jtext with);
bool jtext_ends(struct jtext t, struct jtext with);

/* First occurrence at or after byte `from` / last one ending at or before `to`; -1: none. */
ptrdiff_t jtext_find(struct jtext t, struct jtext what, size_t from);
ptrdiff_t jtext_rfind(struct jtext t, struct jtext what, size_t to);

uint32_t jtext_n_char(struct jtext t);
uint32_t jtext_offset(struct jtext t, uint32_t n_char);   // byte where character n_char begins
uint32_t jtext_char_len(struct jtext t, uint32_t offset); // bytes of the character there
uint32_t jtext_char_before(struct jtext t,
                           uint32_t end); // byte where the one that ends there begins; end > 0

/* What Python's str.isspace() says of one character. */
bool jtext_is_space(uint32_t c);
enum jtext_side { JTEXT_LEFT = 1, JTEXT_RIGHT = 2, JTEXT_BOTH = 3 };
struct jtext jtext_strip(struct jtext t, enum jtext_side side);
struct jtext jtext_strip_set(struct jtext t, struct jtext set, enum jtext_side side);

/* Text being built in the run's arena. No memory, or a text beyond the bound, fails the run. */
struct jbuild {
    struct jrun *run;
    char *bytes;
    uint8_t *mark; // NULL while all bytes are `trusted`
    size_t len, room, mark_room;
    bool trusted;
};

void jbuild_open(struct jbuild *b, struct jrun *run);
void jbuild_add(struct jbuild *b, struct jtext t);
void jbuild_add_word(struct jbuild *b, const char *word, bool trusted);
void jbuild_add_char(struct jbuild *b, uint32_t code_point, bool trusted);
struct jtext jbuild_text(const struct jbuild *b);

struct jtext jtext_join2(struct jrun *r, struct jtext a, struct jtext b);
struct jtext jtext_repeat(struct jrun *r, struct jtext t, int64_t times);
/* `count` < 0: every occurrence. An empty `old` matches between all characters. */
struct jtext jtext_replace(struct jrun *r, struct jtext t, struct jtext old, struct jtext with,
                           int64_t count);
enum jtext_case {
    JTEXT_UPPER,
    JTEXT_LOWER,
    JTEXT_CAPITAL,
    JTEXT_TITLE,
    JTEXT_SWAP,
    JTEXT_FOLD,
};
/* As Python's str.upper(), lower(), capitalize(), title(), swapcase() and casefold(). */
struct jtext jtext_cased(struct jrun *r, struct jtext t, enum jtext_case form);
/* As str.isupper() and islower(): letters of that case, and none of another. */
bool jtext_has_case(struct jrun *r, struct jtext t, enum jtext_case form);

/* The line that begins at *at, its end (any that Python knows) included if `keep`; *at moves on.
 * False: no more. */
bool jtext_next_line(struct jtext t, uint32_t *at, bool keep, struct jtext *line);

/* For HTML: & < > ' " become entities. */
struct jtext jtext_escape(struct jrun *r, struct jtext t);

#endif
