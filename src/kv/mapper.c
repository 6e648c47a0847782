#include "kv/mapper.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"
#include "os/clock.h"
#include "os/vm.h"

/* What the system still refuses after so many pauses will not be granted soon. */
enum { REFUSALS_MAX = 8, REFUSED_PAUSE_NS = 1000000 };

struct queue {
    struct map_job *first, *last;
};

struct mapper {
    struct kv_pool *pool;
    pthread_t thread;
    pthread_mutex_t lock; // everything below, and `next`, `state`, `result` of posted jobs
    pthread_cond_t work, progress;
    struct queue ahead, away, done;
    uint32_t n_refused; // unmap jobs in a row
    bool runs, busy, stop;
};

static void push(struct queue *q, struct map_job *job)
{
    job->next = NULL;
    if (q->first)
        q->last->next = job;
    else
        q->first = job;
    q->last = job;
}

static struct map_job *pop(struct queue *q)
{
    struct map_job *job = q->first;
    if (job)
        q->first = job->next;
    return job;
}

static void unlink_job(struct queue *q, struct map_job *job)
{
    struct map_job *before = NULL;
    for (struct map_job *j = q->first; j != job; j = j->next)
        before = j;
    if (before)
        before->next = job->next;
    else
        q->first = job->next;
    if (q->last == job)
        q->last = before;
}

enum status map_piece(struct kv_pool *pool, const struct map_piece *piece, enum vm_access access)
{
    int fd;
    uint64_t offset;
    kv_pool_file(pool, piece->block, &fd, &offset);
    return vm_map(piece->at, piece->bytes, fd, offset, access, access == VM_WRITE);
}

static enum status run_ahead(struct kv_pool *pool, const struct map_job *job)
{
    enum status st = OK;
    for (uint32_t i = 0; i < job->n_piece && st == OK; i++) {
        const struct map_piece *piece = &job->piece[i];
        for (uint32_t k = 0; k < piece->to - piece->from && st == OK; k++)
            st = kv_pool_back(pool, (block_id){ piece->block.n + k });
        if (st == OK)
            st = map_piece(pool, piece, VM_WRITE);
    }
    return st;
}

static enum status run_away(const struct map_job *job)
{
    enum status st = OK;
    for (uint32_t i = 0; i < job->n_piece && st == OK; i++)
        st = vm_unmap(job->piece[i].at,
                      job->piece[i].bytes); // again is harmless, should a later one be refused
    return st;
}

/* The system has no room for one more mapping, so it takes none away either (a split comes first):
 * others may free some meanwhile. */
static void pause_refused(struct mapper *m)
{
    os_cond_wait_until(&m->work, &m->lock, os_now_ns() + REFUSED_PAUSE_NS);
}

static void finish(struct mapper *m, struct map_job *job, enum status st)
{
    job->result = st;
    job->state = MAP_DONE;
    push(&m->done, job);
    pthread_cond_broadcast(&m->progress);
}

static void run_job(struct mapper *m, struct map_job *job)
{
    job->state = MAP_RUNNING;
    m->busy = true;
    pthread_mutex_unlock(&m->lock);
    enum status st = job->kind == MAP_AHEAD ? run_ahead(m->pool, job) : run_away(job);
    pthread_mutex_lock(&m->lock);
    m->busy = false;
    if (job->kind == MAP_AWAY && st != OK) {
        job->state = MAP_QUEUED;
        push(&m->away, job);
        m->n_refused++;
        pthread_cond_broadcast(&m->progress); // M3, and who recalls it
        pause_refused(m);
        return;
    }
    if (job->kind == MAP_AWAY)
        m->n_refused = 0;
    finish(m, job, st);
}

