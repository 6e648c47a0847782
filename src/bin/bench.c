/* bin/bench.c - tokens a second of reading (pp) and of generating (tg), at depths, threads and KV types.
 *
 *   for each thread count and KV type: one engine, and in it for each depth and -npl: every -p, every -n, every -pg
 *
 * Each figure is the median of -r repetitions, after one that does not count (bench_test.h). Roofs are measured in the
 * same run (bench_roof.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bin/bench_attn.h"
#include "bin/bench_kv.h"
#include "bin/bench_probe.h"
#include "bin/bench_profile.h"
#include "bin/bench_report.h"
#include "bin/bench_steps.h"
#include "bin/bench_stream.h"
#include "bin/bench_taps.h"
#include "bin/bench_test.h"
#include "bin/engine_flags.h"
#include "bin/models.h"
#include "bin/verbs.h"
#include "engine/engine.h"
#include "os/workers.h"

enum {
    LIST_MAX = 16,
    POLICIES_MAX = 8,
    TESTS_MAX = LIST_MAX * LIST_MAX * (2 * LIST_MAX + FLAG_TEXTS_MAX)
};

struct bench_options {
    struct engine_flags engine;
    const char *n_prompt, *n_gen, *depth, *parallel, *threads, *kv_types;
    struct flag_texts both, policies;
    int64_t reps;
    uint32_t output;
    bool profile;
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
    { .names = "-pg",
      .type = FLAG_TEXTS,
      .at = FLAG_AT(bench_options, both),
      .unit = "PP,TG",
      .help = "Reads PP tokens and generates TG, timed together; may be given many times." },
    { .names = "-d --n-depth",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, depth),
      .unit = "LIST",
      .preset = "0",
      .help = "Positions that are in the cache before the test, comma-separated." },
    { .names = "-npl --parallel",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, parallel),
      .unit = "LIST",
      .preset = "1",
      .help = "Sequences that do the test at once, comma-separated; their tokens count together." },
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
    { .names = "--kv-policy",
      .type = FLAG_TEXTS,
      .at = FLAG_AT(bench_options, policies),
      .unit = "POLICY",
      .help =
          "A KV policy (docs/POLICIES.md); given many times, their repetitions take turns. full, "
          "unless told." },
    { .names = "-r --repetitions",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_options, reps),
      .unit = "N",
      .preset = "5",
      .least = 1,
      .most = SAMPLES_MAX,
      .help = "Repetitions of each test; medians are shown." },
    { .names = "-o --output",
      .type = FLAG_ENUM,
      .at = FLAG_AT(bench_options, output),
      .unit = "FORM",
      .preset = "md",
      .words = "md csv json jsonl", // in the order of enum report_form
      .help = "How results are printed." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_options, engine.cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Kernels to use: auto, ref, avx2, avx512 or amx." },
    { .names = "-ub --ubatch-size",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_options, engine.n_ubatch),
      .unit = "TOKENS",
      .least = 0,
      .most = 4096,
      .shown = "what a 40 MiB workspace allows",
      .help = "Most tokens computed in one step." },
    { .names = "--profile",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(bench_options, profile),
      .help = "Also print where each test's time went; standard error gets it unless -o md." },
};

const struct flag_table flags_of_bench = {
    .verb = "bench",
    .summary = "measure speed: reading and generating, KV memory, attention",
    .operands = "[kv|attention|roof|steps|stream|taps]",
    .n_operand_min = 0,
    .n_operand_max = 0,
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples =
        (const char *const[]){
            "akvifer bench -m smollm2 -p 512 -n 128 -d 0,4096",
            "akvifer bench -m qwen2 -t 1,2 --kv-type f16,int8 -o jsonl",
            "akvifer bench -p 0 -n 64 -d 128 -npl 1,4,16",
            "akvifer bench -p 0 -n 64 -d 4096 --kv-policy full --kv-policy quest:budget=512",
            "akvifer bench kv --help",
            "akvifer bench attention --help",
            "akvifer bench roof",
            "akvifer bench steps --help",
            "akvifer bench stream --help",
            NULL,
        },
};

/* ---- the plan ---- */

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
    struct bench_test test[TESTS_MAX]; // without their policy:
    uint32_t n_test;
    const char *policy[POLICIES_MAX]; // each is for every test
    uint32_t n_policy;
    uint32_t thread[LIST_MAX], n_thread; // 0 was replaced by what it stands for
    enum kv_type type[LIST_MAX];
    uint32_t n_type;
    uint32_t longest, n_seq;       // tokens that the largest test needs; most sequences at once
    struct amounts roof[LIST_MAX]; // of each thread count
};

