/* engine/keeper_in.h - the keeper from the inside. Private to keeper.c (its life), keeper_schedule.c (when something is
 * due, and how much it holds until then), keeper_taps.c (what is written down) and keeper_work.c (what is done then). */
#ifndef ENGINE_KEEPER_IN_H
#define ENGINE_KEEPER_IN_H

#include "base/num.h"
#include "engine/keeper.h"

enum { KEEPER_NOTHING = UINT32_MAX }; // nothing is due any more

/* Nothing where nothing is judged: of a history that is too short for episodes. */
static inline unsigned keeper_needs(const struct keeper *k)
{
    const struct kv_policy *p = k->choice.policy;
    if (k->episodes && k->episodes->n_base == 0)
        return 0;
    return p->needs ? p->needs(&k->choice.options) : 0;
}

/* Whether something is read over the past before it is judged. */
static inline bool keeper_reads_over(const struct keeper *k)
{
    return keeper_needs(k) & (KV_NEED_MASS_PEAK | KV_NEED_PROBE);
}

static inline bool keeper_drops(const struct keeper *k)
{
    return kv_choice_drops(&k->choice);
}

/* What percentages of the budget are of. */
static inline uint32_t keeper_whole(const struct keeper *k)
{
    if (k->episodes)
        return k->episodes->n_base ? k->episodes->n_base : k->n_prompt;
    return k->n_context ? k->n_context : k->n_prompt;
}

/* The first position at which it judges for what is behind: the prompt's end, or the context's or history's. */
static inline uint32_t keeper_first(const struct keeper *k)
{
    return k->written ? 1 : keeper_whole(k);
}

/* The first position whose row selects: a question that is known behind a context is read whole, as a prompt is. */
static inline uint32_t keeper_selects_from(const struct keeper *k)
{
    return keeper_first(k) + k->n_question;
}

static inline bool keeper_writes_down(const struct kv_taps *t)
{
    return t->mass || t->n_query || t->sum;
}

/* What is due behind n_done. */
void keeper_look_ahead(struct keeper *k, uint32_t n_done);

/* The first position above n_done at which keep runs, rows begin to select, or from which on some are skipped. */
uint32_t keeper_due_after(const struct keeper *k, uint32_t n_done);

/* Where the next pass has to end. */
uint32_t keeper_next_stop(const struct keeper *k);

/* Rows of the tail at once that count mass: until the budget is exceeded no keep drops anything, and the tail is all
 * there is. */
uint32_t keeper_mass_rows(const struct keeper *k, const struct kv_shape *shape);

/* How many of the latest queries are written down. */
uint32_t keeper_queries(const struct keeper *k);

/* What its own policy needs of what it reads, and what others' may. */
must_use enum status keeper_open_taps(struct keeper *k, const struct keeper_frame *f,
                                      struct note *why);
must_use enum status keeper_open_wide(struct keeper *k, const struct keeper_frame *f,
                                      struct note *why);

/* A policy that drops rows once, behind a context, by what reading it alone has shown. */
bool keeper_may_compare(const struct keeper *k);

#endif
