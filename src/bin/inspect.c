#include <math.h>
#include <stdio.h>

#include "bin/inspection.h"
#include "bin/models.h"
#include "bin/verbs.h"
#include "model/model.h"

struct inspect_options {
    const char *model;
    bool tensors, metadata, json;
    int64_t n_ctx;
    uint32_t kv_type;
};

static const struct flag rows[] = {
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(inspect_options, model),
      .unit = "MODEL",
      .preset = "smollm2",
      .help = "A GGUF file, or a short name that `akvifer pull` knows." },
    { .names = "--tensors",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(inspect_options, tensors),
      .help = "List every tensor: type, dimensions, bytes." },
    { .names = "--metadata",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(inspect_options, metadata),
      .help = "List every key and its value; long arrays are cut." },
    { .names = "--json",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(inspect_options, json),
      .help = "Print one JSON object." },
    { .names = "-c --ctx-size",
      .type = FLAG_INT,
      .at = FLAG_AT(inspect_options, n_ctx),
      .unit = "TOKENS",
      .least = 0,
      .most = 1 << 30,
      .shown = "the longest the model was trained for",
      .help = "What a context of so many tokens costs in KV memory." },
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(inspect_options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = KV_TYPE_NAMES,
      .help = "How keys and values would be stored." },
};

static const char *const examples[] = {
    "akvifer inspect -m smollm2",
    "akvifer inspect -m gemma3 -c 32768 --kv-type int8",
    "akvifer inspect -m model.gguf --tensors --metadata",
    "akvifer inspect -m smollm2 --json | jq .kv.bytes_per_token",
    NULL,
};

const struct flag_table flags_of_inspect = {
    .verb = "inspect",
    .summary = "show what a model file holds, and what a context costs in memory",
    .flag = rows,
    .n_flag = FLAG_COUNT(rows),
    .examples = examples,
};

const char *inspection_type_name(uint32_t type)
{
    return dtype_info(type)->name;
}

static void add_tensor(struct dtype_sum *sum, const struct gguf_tensor *t)
{
    sum->n_tensor++;
    sum->n_element += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
    sum->bytes += t->bytes;
}

static void sum_tensors(struct inspection *x)
{
    for (size_t i = 0; i < gguf_n_tensor(x->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(x->file, i);
        add_tensor(&x->total, t);
        add_tensor(&x->by_type[t->type], t);
    }
    x->n_param = x->total.n_element;
}

/* The KV of a sequence as it decodes: one position a step. */
static void cost_kv(struct inspection *x, const struct inspect_options *o)
{
    struct kv_shape unbounded;
    hparams_kv_shape(&x->h, (enum kv_type)o->kv_type, &x->kv);
    unbounded = x->kv;
    for (uint32_t g = 0; g < unbounded.n_group; g++)
        unbounded.group[g].window = 0;
    x->n_ctx = o->n_ctx ? (uint32_t)o->n_ctx : x->h.n_ctx;
    x->kv_bytes = kv_sequence_bytes(&x->kv, x->n_ctx, 1);
    x->kv_bytes_max = kv_sequence_bytes(&unbounded, x->n_ctx, 1);
}

static enum status inspect(struct inspection *x, const struct inspect_options *o, struct note *why)
{
    enum status st = gguf_open(&x->file, x->path, why);
    if (st != OK)
        return st;
    sum_tensors(x);
    x->runnable = model_describe(&x->h, &x->arch, x->file, &x->why_not) == OK;
    if (x->runnable)
        cost_kv(x, o);
    return OK;
}

static int print(const struct inspection *x, const struct inspect_options *o)
{
    struct buf out = { 0 };
    struct note why = { "no memory for what there is to show" };
    struct inspection_parts parts = { .tensors = o->tensors, .metadata = o->metadata };
    if (o->json)
        inspection_json(&out, x, parts);
    else
        inspection_text(&out, x, parts);
    int exit_code = out.failed ? verb_fails(&flags_of_inspect, &why) : EXIT_DONE;
    if (exit_code == EXIT_DONE)
        fwrite(out.bytes, 1, out.len, stdout);
    buf_close(&out);
    return exit_code;
}

int verb_inspect(int argc, char **argv)
{
    struct inspect_options o = { 0 };
    static struct inspection x;
    struct buf path = { 0 };
    struct note why = { "" };
    int exit_code;
    if (!flags_read(&flags_of_inspect, &o, argc, argv, NULL, &exit_code))
        return exit_code;
    x = (struct inspection){ 0 };
    enum status st = model_path_resolve(&path, o.model, &why);
    x.path = buf_text(&path);
    if (st == OK)
        st = inspect(&x, &o, &why);
    exit_code = st == OK ? print(&x, &o) : verb_fails(&flags_of_inspect, &why);
    gguf_close(x.file);
    buf_close(&path);
    return exit_code;
}
