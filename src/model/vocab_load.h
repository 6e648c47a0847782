/* model/vocab_load.h - the vocabulary of a model file: tokenizer.ggml.* of a GGUF into
 * text/vocab.h. */
#ifndef MODEL_VOCAB_LOAD_H
#define MODEL_VOCAB_LOAD_H

#include "base/note.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

/* Builds the vocabulary; the file may be closed afterwards. What the file leaves out is as
 * llama.cpp has it:
 *   tokenizer.ggml.model  "llama" (SPM)   "gpt2" (BPE)
 *   bos, eos, unk         1, 2, 0         none
 *   add_bos_token         true            as the pre-tokenizer has it (llama-bpe, tekken: true)
 *   add_space_prefix      true            never
 *   pre                   not used        "default", and the note says so with status OK
 * A token id beyond the vocabulary counts as left out.
 * BAD_INPUT names the key that is missing or wrong; FULL: out of memory. */
must_use enum status model_vocab_load(struct vocab **out, const struct gguf *g, struct note *why);

#endif
