/* What the engine tells: events, made on its thread, read on any. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine_in.h"

static void post(struct engine *e, struct sequence *s, struct outbox_event *event)
{
    event->event.id = s->id;
    event->event.user = s->user;
    outbox_add(&e->told, event);
}

enum kv_miss miss_to_tell(enum kv_miss miss)
{
    return miss == KV_MISS_TENANT ? KV_MISS_COLD : miss;
}

/* Positions that are there on average over the lists of its excerpt. */
static uint32_t kept_of(const struct engine *e, const struct sequence *s)
{
    const struct kv_shape *shape = &e->limits.shape;
    uint64_t n_list = 0;
    for (uint32_t g = 0; g < shape->n_group; g++)
        n_list += shape->group[g].window ? 0 : shape->group[g].n_layer * shape->group[g].n_kv_head;
    if (sequence_is_exact(s) || !s->space || n_list == 0)
        return s->n_done;
    return (uint32_t)((kv_excerpt_live_rows(s->keeper->excerpt, s->n_done) + n_list / 2) / n_list);
}

static uint32_t mean_of(uint64_t sum, uint64_t n)
{
    return n ? (uint32_t)((sum + n / 2) / n) : 0;
}

static void tell_reads(const struct keeper *k, struct akv_usage *u)
{
    if (!k->select)
        return;
    const struct kv_select_stats read = kv_select_stats_of(k->select);
    u->n_read = mean_of(read.n_read, read.n_call);
    u->n_there = mean_of(read.n_there, read.n_call);
    u->kv_book_bytes = kv_select_bytes(k->select);
}

static struct akv_usage usage_of(const struct engine *e, const struct sequence *s, uint64_t now)
{
    const uint32_t n_kept = kept_of(e, s);
    const uint64_t start = s->start_ns ? s->start_ns : now, first = s->first_ns ? s->first_ns : now;
    struct akv_usage u = {
        .n_prompt = s->n_prompt,
        .n_cached = s->n_cached,
        .cache_miss = kv_miss_name(miss_to_tell(s->hit.miss)),
        .cache_miss_operator = kv_miss_name(s->hit.miss),
        .cache_miss_at = s->hit.miss_at,
        .cached_public = s->cached_public,
        .evicted = s->evicted,
        .n_generated = s->n_id - s->n_prompt,
        .queue_ns = start - s->submit_ns,
        .prompt_ns = first > start ? first - start : 0,
        .generate_ns = now - first,
        .kv_bytes_peak = s->kv_bytes_peak,
        .n_kept = n_kept,
        .n_dropped = s->n_done - n_kept,
        .kv_bytes_end = s->space ? sequence_kv_bytes(s, &e->limits.shape, 1) : 0,
    };
    if (s->keeper) {
        if (s->keeper->episodes) {
            u.kv_n_episode = s->keeper->episodes->n_episode;
            u.kv_episode = s->keeper->episodes->episode;
            u.kv_similarity = s->keeper->episodes->similarity;
        }
        const uint32_t by = s->keeper->choice.options.common.shares;
        const bool there =
            e->heads.there && (by != KV_SHARES_LAYERS || kv_shares_has_layers(&e->heads.shares));
        u.kv_windowed = kv_windowed_layers(&e->limits.shape);
        u.kv_shares = !there || by == KV_SHARES_EQUAL ? "equal"
                      : by == KV_SHARES_SHUFFLED      ? "shuffled"
                      : by == KV_SHARES_LAYERS        ? "layers"
                                                      : "profile";
        snprintf(u.kv_policy, sizeof u.kv_policy, "%s", s->keeper->name);
        tell_reads(s->keeper, &u);
    } else if (s->names_policy) {
        strcpy(u.kv_policy, "full");
    }
    return u;
}

static void inside_remove(struct engine *e, const struct sequence *s)
{
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->n_inside; i++) {
        if (e->inside[i] == s) {
            e->inside[i] = e->inside[--e->n_inside];
            break;
        }
    }
    pthread_mutex_unlock(&e->lock);
}

/* Its KV goes to the index, or away. */
static void leave_space(struct engine *e, struct sequence *s, bool keep)
{
    if (!s->space)
        return;
    kv_index_drop(e->index, &s->public_trail);
    if (keep && frozen_leave(&e->frozen, s)) {
        kv_index_drop(e->index, &s->trail);
    } else if (keep && s->n_done <= sequence_n_exact(s)) {
        kv_index_leave(e->index, s->salt, s->ids, s->space, &s->trail);
    } else {
        kv_index_drop(e->index, &s->trail);
        kv_space_free(s->space);
    }
    s->space = NULL;
}

