/* api/log.h - a line of JSON for each request that ended. Never a prompt, an answer or a key. */
#ifndef API_LOG_H
#define API_LOG_H

#include <stdio.h>

#include "api/job.h"

void log_job(FILE *f, const struct job *j, const struct akv_usage *usage); // f may be NULL
/* {"time": ..., "level": ..., "message": ...} */
void log_line(FILE *f, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
