#include "model/vocab_load.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"

/* The arrays of one load; they die with the arena. */
struct loader {
    const struct gguf *g;
    struct arena arena;
    struct vocab_source src;
};

static void *no_memory(const char *key, uint64_t n, struct note *why)
{
    note_set(why, "out of memory for %s (%llu elements)", key, (unsigned long long)n);
    return NULL;
}

static enum status wrong_kind(const char *key, const char *wanted, const struct gguf_value *v,
                              struct note *why)
{
    note_set(why, "%s must be an array of %s, but is %s%s", key, wanted,
             v->is_array ? "an array of " : "a single ", gguf_type_name(v->type));
    return BAD_INPUT;
}

static enum status load_texts(struct loader *l, const char *key, const struct text_span **out,
                              uint32_t *n, struct note *why)
{
    const struct gguf_value *v = gguf_find(l->g, key);
    if (!v) {
        note_set(why, "%s is missing", key);
        return BAD_INPUT;
    }
    if (!v->is_array || v->type != GGUF_STRING)
        return wrong_kind(key, "strings", v, why);
    if (v->n > INT32_MAX) {
        note_set(why, "%s has %llu elements: at most %d", key, (unsigned long long)v->n, INT32_MAX);
        return BAD_INPUT;
    }
    struct text_span *span = arena_new(&l->arena, v->n, sizeof *span);
    if (!span)
        return no_memory(key, v->n, why), FULL;
    const void *cursor = v->data;
    for (uint64_t i = 0; i < v->n; i++) {
        struct gguf_text t = gguf_value_next_text(&cursor);
        span[i] = (struct text_span){ t.bytes, t.len };
    }
    *out = span;
    *n = (uint32_t)v->n;
    return OK;
}

/* A numeric array with one element a token, or NULL where the file has none. */
static enum status find_numbers(struct loader *l, const char *key, const struct gguf_value **out,
                                struct note *why)
{
    const struct gguf_value *v = gguf_find(l->g, key);
    *out = v;
    if (!v)
        return OK;
    if (!v->is_array || v->type == GGUF_STRING || v->type == GGUF_ARRAY)
        return wrong_kind(key, "numbers", v, why);
    if (v->n >= l->src.n_token)
        return OK;
    note_set(why, "%s has %llu elements for %u tokens", key, (unsigned long long)v->n,
             l->src.n_token);
    return BAD_INPUT;
}

static bool is_float(const struct gguf_value *v)
{
    return v->type == GGUF_F32 || v->type == GGUF_F64;
}

static enum status load_scores(struct loader *l, struct note *why)
{
    static const char key[] = "tokenizer.ggml.scores";
    const struct gguf_value *v;
    enum status st = find_numbers(l, key, &v, why);
    if (st != OK || !v)
        return st;
    float *score = arena_new(&l->arena, l->src.n_token, sizeof *score);
    if (!score)
        return no_memory(key, v->n, why), FULL;
    for (uint32_t i = 0; i < l->src.n_token; i++)
        score[i] = is_float(v) ? (float)gguf_value_float(v, i) : (float)gguf_value_int(v, i);
    l->src.score = score;
    return OK;
}

static enum status load_types(struct loader *l, struct note *why)
{
    static const char key[] = "tokenizer.ggml.token_type";
    const struct gguf_value *v;
    enum status st = find_numbers(l, key, &v, why);
    if (st != OK || !v)
        return st;
    if (is_float(v))
        return wrong_kind(key, "integers", v, why);
    int32_t *type = arena_new(&l->arena, l->src.n_token, sizeof *type);
    if (!type)
        return no_memory(key, v->n, why), FULL;
    for (uint32_t i = 0; i < l->src.n_token; i++) {
        int64_t number = gguf_value_int(v, i);
        type[i] = number < 0 || number > INT32_MAX ? -1 : (int32_t)number;
    }
    l->src.type = type;
    return OK;
}

