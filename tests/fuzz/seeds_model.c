/* Writes the first inputs of fuzz_model into a folder: the metadata of each architecture, with every rope, and a
 * vocabulary of each kind; and a sentence encoder. */
#include <stdio.h>
#include <string.h>

#include "support/gguf_vocab.h"
#include "support/gguf_writer.h"
#include "support/tiny_encoder.h"

struct seed {
    const char *arch, *rope;
    enum vocab_model vocab;
};

static void write_seed(const char *dir, const struct seed *s)
{
    static struct vocab_maker maker;
    struct gguf_writer w;
    char path[4096], key[96];
#define KEY(NAME) (snprintf(key, sizeof key, "%s." NAME, s->arch), key)
    gguf_writer_open(&w, 3);
    gguf_write_text(&w, "general.architecture", s->arch);
    gguf_write_int(&w, KEY("block_count"), GGUF_U32, 4);
    gguf_write_int(&w, KEY("context_length"), GGUF_U32, 4096);
    gguf_write_int(&w, KEY("embedding_length"), GGUF_U32, 64);
    gguf_write_int(&w, KEY("feed_forward_length"), GGUF_U32, 128);
    gguf_write_int(&w, KEY("attention.head_count"), GGUF_U32, 4);
    gguf_write_int(&w, KEY("attention.head_count_kv"), GGUF_U32, 2);
    gguf_write_int(&w, KEY("attention.key_length"), GGUF_U32, 16);
    gguf_write_int(&w, KEY("attention.value_length"), GGUF_U32, 16);
    gguf_write_int(&w, KEY("attention.sliding_window"), GGUF_U32, 512);
    gguf_write_float(&w, KEY("attention.layer_norm_rms_epsilon"), GGUF_F32, 1e-5);
    gguf_write_float(&w, KEY("rope.freq_base"), GGUF_F32, 10000);
    gguf_write_text(&w, KEY("rope.scaling.type"), s->rope);
    gguf_write_float(&w, KEY("rope.scaling.factor"), GGUF_F32, 4);
    gguf_write_int(&w, KEY("rope.scaling.original_context_length"), GGUF_U32, 1024);
#undef KEY
    (s->vocab == VOCAB_BPE ? small_bpe : small_spm)(&maker);
    gguf_write_text(&w, "tokenizer.ggml.model", s->vocab == VOCAB_BPE ? "gpt2" : "llama");
    gguf_write_text(&w, "tokenizer.ggml.pre", "qwen2");
    gguf_write_vocab(&w, &maker);
    snprintf(path, sizeof path, "%s/seed-%s-%s", dir, s->arch, s->rope);
    gguf_writer_save(&w, path);
    gguf_writer_close(&w);
}

int main(int argc, char **argv)
{
    static const struct seed seeds[] = {
        { "llama", "none", VOCAB_SPM },   { "llama", "linear", VOCAB_BPE },
        { "llama", "llama3", VOCAB_BPE }, { "qwen2", "yarn", VOCAB_BPE },
        { "qwen3", "none", VOCAB_BPE },   { "gemma3", "linear", VOCAB_SPM },
    };
    char path[4096];
    if (argc != 2)
        return 1;
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        write_seed(argv[1], &seeds[i]);
    snprintf(path, sizeof path, "%s/seed-bert", argv[1]);
    tiny_encoder_save(path);
    return 0;
}
