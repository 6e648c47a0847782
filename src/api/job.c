#include "api/job.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/api.h"
#include "api/log.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/sse.h"
#include "os/clock.h"

const char *job_finish_reason(enum akv_stop stop)
{
    return stop == AKV_STOP_LENGTH || stop == AKV_STOP_CONTEXT || stop == AKV_STOP_TIME ? "length"
                                                                                        : "stop";
}

struct akv_usage job_usage(const struct job *j)
{
    struct akv_usage sum = { 0 };
    for (uint32_t i = 0; i < j->n_choice; i++) {
        const struct choice *c = &j->choice[i];
        const struct akv_usage *u = &c->usage;
        const bool first = i % j->request.n == 0; /* of its prompt */
        sum.n_prompt += first ? (uint32_t)j->request.prompt[c->prompt].n : 0;
        sum.n_cached += first ? u->n_cached : 0;
        sum.n_generated += u->n_generated;
    }
    return sum;
}

/* ---- birth and death ---- */

static void choice_close(struct choice *c)
{
    buf_close(&c->text);
    buf_close(&c->logprobs);
    legacy_close(&c->legacy);
    ids_close(&c->ids);
}

static void job_free(struct job *j)
{
    for (uint32_t i = 0; i < j->n_choice; i++)
        choice_close(&j->choice[i]);
    mem_free(j->choice);
    request_close(&j->request);
    pthread_mutex_destroy(&j->lock);
    atomic_fetch_sub(&j->api->n_job, 1);
    mem_free(j);
}

static struct job *job_new(struct api *api, struct http_request *http,
                           const struct dialect *dialect)
{
    struct job *j = mem_new(1, sizeof *j);
    if (!j)
        return NULL;
    j->api = api;
    j->http = http;
    j->dialect = dialect;
    j->created = (long long)time(NULL);
    j->start_ns = os_now_ns();
    snprintf(j->id, sizeof j->id, "%s%s", dialect->id_prefix, http_id(http));
    pthread_mutex_init(&j->lock, NULL);
    atomic_fetch_add(&api->n_job, 1);
    return j;
}

/* ---- what leaves ---- */

/* A stream that nobody reads any more, or too slowly: its choices end. */
static void give_up(struct job *j)
{
    j->gone = true;
    for (uint32_t i = 0; i < j->n_choice; i++)
        akv_cancel(j->api->engine, j->choice[i].id);
}

static void send_payload(struct job *j, const char *bytes, size_t len)
{
    struct buf event = { 0 };
    if (j->gone)
        return;
    sse_add_event(&event, NULL, bytes, len);
    if (event.failed || http_stream_write(j->http, event.bytes, event.len) != OK)
        give_up(j);
    buf_close(&event);
}

typedef void tell(const struct job *j, const struct choice *c, struct buf *out);

static void send_chunk(struct job *j, struct choice *c, tell *what)
{
    struct buf out = { 0 };
    what(j, c, &out);
    if (out.failed)
        give_up(j);
    else
        send_payload(j, out.bytes, out.len);
    buf_close(&out);
    buf_clear(&c->text);
    buf_clear(&c->logprobs);
    legacy_clear(&c->legacy);
    c->ids.n = 0;
}

static void send_error(struct job *j, const char *message)
{
    struct api_error error = { .kind = API_NONE };
    struct buf out = { 0 };
    api_error_set(&error, API_BROKEN, NULL, "%s", message);
    api_error_json(&error, &out);
    send_payload(j, buf_text(&out), out.len);
    buf_close(&out);
}

static void end_stream(struct job *j)
{
    struct buf out = { 0 };
    if (j->failed.text[0]) {
        send_error(j, j->failed.text);
    } else if (j->dialect->usage && j->request.include_usage) {
        j->dialect->usage(j, &out);
        send_payload(j, buf_text(&out), out.len);
    }
    if (j->dialect->last)
        send_payload(j, j->dialect->last, strlen(j->dialect->last));
    buf_close(&out);
    if (j->gone)
        http_stream_abort(j->http);
    else
        http_stream_end(j->http);
}

static void end_answer(struct job *j)
{
    struct buf out = { 0 };
    bool failed = j->failed.text[0];
    for (uint32_t i = 0; i < j->n_choice; i++)
        failed |= j->choice[i].text.failed || j->choice[i].logprobs.failed;
    if (!failed)
        j->dialect->answer(j, &out);
    if (failed || out.failed) {
        struct api_error error = { .kind = API_NONE };
        api_error_set(&error, API_BROKEN, NULL, "%s",
                      j->failed.text[0] ? j->failed.text : "no memory for the answer");
        api_answer_error(j->api, j->http, &error);
    } else {
        api_answer_json(j->http, 200, &out);
    }
    buf_close(&out);
}

