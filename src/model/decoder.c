/* model/decoder.c - the pre-norm decoder that llama, qwen2, qwen3 and gemma3 share, top to bottom. */
#include "model/pass.h"
#include "model/taps.h"

/* Behind pass_norm_input: queries of the rows that go on behind this layer, and K and V of all. */
static void attention_in(struct pass *p, const struct layer_weights *l, uint32_t i)
{
    const struct pass_linear q = { &l->q, p->q }, k = { &l->k, p->k }, v = { &l->v, p->v };

    if (i + 1 < p->h->n_layer || !pass_has_unread(p)) {
        pass_linears(p, PROFILE_QKV, (struct pass_linear[]){ q, k, v }, 3);
        pass_rope_store(p, i, l->q_norm, l->k_norm);
        return;
    }
    pass_linears(p, PROFILE_QKV, (struct pass_linear[]){ k, v }, 2);
    pass_store(p, i, l->k_norm);
    pass_leave_unread(p);
    if (p->n_row == 0)
        return;
    pass_norm_input(p, l->attn_norm);
    pass_linears(p, PROFILE_QKV, &q, 1);
    pass_rope(p, i, l->q_norm);
}

void decoder_forward(struct pass *p, const struct weights *w, enum pass_gate_kind gate)
{
    pass_norm_input(p, w->layer[0].attn_norm);
    for (uint32_t i = 0; i < p->h->n_layer; i++) {
        const struct layer_weights *l = &w->layer[i];

        attention_in(p, l, i);
        if (p->n_row == 0)
            return;
        pass_attend(p, i);
        pass_input(p, p->mix, p->h->n_head * p->h->d_head);
        pass_linears(p, PROFILE_ATTN_OUT, (struct pass_linear[]){ { &l->o, p->hidden } }, 1);
        pass_residual_input(p, l->attn_post_norm, l->ffn_norm);

        if (!pass_gated_input(p, &l->gate, &l->up, gate)) {
            pass_linears(p, PROFILE_GATE_UP,
                         (struct pass_linear[]){ { &l->gate, p->gate }, { &l->up, p->up } }, 2);
            pass_gate_input(p, gate);
        }
        pass_linears(p, PROFILE_DOWN, (struct pass_linear[]){ { &l->down, p->hidden } }, 1);
        if (i + 1 < p->h->n_layer)
            pass_residual_input(p, l->ffn_post_norm, w->layer[i + 1].attn_norm);
        else
            pass_residual(p, l->ffn_post_norm);
        if (p->taps.hidden)
            taps_hidden(p, i + 1);
    }
}