static void plan_test(struct plan *p, struct bench_test t)
{
    const uint32_t n = bench_test_ids(&t);
    if (t.n_prompt + t.n_gen == 0)
        return;
    p->test[p->n_test++] = t;
    p->longest = n > p->longest ? n : p->longest;
    p->n_seq = t.n_seq > p->n_seq ? t.n_seq : p->n_seq;
}

static enum status plan_policies(const struct bench_options *o, struct plan *p, struct note *why)
{
    struct kv_choice c;
    enum status st = OK;
    p->n_policy = o->policies.n ? o->policies.n : 1;
    if (p->n_policy > POLICIES_MAX) {
        note_set(why, "--kv-policy was given %u times; at most %d fit", p->n_policy, POLICIES_MAX);
        return BAD_INPUT;
    }
    for (uint32_t i = 0; st == OK && i < o->policies.n; i++) {
        p->policy[i] = o->policies.text[i];
        engine_answer_help(&(struct engine_flags){ .kv_policy = p->policy[i] });
        st = kv_choice_parse(&c, p->policy[i], why);
    }
    return st;
}

/* Every test at every depth, in llama-bench's order, by each number of sequences. */
static enum status plan_tests(const struct bench_options *o, struct plan *p, struct note *why)
{
    const double most = 1 << 24;
    uint32_t depth[LIST_MAX], prompt[LIST_MAX], gen[LIST_MAX], n_depth, n_prompt, n_gen;
    uint32_t both[FLAG_TEXTS_MAX][LIST_MAX], n_both, seq[LIST_MAX], n_seq;
    enum status st = read_list(o->depth, "-d", most, depth, &n_depth, why);
    if (st == OK)
        st = read_list(o->n_prompt, "-p", most, prompt, &n_prompt, why);
    if (st == OK)
        st = read_list(o->n_gen, "-n", most, gen, &n_gen, why);
    if (st == OK)
        st = read_list(o->parallel, "-npl", BENCH_SEQS_MAX, seq, &n_seq, why);
    for (uint32_t i = 0; st == OK && i < o->both.n; i++) {
        st = read_list(o->both.text[i], "-pg", most, both[i], &n_both, why);
        if (st == OK && n_both != 2) {
            note_set(why, "-pg: '%s' is not two numbers, as in 512,128", o->both.text[i]);
            st = BAD_INPUT;
        }
    }
    for (uint32_t i = 0; st == OK && i < n_depth * n_seq; i++) {
        const uint32_t d = depth[i / n_seq], n = seq[i % n_seq] ? seq[i % n_seq] : 1;
        for (uint32_t k = 0; k < n_prompt; k++)
            plan_test(p, (struct bench_test){ prompt[k], 0, d, n, NULL });
        for (uint32_t k = 0; k < n_gen; k++)
            plan_test(p, (struct bench_test){ 0, gen[k], d, n, NULL });
        for (uint32_t k = 0; k < o->both.n; k++)
            plan_test(p, (struct bench_test){ both[k][0], both[k][1], d, n, NULL });
    }
    return st;
}

