/* model/llama.c - Llama 2 and 3, SmolLM2, TinyLlama, Mistral.
 * Source: Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models"; Grattafiori et al. 2024. */
#include "model/pass.h"

static enum status llama_adjust(struct hparams *h, const struct gguf *g, struct note *why)
{
    (void)g, (void)why;
    h->rope_halves = false; /* converters permute Wq and Wk so that pairs are neighbours */
    return OK;
}

static void llama_forward(struct pass *p, const struct weights *w)
{
    decoder_forward(p, w, GATE_SILU);
}

const struct model_arch arch_llama = {
    .name = "llama",
    .parts = PART_QKV_BIAS | PART_OTHER_BIAS,
    .adjust = llama_adjust,
    .forward = llama_forward,
};
