/* engine/outbox.h - events on their way from the engine thread to whoever reads them.
 *
 *   engine thread --post--> [event, event, ...] --take--> reader        an event owns what it points to
 *         ^                                               |
 *         +--make-- [at most OUTBOX_SPARE] <--give_back---+
 *
 * B1  Nothing is lost and order is kept. post never waits; the engine waits in
 *     outbox_wait_room before a step while OUTBOX_MAX events wait.
 * B2  make allocates only where no event lies there that was given back, or where it has no room: not for each token.
 * Threads  any, a mutex inside; make: the engine thread's.
 * Lifetime  an event lives until outbox_event_free or outbox_give_back, and may outlive the outbox. */
#ifndef ENGINE_OUTBOX_H
#define ENGINE_OUTBOX_H

#include <pthread.h>
#include <stdatomic.h>

#include "akvifer.h"
#include "base/status.h"

enum { OUTBOX_MAX = 4096, OUTBOX_SPARE = 1024 };

struct outbox_event {
    struct outbox_event *next;
    struct akv_event event; // its pointers lead into `bytes` and `text`
    char *text;             // its own, or NULL
    size_t room;            // of bytes
    _Alignas(16) char bytes[];
};

/* Some events, in order, that only one thread knows of. */
struct outbox_batch {
    struct outbox_event *first, *last;
    uint32_t n;
};

struct outbox {
    pthread_mutex_t lock;
    pthread_cond_t arrived, drained;
    struct outbox_event *first, **last;
    uint32_t n;
    bool closing; // nobody reads any more: outbox_wait_room returns

    _Atomic(struct outbox_event *) given; // back by readers, the last one first
    struct outbox_event *spare;           // what make took of those: the engine thread's
    _Atomic uint32_t n_spare;             // in both
};

void outbox_open(struct outbox *o);
void outbox_close(struct outbox *o); // frees what was not read, and what was given back

/* An event with room for `extra` bytes behind it. NULL: no memory. */
must_use struct outbox_event *outbox_event_new(size_t extra);
void outbox_event_free(struct outbox_event *e);

/* The same, at best one that was given back: bytes and event are those of another then. */
must_use struct outbox_event *outbox_make(struct outbox *o, size_t extra);
/* In place of outbox_event_free. NULL is allowed. */
void outbox_give_back(struct outbox *o, struct outbox_event *e);

void outbox_add(struct outbox_batch *b, struct outbox_event *e);
/* All of the batch at once: to wake a reader costs more than to lock. Leaves it empty. */
void outbox_post(struct outbox *o, struct outbox_batch *b);
/* The oldest event, or NULL when none came within timeout_ms (-1: for ever). */
struct outbox_event *outbox_take(struct outbox *o, int timeout_ms);
/* Waits until fewer than OUTBOX_MAX events wait to be read, or outbox_quit. */
void outbox_wait_room(struct outbox *o);
void outbox_quit(struct outbox *o);

#endif
