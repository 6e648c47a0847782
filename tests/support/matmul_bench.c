#include "support/matmul_bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "kernels/kernels.h"
#include "support/timing.h"
#include "support/weights.h"

/* Weights are read from a ring of copies larger than any cache here, as a model's are. */
enum { N_ROW_MAX = 512, RING_BYTES = 192 << 20, N_REPEAT = 5 };

static const char HEADER[] =
    "table   type     n x k          rows   1 thread: GOP/s  GB/s   2 threads: GOP/s  GB/s\n";
struct job {
    const struct kernels *k;
    struct packed w; // data is the ring's first copy
    struct acts x;
    float *y;
    uint32_t n_copy, n_call, n_thread;
    pthread_barrier_t start;
};

struct worker {
    struct job *job;
    uint32_t index;
    double cpu_s;
};

static void pin(uint32_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *work(void *arg)
{
    struct worker *me = arg;
    struct job *job = me->job;
    void *scratch = aligned_alloc(64, matmul_scratch_bytes(&job->w));
    uint32_t first = job->w.n_panel * me->index / job->n_thread;
    uint32_t last = job->w.n_panel * (me->index + 1) / job->n_thread;
    pin(me->index);
    pthread_barrier_wait(&job->start);
    me->cpu_s = cpu_seconds();
    for (uint32_t i = 0; i < job->n_call; i++) {
        struct packed w = job->w;
        w.data += (size_t)(i % job->n_copy) * w.n_panel * w.panel_bytes;
        job->k->matmul(&w, first, last, &job->x, job->y, w.n, scratch);
    }
    me->cpu_s = cpu_seconds() - me->cpu_s;
    free(scratch);
    return NULL;
}

/* Seconds a call, of the slower thread. */
static double time_once(struct job *job, uint32_t n_thread)
{
    pthread_t thread[2];
    struct worker worker[2];
    double slowest = 0;
    job->n_thread = n_thread;
    pthread_barrier_init(&job->start, NULL, n_thread);
    for (uint32_t i = 0; i < n_thread; i++) {
        worker[i] = (struct worker){ .job = job, .index = i };
        pthread_create(&thread[i], NULL, work, &worker[i]);
    }
    for (uint32_t i = 0; i < n_thread; i++) {
        pthread_join(thread[i], NULL);
        slowest = worker[i].cpu_s > slowest ? worker[i].cpu_s : slowest;
    }
    pthread_barrier_destroy(&job->start);
    return slowest / job->n_call;
}

/* Median seconds a call, each sample about 60 ms long and through the whole ring where the batch is small. */
static double time_calls(struct job *job, uint32_t n_thread)
{
    double sample[N_REPEAT];
    job->n_call = 1;
    double guess = time_once(job, n_thread);
    job->n_call = 1 + (uint32_t)(0.06 / (guess + 1e-7));
    for (int i = 0; i < N_REPEAT; i++)
        sample[i] = time_once(job, n_thread);
    return median(sample, N_REPEAT);
}

struct products {
    kern_peak *peak;
    uint64_t n_round, n_op;
    uint32_t cpu;
    double cpu_s;
};

static void *multiply(void *arg)
{
    struct products *p = arg;
    pin(p->cpu);
    p->cpu_s = cpu_seconds();
    p->n_op = p->peak(p->n_round);
    p->cpu_s = cpu_seconds() - p->cpu_s;
    return NULL;
}

/* Seconds of the slower thread, and the operations of all. */
static double multiply_once(kern_peak *peak, uint64_t n_round, uint32_t n_thread, uint64_t *n_op)
{
    pthread_t thread[2];
    struct products p[2];
    double slowest = 0;
    *n_op = 0;
    for (uint32_t i = 0; i < n_thread; i++) {
        p[i] = (struct products){ .peak = peak, .n_round = n_round, .cpu = i };
        pthread_create(&thread[i], NULL, multiply, &p[i]);
    }
    for (uint32_t i = 0; i < n_thread; i++) {
        pthread_join(thread[i], NULL);
        slowest = p[i].cpu_s > slowest ? p[i].cpu_s : slowest;
        *n_op += p[i].n_op;
    }
    return slowest;
}

/* In GOP/s, the best of many short runs: on a busy machine one falls between the others. */
static double peak_rate(kern_peak *peak, uint32_t n_thread)
{
    enum { N_RUN = 48 };
    uint64_t n_round = 1024, n_op;
    double best = 0;
    while (multiply_once(peak, n_round, n_thread, &n_op) < 0.002)
        n_round *= 2;
    for (int i = 0; i < N_RUN; i++) {
        const double s = multiply_once(peak, n_round, n_thread, &n_op);
        best = (double)n_op / s > best ? (double)n_op / s : best;
    }
    return 1e-9 * best;
}

static void time_peaks(const struct kernels *k)
{
    printf("%-7s roofs here (1, 2 threads): int8 %.0f, %.0f GOP/s; f32 %.0f, %.0f GOP/s\n", k->name,
           peak_rate(k->peak_int8, 1), peak_rate(k->peak_int8, 2), peak_rate(k->peak_f32, 1),
           peak_rate(k->peak_f32, 2));
}

static void *big_pages(size_t bytes)
{
    void *p = aligned_alloc(2 << 20, (bytes + (2 << 20) - 1) >> 21 << 21);
    if (!p || madvise(p, bytes, MADV_HUGEPAGE))
        fprintf(stderr, "no huge pages\n");
    return p;
}

/* A batch as the engine has it for weights of a type: what they do not read is not written. */
static void place(struct acts *x, const struct kernels *k, enum dtype type, uint32_t n_row,
                  uint32_t n_k, void *memory)
{
    acts_place(x, n_row, n_k, kernels_form(k, n_row), memory);
    acts_leave_out(x, k->reads_excess ? acts_offsets_of(type) : 0);
}

static void time_shape(const struct kernels *k, enum dtype type, uint32_t n, uint32_t n_k,
                       uint8_t *ring)
{
    static const uint32_t batches[] = { 1, 4, 8, 16, N_ROW_MAX };
    struct rng rng = rng_seeded(1, 1);
    struct job job = { .k = k };
    packed_shape(&job.w, type, n, n_k);
    size_t matrix = job.w.n_panel * job.w.panel_bytes;
    job.n_copy = (uint32_t)(RING_BYTES / matrix);
    uint8_t *rows = malloc(n * dtype_bytes(type, n_k));
    float *x = malloc((size_t)N_ROW_MAX * n_k * sizeof *x);
    void *memory = big_pages(acts_bytes(N_ROW_MAX, n_k));

    random_weights(rows, type, n, n_k, &rng, false);
    for (uint32_t i = 0; i < job.n_copy; i++)
        packed_fill(&job.w, rows, ring + i * matrix, 0, job.w.n_panel);
    job.w.data = ring;
    random_floats(x, (size_t)N_ROW_MAX * n_k, &rng, false);
    job.x.f = x;
    job.y = big_pages((size_t)N_ROW_MAX * n * sizeof *job.y);
    memset(job.y, 0, (size_t)N_ROW_MAX * n * sizeof *job.y);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        place(&job.x, k, type, batches[i], n_k, memory);
        k->quantise(&job.x, 0, batches[i]);
        double one = time_calls(&job, 1), two = time_calls(&job, 2);
        double ops = 2e-9 * n * n_k * batches[i], bytes = 1e-9 * (double)matrix;
        printf("%-7s %-7s %5u x %-5u  %5u   %15.1f %6.2f %17.1f %6.2f\n", k->name,
               dtype_info(type)->name, n, n_k, batches[i], ops / one, bytes / one, ops / two,
               bytes / two);
        fflush(stdout);
    }
    free(job.y);
    free(memory);
    free(x);
    free(rows);
}

