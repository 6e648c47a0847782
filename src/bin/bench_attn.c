#include "bin/bench_attn.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bin/samples.h"
#include "bin/show.h"
#include "bin/verbs.h"
#include "kernels/attn_group.h"
#include "kernels/kernels.h"
#include "kernels/tables.h"
#include "os/vm.h"

enum { PAGE_ROWS = 16, PAGES = KV_BLOCK / PAGE_ROWS, CHUNK = ATTN_CHUNK_BLOCKS, PREFILL = 256 };

#define COUNT_FLAG(name, field, n, from, to, text)                                                 \
    {                                                                                              \
        .names = name, .type = FLAG_INT, .at = FLAG_AT(bench_attn_options, field), .unit = "N",    \
        .preset = n, .least = from, .most = to, .help = text                                       \
    }

static const struct flag rows[] = {
    COUNT_FLAG("--layers", n_layer, "30", 1, 512, "Layers of the model."),
    COUNT_FLAG("--kv-heads", n_kv_head, "3", 1, 256, "Heads of keys and values a layer."),
    COUNT_FLAG("--share", n_share, "3", 1, 48, "Heads that ask each of them."),
    COUNT_FLAG("--head-dim", d_head, "64", 8, 512, "Elements a head; a multiple of 8."),
    COUNT_FLAG("-c --ctx-size", n_ctx, "4096", 64, 1 << 20,
               "Positions attended; a multiple of 64."),
    COUNT_FLAG("-r --reps", n_rep, "9", 1, SAMPLES_MAX, "Repetitions; medians are shown."),
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(bench_attn_options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = "f16 f32", // in the order of enum kv_type
      .help = "How keys and values are stored." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_attn_options, cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Instruction set: avx2, avx512 or auto." },
};

static const char *const examples[] = {
    "akvifer bench attention",
    "akvifer bench attention --layers 24 --kv-heads 2 --share 7 -c 16384",
    NULL,
};

const struct flag_table flags_of_bench_attention = {
    .verb = "bench attention",
    .summary = "attention over blocks, mapped or by table",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

enum layout { SPACE, FLAT, TABLE, PAGED, N_LAYOUT };

static const char *const layout_names[N_LAYOUT] = {
    [SPACE] = "space: blocks of 64 mapped in order",
    [FLAT] = "flat: one behind the other",
    [TABLE] = "table: blocks of 64 by address",
    [PAGED] = "paged: blocks of 16 by table",
};

/* ---- memory ---- */

/* Bytes behind a file, mapped and backed. */
struct region {
    char *at;
    size_t bytes;
    int fd;
};

static enum status region_open(struct region *r, size_t bytes, struct note *why)
{
    *r = (struct region){ .bytes = bytes, .fd = -1 };
    enum status st = vm_reserve(bytes, &r->at, why);
    if (st == OK)
        st = vm_file_open("akvifer-bench", bytes, &r->fd, why);
    if (st == OK && vm_map(r->at, bytes, r->fd, 0, VM_WRITE, false) == OK)
        return vm_back(r->at, bytes, r->fd, 0);
    return st == OK ? FULL : st;
}

static void region_close(struct region *r)
{
    if (r->fd >= 0)
        vm_file_close(r->fd);
    if (r->at)
        vm_unreserve(r->at, r->bytes);
}

/* One sequence of n_ctx positions, stored twice: in blocks and in pages, each in a random order. */
struct world {
    const struct bench_attn_options *o;
    const struct kernels *k;
    const struct attn_leaves *leaves;
    uint32_t n_block, d;
    size_t part_bytes, layer_bytes,
        block_bytes;   // of one head's K; of a layer in a block; of a block
    size_t page_bytes; // of a layer: [K of every head][V of every head], 16 positions
    struct region blocks, pages;
    char *space;      // blocks in their order
    uint32_t *order;  // [n_block] where block i lies in the pool
    uint32_t *page;   // [4 n_block] where page i lies in each layer's pool
    char **table;     // [n_block]
    uint32_t n_query; // of one kv_head
    uint32_t *lo, *hi;
    float *q;
    struct attn_state part, total[N_LAYOUT];
    void *scratch;
};

static void shuffle(uint32_t *x, uint32_t n, struct rng *rng)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = rng_below(rng, i + 1);
        x[i] = x[j];
        x[j] = i;
    }
}

