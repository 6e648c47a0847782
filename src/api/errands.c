#include "api/errands.h"

#include <string.h>
/* NULL: none is left, and none will come. */
static struct errand *take(struct errands *e)
{
    pthread_mutex_lock(&e->lock);
    while (!e->first && !e->quit)
        pthread_cond_wait(&e->some, &e->lock);
    struct errand *next = e->first;
    if (next)
        e->first = next->next;
    pthread_mutex_unlock(&e->lock);
    return next;
}

static void *errands_main(void *arg)
{
    struct errand *e;
    while ((e = take(arg)))
        e->run(e);
    return NULL;
}

enum status errands_open(struct errands *e, struct note *why)
{
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->some, NULL);
    const int error = pthread_create(&e->thread, NULL, errands_main, e);
    e->runs = error == 0;
    if (e->runs)
        return OK;
    pthread_cond_destroy(&e->some);
    pthread_mutex_destroy(&e->lock);
    note_set(why, "cannot start the thread of long submissions: %s", strerror(error));
    return FULL;
}

void errands_close(struct errands *e)
{
    if (!e->runs)
        return;
    pthread_mutex_lock(&e->lock);
    e->quit = true;
    pthread_cond_signal(&e->some);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    pthread_cond_destroy(&e->some);
    pthread_mutex_destroy(&e->lock);
    e->runs = false;
}

void errands_add(struct errands *e, struct errand *new)
{
    pthread_mutex_lock(&e->lock);
    new->next = NULL;
    if (e->first)
        e->last->next = new;
    else
        e->first = new;
    e->last = new;
    pthread_cond_signal(&e->some);
    pthread_mutex_unlock(&e->lock);
}
