#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "support/gguf_vocab.h"
#include "support/weights.h"

struct tiny_model tiny_model_of(const char *arch, enum dtype type)
{
    return (struct tiny_model){
        .arch = arch,
        .type = type,
        .n_layer = strcmp(arch, "gemma3") == 0 ? 3 : 2,
        .n_embd = 256,
        .n_head = 8,
        .n_kv_head = 2,
        .d_head = 64,
        .n_ff = 768,
        .n_vocab = 300,
        .n_ctx = 4096,
        .window = strcmp(arch, "gemma3") == 0 ? 100 : 0,
        .seed = 7,
    };
}

struct writing {
    const struct tiny_model *t;
    struct gguf_writer w;
    struct rng rng;
};

static void matrix(struct writing *o, const char *name, uint32_t n_out, uint32_t n_in)
{
    const size_t bytes = dtype_bytes(o->t->type, (uint64_t)n_out * n_in);
    void *rows = mem_new(bytes, 1);
    random_weights(rows, o->t->type, n_out, n_in, &o->rng, false);
    gguf_write_tensor(&o->w, name, o->t->type, 2, (uint64_t[]){ n_in, n_out }, rows, bytes);
    mem_free(rows);
}

/* Keys or values: heads that are copies have the same weights. */
static void kv_matrix(struct writing *o, const char *name)
{
    const struct tiny_model *t = o->t;
    const uint32_t copies = t->kv_copies ? t->kv_copies : 1, n_own = t->n_kv_head / copies;
    const size_t head = dtype_bytes(t->type, (uint64_t)t->d_head * t->n_embd);
    char *own = mem_new(n_own, head), *all = mem_new(t->n_kv_head, head);
    random_weights(own, t->type, n_own * t->d_head, t->n_embd, &o->rng, false);
    for (uint32_t i = 0; i < t->n_kv_head; i++)
        memcpy(all + i * head, own + i / copies * head, head);
    gguf_write_tensor(&o->w, name, t->type, 2, (uint64_t[]){ t->n_embd, t->n_kv_head * t->d_head },
                      all, t->n_kv_head * head);
    mem_free(own);
    mem_free(all);
}

static void vector(struct writing *o, const char *name, uint32_t n, double middle, double spread)
{
    float *x = mem_new(n, sizeof *x);
    for (uint32_t i = 0; i < n; i++)
        x[i] = (float)(middle + spread * (rng_unit(&o->rng) - 0.5));
    gguf_write_tensor(&o->w, name, DT_F32, 1, (uint64_t[]){ n }, x, n * sizeof *x);
    mem_free(x);
}

static void layer(struct writing *o, uint32_t i)
{
    const struct tiny_model *t = o->t;
    const uint32_t n_q = t->n_head * t->d_head, n_kv = t->n_kv_head * t->d_head;
    char name[64];
#define NAMED(suffix) (snprintf(name, sizeof name, "blk.%u." suffix, i), name)
    vector(o, NAMED("attn_norm.weight"), t->n_embd, 1, 0.2);
    matrix(o, NAMED("attn_q.weight"), n_q, t->n_embd);
    kv_matrix(o, NAMED("attn_k.weight"));
    kv_matrix(o, NAMED("attn_v.weight"));
    matrix(o, NAMED("attn_output.weight"), t->n_embd, n_q);
    vector(o, NAMED("ffn_norm.weight"), t->n_embd, 1, 0.2);
    matrix(o, NAMED("ffn_gate.weight"), t->n_ff, t->n_embd);
    matrix(o, NAMED("ffn_up.weight"), t->n_ff, t->n_embd);
    matrix(o, NAMED("ffn_down.weight"), t->n_embd, t->n_ff);
    if (strcmp(t->arch, "qwen2") == 0) {
        vector(o, NAMED("attn_q.bias"), n_q, 0, 0.5);
        vector(o, NAMED("attn_k.bias"), n_kv, 0, 0.5);
        vector(o, NAMED("attn_v.bias"), n_kv, 0, 0.5);
    }
    if (strcmp(t->arch, "qwen3") == 0 || strcmp(t->arch, "gemma3") == 0) {
        vector(o, NAMED("attn_q_norm.weight"), t->d_head, 1, 0.2);
        vector(o, NAMED("attn_k_norm.weight"), t->d_head, 1, 0.2);
    }
    if (strcmp(t->arch, "gemma3") == 0) {
        vector(o, NAMED("post_attention_norm.weight"), t->n_embd, 1, 0.2);
        vector(o, NAMED("post_ffw_norm.weight"), t->n_embd, 1, 0.2);
    }
#undef NAMED
}

static void pairs(struct writing *o)
{
    const struct tiny_model *t = o->t;
    char key[64];
#define KEY(suffix) (snprintf(key, sizeof key, "%s." suffix, t->arch), key)
    gguf_write_text(&o->w, "general.architecture", t->arch);
    gguf_write_text(&o->w, "general.name", "tiny");
    gguf_write_int(&o->w, KEY("block_count"), GGUF_U32, t->n_layer);
    gguf_write_int(&o->w, KEY("context_length"), GGUF_U32, t->n_ctx);
    gguf_write_int(&o->w, KEY("embedding_length"), GGUF_U32, t->n_embd);
    gguf_write_int(&o->w, KEY("feed_forward_length"), GGUF_U32, t->n_ff);
    gguf_write_int(&o->w, KEY("attention.head_count"), GGUF_U32, t->n_head);
    gguf_write_int(&o->w, KEY("attention.head_count_kv"), GGUF_U32, t->n_kv_head);
    gguf_write_int(&o->w, KEY("attention.key_length"), GGUF_U32, t->d_head);
    gguf_write_int(&o->w, KEY("attention.value_length"), GGUF_U32, t->d_head);
    gguf_write_float(&o->w, KEY("attention.layer_norm_rms_epsilon"), GGUF_F32, 1e-5);
    gguf_write_float(&o->w, KEY("rope.freq_base"), GGUF_F32, 10000);
    if (t->window) {
        gguf_write_int(&o->w, KEY("attention.sliding_window"), GGUF_U32, t->window);
        gguf_write_int(&o->w, KEY("attention.sliding_window_pattern"), GGUF_U32, 3);
    }
    if (t->vocab)
        gguf_write_vocab(&o->w, t->vocab);
    if (t->chat_template)
        gguf_write_text(&o->w, "tokenizer.chat_template", t->chat_template);
#undef KEY
}

void tiny_model_save(const struct tiny_model *t, const char *path)
{
    struct writing o = { .t = t, .rng = rng_seeded(t->seed, 1) };
    gguf_writer_open(&o.w, 3);
    pairs(&o);
    matrix(&o, "token_embd.weight", t->n_vocab, t->n_embd);
    vector(&o, "output_norm.weight", t->n_embd, 1, 0.2);
    for (uint32_t i = 0; i < t->n_layer; i++)
        layer(&o, i);
    gguf_writer_save(&o.w, path);
    gguf_writer_close(&o.w);
}

void tiny_model_save_temporary(struct tiny_model t, char path[TINY_PATH])
{
    static struct vocab_maker vocab;
    snprintf(path, TINY_PATH, "/tmp/akvifer-tiny-XXXXXX");
    const int fd = mkstemp(path);
    if (fd < 0) {
        perror(path);
        abort();
    }
    close(fd);
    small_bpe(&vocab);
    t.vocab = &vocab;
    tiny_model_save(&t, path);
}
