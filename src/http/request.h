/* http/request.h - one request: what was asked, and the answer, now or later, whole or as a stream.
 *
 *                        http_answer, http_refuse
 *   handler(req) ---+----------------------------------------------------> finished
 *                   |                                                         ^
 *                   +-- http_stream_begin --> http_stream_write* -- _end, _abort
 *
 *   the client leaves, the server closes: GONE, at any point of this. Calls go on as before, and do nothing.
 *
 * R1  Whoever got the request finishes it exactly once: by http_answer, http_refuse, http_stream_end or
 *     http_stream_abort; in the handler or later, on any thread. Until then all that is asked of it stays
 *     readable; with that call it is no longer theirs. Also when the client is gone.
 * R2  on_gone runs at most once, and never after the finishing call began to return: whoever finishes may
 *     free what on_gone uses. It runs on a thread of the server (or of http_on_gone's caller), with the
 *     request locked: it must not call this module, nor wait for a lock that somebody holds who does. It
 *     raises a flag or posts a message.
 * R3  Gone means that no more of the answer can arrive: the client closed, reset or half-closed its
 *     connection, took nothing for the idle timeout, or the server closes. It is noticed at once, also
 *     while nothing is written. (A client that shuts down its sending side while an answer is pending
 *     counts as gone, as in Go's server; one whose answer came from the handler itself is served.)
 * R4  A stream holds up to stream_bytes_max unread bytes. A write is taken whole while what waits is below
 *     the bound, else FULL and nothing was taken: the writer tries later or aborts; it never blocks.
 *
 * Lifetime  counted: one for the connection, one for whoever has to finish; the server's memory too lives
 *           until the last is finished.
 * Threads   any, one at a time for the answer's calls; lookups in parallel.  Cost  a write is a copy, and a
 *           wake-up of the I/O thread when that slept. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "http/guard.h"

struct http_request;
struct http_server;

typedef void http_handler(void *arg, struct http_request *req);

/* What was asked. Texts are the request's own. */
const char *http_method(const struct http_request *req); // "GET", "POST", ... as sent
const char *http_path(const struct http_request *req);   // decoded: T1 of http/target.h
const char *http_name(const struct http_request *req);   // what a route's {name} stands for, or ""
const char *http_query(const struct http_request *req, const char *name);  // NULL: not given
const char *http_header(const struct http_request *req, const char *name); // NULL: not given
const char *http_body(const struct http_request *req, size_t *len);        // a zero byte behind it
const char *http_client(const struct http_request *req); // its address, without port
struct http_server *http_server_of(const struct http_request *req);
const char *http_id(const struct http_request *req); // for logs; sent as X-Request-Id

/* Answers with a copy of the bytes; content_type may be NULL where len is 0. Headers as named, in addition
 * to the server's own (Date, X-Request-Id, CORS). */
void http_answer(struct http_request *req, unsigned status, const char *content_type,
                 const void *bytes, size_t len, const struct http_field *extra, uint32_t n_extra);

/* Answers with the server's error text (http_options.error_text) for a sentence to humans. */
void http_refuse(struct http_request *req, unsigned status, const struct http_field *extra,
                 uint32_t n_extra, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Sends the head; a body of unknown length follows (chunked; HTTP/1.0: up to the connection's end). */
void http_stream_begin(struct http_request *req, unsigned status, const char *content_type,
                       const struct http_field *extra, uint32_t n_extra);

/* FULL: R4, or no memory. CANCELED: the client is gone. */
must_use enum status http_stream_write(struct http_request *req, const void *bytes, size_t len);

/* From now on writes `text` (up to 31 bytes, such as SSE_PING) whenever nothing was written for so long. */
void http_stream_ping(struct http_request *req, uint32_t every_ms, const char *text);

void http_stream_end(struct http_request *req);

/* Cuts the connection, so that the client sees that the answer is not whole (in HTTP/1.1: the last chunk
 * lacks). What still waits is lost. */
void http_stream_abort(struct http_request *req);

/* Asks for on_gone(arg); it runs within this call where the client is gone already. Once a request. */
typedef void http_gone_fn(void *arg);
void http_on_gone(struct http_request *req, http_gone_fn *on_gone, void *arg);
bool http_gone(struct http_request *req);

#endif
