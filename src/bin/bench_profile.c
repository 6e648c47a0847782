#include "bin/bench_profile.h"

void bench_profile_add(struct buf *to, const char *test, const struct profile *p, uint32_t n_thread)
{
    const double all = (double)p->clock_ns * n_thread;
    double rest = all;
    buf_addf(to, "\nprofile of %s: %.1f ms on %u threads\n  %-14s %8s %8s\n", test,
             (double)p->clock_ns * 1e-6, n_thread, "part", "work %", "wait %");
    for (int i = 0; i < N_PROFILE; i++) {
        const double work = (double)p->work_ns[i], wait = (double)p->wait_ns[i];
        buf_addf(to, "  %-14s %8.2f %8.2f\n", profile_names[i], 100 * work / all, 100 * wait / all);
        rest -= work + wait;
    }
    buf_addf(to, "  %-14s %8.2f\n", "rest", 100 * rest / all);
}
