/* model/qwen2.c - Qwen 2 and 2.5: biases on q, k and v.
 * Source: Yang et al. 2024, "Qwen2 Technical Report". */
#include "model/pass.h"

static enum status qwen2_adjust(struct hparams *h, const struct gguf *g, struct note *why)
{
    (void)g, (void)why;
    h->rope_halves = true;
    return OK;
}

static void qwen2_forward(struct pass *p, const struct weights *w)
{
    decoder_forward(p, w, GATE_SILU);
}

const struct model_arch arch_qwen2 = {
    .name = "qwen2",
    .parts = PART_QKV_BIAS,
    .adjust = qwen2_adjust,
    .forward = qwen2_forward,
};
