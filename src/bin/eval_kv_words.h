/* bin/eval_kv_words.h - made-up names and numbers, and groups of words that belong together. */
#ifndef BIN_EVAL_KV_WORDS_H
#define BIN_EVAL_KV_WORDS_H

#include <stdint.h>

#include "base/rng.h"

enum { EVAL_NAMES = 32 * 32 };

/* "amber falcon": the i-th of EVAL_NAMES, all different. */
void eval_name(char out[32], uint32_t i);

/* k different numbers below n into out[k], in random order. k <= n. */
void eval_draw(uint32_t *out, uint32_t k, uint32_t n, struct rng *rng);

/* k different numbers of `digits` digits (2 to 9). */
void eval_numbers(uint32_t *out, uint32_t k, uint32_t digits, struct rng *rng);

/* Pairs of one relation: "The capital of France is" -> " Paris". */
enum { EVAL_RELATIONS = 6, EVAL_PAIRS = 24 };
struct eval_relation {
    const char *before, *between; // "The capital of ", " is"
    const char *pair[EVAL_PAIRS][2];
};
extern const struct eval_relation eval_relations[EVAL_RELATIONS];

#endif
