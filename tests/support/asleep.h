/* support/asleep.h - whether who waits for somebody that sleeps does not compute meanwhile. */
#ifndef SUPPORT_ASLEEP_H
#define SUPPORT_ASLEEP_H

#include <time.h>

/* Who is gone sleeps for the first; who waits for it spins for some 0.2 ms of processor time, and less than the
 * second. */
enum { ASLEEP_LONG_MS = 200, ASLEEP_SPIN_MS = 20 };

/* Processor time of all threads. */
static inline double asleep_processor_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static inline void asleep_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static inline void asleep_for_long(void)
{
    asleep_ms(ASLEEP_LONG_MS);
}

#endif
