/* http/target.h - the request line's target, taken apart: a path and its query, decoded strictly.
 *
 *   http://host/v1/models/a%2Fb?limit=10&after=x+y
 *   \_ dropped _/\____ path ___/ \_____ query ____/     path "/v1/models/a/b", "limit" is "10", "after" is "x y"
 *
 * T1  The path starts with '/' (or is "*", for OPTIONS), is valid UTF-8, holds no control character
 *     and no segment "." or "..": nobody has to normalize it again.
 * T2  Every '%' of path and query was followed by two hexadecimal digits. %00 is refused everywhere.
 *
 * Source: RFC 3986 (2.1, 3.3), RFC 9112 (3.2); '+' is a space in a query, as HTML forms write it.
 * Lifetime  the caller's struct; close also one that was refused. Threads  any. Cost  linear. */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include <stdint.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

enum { HTTP_QUERY_MAX = 64 }; // pairs of name and value

struct http_target {
    struct buf text; // the path and every name and value, each with a zero byte behind it
    uint32_t n_query;
    uint32_t name_at[HTTP_QUERY_MAX], value_at[HTTP_QUERY_MAX]; // into text.bytes
};

/* BAD_INPUT: what breaks T1 or T2, or too many pairs. FULL: no memory. */
must_use enum status http_target_open(struct http_target *t, const char *target, struct note *why);
void http_target_close(struct http_target *t);

const char *http_target_path(const struct http_target *t);

/* The first value of that name; "" for a name alone ("?pretty"); NULL where it is not given. */
const char *http_target_query(const struct http_target *t, const char *name);

#endif
