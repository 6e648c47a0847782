#include "bin/engine_flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bin/models.h"
#include "bin/progress.h"
#include "bin/show.h"
#include "bin/verbs.h"
#include "kv/policy.h"

static void show_loading(void *arg, double done)
{
    struct progress *bar = arg;
    progress_at(bar, (uint64_t)(done * (double)bar->total));
}

/* Of the file, which is what is read; 0 where it cannot be told. */
static uint64_t bytes_of(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 ? (uint64_t)s.st_size : 0;
}

static enum status open_model(struct engine_opened *out, const struct engine_flags *f,
                              const char *path, struct akv_note *why)
{
    struct progress bar;
    progress_begin(&bar, "loading", PROGRESS_BYTES, 0, bytes_of(path));
    const struct akv_model_params params = {
        .path = path,
        .cpu = f->cpu,
        .n_thread = (uint32_t)f->n_thread,
        .chat_template = f->chat_template,
        .progress = show_loading,
        .progress_arg = &bar,
    };
    enum akv_status st = akv_model_open(&out->model, &params, why);
    progress_end(&bar);
    return (enum status)st;
}

/* Every position can be computed; whether the model makes sense of it is another matter. */
static void warn_of_length(const struct engine_flags *f, const struct akv_model_info *info)
{
    if (f->n_ctx > info->n_ctx_train)
        fprintf(stderr,
                "akvifer: warning: a context of %lld tokens is asked for (-c), and this model was "
                "trained for %u; what it says beyond them may make no sense, unless its file is "
                "one converted with rope scaling (yarn or linear) for that length\n",
                (long long)f->n_ctx, info->n_ctx_train);
}

/* Never in the middle of a character. */
static void name_model(struct engine_opened *o)
{
    size_t len = strlen(o->info.name);
    if (len >= sizeof o->name)
        for (len = sizeof o->name - 1; len > 0 && (o->info.name[len] & 0xc0) == 0x80;)
            len--;
    memcpy(o->name, o->info.name, len);
    show_harmless(o->name, len);
    o->info.name = o->name;
}

void engine_answer_help(const struct engine_flags *f)
{
    struct buf text = { 0 };
    if (!f->kv_policy || strcmp(f->kv_policy, "help") != 0)
        return;
    kv_policies_print(&text);
    fputs(buf_text(&text), stdout);
    buf_close(&text);
    exit(EXIT_DONE);
}

/* The sentence encoder that is meant: the named one, else minilm where it is on this machine; empty: there is none. */
static enum status find_encoder(struct buf *out, const struct engine_flags *f, struct note *why)
{
    if (f->encoder)
        return model_path_resolve(out, f->encoder, why);
    const enum status st = model_path_resolve(out, "minilm", why);
    if (st == NOT_FOUND)
        buf_clear(out);
    return st == NOT_FOUND ? OK : st;
}

enum status engine_open(struct engine_opened *out, const struct engine_flags *f, struct note *why)
{
    static const char *const maps[] = { "space", "table" };
    struct akv_limits limits = {
        .n_ctx = (uint32_t)f->n_ctx,
        .kv_bytes = f->kv_ram,
        .kv_type = kv_type_name((enum kv_type)f->kv_type),
        .kv_map = maps[f->kv_map],
        .kv_policy = f->kv_policy,
        .kv_profile = f->kv_profile,
        .n_parallel = f->n_parallel ? (uint32_t)f->n_parallel : 1,
        .n_queue = (uint32_t)f->n_queue,
        .n_ubatch = (uint32_t)f->n_ubatch,
        .step_stretch = (float)f->step_stretch,
        .n_cache_min = (uint32_t)f->n_cache_min,
    };
    struct buf path = { 0 }, encoder = { 0 };
    struct akv_note inner = { "" };
    *out = (struct engine_opened){ 0 };
    engine_answer_help(f);
    enum status st = model_path_resolve(&path, f->model, why);
    if (st == OK)
        st = find_encoder(&encoder, f, why);
    if (st != OK)
        goto done;
    limits.encoder = encoder.len ? encoder.bytes : NULL;
    st = open_model(out, f, buf_text(&path), &inner);
    if (st == OK) {
        akv_model_info(out->model, &out->info);
        name_model(out);
        if (inner.text[0]) /* what is odd about a model that opened */
            show_warning(buf_text(&path), inner.text);
        warn_of_length(f, &out->info);
        st = (enum status)akv_engine_new(&out->engine, out->model, &limits, &inner);
    }
    if (st != OK) {
        note_set(why, "%s", inner.text);
        goto done;
    }
    if (!f->quiet)
        fprintf(stderr, "model      %s, kernels %s\n%s", out->info.name, out->info.kernels,
                akv_plan_text(out->engine));
done:
    buf_close(&path);
    buf_close(&encoder);
    if (st != OK)
        engine_close(out);
    return st;
}

void engine_close(struct engine_opened *o)
{
    akv_engine_free(o->engine);
    akv_model_close(o->model);
    *o = (struct engine_opened){ 0 };
}
