/* os/gate.h - a word that is waited on: by looking at it for a moment, then asleep.
 *
 *   who changes it:  gate_count_up, gate_count_down    wakes sleepers, where there are any
 *   who waits:       gate_wait_while, gate_wait_zero   looks for some 0.1 ms, then sleeps on a futex
 *
 * To look takes 0.06 us to notice a change, to wake up 30 us; but a busy neighbour that has the processor of who is waited for
 * must not make us burn our own for ever.
 *
 * G1  Who waits for a value that came has been woken: a change is ordered before the look at `asleep`, as a sleeper's
 *     entry there is before its last look at the word.
 * G2  What was written before a change is visible to who waited for it.
 * G3  Who finds nobody asleep makes no system call, nor does who is not kept waiting. Sleepers are woken once, not
 *     again until they have a processor.
 * Lifetime  as long as somebody may still count or wait: who counts looks for sleepers once more behind the change.
 * Threads  any. */
#ifndef OS_GATE_H
#define OS_GATE_H

#include <stdatomic.h>
#include <stdint.h>

/* All zero when it is new. */
struct gate {
    _Alignas(8) _Atomic uint32_t word; // in one cache line with `asleep`
    _Atomic uint32_t asleep;           // 1: somebody may be, and has not been woken
};

/* While nobody counts or waits. */
static inline void gate_set(struct gate *g, uint32_t value)
{
    atomic_store_explicit(&g->word, value, memory_order_relaxed);
}

static inline uint32_t gate_read(const struct gate *g)
{
    return atomic_load_explicit(&g->word, memory_order_acquire);
}

/* One more: wakes all. Answers what it is then. */
uint32_t gate_count_up(struct gate *g);
/* One less, of one or more: wakes all at zero. Answers what it is then. */
uint32_t gate_count_down(struct gate *g);

/* Waits for another value than this one, where the word only counts up. Answers what it is then. */
uint32_t gate_wait_while(struct gate *g, uint32_t value);
/* Waits for zero, where the word only counts down. */
void gate_wait_zero(struct gate *g);

#endif
