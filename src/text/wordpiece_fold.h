/* text/wordpiece_fold.h - what a character becomes before words are cut into pieces: as an uncased BERT model was
 * trained.
 *
 *   "\u00c9" --taken apart--> "E" "\u0301" --marks go--> "E" --lower case--> "e"
 *
 * Canonical decomposition (Unicode, by tools/wordpiece_table.py), without nonspacing marks, in lower case. Controls,
 * what is for private use, and U+FFFD go. Threads  any. Cost  a binary search behind ASCII. */
#ifndef TEXT_WORDPIECE_FOLD_H
#define TEXT_WORDPIECE_FOLD_H

#include <stdbool.h>
#include <stdint.h>

enum { FOLD_MAX = 3 };

/* What stays of it: 0 to FOLD_MAX characters. */
unsigned fold_char(uint32_t c, uint32_t out[FOLD_MAX]);

bool fold_is_space(uint32_t c);
bool fold_is_punctuation(
    uint32_t c);                    // all of ASCII that is neither letter, digit, space nor control
bool fold_is_ideograph(uint32_t c); // a word by itself

#endif
