#include "bin/bench_steps.h"

#include <stdio.h>

#include "base/rng.h"
#include "bin/engine_flags.h"
#include "bin/verbs.h"

enum { N_CTX = 4096, N_PARALLEL = 16, PROMPT_MAX = 2048 };

struct steps_options {
    struct engine_flags engine;
};

static const struct flag rows[] = {
    ENGINE_FLAGS(steps_options, engine),
};

const struct flag_table flags_of_bench_steps = {
    .verb = "bench steps",
    .summary = "what of a step is not computing: planning, mapping, keeping",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = (const char *const[]){ "akvifer bench steps", NULL },
};

/* So many requests at once, whose prompts share a beginning. */
static const struct load {
    const char *name;
    uint32_t n, n_shared, n_own, n_predict;
} loads[] = {
    { "a prompt of 2,048 is read", 1, 0, PROMPT_MAX, 2 }, // behind the first a policy has judged
    { "1 answer of 200", 1, 0, 16, 200 },
    { "16 answers of 64", 16, 0, 1, 64 },
    { "8 chats, 128 + 64", 8, 0, 128, 64 },
    { "16 chats, 128 + 64", 16, 0, 128, 64 },
    { "16 of one prompt, 512 + 32 + 64", 16, 512, 32, 64 },
};

static enum status submit(akv_engine *engine, const struct load *l, uint32_t n_vocab,
                          struct rng *rng, struct note *why)
{
    int32_t ids[PROMPT_MAX];
    struct akv_note inner = { "" };
    uint64_t id;
    for (uint32_t i = 0; i < l->n_shared + l->n_own; i++)
        ids[i] = (int32_t)(i < l->n_shared ? i % n_vocab : rng_below(rng, n_vocab));
    const struct akv_request r = {
        .ids = ids,
        .n_id = l->n_shared + l->n_own,
        .n_predict = l->n_predict,
        .ignore_eos = true,
        .sampling = akv_sampling_default(),
    };
    const enum akv_status st = akv_submit(engine, &r, &id, &inner);
    if (st != AKV_OK)
        note_set(why, "%s", inner.text);
    return (enum status)st;
}

static void show(const struct load *l, const struct akv_stats *a, const struct akv_stats *b)
{
    const double n = (double)(b->n_step - a->n_step), all = (double)(b->step_ns - a->step_ns);
    const double part[] = { (double)(b->plan_ns - a->plan_ns), (double)(b->map_ns - a->map_ns),
                            (double)(b->forward_ns - a->forward_ns),
                            (double)(b->sample_ns - a->sample_ns),
                            (double)(b->keep_ns - a->keep_ns) };
    const double n_read = (double)(b->n_token_prompt - a->n_token_prompt),
                 n_said = (double)(b->n_token_generated - a->n_token_generated);
    printf("| %s | %.1f | %.1f | %.0f | %.3f |", l->name, 1e9 * (n_read + n_said) / all,
           1e9 * n_said / all, n, all / n / 1e6);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        printf(" %.3f |", 100 * part[i] / all);
    printf(" **%.3f** |\n", 100 * (part[0] + part[1] + part[4]) / all);
    fflush(stdout);
}

/* A step's figures are published behind its last event. */
static void stats_at_rest(akv_engine *engine, struct akv_stats *out)
{
    do
        akv_stats(engine, out);
    while (out->n_running > 0);
}

static enum status run(const struct engine_opened *o, const struct load *l, struct rng *rng,
                       struct note *why)
{
    struct akv_stats before, after;
    struct akv_event e;
    enum status st = OK;
    stats_at_rest(o->engine, &before);
    for (uint32_t i = 0; st == OK && i < l->n; i++)
        st = submit(o->engine, l, o->info.n_vocab, rng, why);
    for (uint32_t n_done = 0; st == OK && n_done < l->n;) {
        if (akv_next_event(o->engine, &e, -1) != AKV_OK || e.kind != AKV_EVENT_DONE)
            continue;
        n_done++;
        if (e.stop == AKV_STOP_ERROR) {
            note_set(why, "%s", e.message);
            st = (enum status)e.status;
        }
    }
    stats_at_rest(o->engine, &after);
    if (st == OK)
        show(l, &before, &after);
    return st;
}

int bench_steps(int argc, char **argv)
{
    struct steps_options o = { 0 };
    struct engine_opened opened;
    struct note why = { "" };
    int code;
    if (!flags_read(&flags_of_bench_steps, &o, argc, argv, NULL, &code))
        return code;
    o.engine.n_parallel = N_PARALLEL;
    if (o.engine.n_ctx == 0)
        o.engine.n_ctx = N_CTX;
    enum status st = engine_open(&opened, &o.engine, &why);
    if (st != OK)
        return verb_fails(&flags_of_bench_steps, &why);
    struct rng rng = rng_seeded(1, 11);
    printf("| load | tokens/s, prompts too | generated/s | steps | ms a step | plan %% | map %% | "
           "forward %% | sample %% | keep %% | "
           "plan, map "
           "and keep %% |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; st == OK && i < sizeof loads / sizeof *loads; i++)
        st = run(&opened, &loads[i], &rng, &why);
    engine_close(&opened);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_bench_steps, &why);
}
