#include "api/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/explain.h"
#include "base/mem.h"
#include "os/clock.h"

enum { LOG_BYTES_MAX = 1 << 20, LOG_CLOSE_S = 2, REFUSED_MAX = 100, PATH_BYTES = 200 };

static void add_time(struct buf *out)
{
    struct timespec t;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &utc);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    buf_addf(out, "{\"time\":\"%s.%03ldZ\"", text, t.tv_nsec / 1000000);
}

/* ---- the thread ---- */

struct log {
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct buf queue;                               // under the lock, with these
    uint64_t n_lost;                                // since the last line that was taken
    uint64_t n_memory, n_window, n_index, n_policy; // evictions that were told
    uint64_t refused_s;                             // L2: the second of these, since the start:
    uint32_t n_refused;                             //   refusals in it,
    uint64_t n_untold;                              //   and those since the last that was told
    bool quit;
};

static void write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        const ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; // who reads it is gone
        bytes += n;
        len -= (size_t)n;
    }
}

static void *log_main(void *arg)
{
    struct log *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->quit || l->queue.len) {
        struct buf taken = l->queue;
        if (!taken.len) {
            pthread_cond_wait(&l->more, &l->lock);
            continue;
        }
        l->queue = (struct buf){ 0 };
        pthread_mutex_unlock(&l->lock);
        write_all(l->fd, taken.bytes, taken.len);
        buf_close(&taken);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* L1. Ends the line and lets go of it. */
static void put_line(struct log *l, struct buf *line)
{
    pthread_mutex_lock(&l->lock);
    if (l->n_lost)
        buf_addf(line, ",\"lines_lost\":%llu", (unsigned long long)l->n_lost);
    buf_add_text(line, "}\n");
    const bool fits = !line->failed && l->queue.len + line->len <= LOG_BYTES_MAX;
    if (fits)
        buf_add(&l->queue, line->bytes, line->len);
    l->n_lost = fits ? 0 : l->n_lost + 1;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
    buf_close(line);
}

enum status log_open(struct log **out, FILE *f, struct note *why)
{
    struct log *l = mem_new(1, sizeof *l);
    if (!l) {
        note_set(why, "no memory for the log");
        return FULL;
    }
    l->fd = fileno(f);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->more, NULL);
    const int error = pthread_create(&l->thread, NULL, log_main, l);
    if (error) {
        note_set(why, "cannot start the thread of the log: %s", strerror(error));
        mem_free(l);
        return FULL;
    }
    *out = l;
    return OK;
}

