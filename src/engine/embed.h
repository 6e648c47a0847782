/* engine/embed.h - what a stretch of a conversation is about, as a unit vector that can be compared with others.
 *
 *   tfidf   words, by how few stretches have them            needs nothing but the text
 *   tokens  the model's own input embeddings, each token by how few stretches have it; what all have in common taken
 *           away
 *   hidden  the model's own hidden states behind some of its layers (model/hidden.h); what all have in common taken
 *           away, and of a text's own rows each element divided by how far they differ in it
 *   encoder a sentence encoder's (model/encoder.h), as they are
 *
 * The first three are fitted to the stretches of one conversation. In the first two what is rare among them counts: the
 * weight of what df of n stretches have is sqrt((n - df + 1/2) / (df + 1/2)): near nothing for what most of them have,
 * as the logarithm of the same is in BM25, and the same bits on every machine.
 *
 * B1  The same ids, stretches, model, layers and encoder give the same bits.
 * Sources: Robertson and Sparck Jones 1976 (the weight); Arora et al. 2017, "A Simple but Tough-to-Beat Baseline for
 * Sentence Embeddings" (means of tokens by rarity, without what is common).
 * Lifetime  from fit to close. Threads  any; it reads the model's embedding. */
#ifndef ENGINE_EMBED_H
#define ENGINE_EMBED_H

#include "model/encoder.h"
#include "model/hidden.h"
#include "model/model.h"
#include "text/vocab.h"

enum embed_kind { EMBED_TFIDF, EMBED_TOKENS, EMBED_HIDDEN, EMBED_ENCODER };

struct embed_how {
    enum embed_kind kind;
    struct hidden_how hidden; // of EMBED_HIDDEN
};

/* What is read for it. */
struct embed_from {
    const struct model *model;
    const struct vocab *vocab;
    struct hidden *hidden;   // for EMBED_HIDDEN alone
    struct encoder *encoder; // NULL: there is none
    const char *salt;        // under which the last two remember
};

/* What is asked about a text, in a vocabulary's tokens. FULL: no memory. */
must_use enum status embed_frame(struct hidden_frame *out, const struct vocab *v, struct note *why);

struct stretch {
    uint32_t first, end; // ids [first, end)
};

struct embedder {
    struct embed_how how;
    struct embed_from from;
    uint32_t dim, n_weight; // elements of a vector; of places (tfidf), tokens or nothing
    float *weight;          // [n_weight]
    float *mean, *scale;    // [dim], or NULL
};

/* FULL: no memory. EMBED_ENCODER with an encoder alone; errors then are encoder_dim's, too. */
must_use enum status embedder_fit(struct embedder *out, struct embed_how how,
                                  const struct embed_from *from, const int32_t *ids,
                                  const struct stretch *stretch, uint32_t n, struct note *why);
void embedder_close(struct embedder *e); // a zeroed one too

/* vector [dim], of length 1; zeros where the stretch says nothing. Errors as above. */
must_use enum status embed(const struct embedder *e, const int32_t *ids, struct stretch s,
                           float *vector, struct note *why);

#endif
