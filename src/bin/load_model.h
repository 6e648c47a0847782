/* bin/load_model.h - which model a server has: the first of its list.
 *
 * Threads  the caller's, which waits.  Cost  one GET of /v1/models. */
#ifndef BIN_LOAD_MODEL_H
#define BIN_LOAD_MODEL_H

#include <curl/curl.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

/* "http://host/v1/" -> "http://host" */
void load_base(struct buf *base, const char *url);

/* Appends its name to `out`. IO_ERROR: no answer, one that is no 200, or a list of none. */
must_use enum status load_model_ask(struct buf *out, const char *base, struct curl_slist *headers,
                                    struct note *why);

#endif
