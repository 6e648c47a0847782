#include "bin/bench_report.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "bin/show.h"

struct program_build program_build = { "unknown", 0 };

double machine_load(void)
{
    double load[1] = { 0 };
    return getloadavg(load, 1) == 1 ? load[0] : 0;
}

static double n_token(const struct bench_row *row)
{
    return ((double)row->test.n_prompt + row->test.n_gen) * row->test.n_seq;
}

/* Tokens a second, sample by sample. */
static struct samples rates(const struct bench_row *row)
{
    struct samples ts = { 0 };
    for (uint32_t i = 0; i < row->ns.n; i++)
        samples_add(&ts, n_token(row) / row->ns.x[i] * 1e9);
    return ts;
}

/* What the median run did of what the machine can do. NAN: the test has no such work to speak of. */
static struct amounts shares(const struct bench_row *row)
{
    const double seconds = samples_median(&row->ns) * 1e-9;
    return (struct amounts){
        .int8 = row->work.int8 / seconds / row->roof.int8,
        .fp32 = row->work.fp32 / seconds / row->roof.fp32,
        .read = row->work.read / seconds / row->roof.read,
    };
}

/* "llama 134.5 M Q4_1" */
static void add_type(struct buf *out, const struct bench_row *row)
{
    buf_addf(out, "%s %s %s", row->model->arch, show_count(row->info.n_param).text,
             row->model->type);
}

/* ---- the table ---- */

void report_begin(struct report *r, enum report_form form, const struct kernels *k)
{
    char processor[PROCESSOR_NAME];
    *r = (struct report){ .form = form };
    if (form == REPORT_JSON)
        puts("[");
    if (form == REPORT_MD)
        printf("%s, kernels %s, build %s; load %.2f\n", kernels_processor(processor), k->name,
               program_build.commit, machine_load());
}

void report_roof(struct report *r, uint32_t n_thread, const struct amounts *roof)
{
    if (r->form == REPORT_MD)
        printf("roofs of %u thread%s: %.1f Gop/s int8, %.1f GFLOP/s fp32, %.1f GB/s read\n",
               n_thread, n_thread == 1 ? "" : "s", roof->int8 * 1e-9, roof->fp32 * 1e-9,
               roof->read * 1e-9);
}

static void print_share(double share)
{
    if (isnan(share))
        printf(" %6s |", "");
    else
        printf(" %6.1f |", 100 * share);
}

static void print_md(const struct report *r, const struct bench_row *row)
{
    const struct samples ts = rates(row);
    const struct amounts share = shares(row);
    char test[320];
    struct buf type = { 0 };
    size_t at = 0;
    if (r->n_row == 0)
        puts("\n| model                    |       size | threads | kv   | test             |    "
             "median t/s |      ± | int8 % | fp32 % | read % |\n"
             "| ------------------------ | ---------: | ------: | ---- | ---------------- | "
             "------------: | -----: | -----: | -----: | -----: |");
    add_type(&type, row);
    if (row->test.n_prompt)
        at += (size_t)snprintf(test, sizeof test, "pp%u", row->test.n_prompt);
    if (row->test.n_gen)
        at +=
            (size_t)snprintf(test + at, sizeof test - at, "%stg%u", at ? "+" : "", row->test.n_gen);
    if (row->test.depth)
        at += (size_t)snprintf(test + at, sizeof test - at, " @ d%u", row->test.depth);
    if (row->test.n_seq > 1)
        at += (size_t)snprintf(test + at, sizeof test - at, " x %u", row->test.n_seq);
    if (row->test.policy)
        snprintf(test + at, sizeof test - at, " %s", row->test.policy);
    printf("| %-24s | %10s | %7u | %-4s | %-16s | %13.2f | %6.2f |", buf_text(&type),
           show_bytes(row->info.weight_bytes).text, row->n_thread,
           kv_type_name(row->model->kv.type), test, samples_median(&ts), samples_deviation(&ts));
    print_share(share.int8);
    print_share(share.fp32);
    print_share(share.read);
    putchar('\n');
    buf_close(&type);
}

