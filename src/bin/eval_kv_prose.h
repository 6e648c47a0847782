/* bin/eval_kv_prose.h - texts as tokens, with the places where a sentence begins.
 *
 *     text 0                       | text 1             | ...
 *     ids  . . . . . . . . . . . . | . . . . . . . . .  |
 *     sentence     ^       ^         ^     ^     ^          each text begins one
 *
 * The texts are the *.txt files of a folder, by name, or the passages that the program carries:
 * some 37 kB each of Pride and Prejudice, War and Peace, The Adventures of Sherlock Holmes,
 * Moby-Dick and Frankenstein (public domain). Sentences are tokenized one by one: what is cut at
 * one reads as the text does. */
#ifndef BIN_EVAL_KV_PROSE_H
#define BIN_EVAL_KV_PROSE_H

#include "akvifer.h"
#include "base/buf.h"
#include "base/note.h"
#include "base/rng.h"
#include "base/status.h"

enum { EVAL_TEXTS = 64 };

struct eval_prose {
    struct ids ids;
    struct ids sentence; // indices of ids
    uint32_t n_text;
    size_t text[EVAL_TEXTS + 1]; // where each begins in ids; text[n_text] is the end
    struct ids bos;              // what begins a text of the model: a token, or none
};

/* folder NULL: the passages of the program. NOT_FOUND, IO_ERROR: the note names the path.
 * BAD_INPUT: no text there. */
must_use enum status eval_prose_open(struct eval_prose *p, const akv_model *model,
                                     const char *folder, struct note *why);
void eval_prose_close(struct eval_prose *p);

/* Indices of n ids in one text each, which do not overlap: every such place of all texts, shuffled.
 * As many as n_place has room for; returns how many there are. */
uint32_t eval_prose_places(const struct eval_prose *p, uint32_t n, struct rng *rng, size_t *place,
                           uint32_t n_place);

/* Appends n ids from a random sentence on; behind the last text comes the first. Into cut[] goes
 * where sentences begin in *out, up to n_cut of them; returns how many. */
uint32_t eval_prose_take(const struct eval_prose *p, uint32_t n, struct rng *rng, struct ids *out,
                         uint32_t *cut, uint32_t n_cut);

/* The bytes from `at` to behind the sentence's end: its stop, and closing quotes; white space
 * belongs to the next. */
size_t eval_sentence_end(const char *text, size_t len, size_t at);

#endif
