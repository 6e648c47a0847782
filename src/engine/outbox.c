#include "engine/outbox.h"

#include <time.h>

#include "base/mem.h"

void outbox_open(struct outbox *o)
{
    pthread_condattr_t attr;
    *o = (struct outbox){ .last = &o->first };
    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&o->arrived, &attr);
    pthread_cond_init(&o->drained, &attr);
    pthread_condattr_destroy(&attr);
}

void outbox_close(struct outbox *o)
{
    while (o->first) {
        struct outbox_event *e = o->first;
        o->first = e->next;
        outbox_event_free(e);
    }
    pthread_cond_destroy(&o->arrived);
    pthread_cond_destroy(&o->drained);
    pthread_mutex_destroy(&o->lock);
}

struct outbox_event *outbox_event_new(size_t extra)
{
    return mem_new_aligned(1, sizeof(struct outbox_event) + extra, 16);
}

void outbox_event_free(struct outbox_event *e)
{
    if (!e)
        return;
    mem_free(e->text);
    mem_free(e);
}

void outbox_post(struct outbox *o, struct outbox_event *e)
{
    e->next = NULL;
    pthread_mutex_lock(&o->lock);
    *o->last = e;
    o->last = &e->next;
    o->n++;
    pthread_cond_signal(&o->arrived);
    pthread_mutex_unlock(&o->lock);
}

static struct timespec deadline_in(int timeout_ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

struct outbox_event *outbox_take(struct outbox *o, int timeout_ms)
{
    struct timespec until = deadline_in(timeout_ms > 0 ? timeout_ms : 0);
    pthread_mutex_lock(&o->lock);
    while (!o->first && timeout_ms != 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&o->arrived, &o->lock);
        else if (pthread_cond_timedwait(&o->arrived, &o->lock, &until))
            break;
    }
    struct outbox_event *e = o->first;
    if (e) {
        o->first = e->next;
        if (!o->first)
            o->last = &o->first;
        if (o->n-- == OUTBOX_MAX)
            pthread_cond_signal(&o->drained);
    }
    pthread_mutex_unlock(&o->lock);
    return e;
}

void outbox_wait_room(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    while (o->n >= OUTBOX_MAX && !o->closing)
        pthread_cond_wait(&o->drained, &o->lock);
    pthread_mutex_unlock(&o->lock);
}

void outbox_quit(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    o->closing = true;
    pthread_cond_broadcast(&o->drained);
    pthread_mutex_unlock(&o->lock);
}
