/* model/model.h - one model in memory, and what can be asked of it: a pass over a mixed batch, and logits of its rows.
 *
 *   ids, positions, spaces --model_forward--> hidden rows --model_logits (16 at a time)--> logits
 *
 * M1  A row's result depends on the model, its token and the KV rows its sequence may see, and on nothing else: not on
 *     the batch, its split into steps, the number of threads or the instruction set (docs/NUMERICS.md).
 * M2  A pass writes the K and V rows of exactly its own positions, before any of its rows attends.
 * M3  Nothing allocates after model_reserve, and a pass calls the system for nothing: only a thread that waits for long
 *     for another one sleeps (os/gate.h). What has to be given back goes in model_let_go.
 *
 * Lifetime  from open to close. Threads  one pass at a time; it uses the model's workers. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "kernels/kernels.h"
#include "kv/index.h"
#include "kv/select.h"
#include "kv/taps.h"
#include "kv/view.h"
#include "model/hparams.h"
#include "model/profile.h"
#include "model/weights.h"

enum { LOGIT_ROWS = 16 }; // rows of logits computed at once

struct model_params {
    const char *path;
    const char *cpu;   // NULL: the best
    uint32_t n_thread; // 0: all
    weights_progress *progress;
    void *progress_arg;
};

struct model; // opaque outside model/

/* The numbers of the model in an open file, without loading it, and its architecture's name. BAD_INPUT: a model
 * that this program cannot run; the note says why. */
must_use enum status model_describe(struct hparams *out, const char **arch_name,
                                    const struct gguf *g, struct note *why);

must_use enum status model_open(struct model **out, const struct model_params *params,
                                struct note *why);
void model_close(struct model *m);

/* Whether the model is still the one that was opened. CORRUPT: its file was written to or shortened in place; the
 * note names it. (A new time stamp on the same bytes is no change.) Threads  any. */
must_use enum status model_check(const struct model *m, struct note *why);

const struct hparams *model_hparams(const struct model *m);
const struct weights *model_weights(const struct model *m);
const struct gguf *model_file(const struct model *m);
const struct kernels *model_kernels(const struct model *m);
struct kv_key model_fingerprint(const struct model *m); // model/fingerprint.h
const char *model_arch_name(const struct model *m);
const char *model_file_path(const struct model *m); // as it was opened
uint32_t model_n_thread(const struct model *m);

/* Row `id` of the input embedding: out [n_embd]. Threads  any. */
void model_embedding(const struct model *m, int32_t id, float *out);

/* Rows that a workspace of about `bytes` allows, a multiple of 64 between 64 and 512. */
uint32_t model_rows_for(const struct model *m, size_t bytes);

/* Makes room for passes of up to n_row rows. FULL: no memory. */
must_use enum status model_reserve(struct model *m, uint32_t n_row, struct note *why);
size_t model_workspace_bytes(const struct model *m);

/* Where the time of its passes goes, once `on` is set. */
struct profile *model_profile(struct model *m);

/* Radians a position of each pair of elements in layers without a window: [n_rot / 2]. */
const double *model_rope_freq(const struct model *m);

/* The mean angles of positions [from, from + n) in layers without a window: [n_rot / 2] pairs (cos, sin). */
void model_rope_mean(const struct model *m, uint32_t from, uint32_t n, float *pairs);
/* Idle between passes. */
struct workers *model_workers(const struct model *m);

struct batch_seq {
    const struct kv_space *space;     // grown to position + n_row or more
    uint32_t first_row, n_row;        // rows of the batch, one after the other
    uint32_t position;                // of the first row
    const struct kv_excerpt *excerpt; // its past under a policy; NULL: all of its space
    struct kv_taps *taps;             // what is written down of the pass; NULL: nothing
    struct kv_select *select;         // its answering rows read some of the past; NULL: all
    uint32_t n_unread;                // of its first rows: nobody will ask for their logits
};

struct batch {
    uint32_t n_row, n_seq;
    const int32_t *id;           // [n_row] token ids, below n_vocab
    const struct batch_seq *seq; // [n_seq], in order of first_row, covering all rows
};

/* Runs all layers: writes KV rows, leaves a hidden row of each that is not unread inside the model. The batch and its
 * sequences stay as they are until the pass's last logits have been asked for. */
void model_forward(struct model *m, const struct batch *batch);

/* Logits of n <= LOGIT_ROWS rows of the last pass, none of them unread: [n][n_vocab], valid until the next call. */
const float *model_logits(struct model *m, const uint32_t *row, uint32_t n);

/* Between passes, once what they gave has been handed on: pages of the file that they have read leave the process, where
 * they may be many. Without it a model that reads long prompts holds its embedding twice. */
void model_let_go(struct model *m);

#endif
