/* twin/text_twin.h - encoding as it is defined, done the slow way: search all, take the best,
 * again.
 *
 * Special tokens are cut out one after the other, longest first; words and characters are joined by
 * looking at every pair each time. Quadratic and worse; only the words of a pre-tokenizer are not
 * found anew. */
#ifndef TWIN_TEXT_TWIN_H
#define TWIN_TEXT_TWIN_H

#include "text/vocab.h"

/* Appends the ids of `text`, of which bytes [trusted_from, trusted_to) may name control tokens. */
void twin_encode(const struct vocab_source *src, const char *text, size_t len, size_t trusted_from,
                 size_t trusted_to, struct ids *out);

#endif
