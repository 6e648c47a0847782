#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Reads keys "ARCH.name"; remembers the first failure so that the reader below is a plain list. */
struct keys {
    const struct gguf *g;
    const char *arch;
    struct note *why;
    enum status st;
};

static const char *key_of(const struct keys *k, const char *name, char text[128])
{
    snprintf(text, 128, "%s.%s", k->arch, name);
    return text;
}

static bool settled(struct keys *k, enum status st, bool required, const char *key)
{
    if (st == NOT_FOUND && required) {
        note_set(k->why, "the model file lacks the key '%s'", key);
        st = BAD_INPUT;
    }
    if (st != OK && st != NOT_FOUND)
        k->st = st;
    return st == OK;
}

static bool get_u32(struct keys *k, const char *name, bool required, uint32_t least, uint32_t most,
                    uint32_t *out)
{
    char key[128];
    uint32_t value = *out;
    if (k->st != OK)
        return false;
    key_of(k, name, key);
    if (!settled(k, gguf_get_u32(k->g, key, &value, k->why), required, key))
        return false;
    if (value < least || value > most) {
        note_set(k->why, "'%s' is %u; it must be between %u and %u", key, value, least, most);
        k->st = BAD_INPUT;
        return false;
    }
    *out = value;
    return true;
}

static bool get_f32(struct keys *k, const char *name, bool required, float *out)
{
    char key[128];
    float value = *out;
    if (k->st != OK)
        return false;
    key_of(k, name, key);
    if (!settled(k, gguf_get_f32(k->g, key, &value, k->why), required, key))
        return false;
    if (!isfinite(value)) {
        note_set(k->why, "'%s' is not a finite number", key);
        k->st = BAD_INPUT;
        return false;
    }
    *out = value;
    return true;
}

/* A count that some files give once and others per layer; ours must be the same for all layers. */
static void get_uniform(struct keys *k, const char *name, uint32_t least, uint32_t most,
                        uint32_t *out)
{
    char key[128];
    if (k->st != OK)
        return;
    const struct gguf_value *v = gguf_find(k->g, key_of(k, name, key));
    if (!v || !v->is_array) {
        get_u32(k, name, false, least, most, out);
        return;
    }
    if (v->type == GGUF_STRING || v->type == GGUF_F32 || v->type == GGUF_F64 || v->n == 0) {
        note_set(k->why, "'%s' must be an integer or an array of integers", key);
        k->st = BAD_INPUT;
        return;
    }
    for (uint64_t i = 0; i < v->n; i++) {
        int64_t value = gguf_value_int(v, i);
        if (value != gguf_value_int(v, 0) || value < least || value > most) {
            note_set(k->why, "'%s'[%llu] is %lld; layers that differ are not supported", key,
                     (unsigned long long)i, (long long)value);
            k->st = BAD_INPUT;
            return;
        }
    }
    *out = (uint32_t)gguf_value_int(v, 0);
}

static bool text_is(struct gguf_text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.bytes, word, text.len) == 0;
}

/* A file without a type but with a factor is linear: it is older than the key. */
static void read_rope_type(struct keys *k, struct rope_params *rope)
{
    char key[128];
    struct gguf_text kind = { "linear", 6 };
    if (k->st != OK)
        return;
    key_of(k, "rope.scaling.type", key);
    settled(k, gguf_get_text(k->g, key, &kind, k->why), false, key);
    if (k->st != OK)
        return;
    if (text_is(kind, "none"))
        rope->scaling = ROPE_NONE;
    else if (text_is(kind, "linear"))
        rope->scaling = rope->factor == 1 ? ROPE_NONE : ROPE_LINEAR;
    else if (text_is(kind, "yarn"))
        rope->scaling = ROPE_YARN;
    else if (text_is(kind, "llama3"))
        rope->scaling = ROPE_LLAMA3;
    else {
        note_set(k->why, "'%s' is '%.*s'; supported are none, linear, yarn and llama3", key,
                 (int)(kind.len < 40 ? kind.len : 40), kind.bytes);
        k->st = BAD_INPUT;
    }
}

static void get_factor(struct keys *k, const char *name, bool zero_too, float *out)
{
    if (get_f32(k, name, false, out) && !(*out > 0) && !(zero_too && *out == 0)) {
        note_set(k->why, "'%s.%s' is %g; it must %s", k->arch, name, (double)*out,
                 zero_too ? "not be below 0" : "be above 0");
        k->st = BAD_INPUT;
    }
}

static void read_rope_scaling(struct keys *k, struct rope_params *rope, uint32_t n_ctx)
{
    rope->factor = 1;
    rope->n_ctx_orig = n_ctx;
    rope->ext_factor = 1;
    rope->attn_factor = 1;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    get_factor(k, "rope.scale_linear", true, &rope->factor); // the older name
    get_factor(k, "rope.scaling.factor", true, &rope->factor);
    if (rope->factor == 0)
        rope->factor = 1; // some converters write 0 for "none"
    read_rope_type(k, rope);
    get_u32(k, "rope.scaling.original_context_length", false, 1, 1u << 30, &rope->n_ctx_orig);
    get_factor(k, "rope.scaling.yarn_ext_factor", true, &rope->ext_factor);
    get_factor(k, "rope.scaling.yarn_beta_fast", false, &rope->beta_fast);
    get_factor(k, "rope.scaling.yarn_beta_slow", false, &rope->beta_slow);
    get_factor(k, "rope.scaling.yarn_attn_factor", false, &rope->yarn_attn_factor);
    get_factor(k, "rope.scaling.yarn_log_multiplier", true, &rope->yarn_log_mul);
    get_factor(k, "rope.scaling.attn_factor", false, &rope->attn_factor);
}

