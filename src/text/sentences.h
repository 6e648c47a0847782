/* text/sentences.h - where sentences end in a stream of tokens.
 *
 *     It is 3.14 .  See a.com !) \n\n Next
 *                 ^             ^           ends, told with the token behind them
 *
 * S1  Whether a sentence ends in front of a token depends on that token and on those before it, never on later ones: so
 *     a text read in pieces has the same sentences.
 * S2  A sentence has at most `longest` tokens, under any rule.
 * S3  Quotes, brackets and white space behind an end belong to the sentence that ends.
 *
 * A full stop, question or exclamation mark ends a sentence where white space follows it and no abbreviation or initial
 * stands in front of it; the marks of Chinese, Japanese, Hindi, Arabic and Urdu end it whatever follows; so do the end
 * of a line and a control token. From three quarters of `longest` on a comma, semicolon or colon with white space
 * behind it does, too.
 *
 * Characters may be spread over tokens. Lifetime  of its sequence; plain data. Threads  one at a time. */
#ifndef TEXT_SENTENCES_H
#define TEXT_SENTENCES_H

#include "text/vocab.h"

enum sentence_rule {
    SENTENCES_AUTO, // as above
    SENTENCES_STRICT, // behind tokens that are one of a few marks or two line ends, as SentenceKV's own code has it
    SENTENCES_LINES, // at ends of lines and control tokens
    SENTENCES_FIXED, // after each `longest` tokens
};

enum sentence_end { SENTENCE_GOES_ON, SENTENCE_PAUSES, SENTENCE_MAY_END, SENTENCE_ENDS };

struct sentences {
    const struct vocab *vocab;
    enum sentence_rule rule;
    uint32_t longest; // tokens, 1 or more
    uint32_t n;       // tokens of the sentence so far
    enum sentence_end state;
    bool spaced;     // white space stands behind what pauses or may end
    char held[3];    // the beginning of a character
    uint32_t n_held; // bytes
    char word[8];    // letters just read, small; n_word may be more than there is room for
    uint32_t n_word;
    bool initial;  // they began with a capital, or behind a full stop
    uint32_t last; // character
};

void sentences_open(struct sentences *s, const struct vocab *v, enum sentence_rule rule,
                    uint32_t longest);

/* The next token. True: a sentence ended in front of it. */
bool sentences_next(struct sentences *s, int32_t id);

#endif
