/* bin/bench.c - tokens a second of reading (pp) and of generating (tg), at depths, threads and KV types.
 *
 * Each figure is the median of -r repetitions inside one engine. A test at depth d first reads d tokens, whose KV is kept;
 * what is timed reuses them, and `cached` is checked. The share of the roof is that of memory: bytes of weights and KV a
 * generated token reads, against the bandwidth that all threads together reach on a large buffer in the same run. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bin/bench_attn.h"
#include "bin/bench_kv.h"
#include "bin/engine_flags.h"
#include "bin/verbs.h"
#include "os/pages.h"
#include "os/workers.h"

enum { LIST_MAX = 16, REPS_MAX = 100 };

enum output { OUT_TABLE, OUT_JSONL, OUT_CSV };

struct bench_options {
    struct engine_flags engine;
    const char *n_prompt, *n_gen, *depth, *threads, *kv_types;
    int64_t reps;
    uint32_t output;
};

static const struct flag rows[] = {
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, engine.model),
      .unit = "MODEL",
      .preset = "smollm2",
      .help = "A GGUF file, or a short name that `akvifer pull` knows." },
    { .names = "-p --n-prompt",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, n_prompt),
      .unit = "LIST",
      .preset = "512",
      .help = "Prompt lengths to read (pp), comma-separated; 0: none." },
    { .names = "-n --n-gen",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, n_gen),
      .unit = "LIST",
      .preset = "128",
      .help = "Tokens to generate (tg), comma-separated; 0: none." },
    { .names = "-d --n-depth",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, depth),
      .unit = "LIST",
      .preset = "0",
      .help = "Positions that are in the cache before the test, comma-separated." },
    { .names = "-t --threads",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, threads),
      .unit = "LIST",
      .preset = "0",
      .help = "Threads that compute, comma-separated; 0: all." },
    { .names = "--kv-type",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, kv_types),
      .unit = "LIST",
      .preset = "f16",
      .help = "How keys and values are stored: f16, f32, int8, comma-separated." },
    { .names = "-r --repetitions",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_options, reps),
      .unit = "N",
      .preset = "5",
      .least = 1,
      .most = REPS_MAX,
      .help = "Repetitions of each test." },
    { .names = "-o --output",
      .type = FLAG_ENUM,
      .at = FLAG_AT(bench_options, output),
      .unit = "FORM",
      .preset = "table",
      .words = "table jsonl csv",
      .help = "How results are printed." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, engine.cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Kernels to use: auto, ref, avx2 or avx512." },
    { .names = "-ub --ubatch-size",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_options, engine.n_ubatch),
      .unit = "TOKENS",
      .least = 0,
      .most = 4096,
      .shown = "what a 40 MiB workspace allows",
      .help = "Most tokens computed in one step." },
};

const struct flag_table flags_of_bench = {
    .verb = "bench",
    .summary = "measure speed: reading and generating, KV memory, attention",
    .operands = "[kv|attention]",
    .n_operand_min = 0,
    .n_operand_max = 0,
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples =
        (const char *const[]){
            "akvifer bench -m smollm2 -p 512 -n 128 -d 0,4096",
            "akvifer bench -m qwen2 -t 1,2 --kv-type f16,int8 -o jsonl",
            "akvifer bench kv --help",
            "akvifer bench attention --help",
            NULL,
        },
};

/* ---- the roof ---- */

struct reading {
    const uint64_t *words;
    size_t n;
    _Atomic uint64_t sum; // keeps the loads
};

