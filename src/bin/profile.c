/* bin/profile.c - measures how a model's heads share a KV budget, and writes the file that policies look for. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bin/models.h"
#include "bin/progress.h"
#include "bin/verbs.h"
#include "engine/calibrate.h"
#include "engine/heads.h"
#include "model/vocab_load.h"
#include "os/file.h"

enum { TEXT_BYTES_MAX = 64 << 20, BUDGET_SHOWN = 2 /* 20 % */ };

struct profile_options {
    const char *model, *cpu, *out;
    struct flag_texts text;
    int64_t n_thread;
    bool whole;
    uint32_t kv_type;
};

static const struct flag rows[] = {
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(profile_options, model),
      .unit = "MODEL",
      .preset = "smollm2",
      .help = "A GGUF file, or a short name that `akvifer pull` knows." },
    { .names = "-o --output",
      .type = FLAG_TEXT,
      .at = FLAG_AT(profile_options, out),
      .unit = "FILE",
      .shown = "MODEL.gguf.kv.json, where every verb finds it",
      .help = "Where the profile goes." },
    { .names = "--text",
      .type = FLAG_TEXTS,
      .at = FLAG_AT(profile_options, text),
      .unit = "FILE",
      .shown = "seven texts that come with the program",
      .help = "A calibration text, of which 2,048 tokens count; five or more are wanted." },
    { .names = "--whole",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(profile_options, whole),
      .preset = "false",
      .help = "Heads that retrieve get all rows, one after the other; `akvifer eval kv --policies "
              "auto:whole=on,auto:whole=off` tells whether that is better." },
    { .names = "-t --threads",
      .type = FLAG_INT,
      .at = FLAG_AT(profile_options, n_thread),
      .unit = "N",
      .least = 0,
      .most = 1024,
      .shown = "all that this process may use",
      .help = "Threads that compute." },
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(profile_options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = KV_TYPE_NAMES,
      .help = "How keys and values are stored; a profile is of one type." },
    { .names = "--cpu",
      .type = FLAG_TEXT,
      .at = FLAG_AT(profile_options, cpu),
      .unit = "NAME",
      .preset = "auto",
      .help = "Kernels to use: auto, ref, avx2, avx512 or amx; the results are the same." },
};

const struct flag_table flags_of_profile = {
    .verb = "profile",
    .summary = "measure how a model's heads share a KV budget",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples =
        (const char *const[]){
            "akvifer profile -m qwen2",
            "akvifer profile -m model.gguf --text a.txt --text b.txt -o model.kv.json",
            NULL,
        },
};

struct profiling {
    const struct profile_options *o;
    struct model *m;
    struct vocab *vocab;
    struct kv_shape shape;
    struct kv_shares all, half[2]; // of all texts; of every other one
    uint32_t n_text;
};

/* ---- measuring ---- */

static enum status open_shares(struct profiling *p, struct note *why)
{
    hparams_kv_shape(model_hparams(p->m), (enum kv_type)p->o->kv_type, &p->shape);
    const uint32_t g = kv_whole_group(&p->shape);
    if (g == p->shape.n_group) {
        note_set(why,
                 "every layer of this model has a window, which is its budget: there is nothing "
                 "to share");
        return BAD_INPUT;
    }
    struct kv_shares *const each[] = { &p->all, &p->half[0], &p->half[1] };
    enum status st = OK;
    for (size_t i = 0; i < FLAG_COUNT(each) && st == OK; i++)
        st = kv_shares_open(each[i], p->shape.group[g].n_layer, p->shape.group[g].n_kv_head);
    if (st != OK)
        note_set(why, "no memory for the shares of %u layers", p->shape.group[g].n_layer);
    return st;
}

/* One text into the sum of all and that of its half. */
static enum status measure(struct profiling *p, uint32_t i, const struct calibration_text *text,
                           struct note *why)
{
    struct kv_shares *half = &p->half[i % 2];
    struct kv_shares one = { 0 };
    enum status st = kv_shares_open(&one, half->n_layer, half->n_kv_head);
    if (st == OK)
        st = calibrate(&one, p->m, p->vocab, p->shape.type, text, why);
    const size_t n = (size_t)one.n_layer * one.n_kv_head;
    for (uint32_t b = 0; st == OK && b < KV_SHARES_BUDGETS; b++) {
        for (size_t h = 0; h < n; h++) {
            p->all.share[b][h] += one.share[b][h];
            p->all.follow[b][h] += one.follow[b][h];
            half->share[b][h] += one.share[b][h];
        }
    }
    for (uint32_t l = 0; st == OK && l < one.n_layer; l++) {
        p->all.change[l] += one.change[l];
        half->change[l] += one.change[l];
    }
    kv_shares_close(&one);
    return st;
}

