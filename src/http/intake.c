#include <assert.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/server_in.h"
#include "os/clock.h"

/* A peer that vanished without a word is noticed after about 30 s. */
enum { PROBE_AFTER_S = 15, PROBE_EVERY_S = 5, PROBES = 3 };

static struct http_connection *link_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static int socket_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static void link_due(struct http_server *server, struct http_connection *link, uint64_t ms,
                     bool begun)
{
    pthread_mutex_lock(&server->lock);
    link->due_ns = ms ? os_now_ns() + ms * 1000000 : 0;
    link->begun = begun;
    pthread_mutex_unlock(&server->lock);
}

static void set_probes(int fd, const struct http_options *opt)
{
    static const int on = 1, after = PROBE_AFTER_S, every = PROBE_EVERY_S, n = PROBES;
    unsigned unread_ms = opt->idle_ms;
    // Each of them is an extra: a socket that refuses works without.
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof after);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &n, sizeof n);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof unread_ms);
}

static void link_open(struct http_server *server, struct MHD_Connection *connection, void **out)
{
    struct http_connection *link = mem_new(1, sizeof *link);
    *out = link; // NULL: its first request is refused
    if (!link)
        return;
    link->fd = socket_of(connection);
    link->due_ns = os_now_ns() + server->opt.request_ms * UINT64_C(1000000);
    set_probes(link->fd, &server->opt);
    pthread_mutex_lock(&server->lock);
    link->next = server->connections;
    if (link->next)
        link->next->prev = link;
    server->connections = link;
    bool first = server->n_connection++ == 0;
    pthread_mutex_unlock(&server->lock);
    if (first)
        http_watch_wake(server);
}

static void link_close(struct http_server *server, struct http_connection *link)
{
    if (!link)
        return;
    pthread_mutex_lock(&server->lock);
    if (link->next)
        link->next->prev = link->prev;
    if (link->prev)
        link->prev->next = link->next;
    else
        server->connections = link->next;
    bool was_full = server->n_connection-- == server->opt.n_connection_max;
    pthread_mutex_unlock(&server->lock);
    mem_free(link);
    if (was_full)
        http_watch_wake(server);
}

void http_intake_link(void *cls, struct MHD_Connection *connection, void **link,
                      enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        link_open(cls, connection, link);
    else
        link_close(cls, *link);
}

void *http_intake_line(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_server *server = cls;
    struct http_connection *link = link_of(connection);
    if (!link)
        return NULL;
    link_due(server, link, server->opt.request_ms, true);
    struct http_request *req = http_request_new(server, connection, target ? target : "");
    if (req)
        req->link = link;
    return req;
}

/* Headers are copied: the connection's memory is gone when the client is. */
struct copying {
    struct http_request *req;
    size_t bytes;
};

static enum MHD_Result measure_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                     size_t name_len, const char *value, size_t value_len)
{
    struct copying *c = arg;
    (void)kind, (void)name, (void)value;
    c->bytes += name_len + value_len + 2;
    c->req->n_field++;
    return MHD_YES;
}

static const char *put_text(struct copying *c, const char *text, size_t len)
{
    char *at = c->req->texts + c->bytes;
    if (len)
        memcpy(at, text, len); // the zero byte behind is there
    c->bytes += len + 1;
    return at;
}

static enum MHD_Result copy_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct copying *c = arg;
    (void)kind;
    struct http_field *f = &c->req->field[c->req->n_field++];
    f->name = put_text(c, name, name_len);
    f->value = put_text(c, value ? value : "", value_len);
    return MHD_YES;
}

static bool copy_head(struct http_request *req, struct MHD_Connection *connection,
                      const char *method)
{
    struct copying c = { .req = req };
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, measure_field, &c);
    req->field = mem_new(req->n_field, sizeof *req->field);
    req->texts = mem_new(c.bytes, 1);
    req->method = mem_copy_text(method, strlen(method));
    req->n_field = 0;
    if (!req->field || !req->texts || !req->method)
        return false;
    c.bytes = 0;
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, copy_field, &c);
    return true;
}

