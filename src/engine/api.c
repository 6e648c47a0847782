/* engine/api.c - the public functions of akvifer.h, each a few lines over what does the work. */
#include "akvifer.h"

#include <jansson.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/picture.h"
#include "engine/snapshot.h"
#include "model/chat_template.h"
#include "model/model.h"
#include "model/vocab_load.h"

_Static_assert(sizeof(struct akv_note) == sizeof(struct note), "a public note is a note");
_Static_assert((int)AKV_CORRUPT == (int)CORRUPT && (int)AKV_FULL == (int)FULL,
               "a public status is a status");

struct akv_model {
    struct model *model;
    struct vocab *vocab;
    struct chat_template *chat; // NULL: the model has none that works
    struct note chat_why;       // why it has none
    char *name;
    char kernels[256];
    atomic_bool in_use; // by an engine: the workspace of passes is the model's
};

struct akv_engine {
    struct akv_model *model; // NULL: not taken yet
    struct engine *engine;
    struct outbox_event *last; // what the caller may still point into
    struct buf plan;
};

static struct note *inner(struct akv_note *why)
{
    return (struct note *)why;
}

/* ---- models ---- */

static enum status name_of(struct akv_model *m, const char *path)
{
    struct gguf_text name = { NULL, 0 };
    if (gguf_get_text(model_file(m->model), "general.name", &name, NULL) != OK || name.len == 0) {
        const char *slash = strrchr(path, '/');
        name = (struct gguf_text){ slash ? slash + 1 : path, strlen(slash ? slash + 1 : path) };
    }
    m->name = mem_copy_text(name.bytes, name.len);
    return m->name ? OK : FULL;
}

enum akv_status akv_model_open(akv_model **out, const struct akv_model_params *params,
                               struct akv_note *why)
{
    struct akv_model *m = mem_new(1, sizeof *m);
    if (!m) {
        note_set(inner(why), "no memory for a model");
        return AKV_FULL;
    }
    const struct model_params inside = {
        .path = params->path,
        .cpu = params->cpu,
        .n_thread = params->n_thread,
        .progress = params->progress,
        .progress_arg = params->progress_arg,
    };
    enum status st = model_open(&m->model, &inside, inner(why));
    if (st == OK)
        st = model_vocab_load(&m->vocab, model_file(m->model), inner(why));
    if (st == OK && vocab_n_token(m->vocab) > model_hparams(m->model)->n_vocab) {
        note_set(inner(why), "the vocabulary has %u tokens, the embedding %u rows",
                 vocab_n_token(m->vocab), model_hparams(m->model)->n_vocab);
        st = BAD_INPUT;
    }
    if (st == OK) {
        const char *source = params->chat_template;
        st = chat_template_new(&m->chat, model_file(m->model), m->vocab, source,
                               source ? strlen(source) : 0, &m->chat_why);
        if (st == NOT_FOUND || (st == BAD_INPUT && !source))
            st = OK; /* the model still completes text; akv_render_chat says what is wrong */
        else if (st != OK)
            note_set(inner(why), "%s", m->chat_why.text);
    }
    if (st == OK)
        st = name_of(m, params->path);
    if (st != OK) {
        akv_model_close(m);
        return (enum akv_status)st;
    }
    kernels_describe(model_kernels(m->model), m->kernels, sizeof m->kernels);
    *out = m;
    return AKV_OK;
}

void akv_model_close(akv_model *m)
{
    if (!m)
        return;
    chat_template_free(m->chat);
    vocab_free(m->vocab);
    model_close(m->model);
    mem_free(m->name);
    mem_free(m);
}

struct profile *engine_profile(akv_model *m)
{
    return model_profile(m->model);
}

void akv_model_info(const akv_model *m, struct akv_model_info *out)
{
    const struct hparams *h = model_hparams(m->model);
    *out = (struct akv_model_info){
        .name = m->name,
        .architecture = model_arch_name(m->model),
        .kernels = m->kernels,
        .n_ctx_train = h->n_ctx,
        .n_vocab = h->n_vocab,
        .n_layer = h->n_layer,
        .n_embd = h->n_embd,
        .n_param = model_weights(m->model)->n_param,
        .weight_bytes = model_weights(m->model)->bytes,
        .has_chat_template = m->chat != NULL,
        .chat_template = m->chat ? chat_template_source(m->chat) : "",
        .bos = vocab_bos(m->vocab),
        .eos = vocab_eos(m->vocab),
    };
}

/* Copies ids out where they fit; says how many there are either way. */
static enum akv_status give_ids(struct ids *from, enum status st, int32_t *ids, size_t *n_id,
                                struct akv_note *why)
{
    const size_t room = *n_id;
    if (st == OK && from->failed) {
        note_set(inner(why), "no memory for %zu tokens", from->n);
        st = FULL;
    } else if (st == OK) {
        *n_id = from->n;
        if (from->n > room) {
            note_set(inner(why), "the text has %zu tokens; there is room for %zu", from->n, room);
            st = FULL;
        } else if (from->n) {
            memcpy(ids, from->id, from->n * sizeof *ids);
        }
    }
    ids_close(from);
    return (enum akv_status)st;
}

enum akv_status akv_tokenize(const akv_model *m, const char *text, size_t len, bool special,
                             bool bos, int32_t *ids, size_t *n_id, struct akv_note *why)
{
    struct ids found = { 0 };
    const unsigned flags = (special ? VOCAB_SPECIAL : 0) | (bos ? VOCAB_BOS : 0);
    enum status st = vocab_encode(m->vocab, text, len, flags, &found, inner(why));
    return give_ids(&found, st, ids, n_id, why);
}

