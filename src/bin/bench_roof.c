#include "bin/bench_roof.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "bin/samples.h"
#include "model/model.h"
#include "os/gate.h"
#include "os/pages.h"
#include "os/workers.h"

/* Short runs, many of them: on a busy machine one falls between the others. */
enum { TIMES = 48, RUN_US = 1000 };

enum {
    SLICE = 48 << 20
}; // bytes of one run, or all there are: starting and stopping cost little beside

/* ---- roofs ---- */

/* One run on all threads: each part adds the operations that it did. */
struct products {
    kern_peak *peak;
    uint64_t n_round;
    _Atomic uint64_t n_op;
};

static void multiply_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct products *p = arg;
    (void)part, (void)n_part;
    atomic_fetch_add(&p->n_op, p->peak(p->n_round));
}

/* Operations a second. Runs grow until starting them costs nothing beside. */
static double peak_rate(struct workers *workers, kern_peak *peak)
{
    struct samples rate = { 0 };
    struct products p = { .peak = peak, .n_round = 1024 };
    while (rate.n < TIMES) {
        atomic_store(&p.n_op, 0);
        const double began = clock_us();
        workers_run(workers, multiply_part, &p);
        const double us = clock_us() - began;
        if (us < RUN_US)
            p.n_round *= 2;
        else
            samples_add(&rate, (double)atomic_load(&p.n_op) / us * 1e6);
    }
    return samples_largest(&rate);
}

struct reading {
    kern_peak_read *peak;
    const char *at;
    size_t n;
    _Atomic uint64_t sum; // keeps the loads
};

static void read_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct reading *r = arg;
    const size_t each = r->n / n_part / PEAK_READ * PEAK_READ;
    atomic_fetch_add(&r->sum, r->peak(r->at + part * each, each));
}

/* Bytes a second, the median: memory is shared with the rest of the machine, and what one millisecond gives no second
 * does (two cores of a Zen 3: now and then 36 GB/s, 28 for long). */
static enum status read_rate(struct workers *workers, kern_peak_read *peak, size_t bytes,
                             double *out, struct note *why)
{
    const size_t n_slice = bytes > SLICE ? bytes / SLICE : 1;
    struct samples rate = { 0 };
    struct reading r = { .peak = peak, .n = bytes / n_slice / PEAK_READ * PEAK_READ };
    void *memory;
    enum status st = pages_new(&memory, bytes, "the bandwidth probe", why);
    if (st != OK)
        return st;
    memset(memory, 1, bytes);
    for (size_t i = 0; i < TIMES; i++) {
        r.at = (const char *)memory + i % n_slice * r.n;
        const double began = clock_us();
        workers_run(workers, read_part, &r);
        samples_add(&rate, (double)r.n / (clock_us() - began) * 1e6);
    }
    pages_free(memory, bytes);
    *out = samples_median(&rate);
    return OK;
}

enum status roof_measure(struct amounts *out, const struct kernels *k, uint32_t n_thread,
                         size_t read_bytes, struct note *why)
{
    struct workers *workers;
    struct amounts a;
    enum status st = workers_new(&workers, n_thread, why);
    if (st != OK)
        return st;
    a.int8 = peak_rate(workers, k->peak_int8);
    a.fp32 = peak_rate(workers, k->peak_f32);
    st = read_rate(workers, k->peak_read, read_bytes, &a.read, why);
    workers_free(workers);
    if (st == OK)
        *out = a;
    return st;
}

enum status roof_bytes_of(size_t *out, const char *path, struct note *why)
{
    const size_t least = (size_t)16 << 20, most = (size_t)1 << 30;
    struct stat file;
    if (stat(path, &file) != 0) {
        note_set(why, "cannot see how large '%s' is: %m", path);
        return BAD_INPUT;
    }
    const size_t size = (size_t)file.st_size;
    *out = size < least ? least : size > most ? most : size;
    return OK;
}

/* ---- the barrier ---- */

/* Of parts that do nothing, the caller would take all (W3): each waits until every one has begun. */
static void meet(void *all, uint32_t part, uint32_t n_part)
{
    struct gate *not_here = all;
    (void)part, (void)n_part;
    gate_count_down(not_here);
    gate_wait_zero(not_here);
}

