/* model/taps.h - what a pass writes down for policies (kv/taps.h): beside the verbs of pass.h, and only where asked.
 *
 *     pass_begin       taps_begin        who asks for what
 *     pass_rope_store  taps_moments      queries behind their norm, before they are rotated
 *                      taps_queries      rotated ones, row by row
 *     pass_attend      taps_mass         a second walk over the rows, when each query's softmax is known
 *
 * Private to model/. */
#ifndef MODEL_TAPS_H
#define MODEL_TAPS_H

#include "model/pass.h"

void taps_begin(struct pass *p);
void taps_moments(struct pass *p, uint32_t layer);
void taps_queries(struct pass *p, uint32_t layer, uint32_t row);
void taps_mass(struct pass *p, uint32_t layer);

#endif
