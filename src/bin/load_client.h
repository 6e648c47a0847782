/* bin/load_client.h - sends a load's requests and times the answers: one thread, all connections.
 *
 *   closed  each of `concurrency` clients: ask -> answer -> think -> ask ...
 *   open    requests are due at a rate, or when a trace has them, whatever the answers do; `concurrency` bounds them
 *
 *   idle --due, body written--> under way --end of the answer--> tally, think --> idle
 *    ^                                                                             |
 *    +-----------------------------------------------------------------------------+
 *
 * C1  At most `concurrency` requests are under way; what is due beyond waits (T1).
 * C2  Nothing begins behind `n_request` requests or `seconds`; what is under way then may end.
 * C3  A warm-up is asked alone, before the first that counts; one that fails ends the load.
 * C4  Ctrl-C (and SIGTERM) begins nothing more and waits for nothing: what is under way then counts nowhere, and the
 *     tally is of what ended. A second one ends the program.
 *
 * Threads  the caller's.  Cost  a slot a client; sleeps in poll, woken by a socket or by the next
 * that is due. */
#ifndef BIN_LOAD_CLIENT_H
#define BIN_LOAD_CLIENT_H

#include "bin/load_prompt.h"
#include "bin/load_tally.h"

struct load_plan {
    struct load_shape shape; // model NULL: the first that the server lists
    const char *url;         // "http://host:port", also with "/v1" or a slash behind
    const char *api_key;     // as a Bearer; NULL: none
    uint32_t concurrency;    // at least 1
    double rate;             // requests a second; 0: closed, or as shape.trace has them
    double trace_speed;      // so many seconds of the trace go by in one
    bool poisson;            // else the gaps are all the same
    uint64_t n_request;      // 0: no limit but `seconds`
    double seconds;          // 0: no limit but `n_request`
    double timeout_s;        // of one request
    struct load_dist think;  // ms; closed
    uint32_t n_warm_up;
    bool warm_prefixes; // asks every prefix once, behind the warm-up
};

/* Whether C4 ended the load. */
bool load_was_stopped(void);

/* Runs all of it. `model` gets the name that was asked for. IO_ERROR: the server does not list its
 * models, or a warm-up failed. FULL: no memory; what the tally holds is not all. */
must_use enum status load_run(const struct load_plan *plan, struct load_tally *tally,
                              struct buf *model, struct note *why);

#endif
