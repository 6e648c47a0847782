/* api/recent.h - the last requests, and why no more of each prompt was reused: for those who look on.
 *
 * Texts are kept in memory only, a few words each, and told to the tenant alone whose they are (A2, A3 of api/api.h).
 *
 * Threads  any; a mutex inside.  Cost  a request: some hundred bytes copied; RECENT_MAX of them in all. */
#ifndef API_RECENT_H
#define API_RECENT_H

#include <pthread.h>

#include "akvifer.h"

struct job;

enum { RECENT_MAX = 128, RECENT_TEXT = 120 };

struct recent_request {
    uint64_t number;          // 1 is the first of this process
    long long time_ms;        // of its end, since 1970
    char id[48], salt[256];   // KV_SALT_MAX and a zero byte
    struct akv_usage usage;   // of its first choice
    double ttft_ms;           // 0: there was no token
    char before[RECENT_TEXT]; // what is shared last,
    char after[RECENT_TEXT];  //   and what of the prompt follows there; empty where all was reused
};

struct recent {
    pthread_mutex_t lock;
    uint64_t n; // so far
    struct recent_request ring[RECENT_MAX];
};

void recent_open(struct recent *r);
void recent_close(struct recent *r);
void recent_add(struct recent *r, const struct job *done);

/* Request `number` (recent_count: the newest), if it is still here. */
uint64_t recent_count(struct recent *r);
bool recent_get(struct recent *r, uint64_t number, struct recent_request *out);

#endif
