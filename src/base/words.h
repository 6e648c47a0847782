/* base/words.h - words that somebody typed: lists of them, and which known one was meant.
 *
 * Threads  any. Cost  linear; "did you mean" is the product of two lengths of at most 40. */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* Walks the words of a list with single spaces: false at its end. */
bool word_next(const char **list, const char **word, size_t *len);

/* "Did you mean": give it all candidates, then read `best` (NULL: none is near enough). Letters are
 * compared, without dashes in front; flags of one dash are like nothing else. */
struct nearest {
    const char *typed;
    const char *best;
    size_t best_len;
    unsigned distance;
};
void nearest_try(struct nearest *n, const char *word, size_t len);

#endif
