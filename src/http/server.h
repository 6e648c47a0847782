/* http/server.h - HTTP/1.1 over libmicrohttpd: connections, limits, stopping. Knows no LLM word.
 *
 *   client ==> I/O threads (libmicrohttpd) --guard--> body --> handler(req) ... answer, from any thread
 *                        ^ resume                                 |
 *                        +---- watcher: disconnects, pings, slow requests, lingering closes
 *
 * S1  The handler sees whole requests that passed http/guard.h, with bodies up to body_bytes_max.
 * S2  A connection's first request arrives within request_ms, a later one within request_ms of its first
 *     line (which comes within idle_ms + request_ms), else 408 and the connection ends. A connection where
 *     nothing moves for idle_ms ends too: between requests, and while an answer waits for the client to
 *     read. A pending answer or a silent stream may take for ever.
 * S3  All bodies together stay below bodies_bytes_max: above it 503.
 * S4  After http_server_stop no request reaches the handler; new ones on old connections get 503.
 * S5  HEAD is answered like GET, without the body. With CORS on, a preflight is answered here.
 *
 * What libmicrohttpd refuses by itself (another version, a line without a colon, a length that is no number, a broken
 * chunk) has the right status and closes, with a page of its own for a body: there is no way to put words in.
 *
 * A client that is refused before its body was read gets to read the answer: the connection lingers, its
 * input thrown away, for at most 2 s.
 *
 * Lifetime  new .. stop .. free; requests that are unfinished then may be finished later (R1).
 * Threads   the handler runs on an I/O thread and must not block: the others of that thread wait.
 * Cost      about 0.1 MB of address space, few pages touched, a connection. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"
#include "http/request.h"

struct http_server;

/* Appends the body of an error answer. */
typedef void http_error_text(struct buf *out, unsigned status, const char *sentence);

/* Told of each http_refuse, from the thread that calls it, before the request is let go of. */
typedef void http_refused(void *arg, const struct http_request *req, unsigned status);

/* Zero or NULL means the default, in brackets. Texts are copied. */
struct http_options {
    const char *host;                         // name or address [127.0.0.1]
    uint16_t port;                            // [any that is free]
    uint32_t n_thread;                        // [1]
    uint32_t n_connection_max;                // [1024] others wait in the system's backlog
    uint32_t idle_ms;                         // [60000] whole seconds, rounded up
    uint32_t request_ms;                      // [60000]
    uint64_t body_bytes_max;                  // [16 MiB]
    uint64_t bodies_bytes_max;                // [16 times that]
    uint32_t stream_bytes_max;                // [1 MiB]
    const char *tls_key_file, *tls_cert_file; // PEM; both or none [none]
    const char *cors_origin;                  // one origin, or "*" [no CORS headers]
    http_error_text *error_text;              // [the sentence and a line end]
    const char *error_type;                   // its content type [text/plain]
    http_refused *refused;                    // [nobody is told]
    http_handler *handler;
    void *arg; // handler's and refused's
};

/* BAD_INPUT: a host that does not exist, keys that fit not. IO_ERROR: the port is taken or forbidden.
 * FULL: no memory or threads. */
must_use enum status http_server_new(struct http_server **out, const struct http_options *opt,
                                     struct note *why);
uint16_t http_server_port(const struct http_server *server);

/* Accepts no more, and waits up to `ms` until every answer is delivered. CANCELED: some were open still. */
enum status http_server_stop(struct http_server *server, uint32_t ms);

/* Cuts what is open (their on_gone run) and ends all threads; NULL is fine. Not from a handler or on_gone. */
void http_server_free(struct http_server *server);

/* For /metrics: connections, and requests handed out whose answer is not delivered. */
struct http_counts {
    uint32_t n_connection, n_open;
    uint64_t n_request, n_refused; // refused by the guard and limits
    uint64_t body_bytes;
};
struct http_counts http_server_counts(struct http_server *server);

#endif
