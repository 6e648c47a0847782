#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "http/server_in.h"

static void name_client(struct http_request *req, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    const void *bytes = NULL;
    if (address && address->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address && address->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (!bytes || !inet_ntop(address->sa_family, bytes, req->client, sizeof req->client))
        req->client[0] = 0;
}

struct http_request *http_request_new(struct http_server *server, struct MHD_Connection *connection,
                                      const char *target)
{
    struct http_request *req = mem_new(1, sizeof *req);
    if (!req)
        return NULL;
    req->target = mem_copy_text(target, strlen(target));
    if (!req->target) {
        mem_free(req);
        return NULL;
    }
    req->refs = 1;
    req->server = server;
    req->connection = connection;
    pthread_mutex_init(&req->lock, NULL);
    uint64_t n = atomic_fetch_add(&server->n_request, 1);
    snprintf(req->id, sizeof req->id, "req-%016llx", (unsigned long long)(server->id_base + n));
    name_client(req, connection);
    atomic_fetch_add(&server->refs, 1);
    return req;
}

void http_request_hold(struct http_request *req)
{
    atomic_fetch_add(&req->refs, 1);
}

static void request_free(struct http_request *req)
{
    struct http_server *server = req->server;
    assert(!req->response && !req->asleep);
    atomic_fetch_sub(&server->body_bytes, req->counted_bytes);
    http_target_close(&req->where);
    buf_close(&req->body);
    buf_close(&req->waiting);
    mem_free(req->field);
    mem_free(req->texts);
    mem_free(req->method);
    mem_free(req->target);
    mem_free(req->name);
    pthread_mutex_destroy(&req->lock);
    mem_free(req);
    http_server_drop(server);
}

void http_request_drop(struct http_request *req)
{
    if (atomic_fetch_sub(&req->refs, 1) == 1)
        request_free(req);
}

const char *http_method(const struct http_request *req)
{
    return req->method;
}

const char *http_path(const struct http_request *req)
{
    return http_target_path(&req->where);
}

const char *http_name(const struct http_request *req)
{
    return req->name ? req->name : "";
}

bool http_request_set_name(struct http_request *req, const char *name, size_t len)
{
    req->name = name ? mem_copy_text(name, len) : NULL;
    return !name || req->name;
}

const char *http_query(const struct http_request *req, const char *name)
{
    return http_target_query(&req->where, name);
}

const char *http_header(const struct http_request *req, const char *name)
{
    return http_field_find(req->field, req->n_field, name);
}

const char *http_body(const struct http_request *req, size_t *len)
{
    *len = req->body.len;
    return buf_text(&req->body);
}

const char *http_client(const struct http_request *req)
{
    return req->client;
}

struct http_server *http_server_of(const struct http_request *req)
{
    return req->server;
}

const char *http_id(const struct http_request *req)
{
    return req->id;
}

/* Under the lock. */
static void tell_gone(struct http_request *req)
{
    if (!req->gone && !req->finished && req->on_gone)
        req->on_gone(req->on_gone_arg);
    req->gone = true;
}

void http_request_leave(struct http_request *req, bool ended)
{
    struct MHD_Response *unused = NULL;
    pthread_mutex_lock(&req->lock);
    tell_gone(req);
    if (ended) {
        req->connection = NULL;
        unused = req->response;
        req->response = NULL;
    } else {
        http_wake(req);
    }
    pthread_mutex_unlock(&req->lock);
    if (unused)
        MHD_destroy_response(unused);
}

void http_on_gone(struct http_request *req, http_gone_fn *on_gone, void *arg)
{
    pthread_mutex_lock(&req->lock);
    assert(!req->on_gone && !req->finished);
    req->on_gone = on_gone;
    req->on_gone_arg = arg;
    if (req->gone)
        on_gone(arg);
    pthread_mutex_unlock(&req->lock);
}

bool http_gone(struct http_request *req)
{
    pthread_mutex_lock(&req->lock);
    bool gone = req->gone;
    pthread_mutex_unlock(&req->lock);
    return gone;
}
