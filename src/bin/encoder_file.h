/* bin/encoder_file.h - the file of a sentence encoder, made of what its publishers give.
 *
 *   vocab.txt | model.safetensors  -->  one GGUF file: architecture bert, F32, mean pooling
 *
 * Keys and names are those of llama.cpp's converter, so that other programs read it too. The same bytes come of the
 * same bytes, so that the result has a checksum. */
#ifndef BIN_ENCODER_FILE_H
#define BIN_ENCODER_FILE_H

#include "base/note.h"
#include "base/status.h"

/* Of all-MiniLM-L6-v2: `parts` holds both, one behind the other. BAD_INPUT: they are not that model's. IO_ERROR: the
 * system's words. FULL: no memory. What is at `to` then is to be removed. */
must_use enum status encoder_file_minilm(const char *parts, const char *to, struct note *why);

enum { MINILM_VOCAB_BYTES = 231508 }; // of vocab.txt

#endif
