#include "bin/bench_kv.h"

#include <stdio.h>
#include <string.h>

#include "bin/bench_attn.h"
#include "bin/bench_kv_in.h"
#include "bin/bench_report.h"
#include "bin/models.h"
#include "bin/show.h"
#include "bin/verbs.h"

#define COUNT_FLAG(name, field, n, from, to, text)                                                 \
    {                                                                                              \
        .names = name, .type = FLAG_INT, .at = FLAG_AT(bench_kv_options, field), .unit = "N",      \
        .preset = n, .least = from, .most = to, .help = text                                       \
    }

static const struct flag rows[] = {
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_kv_options, model),
      .unit = "MODEL",
      .preset = "smollm2",
      .help = "A GGUF file, or a short name: its shape, and its steps, are measured." },
    { .names = "-t --threads",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_kv_options, n_thread),
      .unit = "N",
      .least = 0,
      .most = 1024,
      .shown = "all that this process may use",
      .help = "Threads that compute." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(bench_kv_options, cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Kernels to use: auto, ref, avx2, avx512 or amx." },
    COUNT_FLAG("-c --ctx-size", n_ctx, "8192", 2112, 1 << 24, "Longest context of a sequence."),
    COUNT_FLAG("-s --seqs", n_seq, "4", 1, SEQ_MAX, "Sequences that decode together."),
    COUNT_FLAG("-r --reps", n_rep, "7", 1, SAMPLES_MAX, "Repetitions; medians are shown."),
    { .names = "-ub --ubatch-size",
      .type = FLAG_INT,
      .at = FLAG_AT(bench_kv_options, n_ubatch),
      .unit = "TOKENS",
      .least = 0,
      .most = 4096,
      .shown = "what a 40 MiB workspace allows",
      .help = "Tokens of a prefill step." },
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(bench_kv_options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = KV_TYPE_NAMES,
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
    "akvifer bench kv -m qwen2 --kv-type int8 --kv-ram 1G",
    NULL,
};

const struct flag_table flags_of_bench_kv = {
    .verb = "bench kv",
    .summary = "what KV memory costs and saves",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

/* The largest that a measurement needs: a sequence and a half of CALL_ROWS, or all those that
 * decode. */
static uint32_t blocks_needed(const struct bench_kv_options *o)
{
    uint32_t lives = CALL_ROWS / KV_BLOCK + 2, decode = DECODE_BLOCKS * (uint32_t)o->n_seq;
    return lives > decode ? lives : decode;
}

static enum status check_options(const struct bench_kv_options *o, struct note *why)
{
    struct kv_shape shape = bench_kv_shape(o);
    size_t least = blocks_needed(o) * kv_block_bytes(&shape, 0);
    if (o->kv_ram < least) {
        note_set(why, "--kv-ram %s is too little: %u blocks of %s are %s",
                 show_bytes(o->kv_ram).text, blocks_needed(o),
                 show_bytes(kv_block_bytes(&shape, 0)).text, show_bytes(least).text);
        return BAD_INPUT;
    }
    return OK;
}

/* Pages of 16 positions exist for rows of floats only. */
static enum status bench_attention_forms(const struct bench_kv_options *o, struct note *why)
{
    enum { ATTENTION_ROWS = 4096 };
    const struct bench_attn_options attn = {
        .n_layer = o->h.n_layer,
        .n_kv_head = o->h.n_kv_head,
        .n_share = o->h.n_head / o->h.n_kv_head,
        .d_head = o->h.d_head,
        .n_ctx = o->n_ctx < ATTENTION_ROWS ? o->n_ctx / KV_BLOCK * KV_BLOCK : ATTENTION_ROWS,
        .n_rep = o->n_rep,
        .kv_type = o->kv_type == KV_INT8 ? KV_F16 : o->kv_type,
        .cpu = o->cpu,
    };
    putchar('\n');
    if (strcmp(model_kernels(o->m)->name, "ref") != 0)
        return bench_attn_compare(&attn, why);
    puts("Attention by form is not compared: its pages have no kernel in plain C");
    return OK;
}

static enum status open_model(struct bench_kv_options *o, struct note *why)
{
    struct buf path = { 0 };
    enum status st = model_path_resolve(&path, o->model, why);
    if (st == OK) {
        const struct model_params params = { .path = buf_text(&path),
                                             .cpu = o->cpu,
                                             .n_thread = (uint32_t)o->n_thread };
        st = model_open(&o->m, &params, why);
    }
    buf_close(&path);
    if (st == OK)
        o->h = *model_hparams(o->m);
    return st;
}

static void print_head(const struct bench_kv_options *o)
{
    char kernels[256];
    printf("%s, %s, %u threads, KV %s; load %.2f\n\n", model_arch_name(o->m),
           kernels_describe(model_kernels(o->m), kernels, sizeof kernels), model_n_thread(o->m),
           kv_type_name((enum kv_type)o->kv_type), machine_load());
}

static enum status run_parts(const struct bench_kv_options *o, struct note *why)
{
    static enum status (*const parts[])(const struct bench_kv_options *, struct note *) = {
        check_options,    bench_kv_syscalls, bench_kv_calls, bench_kv_ahead,
        bench_kv_lengths, bench_kv_sharing,  bench_kv_steps, bench_attention_forms,
    };
    enum status st = OK;
    for (size_t i = 0; i < FLAG_COUNT(parts) && st == OK; i++) {
        st = parts[i](o, why);
        fflush(stdout); // each table as soon as it is there
    }
    return st;
}

int bench_kv(int argc, char **argv)
{
    struct bench_kv_options o = { 0 };
    struct note why = { "the system has no memory left" };
    int exit_code;
    if (!flags_read(&flags_of_bench_kv, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    enum status st = open_model(&o, &why);
    if (st == OK) {
        print_head(&o);
        st = run_parts(&o, &why);
    }
    if (o.m)
        model_close(o.m);
    if (st == OK)
        return EXIT_DONE;
    verb_fails(&flags_of_bench_kv, &why);
    return st == BAD_INPUT ? EXIT_USAGE : EXIT_FAILED;
}
