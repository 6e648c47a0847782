#include "engine/sequence.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

static enum status check(const struct akv_request *r, uint32_t n_vocab, uint32_t n_ctx,
                         struct note *why)
{
    if (r->n_id == 0) {
        note_set(why, "the prompt has no tokens; give at least one");
        return BAD_INPUT;
    }
    if (r->n_id > n_ctx || (r->n_id == n_ctx && r->n_predict > 0)) {
        note_set(why,
                 "the prompt has %zu tokens; the context holds %u, and an answer needs room too",
                 r->n_id, n_ctx);
        return BAD_INPUT;
    }
    for (size_t i = 0; i < r->n_id; i++) {
        if (r->ids[i] < 0 || (uint32_t)r->ids[i] >= n_vocab) {
            note_set(why, "token %zu of the prompt is %d; the vocabulary has ids 0 to %u", i,
                     r->ids[i], n_vocab - 1);
            return BAD_INPUT;
        }
    }
    if (r->n_logprob > 64) {
        note_set(why, "n_logprob is %u; it must be at most 64", r->n_logprob);
        return BAD_INPUT;
    }
    if (r->cache_salt && strlen(r->cache_salt) > KV_SALT_MAX) {
        note_set(why, "cache_salt has %zu bytes; it may have %d", strlen(r->cache_salt),
                 KV_SALT_MAX);
        return BAD_INPUT;
    }
    if (r->cache_salt && strcspn(r->cache_salt, "/") == strlen(KV_SALT_PUBLIC) &&
        r->cache_salt[0] == KV_SALT_PUBLIC[0]) {
        note_set(why, "cache_salt is of the tenant '%s', whose KV is public; choose another",
                 KV_SALT_PUBLIC);
        return BAD_INPUT;
    }
    if (r->n_public > r->n_id) {
        note_set(why, "%u tokens are declared public; the prompt has %zu", r->n_public, r->n_id);
        return BAD_INPUT;
    }
    if (r->n_predict_min > r->n_predict) {
        note_set(why, "at least %u tokens are asked for, and at most %u", r->n_predict_min,
                 r->n_predict);
        return BAD_INPUT;
    }
    for (uint32_t i = 0; i < r->n_stop_id; i++) {
        if (r->stop_id[i] < 0 || (uint32_t)r->stop_id[i] >= n_vocab) {
            note_set(why, "stop token %u is %d; the vocabulary has ids 0 to %u", i, r->stop_id[i],
                     n_vocab - 1);
            return BAD_INPUT;
        }
    }
    for (uint32_t i = 0; i < r->n_stop; i++) {
        if (!r->stop[i] || !r->stop[i][0]) {
            note_set(why, "stop text %u is empty", i);
            return BAD_INPUT;
        }
    }
    return OK;
}

static enum status copy_stops(struct sequence *s, const struct akv_request *r)
{
    s->stop = mem_new(r->n_stop, sizeof *s->stop);
    if (!s->stop)
        return FULL;
    for (; s->n_stop < r->n_stop; s->n_stop++) {
        s->stop[s->n_stop] = mem_copy_text(r->stop[s->n_stop], strlen(r->stop[s->n_stop]));
        if (!s->stop[s->n_stop])
            return FULL;
    }
    return OK;
}

enum status sequence_frame_open(struct sequence_frame *f, const struct model *m,
                                const struct vocab *vocab, struct hidden *hidden,
                                struct encoder *encoder, const struct engine_limits *limits,
                                struct note *why)
{
    const uint32_t n_token = vocab_n_token(vocab);
    *f = (struct sequence_frame){ .model = m,
                                  .vocab = vocab,
                                  .hidden = hidden,
                                  .encoder = encoder,
                                  .n_vocab = model_hparams(m)->n_vocab,
                                  .limits = limits };
    for (uint32_t i = 0; i < n_token; i++)
        f->n_end_id += vocab_is_end(vocab, (int32_t)i);
    f->end_id = mem_new(f->n_end_id, sizeof *f->end_id);
    if (!f->end_id) {
        note_set(why, "no memory for a list of %u end tokens", f->n_end_id);
        return FULL;
    }
    for (uint32_t i = 0, n = 0; i < n_token; i++) {
        if (vocab_is_end(vocab, (int32_t)i))
            f->end_id[n++] = (int32_t)i;
    }
    return OK;
}

void sequence_frame_close(struct sequence_frame *f)
{
    mem_free(f->end_id);
    *f = (struct sequence_frame){ 0 };
}