static void *mapper_main(void *arg)
{
    struct mapper *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->stop) {
        struct map_job *job = pop(m->ahead.first ? &m->ahead : &m->away);
        if (job)
            run_job(m, job);
        else
            pthread_cond_wait(&m->work, &m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

enum status mapper_new(struct mapper **out, struct kv_pool *pool, struct note *why)
{
    struct mapper *m = mem_new(1, sizeof *m);
    if (!m) {
        note_set(why, "no memory for the KV mapper");
        return FULL;
    }
    m->pool = pool;
    pthread_mutex_init(&m->lock, NULL);
    os_cond_init(&m->work);
    pthread_cond_init(&m->progress, NULL);
    m->runs = pthread_create(&m->thread, NULL, mapper_main, m) == 0;
    if (!m->runs) {
        note_set(why, "cannot start the KV mapper's thread: too many threads?");
        mapper_free(m);
        return FULL;
    }
    *out = m;
    return OK;
}

void mapper_free(struct mapper *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    assert(!m->ahead.first && !m->away.first);
    m->stop = true;
    pthread_cond_signal(&m->work);
    pthread_mutex_unlock(&m->lock);
    if (m->runs)
        pthread_join(m->thread, NULL);
    pthread_cond_destroy(&m->progress);
    pthread_cond_destroy(&m->work);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

void mapper_post(struct mapper *m, struct map_job *job)
{
    pthread_mutex_lock(&m->lock);
    assert(job->state == MAP_IDLE && !job->posted);
    job->posted = true;
    job->state = MAP_QUEUED;
    push(job->kind == MAP_AHEAD ? &m->ahead : &m->away, job);
    pthread_cond_signal(&m->work);
    pthread_mutex_unlock(&m->lock);
}

/* The job, if it waits in its queue, is the caller's again. */
static bool take_back(struct mapper *m, struct map_job *job)
{
    if (job->state != MAP_QUEUED)
        return false;
    unlink_job(job->kind == MAP_AHEAD ? &m->ahead : &m->away, job);
    if (!m->away.first)
        m->n_refused = 0;
    job->state = MAP_IDLE;
    job->posted = false;
    return true;
}

bool mapper_cancel(struct mapper *m, struct map_job *job)
{
    pthread_mutex_lock(&m->lock);
    bool canceled = take_back(m, job);
    pthread_mutex_unlock(&m->lock);
    return canceled;
}

bool mapper_recall(struct mapper *m, struct map_job *job)
{
    assert(job->kind == MAP_AWAY);
    pthread_mutex_lock(&m->lock);
    while (job->state == MAP_RUNNING)
        pthread_cond_wait(&m->progress, &m->lock);
    bool recalled = take_back(m, job);
    pthread_mutex_unlock(&m->lock);
    return recalled;
}

/* Whether all that is left to do was refused, again and again. */
static bool is_stuck(const struct mapper *m)
{
    return !m->ahead.first && m->n_refused >= REFUSALS_MAX;
}

bool mapper_wait(struct mapper *m, const struct map_job *job)
{
    pthread_mutex_lock(&m->lock);
    while (job->state == MAP_RUNNING ||
           (job->state == MAP_QUEUED && (job->kind == MAP_AHEAD || !is_stuck(m))))
        pthread_cond_wait(&m->progress, &m->lock);
    bool done = job->state == MAP_DONE;
    pthread_mutex_unlock(&m->lock);
    return done;
}

bool mapper_await_any(struct mapper *m)
{
    pthread_mutex_lock(&m->lock);
    while (!m->done.first && (m->busy || ((m->ahead.first || m->away.first) && !is_stuck(m))))
        pthread_cond_wait(&m->progress, &m->lock);
    bool any = m->done.first;
    pthread_mutex_unlock(&m->lock);
    return any;
}

void mapper_give_up(struct mapper *m)
{
    pthread_mutex_lock(&m->lock);
    while (m->busy)
        pthread_cond_wait(&m->progress, &m->lock);
    for (struct map_job *job; (job = pop(&m->away)) != NULL;)
        finish(m, job, OK);
    pthread_mutex_unlock(&m->lock);
}

struct map_job *mapper_collect(struct mapper *m)
{
    pthread_mutex_lock(&m->lock);
    struct map_job *job = pop(&m->done);
    if (job) {
        job->state = MAP_IDLE;
        job->posted = false;
    }
    pthread_mutex_unlock(&m->lock);
    return job;
}
