/* model/pass.h - the verbs that an architecture's forward pass is written in. Private to model/.
 *
 * Each verb works on all rows of the batch, splits itself over the workers (rows, outputs or heads; never a sum), and
 * returns when done, so that a forward pass reads top to bottom like its paper. Few rows are done by the caller alone: a
 * hand-over costs 0.2 us (os/workers.h) and what moves to another core's cache, a norm of one row less.
 *
 *   x [n_row][n_embd]            the residual stream
 *   h [n_row][n_embd]            what goes into, or comes out of, a block
 *   q [n_row][n_head * d], k, v [n_row][n_kv_head * d], mix [n_row][n_head * d]
 *   gate, up [n_row][n_ff], where they are not made by blocks (struct pass_gated) */
#ifndef MODEL_PASS_H
#define MODEL_PASS_H

#include "model/model.h"
#include "model/profile.h"
#include "model/rope.h"
#include "os/gate.h"
#include "os/loops.h"
#include "os/portions.h"
#include "os/workers.h"

enum { LINEARS_MAX = 3, N_ROPE = 2, SPLIT_STATES = 512 };

/* Queries that attend together: so many, or more while their outputs stay within so many floats of the second cache. */
enum { ATTN_QUERIES = 128, ATTN_OUTPUTS = 1 << 14 };

enum {
    TILE_ROWS_FEW = 16,
    TILE_ROWS_MAX = 64,
    NO_SEQ = UINT32_MAX,
    PASS_KEPT = 1 << 18 // floats
};

/* Rows that attend to one chunk of 1,024 positions together, their K and V read once. They are of one sequence, or of
 * several whose blocks of that chunk are the same ones. A chunk of slots (kv/excerpt.h) is always of one sequence;
 * where a list has fewer, the part is empty. */
struct attn_part {
    uint32_t chunk, first, n; // rows plan->row[first .. first + n), and their states
    bool slots;
};

/* Few rows, or sequences that share blocks: attention part by part, then each row's parts are merged in order of their
 * chunks. The bits are those of tiles: a part's result for a row depends on that row alone (kernels/attention.h). */
struct attn_plan {
    uint32_t n_part, n_state; // n_part 0: there is no plan, tiles it is
    bool shares;              // some part is of several sequences
    struct attn_part part[SPLIT_STATES];
    uint32_t row[SPLIT_STATES]; // [n_state]
};

/* Rows first .. first + n - 1 of the batch, all of one sequence, that attend together to all they see. */
struct attn_tile {
    uint32_t first, n;
    uint32_t n_block; // that are seen
};

/* A kv_head of a layer, and the blocks of slots that the batch has in its lists. */
struct attn_head {
    uint32_t head;
    uint64_t n_block;
};

/* What a task of attention needs of its own. */
struct pass_thread {
    void *scratch;     // for kernels, 64-byte aligned
    float *q;          // [queries][d] gathered
    uint32_t *lo, *hi; // [queries]
    struct attn_state total, part;
    float *scores; // [queries][64] of one block, 64-byte aligned
    float *kept;   // [PASS_KEPT] of all blocks of a tile, or of parts, where they have room
};

/* From how many rows on gate, up and codes are made in one go (model/gated.c), and what `gate` and `up` take then, for
 * fewer rows too, up to n_row. UINT32_MAX: never, as some layer's weights have a bias or are floats, or so many threads
 * would need more room than whole ones. */
struct pass_gated {
    uint32_t from;
    size_t gate_bytes, up_bytes;
};
struct pass_gated pass_gated_of(const struct hparams *h, const struct weights *w, uint32_t n_thread,
                                uint32_t n_row);

/* What some sequence of the batch asks to have written down (model/taps.h). */
struct pass_taps {
    bool mass, queries, moments, hidden;
    bool adds_up; // some sequence's moments, in this pass
    bool shared;  // two sequences count into the same excerpt
};

struct pass {
    const struct kernels *kern;
    const struct hparams *h;
    struct workers *workers;
    const struct batch *batch;
    uint32_t n_row;
    const struct batch
        *whole; // as it was given: `batch`, or what that is what is left of (model/unread.c)
    struct batch left;
    struct batch_seq *left_seq; // [n_row]
    uint32_t n_embedded;        // rows of the embedding that were read since its pages were let go
    uint32_t *row_position, *row_seq; // [n_row]

    float *x, *hidden, *q, *k, *v, *mix, *gate, *up;
    struct pass_gated gated;
    float *logits;    // [LOGIT_ROWS][n_vocab]
    struct acts acts; // the current input of linears
    bool codes;       // and whether it is quantised
    bool quantise;    // some weights are of quantised types
    uint32_t offsets; // that they and the kernels need (acts_offsets_of)
    void *acts_memory;
    struct rope rope[N_ROPE]; // of full layers, of windowed layers
    float *angles[N_ROPE];    // [n_row][n_rot]

