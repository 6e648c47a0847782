/* model/hparams.h - the numbers that define one model, read from the file's metadata and checked.
 *
 * After hparams_read succeeded: counts are positive and bounded, heads divide, rows are multiples of 8, and the
 * rope table's shape is known. Every error names the metadata key, its value and what was expected. */
#ifndef MODEL_HPARAMS_H
#define MODEL_HPARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "gguf/gguf.h"
#include "kv/shape.h"

enum rope_scaling { ROPE_NONE, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 };

/* Yarn: Peng et al. 2023, "YaRN: Efficient Context Window Extension of Large Language Models". */
struct rope_params {
    float base;
    enum rope_scaling scaling;
    float factor;                           // positions are divided by it (linear, yarn)
    uint32_t n_ctx_orig;                    // context before scaling (yarn)
    float ext_factor, beta_fast, beta_slow; // yarn: how much of the ramp, and where it lies
    float yarn_attn_factor; // yarn: magnitude instead of the paper's; 0: the paper's
    float yarn_log_mul; // yarn: the paper's is divided by one of this strength ("mscale_all_dim")
    float attn_factor;  // yarn: times this
};

struct hparams {
    uint32_t n_layer, n_embd, n_head, n_kv_head, d_head, n_ff, n_vocab, n_ctx;
    uint32_t n_rot;   // leading elements of a head that rotate
    bool rope_halves; // pairs are (i, i + n_rot / 2); else (2i, 2i + 1)
    float norm_eps;
    float attn_scale;                   // of q.k
    float attn_softcap, output_softcap; // 0: none
    float embd_scale;                   // 1: none
    struct rope_params rope;            // of layers that see everything
    struct rope_params rope_local;      // of windowed layers
    uint32_t window;                    // positions a windowed layer sees; 0: no such layers
    bool windowed[KV_LAYER_MAX];
};

/* Reads ARCH.* keys. `arch` is general.architecture's value, known to be one of ours. */
must_use enum status hparams_read(struct hparams *out, const struct gguf *g, const char *arch,
                                  struct note *why);

/* The KV of this model: one group, or two where some layers are windowed. */
void hparams_kv_shape(const struct hparams *h, enum kv_type type, struct kv_shape *out);

#endif
