/* engine/calibrate.h - measures the shares of a model's heads: calibration texts are read, and read again over their
 * own KV.
 *
 *   text --pass--> its KV;  [instruction, text] --pass over it--> mass: the largest attention each row received
 *        --kv_shares_add--> what each head gets of a budget that the best rows of all heads spend together
 *
 *   its end, while it is read --> mass: the sum of what each row before received
 *        --kv_shares_add--> the same for text that follows, instead of repeating
 *
 *   text --pass over its first and newest rows alone--> its keys, beside what they were: the change of each layer
 *
 * Sources: Kim et al. 2025 (KVzip), Kim et al. 2025 (EpiCache, layers); docs/POLICIES.md has the recipe.
 * Threads  one at a time; it uses the model's workers, and memory for the KV of one text twice. */
#ifndef ENGINE_CALIBRATE_H
#define ENGINE_CALIBRATE_H

#include "kv/shares.h"
#include "model/model.h"
#include "text/vocab.h"

struct calibration_text {
    const char *bytes;
    size_t len;
};

enum { CALIBRATION_TEXTS = 7, CALIBRATION_TOKENS = 2048 };
/* One of those that are part of the program: public-domain prose, five of them with a fact put in. */
struct calibration_text calibration_text(uint32_t i);

/* Adds the shares of one text, of which the first CALIBRATION_TOKENS tokens count, to an opened `sum`. BAD_INPUT: fewer
 * than 64 tokens. FULL: no memory. */
must_use enum status calibrate(struct kv_shares *sum, struct model *m, const struct vocab *v,
                               enum kv_type type, const struct calibration_text *text,
                               struct note *why);

#endif
