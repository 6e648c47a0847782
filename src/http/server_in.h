/* http/server_in.h - what the files behind http/server.h share.
 *
 *   server.c   options, listening socket, libmicrohttpd's daemon, stop       intake.c   its callbacks
 *   request.c  lookups, counting, gone        answer.c  answers, streams     watch.c    the watcher's thread
 *
 * Locks, taken in this order: server->lock, request->lock, libmicrohttpd's own.
 * A request's connection sleeps (suspended) exactly while `asleep`; whoever clears it under the request's lock
 * resumes it. Only the connection's I/O thread puts it to sleep, and never once `gone`.
 * `connection` is libmicrohttpd's, and NULL once that told its end. */
#ifndef HTTP_SERVER_IN_H
#define HTTP_SERVER_IN_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http/server.h"
#include "http/target.h"

enum { LINGER_MAX = 64, PING_MAX = 31 };

struct http_connection {
    struct http_connection *next, *prev; // under server->lock, like all of it
    int fd;
    uint64_t due_ns; // a request has to be here by then; 0: none is awaited
    bool begun;      // its first line arrived
};

/* Sockets whose answer is sent and whose input is thrown away for a while (watch.c). */
struct lingering {
    int fd;
    uint64_t due_ns;
};

struct http_server {
    struct http_options opt;
    char *texts[3]; // the copies that opt points to
    char *tls[2];   // key and certificate
    size_t tls_len[2];
    struct MHD_Daemon *daemon;
    int listen_fd;
    uint16_t port;
    uint64_t id_base;
    _Atomic uint32_t refs;
    _Atomic uint64_t n_request, n_refused, body_bytes;
    _Atomic bool draining;

    pthread_mutex_t lock;
    pthread_cond_t all_done; // n_open became 0
    struct http_connection *connections;
    struct http_request *open; // handed out, and libmicrohttpd has not told their end
    uint32_t n_connection, n_open;
    struct lingering linger[LINGER_MAX];
    uint32_t n_linger;

    pthread_t watcher;
    int epoll_fd, wake_fd;
    bool watches, stop_watching; // the thread runs; it shall end (under lock)
    uint64_t accept_ns;          // the watcher's: not before this
};

enum answer_state { ANSWER_NONE, ANSWER_READY, ANSWER_QUEUED };

struct http_request {
    struct http_server *server;
    struct http_connection *link; // the I/O thread's
    _Atomic uint32_t refs;

    // Written by the I/O thread before the handler runs, read-only then.
    char id[24];
    char client[INET6_ADDRSTRLEN];
    char *target, *method;
    char *texts; // of the headers
    struct http_field *field;
    uint32_t n_field;
    struct http_target where;
    struct buf body;
    char *name;             // the router's
    uint64_t counted_bytes; // of the body, in server->body_bytes
    unsigned refused;       // a status: what comes of the body is thrown away, then it is answered
    struct note why;        // the refusal's sentence
    bool headed, whole, handed, watched;
    bool lingers; // answered before its body was read

    struct http_request *next, *prev; // in server->open, under server->lock
    bool swept;                       // told to go at the server's end

    pthread_mutex_t lock; // everything below
    struct MHD_Connection *connection;
    struct MHD_Response *response;
    unsigned status;
    enum answer_state answer;
    bool asleep, gone, finished, streams, ended, cut;
    http_gone_fn *on_gone;
    void *on_gone_arg;
    struct buf waiting; // of the stream
    size_t taken;       // of its bytes
    uint64_t written_ns, ping_ns;
    uint32_t ping_len;
    char ping[PING_MAX + 1];
};

/* server.c: counted, for requests outlive http_server_free. */
void http_server_drop(struct http_server *server);

/* request.c */
struct http_request *http_request_new(struct http_server *server, struct MHD_Connection *connection,
                                      const char *target);
void http_request_hold(struct http_request *req);
void http_request_drop(struct http_request *req);
/* What a route's name stands for; before the handler. False: no memory. */
must_use bool http_request_set_name(struct http_request *req, const char *name, size_t len);

/* R3 happened: tells the caller, and wakes the connection to its end, unless it has ended. */
void http_request_leave(struct http_request *req, bool ended);

/* answer.c, all under the request's lock. A connection is put to sleep by its I/O thread only. */
void http_sleep(struct http_request *req);
void http_wake(struct http_request *req);
bool http_stream_add(struct http_request *req, const void *bytes, size_t len); // false: no memory

/* intake.c: libmicrohttpd's callbacks; `cls` is the server. */
void *http_intake_line(void *cls, const char *target, struct MHD_Connection *connection);
enum MHD_Result http_intake(void *cls, struct MHD_Connection *connection, const char *url,
                            const char *method, const char *version, const char *bytes, size_t *len,
                            void **req);
void http_intake_end(void *cls, struct MHD_Connection *connection, void **req,
                     enum MHD_RequestTerminationCode code);
void http_intake_link(void *cls, struct MHD_Connection *connection, void **link,
                      enum MHD_ConnectionNotificationCode code);

/* watch.c: the thread also accepts, because libmicrohttpd 0.9.75 may abort when it is told to stop
 * accepting (MHD_quiesce_daemon against a thread of its pool). Stop ends the thread; close comes after the
 * last connection's end. */
must_use enum status http_watch_start(struct http_server *server, struct note *why);
void http_watch_stop(struct http_server *server);
void http_watch_close(struct http_server *server);
void http_watch_wake(struct http_server *server);
void http_watch_add(struct http_request *req);              // its I/O thread
void http_watch_remove(struct http_request *req);           // before its socket closes
void http_watch_linger(struct http_server *server, int fd); // takes the descriptor

#endif
