/* support/tiny_encoder.h - a small random sentence encoder, written as a GGUF file. */
#ifndef SUPPORT_TINY_ENCODER_H
#define SUPPORT_TINY_ENCODER_H

#include "support/gguf_writer.h"

enum {
    TINY_ENCODER_LAYERS = 2,
    TINY_ENCODER_EMBD = 40,
    TINY_ENCODER_HEADS = 5,
    TINY_ENCODER_CTX = 24
};

/* Everything but `without` (a key or a tensor; NULL: nothing is left out). */
void tiny_encoder_write(struct gguf_writer *w, const char *without);

void tiny_encoder_save(const char *path);

#endif
