/* bin/load_report.h - what a load measured: a table for people, or JSON with vLLM's names.
 *
 *   md    what was asked, totals, a row a time (mean p50 p90 p99 max), goodput, failures
 *   json  one object; times as mean_ttft_ms, median_, std_, p90_, p99_, max_; tpot, itl, e2el
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
