#include "model/profile.h"

#include <stdatomic.h>

#include "os/clock.h"

const char *const profile_names[N_PROFILE] = {
    [PROFILE_QKV] = "q, k, v",      [PROFILE_ATTN_OUT] = "attention out",
    [PROFILE_GATE_UP] = "gate, up", [PROFILE_DOWN] = "down",
    [PROFILE_OUTPUT] = "output",    [PROFILE_ATTENTION] = "attention",
    [PROFILE_ROWS] = "rows",        [PROFILE_SAMPLING] = "sampling",
};

struct timed {
    workers_fn *fn;
    void *arg;
    _Atomic uint64_t ended; // times of all parts, added up
};

static void timed_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct timed *t = arg;
    t->fn(t->arg, part, n_part);
    atomic_fetch_add_explicit(&t->ended, os_now_ns(), memory_order_relaxed);
}

void profile_run(struct profile *p, enum profile_part part, struct workers *w, workers_fn *fn,
                 void *arg)
{
    if (!p->on) {
        workers_run(w, fn, arg);
        return;
    }
    struct timed t = { .fn = fn, .arg = arg };
    const uint64_t n = workers_count(w), began = os_now_ns();
    workers_run(w, timed_part, &t);
    p->work_ns[part] += t.ended - n * began;
    p->wait_ns[part] += n * os_now_ns() - t.ended;
}

uint64_t profile_alone(const struct profile *p)
{
    return p->on ? os_now_ns() : 0;
}

void profile_alone_end(struct profile *p, enum profile_part part, const struct workers *w,
                       uint64_t began)
{
    if (!p->on)
        return;
    const uint64_t took = os_now_ns() - began;
    p->work_ns[part] += took;
    p->wait_ns[part] += took * (workers_count(w) - 1);
}
