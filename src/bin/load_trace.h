/* bin/load_trace.h - when requests came somewhere, and how long they were: a table to ask the same way.
 *
 *   Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
 *   5,ChatGPT,472,18,490,Conversation log            5 s: a prompt of 472 tokens, an answer of 18
 *
 * Columns are found by these names, whatever their case, order and number; seconds count from the first row. Rows
 * without an answer (0 tokens) are left out.
 *
 * Source: BurstGPT (Wang et al. 2024, "BurstGPT: A Real-world Workload Dataset to Optimize LLM Serving Systems").
 * Lifetime  load_trace_open to load_trace_close. Threads  one at a time. */
#ifndef BIN_LOAD_TRACE_H
#define BIN_LOAD_TRACE_H

#include <stdint.h>

#include "base/note.h"
#include "base/status.h"

struct load_arrival {
    double seconds; // never before the row above
    uint32_t n_prompt, n_output;
};

struct load_trace {
    struct load_arrival *row; // [n]
    uint32_t n, room;
};

/* BAD_INPUT: a column lacks, or a line has no number there: the note names it. NOT_FOUND, IO_ERROR: no such file. */
must_use enum status load_trace_open(struct load_trace *t, const char *path, struct note *why);
void load_trace_close(struct load_trace *t);

#endif