void log_close(struct log *l)
{
    struct timespec until;
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOG_CLOSE_S;
    if (pthread_timedjoin_np(l->thread, NULL, &until) != 0) {
        pthread_detach(l->thread); // nobody reads: what it holds goes with the process
        return;
    }
    buf_close(&l->queue);
    pthread_cond_destroy(&l->more);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

/* ---- lines ---- */

void log_job(struct log *l, const struct job *j, const struct akv_usage *usage)
{
    static const char *const kinds[] = { "chat", "completion", "llama" };
    static const char *const stops[] = {
        [AKV_STOP_END] = "end",         [AKV_STOP_TEXT] = "text", [AKV_STOP_LENGTH] = "length",
        [AKV_STOP_CONTEXT] = "context", [AKV_STOP_TIME] = "time", [AKV_STOP_CANCELED] = "canceled",
        [AKV_STOP_ERROR] = "error",
    };
    const struct akv_usage *first = &j->choice[0].usage;
    struct buf line = { 0 };
    if (!l)
        return;
    add_time(&line);
    buf_addf(&line, ",\"level\":\"info\",\"id\":\"%s\",\"tenant\":", j->id);
    buf_add_json_text(&line, j->tenant, strlen(j->tenant));
    buf_addf(&line,
             ",\"kind\":\"%s\",\"stream\":%s,\"choices\":%u,"
             "\"prompt_tokens\":%u,\"cached_tokens\":%u,\"completion_tokens\":%u,"
             "\"cache_miss\":\"%s\",\"cache_miss_at\":%u,\"finish\":\"%s\","
             "\"queue_ms\":%.3f,\"prompt_ms\":%.3f,\"generate_ms\":%.3f,\"kv_bytes_peak\":%zu",
             kinds[j->request.kind], j->request.stream ? "true" : "false", j->n_choice,
             usage->n_prompt, usage->n_cached, usage->n_generated,
             first->cache_miss_operator ? first->cache_miss_operator : "", first->cache_miss_at,
             stops[j->choice[0].stop], (double)first->queue_ns / 1e6,
             (double)first->prompt_ns / 1e6, (double)first->generate_ns / 1e6,
             first->kv_bytes_peak);
    evicted_json(&first->evicted, &line);
    put_line(l, &line);
}

/* L2. False: too many were told in this second. Else *n_untold is how many were not before. */
static bool may_tell(struct log *l, uint64_t *n_untold)
{
    const uint64_t now_s = os_now_ns() / 1000000000;
    pthread_mutex_lock(&l->lock);
    if (l->refused_s != now_s)
        l->n_refused = 0;
    l->refused_s = now_s;
    const bool may = l->n_refused++ < REFUSED_MAX;
    *n_untold = l->n_untold;
    l->n_untold = may ? 0 : l->n_untold + 1;
    pthread_mutex_unlock(&l->lock);
    return may;
}

static void add_text(struct buf *out, const char *name, const char *text, size_t len)
{
    buf_addf(out, ",\"%s\":", name);
    if (text)
        buf_add_json_text(out, text, len);
    else
        buf_add_text(out, "null");
}

void log_refused(struct log *l, const struct log_refusal *r)
{
    struct buf line = { 0 };
    uint64_t n_untold;
    if (!l || !may_tell(l, &n_untold))
        return;
    const char *tenant = r->tenant, *param = *r->param ? r->param : NULL;
    add_time(&line);
    buf_addf(&line, ",\"level\":\"warn\",\"id\":\"%s\"", r->id);
    add_text(&line, "tenant", tenant, tenant ? strlen(tenant) : 0);
    add_text(&line, "method", r->method, strnlen(r->method, PATH_BYTES));
    add_text(&line, "path", r->path, strnlen(r->path, PATH_BYTES));
    buf_addf(&line, ",\"status\":%u,\"type\":\"%s\"", r->status, r->type);
    add_text(&line, "param", param, param ? strlen(param) : 0);
    if (n_untold)
        buf_addf(&line, ",\"refusals_untold\":%llu", (unsigned long long)n_untold);
    put_line(l, &line);
}

void log_evictions(struct log *l, const struct akv_stats *s)
{
    struct buf line = { 0 };
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    const uint64_t memory = s->n_evicted - l->n_memory, window = s->n_window_dropped - l->n_window,
                   crowded = s->n_crowded - l->n_index, pruned = s->n_pruned - l->n_policy;
    l->n_memory = s->n_evicted;
    l->n_window = s->n_window_dropped;
    l->n_index = s->n_crowded;
    l->n_policy = s->n_pruned;
    pthread_mutex_unlock(&l->lock);
    if (memory + window + crowded + pruned == 0)
        return;
    add_time(&line);
    buf_addf(&line,
             ",\"level\":\"info\",\"message\":\"blocks were evicted\",\"from\":\"memory\","
             "\"why_memory\":%llu,\"why_window\":%llu,\"why_index\":%llu,\"why_policy\":%llu,"
             "\"kv_bytes_held\":%zu,\"kv_bytes_cap\":%zu",
             (unsigned long long)memory, (unsigned long long)window, (unsigned long long)crowded,
             (unsigned long long)pruned, s->kv_bytes_held, s->kv_bytes_max);
    put_line(l, &line);
}

void log_line(struct log *l, const char *level, const char *format, ...)
{
    struct buf line = { 0 };
    char text[512];
    va_list args;
    if (!l)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_time(&line);
    buf_addf(&line, ",\"level\":\"%s\",\"message\":", level);
    buf_add_json_text(&line, text, strlen(text));
    put_line(l, &line);
}
