/* http/guard.h - which requests are let in: what libmicrohttpd takes too lightly is refused here.
 *
 *   libmicrohttpd reads the head --> guard --0--> body, handler
 *                                      `--status, note--> answered, and the connection ends
 *
 * G1  The body's length is told once, in one way: Content-Length (digits, once) or Transfer-Encoding
 *     "chunked" (HTTP/1.1, once), never both. Two servers in a row cannot disagree on where a request
 *     ends (request smuggling, RFC 9112 section 11.2).
 * G2  HTTP/1.1 has one Host; HTTP/1.0 at most one.
 * G3  Method and header names are tokens; values hold no control character but tab.
 * G4  The head has its bounds: target, number of headers, their bytes.
 * G5  The body is what it is: of a Content-Encoding other than identity nothing is read (415).
 *
 * A head it cannot see for itself stays libmicrohttpd's to refuse (no version, no colon, a Content-Length
 * that is no number or above 2^64, more head than a connection's memory): 400, 413, 414, 431 or 505 with
 * a body of its own.
 *
 * Lifetime  none: pure. Threads  any. Cost  linear in the head. */
#ifndef HTTP_GUARD_H
#define HTTP_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "base/note.h"

enum {
    HTTP_TARGET_MAX = 8192, // bytes of the request line's target
    HTTP_FIELDS_MAX = 100,
    HTTP_HEAD_MAX = 32768, // bytes of all names and values
};

struct http_field {
    const char *name, *value;
};

struct http_head {
    const char *method, *target, *version; // as sent; version "HTTP/1.1"
    const struct http_field *field;
    uint32_t n_field;
};

/* 0, or the status to refuse with. */
unsigned http_guard_head(const struct http_head *head, uint64_t body_bytes_max, struct note *why);

/* The first value of a header, its name in any case; NULL where it is not there. */
const char *http_field_find(const struct http_field *field, uint32_t n, const char *name);

#endif
