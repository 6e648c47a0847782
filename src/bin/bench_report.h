/* bin/bench_report.h - results of `akvifer bench` as a table for people, or as rows with llama-bench's field names.
 *
 *     report_begin(&r, form) -> report_roof(&r, ...) a thread count -> report_row(&r, ...) a test -> report_end(&r)
 *
 *   md            roofs at the head; the median, its spread, and the share of each roof
 *   csv           one row a test; the fields of json but for the samples
 *   json, jsonl   llama-bench's fields (those that say something here), then medians, roofs and shares
 *
 * Rows are written as they come. Source of the names: llama.cpp, tools/llama-bench. */
#ifndef BIN_BENCH_REPORT_H
#define BIN_BENCH_REPORT_H

#include <stdbool.h>

#include "akvifer.h"
#include "bin/bench_roof.h"
#include "bin/bench_test.h"
#include "bin/samples.h"

enum report_form { REPORT_MD, REPORT_CSV, REPORT_JSON, REPORT_JSONL }; // in the order of -o's words

struct report {
    enum report_form form;
    uint32_t n_row; // written
};

struct bench_row {
    const char *path; // of the model's file
    struct akv_model_info info;
    const struct model_work *model;
    const char *kernels; // the table's name
    uint32_t n_thread, n_ubatch;
    struct bench_test test;
    int64_t time; // seconds since 1970 when it began
    double load;  // of the machine then: see report_begin
    struct samples ns;
    struct amounts work, roof;
};

/* Results carry the commit they belong to. main sets it: so a commit compiles main.o again, and not what tests link. */
struct program_build {
    const char *commit; // "b6e6cf4", or "b6e6cf4-dirty" where files differ from it
    uint32_t number;    // commits up to it
};
extern struct program_build program_build;

/* Running processes of the last minute, as the system counts them. */
double machine_load(void);

void report_begin(struct report *r, enum report_form form, const struct kernels *k);
void report_roof(struct report *r, uint32_t n_thread, const struct amounts *roof);
void report_row(struct report *r, const struct bench_row *row);
void report_end(struct report *r);

#endif
