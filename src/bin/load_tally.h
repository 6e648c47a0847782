/* bin/load_tally.h - what became of a load's requests: times, tokens, failures, and their sums.
 *
 *          due         begun       first           last     end
 *   open    |--- wait ---|           |  gap  gap  gap |      |     a rate decides when it is due
 *   closed  |                        |                |      |     its client does: due is begun
 *           |<- time to first token->|                       |
 *           |<----------------- end to end ----------------->|
 *
 * T1  Times count from when a request was due: one that had to wait was slow for who sent it.
 * T2  A gap lies between two events with content; 0 where one read of the socket brought both.
 * T3  Failed requests are in no time and in no token count; only `fault` knows them.
 *
 * Lifetime  `(struct load_tally){ 0 }` to load_tally_close. Threads  one at a time. */
#ifndef BIN_LOAD_TALLY_H
#define BIN_LOAD_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/note.h"

/* Numbers that grow. A failed allocation sets `failed` and drops what did not fit. */
struct load_series {
    double *x;
    size_t n, room;
    bool failed, sorted;
};

void load_series_add(struct load_series *s, double x);
void load_series_add_all(struct load_series *s, const struct load_series *more);
void load_series_close(struct load_series *s);
double load_series_mean(const struct load_series *s); // NAN of none, as the next
/* The value that a share q (0 to 1) lies below, with the line between neighbours (as NumPy's
 * default); sorts. */
double load_series_quantile(struct load_series *s, double q);
double
load_series_deviation(const struct load_series *s); // of the numbers themselves: divided by n

/* One request that was answered, as its client saw it. */
struct load_result {
    uint64_t from_ns, first_ns, last_ns, end_ns; // T1; of the first and the last event with content
    uint32_t n_event;                            // with content, at least 1
    bool has_usage;
    int64_t n_prompt, n_output; // tokens as the server counts; without usage 0 and the events
    int64_t n_cached;           // -1: it does not say
};

enum { LOAD_FAULTS_MAX = 16 };

struct load_fault {
    char label[40]; // "HTTP 429", "no connection"
    struct note example;
    uint64_t n;
};

struct load_slo {
    double ttft_ms, itl_ms; // 0: anything will do
};

struct load_tally {
    struct load_slo slo;
    struct load_series first, gap, token,
        whole; // ms: to the first event, T2, a token behind the first, end to end
    uint64_t n_good, n_failed, n_in_slo, n_without_usage;
    uint64_t n_dropped; // under way when the load was stopped by hand: in nothing else
    int64_t n_prompt, n_output, n_cached; // tokens of the good
    bool cached_known;                    // some answer said it
    double seconds;                       // from the first that was due to the last end
    struct load_fault fault[LOAD_FAULTS_MAX];
    uint32_t n_fault; // kinds
};

void load_tally_close(struct load_tally *t);
void load_tally_add(struct load_tally *t, const struct load_result *r,
                    const struct load_series *gap);
void load_tally_fail(struct load_tally *t, const char *label, const struct note *why);

/* Milliseconds a token behind the first, from the first event to the last. NAN: one token. */
double load_token_ms(const struct load_result *r);
bool load_in_slo(const struct load_slo *slo, const struct load_result *r);

/* Something could not be kept: the figures would be wrong. */
bool load_tally_failed(const struct load_tally *t);

#endif
