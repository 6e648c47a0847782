#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server_in.h"
#include "os/clock.h"

enum { TICK_MS = 250, BATCH = 32, LINGER_MS = 2000, ACCEPTS = 16 };

/* Requests that wait for an answer, or whose stream is silent: libmicrohttpd does not look at their sockets
 * then. Their descriptors are in our own epoll set, once armed. An event found while the lock is held belongs
 * to a living request, since http_watch_remove takes the lock too. */
void http_watch_add(struct http_request *req)
{
    if (req->watched)
        return;
    struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = req };
    req->watched = epoll_ctl(req->server->epoll_fd, EPOLL_CTL_ADD, req->link->fd, &event) == 0;
}

void http_watch_remove(struct http_request *req)
{
    struct http_server *server = req->server;
    pthread_mutex_lock(&server->lock);
    epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, req->link->fd, NULL);
    pthread_mutex_unlock(&server->lock);
}

void http_watch_wake(struct http_server *server)
{
    uint64_t one = 1;
    ssize_t n = write(server->wake_fd, &one, sizeof one); // full means that it is awake anyway
    (void)n;
}

void http_watch_linger(struct http_server *server, int fd)
{
    if (fd < 0)
        return;
    pthread_mutex_lock(&server->lock);
    bool fits = server->n_linger < LINGER_MAX;
    if (fits)
        server->linger[server->n_linger++] =
            (struct lingering){ fd, os_now_ns() + LINGER_MS * 1000000ull };
    pthread_mutex_unlock(&server->lock);
    if (fits)
        http_watch_wake(server);
    else
        close(fd);
}

/* Reads what is there; true once the peer is done. */
static bool drained(int fd)
{
    char bytes[4096];
    for (int i = 0; i < 1024; i++) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return true;
        if (n < 0)
            return false;
    }
    return false;
}

static void tick_lingering(struct http_server *server, uint64_t now)
{
    for (uint32_t i = 0; i < server->n_linger;) {
        struct lingering *l = &server->linger[i];
        if (drained(l->fd) || now >= l->due_ns) {
            close(l->fd);
            *l = server->linger[--server->n_linger];
        } else {
            i++;
        }
    }
}

/* Tells the client by hand: libmicrohttpd answers whole requests only. Not over TLS. */
static void send_late(const struct http_server *server, int fd)
{
    struct buf text = { 0 }, all = { 0 };
    server->opt.error_text(&text, 408, "the request did not arrive whole in time");
    buf_addf(&all,
             "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: %s\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             server->opt.error_type, text.len, buf_text(&text));
    ssize_t n = all.failed ? 0 : send(fd, all.bytes, all.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n; // who does not take it does not get it
    buf_close(&text);
    buf_close(&all);
}

/* S2: after the shutdown libmicrohttpd finds the connection at its end. */
static void tick_late(struct http_server *server, uint64_t now)
{
    for (struct http_connection *c = server->connections; c; c = c->next) {
        if (!c->due_ns || now < c->due_ns)
            continue;
        if (c->begun && !server->tls[0])
            send_late(server, c->fd);
        c->due_ns = 0;
        shutdown(c->fd, SHUT_RDWR);
    }
}

static void tick_ping(struct http_request *req, uint64_t now)
{
    pthread_mutex_lock(&req->lock);
    if (req->streams && !req->finished && !req->gone && !req->cut && req->ping_ns &&
        req->waiting.len == 0 && now >= req->written_ns + req->ping_ns)
        (void)http_stream_add(req, req->ping, req->ping_len); // no memory: the next one may come
    pthread_mutex_unlock(&req->lock);
}

static void tick(struct http_server *server, uint64_t now)
{
    tick_lingering(server, now);
    tick_late(server, now);
    for (struct http_request *req = server->open; req; req = req->next)
        tick_ping(req, now);
}

/* Requests whose client left, held. */
static int collect(struct http_server *server, struct http_request **req)
{
    struct epoll_event event[BATCH];
    int n = epoll_wait(server->epoll_fd, event, BATCH, 0);
    for (int i = 0; i < n; i++) {
        req[i] = event[i].data.ptr;
        http_request_hold(req[i]);
    }
    return n < 0 ? 0 : n;
}

/* A few at a time, so that disconnects are not kept waiting. */
static void accept_some(struct http_server *server)
{
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd = accept4(server->listen_fd, (struct sockaddr *)&from, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                server->accept_ns = os_now_ns() + TICK_MS * 1000000ull; // no descriptors: not now
            return;
        }
        // Above the limit or without memory it closes the socket, and the client sees that.
        (void)MHD_add_connection(server->daemon, fd, (struct sockaddr *)&from, len);
    }
}

/* Until the socket of somebody changes, somebody comes or wakes us, or the time is over. */
static void wait_for_work(struct http_server *server, int timeout_ms, bool accepts)
{
    struct pollfd fd[] = { { server->epoll_fd, POLLIN, 0 },
                           { server->wake_fd, POLLIN, 0 },
                           { accepts ? server->listen_fd : -1, POLLIN, 0 } };
    uint64_t count;
    if (poll(fd, 3, timeout_ms) <= 0)
        return;
    if (fd[1].revents) {
        ssize_t n = read(server->wake_fd, &count, sizeof count);
        (void)n;
    }
    if (fd[2].revents)
        accept_some(server);
}

static void *watcher_main(void *arg)
{
    struct http_server *server = arg;
    struct http_request *left[BATCH];
    uint64_t next = 0;
    int timeout_ms = 0;
    bool accepts = false;
    for (;;) {
        wait_for_work(server, timeout_ms, accepts);
        uint64_t now = os_now_ns();
        pthread_mutex_lock(&server->lock);
        bool stop = server->stop_watching;
        int n = collect(server, left);
        if (now >= next) {
            tick(server, now);
            next = now + TICK_MS * 1000000ull;
        }
        accepts = !server->draining && server->n_connection < server->opt.n_connection_max &&
                  now >= server->accept_ns;
        timeout_ms = server->n_connection || server->n_linger || !accepts ? TICK_MS : -1;
        pthread_mutex_unlock(&server->lock);
        for (int i = 0; i < n; i++) {
            http_request_leave(left[i], false);
            http_request_drop(left[i]);
        }
        if (stop)
            return NULL;
    }
}

enum status http_watch_start(struct http_server *server, struct note *why)
{
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->wake_fd < 0) {
        note_set(why, "cannot watch connections: %m");
        return FULL;
    }
    int err = pthread_create(&server->watcher, NULL, watcher_main, server);
    if (err) {
        note_set(why, "cannot start the thread that watches connections: %s", strerror(err));
        return FULL;
    }
    server->watches = true;
    return OK;
}

void http_watch_stop(struct http_server *server)
{
    if (server->watches) {
        pthread_mutex_lock(&server->lock);
        server->stop_watching = true;
        pthread_mutex_unlock(&server->lock);
        http_watch_wake(server);
        pthread_join(server->watcher, NULL);
        server->watches = false;
    }
}

void http_watch_close(struct http_server *server)
{
    for (uint32_t i = 0; i < server->n_linger; i++)
        close(server->linger[i].fd);
    server->n_linger = 0;
    if (server->epoll_fd >= 0)
        close(server->epoll_fd);
    if (server->wake_fd >= 0)
        close(server->wake_fd);
    server->epoll_fd = server->wake_fd = -1;
}
