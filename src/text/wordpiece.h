/* text/wordpiece.h - the tokens of BERT models: words without case and accents, each cut into the longest pieces there
 * are.
 *
 *   "Caf\u00e9s, unwatched" --fold, words--> cafes | , | unwatched --pieces--> cafe ##s , un ##watch ##ed
 *
 * Words end at white space; a mark of punctuation or an ideograph is one by itself. A word of more than 100 characters,
 * or one that cannot be cut to its end, is the unknown token. Tokens are spelled as GGUF files have them: U+2581 before
 * a piece that begins a word, nothing before one that goes on ("##ed" is "ed"). No text gives a control token: "[SEP]"
 * is three words.
 *
 * Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"; Wu et
 * al. 2016.
 * Lifetime  from new to free; it copies the spellings. Threads  any number of readers.
 * Cost      of a word a look-up for each character that a piece is shortened by. */
#ifndef TEXT_WORDPIECE_H
#define TEXT_WORDPIECE_H

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"
#include "text/vocab.h"

struct wordpiece; // opaque

/* BAD_INPUT: there is no token "[UNK]". FULL: out of memory. */
must_use enum status wordpiece_new(struct wordpiece **out, const struct text_span *token,
                                   uint32_t n_token, struct note *why);
void wordpiece_free(struct wordpiece *w); // NULL is allowed

/* The token of that spelling, -1: none. */
int32_t wordpiece_find(const struct wordpiece *w, const char *spelling);

/* Appends the ids of a text; bytes that are no UTF-8 are passed over. Sets out->failed without memory. */
void wordpiece_encode(const struct wordpiece *w, const char *text, size_t len, struct ids *out);

#endif
