/* api/metrics.h - what dashboards read: counters and histograms in Prometheus' text format.
 *
 * Names are llama-server's and vLLM's where they mean the same, akvifer_ else; each with HELP and TYPE.
 * Threads  any; a mutex inside, held for some additions. */
#ifndef API_METRICS_H
#define API_METRICS_H

#include <pthread.h>

#include "akvifer.h"
#include "api/holdings.h"
#include "base/buf.h"
#include "http/server.h"

enum { METRIC_BUCKETS = 20, MISSES = 15 };

struct histogram {
    uint64_t count[METRIC_BUCKETS + 1]; // the last: above all bounds
    double sum;
};

struct metrics {
    pthread_mutex_t lock;
    uint64_t n_request[AKV_STOP_ERROR + 1]; // by how they ended
    uint64_t n_refused;
    uint64_t n_prompt, n_cached, n_generated, n_tokens_max;
    uint64_t n_hit[2]; // requests that reused all they could, and a part of it
    uint64_t n_miss[MISSES];
    double prompt_seconds, generate_seconds;
    struct histogram ttft, inter_token, end_to_end, queue, prefill, decode, inference,
        prompt_tokens, generated_tokens, longest_answer;
};

void metrics_open(struct metrics *m);
void metrics_close(struct metrics *m);

/* A token left: `ns` since the one before it, or since the request came. */
void metrics_token(struct metrics *m, bool first, uint64_t ns);
void metrics_refused(struct metrics *m);

struct metrics_request {
    const struct akv_usage *usage; // of all its choices
    const struct akv_usage *first; // of the first
    uint32_t n_longest;            // tokens of the longest choice
    enum akv_stop stop;
    uint64_t ns;
};
void metrics_request_done(struct metrics *m, const struct metrics_request *r);

/* Latencies between tokens so far; and the value in seconds below which the share q of what came
 * between two such pictures lies, 0 where nothing did. */
void metrics_inter_token(struct metrics *m, struct histogram *out);
double metrics_quantile(const struct histogram *now, const struct histogram *before, double q);

/* What others count. */
struct metrics_sources {
    const struct akv_stats *engine;
    const struct http_counts *http;
    const struct holdings *kv;
    const char *model, *kv_type; // labels
    const char *
        tenant; // who reads: of the others nothing is told but sums; NULL: the operator, who sees all
};

/* All of it. */
void metrics_text(struct metrics *m, const struct metrics_sources *from, struct buf *out);

#endif
