#include "bin/bench_test.h"

#include <stdbool.h>
#include <stdio.h>

#include "bin/progress.h"
#include "kv/policy.h"

uint32_t bench_test_ids(const struct bench_test *t)
{
    return t->depth + t->n_prompt + t->n_gen + 2 + t->n_seq;
}

static enum status submit(akv_engine *engine, const struct akv_request *r, struct note *why)
{
    struct akv_note inner = { "" };
    uint64_t id;
    enum akv_status st = akv_submit(engine, r, &id, &inner);
    if (st != AKV_OK)
        note_set(why, "%s", inner.text);
    return (enum status)st;
}

/* Until n requests are done; all of them, whatever becomes of one. */
static enum status wait_for(akv_engine *engine, uint32_t n, struct akv_usage *out, struct note *why)
{
    enum status st = OK;
    struct akv_event event;
    while (n > 0) {
        if (akv_next_event(engine, &event, -1) != AKV_OK || event.kind != AKV_EVENT_DONE)
            continue;
        if (event.stop == AKV_STOP_ERROR) {
            note_set(why, "%s", event.message);
            st = (enum status)event.status;
        }
        out[--n] = event.usage;
    }
    return st;
}

/* The same request of each sequence; they differ from their first token on. */
static enum status ask(akv_engine *engine, const struct bench_test *t, struct akv_request r,
                       const int32_t *ids, struct akv_usage *out, struct note *why)
{
    enum status st = OK;
    uint32_t n = 0;
    for (; st == OK && n < t->n_seq; n++) {
        r.ids = ids + n;
        st = submit(engine, &r, why);
    }
    const enum status done = wait_for(engine, st == OK ? n : n - 1, out, why);
    return st == OK ? done : st;
}

static enum status check_cached(const struct bench_test *t, const struct akv_usage *usage,
                                struct note *why)
{
    for (uint32_t i = 0; i < t->n_seq; i++) {
        if (usage[i].n_cached != t->depth) {
            note_set(why, "%u positions were to be in the cache, %u were", t->depth,
                     usage[i].n_cached);
            return CORRUPT;
        }
    }
    return OK;
}

static bool drops(const char *policy)
{
    struct kv_choice c;
    struct note why;
    return policy && kv_choice_parse(&c, policy, &why) == OK && kv_choice_drops(&c);
}

static enum status run_once(akv_engine *engine, const struct bench_test *t, const int32_t *ids,
                            struct profile *profile, double *ns, struct note *why)
{
    struct akv_request r = { .n_predict = 1, .ignore_eos = true };
    struct akv_usage usage[BENCH_SEQS_MAX];
    const bool alone = t->n_seq == 1;
    enum status st = OK;
    char salt[32]; /* tests at other depths begin with the same tokens */
    snprintf(salt, sizeof salt, "depth %u", t->depth);
    r.cache_salt = salt;
    r.sampling = akv_sampling_default();
    r.sampling.temperature = 0;
    r.kv_policy = t->policy;
    r.kv_context =
        drops(t->policy) ? t->depth : 0; /* what is kept of it waits for others of the same */
    r.n_id = t->depth + (r.kv_context > 0);
    if (t->depth)
        st = ask(engine, t, r, ids, usage, why);
    r.n_id = t->depth + (t->n_prompt ? t->n_prompt : 1);
    // The first token comes with the prompt; alone it is not timed where only the others count.
    r.n_predict = alone || t->n_gen == 0 ? t->n_gen + 1 : t->n_gen;
    r.cache_no_write = true;
    const double began = clock_us();
    if (profile)
        profile->on = true;
    if (st == OK)
        st = ask(engine, t, r, ids, usage, why);
    *ns = (clock_us() - began) * 1e3;
    if (profile) {
        profile->on = false;
        profile->clock_ns += (uint64_t)*ns;
    }
    if (st == OK && alone)
        *ns = (t->n_prompt ? (double)usage[0].prompt_ns : 0) +
              (t->n_gen ? (double)usage[0].generate_ns : 0);
    return st == OK ? check_cached(t, usage, why) : st;
}

enum status bench_tests_run(akv_engine *engine, const struct bench_test *t, uint32_t n,
                            const int32_t *ids, uint32_t reps, struct profile *profile,
                            struct samples *out, struct note *why)
{
    struct progress bar;
    double ns;
    char label[64];
    snprintf(label, sizeof label, "pp%u tg%u @ d%u x %u", t->n_prompt, t->n_gen, t->depth,
             t->n_seq);
    progress_begin(&bar, label, PROGRESS_COUNT, 0, (uint64_t)(reps + 1) * n);
    enum status st = OK;
    for (uint32_t i = 0; st == OK && i < (reps + 1) * n; i++) {
        const bool warms_up = i < n;
        struct samples *own = &out[i % n];
        progress_at(&bar, i);
        if (warms_up)
            *own = (struct samples){ 0 };
        st = run_once(engine, &t[i % n], ids, warms_up ? NULL : profile, &ns, why);
        if (st == OK && !warms_up)
            samples_add(own, ns);
    }
    progress_end(&bar);
    return st;
}
