#include "model/model_in.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/fingerprint.h"
#include "model/watched.h"

static const struct model_arch *const archs[] = { &arch_llama, &arch_qwen2, &arch_qwen3,
                                                  &arch_gemma3 };

static enum status find_arch(const struct model_arch **out, const struct gguf *g, struct note *why)
{
    struct gguf_text name;
    enum status st = gguf_get_text(g, "general.architecture", &name, why);
    if (st == NOT_FOUND)
        note_set(why, "the model file lacks the key 'general.architecture'");
    if (st != OK)
        return BAD_INPUT;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        if (strlen(archs[i]->name) == name.len &&
            memcmp(archs[i]->name, name.bytes, name.len) == 0) {
            *out = archs[i];
            return OK;
        }
    }
    if (name.len == 4 && memcmp(name.bytes, "bert", 4) == 0) {
        note_set(why,
                 "the architecture 'bert' is a sentence encoder's, which writes nothing: it is for "
                 "--encoder and epicache:embed=minilm");
        return BAD_INPUT;
    }
    note_set(
        why,
        "the architecture '%.*s' is not supported; supported are llama, qwen2, qwen3 and gemma3",
        (int)(name.len < 60 ? name.len : 60), name.bytes);
    return BAD_INPUT;
}

/* The vocabulary's size is that of the embedding: some files say it nowhere else. */
static enum status find_vocab_size(struct hparams *h, const struct gguf *g, struct note *why)
{
    const struct gguf_tensor *t = gguf_tensor_find(g, "token_embd.weight");
    if (!t || t->n_dim != 2 || t->dim[1] == 0 || t->dim[1] > INT32_MAX) {
        note_set(why, "the model file lacks a tensor 'token_embd.weight' of two dimensions");
        return BAD_INPUT;
    }
    h->n_vocab = (uint32_t)t->dim[1];
    return OK;
}

static enum status describe(struct hparams *h, const struct model_arch **arch, const struct gguf *g,
                            struct note *why)
{
    enum status st = find_arch(arch, g, why);
    if (st == OK)
        st = hparams_read(h, g, (*arch)->name, why);
    if (st == OK)
        st = find_vocab_size(h, g, why);
    return st == OK ? (*arch)->adjust(h, g, why) : st;
}

enum status model_describe(struct hparams *out, const char **arch_name, const struct gguf *g,
                           struct note *why)
{
    const struct model_arch *arch;
    struct hparams h;
    enum status st = describe(&h, &arch, g, why);
    if (st != OK)
        return st;
    *out = h;
    *arch_name = arch->name;
    return OK;
}

static enum status check_rope_factors(const struct model *m, struct note *why)
{
    if (m->h.rope.scaling == ROPE_LLAMA3 && !m->weights.rope_factors) {
        note_set(why,
                 "'%s.rope.scaling.type' is 'llama3', but the file lacks the tensor "
                 "'rope_freqs.weight' that carries its factors; convert the model again",
                 m->arch->name);
        return BAD_INPUT;
    }
    for (uint32_t i = 0; m->weights.rope_factors && i < m->h.n_rot / 2; i++) {
        float f = m->weights.rope_factors[i];
        if (!(f >= 1e-6f) || !isfinite(f)) {
            note_set(why, "tensor 'rope_freqs.weight'[%u] is %g; it must be above 0 and finite", i,
                     (double)f);
            return BAD_INPUT;
        }
    }
    return OK;
}

