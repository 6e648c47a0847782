#include "bin/score.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct ring {
    akv_engine *engine;
    const struct score_job *job;
    struct scored *slot; // [n_slot]
    uint32_t head, n;
    uint64_t n_token;     // seen so far, of all
    struct score_ids ids; // of the sequence that comes next
    bool holds;           // it is there, and waits for room in the engine
    bool ended;
};

static void scored_close(struct scored *s)
{
    mem_free(s->next);
    mem_free(s->top);
    *s = (struct scored){ 0 };
}

static void fail(struct scored *s, enum status st)
{
    s->status = st;
    s->done = true;
}

/* FULL, and not done: the engine has no room now. */
static enum status submit(struct ring *r, struct scored *s)
{
    const struct akv_request request = {
        .ids = r->ids.id,
        .n_id = s->n,
        .prompt_logprobs = true,
        .n_logprob = r->job->n_top,
        .sampling = akv_sampling_default(),
        .kv_policy = r->ids.policy,
        .kv_context = r->ids.n_context,
        .kv_written = true,
        .kv_question = r->ids.n_question,
        .kv_compare = r->ids.compare,
        .user = s,
    };
    struct akv_note why;
    enum status st = (enum status)akv_submit(r->engine, &request, &s->id, &why);
    if (st == OK || (st == FULL && r->n > 0))
        return st;
    note_set(&s->why, "%s", why.text);
    fail(s, st);
    return OK;
}

static enum status scored_open(struct scored *s, const struct score_ids *ids, uint32_t n_top)
{
    *s = (struct scored){ .label = ids->label, .n = ids->n, .n_context = ids->n_context };
    s->next = mem_new(s->n, sizeof *s->next);
    s->top = mem_new((size_t)s->n * n_top, sizeof *s->top);
    if (!s->next || !s->top) {
        note_set(&s->why, "no memory for the log-probabilities of %u tokens", s->n);
        return FULL;
    }
    for (uint32_t i = 0; i < scored_first(s); i++)
        s->next[i] = NAN;
    for (size_t i = 0; i < (size_t)scored_first(s) * n_top; i++)
        s->top[i] = (struct akv_logprob){ .id = -1, .logprob = NAN };
    return OK;
}

/* Promised rows among n from `first` on (S3). */
static uint32_t n_promised(const struct scored *s, uint32_t first, uint32_t n)
{
    const uint32_t inside = scored_first(s) > first ? scored_first(s) - first : 0;
    return inside < n ? n - inside : 0;
}

/* Puts the sequence into the next slot. False: it has to wait for room in the engine. */
static bool start(struct ring *r)
{
    struct scored *s = &r->slot[(r->head + r->n) % r->job->n_slot];
    enum status st = scored_open(s, &r->ids, r->job->n_top);
    if (st != OK)
        fail(s, st);
    else if (submit(r, s) != OK) {
        scored_close(s);
        return false;
    }
    r->n++;
    return true;
}

static void start_failed(struct ring *r, enum status st, const struct note *why)
{
    struct scored *s = &r->slot[(r->head + r->n) % r->job->n_slot];
    *s = (struct scored){ .label = r->ids.label, .why = *why };
    fail(s, st);
    r->n++;
}

/* Starts sequences until the ring or the engine is full, or there are no more. */
static void fill(struct ring *r)
{
    while (r->n < r->job->n_slot && !r->ended) {
        struct note why = { "" };
        enum status st = OK;
        if (!r->holds)
            st = r->job->next(r->job->arg, &r->ids, &why);
        if (st == NOT_FOUND) {
            r->ended = true;
            return;
        }
        if (st != OK)
            start_failed(r, st, &why);
        r->holds = st == OK && !start(r);
        if (r->holds)
            return;
    }
}

/* Takes one event into the sequence that it belongs to. */
static void wait_event(struct ring *r)
{
    struct akv_event e;
    if (akv_next_event(r->engine, &e, -1) != AKV_OK)
        return;
    struct scored *s = e.user;
    const uint32_t n_top = r->job->n_top;
    if (e.kind == AKV_EVENT_PROMPT) {
        memcpy(s->next + e.first, e.next, e.n * sizeof *s->next);
        memcpy(s->top + (size_t)e.first * n_top, e.top, (size_t)e.n * n_top * sizeof *s->top);
        s->n_seen += n_promised(s, e.first, e.n);
        r->n_token += e.n;
        if (r->job->progress)
            progress_at(r->job->progress, r->n_token);
    } else if (e.kind == AKV_EVENT_DONE) {
        s->done = true;
        s->usage = e.usage;
        if (e.stop == AKV_STOP_ERROR || s->n_seen != n_promised(s, 0, s->n)) {
            s->status = e.status == AKV_OK ? CORRUPT : (enum status)e.status;
            note_set(&s->why, "a sequence of %u tokens ended after %u: %s", s->n, s->n_seen,
                     e.message);
        }
    }
}

static enum status take_done(struct ring *r, struct note *why)
{
    enum status st = OK;
    while (st == OK && r->n > 0 && r->slot[r->head].done) {
        st = r->job->take(r->job->arg, &r->slot[r->head], why);
        scored_close(&r->slot[r->head]);
        r->head = (r->head + 1) % r->job->n_slot;
        r->n--;
    }
    return st;
}

enum status score_all(akv_engine *engine, const struct score_job *job, struct note *why)
{
    struct ring r = { .engine = engine, .job = job };
    r.slot = mem_new(job->n_slot, sizeof *r.slot);
    if (!r.slot) {
        note_set(why, "no memory for %u sequences", job->n_slot);
        return FULL;
    }
    enum status st = OK;
    do {
        fill(&r);
        st = take_done(&r, why);
        if (st == OK && r.n > 0 && !r.slot[r.head].done)
            wait_event(&r);
    } while (st == OK && (r.n > 0 || !r.ended));
    for (uint32_t i = 0; i < job->n_slot; i++)
        scored_close(&r.slot[i]);
    mem_free(r.slot);
    return st;
}
