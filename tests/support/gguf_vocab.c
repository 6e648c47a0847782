#include "support/gguf_vocab.h"

#include <assert.h>
#include <string.h>

/* A zero-terminated copy behind *at. */
static const char *keep(char **at, struct text_span text)
{
    const char *copy = *at;
    *at = mempcpy(*at, text.bytes, text.len);
    *(*at)++ = 0;
    return copy;
}

void gguf_write_vocab(struct gguf_writer *w, const struct vocab_maker *m)
{
    static char bytes[MAKER_BYTES * 2];
    const char *token[MAKER_TOKENS], *merge[MAKER_MERGES];
    int64_t type[MAKER_TOKENS];
    double score[MAKER_TOKENS];
    char *at = bytes;
    for (uint32_t i = 0; i < m->src.n_token; i++) {
        token[i] = keep(&at, m->token[i]);
        type[i] = m->type[i];
        score[i] = m->score[i];
    }
    for (uint32_t i = 0; i < m->src.n_merge; i++)
        merge[i] = keep(&at, m->merge[i]);
    assert(at <= bytes + sizeof bytes);
    bool spm = m->src.model == VOCAB_SPM;
    gguf_write_text(w, "tokenizer.ggml.model", spm ? "llama" : "gpt2");
    gguf_write_texts(w, "tokenizer.ggml.tokens", token, m->src.n_token);
    gguf_write_ints(w, "tokenizer.ggml.token_type", GGUF_I32, type, m->src.n_token);
    if (spm)
        gguf_write_floats(w, "tokenizer.ggml.scores", GGUF_F32, score, m->src.n_token);
    else
        gguf_write_texts(w, "tokenizer.ggml.merges", merge, m->src.n_merge);
}