/* Head h of a layer in a block; V lies n_kv_head parts behind K. */
static char *block_part(const struct world *w, uint32_t block, uint32_t layer, uint32_t head)
{
    return w->blocks.at + w->order[block] * w->block_bytes + layer * w->layer_bytes +
           head * w->part_bytes;
}

static char *page_part(const struct world *w, uint32_t page, uint32_t layer, uint32_t head)
{
    size_t pool = (size_t)w->n_block * PAGES * w->page_bytes;
    return w->pages.at + layer * pool + w->page[page] * w->page_bytes +
           head * w->part_bytes / PAGES;
}

/* One page of a K part: the columns of its 16 rows. */
static void copy_page_of_k(char *to, const char *k, uint32_t d, uint32_t page, size_t elem)
{
    for (uint32_t j = 0; j < d; j++)
        memcpy(to + j * PAGE_ROWS * elem, k + (j * KV_BLOCK + page * PAGE_ROWS) * elem,
               PAGE_ROWS * elem);
}

static void fill_block(struct world *w, uint32_t block, uint32_t layer, uint32_t head,
                       struct rng *rng)
{
    float x[512];
    size_t n_kv_head = (size_t)w->o->n_kv_head, elem = w->part_bytes / KV_BLOCK / w->d;
    char *k = block_part(w, block, layer, head), *v = k + n_kv_head * w->part_bytes;
    for (uint32_t row = 0; row < 2 * KV_BLOCK; row++) {
        for (uint32_t j = 0; j < w->d; j++)
            x[j] = (float)rng_unit(rng) * 2 - 1;
        (row % 2 ? w->k->store_v : w->k->store_k)((enum kv_type)w->o->kv_type, row % 2 ? v : k,
                                                  row / 2, x, w->d);
    }
    for (uint32_t p = 0; p < PAGES; p++) {
        char *to = page_part(w, block * PAGES + p, layer, head);
        copy_page_of_k(to, k, w->d, p, elem);
        memcpy(to + n_kv_head * w->part_bytes / PAGES, v + p * w->part_bytes / PAGES,
               w->part_bytes / PAGES);
    }
}

static void fill(struct world *w)
{
    struct rng rng = rng_seeded(1, 1);
    shuffle(w->order, w->n_block, &rng);
    shuffle(w->page, w->n_block * PAGES, &rng);
    for (uint32_t b = 0; b < w->n_block; b++) {
        w->table[b] = w->blocks.at + w->order[b] * w->block_bytes;
        for (uint32_t l = 0; l < (uint32_t)w->o->n_layer; l++)
            for (uint32_t h = 0; h < (uint32_t)w->o->n_kv_head; h++)
                fill_block(w, b, l, h, &rng);
    }
    for (size_t i = 0; i < (size_t)w->n_query * w->d; i++)
        w->q[i] = (float)rng_unit(&rng) * 2 - 1;
    for (uint32_t i = 0; i < w->n_query; i++)
        w->hi[i] = (uint32_t)w->o->n_ctx;
}

static enum status map_space(struct world *w, struct note *why)
{
    enum status st = vm_reserve(w->blocks.bytes, &w->space, why);
    for (uint32_t b = 0; b < w->n_block && st == OK; b++) {
        uint64_t offset = w->order[b] * w->block_bytes;
        st = vm_map(w->space + b * w->block_bytes, w->block_bytes, w->blocks.fd, offset, VM_READ,
                    true);
    }
    return st;
}

static float *new_state(struct attn_state *s, uint32_t n, uint32_t d)
{
    s->o = mem_new_aligned((size_t)n * (d + 2), sizeof *s->o, 64);
    if (s->o) {
        s->m = s->o + (size_t)n * d;
        s->l = s->m + n;
    }
    return s->o;
}

