#include "bin/bench_kv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "bin/bench_attn.h"
#include "bin/bench_kv_in.h"
#include "bin/bench_report.h"
#include "bin/models.h"
#include "bin/samples.h"
#include "bin/show.h"
#include "bin/verbs.h"

#define COUNT_FLAG(name, field, n, from, to, text)                                                 \
    {                                                                                              \
        .names = name, .type = FLAG_INT, .at = FLAG_AT(bench_kv_options, field), .unit = "N",      \
        .preset = n, .least = from, .most = to, .help = text                                       \
    }

static const struct flag rows[] = {
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_kv_options, model),
      .unit = "MODEL",
      .preset = "smollm2",
      .help = "A GGUF file, or a short name: its shape, and its steps, are measured." },
    { .names = "-t --threads",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_kv_options, n_thread),
      .unit = "N",
      .least = 0,
      .most = 1024,
      .shown = "all that this process may use",
      .help = "Threads that compute." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_kv_options, cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Kernels to use: auto, ref, avx2, avx512 or amx." },
    COUNT_FLAG("-c --ctx-size", n_ctx, "8192", 2112, 1 << 24, "Longest context of a sequence."),
    COUNT_FLAG("-s --seqs", n_seq, "4", 1, SEQ_MAX, "Sequences that decode together."),
    COUNT_FLAG("-r --reps", n_rep, "7", 1, SAMPLES_MAX, "Repetitions; medians are shown."),
    { .names = "-ub --ubatch-size",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_kv_options, n_ubatch),
      .unit = "TOKENS",
      .least = 0,
      .most = 4096,
      .shown = "what a 40 MiB workspace allows",
      .help = "Tokens of a prefill step." },
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(bench_kv_options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = KV_TYPE_NAMES,
      .help = "How keys and values are stored." },
    { .names = "--kv-ram",
      .type = FLAG_SIZE,
      .at = FLAG_AT(bench_kv_options, kv_ram),
      .unit = "BYTES",
      .preset = "256M",
      .least = 1 << 24,
      .most = (double)(1ull << 44),
      .help = "Memory that the measurements may use." },
};

static const char *const examples[] = {
    "akvifer bench kv",
    "akvifer bench kv -m qwen2 --kv-type int8 --kv-ram 1G",
    NULL,
};

