#include "api/recent.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/api.h"
#include "api/job.h"
#include "base/utf8.h"

enum { TOKENS_BEFORE = 8, TOKENS_AFTER = 16 };

void recent_open(struct recent *r)
{
    *r = (struct recent){ 0 };
    pthread_mutex_init(&r->lock, NULL);
}

void recent_close(struct recent *r)
{
    pthread_mutex_destroy(&r->lock);
}

/* The text of ids [from, to), as much of it as there is room for in whole characters. */
static void text_of(char out[RECENT_TEXT], const akv_model *m, const struct ids *prompt,
                    size_t from, size_t to)
{
    size_t n = 0;
    for (size_t i = from; i < to && i < prompt->n && n + 1 < RECENT_TEXT; i++) {
        size_t len;
        const char *bytes = akv_token_bytes(m, prompt->id[i], true, &len);
        const size_t left = RECENT_TEXT - 1 - n;
        memcpy(out + n, bytes, len < left ? len : left);
        n += len < left ? len : left;
    }
    out[utf8_complete(out, n)] = '\0';
}

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void recent_add(struct recent *r, const struct job *done)
{
    const struct choice *first = &done->choice[0];
    const struct akv_usage *u = &first->usage;
    const struct ids *prompt = &done->request.prompt[0];
    const bool never_ran = u->prompt_ns == 0 && u->n_generated == 0;
    if (never_ran || !u->cache_miss)
        return;
    const size_t at = u->cache_miss_at;
    const size_t from = at > TOKENS_BEFORE ? at - TOKENS_BEFORE : 0;
    pthread_mutex_lock(&r->lock);
    struct recent_request *e = &r->ring[r->n % RECENT_MAX];
    *e = (struct recent_request){
        .number = ++r->n,
        .time_ms = now_ms(),
        .usage = *u,
        .ttft_ms = first->last_ns ? (double)(u->queue_ns + u->prompt_ns) / 1e6 : 0,
    };
    snprintf(e->id, sizeof e->id, "%s", done->id);
    snprintf(e->salt, sizeof e->salt, "%s", done->request.salt);
    if (strcmp(u->cache_miss, "none") != 0) {
        text_of(e->before, done->api->model, prompt, from, at);
        text_of(e->after, done->api->model, prompt, at, at + TOKENS_AFTER);
    }
    pthread_mutex_unlock(&r->lock);
}

uint64_t recent_count(struct recent *r)
{
    pthread_mutex_lock(&r->lock);
    const uint64_t n = r->n;
    pthread_mutex_unlock(&r->lock);
    return n;
}

bool recent_get(struct recent *r, uint64_t number, struct recent_request *out)
{
    pthread_mutex_lock(&r->lock);
    const bool here = number > 0 && number <= r->n && number + RECENT_MAX > r->n;
    if (here)
        *out = r->ring[(number - 1) % RECENT_MAX];
    pthread_mutex_unlock(&r->lock);
    return here;
}
