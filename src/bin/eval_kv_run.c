#include "bin/eval_kv_run.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "bin/score.h"

struct under_way {
    const struct eval_run *run;
    struct eval_scores *out;
    const char *policy;
    struct ids ids; // of the tail that comes next
    uint32_t item, tail;
};

static enum status next_tail(void *arg, struct score_ids *out, struct note *why)
{
    struct under_way *u = arg;
    const struct eval_cases *cs = u->run->cases;
    if (u->tail == cs->n_tail)
        return NOT_FOUND;
    if (u->tail == cs->item[u->item].tail + cs->item[u->item].n_tail)
        u->item++;
    const struct eval_context *context = &cs->context[cs->item[u->item].context];
    const struct eval_tail *tail = &cs->tail[u->tail];
    u->ids.n = 0;
    ids_add_all(&u->ids, cs->ids.id + context->at, context->n);
    ids_add_all(&u->ids, cs->ids.id + tail->at, tail->n);
    if (u->ids.failed) {
        note_set(why, "no memory for %u tokens", context->n + tail->n);
        return FULL;
    }
    *out = (struct score_ids){
        .id = u->ids.id,
        .n = (uint32_t)u->ids.n,
        .label = u->tail++,
        .policy = u->policy,
        .n_context = context->n,
        .n_question = tail->n_given,
    };
    return OK;
}

/* The log-probability of a token stands in the row before it. */
static enum status take_tail(void *arg, const struct scored *s, struct note *why)
{
    const struct under_way *u = arg;
    const struct eval_tail *tail = &u->run->cases->tail[s->label];
    const uint32_t n_top = u->run->task->n_top, n = tail->n - tail->n_given,
                   first = s->n_context + tail->n_given - 1;
    if (s->status != OK) {
        *why = s->why;
        return s->status;
    }
    memcpy(u->out->logprob + tail->score, s->next + first, n * sizeof *s->next);
    if (n_top)
        memcpy(u->out->top + tail->score * n_top, s->top + (size_t)first * n_top,
               (size_t)n * n_top * sizeof *s->top);
    u->out->n_kept += (double)s->usage.n_kept - (double)(s->n - s->n_context); // that all stays
    u->out->n_read += (double)s->n_context;
    if (s->usage.kv_bytes_peak > u->out->kv_bytes_peak)
        u->out->kv_bytes_peak = s->usage.kv_bytes_peak;
    progress_at(u->run->bar, s->label + 1);
    return OK;
}

enum status eval_run_policy(struct eval_scores *out, const struct eval_run *run, const char *policy,
                            struct note *why)
{
    const struct eval_cases *cs = run->cases;
    struct under_way u = { .run = run, .out = out, .policy = policy };
    const struct score_job job = {
        .next = next_tail,
        .take = take_tail,
        .arg = &u,
        .n_top = run->task->n_top,
        .n_slot = run->n_slot,
    };
    *out = (struct eval_scores){ 0 };
    out->logprob = mem_new(cs->n_scored, sizeof *out->logprob);
    out->top = mem_new(cs->n_scored * run->task->n_top, sizeof *out->top);
    enum status st = FULL;
    if (out->logprob && out->top)
        st = score_all(run->engine, &job, why);
    else
        note_set(why, "no memory for the scores of %zu tokens", cs->n_scored);
    ids_close(&u.ids);
    if (st != OK)
        eval_scores_close(out);
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
