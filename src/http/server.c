#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/server_in.h"
#include "os/clock.h"
#include "os/file.h"

enum {
    POOL_BYTES =
        2 * HTTP_HEAD_MAX + HTTP_TARGET_MAX, // a connection's head, answer's head, one chunk
    POOL_STEP = 8192,
    BACKLOG = 1024,
    PEM_MAX = 1 << 20,
};

static void plain_error(struct buf *out, unsigned status, const char *sentence)
{
    (void)status;
    buf_addf(out, "%s\n", sentence);
}

static void fill_in(struct http_options *o)
{
    o->n_thread = o->n_thread ? o->n_thread : 1;
    o->n_connection_max = o->n_connection_max ? o->n_connection_max : 1024;
    o->idle_ms = o->idle_ms ? o->idle_ms : 60000;
    o->request_ms = o->request_ms ? o->request_ms : 60000;
    o->body_bytes_max = o->body_bytes_max ? o->body_bytes_max : 16 << 20;
    o->bodies_bytes_max = o->bodies_bytes_max ? o->bodies_bytes_max : 16 * o->body_bytes_max;
    o->stream_bytes_max = o->stream_bytes_max ? o->stream_bytes_max : 1 << 20;
    o->error_text = o->error_text ? o->error_text : plain_error;
}

static bool copy_texts(struct http_server *s, const struct http_options *o)
{
    const char *from[] = { o->host ? o->host : "127.0.0.1",
                           o->error_type ? o->error_type : "text/plain", o->cors_origin };
    for (int i = 0; i < 3; i++) {
        s->texts[i] = from[i] ? mem_copy_text(from[i], strlen(from[i])) : NULL;
        if (from[i] && !s->texts[i])
            return false;
    }
    s->opt.host = s->texts[0];
    s->opt.error_type = s->texts[1];
    s->opt.cors_origin = s->texts[2];
    return true;
}

static void make_locks(struct http_server *s)
{
    pthread_mutex_init(&s->lock, NULL);
    os_cond_init(&s->all_done);
}

static enum status load_keys(struct http_server *s, const struct http_options *o, struct note *why)
{
    if (!o->tls_key_file != !o->tls_cert_file) {
        note_set(why, "TLS needs both a key file and a certificate file");
        return BAD_INPUT;
    }
    const char *path[] = { o->tls_key_file, o->tls_cert_file };
    enum status st = OK;
    for (int i = 0; i < 2 && path[i] && st == OK; i++)
        st = file_read(&s->tls[i], &s->tls_len[i], path[i], PEM_MAX, why);
    return st;
}

static int listen_at(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage at = { 0 };
    socklen_t len = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

static enum status listen_on(struct http_server *s, struct note *why)
{
    struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", s->opt.port);
    int err = getaddrinfo(s->opt.host, port, &hints, &found);
    if (err) {
        note_set(why, "cannot listen on host '%s': %s", s->opt.host, gai_strerror(err));
        return BAD_INPUT;
    }
    for (struct addrinfo *a = found; a && s->listen_fd < 0; a = a->ai_next)
        s->listen_fd = listen_at(a);
    err = errno;
    freeaddrinfo(found);
    if (s->listen_fd < 0) {
        note_set(why, "cannot listen on %s port %u: %s", s->opt.host, s->opt.port, strerror(err));
        return IO_ERROR;
    }
    s->port = port_of(s->listen_fd);
    return OK;
}

/* Poll, not epoll: the edges of epoll make libmicrohttpd 0.9.75 lose clients that close right behind their
 * request, streams ended with an error, and whole rounds of exactly 128 events, until the idle timeout.
 * Connections that sleep are not in the set, so a thousand idle streams do not slow a poll down. */
static enum status start_daemon(struct http_server *s, struct note *why)
{
    const struct http_options *o = &s->opt;
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_NO_LISTEN_SOCKET | (s->tls[0] ? MHD_USE_TLS : 0);
    struct MHD_OptionItem option[] = {
        { MHD_OPTION_CONNECTION_LIMIT, o->n_connection_max, NULL },
        { MHD_OPTION_CONNECTION_TIMEOUT, (o->idle_ms + 999) / 1000, NULL },
        { MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, NULL },
        { MHD_OPTION_CONNECTION_MEMORY_INCREMENT, POOL_STEP, NULL },
        { MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)http_intake_line, s },
        { MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_intake_end, s },
        { MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_intake_link, s },
        { o->n_thread > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, o->n_thread, NULL },
        { MHD_OPTION_END, 0, NULL },
    };
    struct MHD_OptionItem secret[] = {
        { MHD_OPTION_HTTPS_MEM_KEY, 0, s->tls[0] },
        { MHD_OPTION_HTTPS_MEM_CERT, 0, s->tls[1] },
        { MHD_OPTION_END, 0, NULL },
    };
    s->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, http_intake, s, MHD_OPTION_ARRAY, option,
                         s->tls[0] ? MHD_OPTION_ARRAY : MHD_OPTION_END, secret, MHD_OPTION_END);
    if (s->daemon)
        return OK;
    note_set(why,
             s->tls[0] ? "cannot start the HTTP server: do the TLS key and certificate fit?"
                       : "cannot start the HTTP server with %u threads and %u connections",
             o->n_thread, o->n_connection_max);
    return s->tls[0] ? BAD_INPUT : FULL;
}

