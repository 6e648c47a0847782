#include "bin/bench_stream.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bin/engine_flags.h"
#include "bin/verbs.h"
#include "os/clock.h"

enum { TOKENS_MAX = 1 << 16, STREAM_MORE = 2048 };

struct stream_options {
    struct engine_flags engine;
    int64_t n_gen, n_prompt, n_answered, pause_ms;
};

static const struct flag rows[] = {
    ENGINE_FLAGS(stream_options, engine),
    { .names = "-n --n-gen",
      .type = FLAG_INT,
      .at = FLAG_AT(stream_options, n_gen),
      .unit = "N",
      .preset = "400",
      .least = 2,
      .most = TOKENS_MAX,
      .help = "Tokens of the stream, at least." },
    { .names = "-p --n-prompt",
      .type = FLAG_INT,
      .at = FLAG_AT(stream_options, n_prompt),
      .unit = "N",
      .preset = "2048",
      .least = 1,
      .most = 1 << 20,
      .help = "Tokens of each prompt beside it." },
    { .names = "--prompts",
      .type = FLAG_INT,
      .at = FLAG_AT(stream_options, n_answered),
      .unit = "N",
      .preset = "2",
      .least = 0,
      .most = 1000,
      .help = "It goes on until so many prompts were answered beside it, or its context is full." },
    { .names = "--pause",
      .type = FLAG_INT,
      .at = FLAG_AT(stream_options, pause_ms),
      .unit = "MS",
      .preset = "0",
      .least = 0,
      .most = 1 << 20,
      .help = "Milliseconds from a prompt's answer to the next prompt." },
};

const struct flag_table flags_of_bench_stream = {
    .verb = "bench stream",
    .summary = "how evenly answers stream while long prompts arrive",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples =
        (const char *const[]){ "akvifer bench stream", "akvifer bench stream --pause 2000", NULL },
};

/* ---- times ---- */

struct times {
    double *ms; // [TOKENS_MAX]
    uint32_t n;
};

