/* model/hidden.h - the model itself as a sentence encoder: the mean of a text's hidden states behind one of its layers.
 *
 *   ids --runs of 255 behind a first token--> rows of the first n_layer layers, each run on its own
 *       --tap `hidden` (kv/taps.h)--> sum of all rows but each run's first --> mean
 *
 * The first token of what a model reads draws attention that goes nowhere else, and its row is as large as many others
 * together: so it is one that no text has asked for, and does not count.
 *
 * It runs passes of its own over the model's weights, in a small pool of its own: nothing of the engine's is touched,
 * and layers behind the n_layer-th cost nothing.
 *
 * D1  The same model, n_layer and ids give the same bits: whatever was asked before, however long a prompt they are
 *     part of, and on every machine (kv/taps.h T1, model/model.h M1).
 * D2  There is no memory for it until it is first asked.
 * D3  A mean that was computed lately is remembered (model/recall.h).
 *
 * Source: Kim et al. 2025, "EpiCache", has the mean of input embeddings for this; the layer is a choice of ours.
 * Lifetime  from new to free, inside that of its model. Threads  any: one at a time computes, under its lock.
 * Cost      n_layer of the model's layers over all ids, by the thread that asks. */
#ifndef MODEL_HIDDEN_H
#define MODEL_HIDDEN_H

#include "model/model.h"

enum { HIDDEN_RUN = 256 }; // rows of a run at most, the first among them

struct hidden; // opaque

/* Each run begins with the token `first`. FULL: no memory. */
must_use enum status hidden_new(struct hidden **out, const struct model *m, int32_t first,
                                struct note *why);
void hidden_free(struct hidden *r); // NULL is allowed

/* mean [n_embd] of the rows behind the n_layer-th layer (1 .. all), of n ids; zeros of none. FULL: no memory. */
must_use enum status hidden_mean(struct hidden *r, uint32_t n_layer, const int32_t *ids, size_t n,
                                 float *mean, struct note *why);

#endif
