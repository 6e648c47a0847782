/* text/pretoken.h - cuts text into words, which byte-level BPE then merges one by one.
 *
 *   "It's 42 \xff ok"  ->  It|'s| |4|2| |\xff| ok        (here: smollm)
 *
 * P1  The words laid end to end are the text, and none is empty.
 * P2  A run of bytes that is no UTF-8 is a word of its own; patterns see valid UTF-8 only.
 * P3  A vocabulary's patterns are applied in turn: each cuts the words of the one before, both what
 *     it matches and what lies between; a word is all that a pattern (its look-ahead too) can see.
 *
 * The patterns are those of the models' own tokenizer definitions. White space is Unicode's
 * White_Space, which PCRE2's \s is not (it has U+180E too); letters and numbers are those of the
 * PCRE2 library's Unicode version.
 *
 * Lifetime  whoever opened it. Threads  any number may split with one.
 * Cost  linear, some 50 MB/s for each pattern. */
#ifndef TEXT_PRETOKEN_H
#define TEXT_PRETOKEN_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/note.h"
#include "base/status.h"

#define PRETOKEN_PATTERNS_MAX 6

struct pretoken_rule; // a row of the table

struct pretoken {
    const struct pretoken_rule *rule;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *code[PRETOKEN_PATTERNS_MAX];
    int n_code;
};

/* The row of that name, or NULL. */
const struct pretoken_rule *pretoken_find(const char *name);
bool pretoken_ignores_merges(const struct pretoken_rule *rule);
bool pretoken_adds_bos(const struct pretoken_rule *rule);

/* Compiles the patterns. FULL: out of memory. */
must_use enum status pretoken_open(struct pretoken *p, const struct pretoken_rule *rule,
                                   struct note *why);
void pretoken_close(struct pretoken *p);

/* Takes one word; another status than OK ends the split with it. */
typedef enum status pretoken_take(void *ctx, const char *word, size_t len, struct note *why);

/* Calls `take` for each word in order. BAD_INPUT: a pattern gave up (PCRE2's match limit). */
must_use enum status pretoken_split(const struct pretoken *p, const char *text, size_t len,
                                    pretoken_take *take, void *ctx, struct note *why);

#endif
