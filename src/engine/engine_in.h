/* engine/engine_in.h - the engine from the inside. Private to start.c (birth and death), inbox.c (what callers leave),
 * engine.c (a step), plan.c (who gets rows and blocks), admit.c (who starts), kept.c (what of a prompt is there
 * already), post.c (what is told) and stats.c (what is counted); tests turn an engine without a thread by hand, on a
 * clock of their own. */
#ifndef ENGINE_ENGINE_IN_H
#define ENGINE_ENGINE_IN_H

#include <pthread.h>

#include "engine/engine.h"
#include "engine/frozen.h"
#include "engine/heads.h"
#include "engine/pace.h"
#include "engine/tables.h"
#include "engine/tapped.h"
#include "kv/index.h"
#include "os/clock.h"

/* What one running sequence does in this step. */
struct share {
    struct sequence *seq;
    uint32_t first_row, n_row;
    bool replay; // rows of its policy's replay, not of its own tokens
};

struct queue {
    struct sequence *first, **last;
    uint32_t n;
};

/* Where the time comes from: the system's monotonic clock, or a test's. */
struct engine_clock {
    uint64_t (*now_ns)(void *arg);
    void *arg;
};

/* Free KV memory: the least of the last steps, and what of it is still to go back. */
struct spare {
    size_t least, surplus;
    uint32_t n_step;
    bool pruned; // a policy dropped rows
};

struct engine {
    struct engine_clock clock;
    struct model *model;
    struct sequence_frame frame;
    struct hidden *hidden;   // what reads hidden states
    struct encoder *encoder; // of sentences; NULL: there is none
    struct keeper_frame keeping;
    struct heads heads;
    struct engine_limits limits;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct kv_index *index;
    struct frozen_table frozen;
    struct tapped_table tapped;
    struct outbox outbox;
    pthread_t thread;
    bool started;

    /* Shared with callers, under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queue inbox;
    uint64_t next_id;
    struct sequence **inside; // [n_inside_max] submitted and not done
    uint32_t n_inside, n_inside_max;
    bool cancel_asked, quit;
    struct akv_stats stats;

    struct tables tables; // what callers may look at

    /* The engine thread's own. */
    struct queue waiting;      // oldest first
    struct sequence **running; // [n_parallel], oldest first
    uint32_t n_running;
    uint64_t step; // steps begun
    struct pace pace;
    struct spare spare;
    uint32_t n_answer; // rows of this step that answer somebody; the others read prompts
    uint64_t n_pause;
    uint64_t n_token_prompt, n_token_cached, n_token_generated;
    struct {
        uint64_t plan_ns, forward_ns, sample_ns; // sums; what else a step takes is keeping
        uint64_t n_sequence, n_row;              // that had rows, and those, summed over steps
        uint64_t n_of_rows[AKV_STEP_BUCKETS];    // as in akv_stats
        uint64_t n_read, n_there;                // rows of KV, by those that select
    } sum;

    /* The step's arrays, sized at start. */
    struct share *share;         // [n_parallel]
    struct batch_seq *batch_seq; // [n_parallel]
    int32_t *batch_id;           // [n_ubatch]
    struct buf text;             // what leaves with one token
    struct outbox_batch told;    // events since the outbox had some
};

static inline uint64_t engine_now(const struct engine *e)
{
    return e->clock.now_ns(e->clock.arg);
}

/* ---- start.c ---- */

/* An engine without a thread: it moves when engine_turn is called. */
must_use enum status engine_new_still(struct engine **out, struct model *m,
                                      const struct vocab *vocab, const struct akv_limits *wish,
                                      struct engine_clock clock, struct note *why);

/* ---- inbox.c ---- */

/* Takes what callers left; waits while there is nothing to do. False: quit. */
bool engine_drain(struct engine *e);

/* ---- stats.c ---- */

/* Makes the copy that engine_stats shows; step_ns: what the step took, 0 for none. */
void engine_publish(struct engine *e, uint64_t step_ns);

/* ---- engine.c ---- */

void *engine_main(void *engine); // turns until told to quit

/* Drains the inbox, which waits while there is nothing to do, and makes one step. False: quit. */
bool engine_turn(struct engine *e);

/* Does what the policy of s has due, n_replayed rows of its replay being computed (0: rows of its own). */
void engine_prune(struct engine *e, struct sequence *s, uint32_t n_replayed);

/* ---- plan.c ---- */
/* Lets the longest unused of what no sequence runs with go. False: there is none. */
bool engine_evict(struct engine *e);
void queue_open(struct queue *q);
void queue_push(struct queue *q, struct sequence *s);
struct sequence *queue_pop(struct queue *q); // NULL: empty
/* Takes s, which stands behind `before` (NULL: first), out of the middle. */
void queue_take(struct queue *q, struct sequence *before, struct sequence *s);

/* Starts waiting sequences (admit.c); gives every running one rows, and blocks for them. Returns the rows, with who
 * gets which in e->share[0 .. *n_share). */
uint32_t engine_plan(struct engine *e, uint32_t *n_share);
/* Gives all its KV back and puts it first in the queue: it reads again. */
void engine_pause(struct engine *e, struct sequence *s);
void engine_stop_running(struct engine *e, const struct sequence *s); // takes it off the list

/* ---- admit.c ---- */
/* Starts waiting sequences that fit, oldest first: one that waits for what another computes lets others pass. */
void engine_start_waiting(struct engine *e);

/* ---- kept.c ---- */
/* What of it is kept, under its salt or for everybody, whichever is more, and why no more. The tables are held. */
struct kv_hit engine_kept(const struct engine *e, const struct sequence *s);
/* The space and the trail of what engine_kept says; s->hit. As kv_index_take. */
enum status engine_take_kept(struct engine *e, struct sequence *s, struct note *why);
/* What its policy would know of the n_done positions that it took, had it seen them computed. Its keeper was just
 * begun. */
void engine_recall(struct engine *e, struct sequence *s);
/* Puts what its policy has written down into the index, where others are known to go on behind n_done. */
void engine_mark(struct engine *e, struct sequence *s);
/* s->n_known, of what the index has seen before s puts anything. */
void engine_know(struct engine *e, struct sequence *s);
/* Puts what s has sealed into the index, and what of it is public where everybody finds it. */
void engine_keep(struct engine *e, struct sequence *s);
/* What a hit says of blocks that went, in words. */
struct akv_evicted engine_evicted(const struct engine *e, const struct kv_hit *hit);

/* ---- post.c ---- */
/* What of a reason whoever asked may know: not that another tenant has the same (kv/index.h N4). */
enum kv_miss miss_to_tell(enum kv_miss miss);
/* False: no memory for the event. */
bool engine_post_token(struct engine *e, struct sequence *s, int32_t id, const float *logits,
                       const struct buf *text);
/* Log-probabilities of the prompt rows that this step computed; n_done is still that of before.
 * Without memory s->lost is set. */
void engine_post_prompt(struct engine *e, const struct share *sh);
/* The same of the last row before s->n_done, whose logits are given: the others another request has computed. */
void engine_post_forked(struct engine *e, struct sequence *s, const float *logits);
/* The last event of a sequence, and the end of it. Its KV stays in the index unless it failed. */
void engine_finish(struct engine *e, struct sequence *s, enum akv_stop stop, enum status st,
                   const char *message);

#endif
