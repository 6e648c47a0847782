/* bin/score.h - log-probabilities of many given sequences: several under way at once, taken in order.
 *
 *   next() --> [ seq | seq | seq | ... ] --> take()        a ring of n_slot, in the order of next()
 *                 |     |     |
 *                 +-- akv_submit: the engine runs them together
 *
 * S1  take() sees the sequences in the order in which next() gave them.
 * S2  A sequence that fails is taken like any other, with its status and note: the rest goes on.
 * S3  Of a context only the last row is promised, and all behind it: rows before scored_first are NAN,
 *     with no best tokens (id -1), where another sequence of the same context computed them.
 *
 * The engine runs nothing else. Threads  one at a time. */
#ifndef BIN_SCORE_H
#define BIN_SCORE_H

#include "akvifer.h"
#include "base/note.h"
#include "base/status.h"
#include "bin/progress.h"

struct score_ids {
    const int32_t *id; // [n]
    uint32_t n;
    uint64_t label;      // the caller's, for its messages
    const char *policy;  // of KV, as akv_request.kv_policy; NULL: the engine's
    uint32_t n_context;  // ids that the policy prunes behind, once; 0: as akv_request.kv_written
    uint32_t n_question; // ids behind those that say what is asked; 0: all
    bool compare;        // other policies have the same context: as akv_request.kv_compare
};

struct scored {
    uint64_t label;
    enum status status; // OK: all of it is there
    struct note why;
    uint32_t n, n_context; // tokens, as given
    float *next;           // [n]: of token i + 1 after the first i + 1; NAN behind the end, and
    struct akv_logprob
        *top; // [n][n_top], best first     where the engine had no need to compute it
    struct akv_usage usage;

    uint64_t id;     // while it is under way
    uint32_t n_seen; // promised rows
    bool done;
};

/* The first row that is there however the context came to be. */
static inline uint32_t scored_first(const struct scored *s)
{
    return s->n_context ? s->n_context - 1 : 0;
}

struct score_job {
    /* The next sequence: its ids hold until the next call. NOT_FOUND: there are no more. Another
     * status: there is one in this place, and it fails so. */
    enum status (*next)(void *arg, struct score_ids *out, struct note *why);
    /* What came of one. Not OK: nothing more is scored, and score_all gives this status. */
    enum status (*take)(void *arg, const struct scored *s, struct note *why);
    void *arg;
    uint32_t n_top, n_slot;
    struct progress *progress; // of tokens, or NULL
};

must_use enum status score_all(akv_engine *engine, const struct score_job *job, struct note *why);

#endif
