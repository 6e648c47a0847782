/* bin/bench_probe.c - `akvifer bench roof`: what this machine gives right now, in a third of a second, and what a run
 * of its threads costs. Measurements that compare two programs put it beside each sample and drop the disturbed ones
 * (bench/duel.py). */
#include <stdio.h>

#include "base/buf.h"
#include "bin/bench_probe.h"
#include "bin/bench_roof.h"
#include "bin/models.h"
#include "bin/verbs.h"
#include "os/workers.h"

struct probe_options {
    int64_t n_thread;
    uint32_t output;
    const char *cpu, *model;
};

static const struct flag rows[] = {
    { .names = "-t --threads",
      .type = FLAG_INT,
      .at = FLAG_AT(probe_options, n_thread),
      .unit = "N",
      .least = 0,
      .most = 1024,
      .shown = "all that this process may use",
      .help = "Threads that measure." },
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(probe_options, model),
      .unit = "MODEL",
      .shown = "256 MiB are read",
      .help = "A GGUF file or a short name: as many bytes as it has are read." },
    { .names = "-o --output",
      .type = FLAG_ENUM,
      .at = FLAG_AT(probe_options, output),
      .unit = "FORM",
      .preset = "md",
      .words = "md jsonl",
      .help = "How the figures are printed." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(probe_options, cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Kernels whose peak is measured: auto, ref, avx2, avx512 or amx." },
};

const struct flag_table flags_of_bench_roof = {
    .verb = "bench roof",
    .summary = "measure what the machine gives: int8 and fp32 products, bytes read, a barrier",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = (const char *const[]){ "akvifer bench roof -t 2 -o jsonl",
                                       "akvifer bench roof -m qwen2", NULL },
};

static enum status bytes_of_model(size_t *out, const char *model, struct note *why)
{
    struct buf path = { 0 };
    enum status st = model_path_resolve(&path, model, why);
    if (st == OK)
        st = roof_bytes_of(out, buf_text(&path), why);
    buf_close(&path);
    return st;
}

int bench_probe(int argc, char **argv)
{
    struct probe_options o = { 0 };
    struct note why = { "" };
    struct amounts roof;
    double barrier_ns;
    size_t bytes = (size_t)256 << 20;
    const struct kernels *kernels;
    int exit_code;
    if (!flags_read(&flags_of_bench_roof, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    const uint32_t n = o.n_thread ? (uint32_t)o.n_thread : os_cpu_count();
    enum status st = kernels_select(&kernels, o.cpu, &why);
    if (st == OK && o.model)
        st = bytes_of_model(&bytes, o.model, &why);
    if (st == OK)
        st = roof_measure(&roof, kernels, n, bytes, &why);
    if (st == OK)
        st = barrier_measure(&barrier_ns, n, &why);
    if (st != OK)
        return verb_fails(&flags_of_bench_roof, &why);
    const char *form =
        o.output ? "{\"threads\": %u, \"int8\": %.1f, \"fp32\": %.1f, \"read\": %.2f, "
                   "\"barrier_ns\": %.0f}\n"
                 : "%u threads: %.1f Gop/s int8, %.1f GFLOP/s fp32, %.2f GB/s read, barrier %.0f "
                   "ns\n";
    printf(form, n, roof.int8 * 1e-9, roof.fp32 * 1e-9, roof.read * 1e-9, barrier_ns);
    return EXIT_DONE;
}
