/* Who gets rows in a step, and blocks for them. */
#include <string.h>

#include "engine/engine_in.h"

void queue_open(struct queue *q)
{
    *q = (struct queue){ .last = &q->first };
}

void queue_push(struct queue *q, struct sequence *s)
{
    s->next = NULL;
    *q->last = s;
    q->last = &s->next;
    q->n++;
}

struct sequence *queue_pop(struct queue *q)
{
    struct sequence *s = q->first;
    if (s) {
        q->first = s->next;
        if (!q->first)
            q->last = &q->first;
        q->n--;
    }
    return s;
}

static void queue_push_front(struct queue *q, struct sequence *s)
{
    s->next = q->first;
    q->first = s;
    if (!s->next)
        q->last = &s->next;
    q->n++;
}

void queue_take(struct queue *q, struct sequence *before, struct sequence *s)
{
    *(before ? &before->next : &q->first) = s->next;
    if (!s->next)
        q->last = before ? &before->next : &q->first;
    q->n--;
}

void engine_stop_running(struct engine *e, const struct sequence *s)
{
    for (uint32_t i = 0; i < e->n_running; i++) {
        if (e->running[i] == s) {
            memmove(&e->running[i], &e->running[i + 1],
                    (e->n_running - i - 1) * sizeof *e->running);
            e->n_running--;
            return;
        }
    }
}

/* ---- blocks ---- */

bool engine_evict(struct engine *e)
{
    return kv_index_evict(e->index) || frozen_evict(&e->frozen) || tapped_evict(&e->tapped);
}

void engine_pause(struct engine *e, struct sequence *s)
{
    kv_index_drop(e->index, &s->trail); /* what it sealed can be found again, or goes */
    kv_index_drop(e->index, &s->public_trail);
    kv_space_free(s->space);
    s->space = NULL;
    if (s->keeper)
        keeper_end(s->keeper);
    s->n_done = 0;
    e->n_pause++;
    engine_stop_running(e, s);
    queue_push_front(&e->waiting, s);
}

/* What s computed although it was here already is here twice: it stands at the other blocks no longer, so those can go. False:
 * there are none. */
static bool let_index_go(struct engine *e, struct sequence *s)
{
    kv_index_drop(e->index, &s->trail); /* the next put begins anew */
    kv_index_drop(e->index, &s->public_trail);
    return engine_evict(e);
}

/* Makes blocks free for running[i]: idle ones go first, then the youngest sequences. False: it was paused itself, or is
 * the last one and ended: the cap has room for it (L1), but the system does not give the memory. */
static bool free_some(struct engine *e, uint32_t i)
{
    struct sequence *s = e->running[i];
    if (engine_evict(e))
        return true;
    const uint32_t youngest = e->n_running - 1;
    if (youngest == 0 && let_index_go(e, s))
        return true;
    if (youngest == 0) {
        engine_stop_running(e, s);
        engine_finish(e, s, AKV_STOP_ERROR, FULL,
                      "the system has no memory for the KV of this request, though the cap "
                      "(--kv-ram) allows it; lower the cap or -c");
        return false;
    }
    engine_pause(e, e->running[youngest]);
    return youngest != i;
}

/* Grows running[i], or its replay, by n rows. False: it does not run any more. */
static bool grow(struct engine *e, uint32_t i, uint32_t n)
{
    struct sequence *s = e->running[i];
    const struct replay *r = sequence_replays(s) ? &s->keeper->replay : NULL;
    struct kv_space *space = r ? r->space : s->space;
    const uint32_t to = (r ? r->n_past + r->n_done : s->n_done) + n;
    kv_space_expect(space, r ? r->n_past + r->n : s->n_prompt);
    while (kv_space_grow(space, to) != OK) {
        if (!free_some(e, i))
            return false;
    }
    return true;
}

/* What its policy has due lacked a block: now it gets one. False: it does not run any more. */
static bool unstall(struct engine *e, uint32_t i)
{
    struct sequence *s = e->running[i];
    while (s->keeper && keeper_is_stalled(s->keeper, s->n_done)) {
        engine_prune(e, s, 0);
        if (keeper_is_stalled(s->keeper, s->n_done) && !free_some(e, i))
            return false;
    }
    return true;
}

/* ---- rows ---- */

/* Whether somebody waits for its next token: all but that is computed. */
static bool is_answering(const struct sequence *s)
{
    return s->n_id > s->n_prompt && s->n_done + 1 == s->n_id && !sequence_replays(s);
}

static uint32_t count_answering(const struct engine *e)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n_running; i++)
        n += is_answering(e->running[i]);
    return n;
}

/* How many of at most n rows it gets: of its replay, or of its own up to where its policy is due. */
static uint32_t rows_for(const struct sequence *s, uint32_t n)
{
    const struct replay *r = sequence_replays(s) ? &s->keeper->replay : NULL;
    const uint32_t want = r ? r->n - r->n_done : s->n_id - s->n_done, most = want < n ? want : n;
    return r || !s->keeper ? most : keeper_rows(s->keeper, s->n_done, most);
}

/* A row for each that answers; what the pace allows beside for prompts, the oldest first. */
uint32_t engine_plan(struct engine *e, uint32_t *n_share)
{
    uint32_t n_row = 0;
    *n_share = e->n_answer = 0;
    engine_start_waiting(e);
    const uint32_t n_answer = count_answering(e);
    uint32_t left = pace_rows(&e->pace, n_answer, e->limits.n_ubatch - n_answer);
    if (left == 0 && e->n_running > n_answer && !is_answering(e->running[0]))
        left = 1; /* E2 */
    for (uint32_t i = 0; i < e->n_running; i++) {
        struct sequence *s = e->running[i];
        if (!unstall(e, i))
            break;
        const bool answers = is_answering(s);
        const uint32_t n = rows_for(s, answers ? 1 : left);
        if (n == 0)
            continue;
        if (!grow(e, i, n))
            break;
        e->share[(*n_share)++] = (struct share){
            .seq = s, .first_row = n_row, .n_row = n, .replay = sequence_replays(s)
        };
        n_row += n;
        e->n_answer += answers;
        left -= answers ? 0 : n;
    }
    return n_row;
}
