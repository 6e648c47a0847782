/* bin/load_events.h - an answer's event stream, read as it comes: split anywhere.
 *
 *   bytes of the socket --feed--> lines --blank line--> event's data --> what a chunk says
 *
 * Lines end in LF, CR LF or CR; comments (": ping"), names, ids and unknown fields mean nothing
 * here; an event without data is none. Source: WHATWG HTML, 9.2.6 "Interpreting an event stream".
 *
 * Lifetime  `(struct event_reader){ 0 }` to event_reader_close. Threads  one at a time.
 * Cost  linear. */
#ifndef BIN_LOAD_EVENTS_H
#define BIN_LOAD_EVENTS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

enum { EVENT_BYTES_MAX = 16 << 20 };

struct event_reader {
    struct buf line, data;
    bool has_data; // of the event being read
    bool after_cr; // an LF that follows belongs to it
};

typedef void event_fn(void *arg, const char *data, size_t len);

/* Calls `event` for each that is whole now. FULL: an event is longer than EVENT_BYTES_MAX, or
 * memory lacks. */
must_use enum status event_reader_feed(struct event_reader *r, const char *bytes, size_t n,
                                       event_fn *event, void *arg);
void event_reader_clear(struct event_reader *r); // for another stream; keeps the memory
void event_reader_close(struct event_reader *r);

/* What one event says. */
struct load_chunk {
    bool done;     // "[DONE]"
    bool content;  // some choice got text, thoughts or a tool call
    bool finished; // some choice has its finish_reason
    bool has_usage;
    int64_t n_prompt, n_output; // of usage
    int64_t n_cached;           // -1: the server does not say
};

/* BAD_INPUT: an event of no JSON object, or one that tells an error: its words are the note's. */
must_use enum status load_chunk_read(struct load_chunk *out, const char *data, size_t len,
                                     struct note *why);

/* The words of an answer's error: the message of OpenAI's schema, or the text as it is. */
void load_error_read(const char *body, size_t len, struct note *out);

#endif