const struct flag_table flags_of_bench_kv = {
    .verb = "bench kv",
    .summary = "what KV memory costs and saves",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

/* As if all layers saw everything: one group, so that a block is a block. */
struct kv_shape bench_kv_shape(const struct bench_kv_options *o)
{
    struct hparams h = o->h;
    struct kv_shape shape;
    h.window = 0;
    memset(h.windowed, 0, sizeof h.windowed);
    hparams_kv_shape(&h, (enum kv_type)o->kv_type, &shape);
    return shape;
}

/* ---- pool and spaces to measure on ---- */

struct world {
    struct kv_shape shape;
    struct kv_pool *pool;
    struct kv_spaces *all;
    struct kv_space *space[SEQ_MAX];
};

struct form {
    const char *name;
    bool map_ahead, table, backed; // backed: all memory is there before the first use
};

void bench_kv_await_backed(struct kv_pool *pool, const struct kv_shape *shape)
{
    struct kv_pool_usage u;
    size_t block_bytes = SIZE_MAX; // the smallest: less than that is room for none
    for (uint32_t g = 0; g < shape->n_group; g++)
        if (kv_block_bytes(shape, g) < block_bytes)
            block_bytes = kv_block_bytes(shape, g);
    do {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        kv_pool_usage(pool, &u);
    } while (u.bytes_backed + block_bytes <= u.bytes_max);
}

static void world_close(struct world *w)
{
    for (uint32_t i = 0; i < SEQ_MAX; i++)
        kv_space_free(w->space[i]);
    kv_spaces_free(w->all);
    kv_pool_free(w->pool);
}

static enum status world_open(struct world *w, const struct bench_kv_options *o, struct form form,
                              uint32_t n_block, struct note *why)
{
    *w = (struct world){ .shape = bench_kv_shape(o) };
    size_t bytes = n_block * kv_block_bytes(&w->shape, 0);
    struct kv_pool_config pool = { .shape = &w->shape,
                                   .bytes_max = bytes < o->kv_ram ? bytes : o->kv_ram,
                                   .populate = form.backed };
    enum status st = kv_pool_new(&w->pool, &pool, why);
    if (st != OK)
        return st;
    if (form.backed)
        bench_kv_await_backed(w->pool, &w->shape);
    struct kv_spaces_config spaces = {
        .pool = w->pool,
        .n_position_max = (uint32_t)o->n_ctx,
        .map_ahead = form.map_ahead,
        .table = form.table,
    };
    return kv_spaces_new(&w->all, &spaces, why);
}

/* ---- 2: the calls ---- */

enum call { TAKE, GROW_ROW, COMMIT_ROW, GROW_BLOCK, COMMIT_BLOCK, FORK, FREE, N_CALL };

static const char *const call_names[N_CALL] = {
    [TAKE] = "take and release a block",          [GROW_ROW] = "grow inside a block",
    [COMMIT_ROW] = "commit inside a block",       [GROW_BLOCK] = "grow by a block",
    [COMMIT_BLOCK] = "commit that seals a block", [FORK] = "fork 2,048 positions",
    [FREE] = "free that fork (unmapped later)",
};

enum { CALL_ROWS = 2048, ATTENTION_ROWS = 4096 };

/* One sequence of 2,048 positions, row by row, then forked. */
static enum status time_life(struct world *w, struct samples us[N_CALL], struct note *why)
{
    struct kv_space *fork;
    double spent[N_CALL] = { 0 }, start;
    uint32_t n[N_CALL] = { 0 };
    enum status st = kv_space_new(&w->space[0], w->all, why);
    for (uint32_t p = 1; p <= CALL_ROWS && st == OK; p++) {
        enum call grow = p % KV_BLOCK == 1 ? GROW_BLOCK : GROW_ROW;
        enum call commit = p % KV_BLOCK == 0 ? COMMIT_BLOCK : COMMIT_ROW;
        start = clock_us();
        st = kv_space_grow(w->space[0], p);
        spent[grow] += clock_us() - start;
        n[grow]++;
        if (st != OK)
            break;
        start = clock_us();
        kv_space_commit(w->space[0], p);
        spent[commit] += clock_us() - start;
        n[commit]++;
    }
    start = clock_us();
    if (st == OK)
        st = kv_space_fork(&fork, w->space[0], CALL_ROWS, why);
    if (st != OK)
        return st;
    samples_add(&us[FORK], clock_us() - start);
    start = clock_us();
    kv_space_free(fork);
    samples_add(&us[FREE], clock_us() - start);
    for (int c = GROW_ROW; c <= COMMIT_BLOCK; c++)
        samples_add(&us[c], spent[c] / n[c]);
    kv_space_free(w->space[0]);
    w->space[0] = NULL;
    kv_spaces_settle(w->all);
    return OK;
}

static enum status time_take(struct world *w, struct samples *us)
{
    enum { N = 10000 };
    double start = clock_us();
    for (uint32_t i = 0; i < N; i++) {
        block_id b;
        if (kv_pool_take(w->pool, 0, &b) != OK)
            return FULL;
        kv_pool_release(w->pool, b);
    }
    samples_add(us, (clock_us() - start) / N);
    return OK;
}

static enum status bench_calls(const struct bench_kv_options *o, struct note *why)
{
    static const struct form forms[] = { { .name = "space", .backed = true },
                                         { .name = "table", .backed = true, .table = true } };
    struct samples us[2][N_CALL] = { 0 };
    for (int f = 0; f < 2; f++) {
        struct world w;
        enum status st = world_open(&w, o, forms[f], CALL_ROWS / KV_BLOCK + 2, why);
        for (int64_t r = 0; r < o->n_rep && st == OK; r++) {
            st = time_take(&w, &us[f][TAKE]);
            if (st == OK)
                st = time_life(&w, us[f], why);
        }
        world_close(&w);
        if (st != OK)
            return st;
    }
    printf("\nThe calls, memory there already %15s %10s   (the clock takes 0.03)\n", "space",
           "table");
    for (int c = 0; c < N_CALL; c++)
        printf("  %-34s %8.2f us %7.2f us\n", call_names[c], samples_median(&us[0][c]),
               samples_median(&us[1][c]));
    return OK;
}

/* ---- 3: map-ahead ---- */

enum {
    STEP_US = 400,
    DECODE_ROWS = 8 * KV_BLOCK,
    DECODE_BLOCKS = 10
}; // the mapper has 16 steps to map: 6 ms

static void compute(double us)
{
    for (double until = clock_us() + us; clock_us() < until;)
        ;
}

/* Sequences decode side by side: the time of each growth by a block, and of each commit that seals
 * one. */
static enum status time_decode(struct world *w, uint32_t n_seq, struct samples *grow,
                               struct samples *seal, struct note *why)
{
    enum status st = OK;
    for (uint32_t i = 0; i < n_seq && st == OK; i++)
        if ((st = kv_space_new(&w->space[i], w->all, why)) == OK)
            st = kv_space_grow(w->space[i], 1 + i * 16 % KV_BLOCK); // out of step with each other
    for (uint32_t step = 0; step < DECODE_ROWS && st == OK; step++) {
        for (uint32_t i = 0; i < n_seq && st == OK; i++) {
            uint32_t n = kv_space_grown(w->space[i]);
            double start = clock_us();
            kv_space_commit(w->space[i], n);
            double middle = clock_us();
            st = kv_space_grow(w->space[i], n + 1);
            if (n % KV_BLOCK == 0) {
                samples_add(seal, middle - start);
                samples_add(grow, clock_us() - middle);
            }
        }
        compute(STEP_US);
    }
    return st;
}

static enum status bench_ahead(const struct bench_kv_options *o, struct note *why)
{
    static const struct form forms[] = {
        { .name = "off, memory cleared when taken" },
        { .name = "off, memory there already", .backed = true },
        { .name = "on, memory cleared when taken", .map_ahead = true },
        { .name = "on, memory there already", .map_ahead = true, .backed = true },
        { .name = "table, memory there already", .table = true, .backed = true },
    };
    printf(
        "\nMap-ahead, %lld sequences decode       grow by a block   nine of ten     seal a block\n",
        (long long)o->n_seq);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        struct samples grow = { 0 }, seal = { 0 };
        struct world w;
        enum status st = world_open(&w, o, forms[f], DECODE_BLOCKS * (uint32_t)o->n_seq, why);
        if (st == OK)
            st = time_decode(&w, (uint32_t)o->n_seq, &grow, &seal, why);
        world_close(&w);
        if (st != OK)
            return st;
        printf("  %-34s %12.2f us %10.2f us %13.2f us\n", forms[f].name, samples_median(&grow),
               samples_quantile(&grow, 0.9), samples_median(&seal));
    }
    return OK;
}

