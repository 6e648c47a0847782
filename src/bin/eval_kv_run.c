#include "bin/eval_kv_run.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "bin/score.h"

/* ---- every tail under every policy ---- */

struct under_way {
    const struct eval_run *run;
    struct eval_scores *scores; // [n_policy]
    struct ids ids;             // of the tail that comes next
    uint32_t item, n_item;      // cases of its context: the first, and behind the last
    uint32_t turn;              // of policies: full has the last
    uint32_t tail;              // that comes next
    uint32_t n_taken;
};

static uint32_t first_tail(const struct under_way *u)
{
    return u->run->cases->item[u->item].tail;
}

static uint32_t tails_end(const struct under_way *u)
{
    const struct eval_case *last = &u->run->cases->item[u->n_item - 1];
    return last->tail + last->n_tail;
}

/* The cases of the context behind those before. */
static void next_context(struct under_way *u)
{
    const struct eval_cases *cs = u->run->cases;
    u->item = u->n_item;
    while (u->n_item < cs->n_item && cs->item[u->n_item].context == cs->item[u->item].context)
        u->n_item++;
    u->turn = 0;
}

static uint32_t policy_of_turn(const struct under_way *u)
{
    return (u->turn + 1) % u->run->policies->n;
}

/* Goes to the tail that comes next, of a policy that has not failed. False: there is none. */
static bool advance(struct under_way *u)
{
    const uint32_t n_policy = u->run->policies->n;
    while (u->n_item == 0 || u->tail == tails_end(u) || u->scores[policy_of_turn(u)].status != OK) {
        if (u->n_item > 0)
            u->turn++;
        if (u->n_item == 0 || u->turn == n_policy) {
            if (u->n_item == u->run->cases->n_item)
                return false;
            next_context(u);
        }
        u->tail = first_tail(u);
    }
    return true;
}

static enum status next_tail(void *arg, struct score_ids *out, struct note *why)
{
    struct under_way *u = arg;
    const struct eval_cases *cs = u->run->cases;
    if (!advance(u))
        return NOT_FOUND;
    const struct eval_context *context = &cs->context[cs->item[u->item].context];
    const struct eval_tail *tail = &cs->tail[u->tail];
    const uint32_t policy = policy_of_turn(u);
    u->ids.n = 0;
    ids_add_all(&u->ids, cs->ids.id + context->at, context->n);
    ids_add_all(&u->ids, cs->ids.id + tail->at, tail->n);
    *out = (struct score_ids){
        .id = u->ids.id,
        .n = (uint32_t)u->ids.n,
        .label = (uint64_t)policy * cs->n_tail + u->tail++,
        .policy = u->run->policies->policy[policy].text,
        .n_context = context->n,
        .n_question = tail->n_given,
        .compare = true,
    };
    if (!u->ids.failed)
        return OK;
    note_set(why, "no memory for %u tokens", context->n + tail->n);
    return FULL;
}

/* The log-probability of a token stands in the row before it. */
static void add_tail(struct eval_scores *to, const struct eval_tail *tail, uint32_t n_top,
                     const struct scored *s)
{
    const uint32_t n = tail->n - tail->n_given, first = s->n_context + tail->n_given - 1;
    memcpy(to->logprob + tail->score, s->next + first, n * sizeof *s->next);
    if (n_top)
        memcpy(to->top + tail->score * n_top, s->top + (size_t)first * n_top,
               (size_t)n * n_top * sizeof *s->top);
    to->n_kept += (double)s->usage.n_kept - (double)(s->n - s->n_context); // that all stays
    to->n_context += (double)s->n_context;
    to->n_read += (double)s->usage.n_read;
    to->n_there += (double)s->usage.n_there;
    if (s->usage.kv_bytes_peak > to->kv_bytes_peak)
        to->kv_bytes_peak = s->usage.kv_bytes_peak;
}

static enum status take_tail(void *arg, const struct scored *s, struct note *why)
{
    struct under_way *u = arg;
    const struct eval_cases *cs = u->run->cases;
    struct eval_scores *to = &u->scores[s->label / cs->n_tail];
    (void)why;
    progress_at(u->run->bar, ++u->n_taken);
    if (to->status != OK)
        return OK;
    if (s->status == OK) {
        add_tail(to, &cs->tail[s->label % cs->n_tail], u->run->task->n_top, s);
    } else {
        to->status = s->status;
        to->why = s->why;
    }
    return OK;
}

static enum status scores_open(struct eval_scores *s, const struct eval_run *run, struct note *why)
{
    const struct eval_cases *cs = run->cases;
    s->logprob = mem_new(cs->n_scored, sizeof *s->logprob);
    s->top = mem_new(cs->n_scored * run->task->n_top, sizeof *s->top);
    if (s->logprob && s->top)
        return OK;
    note_set(why, "no memory for the scores of %zu tokens", cs->n_scored);
    return FULL;
}

enum status eval_run_all(struct eval_scores *s, const struct eval_run *run, struct note *why)
{
    struct under_way u = { .run = run, .scores = s };
    const struct score_job job = {
        .next = next_tail,
        .take = take_tail,
        .arg = &u,
        .n_top = run->task->n_top,
        .n_slot = run->n_slot,
    };
    enum status st = OK;
    for (uint32_t i = 0; st == OK && i < run->policies->n; i++)
        st = scores_open(&s[i], run, why);
    if (st == OK)
        st = score_all(run->engine, &job, why);
    ids_close(&u.ids);
    return st;
}

void eval_scores_close(struct eval_scores *s)
{
    mem_free(s->logprob);
    mem_free(s->top);
    *s = (struct eval_scores){ 0 };
}

/* ---- values ---- */

enum { TAILS_MAX = 16 };

static struct eval_score score_of(const struct eval_run *run, const struct eval_tail *tail,
                                  const struct eval_scores *s)
{
    const uint32_t n_top = run->task->n_top;
    return (struct eval_score){
        .n = tail->n - tail->n_given,
        .id = run->cases->ids.id + tail->at + tail->n_given,
        .logprob = s->logprob + tail->score,
        .top = s->top + tail->score * n_top,
        .n_top = n_top,
    };
}

void eval_run_values(double *value, const struct eval_run *run, const struct eval_scores *s,
                     const struct eval_scores *full)
{
    const struct eval_cases *cs = run->cases;
    struct eval_score tail[TAILS_MAX], full_tail[TAILS_MAX];
    for (uint32_t i = 0; i < cs->n_item; i++) {
        const struct eval_case *c = &cs->item[i];
        double of_case[EVAL_MEASURES] = { 0 };
        assert(c->n_tail > 0 && c->n_tail <= TAILS_MAX);
        for (uint32_t t = 0; t < c->n_tail; t++) {
            tail[t] = score_of(run, &cs->tail[c->tail + t], s);
            full_tail[t] = score_of(run, &cs->tail[c->tail + t], full);
        }
        const struct eval_answer answer = { c->n_tail, tail, full_tail };
        run->task->value(&answer, of_case);
        memcpy(value + (size_t)i * run->task->n_measure, of_case,
               run->task->n_measure * sizeof *value);
    }
}
