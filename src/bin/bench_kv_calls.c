/* What the calls of the engine thread take, and what growing costs it while sequences decode. */
#include <stdio.h>

#include "bin/bench_kv_in.h"
#include "bin/samples.h"

/* ---- 2: the calls ---- */

enum call { TAKE, GROW_ROW, COMMIT_ROW, GROW_BLOCK, COMMIT_BLOCK, FORK, FREE, N_CALL };

static const char *const call_names[N_CALL] = {
    [TAKE] = "take and release a block",          [GROW_ROW] = "grow inside a block",
    [COMMIT_ROW] = "commit inside a block",       [GROW_BLOCK] = "grow by a block",
    [COMMIT_BLOCK] = "commit that seals a block", [FORK] = "fork 2,048 positions",
    [FREE] = "free that fork (unmapped later)",
};

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

enum status bench_kv_calls(const struct bench_kv_options *o, struct note *why)
{
    static const struct form forms[] = { { .name = "space", .backed = true },
                                         { .name = "table", .backed = true, .table = true } };
    struct samples us[2][N_CALL] = { 0 };
    for (int f = 0; f < 2; f++) {
        struct world w;
        enum status st = bench_kv_world_open(&w, o, forms[f], CALL_ROWS / KV_BLOCK + 2, why);
        for (int64_t r = 0; r < o->n_rep && st == OK; r++) {
            st = time_take(&w, &us[f][TAKE]);
            if (st == OK)
                st = time_life(&w, us[f], why);
        }
        bench_kv_world_close(&w);
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

enum { STEP_US = 400, DECODE_ROWS = 8 * KV_BLOCK }; // the mapper has 16 steps to map: 6 ms

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

enum status bench_kv_ahead(const struct bench_kv_options *o, struct note *why)
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
        enum status st =
            bench_kv_world_open(&w, o, forms[f], DECODE_BLOCKS * (uint32_t)o->n_seq, why);
        if (st == OK)
            st = time_decode(&w, (uint32_t)o->n_seq, &grow, &seal, why);
        bench_kv_world_close(&w);
        if (st != OK)
            return st;
        printf("  %-34s %12.2f us %10.2f us %13.2f us\n", forms[f].name, samples_median(&grow),
               samples_quantile(&grow, 0.9), samples_median(&seal));
    }
    return OK;
}