static bool world_arrays(struct world *w)
{
    bool all = new_state(&w->part, w->n_query, w->d) != NULL;
    for (int i = 0; i < N_LAYOUT; i++)
        all = new_state(&w->total[i], w->n_query, w->d) && all;
    w->order = mem_new(w->n_block, sizeof *w->order);
    w->page = mem_new((size_t)w->n_block * PAGES, sizeof *w->page);
    w->table = mem_new(w->n_block, sizeof *w->table);
    w->lo = mem_new(w->n_query, sizeof *w->lo);
    w->hi = mem_new(w->n_query, sizeof *w->hi);
    w->q = mem_new_aligned((size_t)w->n_query * w->d, sizeof *w->q, 64);
    w->scratch = mem_new_aligned(1, attn_scratch_bytes(w->n_query, w->d, w->d), 64);
    return all && w->order && w->page && w->table && w->lo && w->hi && w->q && w->scratch;
}

static enum status world_open(struct world *w, const struct bench_attn_options *o, struct note *why)
{
    *w = (struct world){ .o = o, .blocks.fd = -1, .pages.fd = -1, .d = (uint32_t)o->d_head };
    size_t page = VM_HUGE_BYTES;
    w->n_block = (uint32_t)(o->n_ctx / KV_BLOCK);
    w->part_bytes = kv_part_bytes((enum kv_type)o->kv_type, w->d);
    w->layer_bytes = 2 * (size_t)o->n_kv_head * w->part_bytes;
    w->block_bytes = ((size_t)o->n_layer * w->layer_bytes + 4095) & ~(size_t)4095;
    w->page_bytes = w->layer_bytes / PAGES;
    w->n_query = (uint32_t)o->n_share * PREFILL;
    size_t bytes = (w->n_block * w->block_bytes + page - 1) & -page;
    enum status st = kernels_select(&w->k, o->cpu, why);
    if (st != OK)
        return st;
    w->leaves =
        w->k->attn_partial == kernels_avx512.attn_partial ? &avx512_attn_leaves : &avx2_attn_leaves;
    if (strcmp(w->k->name, "ref") == 0) {
        note_set(why, "--cpu %s: the paged layout has no kernel in plain C; this needs AVX2",
                 o->cpu);
        return BAD_INPUT;
    }
    if (!world_arrays(w))
        return FULL;
    st = region_open(&w->blocks, bytes, why);
    if (st == OK)
        st = region_open(&w->pages, bytes, why);
    if (st != OK)
        return st;
    fill(w);
    return map_space(w, why);
}

static void world_close(struct world *w)
{
    if (w->space)
        vm_unreserve(w->space, w->blocks.bytes);
    region_close(&w->blocks);
    region_close(&w->pages);
    mem_free(w->part.o);
    for (int i = 0; i < N_LAYOUT; i++)
        mem_free(w->total[i].o);
    mem_free(w->order), mem_free(w->page), mem_free(w->table);
    mem_free(w->lo), mem_free(w->hi), mem_free(w->q), mem_free(w->scratch);
}

/* ---- attention over pages, as attn_group.c does it over blocks ---- */

/* Pages are read four at a time, so that the softmax is the same; each is a product of its own. */
struct paged {
    const struct world *w;
    uint32_t layer, head, block; // of 64 positions
    struct group group;
    float *p;
};

static struct matrix page_matrix(const struct paged *x, uint32_t page, bool v)
{
    const struct world *w = x->w;
    uint32_t i = x->block * PAGES + page, next = x->block + 1 < w->n_block ? i + PAGES : i;
    size_t behind = v ? (size_t)w->o->n_kv_head * w->part_bytes / PAGES : 0;
    return (struct matrix){ .from = (enum source)w->o->kv_type,
                            .n_in = v ? PAGE_ROWS : w->d,
                            .n_out = v ? w->d : PAGE_ROWS,
                            .data = page_part(w, i, x->layer, x->head) + behind,
                            .ahead = page_part(w, next, x->layer, x->head) + behind };
}

static void paged_scores(const struct paged *x)
{
    const struct group *g = &x->group;
    memset(x->p, 0, (size_t)g->n * KV_BLOCK * sizeof *x->p);
    for (uint32_t page = 0; page < PAGES; page++) {
        float *c[ATTN_GROUP];
        for (uint32_t i = 0; i < g->n; i++)
            c[i] = g->p[i] + page * PAGE_ROWS;
        struct matrix k = page_matrix(x, page, false);
        struct tiles t = { .n = g->n, .a = g->q, .c = c, .n_out = PAGE_ROWS, .last = x->w->d };
        x->w->leaves->tiles(&k, &t);
    }
}