static enum status measure_file(struct profiling *p, uint32_t i, const char *path, struct note *why)
{
    char *bytes;
    size_t len;
    enum status st = file_read(&bytes, &len, path, TEXT_BYTES_MAX, why);
    if (st != OK)
        return st;
    st = measure(p, i, &(struct calibration_text){ bytes, len }, why);
    mem_free(bytes);
    if (st != OK)
        note_prefix(why, "'%s'", path);
    return st;
}

static enum status measure_all(struct profiling *p, struct note *why)
{
    const struct flag_texts *given = &p->o->text;
    struct progress bar;
    enum status st = OK;
    p->n_text = given->n ? given->n : CALIBRATION_TEXTS;
    progress_begin(&bar, "texts", PROGRESS_COUNT, 0, p->n_text);
    for (uint32_t i = 0; i < p->n_text && st == OK; i++) {
        const struct calibration_text own =
            given->n ? (struct calibration_text){ 0 } : calibration_text(i);
        progress_at(&bar, i);
        st = given->n ? measure_file(p, i, given->text[i], why) : measure(p, i, &own, why);
    }
    progress_end(&bar);
    kv_shares_mean(&p->all, p->n_text);
    p->all.whole = p->o->whole;
    return st;
}

/* ---- telling ---- */

static void print(const struct profiling *p, const char *path)
{
    const uint32_t n = p->all.n_layer * p->all.n_kv_head;
    printf("%u texts, %u kv_heads in %u layers\n", p->n_text, n, p->all.n_layer);
    printf("budget   kv_heads that hold half of it   texts agree (correlation of two halves)\n");
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++) {
        printf("%4u %%   %27u   ", kv_shares_percent[b], kv_shares_half(&p->all, b));
        if (p->n_text > 1)
            printf("%.3f\n", kv_shares_correlation(&p->half[0], &p->half[1], b));
        else
            puts("-");
    }
    printf("written to %s\n", path);
}

static enum status write_profile(const struct profiling *p, const char *path, struct note *why)
{
    char name[HEADS_MODEL];
    const struct kv_shares_id of = { heads_model_name(p->m, name), kv_type_name(p->shape.type) };
    struct buf text = { 0 };
    kv_shares_write(&p->all, &of, &text);
    enum status st = text.failed ? FULL : OK;
    if (st != OK)
        note_set(why, "no memory for the text of a profile");
    else
        st = file_replace(path, text.bytes, text.len, why);
    buf_close(&text);
    return st;
}

/* ---- the verb ---- */

static enum status open_model(struct profiling *p, const char *path, struct note *why)
{
    const struct model_params params = { .path = path,
                                         .cpu = p->o->cpu,
                                         .n_thread = (uint32_t)p->o->n_thread };
    const enum status st = model_open(&p->m, &params, why);
    return st == OK ? model_vocab_load(&p->vocab, model_file(p->m), why) : st;
}

static enum status profile(struct profiling *p, const char *path, struct note *why)
{
    struct buf out = { 0 };
    buf_addf(&out, "%s%s", p->o->out ? p->o->out : path, p->o->out ? "" : ".kv.json");
    enum status st = file_replace_check(buf_text(&out), why);
    if (st == OK)
        st = open_model(p, path, why);
    if (st == OK)
        st = open_shares(p, why);
    if (st == OK)
        st = measure_all(p, why);
    if (st == OK)
        st = write_profile(p, buf_text(&out), why);
    if (st == OK)
        print(p, buf_text(&out));
    buf_close(&out);
    return st;
}

int verb_profile(int argc, char **argv)
{
    struct profile_options o = { 0 };
    struct profiling p = { .o = &o };
    struct buf path = { 0 };
    struct note why = { "" };
    int exit_code;
    if (!flags_read(&flags_of_profile, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    enum status st = model_path_resolve(&path, o.model, &why);
    if (st == OK)
        st = profile(&p, buf_text(&path), &why);
    kv_shares_close(&p.all);
    kv_shares_close(&p.half[0]);
    kv_shares_close(&p.half[1]);
    vocab_free(p.vocab);
    model_close(p.m);
    buf_close(&path);
    return st == OK ? EXIT_DONE : verb_fails(&flags_of_profile, &why);
}
