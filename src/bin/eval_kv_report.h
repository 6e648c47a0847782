/* bin/eval_kv_report.h - results of `akvifer eval kv`: rows as they come, a table for people, JSON
 * for programs.
 *
 *     task ---> row: full            | values of each case
 *          \--> row: h2o, 10 %       | values of each case --> mean and interval of each measure
 *           \-> row: h2o, 20 %       | an error, where the policy could not run
 *
 * The JSON has every value, so that two policies can be compared case by case. */
#ifndef BIN_EVAL_KV_REPORT_H
#define BIN_EVAL_KV_REPORT_H

#include <jansson.h>

#include "bin/eval_kv_choose.h"
#include "bin/eval_kv_stats.h"

struct eval_row {
    const struct eval_policy *policy;
    bool failed;
    struct note why; // failed: the reason
    double kept;     // share of the contexts' rows
    double read;     // share of the rows behind a query that it reads; NAN: the policy chooses none
    size_t kv_bytes_peak;                        // of a sequence
    double *value;                               // [n_item][n_measure]
    struct eval_interval measure[EVAL_MEASURES]; // as shown: percent, or e to the mean
};

struct eval_table {
    const struct eval_task_choice *chosen;
    struct eval_cases cases;
    struct eval_row *row; // [n_row], the first is full
    uint32_t n_row;
    double seconds; // that all of them took
};

/* Intervals of a row from its values. FULL: no memory. */
must_use enum status eval_row_sum(struct eval_row *row, const struct eval_table *t, uint64_t seed,
                                  struct note *why);

/* The table on standard output. */
void eval_table_begin(const struct eval_table *t);
void eval_row_print(const struct eval_table *t, const struct eval_row *row);

/* What was run: belongs to all tables. */
struct eval_setting {
    const char *model, *kv_type;
    uint64_t seed;
};

/* NULL: no memory. */
json_t *eval_tables_json(const struct eval_table *t, uint32_t n, const struct eval_setting *set);

/* "1024/2048" of an option. */
void eval_list_print(struct buf *out, const struct eval_list *l);

#endif