/* ---- rows of named fields ---- */

enum { FIELDS_MAX = 64 };

struct fields {
    struct {
        const char *name;
        bool is_text;
        size_t at; // in `values`, zero-terminated
    } field[FIELDS_MAX];
    uint32_t n;
    struct buf values;
};

static void add_field(struct fields *f, const char *name, bool is_text)
{
    assert(f->n < FIELDS_MAX);
    f->field[f->n].name = name;
    f->field[f->n].is_text = is_text;
    f->field[f->n++].at = f->values.len;
}

static void add_text(struct fields *f, const char *name, const char *value)
{
    add_field(f, name, true);
    buf_add(&f->values, value, strlen(value) + 1);
}

/* `digits` behind the point; nothing for what is not there. */
static void add_number(struct fields *f, const char *name, double value, int digits)
{
    add_field(f, name, false);
    if (!isnan(value))
        buf_addf(&f->values, "%.*f", digits, value);
    buf_add_byte(&f->values, 0);
}

static void add_samples(struct fields *f, const char *name, const struct samples *s, int digits)
{
    add_field(f, name, false);
    for (uint32_t i = 0; i < s->n; i++)
        buf_addf(&f->values, "%s%.*f", i ? ", " : "[", digits, s->x[i]);
    buf_add(&f->values, "]", 2);
}

/* What llama-bench can set and we have not, as it is for us: readers of its output (compare-llama-bench.py) refuse a
 * row that lacks one. Values as JSON has them. */
struct constant {
    const char *name, *value;
};

static void add_constants(struct fields *f, const struct constant *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_field(f, c[i].name, c[i].value[0] == '"');
        const size_t len = strlen(c[i].value);
        if (c[i].value[0] == '"')
            buf_add(&f->values, c[i].value + 1, len - 2);
        else
            buf_add(&f->values, c[i].value, len);
        buf_add_byte(&f->values, 0);
    }
}

static const struct constant of_threads[] = {
    { "cpu_mask", "\"0x0\"" },
    { "cpu_strict", "false" },
    { "poll", "50" },
};

/* flash_attn: scores of a row are never all in memory. load_mode: the file is mapped. */
static const struct constant of_devices[] = {
    { "n_gpu_layers", "0" },
    { "n_cpu_moe", "0" },
    { "split_mode", "\"none\"" },
    { "main_gpu", "0" },
    { "no_kv_offload", "false" },
    { "flash_attn", "1" },
    { "devices", "\"none\"" },
    { "tensor_split", "\"0.00\"" },
    { "tensor_buft_overrides", "\"none\"" },
    { "load_mode", "\"mmap\"" },
    { "embeddings", "false" },
    { "no_op_offload", "0" },
    { "no_host", "false" },
    { "fit_target", "0" },
    { "fit_min_ctx", "0" },
};

/* What was measured, in llama-bench's names and order. A step is what it calls a batch, and is never split. */
static void add_setup(struct fields *f, const struct bench_row *row)
{
    char processor[PROCESSOR_NAME];
    struct buf type = { 0 };
    add_type(&type, row);
    add_text(f, "build_commit", program_build.commit);
    add_number(f, "build_number", program_build.number, 0);
    add_text(f, "cpu_info", kernels_processor(processor));
    add_text(f, "gpu_info", "");
    add_text(f, "backends", "CPU");
    add_text(f, "model_filename", row->path);
    add_text(f, "model_type", buf_text(&type));
    add_number(f, "model_size", (double)row->info.weight_bytes, 0);
    add_number(f, "model_n_params", (double)row->info.n_param, 0);
    add_number(f, "n_batch", row->n_ubatch, 0);
    add_number(f, "n_ubatch", row->n_ubatch, 0);
    add_number(f, "n_threads", row->n_thread, 0);
    add_constants(f, of_threads, sizeof of_threads / sizeof *of_threads);
    add_text(f, "type_k", kv_type_name(row->model->kv.type));
    add_text(f, "type_v", kv_type_name(row->model->kv.type));
    add_constants(f, of_devices, sizeof of_devices / sizeof *of_devices);
    add_number(f, "n_prompt", row->test.n_prompt, 0);
    add_number(f, "n_gen", row->test.n_gen, 0);
    add_number(f, "n_depth", row->test.depth, 0);
    buf_close(&type);
}