/* "f16,int8" as numbers of the types. */
static enum status read_types(const char *text, struct plan *p, struct note *why)
{
    while (*text) {
        const size_t len = strcspn(text, ",");
        char name[40];
        snprintf(name, sizeof name, "%.*s", (int)len, text);
        if (p->n_type == LIST_MAX || !kv_type_of_name(name, &p->type[p->n_type])) {
            note_set(why, "--kv-type: '%s' must be f16, f32 or int8, of which a list has up to %d",
                     name, LIST_MAX);
            return BAD_INPUT;
        }
        p->n_type++;
        text += len + (text[len] == ',');
    }
    return OK;
}

static enum status read_plan(const struct bench_options *o, struct plan *p, struct note *why)
{
    enum status st = plan_policies(o, p, why);
    if (st == OK)
        st = plan_tests(o, p, why);
    if (st == OK)
        st = read_list(o->threads, "-t", 1024, p->thread, &p->n_thread, why);
    for (uint32_t i = 0; st == OK && i < p->n_thread; i++)
        p->thread[i] = p->thread[i] ? p->thread[i] : os_cpu_count();
    if (st == OK)
        st = read_types(o->kv_types, p, why);
    if (st == OK && (p->n_test == 0 || p->n_thread == 0 || p->n_type == 0)) {
        note_set(why, "there is nothing to measure: -p, -n or -pg need a number above 0, -d, -t "
                      "and --kv-type a value");
        st = BAD_INPUT;
    }
    return st;
}

/* ---- all tests ---- */

struct run {
    const struct bench_options *o;
    struct plan plan;
    const struct kernels *kernels;
    struct buf path; // of the model
    struct report report;
    struct buf profiles;
    int32_t *ids; // [plan.longest]
};

static void add_profile(struct run *run, const struct bench_row *row, struct profile *p)
{
    char name[64];
    snprintf(name, sizeof name, "pp%u tg%u @ d%u x %u, %s", row->test.n_prompt, row->test.n_gen,
             row->test.depth, row->test.n_seq, kv_type_name(row->model->kv.type));
    bench_profile_add(&run->profiles, name, p, row->n_thread);
    *p = (struct profile){ 0 };
}

static struct amounts work_of(const struct bench_row *row)
{
    const struct bench_test *t = &row->test;
    if (t->policy && strcmp(t->policy, "full") != 0)
        return (struct amounts){ NAN, NAN, NAN }; /* less than full's, by what the policy reads */
    return work_of_test(row->model, row->info.weight_bytes, t);
}

/* One test under policies [first, first + n), which take turns. */
static enum status run_turns(struct run *run, struct engine_opened *opened, struct bench_row *row,
                             uint32_t first, uint32_t n, struct note *why)
{
    struct profile *profile = run->o->profile ? engine_profile(opened->model) : NULL;
    struct bench_test test[POLICIES_MAX];
    struct samples ns[POLICIES_MAX];
    for (uint32_t i = 0; i < n; i++) {
        test[i] = row->test;
        test[i].policy = run->plan.policy[first + i];
    }
    row->time = (int64_t)time(NULL);
    row->load = machine_load();
    enum status st = bench_tests_run(opened->engine, test, n, run->ids, (uint32_t)run->o->reps,
                                     profile, ns, why);
    for (uint32_t i = 0; st == OK && i < n; i++) {
        row->test = test[i];
        row->ns = ns[i];
        row->work = work_of(row);
        report_row(&run->report, row);
    }
    if (st == OK && profile)
        add_profile(run, row, profile);
    return st;
}

/* With a profile each policy has the machine for itself. */
static enum status run_tests(struct run *run, struct engine_opened *opened, struct bench_row *row,
                             struct note *why)
{
    const uint32_t n_policy = run->plan.n_policy, n = run->o->profile ? 1 : n_policy;
    enum status st = OK;
    for (uint32_t i = 0; i < run->plan.n_test; i++) {
        for (uint32_t k = 0; st == OK && k < n_policy; k += n) {
            row->test = run->plan.test[i];
            st = run_turns(run, opened, row, k, n, why);
        }
    }
    return st;
}