static bool has_body(const struct http_request *req)
{
    const char *length = http_header(req, "Content-Length");
    return http_header(req, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
}

/* Queues the answer that is there, ends the connection that has none to get, or waits for one. */
static enum MHD_Result settle(struct http_request *req, struct MHD_Connection *connection)
{
    struct MHD_Response *response = NULL;
    pthread_mutex_lock(&req->lock);
    bool ends = req->gone || req->cut;
    if (!ends && req->answer == ANSWER_READY) {
        response = req->response;
        req->response = NULL;
        req->answer = ANSWER_QUEUED;
    } else if (!ends) {
        http_sleep(req);
    }
    unsigned status = req->status;
    pthread_mutex_unlock(&req->lock);
    if (ends)
        return MHD_NO;
    if (!response) {
        http_watch_add(req);
        return MHD_YES;
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Answers for the handler, which never sees the request. */
static void refuse(struct http_request *req)
{
    atomic_fetch_add(&req->server->n_refused, 1);
    http_request_hold(req); // the answer's to drop
    http_refuse(req, req->refused, NULL, 0, "%s", req->why.text);
}

static void refuse_with(struct http_request *req, unsigned status, const char *sentence)
{
    req->refused = status;
    note_set(&req->why, "%s", sentence);
}

static void refuse_draining(struct http_request *req)
{
    refuse_with(req, 503, "the server is stopping; ask another one, or try again later");
}

static void check_head(struct http_request *req, const char *version)
{
    struct http_head head = { req->method, req->target, version, req->field, req->n_field };
    req->refused = http_guard_head(&head, req->server->opt.body_bytes_max, &req->why);
    if (req->refused)
        return;
    enum status st = http_target_open(&req->where, req->target, &req->why);
    if (st == FULL)
        refuse_with(req, 503, "no memory for the request's address");
    else if (st != OK)
        req->refused = 400;
    else if (req->server->draining)
        refuse_draining(req);
}

/* The head is there. A refusal now ends the connection: where the next request begins is not known. */
static enum MHD_Result take_head(struct http_request *req, struct MHD_Connection *connection,
                                 const char *method, const char *version)
{
    req->headed = true;
    if (!copy_head(req, connection, method))
        return MHD_NO;
    check_head(req, version);
    if (!req->refused)
        return MHD_YES;
    req->lingers = has_body(req);
    refuse(req);
    return settle(req, connection);
}

/* A piece of the body. What is refused here is read to its end, so that the client gets to read why. */
static void take_body(struct http_request *req, const char *bytes, size_t len)
{
    struct http_server *server = req->server;
    if (req->refused)
        return;
    req->counted_bytes += len;
    uint64_t all = atomic_fetch_add(&server->body_bytes, len) + len;
    if (req->body.len + len > server->opt.body_bytes_max) {
        req->refused = 413;
        note_set(&req->why, "the request's body is longer than %llu bytes, which is the limit",
                 (unsigned long long)server->opt.body_bytes_max);
    } else if (all > server->opt.bodies_bytes_max) {
        refuse_with(req, 503, "the bodies of all requests together are at their limit; try later");
    } else {
        buf_add(&req->body, bytes, len);
        if (req->body.failed)
            refuse_with(req, 503, "no memory for the request's body");
    }
    if (req->refused) {
        buf_close(&req->body);
        atomic_fetch_sub(&server->body_bytes, req->counted_bytes);
        req->counted_bytes = 0;
    }
}

static bool is_preflight(const struct http_request *req)
{
    return req->server->opt.cors_origin && strcmp(req->method, "OPTIONS") == 0 &&
           http_header(req, "Origin") && http_header(req, "Access-Control-Request-Method");
}

/* Source: WHATWG Fetch, "CORS-preflight request". */
static void answer_preflight(struct http_request *req)
{
    const char *headers = http_header(req, "Access-Control-Request-Headers");
    const struct http_field field[] = {
        { "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" },
        { "Access-Control-Max-Age", "600" },
        { "Access-Control-Allow-Headers", headers },
    };
    http_request_hold(req); // the answer's to drop
    http_answer(req, 204, NULL, NULL, 0, field, headers ? 3 : 2);
}

/* Puts it among the open ones, held for whoever answers. False: the server stops (S4). */
static bool enter(struct http_request *req)
{
    struct http_server *server = req->server;
    pthread_mutex_lock(&server->lock);
    bool may = !server->draining;
    if (may) {
        req->handed = true;
        http_request_hold(req);
        req->next = server->open;
        if (req->next)
            req->next->prev = req;
        server->open = req;
        server->n_open++;
    }
    pthread_mutex_unlock(&server->lock);
    return may;
}

static void leave(struct http_request *req)
{
    struct http_server *server = req->server;
    pthread_mutex_lock(&server->lock);
    if (req->next)
        req->next->prev = req->prev;
    if (req->prev)
        req->prev->next = req->next;
    else
        server->open = req->next;
    if (--server->n_open == 0)
        pthread_cond_broadcast(&server->all_done);
    pthread_mutex_unlock(&server->lock);
}

/* The request is whole: to the handler, or to whom answers in its place. */
static void hand_over(struct http_request *req)
{
    link_due(req->server, req->link, 0, false);
    if (!req->refused && is_preflight(req)) {
        answer_preflight(req);
        return;
    }
    if (!req->refused && !enter(req))
        refuse_draining(req);
    if (req->refused)
        refuse(req);
    else
        req->server->opt.handler(req->server->opt.arg, req);
}

enum MHD_Result http_intake(void *cls, struct MHD_Connection *connection, const char *url,
                            const char *method, const char *version, const char *bytes, size_t *len,
                            void **slot)
{
    struct http_request *req = *slot;
    (void)cls, (void)url;
    if (!req)
        return MHD_NO; // no memory for it
    if (!req->headed)
        return take_head(req, connection, method, version);
    if (*len) {
        take_body(req, bytes, *len);
        *len = 0;
        return MHD_YES;
    }
    if (!req->whole) {
        req->whole = true;
        hand_over(req);
    }
    return settle(req, connection);
}

void http_intake_end(void *cls, struct MHD_Connection *connection, void **slot,
                     enum MHD_RequestTerminationCode code)
{
    struct http_server *server = cls;
    struct http_request *req = *slot;
    *slot = NULL;
    if (!req)
        return;
    if (req->watched)
        http_watch_remove(req);
    if (req->lingers && code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_watch_linger(server, dup(socket_of(connection)));
    http_request_leave(req, true);
    if (req->handed)
        leave(req);
    link_due(server, req->link, (uint64_t)server->opt.idle_ms + server->opt.request_ms, false);
    http_request_drop(req);
}