static void paged_values(const struct paged *x)
{
    const struct group *g = &x->group;
    const struct attn_leaves *leaves = x->w->leaves;
    for (uint32_t page = 0; page < PAGES; page++) {
        const float *a[ATTN_GROUP];
        for (uint32_t i = 0; i < g->n; i++)
            a[i] = g->p[i] + page * PAGE_ROWS;
        struct matrix v = page_matrix(x, page, true);
        struct tiles t = { .n = g->n, .a = a, .c = (float *const *)g->o, .last = PAGE_ROWS };
        for (; t.out < x->w->d; t.out += t.n_out) {
            for (t.n_out = leaves->tile_out; t.n_out > x->w->d - t.out;)
                t.n_out /= 2;
            leaves->tiles(&v, &t);
        }
    }
}

static void paged_attend(struct paged *x, const struct attn_run *run, struct attn_state out,
                         uint32_t first, uint32_t n)
{
    struct attn_block b = { .mask = UINT64_MAX };
    struct group *g = &x->group;
    g->n = n;
    for (uint32_t i = 0; i < n; i++) {
        g->query[i] = first + i;
        g->rows[i] = (struct row_range){ 0, KV_BLOCK };
        g->q[i] = run->q + (first + i) * run->q_stride;
        g->p[i] = x->p + (size_t)i * KV_BLOCK;
        g->o[i] = out.o + (size_t)(first + i) * run->d_v;
    }
    paged_scores(x);
    x->w->leaves->softmax(run, &b, g, out);
    paged_values(x);
}

static void paged_partial(const struct world *w, const struct attn_run *run, struct attn_state out,
                          uint32_t layer, uint32_t head)
{
    struct paged x = { .w = w, .layer = layer, .head = head };
    x.p = attn_scratch_place(w->scratch, run->d_k, run->d_v).p;
    for (uint32_t i = 0; i < run->n_query; i++) {
        out.m[i] = -INFINITY;
        out.l[i] = 0;
    }
    memset(out.o, 0, (size_t)run->n_query * run->d_v * sizeof *out.o);
    for (x.block = run->first; x.block < run->last; x.block++)
        for (uint32_t i = 0; i < run->n_query; i += ATTN_GROUP)
            paged_attend(&x, run, out, i,
                         run->n_query - i < ATTN_GROUP ? run->n_query - i : ATTN_GROUP);
}

/* ---- one head over all positions, by layout ---- */

static void attend(const struct world *w, enum layout layout, uint32_t n_query, uint32_t layer,
                   uint32_t head)
{
    struct attn_state total = w->total[layout];
    size_t k_at = layer * w->layer_bytes + head * w->part_bytes, v_at = k_at + w->layer_bytes / 2;
    const char *base = layout == SPACE ? w->space : w->blocks.at;
    memset(total.l, 0, n_query * sizeof *total.l);
    for (uint32_t first = 0; first < w->n_block; first += CHUNK) {
        struct attn_run run = { .type = (enum kv_type)w->o->kv_type,
                                .d_k = w->d,
                                .d_v = w->d,
                                .scale = 1 / sqrtf((float)w->d),
                                .n_query = n_query,
                                .q = w->q,
                                .q_stride = w->d,
                                .lo = w->lo,
                                .hi = w->hi,
                                .first = first,
                                .last = first + CHUNK < w->n_block ? first + CHUNK : w->n_block,
                                .k = base + k_at,
                                .v = base + v_at,
                                .stride = w->block_bytes,
                                .table = layout == TABLE ? w->table : NULL,
                                .k_offset = k_at,
                                .v_offset = v_at };
        if (layout == PAGED)
            paged_partial(w, &run, w->part, layer, head);
        else
            w->k->attn_partial(&run, w->part, w->scratch);
        w->k->attn_merge(total, w->part, n_query, w->d);
    }
}