static void time_packing(enum dtype type, uint8_t *ring)
{
    enum { N = 16384, K = 1536 };
    struct packed w;
    struct rng rng = rng_seeded(2, 1);
    size_t bytes = N * dtype_bytes(type, K);
    uint8_t *rows = big_pages(bytes);
    double sample[N_REPEAT];
    packed_shape(&w, type, N, K);
    random_weights(rows, type, N, K, &rng, false);
    for (int i = 0; i < N_REPEAT; i++) {
        double t = cpu_seconds();
        packed_fill(&w, rows, ring, 0, w.n_panel);
        sample[i] = cpu_seconds() - t;
    }
    printf("packed_fill %-7s 1 thread %6.2f GB/s\n", dtype_info(type)->name,
           1e-9 * (double)bytes / median(sample, N_REPEAT));
    free(rows);
}

static void time_quantise(const struct kernels *k, enum dtype type)
{
    enum { N = 64, K = 1536, N_CALL = 100 };
    struct rng rng = rng_seeded(3, 1);
    float *x = malloc(N * K * sizeof *x);
    void *memory = aligned_alloc(64, acts_bytes(N, K));
    struct acts a = { .f = x };
    random_floats(x, N * K, &rng, false);
    place(&a, k, type, N, K, memory);
    k->quantise(&a, 0, N);
    double t = cpu_seconds();
    for (int i = 0; i < N_CALL; i++)
        k->quantise(&a, 0, N);
    t = cpu_seconds() - t;
    printf("%-7s %-7s quantise 1 thread %6.2f G elements/s\n", k->name, dtype_info(type)->name,
           1e-9 * N * K * N_CALL / t);
    free(memory);
    free(x);
}