static enum status check_options(const struct http_options *o, struct note *why)
{
    assert(o->handler);
    if (o->n_thread <= o->n_connection_max)
        return OK;
    note_set(why, "%u HTTP threads for at most %u connections; give fewer threads", o->n_thread,
             o->n_connection_max);
    return BAD_INPUT;
}

enum status http_server_new(struct http_server **out, const struct http_options *opt,
                            struct note *why)
{
    struct http_server *s = mem_new(1, sizeof *s);
    if (!s) {
        note_set(why, "no memory for the HTTP server");
        return FULL;
    }
    s->refs = 1;
    s->listen_fd = s->epoll_fd = s->wake_fd = -1;
    s->opt = *opt;
    fill_in(&s->opt);
    make_locks(s);
    enum status st = check_options(&s->opt, why);
    if (st == OK && (!copy_texts(s, opt) ||
                     getrandom(&s->id_base, sizeof s->id_base, 0) != sizeof s->id_base)) {
        note_set(why, "no memory for the HTTP server");
        st = FULL;
    }
    if (st == OK)
        st = load_keys(s, opt, why);
    if (st == OK)
        st = listen_on(s, why);
    if (st == OK)
        st = start_daemon(s, why);
    if (st == OK)
        st = http_watch_start(s, why);
    if (st != OK) {
        http_server_free(s);
        return st;
    }
    *out = s;
    return OK;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

/* S4. Who knocks from now on is turned away by the system. */
static void stop_accepting(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    pthread_mutex_unlock(&s->lock);
    if (s->listen_fd >= 0)
        shutdown(s->listen_fd, SHUT_RDWR);
}

enum status http_server_stop(struct http_server *s, uint32_t ms)
{
    stop_accepting(s);
    const uint64_t due = os_now_ns() + ms * 1000000ull;
    int err = 0;
    pthread_mutex_lock(&s->lock);
    while (s->n_open && err == 0)
        err = os_cond_wait_until(&s->all_done, &s->lock, due);
    enum status st = s->n_open ? CANCELED : OK;
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* Lets every open request go. After that no connection sleeps, nor will one: the daemon may be stopped. */
static void sweep(struct http_server *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct http_request *req = s->open;
        while (req && req->swept)
            req = req->next;
        if (req) {
            req->swept = true;
            http_request_hold(req);
        }
        pthread_mutex_unlock(&s->lock);
        if (!req)
            return;
        http_request_leave(req, false);
        http_request_drop(req);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    stop_accepting(s);
    http_watch_stop(s); // nobody is accepted any more
    sweep(s);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    s->daemon = NULL;
    http_watch_close(s);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    s->listen_fd = -1;
    http_server_drop(s);
}

void http_server_drop(struct http_server *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (int i = 0; i < 2; i++) {
        if (s->tls[i])
            explicit_bzero(s->tls[i], s->tls_len[i]);
        mem_free(s->tls[i]);
    }
    for (int i = 0; i < 3; i++)
        mem_free(s->texts[i]);
    pthread_cond_destroy(&s->all_done);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

struct http_counts http_server_counts(struct http_server *s)
{
    struct http_counts c = { .n_request = s->n_request,
                             .n_refused = s->n_refused,
                             .body_bytes = s->body_bytes };
    pthread_mutex_lock(&s->lock);
    c.n_connection = s->n_connection;
    c.n_open = s->n_open;
    pthread_mutex_unlock(&s->lock);
    return c;
}
