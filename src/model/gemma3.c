/* model/gemma3.c - Gemma 3 (text): five windowed layers, then one that sees everything; norms on both sides of a block.
 * Source: Gemma Team 2025, "Gemma 3 Technical Report". */
#include "model/pass.h"

#include <math.h>

enum {
    GEMMA3_PATTERN = 6, // every sixth layer is global, when the metadata has no pattern
    GEMMA3_27B_LAYERS =
        62, // the one size whose queries are scaled by the width of a head's share, not of a head
};

/* Which layers are windowed: a flag for each layer, or "all but every n-th". */
static enum status read_pattern(struct hparams *h, const struct gguf *g, struct note *why)
{
    static const char key[] = "gemma3.attention.sliding_window_pattern";
    const struct gguf_value *v = gguf_find(g, key);
    uint32_t pattern = GEMMA3_PATTERN;
    if (v && v->is_array) {
        if (v->type != GGUF_BOOL || v->n != h->n_layer) {
            note_set(why,
                     "'%s' is %llu values of type %s; it must be one bool for each of %u layers",
                     key, (unsigned long long)v->n, gguf_type_name(v->type), h->n_layer);
            return BAD_INPUT;
        }
        for (uint32_t i = 0; i < h->n_layer; i++)
            h->windowed[i] = gguf_value_int(v, i) != 0;
        return OK;
    }
    enum status st = gguf_get_u32(g, key, &pattern, why);
    if (st != OK && st != NOT_FOUND)
        return st;
    if (pattern == 0) {
        note_set(why, "'%s' is 0; it must be at least 1", key);
        return BAD_INPUT;
    }
    for (uint32_t i = 0; i < h->n_layer; i++)
        h->windowed[i] = i % pattern != pattern - 1;
    return OK;
}

static enum status gemma3_adjust(struct hparams *h, const struct gguf *g, struct note *why)
{
    h->rope_halves = true;
    h->embd_scale = sqrtf((float)h->n_embd);
    if (h->n_layer == GEMMA3_27B_LAYERS)
        h->attn_scale = 1.0f / sqrtf((float)h->n_embd / (float)h->n_head);
    h->rope_local = (struct rope_params){ .base = 10000, .scaling = ROPE_NONE, .factor = 1 };
    enum status st = gguf_get_u32(g, "gemma3.attention.sliding_window", &h->window, why);
    if ((st == OK || st == NOT_FOUND) && h->window > 0)
        st = read_pattern(h, g, why);
    if (st == OK || st == NOT_FOUND)
        st = gguf_get_f32(g, "gemma3.rope.freq_base_swa", &h->rope_local.base, why);
    if (st == OK || st == NOT_FOUND)
        st = gguf_get_f32(g, "gemma3.attn_logit_softcapping", &h->attn_softcap, why);
    if (st == OK || st == NOT_FOUND)
        st = gguf_get_f32(g, "gemma3.final_logit_softcapping", &h->output_softcap, why);
    if (st != OK && st != NOT_FOUND)
        return st;
    if (!(h->rope_local.base > 1) || !(h->attn_softcap >= 0) || !(h->output_softcap >= 0)) {
        note_set(why, "gemma3: a local rope base of %g or soft caps of %g and %g make no sense",
                 (double)h->rope_local.base, (double)h->attn_softcap, (double)h->output_softcap);
        return BAD_INPUT;
    }
    return OK;
}

static void gemma3_forward(struct pass *p, const struct weights *w)
{
    decoder_forward(p, w, GATE_GELU);
}

const struct model_arch arch_gemma3 = {
    .name = "gemma3",
    .parts = PART_QK_NORM | PART_POST_NORM,
    .adjust = gemma3_adjust,
    .forward = gemma3_forward,
};
