#include "bin/bench_kv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bin/show.h"
#include "bin/verbs.h"
#include "kv/view.h"
#include "os/vm.h"

enum { REPS_MAX = 101, SEQ_MAX = 64, OP_BLOCKS = 24 };

struct bench_kv_options {
    int64_t n_layer, n_kv_head, d_head, n_ctx, n_seq, n_rep;
    uint32_t kv_type;
    uint64_t kv_ram;
};

#define COUNT_FLAG(name, field, n, from, to, text)                                                 \
    {                                                                                              \
        .names = name, .type = FLAG_INT, .at = FLAG_AT(bench_kv_options, field), .unit = "N",      \
        .preset = n, .least = from, .most = to, .help = text                                       \
    }

static const struct flag rows[] = {
    COUNT_FLAG("--layers", n_layer, "30", 1, KV_LAYER_MAX, "Layers of the model."),
    COUNT_FLAG("--kv-heads", n_kv_head, "3", 1, 256, "Heads of keys and values a layer."),
    COUNT_FLAG("--head-dim", d_head, "64", 8, 1024, "Elements a head; a multiple of 8."),
    COUNT_FLAG("-c --ctx-size", n_ctx, "8192", 2112, 1 << 24, "Longest context of a sequence."),
    COUNT_FLAG("-s --seqs", n_seq, "4", 1, SEQ_MAX, "Sequences that decode together."),
    COUNT_FLAG("-r --reps", n_rep, "7", 1, REPS_MAX, "Repetitions; medians are shown."),
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(bench_kv_options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = "f16 f32 int8", // in the order of enum kv_type
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
    "akvifer bench kv --layers 24 --kv-heads 2 --kv-type int8 --kv-ram 1G",
    NULL,
};

const struct flag_table flags_of_bench_kv = {
    .verb = "bench kv",
    .summary = "what KV memory costs and saves",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

static struct kv_shape shape_of(const struct bench_kv_options *o)
{
    struct kv_shape s = {
        .type = (enum kv_type)o->kv_type,
        .n_group = 1,
        .group = { { .n_layer = (uint32_t)o->n_layer,
                     .n_kv_head = (uint32_t)o->n_kv_head,
                     .d_k = (uint32_t)o->d_head,
                     .d_v = (uint32_t)o->d_head } },
        .n_layer = (uint32_t)o->n_layer,
    };
    for (uint32_t i = 0; i < s.n_layer; i++)
        s.layer_index[i] = (uint16_t)i;
    return s;
}

/* ---- time ---- */

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* Microseconds of something that was repeated. */
struct times {
    uint32_t n;
    double us[REPS_MAX];
};

static void times_add(struct times *t, double us)
{
    if (t->n < REPS_MAX)
        t->us[t->n++] = us;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The time that a share `q` of all took less than. */
static double quantile(struct times *t, double q)
{
    qsort(t->us, t->n, sizeof *t->us, by_size);
    return t->n ? t->us[(uint32_t)(q * (t->n - 1) + 0.5)] : NAN;
}

static double median(struct times *t)
{
    return quantile(t, 0.5);
}

/* ---- 1: system calls ---- */

enum op { BACK, COLLAPSE, MAP, MAP_AGAIN, MAP_READ, SEAL, UNMAP, UNMAP_BATCH, PUNCH, N_OP };

static const char *const op_names[N_OP] = {
    [BACK] = "give it memory (cleared)",
    [COLLAPSE] = "make huge pages of it",
    [MAP] = "map, populated, alone",
    [MAP_AGAIN] = "map, populated, behind its neighbour",
    [MAP_READ] = "map, then read every page",
    [SEAL] = "make it read-only",
    [UNMAP] = "unmap one",
    [UNMAP_BATCH] = "unmap in a batch",
    [PUNCH] = "take its memory away",
};

struct blocks {
    size_t block_bytes, bytes;
    uint32_t n;
    int fd;
    char *pool, *space;
};

static enum status blocks_open(struct blocks *a, size_t block_bytes, size_t bytes_max,
                               struct note *why)
{
    *a = (struct blocks){ .block_bytes = block_bytes, .fd = -1 };
    a->n = (uint32_t)(bytes_max / block_bytes < OP_BLOCKS ? bytes_max / block_bytes : OP_BLOCKS);
    a->bytes = (a->n * block_bytes + VM_HUGE_BYTES - 1) & -(size_t)VM_HUGE_BYTES;
    enum status st = vm_file_open("akvifer-bench", a->bytes, &a->fd, why);
    if (st == OK)
        st = vm_reserve(a->bytes, &a->pool, why);
    if (st == OK)
        st = vm_reserve(a->bytes, &a->space, why);
    if (st == OK && (st = vm_map(a->pool, a->bytes, a->fd, 0, VM_WRITE, false)) != OK)
        note_set(why, "cannot map %zu MiB", a->bytes >> 20);
    return st;
}

static void blocks_close(struct blocks *a)
{
    vm_unreserve(a->pool, a->bytes);
    vm_unreserve(a->space, a->bytes);
    vm_file_close(a->fd);
}

/* Maps block i of the file at place `to` of the space. */
static enum status map_block(const struct blocks *a, uint32_t i, uint32_t to)
{
    return vm_map(a->space + to * a->block_bytes, a->block_bytes, a->fd, i * a->block_bytes,
                  VM_WRITE, true);
}

/* As a fork does: mapped read-only, and then somebody reads. */
static enum status map_and_read(const struct blocks *a, uint32_t i)
{
    volatile char *at = a->space + i * a->block_bytes;
    enum status st = vm_map((char *)at, a->block_bytes, a->fd, i * a->block_bytes, VM_READ, false);
    for (size_t k = 0; st == OK && k < a->block_bytes; k += 4096)
        at[k];
    return st;
}

static enum status collapse_all(const struct blocks *a)
{
    for (size_t at = 0; at < a->bytes; at += VM_HUGE_BYTES)
        if (vm_collapse(a->pool + at) != OK)
            return FULL;
    return OK;
}

static enum status do_op(const struct blocks *a, enum op op, uint32_t i)
{
    size_t offset = i * a->block_bytes;
    switch (op) {
    case BACK: // the tail as well: a huge page wants all of its small ones
        return vm_back(a->pool + offset, i + 1 < a->n ? a->block_bytes : a->bytes - offset, a->fd,
                       offset);
    case COLLAPSE:
        return i ? OK : collapse_all(a);
    case MAP:
        return map_block(a, a->n - 1 - i, i);
    case MAP_AGAIN:
        return map_block(a, i, i);
    case MAP_READ:
        return map_and_read(a, i);
    case SEAL:
        return vm_protect(a->space + offset, a->block_bytes, VM_READ);
    case UNMAP:
        return vm_unmap(a->space + offset, a->block_bytes);
    case UNMAP_BATCH:
        return i ? OK : vm_unmap(a->space, a->n * a->block_bytes);
    default:
        return vm_punch(a->fd, offset, a->block_bytes);
    }
}

/* One round of all operations over all blocks; microseconds a block. FULL: one was refused, e.g.
 * huge pages. */
static enum status time_ops(const struct blocks *a, bool huge, struct times us[N_OP])
{
    static const enum op order[] = {
        BACK, COLLAPSE, MAP, SEAL, UNMAP, MAP_AGAIN, UNMAP_BATCH, MAP_READ, UNMAP_BATCH, PUNCH,
    };
    for (uint32_t k = 0; k < sizeof order / sizeof *order; k++) {
        if (order[k] == COLLAPSE && !huge)
            continue;
        double start = now_us();
        for (uint32_t i = 0; i < a->n; i++) {
            enum status st = do_op(a, order[k], i);
            if (st != OK)
                return st;
        }
        times_add(&us[order[k]], (now_us() - start) / a->n);
    }
    return OK;
}

static void print_op(enum op op, struct times *small, struct times *huge, size_t block_bytes)
{
    printf("  %-38s", op_names[op]);
    for (int h = 0; h < 2; h++) {
        struct times *t = h ? huge : small;
        if (t->n == 0)
            printf("%12s %10s", "-", "");
        else
            printf("%9.1f us %5.1f GB/s", median(t), (double)block_bytes / median(t) * 1e-3);
    }
    printf("\n");
}

/* All rounds of one kind of pages. */
static enum status time_rounds(const struct bench_kv_options *o, size_t block_bytes, bool huge,
                               struct times us[N_OP], struct note *why)
{
    enum status st = OK;
    for (int64_t r = 0; r < o->n_rep && st == OK; r++) {
        struct blocks a;
        st = blocks_open(&a, block_bytes, o->kv_ram, why);
        if (st == OK)
            st = time_ops(&a, huge, us);
        blocks_close(&a);
    }
    return st;
}

static enum status bench_operations(const struct bench_kv_options *o, struct note *why)
{
    struct times small[N_OP] = { 0 }, huge[N_OP] = { 0 };
    struct kv_shape shape = shape_of(o);
    size_t block_bytes = kv_block_bytes(&shape, 0);
    enum status st = time_rounds(o, block_bytes, false, small, why);
    if (st != OK)
        return st;
    bool granted = time_rounds(o, block_bytes, true, huge, NULL) == OK;
    printf("One block of %-27s      small pages             huge pages%s\n",
           show_bytes(block_bytes).text, granted ? "" : " (not granted)");
    for (int op = 0; op < N_OP; op++) {
        if (!granted)
            huge[op].n = 0;
        print_op(op, &small[op], &huge[op], block_bytes);
    }
    return OK;
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

/* Waits until the populator has nothing left to do. */
static void await_backed(const struct world *w)
{
    struct kv_pool_usage u;
    size_t block_bytes = kv_block_bytes(&w->shape, 0);
    do {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        kv_pool_usage(w->pool, &u);
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
    *w = (struct world){ .shape = shape_of(o) };
    size_t bytes = n_block * kv_block_bytes(&w->shape, 0);
    struct kv_pool_config pool = { .shape = &w->shape,
                                   .bytes_max = bytes < o->kv_ram ? bytes : o->kv_ram,
                                   .populate = form.backed };
    enum status st = kv_pool_new(&w->pool, &pool, why);
    if (st != OK)
        return st;
    if (form.backed)
        await_backed(w);
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

enum { CALL_ROWS = 2048 };

/* One sequence of 2,048 positions, row by row, then forked. */
static enum status time_life(struct world *w, struct times us[N_CALL], struct note *why)
{
    struct kv_space *fork;
    double spent[N_CALL] = { 0 }, start;
    uint32_t n[N_CALL] = { 0 };
    enum status st = kv_space_new(&w->space[0], w->all, why);
    for (uint32_t p = 1; p <= CALL_ROWS && st == OK; p++) {
        enum call grow = p % KV_BLOCK == 1 ? GROW_BLOCK : GROW_ROW;
        enum call commit = p % KV_BLOCK == 0 ? COMMIT_BLOCK : COMMIT_ROW;
        start = now_us();
        st = kv_space_grow(w->space[0], p);
        spent[grow] += now_us() - start;
        n[grow]++;
        if (st != OK)
            break;
        start = now_us();
        kv_space_commit(w->space[0], p);
        spent[commit] += now_us() - start;
        n[commit]++;
    }
    start = now_us();
    if (st == OK)
        st = kv_space_fork(&fork, w->space[0], CALL_ROWS, why);
    if (st != OK)
        return st;
    times_add(&us[FORK], now_us() - start);
    start = now_us();
    kv_space_free(fork);
    times_add(&us[FREE], now_us() - start);
    for (int c = GROW_ROW; c <= COMMIT_BLOCK; c++)
        times_add(&us[c], spent[c] / n[c]);
    kv_space_free(w->space[0]);
    w->space[0] = NULL;
    kv_spaces_settle(w->all);
    return OK;
}

static enum status time_take(struct world *w, struct times *us)
{
    enum { N = 10000 };
    double start = now_us();
    for (uint32_t i = 0; i < N; i++) {
        block_id b;
        if (kv_pool_take(w->pool, 0, &b) != OK)
            return FULL;
        kv_pool_release(w->pool, b);
    }
    times_add(us, (now_us() - start) / N);
    return OK;
}

static enum status bench_calls(const struct bench_kv_options *o, struct note *why)
{
    static const struct form forms[] = { { .name = "space", .backed = true },
                                         { .name = "table", .backed = true, .table = true } };
    struct times us[2][N_CALL] = { 0 };
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
        printf("  %-34s %8.2f us %7.2f us\n", call_names[c], median(&us[0][c]), median(&us[1][c]));
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
    for (double until = now_us() + us; now_us() < until;)
        ;
}

/* Sequences decode side by side: the time of each growth by a block, and of each commit that seals
 * one. */
static enum status time_decode(struct world *w, uint32_t n_seq, struct times *grow,
                               struct times *seal, struct note *why)
{
    enum status st = OK;
    for (uint32_t i = 0; i < n_seq && st == OK; i++)
        if ((st = kv_space_new(&w->space[i], w->all, why)) == OK)
            st = kv_space_grow(w->space[i], 1 + i * 16 % KV_BLOCK); // out of step with each other
    for (uint32_t step = 0; step < DECODE_ROWS && st == OK; step++) {
        for (uint32_t i = 0; i < n_seq && st == OK; i++) {
            uint32_t n = kv_space_grown(w->space[i]);
            double start = now_us();
            kv_space_commit(w->space[i], n);
            double middle = now_us();
            st = kv_space_grow(w->space[i], n + 1);
            if (n % KV_BLOCK == 0) {
                times_add(seal, middle - start);
                times_add(grow, now_us() - middle);
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
        struct times grow = { 0 }, seal = { 0 };
        struct world w;
        enum status st = world_open(&w, o, forms[f], DECODE_BLOCKS * (uint32_t)o->n_seq, why);
        if (st == OK)
            st = time_decode(&w, (uint32_t)o->n_seq, &grow, &seal, why);
        world_close(&w);
        if (st != OK)
            return st;
        printf("  %-34s %12.2f us %10.2f us %13.2f us\n", forms[f].name, median(&grow),
               quantile(&grow, 0.9), median(&seal));
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
    uint64_t used, block16, ours, block256, reserved;
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
    printf("\nMemory of %u chats (log-normal lengths, mean %llu rows) %9s %13s\n", h.n_seq,
           (unsigned long long)(h.used / row / h.n_seq), "held", "unused");
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
    if (o->d_head % 8) {
        note_set(why, "--head-dim %lld is not a multiple of 8", (long long)o->d_head);
        return BAD_INPUT;
    }
    struct kv_shape shape = shape_of(o);
    size_t least = blocks_needed(o) * kv_block_bytes(&shape, 0);
    if (o->kv_ram < least) {
        note_set(why, "--kv-ram %s is too little: %u blocks of %s are %s",
                 show_bytes(o->kv_ram).text, blocks_needed(o),
                 show_bytes(kv_block_bytes(&shape, 0)).text, show_bytes(least).text);
        return BAD_INPUT;
    }
    return OK;
}

int bench_kv(int argc, char **argv)
{
    static enum status (*const parts[])(const struct bench_kv_options *, struct note *) = {
        check_options, bench_operations, bench_calls, bench_ahead, bench_lengths, bench_sharing,
    };
    struct bench_kv_options o;
    struct note why = { "the system has no memory left" };
    enum status st = OK;
    int exit_code;
    if (!flags_read(&flags_of_bench_kv, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    for (size_t i = 0; i < FLAG_COUNT(parts) && st == OK; i++) {
        st = parts[i](&o, &why);
        fflush(stdout); // each table as soon as it is there
    }
    if (st == OK)
        return EXIT_DONE;
    verb_fails(&flags_of_bench_kv, &why);
    return st == BAD_INPUT ? EXIT_USAGE : EXIT_FAILED;
}
