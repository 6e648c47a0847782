#include "bin/bench_profile.h"

#include "os/clock.h"

/* Cycles a nanosecond: a multiplication takes three of them on every processor that has these kernels, and each waits
 * for the one before. The best of some, as others may have the processor. */
static double clock_ghz(void)
{
    enum { TIMES = 20, CHAIN = 100000, LATENCY = 3 };
    uint64_t x = 3, factor = 3, least = UINT64_MAX;
    __asm__ volatile("" : "+r"(factor)); /* no sum of shifts */
    for (int i = 0; i < TIMES; i++) {
        const uint64_t began = os_now_ns();
        for (int j = 0; j < CHAIN; j++) {
            x *= factor;
            __asm__ volatile("" : "+r"(x)); /* not a power of 3, worked out */
        }
        const uint64_t took = os_now_ns() - began;
        least = took < least ? took : least;
    }
    return (double)CHAIN * LATENCY / (double)least;
}

void bench_profile_add(struct buf *to, const char *test, const struct profile *p, uint32_t n_thread)
{
    const double all = (double)p->clock_ns * n_thread, ghz = clock_ghz();
    const double kcycles = 1e-3 * ghz / (double)(p->n_pass ? p->n_pass : 1);
    double rest = all;
    buf_addf(to,
             "\nprofile of %s: %llu steps, %.1f ms on %u threads at %.2f GHz; thousands of cycles "
             "a step\n"
             "  %-14s %8s %8s %9s %9s\n",
             test, (unsigned long long)p->n_pass, (double)p->clock_ns * 1e-6, n_thread, ghz, "part",
             "work %", "wait %", "work", "wait");
    for (int i = 0; i < N_PROFILE; i++) {
        const double work = (double)p->work_ns[i], wait = (double)p->wait_ns[i];
        buf_addf(to, "  %-14s %8.2f %8.2f %9.0f %9.0f\n", profile_names[i], 100 * work / all,
                 100 * wait / all, work * kcycles, wait * kcycles);
        rest -= work + wait;
    }
    buf_addf(to, "  %-14s %8.2f %8s %9.0f\n", "rest", 100 * rest / all, "", rest * kcycles);
}
