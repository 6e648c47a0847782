/* model/decoder.c - the pre-norm decoder that llama, qwen2, qwen3 and gemma3 share, top to bottom. */
#include "model/pass.h"
#include "model/taps.h"

void decoder_forward(struct pass *p, const struct weights *w, enum pass_gate_kind gate)
{
    for (uint32_t i = 0; i < p->h->n_layer; i++) {
        const struct layer_weights *l = &w->layer[i];

        pass_norm_input(p, l->attn_norm);
        pass_linears(p, PROFILE_QKV,
                     (struct pass_linear[]){ { &l->q, p->q }, { &l->k, p->k }, { &l->v, p->v } },
                     3);
        pass_rope_store(p, i, l->q_norm, l->k_norm);
        pass_attend(p, i);
        pass_input(p, p->mix, p->h->n_head * p->h->d_head);
        pass_linears(p, PROFILE_ATTN_OUT, (struct pass_linear[]){ { &l->o, p->hidden } }, 1);
        pass_residual(p, l->attn_post_norm);

        pass_norm_input(p, l->ffn_norm);
        if (!pass_gated_input(p, &l->gate, &l->up, &l->down, gate)) {
            pass_linears(p, PROFILE_GATE_UP,
                         (struct pass_linear[]){ { &l->gate, p->gate }, { &l->up, p->up } }, 2);
            pass_gate_input(p, gate);
        }
        pass_linears(p, PROFILE_DOWN, (struct pass_linear[]){ { &l->down, p->hidden } }, 1);
        pass_residual(p, l->ffn_post_norm);
        if (p->taps.hidden)
            taps_hidden(p, i + 1);
    }
}
