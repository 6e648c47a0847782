/* engine/keeper.h - a sequence's KV policy at work: when rows are judged, what is written down for that, what has gone.
 *
 *   position  0 ......... due ......... due ......... n_prompt . . . . . . . . .
 *                          ^ keep        ^ keep        ^ keep     ^ each `every` tokens, or one row with each
 *
 *   own schedule   at multiples of `block` inside the prompt, at its end, and while it answers
 *   written        as its own schedule has it for an answer, from the second position of the prompt on; with `block` as
 *                  for a prompt
 *   n_context      at multiples of `block` inside so many positions of the prompt, and behind them; what follows stays
 *   episodes       at multiples of `block` inside the history, and at its end; behind it turns of other episodes are
 *                  skipped
 *
 * A policy may also select (kv/select.h): rows behind the prompt, or behind n_context and the question, read some of
 * their past.
 *
 * G1  When keep runs depends on positions alone: a step's rows never cross `due`. So what stays does not depend on
 *     batches, chunks, pauses or what was cached.
 * G2  Before the first keep the KV is exact, and shared like any other; behind it nothing of it enters the index. Rows
 *     that select are not exact, those before them are.
 * G3  What a policy knows of a prefix without having read it is in marks (kv/mark.h): put aside where a prompt is known
 *     to go on as another one does, before anything is judged.
 * G4  A pause throws everything away; the same schedule makes it again.
 *
 * Lifetime  of its sequence; begin and end with each start and pause. Threads  built by the submitting thread, then the
 * engine thread's. */
#ifndef ENGINE_KEEPER_H
#define ENGINE_KEEPER_H

#include "engine/episodes.h"
#include "engine/replay.h"
#include "kv/keep.h"
#include "kv/mark.h"
#include "kv/select.h"
#include "model/model.h"
#include "text/sentences.h"

enum { KEEPER_MARKS = 4 }; // to come at once

struct keeper {
    struct kv_choice choice;
    uint32_t n_prompt, n_context; // n_context 0: its own schedule
    uint32_t n_question;          // behind the context; 0: all, or there is no context
    bool written;                 // the prompt is judged as an answer that follows its first token
    bool compares;                // its context is read for keepers of other policies too
    struct episodes *episodes;    // of its history, or NULL: the policy knows none
    uint32_t n_skipped;           // of their stretches
    uint32_t n_position_max;      // of the sequence
    uint32_t every;               // generated tokens from one keep to the next; 0: none
    uint32_t due;                 // where keep runs next; UINT32_MAX: nowhere
    uint32_t n_mark;
    uint32_t mark[KEEPER_MARKS]; // positions at which marks are put aside: whole blocks, ascending
    bool pruned;                 // rows were dropped, so its KV is no longer exact
    bool judging;                // what is due has begun, and lacked blocks to tidy into
    bool skips;                  // what is due is positions that are not read
    struct kv_excerpt *excerpt;  // NULL: not begun, or the policy drops nothing
    struct kv_select *select;    // NULL: not begun, or the policy selects nothing
    struct kv_select_stats told; // of what it read, already counted by the engine
    struct sentences sentences;  // where the policy wants to know it, of ids below n_scanned
    uint32_t n_scanned;
    struct kv_taps taps; // what its policy needs
    struct kv_taps
        wide; // what any policy may need, while it reads for others; open until its context ends
    struct replay replay;      // while it runs, the sequence's rows are those
    float *logits;             // of the context's last row, or NULL
    char name[KV_CHOICE_TEXT]; // the choice, printed
};

/* What keepers of one engine share. */
struct keeper_frame {
    struct kv_keep_model model;
    struct kv_pool *pool;
    const struct kv_shares *shares; // NULL: every head the same
    uint32_t n_layer;               // of the model
    const struct vocab *vocab;
    struct replay_prefix repeat, essential; // before a past, and before an episode's text
    struct replay_prefix probe;             // behind a past; n 0: the vocabulary has none
};

/* A prompt, and what of it is context. */
struct keeper_prompt {
    struct embed_from from;
    const struct kv_shape *shape;
    const int32_t *ids; // [n]
    uint32_t n, n_context;
    uint32_t n_question;     // ids behind the context that say what is asked; 0: all
    uint32_t n_position_max; // prompt and answer
    bool told;               // its rows are: none is skipped
    bool written;            // without n_context: the policy takes it for an answer
    bool compared;           // others of the same context judge it by policies of their own
};

/* The choice for a prompt. BAD_INPUT: a budget or context that cannot be, with the numbers, or a policy that would
 * never judge what is written; FULL: no memory. `full` makes
 * none: *out is NULL. */
must_use enum status keeper_new(struct keeper **out, const struct kv_choice *choice,
                                const struct keeper_prompt *prompt, struct note *why);
void keeper_free(struct keeper *k); // NULL is allowed

must_use enum status keeper_begin(struct keeper *k, const struct keeper_frame *f, struct note *why);
void keeper_end(struct keeper *k); // also one that was not begun

/* Begins behind n_done positions with the rows that another of the same kept: the excerpt is its own from here on.
 * FULL: no memory, it is not. */
must_use enum status keeper_adopt(struct keeper *k, const struct keeper_frame *f,
                                  struct kv_excerpt *excerpt, uint32_t n_done, struct note *why);

/* What a pass over its own rows writes down. */
static inline struct kv_taps *keeper_taps(struct keeper *k)
{
    return k->wide.into ? &k->wide : &k->taps;
}

