#include "api/log.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

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

static void write_line(FILE *f, struct buf *line)
{
    buf_add_text(line, "}\n");
    if (!line->failed)
        fwrite(line->bytes, 1, line->len, f); /* one write: lines of threads do not mix */
    fflush(f);
    buf_close(line);
}

void log_job(FILE *f, const struct job *j, const struct akv_usage *usage)
{
    static const char *const kinds[] = { "chat", "completion", "llama" };
    static const char *const stops[] = {
        [AKV_STOP_END] = "end",         [AKV_STOP_TEXT] = "text", [AKV_STOP_LENGTH] = "length",
        [AKV_STOP_CONTEXT] = "context", [AKV_STOP_TIME] = "time", [AKV_STOP_CANCELED] = "canceled",
        [AKV_STOP_ERROR] = "error",
    };
    const struct akv_usage *first = &j->choice[0].usage;
    struct buf line = { 0 };
    if (!f)
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
    write_line(f, &line);
}

void log_line(FILE *f, const char *level, const char *format, ...)
{
    struct buf line = { 0 };
    char text[512];
    va_list args;
    if (!f)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_time(&line);
    buf_addf(&line, ",\"level\":\"%s\",\"message\":", level);
    buf_add_json_text(&line, text, strlen(text));
    write_line(f, &line);
}
