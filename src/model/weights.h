/* model/weights.h - the tensors of one model, by role; linear ones packed for the kernels.
 *
 *   GGUF rows (mapped, read once) --pack, all threads--> panels in one huge-page region; the file's pages are let go,
 *   so memory holds the weights once. Embedding rows are read from the mapped file, a row a token; these go, too.
 *
 * W1  Every tensor that a pass reads is there with the shape that the hyperparameters demand, or loading failed with
 *     the tensor's name. A tensor that no role takes is refused too: ignoring one would compute another model.
 * W2  The output matrix is the embedding when the file has none of its own (tied).
 *
 * Lifetime  from weights_load to weights_close; the GGUF must outlive it. Threads  immutable once loaded. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "gguf/gguf.h"
#include "kernels/matmul.h"
#include "model/hparams.h"
#include "os/workers.h"

struct linear {
    struct packed w;   // [n_out][n_in]; data NULL: absent
    const float *bias; // [n_out] or NULL
};

struct layer_weights { // absent ones are NULL or have no data
    const float *attn_norm, *attn_post_norm, *q_norm, *k_norm, *ffn_norm, *ffn_post_norm;
    struct linear q, k, v, o, gate, up, down;
};

struct weights {
    const struct gguf_tensor *embd; // [n_vocab][n_embd], rows in the file
    const float *output_norm;
    const float *rope_factors; // [n_rot / 2] or NULL
    struct linear output;
    struct layer_weights *layer; // [n_layer]
    bool any_quantised;          // some matrix is not of a float type
    uint32_t offsets;            // that some of them need (acts_offsets_of)
    uint64_t n_param;
    size_t bytes; // resident: packed panels and vectors

    void *region; // the packed panels
    size_t region_bytes;
    float *vectors; // norms and biases, as f32
};

/* Which optional tensors an architecture has. Others must be absent. */
enum layer_parts {
    PART_QKV_BIAS = 1,   // may be there
    PART_QK_NORM = 2,    // must be there
    PART_POST_NORM = 4,  // must be there
    PART_OTHER_BIAS = 8, // of the output of attention and of the feed-forward: may be there
};

typedef void weights_progress(void *arg, double done);

must_use enum status weights_load(struct weights *out, const struct gguf *g,
                                  const struct hparams *h, unsigned parts, struct workers *workers,
                                  weights_progress *progress, void *arg, struct note *why);
void weights_close(struct weights *w);

/* Rows of the embedding as f32: out [n_embd]. id below n_vocab. */
void weights_embedding(const struct weights *w, uint32_t n_embd, int32_t id, float *out);
/* The file's pages that were read so leave the process: with each row the system maps up to 16 pages around it. */
void weights_embedding_forget(const struct weights *w);

#endif
