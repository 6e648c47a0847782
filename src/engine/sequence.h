/* engine/sequence.h - one request on its way: its tokens, its KV, its sampler and the text that left.
 *
 *   ids   p p p p p p g g g         p prompt, g generated
 *         ^n_done    ^n_prompt ^n_id
 *
 * Q1  KV of positions below n_done is computed; n_done < n_id, or the request is finished.
 * Q2  Pausing drops the KV and sets n_done to 0; what was generated stays, so the same answer comes later.
 * Q3  Text leaves in complete characters, and never a byte of a stop text.
 * Q4  It can always end: its last event is there from the start.
 *
 * Lifetime  from submit to its DONE event. Threads  built by the submitting thread, then the engine thread's. */
#ifndef ENGINE_SEQUENCE_H
#define ENGINE_SEQUENCE_H

#include "akvifer.h"
#include "base/buf.h"
#include "base/note.h"
#include "engine/keeper.h"
#include "engine/limits.h"
#include "engine/outbox.h"
#include "engine/sample.h"
#include "kv/index.h"
#include "text/vocab.h"

enum { MESSAGE_BYTES = sizeof(struct note) };

struct sequence {
    struct sequence *next; // in the queue it stands in
    uint64_t id;
    void *user;
    char *salt; // tenant and salt: KV is shared inside it only
    bool ignore_eos, prompt_logprobs, cache_no_read, cache_no_write;
    _Atomic bool canceled; // set by any thread, under the engine's lock
    uint32_t n_logprob;

    int32_t *ids;
    uint32_t n_id, n_prompt, n_id_max; // n_id_max: prompt + most that may be generated
    uint32_t n_done, n_cached;
    uint32_t n_reuse_max; // positions that may be taken from others at most
    uint32_t
        n_known; // so many began another prompt, or are public: a policy leaves their KV to the index
    uint32_t n_public;      // ids that everybody may share: whole blocks of them
    uint32_t n_posted;      // prompt rows whose log-probabilities left
    bool length_is_context; // n_id_max comes from n_ctx, not from n_predict

    struct kv_space *space;       // NULL while waiting or paused
    struct keeper *keeper;        // its KV policy at work; NULL: everything stays
    bool names_policy;            // the request said which
    struct kv_trail trail;        // what of it the index holds, under its salt
    struct kv_trail public_trail; //   and for everybody
    struct kv_hit hit;            // of its last start
    bool cached_public;           // of its first: from what everybody may share,
    struct akv_evicted evicted;   //   and what had gone
    uint64_t wait_for;            // a running sequence's id: it waits until that one has computed
    uint32_t wait_until;          //   these positions; 0: it does not
    struct sampler *sampler;

    struct detok detok;
    struct buf text; // decoded, held back while it may begin a stop text
    char **stop;
    uint32_t n_stop, stop_met; // stop_met: which of them ended it
    int32_t end_id;            // what ended it of stop_id; -1: nothing did
    int32_t *stop_id; // [n_stop_id] the vocabulary's n_end_id end tokens, then the request's
    uint32_t n_stop_id, n_end_id;
    uint32_t n_id_min; // prompt and tokens before which none of them may come

    struct outbox_event *done; // its last event: a message of MESSAGE_BYTES fits
    bool lost;                 // there was no memory for something that should have left

    uint64_t submit_ns, start_ns, first_ns; // monotonic; 0: not yet
    uint64_t deadline_ns;                   // it ends then; UINT64_MAX: it may take for ever
    uint64_t line_limit_ns; // so long behind first_ns it ends with its line; 0: never
    size_t kv_bytes_peak;
};

/* What all sequences of an engine have in common. */
struct sequence_frame {
    const struct model *model;
    const struct vocab *vocab;
    uint32_t n_vocab;        // logits
    struct hidden *hidden;   // what reads hidden states
    struct encoder *encoder; // of sentences; NULL: there is none
    const struct engine_limits *limits;
    int32_t *end_id; // [n_end_id] the vocabulary's end tokens, looked for once
    uint32_t n_end_id;
};

/* FULL: no memory. */
must_use enum status sequence_frame_open(struct sequence_frame *f, const struct model *m,
                                         const struct vocab *vocab, struct hidden *hidden,
                                         struct encoder *encoder,
                                         const struct engine_limits *limits, struct note *why);
void sequence_frame_close(struct sequence_frame *f);

/* A copy of the request, checked against the limits. BAD_INPUT: what is wrong, with numbers. */
must_use enum status sequence_new(struct sequence **out, const struct akv_request *r,
                                  const struct sequence_frame *frame, struct note *why);
void sequence_free(struct sequence *s); // its space must be gone

/* Whether its KV is what the model computes: no policy has dropped rows. */
static inline bool sequence_is_exact(const struct sequence *s)
{
    return !s->keeper || !s->keeper->pruned;
}

/* Positions from its first on whose KV is what the model computes. */
static inline uint32_t sequence_n_exact(const struct sequence *s)
{
    if (!s->keeper || !s->keeper->select)
        return sequence_is_exact(s) ? UINT32_MAX : 0;
    return sequence_is_exact(s) ? kv_select_from(s->keeper->select) : 0;
}

/* Positions that need not be computed if somebody has them: all but its last, whose row gives the next token, and the
 * last of its context, whose row is told; with a policy those behind which it looks on. */
static inline uint32_t sequence_reusable(const struct sequence *s)
{
    const uint32_t all = s->n_id - 1 < s->n_reuse_max ? s->n_id - 1 : s->n_reuse_max,
                   most = s->keeper ? keeper_reusable(s->keeper) : all;
    return most < all ? most : all;
}

/* Whether its next rows are those of its policy's replay. */
static inline bool sequence_replays(const struct sequence *s)
{
    return s->keeper && keeper_replays(s->keeper);
}

/* Bytes of KV that it holds; at least those of its last n_step rows' worst case where a window gave blocks back
 * since. */
size_t sequence_kv_bytes(const struct sequence *s, const struct kv_shape *shape, uint32_t n_step);

/* Draws the next token. -1: none can be. */
int32_t sequence_pick(struct sequence *s, const float *logits);
bool sequence_is_stop(const struct sequence *s, int32_t id); // whether this token ends it

/* Takes a generated token: appends it, decodes it, and moves the text that may leave to `out`.
 * True when a stop text was met (what precedes it is in `out`). Without memory `out` is failed. */
bool sequence_accept(struct sequence *s, int32_t id, struct buf *out);

/* The rest of the text, at the end. Without memory `out` is failed. */
void sequence_flush(struct sequence *s, struct buf *out);

#endif