const char *akv_token_bytes(const akv_model *m, int32_t id, bool special, size_t *len)
{
    struct text_span piece = { "", 0 };
    if (id >= 0 && (uint32_t)id < vocab_n_token(m->vocab))
        piece = vocab_piece(m->vocab, id, special);
    *len = piece.len;
    return piece.bytes;
}

enum akv_status akv_render_chat(const akv_model *m, const char *json, size_t len, int32_t *ids,
                                size_t *n_id, struct akv_note *why)
{
    struct ids found = { 0 };
    struct jinja_output rendered = { 0 };
    json_t *request = NULL;
    if (!m->chat) {
        note_set(inner(why),
                 "the model '%s' has no chat template%s%.300s; use it for plain completion (--raw)",
                 m->name, m->chat_why.text[0] ? " that works: " : "", m->chat_why.text);
        return AKV_NOT_FOUND;
    }
    enum status st = json_from_text(&request, json, len, inner(why));
    if (st == OK)
        st = chat_template_render(m->chat, request, true, (long long)time(NULL), &rendered,
                                  inner(why));
    if (st == OK)
        st = chat_template_ids(m->chat, &rendered, true, &found, inner(why));
    jinja_output_close(&rendered);
    json_decref(request);
    return give_ids(&found, st, ids, n_id, why);
}

/* ---- engines ---- */

enum akv_status akv_engine_new(akv_engine **out, akv_model *model, const struct akv_limits *limits,
                               struct akv_note *why)
{
    static const struct akv_limits by_default;
    struct akv_engine *e = mem_new(1, sizeof *e);
    if (!e) {
        note_set(inner(why), "no memory for an engine");
        return AKV_FULL;
    }
    if (atomic_exchange(&model->in_use, true)) {
        note_set(inner(why),
                 "the model '%s' has an engine already, which runs any number of "
                 "requests; free that one first, or open the model once more",
                 model->name);
        akv_engine_free(e);
        return AKV_BAD_INPUT;
    }
    e->model = model;
    enum status st = engine_new(&e->engine, model->model, model->vocab,
                                limits ? limits : &by_default, inner(why));
    if (st != OK) {
        akv_engine_free(e);
        return (enum akv_status)st;
    }
    engine_plan_text(engine_limits(e->engine), model->model, engine_heads_told(e->engine),
                     &e->plan);
    if (e->plan.failed) {
        note_set(inner(why), "no memory for the text of the memory plan");
        akv_engine_free(e);
        return AKV_FULL;
    }
    *out = e;
    return AKV_OK;
}

void akv_engine_free(akv_engine *e)
{
    if (!e)
        return;
    engine_free(e->engine);
    if (e->model)
        atomic_store(&e->model->in_use, false);
    outbox_event_free(e->last);
    buf_close(&e->plan);
    mem_free(e);
}

struct akv_sampling akv_sampling_default(void)
{
    return (struct akv_sampling){
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1,
        .repeat_penalty = 1,
        .repeat_last_n = 64,
    };
}

enum akv_status akv_submit(akv_engine *e, const struct akv_request *request, uint64_t *id,
                           struct akv_note *why)
{
    return (enum akv_status)engine_submit(e->engine, request, 1, id, inner(why));
}

enum akv_status akv_submit_all(akv_engine *e, const struct akv_request *request, uint32_t n,
                               uint64_t *id, struct akv_note *why)
{
    return (enum akv_status)engine_submit(e->engine, request, n, id, inner(why));
}

bool akv_submit_is_long(const akv_engine *e, const struct akv_request *request)
{
    return engine_submit_is_long(e->engine, request);
}

void akv_cancel(akv_engine *e, uint64_t id)
{
    engine_cancel(e->engine, id);
}

enum akv_status akv_cache_find(akv_engine *e, const struct akv_request *request,
                               struct akv_cache_find *out, struct akv_note *why)
{
    return (enum akv_status)engine_find(e->engine, request, out, inner(why));
}

enum akv_status akv_next_event(akv_engine *e, struct akv_event *out, int timeout_ms)
{
    struct outbox_event *event = engine_take_event(e->engine, timeout_ms);
    if (!event)
        return AKV_NOT_FOUND;
    engine_give_event(e->engine, e->last);
    e->last = event;
    *out = event->event;
    return AKV_OK;
}

void akv_stats(akv_engine *e, struct akv_stats *out)
{
    engine_stats(e->engine, out);
}

enum akv_status akv_snapshot_new(struct akv_snapshot **out, akv_engine *e, struct akv_note *why)
{
    struct snapshot *s;
    const enum status st = snapshot_new(&s, e->engine, inner(why));
    if (st == OK)
        *out = &s->seen;
    return (enum akv_status)st;
}

void akv_snapshot_free(struct akv_snapshot *snapshot)
{
    _Static_assert(offsetof(struct snapshot, seen) == 0, "a public snapshot begins one of ours");
    snapshot_free((struct snapshot *)snapshot);
}

enum akv_status akv_snapshot_take(akv_engine *e, struct akv_snapshot *snapshot,
                                  struct akv_note *why)
{
    const enum status st = engine_look(e->engine, (struct snapshot *)snapshot);
    if (st != OK)
        note_set(inner(why), "no memory for the salts of a snapshot");
    return (enum akv_status)st;
}

enum akv_status akv_rows_take(struct akv_rows **out, akv_engine *e, uint64_t id,
                              struct akv_note *why)
{
    return (enum akv_status)picture_take(out, e->engine, id, inner(why));
}

void akv_rows_free(struct akv_rows *rows)
{
    picture_free(rows);
}

const char *akv_plan_text(akv_engine *e)
{
    return buf_text(&e->plan);
}

const char *akv_version(void)
{
    return AKV_VERSION;
}
