/* api/log.h - a line of JSON for each request that ended or was refused. Never a prompt, an answer or a key.
 *
 *   any thread --line--> [ queue, 1 MiB ] --the log's thread--> file, pipe, terminal
 *
 * L1  Who logs never waits for who reads the log (a terminal that is held, a pipe that nobody empties, a busy disk): a
 *     line that finds the queue full is lost, and the next one says how many were ("lines_lost").
 * L2  Whoever sends nonsense as fast as he can does not fill the disk: of refusals up to 100 a second are told, and the
 *     next one says how many were not ("refusals_untold").
 *
 * Lifetime  log_open .. log_close, which waits for what is queued, but for 2 s at most. Threads  any. */
#ifndef API_LOG_H
#define API_LOG_H

#include <stdio.h>

#include "api/job.h"
#include "base/note.h"
#include "base/status.h"

struct log;

must_use enum status log_open(struct log **out, FILE *f, struct note *why); // f stays the caller's
void log_close(struct log *l);                                              // NULL is fine

void log_job(struct log *l, const struct job *j, const struct akv_usage *usage); // l may be NULL
/* A request that was answered with an error. Its words are left out: they may quote what was sent. */
struct log_refusal {
    const char *id;     // of the HTTP request
    const char *tenant; // its name; NULL: not known
    const char *method, *path;
    unsigned status;
    const char *type, *param; // as the answer has them; param "": none
};
void log_refused(struct log *l, const struct log_refusal *r); // l may be NULL
/* A line of the blocks that went since the last such line, by why; none where none did. */
void log_evictions(struct log *l, const struct akv_stats *s);
/* {"time": ..., "level": ..., "message": ...} */
void log_line(struct log *l, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
