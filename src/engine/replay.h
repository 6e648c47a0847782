/* engine/replay.h - a scoring pass: rows that look back over a sequence's past and leave nothing behind but what its
 * rows received of them, or their queries.
 *
 *   past  [ 0 .......... n_past )   instruction, then a chunk of a text                   mass: the largest attention that
 *                                   in a space of its own, a fork, gone afterwards        each row of the past received
 *
 *                                   probe: the end of a paragraph, and nothing else       queries: of its row
 *
 * The text is the past itself, or what stands for questions to come (engine/episodes.h). A long one is read a chunk at
 * a time, each from position n_past on: the rows that score a chunk never see those that scored another.
 *
 * Why a probe: the query of a past's last token is the query of whatever word the past happens to end with. Behind the
 * end of a paragraph a model looks back at what may be asked for (bench/RESULTS.md has what that is worth).
 *
 * Sources: Kim et al. 2025, "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction"; Kim et al. 2025,
 * "EpiCache: Episodic KV Cache Management for Long Conversational Question Answering"; the probe is ours.
 * Lifetime  from replay_begin to replay_end, a few steps. Threads  the engine thread. */
#ifndef ENGINE_REPLAY_H
#define ENGINE_REPLAY_H

#include "gguf/gguf.h"
#include "kv/taps.h"
#include "text/vocab.h"

enum { REPLAY_CHUNK = 2048, REPLAY_PREFIX_MAX = 64 };

/* What stands before each replayed chunk. */
struct replay_prefix {
    int32_t id[REPLAY_PREFIX_MAX];
    uint32_t n;
};

/* An instruction, for a model's file and vocabulary, with what stands before an answer. FULL: no memory. */
must_use enum status replay_prefix_make(struct replay_prefix *out, const char *instruction,
                                        const struct gguf *file, const struct vocab *v,
                                        struct note *why);
extern const char replay_repeat[];    // the past again
extern const char replay_essential[]; // what of it answers questions

/* What is read over the past. */
struct replay_text {
    const struct replay_prefix *prefix;
    const int32_t *ids; // [n]
    uint32_t n;
    bool
        past_alone; // mass is a share of the attention that goes to the past, not to the text itself
};

/* The probe: the break between two paragraphs, one token (of several, the last; n 0: the vocabulary has none). FULL: no
 * memory. */
must_use enum status replay_probe_make(struct replay_prefix *out, const struct vocab *v,
                                       struct note *why);

struct replay {
    bool runs;
    int32_t ids[REPLAY_PREFIX_MAX + REPLAY_CHUNK]; // of the chunk
    uint32_t n, n_done;
    uint32_t n_past, n_replayed; // n_replayed: of the text
    struct kv_space *space;      // the chunk's
    struct kv_taps taps;
};

/* Positions that a space, and mass in the tail of an excerpt (kv/taps.h T0), need behind a past to be replayed. */
#define REPLAY_ROWS (REPLAY_PREFIX_MAX + REPLAY_CHUNK)

/* Gets ready to read a text over positions [0, n_past), whose rows are in `space` and `excerpt`. FULL: no block for the
 * fork; try again later. */
must_use enum status replay_begin(struct replay *r, const struct replay_text *text,
                                  struct kv_space *space, struct kv_excerpt *excerpt,
                                  uint32_t n_past, struct note *why);

/* The same with a probe, a prefix before no text: its query goes where those of `taps` go, in the place of their
 * oldest. */
must_use enum status replay_probe_begin(struct replay *r, const struct replay_text *probe,
                                        struct kv_space *space, const struct kv_taps *taps,
                                        uint32_t n_past, struct note *why);

/* n of its rows are computed. True: all of the text is read; the mass is there. With FULL the next chunk has no block
 * now: the call is to be made again with n = 0. */
must_use enum status replay_went_on(struct replay *r, const struct replay_text *text,
                                    struct kv_space *space, uint32_t n, bool *over,
                                    struct note *why);
void replay_end(struct replay *r); // at any time

#endif
