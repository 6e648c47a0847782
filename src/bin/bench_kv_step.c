/* The real model steps as the engine makes it step, over a pool and spaces of our own. Of the calling thread:
 *
 *     [ grow: take, clear and map blocks ][ forward pass, logits ][ commit: seal, post map-ahead ]
 *       '------------- mapping ------------------------------------------ mapping -------------'
 *
 * By the clock, and in the thread's own processor time: that leaves out waiting for the mapper, and what else the
 * machine does. The mapper's work in the background is in neither; where it takes processors from the pass, the step is
 * longer. */
#include <stdio.h>

#include "base/mem.h"
#include "bin/bench_kv_in.h"
#include "bin/progress.h"
#include "bin/samples.h"

/* Steps of a prompt; of decoding, in which each sequence grows by a block. */
enum { CHUNKS = 4, STEPS = KV_BLOCK };

static const struct form forms[] = {
    { .name = "off, memory cleared when taken" },
    { .name = "on, memory cleared when taken", .map_ahead = true }, // the engine, freshly started
    { .name = "off, memory there already", .backed = true },
    { .name = "on, memory there already", .map_ahead = true, .backed = true },
    { .name = "table, memory there already", .table = true, .backed = true },
};

struct stepper {
    struct model *m;
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct kv_space *space[SEQ_MAX];
    uint32_t n_seq, n_row; // of a step; rows a sequence
    int32_t *ids;          // [n_seq * n_row], any
    struct samples step_us, map_us, step_own_us, map_own_us;
};

struct instant {
    double us, own_us;
};

static struct instant now(void)
{
    return (struct instant){ clock_us(), clock_thread_us() };
}

static void stepper_close(struct stepper *s)
{
    for (uint32_t i = 0; i < SEQ_MAX; i++)
        kv_space_free(s->space[i]);
    kv_spaces_free(s->spaces);
    kv_pool_free(s->pool);
    mem_free(s->ids);
}

/* Sequences of up to n_position positions, as the engine would hold them. */
static enum status stepper_open(struct stepper *s, const struct bench_kv_options *o,
                                const struct form *form, uint32_t n_position, struct note *why)
{
    hparams_kv_shape(&o->h, (enum kv_type)o->kv_type, &s->shape);
    const size_t bytes = s->n_seq * kv_sequence_bytes(&s->shape, n_position, s->n_row + KV_BLOCK);
    if (bytes > o->kv_ram) {
        note_set(why, "--kv-ram is %llu bytes; %u sequences of %u positions need %zu",
                 (unsigned long long)o->kv_ram, s->n_seq, n_position, bytes);
        return BAD_INPUT;
    }
    s->m = o->m;
    s->ids = mem_new((size_t)s->n_seq * s->n_row, sizeof *s->ids);
    if (!s->ids)
        return FULL;
    const struct kv_pool_config pool = { .shape = &s->shape,
                                         .bytes_max = bytes,
                                         .populate = form->backed };
    enum status st = kv_pool_new(&s->pool, &pool, why);
    if (st == OK && form->backed)
        bench_kv_await_backed(s->pool, &s->shape);
    if (st == OK)
        st = kv_spaces_new(&s->spaces,
                           &(struct kv_spaces_config){ .pool = s->pool,
                                                       .n_position_max = n_position,
                                                       .map_ahead = form->map_ahead,
                                                       .table = form->table },
                           why);
    for (uint32_t i = 0; i < s->n_seq && st == OK; i++)
        st = kv_space_new(&s->space[i], s->spaces, why);
    return st;
}

/* n_row more rows for each sequence, and the logits of their last ones. */
static void forward(struct stepper *s)
{
    struct batch_seq seq[SEQ_MAX];
    uint32_t last[SEQ_MAX];
    for (uint32_t i = 0; i < s->n_seq; i++) {
        seq[i] = (struct batch_seq){ .space = s->space[i],
                                     .first_row = i * s->n_row,
                                     .n_row = s->n_row,
                                     .position = kv_space_committed(s->space[i]) };
        last[i] = (i + 1) * s->n_row - 1;
    }
    model_forward(s->m,
                  &(struct batch){
                      .n_row = s->n_seq * s->n_row, .n_seq = s->n_seq, .id = s->ids, .seq = seq });
    for (uint32_t i = 0; i < s->n_seq; i += LOGIT_ROWS)
        model_logits(s->m, last + i, s->n_seq - i < LOGIT_ROWS ? s->n_seq - i : LOGIT_ROWS);
}

