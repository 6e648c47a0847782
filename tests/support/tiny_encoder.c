#include "support/tiny_encoder.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { D = TINY_ENCODER_EMBD, FF = 56, N_TOKEN = 4 + 2 * 26 + 3 };

struct writing {
    struct gguf_writer *w;
    const char *without;
    struct rng rng;
};

static bool wanted(const struct writing *o, const char *name)
{
    return !o->without || strcmp(o->without, name) != 0;
}

/* n_row 0: a vector. */
static void tensor(struct writing *o, const char *name, uint32_t n_row, uint32_t n, double middle,
                   double spread)
{
    const size_t count = (size_t)(n_row ? n_row : 1) * n;
    float *x = mem_new(count, sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(middle + spread * (rng_unit(&o->rng) - 0.5));
    if (wanted(o, name))
        gguf_write_tensor(o->w, name, DT_F32, n_row ? 2 : 1, (uint64_t[]){ n, n_row }, x,
                          count * sizeof *x);
    mem_free(x);
}

static void pair(struct writing *o, uint32_t layer, const char *part, uint32_t n_row, uint32_t n)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s.weight", layer, part);
    tensor(o, name, n_row, n, n_row ? 0 : 1, 0.6);
    snprintf(name, sizeof name, "blk.%u.%s.bias", layer, part);
    tensor(o, name, 0, n_row ? n_row : n, 0, 0.4);
}

static void count(const struct writing *o, const char *key, int64_t value)
{
    if (wanted(o, key))
        gguf_write_int(o->w, key, GGUF_U32, value);
}

static void numbers(const struct writing *o)
{
    if (wanted(o, "general.architecture"))
        gguf_write_text(o->w, "general.architecture", "bert");
    count(o, "bert.block_count", TINY_ENCODER_LAYERS);
    count(o, "bert.context_length", TINY_ENCODER_CTX);
    count(o, "bert.embedding_length", D);
    count(o, "bert.feed_forward_length", FF);
    count(o, "bert.attention.head_count", TINY_ENCODER_HEADS);
    count(o, "bert.pooling_type", 1);
    gguf_write_float(o->w, "bert.attention.layer_norm_epsilon", GGUF_F32, 1e-12);
}

/* Letters that begin a word and that go on, so that every word of letters has pieces. */
static void tokens(const struct writing *o)
{
    static const char *const words[] = {
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "\xe2\x96\x81train", "\xe2\x96\x81garden", "er"
    };
    char letter[52][5];
    const char *all[N_TOKEN];
    size_t n = 0;
    for (; n < sizeof words / sizeof *words; n++)
        all[n] = words[n];
    for (int i = 0; i < 52; i++) {
        snprintf(letter[i], sizeof letter[i], "%s%c", i < 26 ? "\xe2\x96\x81" : "", 'a' + i % 26);
        all[n++] = letter[i];
    }
    if (wanted(o, "tokenizer.ggml.tokens"))
        gguf_write_texts(o->w, "tokenizer.ggml.tokens", all, n);
}

void tiny_encoder_write(struct gguf_writer *w, const char *without)
{
    struct writing o = { w, without, rng_seeded(11, 2) };
    numbers(&o);
    tokens(&o);
    tensor(&o, "token_embd.weight", N_TOKEN, D, 0, 2);
    tensor(&o, "position_embd.weight", TINY_ENCODER_CTX, D, 0, 1);
    tensor(&o, "token_types.weight", 2, D, 0, 1);
    tensor(&o, "token_embd_norm.weight", 0, D, 1, 0.5);
    tensor(&o, "token_embd_norm.bias", 0, D, 0, 0.5);
    for (uint32_t i = 0; i < TINY_ENCODER_LAYERS; i++) {
        pair(&o, i, "attn_q", D, D);
        pair(&o, i, "attn_k", D, D);
        pair(&o, i, "attn_v", D, D);
        pair(&o, i, "attn_output", D, D);
        pair(&o, i, "attn_output_norm", 0, D);
        pair(&o, i, "ffn_up", FF, D);
        pair(&o, i, "ffn_down", D, FF);
        pair(&o, i, "layer_output_norm", 0, D);
    }
}

void tiny_encoder_save(const char *path)
{
    struct gguf_writer w;
    gguf_writer_open(&w, 3);
    tiny_encoder_write(&w, NULL);
    gguf_writer_save(&w, path);
    gguf_writer_close(&w);
}
