/* http/sse.h - server-sent events as bytes: what goes into a stream of "text/event-stream".
 *
 *   event: delta          only where the dialect names its events
 *   data: {"id":1}        one `data:` line for every line of the text
 *                         an empty line ends it
 *   : ping                a comment: keeps proxies and clients awake, and no client shows it
 *
 * Source: WHATWG HTML, "Server-sent events". Threads  any. Cost  linear. */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include <stddef.h>

#include "base/buf.h"

#define SSE_TYPE "text/event-stream"
#define SSE_PING ": ping\n\n"

/* Appends one event; `name` may be NULL. A line of text ends at CR LF, CR or LF. */
void sse_add_event(struct buf *out, const char *name, const char *text, size_t len);

/* Appends a comment of one line: it ends at the first line end. */
void sse_add_comment(struct buf *out, const char *text);

#endif
