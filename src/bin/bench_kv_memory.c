/* What KV memory holds: of chats of all lengths, and of sequences that begin alike. */
#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "bin/bench_kv_in.h"
#include "bin/show.h"

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
enum status bench_kv_lengths(const struct bench_kv_options *o, struct note *why)
{
    struct world w;
    struct rng rng = rng_seeded(1, 1);
    struct held h = { 0 };
    struct kv_pool_usage u;
    enum status st = bench_kv_world_open(&w, o, (struct form){ 0 }, UINT32_MAX, why);
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
    bench_kv_world_close(&w);
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
enum status bench_kv_sharing(const struct bench_kv_options *o, struct note *why)
{
    enum { N_FORK = 32 };
    struct world w;
    struct kv_pool_usage one, all;
    enum status st = bench_kv_world_open(&w, o, (struct form){ 0 }, UINT32_MAX, why);
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
    bench_kv_world_close(&w);
    if (st != OK)
        return st;
    printf("\n%d sequences that begin with the same %d positions hold %s; one holds %s\n", N_FORK,
           CALL_ROWS, show_bytes(all.bytes_held).text, show_bytes(one.bytes_held).text);
    return OK;
}