void engine_finish(struct engine *e, struct sequence *s, enum akv_stop stop, enum status st,
                   const char *message)
{
    struct outbox_event *done = s->done;
    struct buf rest = { 0 };
    struct note why;
    s->done = NULL;
    sequence_flush(s, &rest);
    // Rows of the embedding may have come from other bytes than the model's.
    if (stop != AKV_STOP_ERROR && stop != AKV_STOP_CANCELED && model_check(e->model, &why) != OK) {
        stop = AKV_STOP_ERROR;
        st = CORRUPT;
        message = why.text;
    }
    if ((rest.failed || s->lost) && stop != AKV_STOP_ERROR) {
        stop = AKV_STOP_ERROR;
        st = FULL;
        message = "there was no memory to deliver the whole answer";
    }
    snprintf(done->bytes, MESSAGE_BYTES, "%s", message);
    done->text = rest.bytes; // the event's from here on
    done->event = (struct akv_event){
        .kind = AKV_EVENT_DONE,
        .token = s->end_id,
        .stop = stop,
        .status = (enum akv_status)st,
        .message = done->bytes,
        .stop_text = s->stop_met,
        .text = buf_text(&rest),
        .text_len = rest.len,
        .usage = usage_of(e, s, engine_now(e)),
    };
    leave_space(e, s, stop != AKV_STOP_ERROR && !s->cache_no_write);
    inside_remove(e, s);
    post(e, s, done);
    sequence_free(s);
}

bool engine_post_token(struct engine *e, struct sequence *s, int32_t id, const float *logits,
                       const struct buf *text)
{
    const uint32_t n_vocab = model_hparams(e->model)->n_vocab;
    struct outbox_event *event =
        outbox_make(&e->outbox, s->n_logprob * sizeof(struct akv_logprob) + text->len + 1);
    if (!event)
        return false;
    struct akv_logprob *top = (struct akv_logprob *)event->bytes;
    char *bytes = event->bytes + s->n_logprob * sizeof *top;
    memcpy(bytes, buf_text(text), text->len + 1);
    event->event = (struct akv_event){
        .kind = AKV_EVENT_TOKEN,
        .token = id,
        .text = bytes,
        .text_len = text->len,
        .logprob = NAN,
        .top = top,
        .n_top = s->n_logprob,
    };
    if (s->n_logprob) {
        const double lse = logits_lse(logits, n_vocab);
        logits_best(logits, n_vocab, lse, top, s->n_logprob);
        event->event.logprob = (float)((double)logits[id] - lse);
    }
    post(e, s, event);
    return true;
}

/* Room for n rows, beginning at position `first`; *top and *next are theirs. NULL: no memory, and s is lost. */
static struct outbox_event *prompt_event(struct sequence *s, uint32_t first, uint32_t n,
                                         struct akv_logprob **top, float **next)
{
    struct outbox_event *event =
        outbox_event_new(n * sizeof(float) + (size_t)n * s->n_logprob * sizeof(struct akv_logprob));
    if (!event) {
        s->lost = true;
        return NULL;
    }
    *top = (struct akv_logprob *)event->bytes;
    *next = (float *)(*top + (size_t)n * s->n_logprob);
    event->event = (struct akv_event){
        .kind = AKV_EVENT_PROMPT,
        .first = first,
        .n = n,
        .next = *next,
        .top = *top,
        .n_top = s->n_logprob,
    };
    return event;
}

/* What the row of position p says. */
static void read_logits(const struct sequence *s, uint32_t p, const float *logits, uint32_t n_vocab,
                        struct akv_logprob *top, float *next)
{
    const double lse = logits_lse(logits, n_vocab);
    *next = p + 1 < s->n_prompt ? (float)((double)logits[s->ids[p + 1]] - lse) : NAN;
    logits_best(logits, n_vocab, lse, top, s->n_logprob);
}

void engine_post_forked(struct engine *e, struct sequence *s, const float *logits)
{
    struct akv_logprob *top;
    float *next;
    struct outbox_event *event = prompt_event(s, s->n_done - 1, 1, &top, &next);
    if (!event)
        return;
    s->n_posted = s->n_done;
    read_logits(s, s->n_done - 1, logits, model_hparams(e->model)->n_vocab, top, next);
    post(e, s, event);
}

void engine_post_prompt(struct engine *e, const struct share *sh)
{
    struct sequence *s = sh->seq;
    const uint32_t n_vocab = model_hparams(e->model)->n_vocab;
    const uint32_t end = s->n_done + sh->n_row < s->n_prompt ? s->n_done + sh->n_row : s->n_prompt;
    const uint32_t begin =
        s->n_posted > s->n_done ? s->n_posted : s->n_done; /* it may have been paused */
    struct akv_logprob *top;
    float *next;
    if (begin >= end)
        return;
    const uint32_t n = end - begin;
    struct outbox_event *event = prompt_event(s, begin, n, &top, &next);
    if (!event)
        return;
    s->n_posted = end;
    for (uint32_t done = 0; done < n; done += LOGIT_ROWS) {
        const uint32_t m = n - done < LOGIT_ROWS ? n - done : LOGIT_ROWS;
        uint32_t row[LOGIT_ROWS];
        for (uint32_t i = 0; i < m; i++)
            row[i] = sh->first_row + (begin - s->n_done) + done + i;
        const float *logits = model_logits(e->model, row, m);
        for (uint32_t i = 0; i < m; i++)
            read_logits(s, begin + done + i, logits + (size_t)i * n_vocab, n_vocab,
                        top + (size_t)(done + i) * s->n_logprob, next + done + i);
    }
    post(e, s, event);
}
