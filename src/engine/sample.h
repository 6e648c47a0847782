/* engine/sample.h - from logits to one token: penalties, filters, and a draw that is the same on every machine.
 *
 *   logits -> bias -> penalties -> [greedy] or: top_k -> typical_p -> top_p -> min_p -> temperature -> draw
 *
 * X1  The same seed, parameters, history and logits give the same token on any machine: only IEEE operations, fmath.h's
 *     exp and log in a fixed order, and PCG32.
 * X2  A token whose logit is NaN or -inf is never drawn while another is finite; ties go to the lower id.
 * X3  Temperature 0 is the argmax after bias and penalties.
 *
 * Lifetime  one sampler a sequence, memory sized at sampler_new; a pick allocates nothing. Threads  one at a time. */
#ifndef ENGINE_SAMPLE_H
#define ENGINE_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "akvifer.h"
#include "base/note.h"
#include "base/status.h"

struct sampler;

/* BAD_INPUT: the parameter that is out of range, its value and its bounds. */
must_use enum status sampler_new(struct sampler **out, const struct akv_sampling *params,
                                 uint32_t n_vocab, struct note *why);
void sampler_free(struct sampler *s);

/* Tells it of a token of the context (prompt or generated), for the penalties. */
must_use enum status sampler_accept(struct sampler *s, int32_t id);

/* Picks one of [n_vocab] logits. `forbidden` ids (n_forbidden, may be 0) cannot be picked.
 * -1: no token can be drawn, because every logit is NaN, -inf or forbidden. */
int32_t sampler_pick(struct sampler *s, const float *logits, const int32_t *forbidden,
                     uint32_t n_forbidden);

/* Natural-log probability of `id` under the plain softmax of the logits, and the n best ids with theirs, best first,
 * ties by lower id; lse is log(sum(exp)) of the row, from logits_lse: NaN where a logit is NaN or +inf, or all are
 * -inf. Where fewer than n logits can be ranked, the rest of `best` is id -1 with -inf. */
double logits_lse(const float *logits, uint32_t n_vocab);
void logits_best(const float *logits, uint32_t n_vocab, double lse, struct akv_logprob *best,
                 uint32_t n);

#endif
