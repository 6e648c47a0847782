/* model/qwen3.c - Qwen 3, dense: every head of q and k is normalised before it rotates; no biases.
 * Source: Yang et al. 2025, "Qwen3 Technical Report". */
#include "model/pass.h"

static enum status qwen3_adjust(struct hparams *h, const struct gguf *g, struct note *why)
{
    (void)g, (void)why;
    h->rope_halves = true;
    return OK;
}

static void qwen3_forward(struct pass *p, const struct weights *w)
{
    decoder_forward(p, w, GATE_SILU);
}

const struct model_arch arch_qwen3 = {
    .name = "qwen3",
    .parts = PART_QK_NORM,
    .adjust = qwen3_adjust,
    .forward = qwen3_forward,
};
