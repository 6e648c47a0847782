/* api/explain.h - why a prompt is not in the cache, in words: POST /v1/cache/explain, and the parts of it that every
 * answer has.
 *
 * X1  What stands where a prompt diverges is told of the asker's own KV only.
 *
 * Threads  any. */
#ifndef API_EXPLAIN_H
#define API_EXPLAIN_H

#include "akvifer.h"
#include "base/buf.h"

struct http_request;

/* The body of a chat or text completion: what of its prompt would be reused, and what stands in the way. Waits for no
 * step. */
void explain_post(void *api, struct http_request *http);

/* ,"evicted":{"why", "from", "steps_ago", "seconds_ago"}; nothing where nothing went. */
void evicted_json(const struct akv_evicted *e, struct buf *out);

/* ,"akvifer":{...}: what an answer says of its KV, a policy's losses too. Of a usage that is whole. */
void cache_json(const struct akv_usage *u, struct buf *out);

#endif
