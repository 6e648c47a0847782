/* api/job.h - one HTTP request that generates: its choices, fed by the engine's events, told in a dialect.
 *
 *   HTTP thread    parse -> job_start: submits n x prompts requests, or answers with an error
 *   errands        the same for requests whose policy first reads a history (api/errands.h)
 *   pump thread    event -> job_event -> stream: a chunk; else: collected -> the answer, when all choices are done
 *   HTTP thread    the client went away -> all choices are canceled, so their blocks are free within a step
 *
 * T1  A job ends after the last DONE of its choices, whatever the client does; so an event always finds its choice.
 * T2  Text, log-probabilities and finish of a choice leave in the order of its events.
 *
 * Lifetime  from job_start to that last DONE. Threads  its lock. */
#ifndef API_JOB_H
#define API_JOB_H

#include <pthread.h>

#include "api/errands.h"
#include "api/logprobs.h"
#include "api/request.h"
#include "http/request.h"

struct api;
struct job;

struct choice {
    struct job *job;
    uint32_t index, prompt; // of the answer, over all prompts
    uint64_t id;            // the engine's
    struct buf text;        // all of it (answer), or what waits for the next chunk (stream)
    struct buf logprobs;    // chat: elements with commas between
    struct legacy_logprobs legacy;
    struct ids ids; // generated, where they are asked for
    enum akv_stop stop;
    uint32_t stop_text;     // which of the request's it was, where one was met
    int32_t stop_id;        // the token that ended it, where one did
    struct akv_usage usage; // whole once it is done; n_generated grows with its tokens
    uint64_t last_ns;       // when its last token left; 0: none has
    bool done;
};

/* How a dialect tells what happened: each appends to `out` a whole SSE payload (stream) or the answer. */
struct dialect {
    const char *id_prefix; // "chatcmpl-"
    void (*begin)(const struct job *j, const struct choice *c,
                  struct buf *out); // first chunk; may be NULL
    void (*chunk)(const struct job *j, const struct choice *c, struct buf *out);
    void (*end)(const struct job *j, const struct choice *c, struct buf *out);
    void (*usage)(const struct job *j, struct buf *out); // a last chunk with usage; may be NULL
    void (*answer)(const struct job *j, struct buf *out);
    const char *last; // "[DONE]", or NULL
};

struct job {
    struct api *api;
    const struct dialect *dialect;
    struct gen_request request;
    struct http_request *http;
    char id[48];
    const char *tenant; // its name
    long long created;  // seconds since 1970
    uint64_t start_ns;
    struct choice *choice; // [n_choice]
    uint32_t n_choice, n_done;
    bool gone; // nobody listens any more
    struct errand errand;
    struct akv_note failed; // the first failure of a choice; empty: none
    pthread_mutex_t lock;
};

/* Reads the body, submits and returns; the answer comes later, or has come where something was wrong. */
void job_start(struct api *api, struct http_request *http, enum request_kind kind,
               const struct dialect *dialect);

/* An engine event; event->user is its choice. */
void job_event(const struct akv_event *event);

struct akv_usage job_usage(const struct job *j); // of all choices; a prompt counts once

const char *job_finish_reason(enum akv_stop stop); // "stop" or "length"

extern const struct dialect openai_chat, openai_text, llama_completion;

#endif