static void job_end(struct job *j)
{
    const struct akv_usage usage = job_usage(j);
    uint32_t n_longest = 0;
    for (uint32_t i = 0; i < j->n_choice; i++) {
        const uint32_t n = j->choice[i].usage.n_generated;
        n_longest = n > n_longest ? n : n_longest;
    }
    const struct metrics_request done = {
        .usage = &usage,
        .first = &j->choice[0].usage,
        .n_longest = n_longest,
        .stop = j->choice[0].stop,
        .ns = os_now_ns() - j->start_ns,
    };
    metrics_request_done(&j->api->metrics, &done);
    recent_add(&j->api->recent, j);
    log_job(j->api->log, j, &usage);
    struct akv_stats stats;
    akv_stats(j->api->engine, &stats);
    log_evictions(j->api->log, &stats);
    if (j->request.stream)
        end_stream(j);
    else
        end_answer(j);
}

/* ---- events ---- */

/* The prompt's own text and log-probabilities come first in the answer. */
static void echo_prompt(struct choice *c)
{
    const struct job *j = c->job;
    const struct ids *prompt = &j->request.prompt[c->prompt];
    for (size_t i = 0; i < prompt->n; i++) {
        size_t len;
        const char *bytes = akv_token_bytes(j->api->model, prompt->id[i], true, &len);
        buf_add(&c->text, bytes, len);
    }
}

static void take_prompt(struct choice *c, const struct akv_event *e)
{
    struct job *j = c->job;
    const struct ids *prompt = &j->request.prompt[c->prompt];
    if (e->first == 0)
        legacy_add(&c->legacy, j->api->model, prompt->id[0], NAN, NULL, 0);
    for (uint32_t i = 0; i < e->n && e->first + i + 1 < prompt->n; i++)
        legacy_add(&c->legacy, j->api->model, prompt->id[e->first + i + 1], e->next[i],
                   e->top + (size_t)i * e->n_top,
                   j->request.n_top < e->n_top ? j->request.n_top : e->n_top);
}

static void take_token(struct choice *c, const struct akv_event *e)
{
    struct job *j = c->job;
    const uint64_t now = os_now_ns();
    buf_add(&c->text, e->text, e->text_len);
    if (j->request.return_ids)
        ids_add(&c->ids, e->token);
    if (j->request.want_logprobs && j->request.kind == REQUEST_TEXT) {
        legacy_add(&c->legacy, j->api->model, e->token, e->logprob, e->top, j->request.n_top);
    } else if (j->request.want_logprobs) {
        buf_add_text(&c->logprobs, c->logprobs.len ? "," : "");
        logprob_chat(&c->logprobs, j->api->model, e->token, e->logprob, e->top, j->request.n_top);
    }
    metrics_token(&j->api->metrics, !c->last_ns, now - (c->last_ns ? c->last_ns : j->start_ns));
    c->last_ns = now;
    c->usage.n_generated++; /* what else of it is known comes with the end */
    const bool has_news = c->text.len || c->logprobs.len || c->legacy.n || c->ids.n;
    if (j->request.stream && has_news)
        send_chunk(j, c, j->dialect->chunk);
}

static void take_done(struct choice *c, const struct akv_event *e)
{
    struct job *j = c->job;
    buf_add(&c->text, e->text, e->text_len);
    c->stop = e->stop;
    c->stop_text = e->stop_text;
    c->stop_id = e->token;
    c->usage = e->usage;
    c->done = true;
    j->n_done++;
    if (e->stop == AKV_STOP_ERROR ||
        (e->stop == AKV_STOP_CANCELED && !j->gone && !j->failed.text[0]))
        snprintf(j->failed.text, sizeof j->failed.text, "%s", e->message);
    if (j->request.stream && !j->failed.text[0])
        send_chunk(j, c, j->dialect->end);
}

void job_event(const struct akv_event *e)
{
    struct choice *c = e->user;
    struct job *j = c->job;
    pthread_mutex_lock(&j->lock);
    if (e->kind == AKV_EVENT_PROMPT)
        take_prompt(c, e);
    else if (e->kind == AKV_EVENT_TOKEN)
        take_token(c, e);
    else
        take_done(c, e);
    const bool ended = j->n_done == j->n_choice;
    if (ended)
        job_end(j);
    pthread_mutex_unlock(&j->lock);
    if (ended)
        job_free(j);
}

/* ---- starting ---- */

