#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http/server_in.h"
#include "os/clock.h"

enum { KEEP_ROOM = 16 * 1024 }; // an empty stream's buffer above this is given back

void http_sleep(struct http_request *req)
{
    assert(!req->asleep && !req->gone && req->connection);
    req->asleep = true;
    MHD_suspend_connection(req->connection);
}

void http_wake(struct http_request *req)
{
    if (!req->asleep)
        return;
    req->asleep = false;
    MHD_resume_connection(req->connection);
}

/* The origin that may read the answer, or NULL. */
static const char *allowed_origin(const struct http_request *req)
{
    const char *ours = req->server->opt.cors_origin;
    if (!ours || strcmp(ours, "*") == 0)
        return ours;
    const char *theirs = http_header(req, "Origin");
    return theirs && strcmp(ours, theirs) == 0 ? ours : NULL;
}

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return !value || MHD_add_response_header(response, name, value) == MHD_YES;
}

/* The headers of every answer, and those of this one. */
static bool add_headers(struct http_request *req, struct MHD_Response *response, const char *type,
                        const struct http_field *extra, uint32_t n_extra)
{
    const char *origin = allowed_origin(req);
    bool varies = req->server->opt.cors_origin && strcmp(req->server->opt.cors_origin, "*") != 0;
    bool ok = add(response, "Content-Type", type) && add(response, "X-Request-Id", req->id) &&
              add(response, "Access-Control-Allow-Origin", origin) &&
              add(response, "Access-Control-Expose-Headers",
                  origin ? "X-Request-Id, Retry-After" : NULL) &&
              add(response, "Vary", varies ? "Origin" : NULL) &&
              add(response, "Connection", req->server->draining ? "close" : NULL);
    for (uint32_t i = 0; i < n_extra; i++)
        ok = ok && add(response, extra[i].name, extra[i].value);
    return ok;
}

/* Hands a response over to the connection; NULL (no memory) cuts it. */
static void give(struct http_request *req, unsigned status, struct MHD_Response *response,
                 bool streams)
{
    pthread_mutex_lock(&req->lock);
    assert(!req->finished && req->answer == ANSWER_NONE); // R1
    req->answer = ANSWER_READY;
    req->status = status;
    req->cut = !response;
    req->streams = streams;
    req->finished = !streams;
    bool ended = !req->connection;
    if (!ended)
        req->response = response;
    http_wake(req);
    pthread_mutex_unlock(&req->lock);
    if (ended && response)
        MHD_destroy_response(response);
}

static struct MHD_Response *with_headers(struct http_request *req, struct MHD_Response *response,
                                         const char *type, const struct http_field *extra,
                                         uint32_t n_extra)
{
    if (!response || add_headers(req, response, type, extra, n_extra))
        return response;
    MHD_destroy_response(response);
    return NULL;
}

void http_answer(struct http_request *req, unsigned status, const char *content_type,
                 const void *bytes, size_t len, const struct http_field *extra, uint32_t n_extra)
{
    // The library only reads what it is to copy; its parameter is not const.
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)bytes, MHD_RESPMEM_MUST_COPY);
    give(req, status, with_headers(req, response, content_type, extra, n_extra), false);
    http_request_drop(req);
}

void http_refuse(struct http_request *req, unsigned status, const struct http_field *extra,
                 uint32_t n_extra, const char *format, ...)
{
    struct note sentence;
    struct buf text = { 0 };
    va_list args;
    va_start(args, format);
    vsnprintf(sentence.text, sizeof sentence.text, format, args);
    va_end(args);
    req->server->opt.error_text(&text, status, sentence.text);
    if (req->server->opt.refused)
        req->server->opt.refused(req->server->opt.arg, req, status);
    http_answer(req, status, req->server->opt.error_type, buf_text(&text), text.len, extra,
                n_extra);
    buf_close(&text);
}

/* The next bytes of a stream for the connection, or sleep. Runs on its I/O thread. */
static ssize_t stream_read(void *arg, uint64_t position, char *out, size_t max)
{
    struct http_request *req = arg;
    (void)position;
    ssize_t n = 0;
    pthread_mutex_lock(&req->lock);
    size_t waiting = req->waiting.len - req->taken;
    bool sleeps = false;
    if (req->gone || req->cut) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (waiting) {
        n = (ssize_t)(waiting < max ? waiting : max);
        memcpy(out, req->waiting.bytes + req->taken, (size_t)n);
        req->taken += (size_t)n;
    } else if (req->ended) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        http_sleep(req);
        sleeps = true;
    }
    if (req->taken == req->waiting.len) {
        req->taken = 0;
        if (req->waiting.room > KEEP_ROOM)
            buf_close(&req->waiting);
        else
            buf_clear(&req->waiting);
    }
    pthread_mutex_unlock(&req->lock);
    if (sleeps)
        http_watch_add(req);
    return n;
}

static void stream_drop(void *arg)
{
    http_request_drop(arg);
}

void http_stream_begin(struct http_request *req, unsigned status, const char *content_type,
                       const struct http_field *extra, uint32_t n_extra)
{
    http_request_hold(req); // the response's
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, stream_read, req, stream_drop);
    if (!response)
        http_request_drop(req);
    give(req, status, with_headers(req, response, content_type, extra, n_extra), true);
}

bool http_stream_add(struct http_request *req, const void *bytes, size_t len)
{
    struct buf *b = &req->waiting;
    if (req->taken && req->taken >= b->len - req->taken) {
        b->len -= req->taken;
        memmove(b->bytes, b->bytes + req->taken, b->len);
        req->taken = 0;
    }
    buf_add(b, bytes, len);
    bool added = !b->failed;
    b->failed = false;
    if (added) {
        req->written_ns = os_now_ns();
        http_wake(req);
    }
    return added;
}

enum status http_stream_write(struct http_request *req, const void *bytes, size_t len)
{
    enum status st = OK;
    pthread_mutex_lock(&req->lock);
    assert(req->streams && !req->finished); // R1
    if (req->gone || req->cut)
        st = CANCELED;
    else if (req->waiting.len - req->taken >= req->server->opt.stream_bytes_max ||
             !http_stream_add(req, bytes, len))
        st = FULL;
    pthread_mutex_unlock(&req->lock);
    return st;
}

void http_stream_ping(struct http_request *req, uint32_t every_ms, const char *text)
{
    size_t len = strlen(text);
    assert(len <= PING_MAX);
    pthread_mutex_lock(&req->lock);
    memcpy(req->ping, text, len + 1);
    req->ping_len = (uint32_t)len;
    req->ping_ns = every_ms * (uint64_t)1000000;
    req->written_ns = os_now_ns();
    pthread_mutex_unlock(&req->lock);
}

static void stream_finish(struct http_request *req, bool cut)
{
    pthread_mutex_lock(&req->lock);
    assert(req->streams && !req->finished); // R1
    req->finished = true;
    req->ended = true;
    req->cut |= cut;
    http_wake(req);
    pthread_mutex_unlock(&req->lock);
    http_request_drop(req);
}

void http_stream_end(struct http_request *req)
{
    stream_finish(req, false);
}

void http_stream_abort(struct http_request *req)
{
    stream_finish(req, true);
}