static void times_add(struct times *t, uint64_t ns)
{
    if (t->n < TOKENS_MAX)
        t->ms[t->n++] = (double)ns * 1e-6;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The time that a share q is not above, of sorted ones. */
static double times_at(const struct times *t, double q)
{
    return t->n ? t->ms[(uint32_t)(q * (t->n - 1) + 0.5)] : 0;
}

/* ---- one run ---- */

struct bench {
    const struct stream_options *o;
    akv_engine *engine;
    uint32_t n_vocab;
    struct rng rng;
    int32_t *ids; // [n_prompt]
    struct times between, first;
    double rows; // of prompts a step, on the average
};

/* Ids that nothing kept begins with. */
static enum status submit(struct bench *b, uint32_t n_id, uint32_t n_predict, void *user,
                          uint64_t *id, struct note *why)
{
    struct akv_note inner = { "" };
    for (uint32_t i = 0; i < n_id; i++)
        b->ids[i] = (int32_t)rng_below(&b->rng, b->n_vocab);
    struct akv_request r = {
        .ids = b->ids,
        .n_id = n_id,
        .n_predict = n_predict,
        .ignore_eos = true,
        .cache_no_read = true,
        .cache_no_write = true,
        .sampling = akv_sampling_default(),
        .user = user,
    };
    const enum akv_status st = akv_submit(b->engine, &r, id, &inner);
    if (st != AKV_OK)
        note_set(why, "%s", inner.text);
    return (enum status)st;
}

/* The stream from its first token to its last, with prompts beside it or without. */
static enum status run(struct bench *b, bool beside, struct note *why)
{
    uint64_t last = 0, asked = 0, next = 0, stream_id, prompt_id;
    struct akv_stats begin, end;
    bool reading = false, streaming = true;
    int stream, prompt; // whose events they are
    b->between.n = b->first.n = 0;
    akv_stats(b->engine, &begin);
    enum status st = submit(b, 1, UINT32_MAX, &stream, &stream_id, why);
    while (st == OK && (streaming || reading)) {
        struct akv_event e;
        const uint64_t before = os_now_ns();
        if (beside && last && streaming && !reading && before >= next) {
            st = submit(b, (uint32_t)b->o->n_prompt, 1, &prompt, &prompt_id, why);
            asked = before;
            reading = true;
            continue;
        }
        if (akv_next_event(b->engine, &e, 1) != AKV_OK)
            continue;
        const uint64_t now = os_now_ns();
        if (e.user == &stream && e.kind == AKV_EVENT_TOKEN) {
            if (last)
                times_add(&b->between, now - last);
            last = now;
        } else if (e.user == &prompt && e.kind == AKV_EVENT_TOKEN && streaming) {
            times_add(&b->first, now - asked);
        }
        if (streaming && b->between.n >= (uint32_t)b->o->n_gen &&
            (!beside || b->first.n >= (uint32_t)b->o->n_answered)) {
            akv_cancel(b->engine, stream_id);
            if (reading)
                akv_cancel(b->engine, prompt_id);
        }
        if (e.kind == AKV_EVENT_DONE) {
            *(e.user == &stream ? &streaming : &reading) = false;
            next = now + (uint64_t)b->o->pause_ms * 1000000;
            if (e.stop == AKV_STOP_ERROR) {
                note_set(why, "%s", e.message);
                st = (enum status)e.status;
            }
        }
    }
    akv_stats(b->engine, &end);
    const double n_step = (double)(end.n_step - begin.n_step);
    b->rows = n_step > 0 ? (double)(end.n_row - begin.n_row) / n_step - 1 : 0;
    qsort(b->between.ms, b->between.n, sizeof *b->between.ms, ascending);
    qsort(b->first.ms, b->first.n, sizeof *b->first.ms, ascending);
    return st;
}

static void show(const struct bench *b, const char *what)
{
    const double median = times_at(&b->between, 0.5), late = times_at(&b->between, 0.99);
    printf("| %s | %.2f | %.2f | %.2f | %.2f | ", what, median, late, late / median,
           times_at(&b->between, 1));
    if (b->first.n)
        printf("%u | %.1f | %.0f |\n", b->first.n, b->rows, times_at(&b->first, 0.5));
    else
        printf("| | |\n");
    fflush(stdout);
}

static enum status run_engine(struct bench *b, double stretch, struct note *why)
{
    struct engine_flags flags = b->o->engine;
    struct engine_opened opened;
    char what[64];
    flags.step_stretch = stretch;
    flags.n_parallel = 4;
    if (flags.n_ctx == 0)
        flags.n_ctx = (b->o->n_prompt > b->o->n_gen ? b->o->n_prompt : b->o->n_gen) + STREAM_MORE;
    enum status st = engine_open(&opened, &flags, why);
    if (st != OK)
        return st;
    b->engine = opened.engine;
    b->n_vocab = opened.info.n_vocab;
    b->rng = rng_seeded(1, 9);
    st = run(b, false, why);
    if (st == OK) {
        show(b, "alone");
        st = run(b, true, why);
    }
    if (stretch > 0)
        snprintf(what, sizeof what, "prompts beside, --step-stretch %g", stretch);
    else
        snprintf(what, sizeof what, "prompts beside, no bound");
    if (st == OK)
        show(b, what);
    engine_close(&opened);
    return st;
}

int bench_stream(int argc, char **argv)
{
    struct stream_options o = { 0 };
    struct bench b = { .o = &o };
    struct note why = { "" };
    int code;
    if (!flags_read(&flags_of_bench_stream, &o, argc, argv, NULL, &code))
        return code;
    enum status st = FULL;
    b.ids = mem_new((size_t)o.n_prompt, sizeof *b.ids);
    b.between.ms = mem_new(TOKENS_MAX, sizeof *b.between.ms);
    b.first.ms = mem_new(TOKENS_MAX, sizeof *b.first.ms);
    if (!b.ids || !b.between.ms || !b.first.ms) {
        note_set(&why, "no memory for the times of %d tokens", TOKENS_MAX);
        goto done;
    }
    printf(
        "Milliseconds between two tokens of a stream of %lld, prompts of %lld tokens beside it, "
        "%lld ms from one's answer to the next:\n\n"
        "| | median | p99 | p99 / median | longest | prompts | rows of them a step | their first "
        "token |\n"
        "|---|---|---|---|---|---|---|---|\n",
        (long long)o.n_gen, (long long)o.n_prompt, (long long)o.pause_ms);
    st = run_engine(&b, o.engine.step_stretch, &why);
    if (st == OK && o.engine.step_stretch > 0) {
        o.engine.quiet = true;
        st = run_engine(&b, -1, &why);
    }
done:
    mem_free(b.ids);
    mem_free(b.between.ms);
    mem_free(b.first.ms);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_bench_stream, &why);
}
