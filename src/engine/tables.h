/* engine/tables.h - who may look at the engine's sequences, spaces, blocks and index, and when.
 *
 *   engine thread   hold -- changes them -- let go   forward pass, logits, waits   hold ...
 *   others                                           look -- read -- looked
 *
 * B1  Held for changes only, never across a forward pass, logits or a wait: who looks waits for no step.
 * B2  Who looks lets the engine go first: however many do, and again at once, it waits for one look at most.
 *
 * Taken before the engine's `lock` where both are. Threads  any. */
#ifndef ENGINE_TABLES_H
#define ENGINE_TABLES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct tables {
    pthread_mutex_t lock;
    pthread_cond_t let_go;
    atomic_bool wanted; // by the engine thread
};

static inline void tables_open(struct tables *t)
{
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->let_go, NULL);
    atomic_init(&t->wanted, false);
}

static inline void tables_close(struct tables *t)
{
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->let_go);
}

static inline void tables_hold(struct tables *t)
{
    atomic_store(&t->wanted, true);
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->wanted, false);
}

static inline void tables_let_go(struct tables *t)
{
    pthread_mutex_unlock(&t->lock);
    pthread_cond_broadcast(&t->let_go);
}

static inline void tables_look(struct tables *t)
{
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&t->wanted))
        pthread_cond_wait(&t->let_go, &t->lock);
}

static inline void tables_looked(struct tables *t)
{
    pthread_mutex_unlock(&t->lock);
}

#endif