/* Whether `name` is asked for; it is, too, when no name of its kind is. */
static bool asked(const char *name, int n_name, char **names, bool (*is_kind)(const char *))
{
    bool any = false;
    for (int i = 0; i < n_name; i++) {
        if (strcasecmp(names[i], name) == 0)
            return true;
        any |= is_kind(names[i]);
    }
    return !any;
}

static bool is_table(const char *name)
{
    return strcasecmp(name, "ref") == 0 || strcasecmp(name, "amx") == 0 ||
           strncasecmp(name, "avx", 3) == 0;
}

static bool is_type(const char *name)
{
    return !is_table(name);
}

static void time_table(const struct kernels *k, int n_name, char **names, uint8_t *ring)
{
    static const uint32_t shapes[][2] = { { 1536, 576 }, { 576, 1536 }, { 4864, 896 } };
    for (int t = 0; t < N_WEIGHT_TYPE; t++) {
        const struct dtype_info *info = dtype_info(weight_types[t]);
        if (!asked(info->name, n_name, names, is_type))
            continue;
        if (is_quantised(weight_types[t]))
            time_quantise(k, weight_types[t]);
        for (int s = 0; s < 3; s++) { /* super-blocks: the next multiple of 256 */
            uint32_t block = info->block_elems;
            time_shape(k, weight_types[t], shapes[s][0], (shapes[s][1] + block - 1) / block * block,
                       ring);
        }
    }
}

int matmul_bench(int n_name, char **names)
{
    const struct kernels *available[4];
    uint32_t n_table = kernels_available(available, 4);
    uint8_t *ring = big_pages(RING_BYTES);
    for (int t = 0; t < N_WEIGHT_TYPE; t++)
        if (asked(dtype_info(weight_types[t])->name, n_name, names, is_type))
            time_packing(weight_types[t], ring);
    fputs(HEADER, stdout);
    for (uint32_t i = n_table == 1 ? 0 : 1; i < n_table; i++)
        if (asked(available[i]->name, n_name, names, is_table)) {
            time_peaks(available[i]);
            time_table(available[i], n_name, names, ring);
        }
    free(ring);
    return 0;
}