/* The last head's results must not depend on where its rows lay; in the flat layout it sees others,
 * in another order. */
static bool same_bits(const struct world *w, uint32_t n_query)
{
    size_t bytes = (size_t)n_query * w->d * sizeof(float);
    return memcmp(w->total[SPACE].o, w->total[TABLE].o, bytes) == 0 &&
           memcmp(w->total[SPACE].o, w->total[PAGED].o, bytes) == 0;
}

/* ---- time ---- */

/* Median seconds for all heads of n_layer layers, layouts taking turns. */
static void time_layouts(const struct world *w, uint32_t n_query, uint32_t n_layer,
                         double seconds[N_LAYOUT])
{
    struct samples us[N_LAYOUT] = { 0 };
    for (int64_t rep = 0; rep < w->o->n_rep; rep++)
        for (int layout = 0; layout < N_LAYOUT; layout++) {
            double start = clock_thread_us();
            for (uint32_t l = 0; l < n_layer; l++)
                for (uint32_t h = 0; h < (uint32_t)w->o->n_kv_head; h++)
                    attend(w, (enum layout)layout, n_query, l, h);
            samples_add(&us[layout], clock_thread_us() - start);
        }
    for (int layout = 0; layout < N_LAYOUT; layout++)
        seconds[layout] = samples_median(&us[layout]) * 1e-6;
}

static enum status print_times(const struct world *w, struct note *why)
{
    uint32_t n_layer = (uint32_t)w->o->n_layer, share = (uint32_t)w->o->n_share;
    double decode[N_LAYOUT], prefill[N_LAYOUT];
    time_layouts(w, share, n_layer, decode);
    bool same = same_bits(w, share);
    time_layouts(w, w->n_query, 1, prefill);
    if (!same || !same_bits(w, w->n_query)) {
        note_set(why, "the layouts gave different bits: please report this");
        return CORRUPT;
    }
    double gb = 2e-9 * (double)w->part_bytes * w->n_block * n_layer * (double)w->o->n_kv_head;
    double gflop = 4e-9 * w->n_query * w->d * (double)w->o->n_ctx * (double)w->o->n_kv_head;
    printf("%-38s %12s %8s %16s %8s\n", "", "decode GB/s", "time", "prefill GFLOP/s", "time");
    for (int i = 0; i < N_LAYOUT; i++)
        printf("  %-36s %12.1f %7.2fx %16.1f %7.2fx\n", layout_names[i], gb / decode[i],
               decode[i] / decode[SPACE], gflop / prefill[i], prefill[i] / prefill[SPACE]);
    return OK;
}

static enum status check_options(const struct bench_attn_options *o, struct note *why)
{
    if (o->d_head % 8 == 0 && o->n_ctx % KV_BLOCK == 0)
        return OK;
    note_set(why, "--head-dim %lld must be a multiple of 8, and --ctx-size %lld one of 64",
             (long long)o->d_head, (long long)o->n_ctx);
    return BAD_INPUT;
}

enum status bench_attn_compare(const struct bench_attn_options *o, struct note *why)
{
    struct world w = { .blocks.fd = -1, .pages.fd = -1 };
    enum status st = check_options(o, why);
    if (st == OK)
        st = world_open(&w, o, why);
    if (st == OK) {
        printf("Attention to %lld positions, %lld layers x %lld kv_heads of %lld (%s), %lld heads "
               "ask each, %s, one thread\n",
               (long long)o->n_ctx, (long long)o->n_layer, (long long)o->n_kv_head,
               (long long)o->d_head, show_bytes(w.n_block * w.block_bytes).text,
               (long long)o->n_share, w.k->name);
        st = print_times(&w, why);
    }
    world_close(&w);
    return st;
}

int bench_attention(int argc, char **argv)
{
    struct bench_attn_options o;
    struct note why = { "the system has no memory left" };
    int exit_code;
    if (!flags_read(&flags_of_bench_attention, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    enum status st = bench_attn_compare(&o, &why);
    if (st == OK)
        return EXIT_DONE;
    verb_fails(&flags_of_bench_attention, &why);
    return st == BAD_INPUT ? EXIT_USAGE : EXIT_FAILED;
}
