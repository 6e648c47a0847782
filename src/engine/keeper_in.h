/* engine/keeper_in.h - the keeper from the inside. Private to keeper.c (its schedule, memory and life) and
 * keeper_work.c (what is done when something is due). */
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

#endif
