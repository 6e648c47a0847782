#include "bin/bench_taps.h"

#include <stdio.h>

#include "base/mem.h"
#include "bin/models.h"
#include "bin/samples.h"
#include "bin/verbs.h"
#include "model/model.h"

enum { MASS_TAIL = 1 << 16, QUERIES_KEPT = 64 };

struct bench_taps_options {
    const char *model, *cpu;
    int64_t n_thread, n_prompt, n_gen, n_rep, n_ubatch;
    uint32_t kv_type;
};

#define COUNT_FLAG(name, field, n, from, to, text)                                                 \
    {                                                                                              \
        .names = name, .type = FLAG_INT, .at = FLAG_AT(bench_taps_options, field), .unit = "N",    \
        .preset = n, .least = from, .most = to, .help = text                                       \
    }

static const struct flag rows[] = {
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_taps_options, model),
      .unit = "MODEL",
      .preset = "smollm2",
      .help = "A GGUF file, or a short name." },
    { .names = "-t --threads",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_taps_options, n_thread),
      .unit = "N",
      .least = 0,
      .most = 1024,
      .shown = "all that this process may use",
      .help = "Threads that compute." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_taps_options, cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Kernels to use: auto, ref, avx2, avx512 or amx." },
    COUNT_FLAG("-p --n-prompt", n_prompt, "2048", 1, MASS_TAIL / 2, "Tokens of the prompt."),
    COUNT_FLAG("-n --n-gen", n_gen, "64", 1, MASS_TAIL / 2, "Tokens generated behind it."),
    COUNT_FLAG("-r --reps", n_rep, "5", 1, SAMPLES_MAX, "Prompts; medians are shown."),
    COUNT_FLAG("-ub --ubatch-size", n_ubatch, "512", 1, 4096, "Tokens of a prefill step."),
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(bench_taps_options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = KV_TYPE_NAMES,
      .help = "How keys and values are stored." },
};

const struct flag_table flags_of_bench_taps = {
    .verb = "bench taps",
    .summary = "what it costs to watch attention for policies",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples =
        (const char *const[]){ "akvifer bench taps", "akvifer bench taps -t 1 -p 8192", NULL },
};

/* ---- one past for each kind ---- */

enum kind { PLAIN, MASS, PEAK, QUERIES, MOMENTS, HIDDEN, N_KIND };

static const char *const kind_names[N_KIND] = {
    [PLAIN] = "nothing",           [MASS] = "mass, summed", [PEAK] = "mass, largest",
    [QUERIES] = "last 64 queries", [MOMENTS] = "moments",   [HIDDEN] = "hidden rows",
};

struct past {
    struct kv_space *space;
    struct kv_excerpt *excerpt;
    struct kv_taps taps;
};

struct world {
    const struct bench_taps_options *o;
    struct model *m;
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct past past[N_KIND];
    int32_t *ids;                                 // of a step, any
    struct samples prompt[N_KIND], token[N_KIND]; // us of each, in the same order
};

static enum status past_open(struct world *w, enum kind kind, struct note *why)
{
    const struct hparams *h = model_hparams(w->m);
    const struct kv_excerpt_config config = {
        .pool = w->pool,
        .n_position_max = (uint32_t)(w->o->n_prompt + w->o->n_gen),
        .n_tail_mass = (uint32_t)(w->o->n_prompt + w->o->n_gen),
    };
    struct past *p = &w->past[kind];
    struct kv_taps *t = &p->taps;
    enum status st = kv_space_new(&p->space, w->spaces, why);
    if (st == OK)
        st = kv_excerpt_new(&p->excerpt, &config, why);
    if (st != OK)
        return st;
    *t = (struct kv_taps){ .into = p->excerpt, .n_counted = UINT32_MAX };
    t->mass = kind == MASS ? KV_TAP_MASS_SUM : kind == PEAK ? KV_TAP_MASS_PEAK : KV_TAP_NO_MASS;
    if (kind == QUERIES)
        t->n_query = QUERIES_KEPT;
    if (kind == MOMENTS) {
        t->n_late_max = KV_TAP_LATE;
        t->moments_due = UINT32_MAX;
    }
    if (kind == HIDDEN)
        t->hidden_layer = h->n_layer;
    const struct kv_taps_size size = { h->n_layer, h->n_head, h->d_head, h->n_embd };
    if (kv_taps_open(t, &size, kind == MOMENTS) != OK) {
        note_set(why, "no memory for taps");
        return FULL;
    }
    return OK;
}

static void past_close(struct past *p)
{
    kv_excerpt_free(p->excerpt);
    kv_space_free(p->space);
    kv_taps_close(&p->taps);
    *p = (struct past){ 0 };
}

/* ---- steps ---- */

/* One thread's own time leaves out what else the machine does. */
static double now_us(const struct world *w)
{
    return model_n_thread(w->m) == 1 ? clock_thread_us() : clock_us();
}

static enum status step(struct world *w, enum kind kind, uint32_t n_row, double *us)
{
    struct past *p = &w->past[kind];
    const uint32_t position = kv_space_committed(p->space), last = n_row - 1;
    enum status st = kv_space_grow(p->space, position + n_row);
    if (st != OK)
        return st;
    const struct batch_seq seq = { .space = p->space,
                                   .n_row = n_row,
                                   .position = position,
                                   .excerpt = p->excerpt,
                                   .taps = kind == PLAIN ? NULL : &p->taps };
    const double began = now_us(w);
    model_forward(w->m, &(struct batch){ .n_row = n_row, .n_seq = 1, .id = w->ids, .seq = &seq });
    model_logits(w->m, &last, 1);
    *us += now_us(w) - began;
    kv_space_commit(p->space, position + n_row);
    return OK;
}