/* The vocabulary's end tokens, and behind them those of the request. */
static enum status copy_stop_ids(struct sequence *s, const struct akv_request *r,
                                 const struct sequence_frame *frame)
{
    s->n_end_id = s->n_stop_id = frame->n_end_id;
    s->stop_id = mem_new(s->n_end_id + r->n_stop_id, sizeof *s->stop_id);
    if (!s->stop_id)
        return FULL;
    for (uint32_t i = 0; i < s->n_end_id; i++)
        s->stop_id[i] = frame->end_id[i];
    for (uint32_t i = 0; i < r->n_stop_id; i++)
        s->stop_id[s->n_stop_id++] = r->stop_id[i];
    s->ignore_eos = r->ignore_eos;
    return OK;
}

/* What stays of its KV, and so how long it may get. */
static enum status choose_policy(const struct akv_request *r, const struct sequence_frame *frame,
                                 struct kv_choice *choice, uint32_t *n_ctx, struct note *why)
{
    *choice = frame->limits->policy;
    *n_ctx = frame->limits->n_ctx;
    const enum status st = r->kv_policy ? kv_choice_parse(choice, r->kv_policy, why) : OK;
    if (st == OK && r->kv_policy)
        *n_ctx = engine_limits_context(frame->limits, choice);
    return st;
}

/* What its policy does with this prompt. BAD_INPUT: what follows its context, all of which stays, and what is to be
 * kept of that do not fit the cap together. */
static enum status choose_keeper(struct sequence *s, const struct akv_request *r,
                                 const struct sequence_frame *frame, const struct kv_choice *choice,
                                 struct note *why)
{
    const struct engine_limits *l = frame->limits;
    const struct keeper_frame keeping = { .model.shape = &l->shape };
    const struct keeper_prompt prompt = {
        .from = { frame->model, frame->vocab, frame->hidden, frame->encoder, s->salt },
        .shape = &l->shape,
        .ids = s->ids,
        .n = s->n_prompt,
        .n_context = r->kv_context,
        .n_question = r->kv_question,
        .n_position_max = s->n_id_max,
        .told = r->prompt_logprobs,
        .written = r->kv_written,
        .compared = r->kv_compare,
    };
    const enum status st = keeper_new(&s->keeper, choice, &prompt, why);
    if (st != OK || !s->keeper || !(s->keeper->episodes || s->keeper->n_context))
        return st;
    const size_t bytes = keeper_bytes(s->keeper, &keeping, s->n_prompt + 1, l->n_ubatch);
    if (bytes > l->kv_bytes) {
        note_set(why,
                 "what is read behind the context, and what is kept of that, need %zu bytes of KV; "
                 "the cap (--kv-ram) is %zu: lower the budget, or ask less at once",
                 bytes, l->kv_bytes);
        return BAD_INPUT;
    }
    while (keeper_bytes(s->keeper, &keeping, s->n_id_max, l->n_ubatch) > l->kv_bytes) {
        s->n_id_max -= (s->n_id_max - s->n_prompt + 1) / 2;
        s->length_is_context = true;
    }
    return OK;
}

enum status sequence_new(struct sequence **out, const struct akv_request *r,
                         const struct sequence_frame *frame, struct note *why)
{
    struct kv_choice choice;
    uint32_t n_ctx;
    enum status st = choose_policy(r, frame, &choice, &n_ctx, why);
    if (st == OK)
        st = check(r, frame->n_vocab, n_ctx, why);
    if (st != OK)
        return st;
    struct sequence *s = mem_new(1, sizeof *s);
    if (!s)
        goto full;
    const uint32_t room = n_ctx - (uint32_t)r->n_id;
    const char *salt = r->cache_salt ? r->cache_salt : "";
    s->length_is_context = r->n_predict > room;
    s->n_prompt = s->n_id = (uint32_t)r->n_id;
    s->n_id_max = s->n_prompt + (s->length_is_context ? room : r->n_predict);
    s->n_id_min = s->n_prompt + r->n_predict_min;
    s->user = r->user;
    /* Rows that are told are computed; those inside a context need not be. */
    s->cache_no_read = r->cache_no_read || (r->prompt_logprobs && r->kv_context == 0);
    s->n_reuse_max = r->prompt_logprobs && r->kv_context ? r->kv_context - 1 : UINT32_MAX;
    s->cache_no_write = r->cache_no_write;
    s->n_public = r->n_public / KV_BLOCK * KV_BLOCK;
    s->prompt_logprobs = r->prompt_logprobs;
    s->names_policy = r->kv_policy != NULL;
    s->n_logprob = r->n_logprob;
    s->end_id = -1;
    s->line_limit_ns = r->line_limit_ms * UINT64_C(1000000);
    detok_open(&s->detok, frame->vocab, false);
    s->ids = mem_new(s->n_id_max, sizeof *s->ids);
    s->salt = mem_copy_text(salt, strlen(salt));
    s->done = outbox_event_new(MESSAGE_BYTES);
    if (!s->ids || !s->salt || !s->done || copy_stops(s, r) != OK ||
        copy_stop_ids(s, r, frame) != OK)
        goto full;
    memcpy(s->ids, r->ids, r->n_id * sizeof *s->ids);
    /* The answer goes on with a text, unless a control token stands before it. */
    s->detok.started = vocab_piece(frame->vocab, s->ids[s->n_id - 1], false).len > 0;
    st = choose_keeper(s, r, frame, &choice, why);
    if (st == OK)
        st = sampler_new(&s->sampler, &r->sampling, frame->n_vocab, why);
    for (size_t i = 0; st == OK && i < r->n_id; i++)
        st = sampler_accept(s->sampler, r->ids[i]);
    if (st != OK) {
        sequence_free(s);
        return st;
    }
    *out = s;
    return OK;
full:
    note_set(why, "no memory for a request of %zu tokens", r->n_id);
    sequence_free(s);
    return FULL;
}