static enum status load_ids(struct loader *l, struct note *why)
{
    const struct {
        const char *key;
        int32_t *id;
    } named[] = {
        { "tokenizer.ggml.bos_token_id", &l->src.bos },
        { "tokenizer.ggml.eos_token_id", &l->src.eos },
        { "tokenizer.ggml.eot_token_id", &l->src.eot },
        { "tokenizer.ggml.eom_token_id", &l->src.eom },
        { "tokenizer.ggml.unknown_token_id", &l->src.unk },
        { "tokenizer.ggml.padding_token_id", &l->src.pad },
    };
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        uint32_t id;
        enum status st = gguf_get_u32(l->g, named[i].key, &id, why);
        if (st == OK)
            *named[i].id = id < l->src.n_token ? (int32_t)id : -1;
        else if (st != NOT_FOUND)
            return st;
        else if (*named[i].id >= (int32_t)l->src.n_token)
            *named[i].id = -1;
    }
    return OK;
}

/* Absent keys keep what is there. */
static enum status load_bool(struct loader *l, const char *key, bool *out, struct note *why)
{
    enum status st = gguf_get_bool(l->g, key, out, why);
    return st == NOT_FOUND ? OK : st;
}

static enum status load_habits(struct loader *l, struct note *why)
{
    bool spm = l->src.model == VOCAB_SPM;
    bool adds = spm || (l->src.pre && vocab_pre_adds_bos(l->src.pre));
    l->src.add_bos = adds && l->src.bos >= 0;
    l->src.add_space_prefix = spm;
    enum status st = load_bool(l, "tokenizer.ggml.add_bos_token", &l->src.add_bos, why);
    if (st == OK)
        st = load_bool(l, "tokenizer.ggml.add_eos_token", &l->src.add_eos, why);
    if (st == OK)
        st = load_bool(l, "tokenizer.ggml.add_space_prefix", &l->src.add_space_prefix, why);
    return st;
}

static enum status load_model(struct loader *l, struct note *why)
{
    struct gguf_text name = { "", 0 };
    enum status st = gguf_get_text(l->g, "tokenizer.ggml.model", &name, why);
    if (st == NOT_FOUND)
        note_set(why, "tokenizer.ggml.model is missing");
    if (st != OK)
        return st == NOT_FOUND ? BAD_INPUT : st;
    if (name.len == 5 && memcmp(name.bytes, "llama", 5) == 0) {
        l->src.model = VOCAB_SPM;
        l->src.bos = 1;
        l->src.eos = 2;
        l->src.unk = 0;
        return OK;
    }
    if (name.len == 4 && memcmp(name.bytes, "gpt2", 4) == 0) {
        l->src.model = VOCAB_BPE;
        return OK;
    }
    note_set(why, "tokenizer.ggml.model is '%.*s'; there are: gpt2, llama",
             (int)(name.len < 60 ? name.len : 60), name.bytes);
    return BAD_INPUT;
}

static enum status load_pre(struct loader *l, struct note *why)
{
    struct gguf_text pre;
    enum status st = gguf_get_text(l->g, "tokenizer.ggml.pre", &pre, why);
    if (st != OK)
        return st == NOT_FOUND ? OK : st;
    l->src.pre = arena_copy_text(&l->arena, pre.bytes, pre.len);
    return l->src.pre ? OK : (no_memory("tokenizer.ggml.pre", 1, why), FULL);
}

static enum status load_all(struct loader *l, struct note *why)
{
    struct vocab_source *src = &l->src;
    enum status st = load_model(l, why);
    if (st == OK)
        st = load_texts(l, "tokenizer.ggml.tokens", &src->token, &src->n_token, why);
    if (st == OK && src->model == VOCAB_BPE)
        st = load_texts(l, "tokenizer.ggml.merges", &src->merge, &src->n_merge, why);
    if (st == OK && src->model == VOCAB_BPE)
        st = load_pre(l, why);
    if (st == OK)
        st = load_scores(l, why);
    if (st == OK)
        st = load_types(l, why);
    if (st == OK)
        st = load_ids(l, why);
    if (st == OK)
        st = load_habits(l, why);
    return st;
}

enum status model_vocab_load(struct vocab **out, const struct gguf *g, struct note *why)
{
    struct loader l = { .g = g };
    arena_open(&l.arena, 0);
    l.src =
        (struct vocab_source){ .bos = -1, .eos = -1, .eot = -1, .eom = -1, .unk = -1, .pad = -1 };
    enum status st = load_all(&l, why);
    if (st == OK)
        st = vocab_new(out, &l.src, why);
    arena_close(&l.arena);
    return st;
}
