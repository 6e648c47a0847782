/* What callers leave for an engine: requests, and that some are wanted no more. */
#include <stdatomic.h>
#include <time.h>

#include "engine/engine_in.h"

enum { IDLE_S = 10 };

/* ---- the engine thread ---- */

/* Ends it if somebody asked for that, or its time is over. False: it goes on. */
static bool finish_due(struct engine *e, struct sequence *s, uint64_t now)
{
    if (!s->canceled && now < s->deadline_ns)
        return false;
    if (s->space)
        engine_stop_running(e, s);
    if (s->canceled)
        engine_finish(e, s, AKV_STOP_CANCELED, CANCELED, "the request was canceled");
    else
        engine_finish(e, s, AKV_STOP_TIME, OK, "");
    return true;
}

static void finish_all_due(struct engine *e)
{
    const uint64_t now = engine_now(e);
    for (uint32_t i = 0; i < e->n_running;)
        i += !finish_due(e, e->running[i], now);
    for (uint32_t n = e->waiting.n; n > 0; n--) {
        struct sequence *s = queue_pop(&e->waiting);
        if (!finish_due(e, s, now))
            queue_push(&e->waiting, s);
    }
}

static bool has_work(const struct engine *e)
{
    return e->quit || e->inbox.first || e->cancel_asked || e->n_running > 0 || e->waiting.first;
}

/* Under the lock. What lies free goes back to the system behind a while without anything to do. */
static void wait_for_work(struct engine *e)
{
    struct timespec until;
    int error = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    while (!has_work(e) && !error)
        error = pthread_cond_clockwait(&e->work, &e->lock, CLOCK_MONOTONIC, &until);
    if (has_work(e))
        return;
    pthread_mutex_unlock(&e->lock);
    kv_spaces_collect(e->spaces);
    kv_pool_trim(e->pool, SIZE_MAX);
    engine_publish(e, 0);
    pthread_mutex_lock(&e->lock);
    while (!has_work(e))
        pthread_cond_wait(&e->work, &e->lock);
}

bool engine_drain(struct engine *e)
{
    struct queue came;
    queue_open(&came);
    pthread_mutex_lock(&e->lock);
    wait_for_work(e);
    for (struct sequence *s; (s = queue_pop(&e->inbox));)
        queue_push(&came, s);
    const bool quit = e->quit;
    e->cancel_asked = false;
    pthread_mutex_unlock(&e->lock);
    tables_hold(&e->tables);
    for (struct sequence *s; (s = queue_pop(&came));)
        queue_push(&e->waiting, s);
    finish_all_due(e);
    tables_let_go(&e->tables);
    outbox_post(&e->outbox, &e->told);
    return !quit;
}

/* ---- callers ---- */

/* Their sequences, in that order; without an error all of them. */
static enum status make_all(struct queue *out, const struct engine *e, const struct akv_request *r,
                            uint32_t n, struct note *why)
{
    enum status st = model_check(e->model, why);
    queue_open(out);
    for (uint32_t i = 0; i < n && st == OK; i++) {
        struct sequence *s;
        st = sequence_new(&s, &r[i], &e->frame, why);
        if (st == OK)
            queue_push(out, s);
    }
    return st;
}

static void free_all(struct queue *q)
{
    for (struct sequence *s; (s = queue_pop(q));)
        sequence_free(s);
}

/* Under the lock. */
static enum status check_room(const struct engine *e, uint32_t n, struct note *why)
{
    if (n <= e->n_inside_max - e->n_inside)
        return OK;
    note_set(why,
             "%u requests run or wait already, and the limit is %u: there is no room for %u more; "
             "try again when some are done",
             e->n_inside, e->n_inside_max, n);
    return FULL;
}

/* Under the lock. */
static void enter(struct engine *e, struct sequence *s, const struct akv_request *r, uint64_t *id)
{
    s->id = ++e->next_id;
    s->submit_ns = engine_now(e);
    s->deadline_ns =
        r->time_limit_ms ? s->submit_ns + r->time_limit_ms * UINT64_C(1000000) : UINT64_MAX;
    *id = s->id;
    e->inside[e->n_inside++] = s;
    queue_push(&e->inbox, s);
}

enum status engine_submit(struct engine *e, const struct akv_request *r, uint32_t n, uint64_t *id,
                          struct note *why)
{
    struct queue made;
    enum status st = make_all(&made, e, r, n, why);
    if (st == OK) {
        pthread_mutex_lock(&e->lock);
        st = check_room(e, n, why);
        for (uint32_t i = 0; i < n && st == OK; i++)
            enter(e, queue_pop(&made), &r[i], &id[i]);
        pthread_cond_signal(&e->work);
        pthread_mutex_unlock(&e->lock);
    }
    free_all(&made); /* none where they entered */
    return st;
}

bool engine_submit_is_long(const struct engine *e, const struct akv_request *r)
{
    struct kv_choice choice = e->limits.policy;
    struct note why;
    const bool known = !r->kv_policy || kv_choice_parse(&choice, r->kv_policy, &why) == OK;
    return known && choice.policy->replay == KV_REPLAY_EPISODE;
}

void engine_cancel(struct engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->n_inside; i++) {
        if (e->inside[i]->id == id) {
            atomic_store(&e->inside[i]->canceled, true);
            e->cancel_asked = true;
            pthread_cond_signal(&e->work);
        }
    }
    pthread_mutex_unlock(&e->lock);
}

struct outbox_event *engine_take_event(struct engine *e, int timeout_ms)
{
    return outbox_take(&e->outbox, timeout_ms);
}

void engine_give_event(struct engine *e, struct outbox_event *event)
{
    outbox_give_back(&e->outbox, event);
}