static void add_times(struct fields *f, const struct bench_row *row, bool samples)
{
    const struct samples ts = rates(row);
    char time[32];
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", gmtime(&(time_t){ row->time }));
    add_text(f, "test_time", time);
    add_number(f, "avg_ns", samples_mean(&row->ns), 0);
    add_number(f, "stddev_ns", samples_deviation(&row->ns), 0);
    add_number(f, "avg_ts", samples_mean(&ts), 6);
    add_number(f, "stddev_ts", samples_deviation(&ts), 6);
    if (samples) {
        add_samples(f, "samples_ns", &row->ns, 0);
        add_samples(f, "samples_ts", &ts, 6);
    }
    add_number(f, "median_ns", samples_median(&row->ns), 0);
    add_number(f, "median_ts", samples_median(&ts), 6);
}

/* Ours: how many did it at once, what the machine can do, and how much of it that was. */
static void add_roofs(struct fields *f, const struct bench_row *row)
{
    const struct amounts share = shares(row);
    add_number(f, "n_parallel", row->test.n_seq, 0);
    add_text(f, "kv_policy", row->test.policy ? row->test.policy : "full");
    add_text(f, "kernels", row->kernels);
    add_number(f, "load", row->load, 2);
    add_number(f, "roof_int8_ops", row->roof.int8, 0);
    add_number(f, "roof_fp32_flops", row->roof.fp32, 0);
    add_number(f, "roof_read_bytes", row->roof.read, 0);
    add_number(f, "share_int8", share.int8, 4);
    add_number(f, "share_fp32", share.fp32, 4);
    add_number(f, "share_read", share.read, 4);
}

static const char *value_of(const struct fields *f, uint32_t i)
{
    return buf_text(&f->values) + f->field[i].at;
}

static void print_csv(const struct fields *f, bool head)
{
    for (uint32_t i = 0; head && i < f->n; i++)
        printf("%s%s", f->field[i].name, i + 1 < f->n ? "," : "\n");
    for (uint32_t i = 0; i < f->n; i++) {
        putchar('"');
        for (const char *c = value_of(f, i); *c; c++)
            printf(*c == '"' ? "\"\"" : "%c", *c);
        fputs(i + 1 < f->n ? "\"," : "\"\n", stdout);
    }
}

static void print_json(const struct fields *f, const char *open, const char *between,
                       const char *close)
{
    struct buf out = { 0 };
    for (uint32_t i = 0; i < f->n; i++) {
        const char *value = value_of(f, i);
        buf_addf(&out, "%s\"%s\": ", i ? between : open, f->field[i].name);
        if (f->field[i].is_text)
            buf_add_json_text(&out, value, strlen(value));
        else
            buf_add_text(&out, *value ? value : "null");
    }
    printf("%s%s", buf_text(&out), close);
    buf_close(&out);
}

static void print_fields(const struct report *r, const struct bench_row *row)
{
    struct fields f = { 0 };
    add_setup(&f, row);
    add_times(&f, row, r->form != REPORT_CSV);
    add_roofs(&f, row);
    if (r->form == REPORT_CSV)
        print_csv(&f, r->n_row == 0);
    else if (r->form == REPORT_JSONL)
        print_json(&f, "{", ", ", "}\n");
    else
        print_json(&f, r->n_row ? ",\n  {\n    " : "  {\n    ", ",\n    ", "\n  }");
    buf_close(&f.values);
}

void report_row(struct report *r, const struct bench_row *row)
{
    if (r->form == REPORT_MD)
        print_md(r, row);
    else
        print_fields(r, row);
    r->n_row++;
    fflush(stdout);
}

void report_end(struct report *r)
{
    if (r->form == REPORT_JSON)
        puts("\n]");
}
