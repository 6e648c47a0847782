/* model/taps.h - what a pass writes down for policies (kv/taps.h): beside the verbs of pass.h, and only where asked.
 *
 *     pass_begin       taps_begin        who asks for what
 *     pass_rope_store  taps_moments      queries behind their norm, before they are rotated: all at once,
 *                      taps_late         or row by row, to be added up later
 *                      taps_queries      rotated ones, row by row
 *     a tile of        taps_count        mass of the scores that it kept, when each query's softmax is known
 *     pass_attend
 *     a part of it     taps_count_part   the same, of one row, once its parts are merged
 *     a layer's end    taps_hidden       rows of the residual stream
 *
 * Private to model/. */
#ifndef MODEL_TAPS_H
#define MODEL_TAPS_H

#include "model/past.h"

void taps_begin(struct pass *p);
void taps_moments(struct pass *p, uint32_t layer);
void taps_late(struct pass *p, uint32_t layer, uint32_t row);
void taps_queries(struct pass *p, uint32_t layer, uint32_t row);
void taps_hidden(struct pass *p, uint32_t n_layer); // so many layers have been run
/* Whether mass is counted of a sequence's queries in that layer. */
bool taps_counts(const struct pass *p, const struct batch_seq *seq, uint32_t layer);

/* Has a tile over so many blocks keep its scores, where there is room; else they are computed again. */
void taps_keep(struct attn_run *run, const struct pass_thread *mine, uint32_t n_block);

/* Counts what a tile of n rows gave: `run` as attention used it, mine->total its finished softmax. */
void taps_count(struct pass *p, uint32_t layer, uint32_t kv_head, const struct past *past,
                struct attn_run *run, const struct batch_seq *seq, struct pass_thread *mine);
/* Counts what one row gave in a part: `run` aimed at the part's blocks, `total` the row's finished softmax. */
void taps_count_part(struct pass *p, uint32_t layer, uint32_t kv_head, const struct past *past,
                     struct attn_run *run, bool slots, const struct batch_seq *seq,
                     struct attn_state total, struct pass_thread *mine);

#endif
