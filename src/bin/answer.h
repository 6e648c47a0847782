/* bin/answer.h - one request, from submitting it to its last word.
 *
 *   akv_submit -> TOKEN, TOKEN, ... -> DONE         words go out as they come; Ctrl-C cancels
 *
 * A terminal sees how far a long prompt is. */
#ifndef BIN_ANSWER_H
#define BIN_ANSWER_H

#include <stdio.h>

#include "akvifer.h"
#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

struct answer {
    struct buf text;
    struct ids ids;
    enum akv_stop stop;
    struct akv_usage usage;
    int write_error; // errno of the first words that could not be written, or 0
};

/* Fills *out; what is said is also written to `words`, unless NULL. The engine runs nothing else.
 * What there is of an answer that failed is in *out. IO_ERROR: the words could not be written; the
 * request was canceled then. */
must_use enum status answer_get(struct answer *out, akv_engine *engine,
                                const struct akv_request *request, FILE *words, struct note *why);
void answer_close(struct answer *a);

/* "end", "text", "length", "context", "time", "canceled" or "error". */
const char *answer_stop_name(enum akv_stop stop);

struct answer_speed {
    double prompt_ms, prompt_per_s; // of the positions that were computed
    double generate_ms, generate_per_s;
};
struct answer_speed answer_speed(const struct akv_usage *u);

#endif
