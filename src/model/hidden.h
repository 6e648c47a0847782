/* model/hidden.h - the model itself as a sentence encoder: a mean of hidden states behind one of its layers.
 *
 *   text   first | ids ..........                of the text's own rows
 *   asked  first | This passage: " | ids .......... | " is about one topic, in one word: "
 *                                                   of the rows that say what it is about
 *
 *   --runs of HIDDEN_RUN rows, each on its own, of the first n_layer layers --tap `hidden` (kv/taps.h)--> sum --> mean
 *
 * The first token of what a model reads draws attention that goes nowhere else, and its row is as large as many others
 * together: so it is one that no text has asked for, and does not count.
 *
 * It runs passes of its own over the model's weights, in a small pool of its own: nothing of the engine's is touched,
 * and layers behind the n_layer-th cost nothing.
 *
 * D1  The same model, frame and ids give the same bits: whatever was asked before, however long a prompt they are
 *     part of, and on every machine (kv/taps.h T1, model/model.h M1).
 * D2  There is no memory for it until it is first asked.
 * D3  A mean that was computed lately is remembered for the same salt (model/recall.h).
 *
 * Sources: Kim et al. 2025, "EpiCache", which has the mean of input embeddings; Jiang et al. 2023, "Scaling Sentence
 * Embeddings with Large Language Models", whose prompt asks for one word, and takes the last row.
 * Lifetime  from new to free, inside that of its model. Threads  any: one at a time computes, under its lock.
 * Cost      n_layer of the model's layers over all ids, by the thread that asks. */
#ifndef MODEL_HIDDEN_H
#define MODEL_HIDDEN_H

#include "model/model.h"

/* Rows of a run at most; ids before a text, and behind it. */
enum { HIDDEN_RUN = 256, HIDDEN_WORDS_MAX = 32 };

struct hidden; // opaque

/* What stands around a text: each run begins with `first`; the rest where it is asked what the text is about. */
struct hidden_frame {
    int32_t first, before[HIDDEN_WORDS_MAX], behind[HIDDEN_WORDS_MAX];
    uint32_t n_before, n_behind; // n_behind 0: nothing is asked
};

/* FULL: no memory. */
must_use enum status hidden_new(struct hidden **out, const struct model *m,
                                const struct hidden_frame *frame, struct note *why);
void hidden_free(struct hidden *r); // NULL is allowed

struct hidden_how {
    uint32_t n_layer; // that are run: 1 .. all
    bool asks;
};

/* mean [n_embd] for n ids, asked for under a salt; zeros of none. FULL: no memory. */
must_use enum status hidden_mean(struct hidden *r, struct hidden_how how, const char *salt,
                                 const int32_t *ids, size_t n, float *mean, struct note *why);

#endif
