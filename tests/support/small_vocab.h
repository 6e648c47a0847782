/* support/small_vocab.h - vocabularies that are made by hand, small enough to work out what must
 * come.
 *
 * A maker collects tokens and merges into the plain arrays of a vocab_source; its room is fixed,
 * and too much is a failed assertion. Two ready ones are small_bpe and small_spm. */
#ifndef SUPPORT_SMALL_VOCAB_H
#define SUPPORT_SMALL_VOCAB_H

#include "text/vocab.h"

enum { MAKER_TOKENS = 1024, MAKER_MERGES = 256, MAKER_BYTES = 1 << 14 };

struct vocab_maker {
    struct vocab_source src; // points into what follows
    struct text_span token[MAKER_TOKENS], merge[MAKER_MERGES];
    float score[MAKER_TOKENS];
    int32_t type[MAKER_TOKENS];
    char bytes[MAKER_BYTES];
    size_t used;
};

/* No token, no habit; 'pre' is gpt-2. */
void maker_open(struct vocab_maker *m, enum vocab_model model);
int32_t maker_token_bytes(struct vocab_maker *m, const char *text, size_t len, enum token_type type,
                          float score);
int32_t maker_token(struct vocab_maker *m, const char *text, enum token_type type, float score);
int32_t maker_find(const struct vocab_maker *m, const char *text); // -1: none

/* "left right": the merge, and the token that it makes unless it is there. */
void maker_merge(struct vocab_maker *m, const char *merge);

/* The 256 tokens of single bytes, as the model spells them: ids 0 to 255 in an empty maker. */
void maker_byte_tokens(struct vocab_maker *m);

struct vocab *maker_build(const struct vocab_maker *m); // asserts that it works

/* Bytes; merges up to "hello" and " world", and one that would make the control token <<>>. Control
 * too: <|end|> (EOS), <|im_start|> (BOS, not added); user-defined: <tool>, <tool><x>, ab, bcd;
 * unknown: <unk>. */
void small_bpe(struct vocab_maker *m);

/* Bytes; scores that make "hello" and U+2581 "hello"; chains that could end in <s> and in <0x41>.
 * Control: <s> (BOS, added), </s>; user-defined: <b>, two line ends; a space is put in front. */
void small_spm(struct vocab_maker *m);

#endif