enum status model_open(struct model **out, const struct model_params *params, struct note *why)
{
    struct model *m = mem_new(1, sizeof *m);
    enum status st = FULL;
    if (!m) {
        note_set(why, "no memory for a model");
        return FULL;
    }
    uint32_t n_thread = params->n_thread ? params->n_thread : os_cpu_count();
    m->path = mem_copy_text(params->path, strlen(params->path));
    if (!m->path) {
        note_set(why, "no memory for a model");
        model_close(m);
        return FULL;
    }
    st = kernels_select(&m->kern, params->cpu ? params->cpu : "auto", why);
    if (st == OK)
        st = gguf_open(&m->file, params->path, why);
    if (st == OK)
        st = describe(&m->h, &m->arch, m->file, why);
    if (st == OK)
        st = workers_new(&m->workers, n_thread, why);
    if (st == OK)
        st = fingerprint_of(&m->fingerprint, m->file, why);
    if (st == OK)
        st = weights_load(&m->weights, m->file, &m->h, m->arch->parts, m->workers, params->progress,
                          params->progress_arg, why);
    if (st == OK)
        st = check_rope_factors(m, why);
    if (st != OK) {
        model_close(m);
        return st;
    }
    m->pass = (struct pass){
        .kern = kernels_watched(m->kern),
        .h = &m->h,
        .workers = m->workers,
    };
    rope_init(&m->pass.rope[0], &m->h.rope, m->h.n_rot, m->weights.rope_factors);
    rope_init(&m->pass.rope[1], &m->h.rope_local, m->h.n_rot, NULL);
    *out = m;
    return OK;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    pass_close(&m->pass);
    weights_close(&m->weights);
    workers_free(m->workers);
    gguf_close(m->file);
    mem_free(m->path);
    mem_free(m);
}

/* Embedding rows are read from the file as they are needed. */
enum status model_check(const struct model *m, struct note *why)
{
    struct kv_key now;
    const enum file_change change = gguf_changed(m->file, why);
    if (change == FILE_SAME)
        return OK;
    if (change == FILE_WRITTEN && fingerprint_of(&now, m->file, NULL) == OK &&
        memcmp(&now, &m->fingerprint, sizeof now) == 0)
        return OK;
    return CORRUPT;
}

const struct hparams *model_hparams(const struct model *m)
{
    return &m->h;
}

const struct weights *model_weights(const struct model *m)
{
    return &m->weights;
}

const struct gguf *model_file(const struct model *m)
{
    return m->file;
}

const struct kernels *model_kernels(const struct model *m)
{
    return m->kern;
}

struct kv_key model_fingerprint(const struct model *m)
{
    return m->fingerprint;
}

const char *model_file_path(const struct model *m)
{
    return m->path;
}

const char *model_arch_name(const struct model *m)
{
    return m->arch->name;
}

uint32_t model_n_thread(const struct model *m)
{
    return workers_count(m->workers);
}

uint32_t model_rows_for(const struct model *m, size_t bytes)
{
    uint32_t n_row = 512;
    while (n_row > 64 && pass_bytes(&m->h, &m->weights, workers_count(m->workers), n_row) > bytes)
        n_row -= 64;
    return n_row;
}

enum status model_reserve(struct model *m, uint32_t n_row, struct note *why)
{
    return n_row <= m->pass.n_row_max ? OK : pass_open(&m->pass, &m->weights, n_row, why);
}

size_t model_workspace_bytes(const struct model *m)
{
    return m->pass.bytes;
}

struct workers *model_workers(const struct model *m)
{
    return m->workers;
}

void model_embedding(const struct model *m, int32_t id, float *out)
{
    weights_embedding(&m->weights, m->h.n_embd, id, out);
}

const double *model_rope_freq(const struct model *m)
{
    return m->pass.rope[0].freq;
}

void model_rope_mean(const struct model *m, uint32_t from, uint32_t n, float *pairs)
{
    float at[2 * ROPE_PAIRS_MAX];
    double sum[2 * ROPE_PAIRS_MAX] = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        rope_angles(&m->pass.rope[0], from + i, at);
        for (uint32_t j = 0; j < m->h.n_rot; j++)
            sum[j] += (double)at[j];
    }
    for (uint32_t j = 0; j < m->h.n_rot; j++)
        pairs[j] = (float)(sum[j] / n);
}

struct profile *model_profile(struct model *m)
{
    return &m->pass.profile;
}

void model_forward(struct model *m, const struct batch *batch)
{
    m->pass.profile.n_pass += m->pass.profile.on;
    pass_begin(&m->pass, batch, &m->weights);
    m->arch->forward(&m->pass, &m->weights);
}

const float *model_logits(struct model *m, const uint32_t *row, uint32_t n)
{
    return pass_logits(&m->pass, &m->weights, row, n);
}

void model_let_go(struct model *m)
{
    pass_let_embedding_go(&m->pass, &m->weights);
}
