/* os/clock.h - the one clock that deadlines and measurements read: monotonic, nobody sets it.
 *
 * Threads  any.  Cost  24 ns a read. */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t os_clock_read(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t os_now_ns(void)
{
    return os_clock_read(CLOCK_MONOTONIC);
}

/* Processor time of the calling thread. */
static inline uint64_t os_thread_ns(void)
{
    return os_clock_read(CLOCK_THREAD_CPUTIME_ID);
}

/* A condition whose os_cond_wait_until goes by this clock. */
static inline void os_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

/* 0, or ETIMEDOUT once os_now_ns() is due_ns. */
static inline int os_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *lock, uint64_t due_ns)
{
    const struct timespec due = { (time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u) };
    return pthread_cond_timedwait(c, lock, &due);
}

#endif
