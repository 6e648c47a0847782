#include "engine/outbox.h"

#include "base/mem.h"
#include "os/clock.h"

void outbox_open(struct outbox *o)
{
    *o = (struct outbox){ .last = &o->first };
    pthread_mutex_init(&o->lock, NULL);
    os_cond_init(&o->arrived);
    os_cond_init(&o->drained);
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

void outbox_add(struct outbox_batch *b, struct outbox_event *e)
{
    e->next = NULL;
    if (b->first)
        b->last->next = e;
    else
        b->first = e;
    b->last = e;
    b->n++;
}

void outbox_post(struct outbox *o, struct outbox_batch *b)
{
    if (b->n == 0)
        return;
    pthread_mutex_lock(&o->lock);
    *o->last = b->first;
    o->last = &b->last->next;
    o->n += b->n;
    pthread_mutex_unlock(&o->lock);
    if (b->n == 1)
        pthread_cond_signal(&o->arrived);
    else
        pthread_cond_broadcast(&o->arrived);
    *b = (struct outbox_batch){ 0 };
}

struct outbox_event *outbox_take(struct outbox *o, int timeout_ms)
{
    const uint64_t due = timeout_ms > 0 ? os_now_ns() + (uint64_t)timeout_ms * 1000000u : 0;
    pthread_mutex_lock(&o->lock);
    while (!o->first && timeout_ms != 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&o->arrived, &o->lock);
        else if (os_cond_wait_until(&o->arrived, &o->lock, due))
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
