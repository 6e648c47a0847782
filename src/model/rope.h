/* model/rope.h - rotary position embedding: angles of a position, for every kind of scaling.
 *
 * Angles are computed in double precision from the position itself, so a row does not depend on its batch.
 * Sources: Su et al. 2021 (RoPE); Chen et al. 2023 (linear); Peng et al. 2023 (YaRN); Llama 3.1's frequency factors. */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "model/hparams.h"

enum { ROPE_PAIRS_MAX = 256 };

struct rope {
    uint32_t n_pair;
    double freq[ROPE_PAIRS_MAX]; // radians a position
    float magnitude;             // cos and sin are multiplied by it (YaRN)
};

/* factors: [n_rot / 2] divisors of the frequencies (tensor rope_freqs.weight), or NULL. */
void rope_init(struct rope *out, const struct rope_params *params, uint32_t n_rot,
               const float *factors);

/* cs: [n_pair] pairs (cos, sin) of one position. */
void rope_angles(const struct rope *r, uint32_t position, float *cs);

#endif