/* ---- 4: memory ---- */

/* A normal number (Box and Muller 1958). */
static double normal(struct rng *r)
{
    return sqrt(-2 * log(1 - rng_unit(r))) * cos(2 * M_PI * rng_unit(r));
}

/* Tokens of a chat that is somewhere in its life: a prompt, and a part of the answer; both
 * log-normal, with medians of 150 and 250, i.e. many short ones and some very long. */
static uint32_t random_length(struct rng *r, uint32_t n_max)
{
    double prompt = exp(log(150) + 1.1 * normal(r)), answer = exp(log(250) + 0.9 * normal(r));
    double n = 1 + prompt + rng_unit(r) * answer;
    return n < n_max ? (uint32_t)n : n_max;
}

/* Blocks of other sizes, and one reservation a sequence, hold for the same rows. */
struct held {
    uint64_t used, block16, ours, block256, reserved; // bytes
    uint32_t n_seq;
};

static uint64_t rounded(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static void print_held(const char *name, uint64_t bytes, const struct held *h)
{
    printf("  %-34s %14s %11.1f %%\n", name, show_bytes(bytes).text,
           100 - 100 * (double)h->used / (double)bytes);
}

/* Admits chats until the pool is full. */
static enum status bench_lengths(const struct bench_kv_options *o, struct note *why)
{
    struct world w;
    struct rng rng = rng_seeded(1, 1);
    struct held h = { 0 };
    struct kv_pool_usage u;
    enum status st = world_open(&w, o, (struct form){ 0 }, UINT32_MAX, why);
    uint64_t row = st == OK ? kv_bytes_per_position(&w.shape) : 0;
    while (st == OK && h.n_seq < SEQ_MAX) {
        uint32_t n = random_length(&rng, (uint32_t)o->n_ctx);
        st = kv_space_new(&w.space[h.n_seq], w.all, why);
        if (st == OK)
            st = kv_space_grow(w.space[h.n_seq], n);
        if (st != OK)
            break;
        h.n_seq++;
        h.used += n * row;
        h.block16 += rounded(n, 16) * row;
        h.block256 += rounded(n, 256) * row;
        h.reserved += (uint64_t)o->n_ctx * row;
    }
    if (w.pool) {
        kv_pool_usage(w.pool, &u);
        h.ours = u.bytes_held;
    }
    world_close(&w);
    if (h.n_seq == 0)
        return st;
    printf("\nMemory of %u chats (log-normal lengths, mean %llu rows) %8s %13s\n", h.n_seq,
           (unsigned long long)(h.used / row / h.n_seq), "mapped", "unused");
    print_held("rows in use", h.used, &h);
    print_held("blocks of 64 positions (ours)", h.ours, &h);
    print_held("blocks of 16 positions", h.block16, &h);
    print_held("blocks of 256 positions", h.block256, &h);
    print_held("reserved for the whole context", h.reserved, &h);
    return OK;
}

/* Many sequences that begin with the same 2,048 positions. */
static enum status bench_sharing(const struct bench_kv_options *o, struct note *why)
{
    enum { N_FORK = 32 };
    struct world w;
    struct kv_pool_usage one, all;
    enum status st = world_open(&w, o, (struct form){ 0 }, UINT32_MAX, why);
    if (st == OK)
        st = kv_space_new(&w.space[0], w.all, why);
    if (st == OK)
        st = kv_space_grow(w.space[0], CALL_ROWS);
    if (st == OK) {
        kv_space_commit(w.space[0], CALL_ROWS);
        kv_pool_usage(w.pool, &one);
    }
    for (uint32_t i = 1; i < N_FORK && st == OK; i++)
        st = kv_space_fork(&w.space[i], w.space[0], CALL_ROWS, why);
    if (st == OK)
        kv_pool_usage(w.pool, &all);
    world_close(&w);
    if (st != OK)
        return st;
    printf("\n%d sequences that begin with the same %d positions hold %s; one holds %s\n", N_FORK,
           CALL_ROWS, show_bytes(all.bytes_held).text, show_bytes(one.bytes_held).text);
    return OK;
}

/* The largest that a measurement needs: a sequence and a half of CALL_ROWS, or all those that
 * decode. */
static uint32_t blocks_needed(const struct bench_kv_options *o)
{
    uint32_t lives = CALL_ROWS / KV_BLOCK + 2, decode = DECODE_BLOCKS * (uint32_t)o->n_seq;
    return lives > decode ? lives : decode;
}

static enum status check_options(const struct bench_kv_options *o, struct note *why)
{
    struct kv_shape shape = bench_kv_shape(o);
    size_t least = blocks_needed(o) * kv_block_bytes(&shape, 0);
    if (o->kv_ram < least) {
        note_set(why, "--kv-ram %s is too little: %u blocks of %s are %s",
                 show_bytes(o->kv_ram).text, blocks_needed(o),
                 show_bytes(kv_block_bytes(&shape, 0)).text, show_bytes(least).text);
        return BAD_INPUT;
    }
    return OK;
}

/* Pages of 16 positions exist for rows of floats only. */
static enum status bench_attention_forms(const struct bench_kv_options *o, struct note *why)
{
    const struct bench_attn_options attn = {
        .n_layer = o->h.n_layer,
        .n_kv_head = o->h.n_kv_head,
        .n_share = o->h.n_head / o->h.n_kv_head,
        .d_head = o->h.d_head,
        .n_ctx = o->n_ctx < ATTENTION_ROWS ? o->n_ctx / KV_BLOCK * KV_BLOCK : ATTENTION_ROWS,
        .n_rep = o->n_rep,
        .kv_type = o->kv_type == KV_INT8 ? KV_F16 : o->kv_type,
        .cpu = o->cpu,
    };
    putchar('\n');
    if (strcmp(model_kernels(o->m)->name, "ref") != 0)
        return bench_attn_compare(&attn, why);
    puts("Attention by form is not compared: its pages have no kernel in plain C");
    return OK;
}

static enum status open_model(struct bench_kv_options *o, struct note *why)
{
    struct buf path = { 0 };
    enum status st = model_path_resolve(&path, o->model, why);
    if (st == OK) {
        const struct model_params params = { .path = buf_text(&path),
                                             .cpu = o->cpu,
                                             .n_thread = (uint32_t)o->n_thread };
        st = model_open(&o->m, &params, why);
    }
    buf_close(&path);
    if (st == OK)
        o->h = *model_hparams(o->m);
    return st;
}

static void print_head(const struct bench_kv_options *o)
{
    char kernels[256];
    printf("%s, %s, %u threads, KV %s; load %.2f\n\n", model_arch_name(o->m),
           kernels_describe(model_kernels(o->m), kernels, sizeof kernels), model_n_thread(o->m),
           kv_type_name((enum kv_type)o->kv_type), machine_load());
}

static enum status run_parts(const struct bench_kv_options *o, struct note *why)
{
    static enum status (*const parts[])(const struct bench_kv_options *, struct note *) = {
        check_options, bench_kv_syscalls, bench_calls,    bench_ahead,
        bench_lengths, bench_sharing,     bench_kv_steps, bench_attention_forms,
    };
    enum status st = OK;
    for (size_t i = 0; i < FLAG_COUNT(parts) && st == OK; i++) {
        st = parts[i](o, why);
        fflush(stdout); // each table as soon as it is there
    }
    return st;
}

int bench_kv(int argc, char **argv)
{
    struct bench_kv_options o = { 0 };
    struct note why = { "the system has no memory left" };
    int exit_code;
    if (!flags_read(&flags_of_bench_kv, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    enum status st = open_model(&o, &why);
    if (st == OK) {
        print_head(&o);
        st = run_parts(&o, &why);
    }
    if (o.m)
        model_close(o.m);
    if (st == OK)
        return EXIT_DONE;
    verb_fails(&flags_of_bench_kv, &why);
    return st == BAD_INPUT ? EXIT_USAGE : EXIT_FAILED;
}
