#include "engine/engine.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { SESSIONS_MAX = 64 };

/* A finished sequence whose KV is kept for the next request of its session. */
struct session {
    uint64_t name; // 0: free
    int32_t *ids;
    uint32_t n_id; // whose KV is there
    struct kv_space *space;
    uint64_t used; // step of last use, for eviction
};

/* What one running sequence does in this step. */
struct share {
    struct sequence *seq;
    uint32_t first_row, n_row;
};

struct queue {
    struct sequence *first, **last;
    uint32_t n;
};

struct engine {
    struct model *model;
    const struct vocab *vocab;
    struct engine_limits limits;
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct outbox outbox;
    pthread_t thread;
    bool started;

    /* Shared with callers, under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queue inbox;
    uint64_t next_id;
    struct sequence **inside; // [n_inside_max] submitted and not done
    uint32_t n_inside, n_inside_max;
    uint64_t ended[SESSIONS_MAX]; // sessions to end
    uint32_t n_ended;
    pthread_cond_t ended_taken;
    bool cancel_asked, quit;
    struct akv_stats stats;

    /* The engine thread's own. */
    struct queue waiting;      // oldest first
    struct sequence **running; // [n_parallel], oldest first
    uint32_t n_running;
    struct session session[SESSIONS_MAX];
    uint64_t step;

    /* The step's arrays, sized at start. */
    struct share *share;         // [n_parallel]
    struct batch_seq *batch_seq; // [n_parallel]
    int32_t *batch_id;           // [n_ubatch]
    struct buf text;             // what leaves with one token
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void queue_open(struct queue *q)
{
    *q = (struct queue){ .last = &q->first };
}

static void queue_push(struct queue *q, struct sequence *s)
{
    s->next = NULL;
    *q->last = s;
    q->last = &s->next;
    q->n++;
}

static struct sequence *queue_pop(struct queue *q)
{
    struct sequence *s = q->first;
    if (s) {
        q->first = s->next;
        if (!q->first)
            q->last = &q->first;
        q->n--;
    }
    return s;
}

static void queue_push_front(struct queue *q, struct sequence *s)
{
    s->next = q->first;
    q->first = s;
    if (!s->next)
        q->last = &s->next;
    q->n++;
}

/* ---- sessions: KV kept between requests ---- */

static void session_drop(struct session *s)
{
    kv_space_free(s->space);
    mem_free(s->ids);
    *s = (struct session){ 0 };
}

static struct session *session_find(struct engine *e, uint64_t name)
{
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        if (e->session[i].name == name)
            return &e->session[i];
    }
    return NULL;
}

/* Gives the blocks of the longest unused session back. False: there is none. */
static bool session_evict(struct engine *e)
{
    struct session *oldest = NULL;
    for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
        struct session *s = &e->session[i];
        if (s->name && (!oldest || s->used < oldest->used))
            oldest = s;
    }
    if (!oldest)
        return false;
    session_drop(oldest);
    return true;
}

/* Keeps a finished sequence's KV under its session's name. */
static void session_keep(struct engine *e, struct sequence *s)
{
    struct session *slot = session_find(e, s->session);
    if (slot)
        session_drop(slot);
    else if (!(slot = session_find(e, 0))) {
        session_evict(e);
        slot = session_find(e, 0);
    }
    *slot = (struct session){
        .name = s->session, .ids = s->ids, .n_id = s->n_done, .space = s->space, .used = e->step
    };
    s->ids = NULL;
    s->space = NULL;
}

/* Hands what the session shares with this sequence over to it; what it does not share is forgotten. */
static void session_resume(struct engine *e, struct sequence *s)
{
    struct session *kept = s->session ? session_find(e, s->session) : NULL;
    if (!kept || s->prompt_logprobs)
        return;
    uint32_t n = 0;
    while (n < kept->n_id && n + 1 < s->n_id && kept->ids[n] == s->ids[n])
        n++;
    if (n > 0 && kv_space_truncate(kept->space, n) == OK) {
        s->space = kept->space;
        s->n_done = s->n_cached = n;
        kept->space = NULL;
    }
    session_drop(kept);
}

/* ---- events ---- */

static void post(struct engine *e, struct sequence *s, struct outbox_event *event)
{
    event->event.id = s->id;
    event->event.user = s->user;
    outbox_post(&e->outbox, event);
}