/* One engine: thread count i, KV type k. */
static enum status run_engine(struct run *run, uint32_t i, uint32_t k, struct note *why)
{
    const struct plan *p = &run->plan;
    struct engine_flags flags = run->o->engine;
    struct engine_opened opened;
    struct model_work model;
    struct akv_stats stats;
    enum status st = model_work_read(&model, buf_text(&run->path), p->type[k], why);
    if (st != OK)
        return st;
    flags.n_thread = p->thread[i];
    flags.n_ctx = p->longest;
    flags.n_parallel = p->n_seq;
    if (p->n_seq > 1) // each one's kept positions, and a test's own beside them
        flags.kv_ram = 2 * p->n_seq * kv_sequence_bytes(&model.kv, p->longest, p->longest);
    flags.kv_type = p->type[k];
    flags.quiet = true;
    st = engine_open(&opened, &flags, why);
    if (st != OK)
        return st;
    akv_stats(opened.engine, &stats);
    struct bench_row row = {
        .path = buf_text(&run->path),
        .info = opened.info,
        .model = &model,
        .kernels = run->kernels->name,
        .n_thread = p->thread[i],
        .n_ubatch = stats.n_ubatch,
        .roof = p->roof[i],
    };
    st = run_tests(run, &opened, &row, why);
    engine_close(&opened);
    return st;
}

/* The model's file, kernels and token ids. */
static enum status run_open(struct run *run, struct note *why)
{
    struct rng rng = rng_seeded(1, 1);
    struct model_work model;
    enum status st = model_path_resolve(&run->path, run->o->engine.model, why);
    if (st == OK)
        st = model_work_read(&model, buf_text(&run->path), KV_F16, why);
    if (st == OK)
        st = kernels_select(&run->kernels, run->o->engine.cpu, why);
    if (st != OK)
        return st;
    run->ids = mem_new(run->plan.longest, sizeof *run->ids);
    if (!run->ids) {
        note_set(why, "no memory for %u tokens", run->plan.longest);
        return FULL;
    }
    for (uint32_t i = 0; i < run->plan.longest; i++)
        run->ids[i] = (int32_t)rng_below(&rng, model.h.n_vocab);
    return OK;
}

static enum status run_all(struct run *run, struct note *why)
{
    struct plan *p = &run->plan;
    enum status st = OK;
    size_t bytes = 0;
    report_begin(&run->report, (enum report_form)run->o->output, run->kernels);
    st = roof_bytes_of(&bytes, buf_text(&run->path), why);
    for (uint32_t i = 0; st == OK && i < p->n_thread; i++) {
        st = roof_measure(&p->roof[i], run->kernels, p->thread[i], bytes, why);
        if (st == OK)
            report_roof(&run->report, p->thread[i], &p->roof[i]);
    }
    for (uint32_t i = 0; st == OK && i < p->n_thread; i++)
        for (uint32_t k = 0; st == OK && k < p->n_type; k++)
            st = run_engine(run, i, k, why);
    report_end(&run->report);
    fputs(buf_text(&run->profiles), run->report.form == REPORT_MD ? stdout : stderr);
    return st;
}

int verb_bench(int argc, char **argv)
{
    struct bench_options o = { 0 };
    struct run run = { .o = &o };
    struct note why = { "" };
    int code;
    if (argc > 1 && strcmp(argv[1], "kv") == 0)
        return bench_kv(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "attention") == 0)
        return bench_attention(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "roof") == 0)
        return bench_probe(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "taps") == 0)
        return bench_taps(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "steps") == 0)
        return bench_steps(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "stream") == 0)
        return bench_stream(argc - 1, argv + 1);
    if (!flags_read(&flags_of_bench, &o, argc, argv, NULL, &code))
        return code;
    if (read_plan(&o, &run.plan, &why) != OK) {
        verb_fails(&flags_of_bench, &why);
        return EXIT_USAGE;
    }
    enum status st = run_open(&run, &why);
    if (st == OK)
        st = run_all(&run, &why);
    mem_free(run.ids);
    buf_close(&run.path);
    buf_close(&run.profiles);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_bench, &why);
}