/* The median, as a thread that loses its processor costs some batches. There are fewer where processors are, too. */
enum status barrier_measure(double *ns, uint32_t n_thread, struct note *why)
{
    enum { BATCHES = 400, BATCHES_LEAST = 3, RUNS = 16, LIMIT_US = 50000 };
    struct samples batch = { 0 };
    _Alignas(64) struct gate not_here = { 0 }; // a line of its own
    struct workers *workers;
    const enum status st = workers_new(&workers, n_thread, why);
    if (st != OK)
        return st;
    const double start = clock_us();
    while (batch.n < BATCHES && (batch.n < BATCHES_LEAST || clock_us() - start < LIMIT_US)) {
        const double began = clock_us();
        for (int run = 0; run < RUNS; run++) {
            gate_set(&not_here, n_thread);
            workers_run(workers, meet, &not_here);
        }
        samples_add(&batch, (clock_us() - began) * 1e3 / RUNS);
    }
    workers_free(workers);
    *ns = samples_median(&batch);
    return OK;
}

/* ---- work ---- */

static bool is_named(const struct gguf_tensor *t, const char *name)
{
    return t->name.len == strlen(name) && memcmp(t->name.bytes, name, t->name.len) == 0;
}

static void count_matrices(struct model_work *m, const struct gguf *g)
{
    const char *head = gguf_tensor_find(g, "output.weight") ? "output.weight" : "token_embd.weight";
    for (size_t i = 0; i < gguf_n_tensor(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const bool is_head = is_named(t, head);
        if (t->n_dim != 2)
            continue;
        if (!is_head && is_named(t, "token_embd.weight"))
            continue; // a row is looked up, nothing is multiplied
        struct amounts *a = is_head ? &m->logits : &m->token;
        *(dtype_info(t->type)->block_elems > 1 ? &a->int8 : &a->fp32) +=
            2 * (double)t->dim[0] * (double)t->dim[1];
    }
}

/* What general.file_type's number is called in the names of files. */
static const char *file_type(const struct gguf *g)
{
    static const char *const names[] = {
        [0] = "F32",     [1] = "F16",     [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L", [14] = "Q4_K_S", [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",   [25] = "IQ4_NL", [30] = "IQ4_XS", [32] = "BF16",
    };
    uint32_t type = UINT32_MAX;
    if (gguf_get_u32(g, "general.file_type", &type, NULL) != OK ||
        type >= sizeof names / sizeof *names || !names[type])
        return "of a type unsaid";
    return names[type];
}

enum status model_work_read(struct model_work *out, const char *path, enum kv_type type,
                            struct note *why)
{
    struct model_work m = { 0 };
    struct gguf *g;
    enum status st = gguf_open(&g, path, why);
    if (st != OK)
        return st;
    st = model_describe(&m.h, &m.arch, g, why);
    if (st == OK) {
        count_matrices(&m, g);
        m.type = file_type(g);
        hparams_kv_shape(&m.h, type, &m.kv);
        *out = m;
    }
    gguf_close(g);
    return st;
}

/* Attention of one token that sees n positions of all, or its window of them. */
static struct amounts attend(const struct model_work *m, uint32_t n)
{
    struct amounts a = { 0 };
    for (uint32_t g = 0; g < m->kv.n_group; g++) {
        const struct kv_group *group = &m->kv.group[g];
        const double seen = group->window && group->window < n ? group->window : n;
        a.fp32 += 2.0 * (group->d_k + group->d_v) * m->h.n_head * seen * group->n_layer;
        a.read += (double)kv_layer_bytes(&m->kv, g) / KV_BLOCK * seen * group->n_layer;
    }
    return a;
}

struct amounts work_of_test(const struct model_work *m, size_t weight_bytes,
                            const struct bench_test *t)
{
    const double n_token = (double)t->n_prompt + t->n_gen;
    const double n_logits = (t->n_prompt > 0) + (double)t->n_gen;
    struct amounts sum = {
        .int8 = m->token.int8 * n_token + m->logits.int8 * n_logits,
        .fp32 = m->token.fp32 * n_token + m->logits.fp32 * n_logits,
    };
    for (uint32_t i = 0; i < t->n_prompt + t->n_gen; i++) {
        const struct amounts a = attend(m, t->depth + i + 1);
        sum.fp32 += a.fp32;
        sum.read += i < t->n_prompt ? 0 : a.read;
    }
    sum.int8 *= t->n_seq;
    sum.fp32 *= t->n_seq;
    sum.read = sum.read * t->n_seq + (double)weight_bytes * t->n_gen;
    if (t->n_prompt)
        sum.read =
            NAN; // its steps are bound by products, and how many there are is the engine's affair
    return sum;
}