static struct akv_usage usage_of(const struct sequence *s, uint64_t now)
{
    const uint64_t start = s->start_ns ? s->start_ns : now, first = s->first_ns ? s->first_ns : now;
    return (struct akv_usage){
        .n_prompt = s->n_prompt,
        .n_cached = s->n_cached,
        .n_generated = s->n_id - s->n_prompt,
        .queue_ns = start - s->submit_ns,
        .prompt_ns = first > start ? first - start : 0,
        .generate_ns = now - first,
        .kv_bytes_peak = s->kv_bytes_peak,
    };
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

/* The last event of a sequence, and the end of it. */
static void finish(struct engine *e, struct sequence *s, enum akv_stop stop, enum status st,
                   const char *message)
{
    struct outbox_event *done = s->done;
    struct buf rest = { 0 };
    s->done = NULL;
    sequence_flush(s, &rest);
    if ((rest.failed || s->lost) && stop != AKV_STOP_ERROR) {
        stop = AKV_STOP_ERROR;
        st = FULL;
        message = "there was no memory to deliver the whole answer";
    }
    snprintf(done->bytes, MESSAGE_BYTES, "%s", message);
    done->text = rest.bytes; // the event's from here on
    done->event = (struct akv_event){
        .kind = AKV_EVENT_DONE,
        .stop = stop,
        .status = (enum akv_status)st,
        .message = done->bytes,
        .text = buf_text(&rest),
        .text_len = rest.len,
        .usage = usage_of(s, now_ns()),
    };
    if (s->session && s->space && stop != AKV_STOP_ERROR)
        session_keep(e, s);
    if (s->space)
        kv_space_free(s->space);
    s->space = NULL;
    inside_remove(e, s);
    post(e, s, done);
    sequence_free(s);
}

/* False: no memory for the event. */
static bool post_token(struct engine *e, struct sequence *s, int32_t id, const float *logits,
                       const struct buf *text)
{
    const uint32_t n_vocab = model_hparams(e->model)->n_vocab;
    struct outbox_event *event =
        outbox_event_new(s->n_logprob * sizeof(struct akv_logprob) + text->len + 1);
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

/* ---- planning: who gets how many rows, and blocks for them ---- */

static void pause_sequence(struct engine *e, uint32_t i)
{
    struct sequence *s = e->running[i];
    kv_space_free(s->space);
    s->space = NULL;
    s->n_done = 0;
    s->n_cached = 0;
    memmove(&e->running[i], &e->running[i + 1], (e->n_running - i - 1) * sizeof *e->running);
    e->n_running--;
    queue_push_front(&e->waiting, s);
}

static void running_remove(struct engine *e, const struct sequence *s)
{
    for (uint32_t i = 0; i < e->n_running; i++) {
        if (e->running[i] == s) {
            memmove(&e->running[i], &e->running[i + 1],
                    (e->n_running - i - 1) * sizeof *e->running);
            e->n_running--;
            return;
        }
    }
}

/* Grows running[i] by n rows; idle sessions go first, then the youngest sequences. False: it was
 * paused itself, or is the last one and ended: the cap has room for it (L1), but the system does
 * not give the memory. */
static bool grow(struct engine *e, uint32_t i, uint32_t n)
{
    struct sequence *s = e->running[i];
    for (;;) {
        enum status st = kv_space_grow(s->space, s->n_done + n);
        if (st == OK)
            return true;
        if (session_evict(e))
            continue;
        const uint32_t youngest = e->n_running - 1;
        if (youngest == 0) {
            running_remove(e, s);
            finish(e, s, AKV_STOP_ERROR, FULL,
                   "the system has no memory for the KV of this request, though the cap (--kv-ram) "
                   "allows it; lower the cap or -c");
            return false;
        }
        pause_sequence(e, youngest);
        if (youngest == i)
            return false;
    }
}

/* Whether all that the sequence has to read would fit beside one more block for each that runs. */
static bool has_room(const struct engine *e, const struct sequence *s)
{
    uint32_t need[KV_GROUP_MAX];
    kv_space_need(s->space, s->n_id, need);
    for (uint32_t g = 0; g < e->limits.shape.n_group; g++) {
        if (need[g] + e->n_running > kv_pool_available(e->pool, g))
            return false;
    }
    return true;
}

static void start_waiting(struct engine *e)
{
    struct note why = { "" };
    while (e->n_running < e->limits.n_parallel && e->waiting.first) {
        struct sequence *s = e->waiting.first;
        if (!s->space && s->n_done == 0)
            session_resume(e, s);
        while (!s->space && kv_space_new(&s->space, e->spaces, &why) != OK) {
            if (session_evict(e))
                continue;
            if (e->n_running == 0) /* nobody will give anything back */
                finish(e, queue_pop(&e->waiting), AKV_STOP_ERROR, FULL, why.text);
            return;
        }
        while (e->n_running > 0 && !has_room(e, s)) {
            if (!session_evict(e))
                return; /* those that run go on; it would only be paused again */
        }
        queue_pop(&e->waiting);
        if (!s->start_ns)
            s->start_ns = now_ns();
        e->running[e->n_running++] = s;
    }
}

/* Rows for every running sequence, the oldest first; one each is kept for those behind. */
static uint32_t plan(struct engine *e, uint32_t *n_share)
{
    uint32_t n_row = 0;
    *n_share = 0;
    for (uint32_t i = 0; i < e->n_running; i++) {
        struct sequence *s = e->running[i];
        const uint32_t behind = e->n_running - i - 1, left = e->limits.n_ubatch - n_row - behind;
        const uint32_t want = s->n_id - s->n_done, n = want < left ? want : left;
        if (!grow(e, i, n))
            break;
        e->share[(*n_share)++] = (struct share){ .seq = s, .first_row = n_row, .n_row = n };
        n_row += n;
    }
    return n_row;
}

static void batch_of(struct engine *e, uint32_t n_share, uint32_t n_row, struct batch *out)
{
    for (uint32_t i = 0; i < n_share; i++) {
        const struct share *sh = &e->share[i];
        e->batch_seq[i] = (struct batch_seq){
            .space = sh->seq->space,
            .first_row = sh->first_row,
            .n_row = sh->n_row,
            .position = sh->seq->n_done,
        };
        memcpy(e->batch_id + sh->first_row, sh->seq->ids + sh->seq->n_done,
               sh->n_row * sizeof *e->batch_id);
    }
    *out =
        (struct batch){ .n_row = n_row, .n_seq = n_share, .id = e->batch_id, .seq = e->batch_seq };
}

/* ---- after the pass ---- */

/* Log-probabilities of the prompt rows that this step computed. */
static void post_prompt(struct engine *e, const struct share *sh)
{
    struct sequence *s = sh->seq;
    const uint32_t n_vocab = model_hparams(e->model)->n_vocab;
    const uint32_t end = s->n_done + sh->n_row < s->n_prompt ? s->n_done + sh->n_row : s->n_prompt;
    const uint32_t begin =
        s->n_posted > s->n_done ? s->n_posted : s->n_done; /* it may have been paused */
    if (begin >= end)
        return;
    const uint32_t n = end - begin;
    s->n_posted = end;
    struct outbox_event *event =
        outbox_event_new(n * sizeof(float) + (size_t)n * s->n_logprob * sizeof(struct akv_logprob));
    if (!event) {
        s->lost = true;
        return;
    }
    struct akv_logprob *top = (struct akv_logprob *)event->bytes;
    float *next = (float *)(top + (size_t)n * s->n_logprob);
    for (uint32_t done = 0; done < n; done += LOGIT_ROWS) {
        const uint32_t m = n - done < LOGIT_ROWS ? n - done : LOGIT_ROWS;
        uint32_t row[LOGIT_ROWS];
        for (uint32_t i = 0; i < m; i++)
            row[i] = sh->first_row + (begin - s->n_done) + done + i;
        const float *logits = model_logits(e->model, row, m);
        for (uint32_t i = 0; i < m; i++, logits += n_vocab) {
            const uint32_t p = begin + done + i;
            const double lse = logits_lse(logits, n_vocab);
            next[done + i] =
                p + 1 < s->n_prompt ? (float)((double)logits[s->ids[p + 1]] - lse) : NAN;
            logits_best(logits, n_vocab, lse, top + (size_t)(done + i) * s->n_logprob,
                        s->n_logprob);
        }
    }
    event->event = (struct akv_event){
        .kind = AKV_EVENT_PROMPT,
        .first = begin,
        .n = n,
        .next = next,
        .top = top,
        .n_top = s->n_logprob,
    };
    post(e, s, event);
}

/* The sequence has read all it has: pick its next token. True: it goes on. */
static bool generate(struct engine *e, struct sequence *s, const float *logits)
{
    if (!s->first_ns)
        s->first_ns = now_ns();
    if (s->n_id == s->n_id_max) {
        finish(e, s,
               s->length_is_context && s->n_id > s->n_prompt ? AKV_STOP_CONTEXT : AKV_STOP_LENGTH,
               OK, "");
        return false;
    }
    const int32_t id = sampler_pick(s->sampler, logits, NULL, 0);
    if (id < 0) {
        finish(e, s, AKV_STOP_ERROR, CORRUPT,
               "no token can be drawn: every logit is NaN, -inf or forbidden");
        return false;
    }
    if (!s->ignore_eos && vocab_is_end(e->vocab, id)) {
        finish(e, s, AKV_STOP_END, OK, "");
        return false;
    }
    buf_clear(&e->text);
    const bool stopped = sequence_accept(s, id, &e->text);
    s->lost = e->text.failed || !post_token(e, s, id, logits, &e->text);
    if (stopped || s->lost) {
        finish(e, s, AKV_STOP_TEXT, OK, "");
        return false;
    }
    if (s->n_id == s->n_id_max) {
        finish(e, s, s->length_is_context ? AKV_STOP_CONTEXT : AKV_STOP_LENGTH, OK, "");
        return false;
    }
    return true;
}

static void commit(struct engine *e, const struct share *sh)
{
    struct sequence *s = sh->seq;
    const size_t bytes = kv_sequence_bytes(&e->limits.shape, s->n_done + sh->n_row, sh->n_row);
    if (bytes > s->kv_bytes_peak)
        s->kv_bytes_peak = bytes;
    s->n_done += sh->n_row;
    kv_space_commit(s->space, s->n_done);
}

/* Samples for the shares whose sequence is up to date, sixteen rows of logits at a time. */
static void sample_shares(struct engine *e, uint32_t n_share)
{
    const uint32_t n_vocab = model_hparams(e->model)->n_vocab;
    struct sequence *ready[LOGIT_ROWS];
    uint32_t row[LOGIT_ROWS], n = 0;
    for (uint32_t i = 0; i < n_share; i++) {
        const struct share *sh = &e->share[i];
        if (sh->seq->n_done == sh->seq->n_id && !sh->seq->lost) {
            ready[n] = sh->seq;
            row[n++] = sh->first_row + sh->n_row - 1;
        }
        if (n == 0 || (n < LOGIT_ROWS && i + 1 < n_share))
            continue;
        const float *logits = model_logits(e->model, row, n);
        for (uint32_t j = 0; j < n; j++) {
            struct sequence *s = ready[j];
            if (!generate(e, s, logits + (size_t)j * n_vocab))
                running_remove(e, s);
        }
        n = 0;
    }
}

/* Ends those whose prompt rows could not be reported. */
static void finish_lost(struct engine *e)
{
    for (uint32_t i = 0; i < e->n_running;) {
        struct sequence *s = e->running[i];
        if (!s->lost) {
            i++;
            continue;
        }
        running_remove(e, s);
        finish(e, s, AKV_STOP_ERROR, FULL, "no memory for the log-probabilities of the prompt");
    }
}

/* What engine_stats shows: a copy made once a step, so that callers never touch the pool. */
static void stats_publish(struct engine *e, uint32_t n_prompt, uint32_t n_generated,
                          uint64_t step_ns)
{
    struct kv_spaces_stats maps;
    struct kv_pool_usage kv;
    uint32_t n_session = 0, n_held = 0;
    kv_spaces_stats(e->spaces, &maps);
    kv_pool_usage(e->pool, &kv);
    for (uint32_t i = 0; i < SESSIONS_MAX; i++)
        n_session += e->session[i].name != 0;
    for (uint32_t g = 0; g < e->limits.shape.n_group; g++)
        n_held += kv.n_held[g];
    pthread_mutex_lock(&e->lock);
    struct akv_stats *s = &e->stats;
    *s = (struct akv_stats){
        .kv_bytes_max = kv.bytes_max,
        .kv_bytes_backed = kv.bytes_backed,
        .kv_bytes_held = kv.bytes_held,
        .n_running = e->n_running,
        .n_session = n_session,
        .n_block_held = n_held,
        .n_ctx = e->limits.n_ctx,
        .n_ubatch = e->limits.n_ubatch,
        .n_step = s->n_step + (step_ns > 0),
        .n_token_prompt = s->n_token_prompt + n_prompt,
        .n_token_generated = s->n_token_generated + n_generated,
        .step_ns = s->step_ns + step_ns,
        .map_ns = maps.map_ns,
        .weight_bytes = model_weights(e->model)->bytes,
        .workspace_bytes = model_workspace_bytes(e->model),
        .kv_bytes_per_token = kv_bytes_per_position(&e->limits.shape),
    };
    pthread_mutex_unlock(&e->lock);
}

/* One step, in the order things happen. */
static void step(struct engine *e)
{
    const uint64_t began = now_ns();
    struct batch batch;
    uint32_t n_share, n_prompt = 0, n_generated = 0;

    start_waiting(e);
    const uint32_t n_row = plan(e, &n_share);
    if (n_row == 0) {
        stats_publish(e, 0, 0, 0); // whoever was to run has ended
        return;
    }
    batch_of(e, n_share, n_row, &batch);
    model_forward(e->model, &batch);
    for (uint32_t i = 0; i < n_share; i++) {
        const struct share *sh = &e->share[i];
        const bool prompt = sh->seq->n_done < sh->seq->n_prompt;
        if (sh->seq->prompt_logprobs && prompt)
            post_prompt(e, sh);
        commit(e, sh);
        *(prompt ? &n_prompt : &n_generated) += sh->n_row;
    }
    sample_shares(e, n_share);
    finish_lost(e);

    e->step++;
    stats_publish(e, n_prompt, n_generated, now_ns() - began);
}

/* ---- the inbox ---- */

static void finish_canceled(struct engine *e)
{
    for (uint32_t i = 0; i < e->n_running;) {
        struct sequence *s = e->running[i];
        if (!s->canceled) {
            i++;
            continue;
        }
        running_remove(e, s);
        finish(e, s, AKV_STOP_CANCELED, CANCELED, "the request was canceled");
    }
    for (uint32_t n = e->waiting.n; n > 0; n--) {
        struct sequence *s = queue_pop(&e->waiting);
        if (s->canceled)
            finish(e, s, AKV_STOP_CANCELED, CANCELED, "the request was canceled");
        else
            queue_push(&e->waiting, s);
    }
}

/* Takes what callers left; waits while there is nothing to do. False: quit. */
static bool inbox_drain(struct engine *e)
{
    uint64_t ended[SESSIONS_MAX];
    pthread_mutex_lock(&e->lock);
    while (!e->quit && !e->inbox.first && !e->cancel_asked && !e->n_ended && e->n_running == 0 &&
           !e->waiting.first)
        pthread_cond_wait(&e->work, &e->lock);
    for (struct sequence *s; (s = queue_pop(&e->inbox));)
        queue_push(&e->waiting, s);
    const bool quit = e->quit, cancel = e->cancel_asked;
    const uint32_t n_ended = e->n_ended;
    memcpy(ended, e->ended, sizeof ended);
    e->n_ended = 0;
    e->cancel_asked = false;
    pthread_cond_broadcast(&e->ended_taken);
    pthread_mutex_unlock(&e->lock);

    for (uint32_t i = 0; i < n_ended; i++) {
        struct session *s = session_find(e, ended[i]);
        if (s)
            session_drop(s);
    }
    if (cancel)
        finish_canceled(e);
    if (n_ended || cancel)
        stats_publish(e, 0, 0, 0);
    return !quit;
}

static void *engine_main(void *arg)
{
    struct engine *e = arg;
    while (inbox_drain(e)) {
        outbox_wait_room(&e->outbox);
        step(e);
    }
    while (e->n_running > 0) {
        struct sequence *s = e->running[0];
        running_remove(e, s);
        finish(e, s, AKV_STOP_CANCELED, CANCELED, "the engine was stopped");
    }
    for (struct sequence *s; (s = queue_pop(&e->waiting));)
        finish(e, s, AKV_STOP_CANCELED, CANCELED, "the engine was stopped");
    while (session_evict(e))
        ;
    return NULL;
}

/* ---- what callers see ---- */

enum status engine_submit(struct engine *e, const struct akv_request *r, uint64_t *id,
                          struct note *why)
{
    struct sequence *s;
    enum status st =
        sequence_new(&s, r, e->vocab, model_hparams(e->model)->n_vocab, e->limits.n_ctx, why);
    if (st != OK)
        return st;
    pthread_mutex_lock(&e->lock);
    if (e->n_inside == e->n_inside_max) {
        note_set(why,
                 "%u requests run or wait already, which is the limit; try again when one is done",
                 e->n_inside);
        pthread_mutex_unlock(&e->lock);
        sequence_free(s);
        return FULL;
    }
    s->id = ++e->next_id;
    s->submit_ns = now_ns();
    *id = s->id;
    e->inside[e->n_inside++] = s;
    queue_push(&e->inbox, s);
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    return OK;
}

void engine_cancel(struct engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->n_inside; i++) {
        if (e->inside[i]->id == id) {
            atomic_store(&e->inside[i]->canceled, true);
            e->cancel_asked = true;
            pthread_cond_signal(&e->work);
        }
    }
    pthread_mutex_unlock(&e->lock);
}

void engine_session_end(struct engine *e, uint64_t session)
{
    pthread_mutex_lock(&e->lock);
    while (e->n_ended == SESSIONS_MAX)
        pthread_cond_wait(&e->ended_taken, &e->lock);
    if (session)
        e->ended[e->n_ended++] = session;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

struct outbox_event *engine_take_event(struct engine *e, int timeout_ms)
{
    return outbox_take(&e->outbox, timeout_ms);
}

const struct engine_limits *engine_limits(const struct engine *e)
{
    return &e->limits;
}

void engine_stats(struct engine *e, struct akv_stats *out)
{
    pthread_mutex_lock(&e->lock);
    *out = e->stats;
    // n_running is of the last step's end: some of those may have ended since
    out->n_waiting = e->n_inside > out->n_running ? e->n_inside - out->n_running : 0;
    pthread_mutex_unlock(&e->lock);
}

static enum status arrays_new(struct engine *e, struct note *why)
{
    const struct engine_limits *l = &e->limits;
    e->n_inside_max = l->n_queue + l->n_parallel;
    e->inside = mem_new(e->n_inside_max, sizeof *e->inside);
    e->running = mem_new(l->n_parallel, sizeof *e->running);
    e->share = mem_new(l->n_parallel, sizeof *e->share);
    e->batch_seq = mem_new(l->n_parallel, sizeof *e->batch_seq);
    e->batch_id = mem_new(l->n_ubatch, sizeof *e->batch_id);
    if (e->inside && e->running && e->share && e->batch_seq && e->batch_id)
        return OK;
    note_set(why, "no memory for the lists of %u requests", e->n_inside_max);
    return FULL;
}

static enum status memory_new(struct engine *e, struct note *why)
{
    const struct engine_limits *l = &e->limits;
    enum status st = model_reserve(e->model, l->n_ubatch, why);
    if (st == OK)
        st = kv_pool_new(
            &e->pool,
            &(struct kv_pool_config){ .shape = &e->limits.shape, .bytes_max = l->kv_bytes }, why);
    if (st == OK)
        st = kv_spaces_new(&e->spaces,
                           &(struct kv_spaces_config){
                               .pool = e->pool,
                               .n_position_max = l->n_ctx,
                               .map_ahead = true,
                               .table = l->kv_table,
                           },
                           why);
    return st;
}

enum status engine_new(struct engine **out, struct model *m, const struct vocab *vocab,
                       const struct akv_limits *wish, struct note *why)
{
    struct engine *e = mem_new_aligned(1, sizeof *e, 64);
    if (!e) {
        note_set(why, "no memory for an engine");
        return FULL;
    }
    e->model = m;
    e->vocab = vocab;
    queue_open(&e->inbox);
    queue_open(&e->waiting);
    outbox_open(&e->outbox);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    pthread_cond_init(&e->ended_taken, NULL);
    enum status st = engine_limits_choose(&e->limits, wish, m, why);
    if (st == OK)
        st = arrays_new(e, why);
    if (st == OK)
        st = memory_new(e, why);
    if (st == OK)
        stats_publish(e, 0, 0, 0); // before the thread: whoever asks first sees the limits
    if (st == OK && pthread_create(&e->thread, NULL, engine_main, e) != 0) {
        note_set(why, "cannot start the engine thread: %m");
        st = FULL;
    }
    e->started = st == OK;
    if (st != OK) {
        engine_free(e);
        return st;
    }
    *out = e;
    return OK;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    if (e->started) {
        pthread_mutex_lock(&e->lock);
        e->quit = true;
        pthread_cond_signal(&e->work);
        pthread_mutex_unlock(&e->lock);
        outbox_quit(&e->outbox);
        pthread_join(e->thread, NULL);
    }
    kv_spaces_free(e->spaces);
    kv_pool_free(e->pool);
    outbox_close(&e->outbox);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->ended_taken);
    mem_free(e->inside);
    mem_free(e->running);
    mem_free(e->share);
    mem_free(e->batch_seq);
    mem_free(e->batch_id);
    buf_close(&e->text);
    mem_free(e);
}