/* Each kind in turn, added to its time; who begins changes from step to step. */
static enum status every_kind(struct world *w, uint32_t n_row, uint32_t turn, double us[N_KIND])
{
    enum status st = OK;
    for (uint32_t i = 0; i < N_KIND && st == OK; i++) {
        const enum kind kind = (enum kind)((i + turn) % N_KIND);
        st = step(w, kind, n_row, &us[kind]);
    }
    return st;
}

static void add_each(struct samples to[N_KIND], double us[N_KIND])
{
    for (enum kind kind = 0; kind < N_KIND; kind++) {
        samples_add(&to[kind], us[kind]);
        us[kind] = 0;
    }
}

static enum status read_and_generate(struct world *w, uint32_t turn, struct note *why)
{
    const uint32_t n_prompt = (uint32_t)w->o->n_prompt, most = (uint32_t)w->o->n_ubatch;
    double us[N_KIND] = { 0 };
    enum status st = OK;
    for (enum kind kind = 0; kind < N_KIND && st == OK; kind++)
        st = past_open(w, kind, why);
    for (uint32_t done = 0; done < n_prompt && st == OK; done += most)
        st = every_kind(w, n_prompt - done < most ? n_prompt - done : most, turn + done / most, us);
    add_each(w->prompt, us);
    for (uint32_t i = 0; i < (uint32_t)w->o->n_gen && st == OK; i++) {
        st = every_kind(w, 1, turn + i, us);
        add_each(w->token, us);
    }
    for (enum kind kind = 0; kind < N_KIND; kind++)
        past_close(&w->past[kind]);
    return st;
}

/* By how much longer it takes, in percent: the median of what each gives and the plain one beside it. */
static double longer(const struct samples *kind, const struct samples *plain)
{
    struct samples ratio = { 0 };
    for (uint32_t i = 0; i < kind->n; i++)
        samples_add(&ratio, kind->x[i] / plain->x[i]);
    return 100 * (samples_median(&ratio) - 1);
}

static void print_table(const struct world *w)
{
    printf("Prompt of %d tokens in steps of %d, then %d tokens; %u threads%s, %s\n\n",
           (int)w->o->n_prompt, (int)w->o->n_ubatch, (int)w->o->n_gen, model_n_thread(w->m),
           model_n_thread(w->m) == 1 ? " (processor time)" : "", model_kernels(w->m)->name);
    printf("  %-18s %12s %8s %12s %8s\n", "written down", "ms a prompt", "", "ms a token", "");
    for (enum kind k = 0; k < N_KIND; k++)
        printf("  %-18s %12.1f %+7.1f%% %12.3f %+7.1f%%\n", kind_names[k],
               samples_median(&w->prompt[k]) * 1e-3, longer(&w->prompt[k], &w->prompt[PLAIN]),
               samples_median(&w->token[k]) * 1e-3, longer(&w->token[k], &w->token[PLAIN]));
}

/* ---- the whole ---- */

static enum status world_open(struct world *w, struct note *why)
{
    const struct bench_taps_options *o = w->o;
    const uint32_t n = (uint32_t)(o->n_prompt + o->n_gen);
    struct buf path = { 0 };
    enum status st = model_path_resolve(&path, o->model, why);
    const struct model_params params = { .path = st == OK ? buf_text(&path) : NULL,
                                         .cpu = o->cpu,
                                         .n_thread = (uint32_t)o->n_thread };
    if (st == OK)
        st = model_open(&w->m, &params, why);
    buf_close(&path);
    if (st == OK)
        st = model_reserve(w->m, (uint32_t)o->n_ubatch, why);
    if (st != OK)
        return st;
    hparams_kv_shape(model_hparams(w->m), (enum kv_type)o->kv_type, &w->shape);
    const struct kv_pool_config pool = {
        .shape = &w->shape,
        .bytes_max = N_KIND * kv_sequence_bytes(&w->shape, n, (uint32_t)o->n_ubatch + KV_BLOCK),
    };
    w->ids = mem_new((size_t)o->n_ubatch, sizeof *w->ids);
    if (!w->ids) {
        note_set(why, "no memory for a step of %d tokens", (int)o->n_ubatch);
        return FULL;
    }
    st = kv_pool_new(&w->pool, &pool, why);
    const struct kv_spaces_config spaces = { .pool = w->pool, .n_position_max = n };
    return st == OK ? kv_spaces_new(&w->spaces, &spaces, why) : st;
}

static void world_close(struct world *w)
{
    kv_spaces_free(w->spaces);
    kv_pool_free(w->pool);
    mem_free(w->ids);
    model_close(w->m);
}

int bench_taps(int argc, char **argv)
{
    struct bench_taps_options o = { 0 };
    struct world w = { .o = &o };
    struct note why = { "the KV pool has no block left for a step" };
    int exit_code;
    if (!flags_read(&flags_of_bench_taps, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    enum status st = world_open(&w, &why);
    for (uint32_t i = 0; i < (uint32_t)o.n_rep && st == OK; i++)
        st = read_and_generate(&w, i, &why);
    if (st == OK)
        print_table(&w);
    world_close(&w);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_bench_taps, &why);
}
