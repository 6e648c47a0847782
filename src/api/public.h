/* api/public.h - how much of a prompt its request declares public (kv/index.h N6).
 *
 *   chat               "cache_public": 2            the first two messages
 *   text               "cache_public": "You are"    what the text begins with
 *   token ids          "cache_public": 300          the first ids
 *
 * U1  No public id depends on what is not declared. A text's are those that its public beginning has of its own; a
 *     chat's those that stay when every other message says something else, and then something else again.
 * U2  What is declared and is not there is a 400, never ignored.
 *
 * Threads  any. */
#ifndef API_PUBLIC_H
#define API_PUBLIC_H

#include "api/prompt.h"

/* Fills r->n_public, for prompts that were read; f->error says what was wrong. */
void public_read(struct gen_request *r, const struct fields *f, const struct request_defaults *d);

#endif