static void read_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct reading *r = arg;
    const size_t each = r->n / n_part;
    const uint64_t *w = r->words + part * each;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i + 8 <= each; i += 8) {
        a += w[i] + w[i + 4];
        b += w[i + 1] + w[i + 5];
        c += w[i + 2] + w[i + 6];
        d += w[i + 3] + w[i + 7];
    }
    atomic_fetch_add(&r->sum, a + b + c + d);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, uint32_t n)
{
    double sorted[REPS_MAX];
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* Bytes a second that n threads read of a buffer of `bytes`; 0 when there is no memory for it. */
static double read_bandwidth(uint32_t n_thread, size_t bytes)
{
    enum { TIMES = 9 };
    struct workers *workers;
    struct reading r = { .n = bytes / 8 };
    void *memory;
    double rate[TIMES];
    if (pages_new(&memory, bytes, "the bandwidth probe", NULL) != OK)
        return 0;
    memset(memory, 1, bytes);
    r.words = memory;
    if (workers_new(&workers, n_thread, NULL) != OK) {
        pages_free(memory, bytes);
        return 0;
    }
    for (int i = 0; i < TIMES; i++) {
        const double began = seconds();
        workers_run(workers, read_part, &r);
        rate[i] = (double)bytes / (seconds() - began);
    }
    workers_free(workers);
    pages_free(memory, bytes);
    return median(rate, TIMES);
}

/* ---- one test ---- */

struct test {
    uint32_t n_prompt, n_gen, depth;
};

struct result {
    double ns[REPS_MAX], rate[REPS_MAX]; // tokens a second
    uint32_t n;
};

static enum status ask(akv_engine *engine, const struct akv_request *r, struct akv_usage *out,
                       struct note *why)
{
    struct akv_note inner = { "" };
    struct akv_event event;
    uint64_t id;
    enum akv_status st = akv_submit(engine, r, &id, &inner);
    if (st != AKV_OK) {
        note_set(why, "%s", inner.text);
        return (enum status)st;
    }
    do {
        if (akv_next_event(engine, &event, -1) != AKV_OK)
            continue;
    } while (event.kind != AKV_EVENT_DONE);
    if (event.stop == AKV_STOP_ERROR) {
        note_set(why, "%s", event.message);
        return (enum status)event.status;
    }
    *out = event.usage;
    return OK;
}

/* Reads `depth` tokens, whose KV is kept, then reads or generates on top of them. */
static enum status run_once(akv_engine *engine, const struct test *t, const int32_t *ids,
                            double *ns, struct note *why)
{
    struct akv_request r = { .ids = ids, .n_predict = 1, .ignore_eos = true };
    struct akv_usage usage;
    enum status st = OK;
    char salt[32]; /* tests at other depths begin with the same tokens */
    snprintf(salt, sizeof salt, "depth %u", t->depth);
    r.cache_salt = salt;
    r.sampling = akv_sampling_default();
    r.sampling.temperature = 0;
    r.n_id = t->depth;
    if (t->depth)
        st = ask(engine, &r, &usage, why);
    r.n_id = t->depth + (t->n_prompt ? t->n_prompt : 1);
    r.n_predict = t->n_gen ? t->n_gen + 1 : 1;
    r.cache_no_write = true;
    if (st == OK)
        st = ask(engine, &r, &usage, why);
    if (st != OK)
        return st;
    if (usage.n_cached != t->depth) {
        note_set(why, "%u positions were to be in the cache, %u were", t->depth, usage.n_cached);
        return CORRUPT;
    }
    *ns = (double)(t->n_gen ? usage.generate_ns : usage.prompt_ns);
    return OK;
}

static enum status run_test(akv_engine *engine, const struct test *t, const int32_t *ids,
                            uint32_t reps, struct result *out, struct note *why)
{
    double warm;
    enum status st = run_once(engine, t, ids, &warm, why);
    for (out->n = 0; st == OK && out->n < reps; out->n++) {
        st = run_once(engine, t, ids, &out->ns[out->n], why);
        out->rate[out->n] = (t->n_gen ? t->n_gen : t->n_prompt) / out->ns[out->n] * 1e9;
    }
    return st;
}

/* ---- printing ---- */

struct context {
    const struct bench_options *o;
    struct akv_model_info info;
    const char *kv_type;
    uint32_t n_thread;
    size_t kv_bytes_per_token;
    double bandwidth;
};

static double spread(const double *values, uint32_t n)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += values[i];
    for (uint32_t i = 0; i < n; i++)
        squares += (values[i] - sum / n) * (values[i] - sum / n);
    return n > 1 ? sqrt(squares / (n - 1)) : 0;
}

static double mean(const double *values, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += values[i];
    return sum / n;
}

/* Bytes a second that generating reads, as a share of the roof; NAN for reading, which computes. */
static double roof_share(const struct context *c, const struct test *t, const struct result *r)
{
    const double kv = (double)c->kv_bytes_per_token * (t->depth + t->n_gen / 2.0);
    return t->n_gen ? ((double)c->info.weight_bytes + kv) * median(r->rate, r->n) / c->bandwidth
                    : NAN;
}

static void print_samples(const char *name, const double *values, uint32_t n, const char *format)
{
    printf(", \"%s\": [", name);
    for (uint32_t i = 0; i < n; i++) {
        fputs(i ? ", " : "", stdout);
        printf(format, values[i]);
    }
    putchar(']');
}

