/* support/tiny_model.h - small random models of every architecture, written as GGUF files. */
#ifndef SUPPORT_TINY_MODEL_H
#define SUPPORT_TINY_MODEL_H

#include <stdint.h>

#include "base/dtype.h"
#include "support/small_vocab.h"

struct tiny_model {
    const char *arch; // "llama", "qwen2", "qwen3", "gemma3"
    enum dtype type;  // of the matrices
    uint32_t n_layer, n_embd, n_head, n_kv_head, d_head, n_ff, n_vocab, n_ctx;
    uint32_t window;    // gemma3
    uint32_t kv_copies; // of each kv_head, of n_kv_head in all; 0: one
    uint64_t seed;
    const struct vocab_maker *vocab; // NULL: the file has no tokens
    const char *chat_template;       // NULL: none
};

/* The usual small shape of an architecture: everything divides, nothing is square. */
struct tiny_model tiny_model_of(const char *arch, enum dtype type);

void tiny_model_save(const struct tiny_model *t, const char *path);

/* With the small byte-level vocabulary (support/small_vocab.h), into a new temporary file. The caller removes it. */
enum { TINY_PATH = 40 };
void tiny_model_save_temporary(struct tiny_model t, char path[TINY_PATH]);

#endif