/* Its next pass is of rows [n_done, n_done + n_row): whether that finds, too, who leaves behind it. */
void keeper_look(struct keeper *k, const struct kv_shape *shape, uint32_t n_done, uint32_t n_row);

/* Whether `read`, which was written down over n_context positions, has all that its policy needs. */
bool keeper_may_judge(const struct keeper *k, const struct kv_taps *read);

/* Its context is read: what its policy needs of `read` becomes its own. */
void keeper_learn(struct keeper *k, const struct keeper_frame *f, const struct kv_taps *read);

/* Gives away what it wrote down for others. */
struct kv_taps keeper_give_wide(struct keeper *k);

/* Begins behind its context, which another has read and nobody has judged: with that one's rows, an excerpt that is its
 * own from here on, and what was written down. What is due is its first keep. FULL: no memory; the excerpt is the
 * caller's. */
must_use enum status keeper_begin_behind(struct keeper *k, const struct keeper_frame *f,
                                         struct kv_excerpt *excerpt, const struct kv_taps *read,
                                         struct note *why);

/* Where others of the same may begin: behind its context or its episodes' history. 0: nowhere. */
static inline uint32_t keeper_shared(const struct keeper *k)
{
    return k->episodes ? k->episodes->n_base : k->n_context;
}

/* Whether it is not yet where others of the same may begin: that far it has to read, and to judge. */
static inline bool keeper_is_before_shared(const struct keeper *k, uint32_t n_done)
{
    return n_done < keeper_shared(k) || (n_done == k->due && !k->skips);
}

/* Whether what it kept may be parked when blocks are short. */
bool keeper_parks(const struct keeper *k);

/* ids [0, n) will be in the pass to come: tells the policy where sentences end in them. */
void keeper_scan(struct keeper *k, const int32_t *ids, uint32_t n);

/* Positions below n_done are committed: of a prompt that will be selected from, they are entered into the policy's
 * books. */
void keeper_enter(struct keeper *k, const struct keeper_frame *f, const struct kv_space *s,
                  uint32_t n_done);

/* The logits of the context's last row, for those that begin behind it. Without memory nothing is remembered. */
void keeper_remember(struct keeper *k, const float *logits, uint32_t n_vocab);

/* Positions that may come from exact KV instead of being computed, where marks of what it writes down are there: behind
 * them it has to look on. */
uint32_t keeper_reusable(const struct keeper *k);

/* The kinds of marks all of which it needs to begin behind a prefix, as bits 1 << kind; 0: it needs none. */
unsigned keeper_mark_kinds(const struct keeper *k);

/* Another prompt begins with its first n ids; it stands at n_done. Where it will put marks aside for that one: at most
 * at n, a whole block, above n_done. 0: nowhere. */
uint32_t keeper_ask_mark(struct keeper *k, uint32_t n_done, uint32_t n);

/* Whether marks are to be put aside at n_done; then keeper_mark_passed is called before anything else. */
static inline bool keeper_marks_here(const struct keeper *k, uint32_t n_done)
{
    return k->n_mark > 0 && k->mark[0] == n_done;
}
void keeper_mark_passed(struct keeper *k);
void keeper_pass_marks(struct keeper *k,
                       uint32_t n_done); // it starts at n_done: others find those below

/* Of its largest mark over n positions. */
size_t keeper_mark_bytes(const struct keeper *k, const struct keeper_frame *f, uint32_t n);

/* It was just begun behind a prefix; its marks of these kinds are what it knows of it. */
void keeper_recall(struct keeper *k, const struct keeper_frame *f, unsigned kinds,
                   struct kv_mark *const mark[KV_MARK_N]);

/* A mark of the kind over n_done positions. FULL: no memory. */
must_use enum status keeper_mark_new(const struct keeper *k, const struct keeper_frame *f,
                                     enum kv_mark_kind kind, uint32_t n_done, struct kv_mark **out);

/* Whether its next rows are those of its replay. */
static inline bool keeper_replays(const struct keeper *k)
{
    return k->replay.runs && k->replay.space;
}

/* Whether what is due lacked a block to begin with: keeper_after is to be called again when there is one. */
static inline bool keeper_is_stalled(const struct keeper *k, uint32_t n_done)
{
    return k->due == n_done && !keeper_replays(k);
}

/* How many of n rows from n_done on it may get in one step. */
uint32_t keeper_rows(const struct keeper *k, uint32_t n_done, uint32_t n);

/* Most bytes of KV that the sequence holds at once while it gets to n positions, n_step at most added a step. */
size_t keeper_bytes(const struct keeper *k, const struct keeper_frame *f, uint32_t n_position,
                    uint32_t n_step);

/* Positions below *n_done of ids are committed: does what is due, or begins to replay (then the next rows are those of
 * k->replay); *n_done passes what is skipped. FULL: the pool lacks blocks to tidy into or to replay in; it is stalled,
 * and to be called again when there are some (the order in which rows lie, and so the bits, are those of tidying at
 * once). *pruned_now: rows went for the first time. */
must_use enum status keeper_after(struct keeper *k, const struct keeper_frame *f,
                                  const struct model *m, struct kv_space *s, const int32_t *ids,
                                  uint32_t *n_done, bool *pruned_now, struct note *why);

/* n rows of the replay are computed; behind its last row what is due is done. Otherwise as keeper_after. */
must_use enum status keeper_replayed(struct keeper *k, const struct keeper_frame *f,
                                     const struct model *m, struct kv_space *s, const int32_t *ids,
                                     uint32_t n_done, uint32_t n, bool *pruned_now,
                                     struct note *why);

#endif
