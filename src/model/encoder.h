/* model/encoder.h - a sentence encoder: what a text is about, as a vector that can be compared with others.
 *
 *   text --wordpiece--> pieces --runs of 254 between [CLS] and [SEP]--> rows, each seeing all of its run
 *        --mean of all rows--> vector --> of length 1
 *
 * BERT-shaped models with mean pooling in GGUF files of the architecture "bert", as `akvifer pull minilm` makes one of
 * all-MiniLM-L6-v2, and as llama.cpp converts them; F32, F16 and BF16. Runs are as long as that model's users read; a
 * longer text, of which they read the beginning, is here the mean of all its runs.
 *
 * E1  The same file and text give the same bits, whatever was asked before and on every machine: the kernels' contracts
 *     hold, and what is plain here adds in order.
 * E2  The file is read when it is first needed; until then an encoder is its path.
 * E3  A vector that was computed lately is remembered for the same salt (model/recall.h).
 *
 * Numbers: float32, with sums of norms in double; GELU is the tanh form that the other models have, 5e-4 from erf's at
 * most.
 * Sources: Devlin et al. 2019, "BERT"; Reimers and Gurevych 2019, "Sentence-BERT"; Wang et al. 2020, "MiniLM".
 * Lifetime  from new to free; the kernels' table is constant. Threads  any: one at a time computes, under its lock.
 * Cost      of a run of 256 pieces some 90 ms of one thread (AVX2) (MiniLM); 55 MiB once it is read. */
#ifndef MODEL_ENCODER_H
#define MODEL_ENCODER_H

#include "base/note.h"
#include "base/status.h"
#include "kernels/kernels.h"

struct encoder; // opaque

/* FULL: no memory. */
must_use enum status encoder_new(struct encoder **out, const char *path, const struct kernels *kern,
                                 struct note *why);
void encoder_free(struct encoder *e); // NULL is allowed

/* Elements of a vector, a multiple of 8. BAD_INPUT: the file is no encoder, or one of another kind; NOT_FOUND,
 * IO_ERROR: it cannot be read; FULL: no memory. All of them with words, and the next call tries again. */
must_use enum status encoder_dim(struct encoder *e, uint32_t *dim, struct note *why);

/* vector [dim] of a text, of length 1, asked for under a salt. CORRUPT: the file was written to since it was read;
 * others as above. */
must_use enum status encoder_embed(struct encoder *e, const char *salt, const char *text,
                                   size_t len, float *vector, struct note *why);

#endif
