#include "support/attn_bench.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "kv/shape.h"
#include "support/timing.h"

/* Decode reads a ring of copies larger than any cache here, as layer after layer of a model
 * does. */
enum { RING_BYTES = 96 << 20, N_REPEAT = 9, HEAD_MAX = 512, CHUNK = ATTN_CHUNK_BLOCKS };

struct shape {
    enum kv_type type;
    uint32_t d, n_query, depth,
        n_new; // n_new 0: decode; else prefill of n_new positions behind depth
};

/* One head's keys and values over and over, `n_copy` times. */
struct work {
    const struct shape *s;
    const struct kernels *k;
    uint32_t n_row, n_block, n_copy;
    size_t block_bytes, mapped;
    char *kv;
    float *q;
    uint32_t *lo, *hi;
    struct attn_state part, total;
    void *scratch;
};

static float *some_floats(struct rng *rng, size_t n)
{
    float *x = mem_new_aligned(n, sizeof *x, 64);
    for (size_t i = 0; x && i < n; i++)
        x[i] = (float)rng_unit(rng) - 0.5f;
    return x;
}

static void fill_kv(struct work *w, struct rng *rng)
{
    float x[HEAD_MAX];
    uint32_t d = w->s->d;
    size_t part = w->block_bytes / 2;
    for (uint32_t row = 0; row < 2 * w->n_row; row++) {
        char *block = w->kv + row / 2 / KV_BLOCK * w->block_bytes;
        for (uint32_t j = 0; j < d; j++)
            x[j] = (float)rng_unit(rng) - 0.5f;
        if (row % 2)
            w->k->store_v(w->s->type, block + part, row / 2 % KV_BLOCK, x, d);
        else
            w->k->store_k(w->s->type, block, row / 2 % KV_BLOCK, x, d);
    }
    for (uint32_t c = 1; c < w->n_copy; c++)
        memcpy(w->kv + c * w->n_block * w->block_bytes, w->kv, w->n_block * w->block_bytes);
}

static void work_open(struct work *w, const struct shape *s, const struct kernels *k)
{
    struct rng rng = rng_seeded(1, 1);
    *w = (struct work){ .s = s, .k = k, .n_row = s->depth + s->n_new };
    w->n_block = (w->n_row + KV_BLOCK - 1) / KV_BLOCK;
    w->block_bytes = 2 * kv_part_bytes(s->type, s->d);
    w->n_copy = s->n_new ? 1 : (uint32_t)(RING_BYTES / (w->n_block * w->block_bytes));
    w->mapped = w->n_copy * w->n_block * w->block_bytes;
    w->kv = mmap(NULL, w->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (w->kv == MAP_FAILED)
        abort();
    madvise(w->kv, w->mapped, MADV_HUGEPAGE);
    fill_kv(w, &rng);
    w->q = some_floats(&rng, (size_t)s->n_query * s->d);
    w->part.o = some_floats(&rng, (size_t)s->n_query * s->d);
    w->total.o = some_floats(&rng, (size_t)s->n_query * s->d);
    w->part.m = some_floats(&rng, 4 * (size_t)s->n_query);
    w->part.l = w->part.m + s->n_query;
    w->total.m = w->part.l + s->n_query;
    w->total.l = w->total.m + s->n_query;
    w->lo = mem_new(2 * (size_t)s->n_query, sizeof *w->lo);
    w->hi = w->lo + s->n_query;
    w->scratch = mem_new_aligned(1, attn_scratch_bytes(s->n_query, s->d, s->d), 64);
    for (uint32_t i = 0; i < s->n_query; i++) // several heads ask at each new position
        w->hi[i] = s->n_new ? s->depth + 1 + i / (s->n_query / s->n_new) : s->depth;
}

static void work_close(struct work *w)
{
    munmap(w->kv, w->mapped);
    mem_free(w->q), mem_free(w->part.o), mem_free(w->total.o);
    mem_free(w->part.m), mem_free(w->lo), mem_free(w->scratch);
}

static void work_once(const struct work *w)
{
    const struct shape *s = w->s;
    for (uint32_t c = 0; c < w->n_copy; c++) {
        const char *kv = w->kv + c * w->n_block * w->block_bytes;
        memset(w->total.l, 0, s->n_query * sizeof *w->total.l);
        for (uint32_t first = 0; first < w->n_block; first += CHUNK) {
            struct attn_run run = { .type = s->type,
                                    .d_k = s->d,
                                    .d_v = s->d,
                                    .scale = 0.1f,
                                    .n_query = s->n_query,
                                    .q = w->q,
                                    .q_stride = s->d,
                                    .lo = w->lo,
                                    .hi = w->hi,
                                    .first = first,
                                    .last = first + CHUNK < w->n_block ? first + CHUNK : w->n_block,
                                    .k = kv,
                                    .v = kv + w->block_bytes / 2,
                                    .stride = w->block_bytes };
            w->k->attn_partial(&run, w->part, w->scratch);
            w->k->attn_merge(w->total, w->part, s->n_query, s->d);
        }
    }
}

/* Seconds of one round: the median, and the best, which a busy neighbour disturbs least. */
static void time_work(const struct work *w, double *middle, double *best)
{
    double t[N_REPEAT];
    for (int i = 0; i < N_REPEAT; i++) {
        double start = cpu_seconds();
        work_once(w);
        t[i] = cpu_seconds() - start;
    }
    *middle = median(t, N_REPEAT);
    *best = t[0];
}

static void bench_shape(const struct kernels *k, const struct shape *s)
{
    struct work w;
    double middle, best, pairs = 0;
    work_open(&w, s, k);
    time_work(&w, &middle, &best);
    for (uint32_t i = 0; i < s->n_query; i++)
        pairs += w.hi[i];
    double gflop = 4e-9 * pairs * s->d * w.n_copy, gb = 1e-9 * (double)w.mapped;
    printf("%-7s %-5s %4u %6u x %-3u %6u  %7.1f %7.1f  %6.1f %6.1f\n", k->name,
           kv_type_name(s->type), s->d, s->n_new ? s->n_new : 1,
           s->n_new ? s->n_query / s->n_new : s->n_query, s->depth, gflop / middle, gflop / best,
           gb / middle, gb / best);
    fflush(stdout);
    work_close(&w);
}

static void bench_table(const struct kernels *k)
{
    for (enum kv_type type = KV_F16; type <= KV_INT8; type++) {
        const struct shape shapes[] = {
            { type, 64, 3, 4096, 0 },          { type, 64, 7, 4096, 0 },
            { type, 256, 4, 4096, 0 },         { type, 64, 3 * 512, 0, 512 },
            { type, 64, 3 * 512, 512, 512 },   { type, 64, 3 * 512, 4096, 512 },
            { type, 256, 4 * 512, 4096, 512 },
        };
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            bench_shape(k, &shapes[i]);
    }
}

static bool is_wanted(const char *name, int n_name, char **names)
{
    for (int i = 0; i < n_name; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return n_name == 0 && strcmp(name, "ref") != 0;
}

int attn_bench(int n_name, char **names)
{
    const struct kernels *k[8];
    uint32_t n = kernels_available(k, 8);
    printf("one thread, processor time; roofs on Zen 3: 101 GFLOP/s, 19.6 GB/s of reads\n"
           "table   type     d  positions   depth   GFLOP/s    best    GB/s   best\n"
           "                    x queries\n");
    for (uint32_t i = 0; i < n; i++)
        if (is_wanted(k[i]->name, n_name, names))
            bench_table(k[i]);
    return 0;
}