void sequence_free(struct sequence *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->n_stop; i++)
        mem_free(s->stop[i]);
    mem_free(s->stop);
    mem_free(s->ids);
    mem_free(s->salt);
    mem_free(s->stop_id);
    keeper_free(s->keeper);
    sampler_free(s->sampler);
    outbox_event_free(s->done);
    detok_close(&s->detok);
    buf_close(&s->text);
    mem_free(s);
}

size_t sequence_kv_bytes(const struct sequence *s, const struct kv_shape *shape, uint32_t n_step)
{
    if (sequence_is_exact(s))
        return kv_sequence_bytes(shape, s->n_done, n_step);
    size_t bytes = kv_excerpt_bytes(s->keeper->excerpt);
    const uint32_t n_block = (kv_space_grown(s->space) + KV_BLOCK - 1) / KV_BLOCK;
    for (uint32_t g = 0; g < shape->n_group; g++)
        bytes += (n_block - kv_space_first(s->space, g)) * kv_block_bytes(shape, g);
    return bytes;
}

/* How many of the last bytes of the text are the beginning of `stop`. */
static size_t begun(const struct buf *text, const char *stop)
{
    size_t len = strlen(stop);
    size_t most = len - 1 < text->len ? len - 1 : text->len;
    for (size_t n = most; n > 0; n--) {
        if (memcmp(text->bytes + text->len - n, stop, n) == 0)
            return n;
    }
    return 0;
}

/* Where the first stop text begins, or SIZE_MAX; which it is. */
static size_t stop_at(const struct sequence *s, uint32_t *which)
{
    size_t first = SIZE_MAX;
    for (uint32_t i = 0; i < s->n_stop; i++) {
        const char *hit =
            s->text.len ? memmem(s->text.bytes, s->text.len, s->stop[i], strlen(s->stop[i])) : NULL;
        if (hit && (size_t)(hit - s->text.bytes) < first) {
            first = (size_t)(hit - s->text.bytes);
            *which = i;
        }
    }
    return first;
}

static void text_leaves(struct sequence *s, size_t n, struct buf *out)
{
    if (n == 0)
        return;
    buf_add(out, s->text.bytes, n);
    memmove(s->text.bytes, s->text.bytes + n, s->text.len - n + 1);
    s->text.len -= n;
}

int32_t sequence_pick(struct sequence *s, const float *logits)
{
    const uint32_t n_forbidden = s->n_id < s->n_id_min ? s->n_stop_id
                                 : s->ignore_eos       ? s->n_end_id
                                                       : 0;
    return sampler_pick(s->sampler, logits, s->stop_id, n_forbidden);
}

bool sequence_is_stop(const struct sequence *s, int32_t id)
{
    for (uint32_t i = 0; i < s->n_stop_id; i++) {
        if (s->stop_id[i] == id)
            return true;
    }
    return false;
}

bool sequence_accept(struct sequence *s, int32_t id, struct buf *out)
{
    enum status known = sampler_accept(s->sampler, id);
    assert(known == OK); /* it came out of this vocabulary's logits */
    s->ids[s->n_id++] = id;
    detok_push(&s->detok, id, &s->text);
    out->failed |= s->text.failed;
    size_t hit = stop_at(s, &s->stop_met);
    if (hit != SIZE_MAX) {
        text_leaves(s, hit, out);
        buf_clear(&s->text);
        buf_clear(&s->detok.held); /* nor the beginning of a character behind it */
        return true;
    }
    size_t held = 0;
    for (uint32_t i = 0; i < s->n_stop; i++) {
        size_t n = begun(&s->text, s->stop[i]);
        held = n > held ? n : held;
    }
    text_leaves(s, s->text.len - held, out);
    return false;
}

void sequence_flush(struct sequence *s, struct buf *out)
{
    detok_flush(&s->detok, &s->text);
    out->failed |= s->text.failed;
    text_leaves(s, s->text.len, out);
}