static void check_heads(struct keys *k, const struct hparams *h)
{
    if (k->st != OK)
        return;
    k->st = BAD_INPUT;
    if (h->n_head % h->n_kv_head)
        note_set(k->why, "%u heads cannot share %u kv_heads: it must divide", h->n_head,
                 h->n_kv_head);
    else if (h->d_head % 8)
        note_set(k->why, "a head of %u elements is not supported: it must be a multiple of 8",
                 h->d_head);
    else if (h->n_rot % 2 || h->n_rot > h->d_head)
        note_set(k->why, "'%s.rope.dimension_count' is %u; it must be even and at most %u", k->arch,
                 h->n_rot, h->d_head);
    else if (!(h->rope.base > 1) || !(h->rope_local.base > 1))
        note_set(k->why, "'%s.rope.freq_base' is %g; it must be above 1", k->arch,
                 (double)h->rope.base);
    else if (!(h->norm_eps > 0))
        note_set(k->why, "'%s.attention.layer_norm_rms_epsilon' is %g; it must be above 0", k->arch,
                 (double)h->norm_eps);
    else
        k->st = OK;
}

static void refuse_experts(struct keys *k)
{
    uint32_t n_expert = 0;
    if (get_u32(k, "expert_count", false, 0, UINT32_MAX, &n_expert) && n_expert > 0) {
        note_set(k->why, "this is a mixture of %u experts; only dense models are supported",
                 n_expert);
        k->st = BAD_INPUT;
    }
}

enum status hparams_read(struct hparams *out, const struct gguf *g, const char *arch,
                         struct note *why)
{
    struct keys k = { .g = g, .arch = arch, .why = why, .st = OK };
    struct hparams h = { .embd_scale = 1 };

    refuse_experts(&k);
    get_u32(&k, "block_count", true, 1, KV_LAYER_MAX, &h.n_layer);
    get_u32(&k, "context_length", true, 1, 1u << 30, &h.n_ctx);
    get_u32(&k, "embedding_length", true, 8, 1u << 17, &h.n_embd);
    get_uniform(&k, "feed_forward_length", 8, 1u << 20, &h.n_ff);
    get_uniform(&k, "attention.head_count", 1, 4096, &h.n_head);
    h.n_kv_head = h.n_head;
    get_uniform(&k, "attention.head_count_kv", 1, 4096, &h.n_kv_head);
    if (k.st == OK && (h.n_head == 0 || h.n_ff == 0)) {
        note_set(why, "the model file lacks '%s.%s'", arch,
                 h.n_ff ? "attention.head_count" : "feed_forward_length");
        k.st = BAD_INPUT;
    }
    if (k.st != OK)
        return k.st;
    h.d_head = h.n_embd / h.n_head;
    get_u32(&k, "attention.key_length", false, 8, 512, &h.d_head);
    uint32_t d_v = h.d_head;
    get_u32(&k, "attention.value_length", false, 8, 512, &d_v);
    if (k.st == OK && (d_v != h.d_head || h.d_head > 512 || h.d_head < 8)) {
        note_set(why,
                 "heads of %u (key) and %u (value) elements are not supported: they must be equal, "
                 "8 to 512",
                 h.d_head, d_v);
        return BAD_INPUT;
    }
    h.n_rot = h.d_head;
    get_u32(&k, "rope.dimension_count", false, 2, 512, &h.n_rot);
    get_f32(&k, "attention.layer_norm_rms_epsilon", true, &h.norm_eps);
    h.rope.base = 10000;
    get_f32(&k, "rope.freq_base", false, &h.rope.base);
    read_rope_scaling(&k, &h.rope, h.n_ctx);
    h.rope_local = h.rope;
    h.attn_scale = 1.0f / sqrtf((float)h.d_head);
    check_heads(&k, &h);
    if (k.st == OK)
        *out = h;
    return k.st;
}

void hparams_kv_shape(const struct hparams *h, enum kv_type type, struct kv_shape *out)
{
    *out = (struct kv_shape){ .type = type, .n_layer = h->n_layer };
    uint32_t group_of[2] = { UINT32_MAX, UINT32_MAX }; // of full layers, of windowed layers
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        bool windowed = h->window > 0 && h->windowed[layer];
        if (group_of[windowed] == UINT32_MAX) {
            group_of[windowed] = out->n_group++;
            out->group[group_of[windowed]] = (struct kv_group){
                .n_kv_head = h->n_kv_head,
                .d_k = h->d_head,
                .d_v = h->d_head,
                .window = windowed ? h->window : 0,
            };
        }
        uint32_t group = group_of[windowed];
        out->layer_group[layer] = (uint8_t)group;
        out->layer_index[layer] = (uint16_t)out->group[group].n_layer++;
    }
}
