/* model/past.h - what rows of a batch may see through one kv_head of one layer, as runs of blocks that kernels go over.
 *
 *     a whole past         | space, from the first block a window leaves ............ |
 *     one with an excerpt  | slots 0 .. n_block |    | space, from tail_first on .... |   under masks of rows (kv/excerpt.h)
 *
 * Lifetime  of a step. Private to model/. */
#ifndef MODEL_PAST_H
#define MODEL_PAST_H

#include "model/pass.h"

struct past {
    struct kv_view view;
    struct kv_list list; // where it reads one
    bool listed;
};

/* Whether some of its past is in slots or dropped, so that layers without a window read lists. */
bool pass_reads_lists(const struct batch_seq *seq);

/* Rows of the sequence, from its first on, that read all of their past in that layer: those behind select
 * (kv/select.h). */
uint32_t past_n_dense(const struct batch_seq *seq, bool windowed);

/* Of one row of the batch. */
struct past past_of(const struct pass *p, uint32_t layer, uint32_t row, uint32_t kv_head);

/* Gathers the queries of n rows of the batch that ask the kv_head. What they see are positions; no slot is at or behind
 * one of theirs either (X6). */
struct attn_run past_run(const struct pass *p, const struct past *past, const uint32_t *row,
                         uint32_t n, uint32_t kv_head, struct pass_thread *mine);

/* Where the run's blocks are: those of slots, or those of the space. Kept scores lie in that order, too. */
void past_aim_at_slots(struct attn_run *run, const struct past *past);
void past_aim_at_space(struct attn_run *run, const struct past *past, uint32_t kv_head);

/* A block's parts. */
struct past_block {
    const char *k, *v;
};

/* Of the run's blocks [from, to) the first that has a row in sight; NULL, NULL where none has. */
struct past_block past_first_of(const struct attn_run *run, uint32_t from, uint32_t to);

/* Where a row of the batch begins to read, most likely: at the block `from` of its slots, where it has that one, or
 * else in the space, from the block `from` on where no slots were asked for. */
struct past_block past_begins(const struct pass *p, uint32_t layer, uint32_t row, uint32_t kv_head,
                              bool slots, uint32_t from);

/* The first block of the space that a query at the run's first row sees, and the one behind the last row's last. */
uint32_t past_first(const struct past *past, const struct attn_run *run);
uint32_t past_end(const struct attn_run *run);

#endif
