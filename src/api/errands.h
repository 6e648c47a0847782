/* api/errands.h - what a request asks that takes long, on a thread of its own: a handler must not block
 * (http/server.h).
 *
 *   HTTP thread   job_start, explain_post: where akv_submit_is_long, errands_add
 *   its thread    runs them, one after the other
 *
 * Lifetime  the api's. Threads  any may add. */
#ifndef API_ERRANDS_H
#define API_ERRANDS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/note.h"
#include "base/status.h"

/* Its owner's, until `run` begins. */
struct errand {
    void (*run)(struct errand *e);
    struct errand *next;
};

struct errands {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct errand *first, *last;
    pthread_t thread;
    bool runs, quit;
};

must_use enum status errands_open(struct errands *e, struct note *why);
/* Does what is left, and ends the thread. A zeroed one too. */
void errands_close(struct errands *e);

void errands_add(struct errands *e, struct errand *new);

#endif
