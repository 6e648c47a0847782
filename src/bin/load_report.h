/* bin/load_report.h - what a load measured: a table for people, or JSON with the names of vLLM's benchmark.
 *
 *   md    one line of what was asked, two of totals, a row a time (mean p50 p90 p99 max), goodput, failures
 *   json  one object; times in ms as mean_ttft_ms, median_ttft_ms, std_..., p90_..., p99_...; also tpot, itl, e2el
 *
 * Source of the names: vLLM, `vllm bench serve --save-result`. */
#ifndef BIN_LOAD_REPORT_H
#define BIN_LOAD_REPORT_H

#include "bin/load_client.h"

struct load_report {
    const struct load_plan *plan;
    struct load_tally *tally; // its numbers get sorted
    const char *model;        // as the server calls it
};

void load_report_md(const struct load_report *r);
void load_report_json(const struct load_report *r);

#endif