    uint32_t queries_max, tile_rows_max,
        tile_rows; // of one attention task; tile_rows: of this batch
    uint32_t *seq_leader, *seq_shared, *seq_next, *seq_last; // [n_row] of sequences: attend_plan.c
    uint32_t *seq_slots,
        *seq_tail;      // chunks of slots, and the first chunk behind those: attend_plan.c
    uint32_t *seq_late; // [n_row] of sequences: rows of moments that waited before this pass
    struct attn_plan plan[N_ROPE];  // of full layers, of windowed layers
    struct attn_tile *tile[N_ROPE]; // [n_tile] of what no plan has, those that see most first
    uint32_t n_tile[N_ROPE];
    struct attn_head
        *head; // [n_kv_head] of the layer that attends, those with the longest lists first
    struct pass_thread *thread;
    struct loops loops;      // of a task that others help with
    struct portion *portion; // of the run, one a thread
    struct pass_taps taps;
    struct attn_state split; // [SPLIT_STATES] states of one kv_head's queries
    struct gate *row_left;   // [SPLIT_STATES] of a row and kv_head: attend_parts.c
    bool parts_count;        // rows whose mass is counted attend by parts, too: few rows

    void *memory; // all of the above
    size_t bytes;
    uint32_t n_row_max;
    struct profile profile;
};

/* hidden = rms_norm(x) * w, ready as the input of linears. */
void pass_norm_input(struct pass *p, const float *w);
/* src [n_row][k] becomes the input of linears. */
void pass_input(struct pass *p, const float *src, uint32_t k);

struct pass_linear {
    const struct linear *w;
    float *y; // [n_row][w->w.n]
};
/* y = W input (+ bias) for up to LINEARS_MAX matrices that share the input; `part` is what its time counts as. */
void pass_linears(struct pass *p, enum profile_part part, const struct pass_linear *linear,
                  uint32_t n);

/* Rows of the input that one task of linears takes. */
struct pass_slice {
    uint32_t first, n;
};
enum { SLICE_LEAST = 128 };
uint32_t pass_n_slice(const struct pass *p);
struct pass_slice pass_slice_at(const struct pass *p, uint32_t i, uint32_t n_slice);

/* Normalises heads where weights are given, rotates q and k, and stores k and v at their positions. */
void pass_rope_store(struct pass *p, uint32_t layer, const float *q_norm, const float *k_norm);
/* The same in two goes: of k and v alone, and of q. */
void pass_store(struct pass *p, uint32_t layer, const float *k_norm);
void pass_rope(struct pass *p, uint32_t layer, const float *q_norm);

/* Whether the batch has rows that need not go on behind K and V of the last layer. */
bool pass_has_unread(const struct pass *p);
/* Goes on without them: x is that of the rows that are left, which may be none. */
void pass_leave_unread(struct pass *p);
/* The row that a row of the whole batch has become. */
uint32_t pass_row_left(const struct pass *p, uint32_t row);

/* Decides for this batch which rows attend together. */
void attend_plan(struct pass *p);
/* Whether a row of the sequence follows the plan, where there is one: it does not select, nor count what parts
 * cannot. */
bool attend_by_plan(const struct pass *p, const struct batch_seq *seq, uint32_t row, bool windowed);
/* mix = attention of q over what each row may see. */
void pass_attend(struct pass *p, uint32_t layer);

enum pass_gate_kind { GATE_SILU, GATE_GELU };
/* gate = silu or gelu(gate) * up, ready as the input of linears. */
void pass_gate_input(struct pass *p, enum pass_gate_kind kind);
/* The same from the input, both linears too, of many rows (model/gated.c). False: they are few, or some weights do not
 * allow it; nothing was done. */
bool pass_gated_input(struct pass *p, const struct linear *gate, const struct linear *up,
                      enum pass_gate_kind kind);

/* x += hidden; with w: x += rms_norm(hidden) * w. */
void pass_residual(struct pass *p, const float *w);
/* That, and then pass_norm_input, in one go. */
void pass_residual_input(struct pass *p, const float *post, const float *norm);

/* Runs fn over rows [first, last), split where it pays. */
typedef void pass_rows_fn(struct pass *p, const void *arg, uint32_t first, uint32_t last);
void pass_rows(struct pass *p, pass_rows_fn *fn, const void *arg);

must_use enum status pass_open(struct pass *p, const struct weights *w, uint32_t n_row,
                               struct note *why);
void pass_close(struct pass *p);
size_t pass_bytes(const struct hparams *h, const struct weights *w, uint32_t n_thread,
                  uint32_t n_row);

/* What depends on where the batch's rows are: their sequences and positions, and who attends together. */
void pass_aim(struct pass *p, const struct batch *batch);

/* Sets the batch: x = embeddings; positions, rows' sequences, angles. */
void pass_begin(struct pass *p, const struct batch *batch, const struct weights *w);
/* Behind passes, as it calls the system: pages of the file that rows of the embedding were read from leave the process,
 * where those rows are many. */
void pass_let_embedding_go(struct pass *p, const struct weights *w);

/* Output norm and output matrix for n <= LOGIT_ROWS rows: [n][n_vocab]. Overwrites `hidden`. */
const float *pass_logits(struct pass *p, const struct weights *w, const uint32_t *row, uint32_t n);

/* Runs all layers of a pre-norm decoder; norms that a layer lacks (NULL) are left out. */
void decoder_forward(struct pass *p, const struct weights *w, enum pass_gate_kind gate);

/* One architecture: a file that defines this, and a row in model.c's table. */
struct model_arch {
    const char *name;
    unsigned parts; // enum layer_parts
    enum status (*adjust)(struct hparams *h, const struct gguf *g,
                          struct note *why); // what is not in the metadata
    void (*forward)(struct pass *p, const struct weights *w);
};
extern const struct model_arch arch_llama, arch_qwen2, arch_qwen3, arch_gemma3;

#endif