/* Runs on a thread of the HTTP server, without the job's lock (http/request.h R2): the ids are fixed by then. */
static void client_left(void *arg)
{
    struct job *j = arg;
    for (uint32_t i = 0; i < j->n_choice; i++)
        akv_cancel(j->api->engine, j->choice[i].id);
}

static bool make_choices(struct job *j)
{
    j->n_choice = j->request.n * j->request.n_prompt;
    j->choice = mem_new(j->n_choice, sizeof *j->choice);
    if (!j->choice) {
        j->n_choice = 0;
        return false;
    }
    for (uint32_t i = 0; i < j->n_choice; i++) {
        struct choice *c = &j->choice[i];
        c->job = j;
        c->index = i;
        c->prompt = i / j->request.n;
        if (j->request.echo)
            echo_prompt(c);
    }
    return true;
}

/* The queue takes all choices or none. */
static void submit_all(struct job *j, struct api_error *error)
{
    struct akv_note why = { "" };
    uint64_t id[PROMPTS_MAX];
    assert(j->n_choice <= PROMPTS_MAX); /* request_read saw to it */
    struct akv_request *r = mem_new(j->n_choice, sizeof *r);
    if (!r) {
        api_error_set(error, API_BUSY, NULL, "no memory for the answers");
        return;
    }
    for (uint32_t i = 0; i < j->n_choice; i++)
        r[i] = request_of(&j->request, j->choice[i].prompt, i % j->request.n, &j->choice[i]);
    const enum akv_status st = akv_submit_all(j->api->engine, r, j->n_choice, id, &why);
    mem_free(r);
    if (st != AKV_OK)
        api_error_from(error, st, &why);
    for (uint32_t i = 0; st == AKV_OK && i < j->n_choice; i++)
        j->choice[i].id = id[i];
}

static void begin_stream(struct job *j)
{
    http_stream_begin(j->http, 200, "text/event-stream", NULL, 0);
    if (j->request.ping_s > 0)
        http_stream_ping(j->http, (uint32_t)j->request.ping_s * 1000, SSE_PING);
    for (uint32_t i = 0; i < j->n_choice; i++) {
        if (j->dialect->begin)
            send_chunk(j, &j->choice[i], j->dialect->begin);
    }
}

/* j may be NULL. */
static void refuse(struct api *api, struct http_request *http, struct job *j,
                   const struct api_error *error)
{
    metrics_refused(&api->metrics);
    api_answer_error(api, http, error);
    if (j)
        job_free(j);
}

/* May take seconds where akv_submit_is_long. */
static void job_submit(struct job *j)
{
    struct api_error error = { .kind = API_NONE };
    pthread_mutex_lock(&j->lock); /* events wait until the job is whole */
    if (http_gone(j->http))
        api_error_set(&error, API_UNAVAILABLE, NULL, "the client is gone");
    else
        submit_all(j, &error);
    if (error.kind == API_NONE) {
        if (j->request.stream)
            begin_stream(j);
        http_on_gone(j->http, client_left, j);
    }
    pthread_mutex_unlock(&j->lock);
    if (error.kind != API_NONE)
        refuse(j->api, j->http, j, &error);
}

static void submit_errand(struct errand *e)
{
    job_submit((struct job *)((char *)e - offsetof(struct job, errand)));
}

void job_start(struct api *api, struct http_request *http, enum request_kind kind,
               const struct dialect *dialect)
{
    struct api_error error = { .kind = API_NONE };
    struct request_defaults by_default = api->by_default;
    struct note why = { "" };
    json_t *body = NULL;
    size_t len;
    const char *text = http_body(http, &len);
    by_default.tenant = api_tenant(api, http);
    if (!by_default.tenant)
        return;
    struct job *j = job_new(api, http, dialect);
    if (j)
        j->tenant = api_tenant_name(api, by_default.tenant);
    if (!j)
        api_error_set(&error, API_BUSY, NULL, "no memory for a request");
    else if (atomic_load(&api->draining))
        api_error_set(&error, API_UNAVAILABLE, NULL, "the server is stopping");
    else if (json_from_text(&body, text, len, &why) != OK)
        api_error_set(&error, API_BAD, NULL, "%s", why.text);
    else if (request_read(&j->request, kind, body, &by_default, &error) && !make_choices(j))
        api_error_set(&error, API_BUSY, NULL, "no memory for the answers");
    json_decref(body);
    if (error.kind != API_NONE) {
        refuse(api, http, j, &error);
        return;
    }
    const struct akv_request first = request_of(&j->request, 0, 0, NULL);
    j->errand.run = submit_errand;
    if (akv_submit_is_long(api->engine, &first))
        errands_add(&api->errands, &j->errand);
    else
        job_submit(j);
}
