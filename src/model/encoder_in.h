/* model/encoder_in.h - what an encoder's files share: encoder_load.c (weights from a file), encoder_pass.c (rows of a
 * run), encoder.c (texts to vectors, what is remembered). */
#ifndef MODEL_ENCODER_IN_H
#define MODEL_ENCODER_IN_H

#include "base/arena.h"
#include "gguf/gguf.h"
#include "kernels/kernels.h"
#include "model/weights.h"
#include "text/wordpiece.h"

enum { ENCODER_RUN = 256 }; // rows of a run at most, [CLS] and [SEP] among them

struct encoder_norm {
    const float *weight, *bias; // [n_embd]
};

struct encoder_layer {
    struct linear q, k, v, o, up, down; // all with a bias
    struct encoder_norm attn_norm, out_norm;
};

/* Where a run is computed, of n_run rows. */
struct encoder_room {
    float *x, *y, *q, *k, *v; // [n_run][n_embd]
    float *wide;              // [n_run][n_ff]
    float *ones;              // [n_ff] of 1
    float *scores;            // [n_run][n_run] of one head
    float *head;              // [n_run][d_head]
    uint8_t *panels;          // a head's keys or values, packed
    void *scratch;            // the matmuls'
};

struct encoder_net {
    const struct kernels *kern;
    const struct gguf *file;
    struct arena arena; // holds what follows, but for packed matrices
    uint32_t n_layer, n_embd, n_head, n_ff, n_vocab, n_run;
    float eps;
    const struct gguf_tensor *word, *place, *kind; // rows of the file, added up
    struct encoder_norm norm;
    struct encoder_layer *layer; // [n_layer]
    struct encoder_room room;
    struct wordpiece *pieces;
    int32_t cls, sep;
};

/* The file must outlive it. BAD_INPUT: it is no encoder, or one of another kind; IO_ERROR: it cannot be read; FULL: no
 * memory. A hostile file costs no more than 32 times its size. */
must_use enum status encoder_load(struct encoder_net *out, const struct gguf *file,
                                  const struct kernels *kern, struct note *why);
void encoder_unload(struct encoder_net *net); // a zeroed one too

/* Adds the rows of a run of n ids, n_run at most, to sum [n_embd]. */
void encoder_run(const struct encoder_net *net, const int32_t *ids, uint32_t n, float *sum);

#endif
