#include "engine/outbox.h"

#include "base/mem.h"
#include "os/clock.h"

/* Bytes that a token's event has room for: the most alternatives that can be asked for, and a piece of text. */
enum { ROOM = 64 * sizeof(struct akv_logprob) + 128 };

void outbox_open(struct outbox *o)
{
    *o = (struct outbox){ .last = &o->first };
    pthread_mutex_init(&o->lock, NULL);
    os_cond_init(&o->arrived);
    os_cond_init(&o->drained);
}

static void free_all(struct outbox_event *e)
{
    while (e) {
        struct outbox_event *next = e->next;
        outbox_event_free(e);
        e = next;
    }
}

void outbox_close(struct outbox *o)
{
    free_all(o->first);
    free_all(o->spare);
    free_all(o->given);
    pthread_cond_destroy(&o->arrived);
    pthread_cond_destroy(&o->drained);
    pthread_mutex_destroy(&o->lock);
}

struct outbox_event *outbox_event_new(size_t extra)
{
    struct outbox_event *e = mem_new_aligned(1, sizeof *e + extra, 16);
    if (e)
        e->room = extra;
    return e;
}

void outbox_event_free(struct outbox_event *e)
{
    if (!e)
        return;
    mem_free(e->text);
    mem_free(e);
}

/* ---- events that come back ---- */

struct outbox_event *outbox_make(struct outbox *o, size_t extra)
{
    if (extra > ROOM)
        return outbox_event_new(extra);
    if (!o->spare)
        o->spare = atomic_exchange_explicit(&o->given, NULL, memory_order_acquire);
    struct outbox_event *e = o->spare;
    if (!e)
        return outbox_event_new(ROOM);
    o->spare = e->next;
    atomic_fetch_sub_explicit(&o->n_spare, 1, memory_order_relaxed);
    return e;
}

static bool has_place(struct outbox *o)
{
    if (atomic_fetch_add_explicit(&o->n_spare, 1, memory_order_relaxed) < OUTBOX_SPARE)
        return true;
    atomic_fetch_sub_explicit(&o->n_spare, 1, memory_order_relaxed);
    return false;
}

void outbox_give_back(struct outbox *o, struct outbox_event *e)
{
    if (!e || e->text || e->room != ROOM || !has_place(o)) {
        outbox_event_free(e);
        return;
    }
    /* Who takes takes all: no event comes back to this list while somebody looks at its first. */
    e->next = atomic_load_explicit(&o->given, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&o->given, &e->next, e, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

/* ---- the way to the reader ---- */

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
