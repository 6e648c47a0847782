/* api/live.h - those who look on: the map, the sequences, the tree and the last requests, once or as a stream.
 *
 *   GET /v1/kv/map, /metrics ... --> arrived --> [ the live thread: a snapshot, then each watcher's share of it ]
 *   GET /v1/kv/live                                 ^                                        |
 *                                                   +--- every LIVE_MS, while anybody looks -+
 *
 * W1  While nobody looks the thread sleeps, holds no snapshot, and asks the engine nothing.
 * W2  A stream tells what changed since it told last; one that reads too slowly misses some, and is told the whole
 *     again.
 * W3  Streams end when the server drains.
 *
 * Lifetime  live_open .. live_close, over an open engine and while no new request comes. Threads  any. */
#ifndef API_LIVE_H
#define API_LIVE_H

#include <pthread.h>

#include "api/recent.h"
#include "base/note.h"
#include "base/status.h"
#include "http/request.h"

struct api;

enum { LIVE_MS = 250, LIVE_TREE_TICKS = 4, WATCHERS_MAX = 64 };

enum live_kind {
    LIVE_STREAM,
    LIVE_MAP,
    LIVE_SEQUENCES,
    LIVE_TREE,
    LIVE_REQUESTS,
    LIVE_METRICS, // /metrics, which counts blocks
};

struct live {
    struct api *api;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    struct watcher *arrived; // under the lock, with these:
    uint32_t n_watcher;
    bool quit;
};

must_use enum status live_open(struct live *l, struct api *api, struct note *why);
void live_close(struct live *l); // one that was never opened too
void live_wake(struct live *l);  // the server drains

/* Answers the request, now or within a step; WATCHERS_MAX at once, else it is told to come later. */
void live_watch(struct live *l, struct http_request *http, const char *tenant, enum live_kind kind);

#endif