static enum status step(struct stepper *s)
{
    enum status st = OK;
    const struct instant began = now();
    for (uint32_t i = 0; i < s->n_seq && st == OK; i++)
        st = kv_space_grow(s->space[i], kv_space_committed(s->space[i]) + s->n_row);
    if (st != OK)
        return st;
    const struct instant grown = now();
    forward(s);
    const struct instant computed = now();
    for (uint32_t i = 0; i < s->n_seq; i++)
        kv_space_commit(s->space[i], kv_space_grown(s->space[i]));
    const struct instant ended = now();
    samples_add(&s->step_us, ended.us - began.us);
    samples_add(&s->map_us, grown.us - began.us + ended.us - computed.us);
    samples_add(&s->step_own_us, ended.own_us - began.own_us);
    samples_add(&s->map_own_us, grown.own_us - began.own_us + ended.own_us - computed.own_us);
    return OK;
}

static enum status steps(struct stepper *s, uint32_t n, const char *label, struct note *why)
{
    struct progress bar;
    enum status st = OK;
    progress_begin(&bar, label, PROGRESS_COUNT, 0, n);
    for (uint32_t i = 0; i < n && st == OK; i++) {
        st = step(s);
        progress_at(&bar, i + 1);
    }
    progress_end(&bar);
    if (st != OK)
        note_set(why, "the KV pool has no block left for a step");
    return st;
}

static void print_steps(const struct stepper *s, const char *name)
{
    const double step_us = samples_mean(&s->step_us), map_us = samples_mean(&s->map_us);
    const double own = samples_mean(&s->map_own_us) / samples_mean(&s->step_own_us);
    printf("    %-32s %9.2f ms %9.1f us %11.1f us %7.2f %% %7.2f %%\n", name, step_us * 1e-3,
           map_us, samples_largest(&s->map_us), 100 * map_us / step_us, 100 * own);
}

/* One prompt, CHUNKS steps of as many rows as the workspace allows. */
static enum status prefill(const struct bench_kv_options *o, const struct form *form,
                           uint32_t n_row, struct note *why)
{
    struct stepper s = { .n_seq = 1, .n_row = n_row };
    enum status st = stepper_open(&s, o, form, CHUNKS * n_row, why);
    if (st == OK)
        st = steps(&s, CHUNKS, "prefill", why);
    if (st == OK)
        print_steps(&s, form->name);
    stepper_close(&s);
    return st;
}

/* Sequences out of step with each other, a row each a step. */
static enum status decode(const struct bench_kv_options *o, const struct form *form,
                          struct note *why)
{
    struct stepper s = { .n_seq = (uint32_t)o->n_seq, .n_row = 1 };
    enum status st = stepper_open(&s, o, form, KV_BLOCK + STEPS, why);
    for (uint32_t i = 0; i < s.n_seq && st == OK; i++) {
        const uint32_t n =
            1 + i * 16 % KV_BLOCK; // rows that nobody wrote are zeros: to time, like others
        st = kv_space_grow(s.space[i], n);
        if (st == OK)
            kv_space_commit(s.space[i], n);
    }
    if (st == OK)
        st = steps(&s, STEPS, "decode", why);
    if (st == OK)
        print_steps(&s, form->name);
    stepper_close(&s);
    return st;
}

enum status bench_kv_steps(const struct bench_kv_options *o, struct note *why)
{
    enum { WORKSPACE = 40 << 20, WARM = 64 };
    const uint32_t n_row = o->n_ubatch ? (uint32_t)o->n_ubatch : model_rows_for(o->m, WORKSPACE);
    struct stepper warm = { .n_seq = 1, .n_row = WARM };
    enum status st =
        model_reserve(o->m, n_row > (uint32_t)o->n_seq ? n_row : (uint32_t)o->n_seq, why);
    if (st == OK)
        st = stepper_open(&warm, o, &forms[0], WARM, why);
    if (st == OK)
        st = step(&warm);
    stepper_close(&warm);
    printf(
        "\nSteps of the model, %u threads            a step      mapping     the dearest   of time "
        "of processor\n",
        model_n_thread(o->m));
    printf("  prefill, %u tokens a step; map-ahead\n", n_row);
    for (size_t f = 0; f < sizeof forms / sizeof *forms && st == OK; f++)
        st = prefill(o, &forms[f], n_row, why);
    printf("  decode, %u sequences; map-ahead\n", (uint32_t)o->n_seq);
    for (size_t f = 0; f < sizeof forms / sizeof *forms && st == OK; f++)
        st = decode(o, &forms[f], why);
    return st;
}