static void print_jsonl(const struct context *c, const struct test *t, const struct result *r)
{
    struct buf name = { 0 };
    buf_add_json_text(&name, c->info.name, strlen(c->info.name));
    printf("{\"build_commit\": \"" AKV_VERSION
           "\", \"model_type\": %s, \"model_size\": %zu, \"model_n_params\": %llu, "
           "\"n_threads\": %u, \"type_k\": \"%s\", \"type_v\": \"%s\", \"n_prompt\": %u, "
           "\"n_gen\": %u, \"n_depth\": %u, "
           "\"avg_ns\": %.0f, \"stddev_ns\": %.0f, \"avg_ts\": %.3f, \"stddev_ts\": %.3f, "
           "\"median_ts\": %.3f",
           buf_text(&name), c->info.weight_bytes, (unsigned long long)c->info.n_param, c->n_thread,
           c->kv_type, c->kv_type, t->n_prompt, t->n_gen, t->depth, mean(r->ns, r->n),
           spread(r->ns, r->n), mean(r->rate, r->n), spread(r->rate, r->n), median(r->rate, r->n));
    print_samples("samples_ns", r->ns, r->n, "%.0f");
    print_samples("samples_ts", r->rate, r->n, "%.3f");
    printf(", \"read_bandwidth\": %.0f", c->bandwidth);
    if (t->n_gen)
        printf(", \"roof_share\": %.3f", roof_share(c, t, r));
    puts("}");
    buf_close(&name);
}

static void print_result(const struct context *c, const struct test *t, const struct result *r)
{
    const char *verb = t->n_gen ? "tg" : "pp";
    const uint32_t n = t->n_gen ? t->n_gen : t->n_prompt;
    const double mid = median(r->rate, r->n), sd = spread(r->rate, r->n),
                 share = 100 * roof_share(c, t, r);
    if (c->o->output == OUT_JSONL)
        print_jsonl(c, t, r);
    else if (c->o->output == OUT_CSV)
        printf("\"%s\",%s%u,%u,%u,%s,%.3f,%.3f,%.1f\n", c->info.name, verb, n, t->depth,
               c->n_thread, c->kv_type, mid, sd, share);
    else if (t->n_gen)
        printf("| %-24.24s | %s%-5u | %7u | %7u | %-4s | %9.1f | %7.1f | %8.0f |\n", c->info.name,
               verb, n, t->depth, c->n_thread, c->kv_type, mid, sd, share);
    else
        printf("| %-24.24s | %s%-5u | %7u | %7u | %-4s | %9.1f | %7.1f | %8s |\n", c->info.name,
               verb, n, t->depth, c->n_thread, c->kv_type, mid, sd, "");
    fflush(stdout);
}

static void print_head(const struct bench_options *o, const struct context *c)
{
    if (o->output == OUT_CSV)
        puts("model,test,depth,threads,kv,median_ts,stddev_ts,roof_percent");
    if (o->output != OUT_TABLE)
        return;
    printf("kernels %s; read bandwidth %.1f GB/s on %u threads\n\n", c->info.kernels,
           c->bandwidth / 1e9, c->n_thread);
    puts("| model                    | test    |   depth | threads | kv   |  tokens/s |      +- | "
         "% of roof|");
    puts("|--------------------------|---------|---------|---------|------|-----------|---------|--"
         "--------|");
}

/* ---- all tests of one engine ---- */

/* "0,4096" as numbers. */
static enum status read_list(const char *text, const char *flag, double most,
                             uint32_t list[LIST_MAX], uint32_t *n, struct note *why)
{
    for (*n = 0; *text;) {
        char *end;
        const double value = strtod(text, &end);
        if (end == text || (*end && *end != ',') || !(value >= 0) || value > most ||
            value != floor(value) || *n == LIST_MAX) {
            note_set(
                why,
                "%s: '%s' is no list of up to %d whole numbers from 0 to %.0f, separated by commas",
                flag, text, LIST_MAX, most);
            return BAD_INPUT;
        }
        list[(*n)++] = (uint32_t)value;
        text = *end ? end + 1 : end;
    }
    return OK;
}

struct plan {
    uint32_t n_prompt[LIST_MAX], n_gen[LIST_MAX], depth[LIST_MAX], thread[LIST_MAX];
    uint32_t prompts, gens, depths, threads;
    uint32_t longest; // positions that the largest test needs
};

static enum status read_plan(const struct bench_options *o, struct plan *p, struct note *why)
{
    const double most = 1 << 24;
    enum status st = read_list(o->n_prompt, "-p", most, p->n_prompt, &p->prompts, why);
    if (st == OK)
        st = read_list(o->n_gen, "-n", most, p->n_gen, &p->gens, why);
    if (st == OK)
        st = read_list(o->depth, "-d", most, p->depth, &p->depths, why);
    if (st == OK)
        st = read_list(o->threads, "-t", 1024, p->thread, &p->threads, why);
    uint32_t work = 0, deepest = 0;
    for (uint32_t i = 0; i < p->prompts; i++)
        work = p->n_prompt[i] > work ? p->n_prompt[i] : work;
    for (uint32_t i = 0; i < p->gens; i++)
        work = p->n_gen[i] > work ? p->n_gen[i] : work;
    for (uint32_t i = 0; i < p->depths; i++)
        deepest = p->depth[i] > deepest ? p->depth[i] : deepest;
    p->longest = deepest + work + 2;
    return st;
}

