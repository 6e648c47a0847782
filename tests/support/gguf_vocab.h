/* support/gguf_vocab.h - vocabularies made by hand, as pairs of a GGUF file. */
#ifndef SUPPORT_GGUF_VOCAB_H
#define SUPPORT_GGUF_VOCAB_H

#include "support/gguf_writer.h"
#include "support/small_vocab.h"

/* The tokens and what belongs to them (types, scores or merges), but no other key: special ids and
 * habits are left to their defaults. */
void gguf_write_vocab(struct gguf_writer *w, const struct vocab_maker *m);

#endif
