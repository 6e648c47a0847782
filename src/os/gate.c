#include "os/gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 4000 }; // a pause is 40 to 140 cycles: this is 50 to 200 us, several wake-ups' worth

/* Sequential consistency orders it behind the change: G1. */
static void wake(struct gate *g)
{
    if (atomic_load(&g->asleep) && atomic_exchange(&g->asleep, 0))
        syscall(SYS_futex, &g->word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

uint32_t gate_count_up(struct gate *g)
{
    const uint32_t now = atomic_fetch_add(&g->word, 1) + 1;
    wake(g);
    return now;
}

uint32_t gate_count_down(struct gate *g)
{
    const uint32_t now = atomic_fetch_sub(&g->word, 1) - 1;
    if (now == 0)
        wake(g);
    return now;
}

uint32_t gate_wait_while(struct gate *g, uint32_t value)
{
    uint32_t now;
    for (uint32_t i = 0; i < SPINS; i++) {
        if ((now = gate_read(g)) != value)
            return now;
        __builtin_ia32_pause();
    }
    do {
        atomic_store(&g->asleep, 1);
        if (atomic_load(&g->word) == value)
            syscall(SYS_futex, &g->word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    } while ((now = gate_read(g)) == value);
    return now;
}

void gate_wait_zero(struct gate *g)
{
    for (uint32_t left = gate_read(g); left != 0;)
        left = gate_wait_while(g, left);
}