static enum status run_tests(const struct plan *p, struct context *c, akv_engine *engine,
                             struct note *why)
{
    struct rng rng = rng_seeded(1, 1);
    struct result *r = mem_new(1, sizeof *r);
    int32_t *ids = mem_new(p->longest, sizeof *ids);
    enum status st = r && ids ? OK : FULL;
    for (uint32_t i = 0; st == OK && i < p->longest; i++)
        ids[i] = (int32_t)rng_below(&rng, c->info.n_vocab);
    for (uint32_t d = 0; d < p->depths; d++) {
        for (uint32_t i = 0; st == OK && i < p->prompts + p->gens; i++) {
            const bool reads = i < p->prompts;
            const struct test t = {
                .n_prompt = reads ? p->n_prompt[i] : 0,
                .n_gen = reads ? 0 : p->n_gen[i - p->prompts],
                .depth = p->depth[d],
            };
            if (t.n_prompt + t.n_gen == 0)
                continue;
            st = run_test(engine, &t, ids, (uint32_t)c->o->reps, r, why);
            if (st == OK)
                print_result(c, &t, r);
        }
    }
    mem_free(r);
    mem_free(ids);
    return st;
}

static enum status run_engine(const struct bench_options *o, const struct plan *p,
                              uint32_t n_thread, uint32_t kv_type, bool first, struct note *why)
{
    static const char *const types[] = { "f16", "f32", "int8" };
    struct engine_flags flags = o->engine;
    struct engine_opened opened;
    struct akv_stats stats;
    flags.n_thread = n_thread;
    flags.n_ctx = p->longest;
    flags.kv_type = kv_type;
    flags.quiet = true;
    enum status st = engine_open(&opened, &flags, why);
    if (st != OK)
        return st;
    akv_stats(opened.engine, &stats);
    struct context c = {
        .o = o,
        .info = opened.info,
        .kv_type = types[kv_type],
        .n_thread = n_thread ? n_thread : os_cpu_count(),
        .kv_bytes_per_token = stats.kv_bytes_per_token,
    };
    c.bandwidth = read_bandwidth(c.n_thread, (size_t)512 << 20);
    if (first)
        print_head(o, &c);
    st = run_tests(p, &c, opened.engine, why);
    engine_close(&opened);
    return st;
}

/* "f16,int8" as numbers of the types. */
static enum status read_types(const char *text, uint32_t list[LIST_MAX], uint32_t *n,
                              struct note *why)
{
    static const char *const types[] = { "f16", "f32", "int8" };
    for (*n = 0; *text && *n < LIST_MAX;) {
        const size_t len = strcspn(text, ",");
        uint32_t i = 0;
        while (i < 3 && (strlen(types[i]) != len || memcmp(types[i], text, len) != 0))
            i++;
        if (i == 3) {
            note_set(why, "--kv-type: '%.*s' must be f16, f32 or int8", (int)(len < 40 ? len : 40),
                     text);
            return BAD_INPUT;
        }
        list[(*n)++] = i;
        text += len + (text[len] == ',');
    }
    return OK;
}

int verb_bench(int argc, char **argv)
{
    struct bench_options o = { 0 };
    struct plan p = { 0 };
    struct note why = { "" };
    uint32_t types[LIST_MAX], n_type = 0;
    int code;
    if (argc > 1 && strcmp(argv[1], "kv") == 0)
        return bench_kv(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "attention") == 0)
        return bench_attention(argc - 1, argv + 1);
    if (!flags_read(&flags_of_bench, &o, argc, argv, NULL, &code))
        return code;
    enum status st = read_plan(&o, &p, &why);
    if (st == OK)
        st = read_types(o.kv_types, types, &n_type, &why);
    if (st != OK) {
        verb_fails(&flags_of_bench, &why);
        return EXIT_USAGE;
    }
    for (uint32_t t = 0; st == OK && t < p.threads; t++) {
        for (uint32_t k = 0; st == OK && k < n_type; k++)
            st = run_engine(&o, &p, p.thread[t], types[k], t + k == 0, &why);
    }
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_bench, &why);
}
