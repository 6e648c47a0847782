#include "bin/load_client.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "bin/load_events.h"
#include "bin/load_model.h"
#include "bin/progress.h"
#include "os/clock.h"

enum {
    CONNECT_SECONDS = 30,
    REFUSAL_BYTES = 4096,      // of an answer that is no 200: enough for its words
    POLL_MS = 200,             // the progress line is redrawn at least so often
    FILES_BESIDE_CLIENTS = 32, // descriptors that are no client's connection
};
static const uint64_t NEVER = UINT64_MAX;

/* One client: its connection, and the request that is under way. */
struct slot {
    CURL *curl;
    char curl_words[CURL_ERROR_SIZE];
    struct buf body, refusal;
    struct event_reader events;
    uint64_t ready_ns; // idle: when it may ask again

    struct load_result result;
    struct load_series gap;
    uint64_t now_ns; // when the bytes came that are being read
    bool done;       // the stream said that it is at its end
    bool broken;     // ... or that it failed: `why`
    struct note why;
};

struct client {
    const struct load_plan *plan;
    struct load_shape shape; // with the model's name
    struct load_prompts prompts;
    struct load_tally *tally;
    struct progress progress;
    struct buf base, url, model;
    struct curl_slist *headers;
    CURLM *multi;
    int timer;
    struct slot *slot;
    uint32_t *idle; // [n_idle] slots without a request
    uint32_t n_idle;
    struct rng arrivals;
    uint64_t begin_ns, end_ns; // C2; of what counts
    uint64_t due_ns;           // open: the next
    uint64_t n_begun, n_ended;
};

/* ---- an answer ---- */

static void on_event(void *arg, const char *data, size_t len)
{
    struct slot *s = arg;
    struct load_result *r = &s->result;
    struct load_chunk c;
    if (s->broken || load_chunk_read(&c, data, len, &s->why) != OK) {
        s->broken = true;
        return;
    }
    s->done |= c.done || c.finished;
    if (c.has_usage) {
        r->has_usage = true;
        r->n_prompt = c.n_prompt;
        r->n_output = c.n_output;
        r->n_cached = c.n_cached;
    }
    if (!c.content)
        return;
    if (r->n_event++ == 0)
        r->first_ns = s->now_ns;
    else
        load_series_add(&s->gap, (double)(s->now_ns - r->last_ns) * 1e-6);
    r->last_ns = s->now_ns;
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct slot *s = arg;
    long code = 0;
    s->now_ns = os_now_ns();
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &code);
    if (code != 200) {
        const size_t room = REFUSAL_BYTES - s->refusal.len;
        buf_add(&s->refusal, bytes, n < room ? n : room);
        return size * n;
    }
    if (event_reader_feed(&s->events, bytes, n, on_event, s) == OK)
        return size * n;
    note_set(&s->why, "an event is longer than %d bytes, or memory lacks for it", EVENT_BYTES_MAX);
    s->broken = true;
    return 0;
}

/* NULL: the answer is good; else what failed in a few words, and `s->why` in all of them. */
static const char *fault_of(struct slot *s, CURLcode code, char label[40])
{
    long http = 0;
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &http);
    if (s->broken)
        return "error in the stream";
    if (code != CURLE_OK) {
        note_set(&s->why, "%s", s->curl_words[0] ? s->curl_words : curl_easy_strerror(code));
        return code == CURLE_OPERATION_TIMEDOUT ? "timeout"
               : code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST
                   ? "no connection"
                   : "cut off";
    }
    if (http != 200) {
        load_error_read(buf_text(&s->refusal), s->refusal.len, &s->why);
        snprintf(label, 40, "HTTP %ld", http);
        return label;
    }
    if (s->done && s->result.n_event)
        return NULL;
    note_set(&s->why, s->done ? "the answer has no text" : "the answer ends before its last event");
    return s->done ? "empty answer" : "cut off";
}

/* ---- a request ---- */

static enum status no_memory(struct note *why)
{
    note_set(why, "no memory for the load's requests");
    return FULL;
}

static void set_options(struct client *c, struct slot *s)
{
    curl_easy_setopt(s->curl, CURLOPT_URL, buf_text(&c->url));
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(s->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, (long)(c->plan->timeout_s * 1000));
    curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->curl_words);
    curl_easy_setopt(s->curl, CURLOPT_USERAGENT, "akvifer/" AKV_VERSION);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
}

/* Asks; due_ns 0: its time runs from now. */
static enum status ask(struct client *c, struct slot *s, enum load_part part, uint32_t i,
                       uint64_t due_ns)
{
    uint32_t n_output;
    event_reader_clear(&s->events);
    buf_clear(&s->refusal);
    s->gap.n = 0;
    s->done = s->broken = false;
    s->curl_words[0] = 0;
    s->result = (struct load_result){ .n_cached = -1 };
    if (load_prompt_body(&c->prompts, part, i, &s->body, &n_output) != OK)
        return FULL;
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body.len);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, buf_text(&s->body));
    s->result.from_ns = due_ns ? due_ns : os_now_ns();
    return curl_multi_add_handle(c->multi, s->curl) == CURLM_OK ? OK : FULL;
}

/* The next answer that ended; NULL: none for now. It leaves the multi handle. */
static struct slot *next_ended(struct client *c, CURLcode *code)
{
    CURLMsg *m;
    char *slot = NULL;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left)))
        if (m->msg == CURLMSG_DONE)
            break;
    if (!m)
        return NULL;
    *code = m->data.result;
    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &slot);
    struct slot *s = (struct slot *)(void *)slot;
    s->result.end_ns = os_now_ns();
    if (!s->result.has_usage)
        s->result.n_output = s->result.n_event;
    curl_multi_remove_handle(c->multi, s->curl);
    return s;
}

static enum status turn(struct client *c, struct curl_waitfd *extra, struct note *why)
{
    int running;
    CURLMcode code = curl_multi_poll(c->multi, extra, extra ? 1 : 0, POLL_MS, NULL);
    if (code == CURLM_OK)
        code = curl_multi_perform(c->multi, &running);
    if (code == CURLM_OK)
        return OK;
    note_set(why, "cannot go on with the load: %s", curl_multi_strerror(code));
    return IO_ERROR;
}

/* ---- warming up ---- */

static enum status ask_alone(struct client *c, enum load_part part, uint32_t i, struct note *why)
{
    char label[40];
    CURLcode code;
    struct slot *s = &c->slot[0];
    if (ask(c, s, part, i, 0) != OK)
        return no_memory(why);
    enum status st = OK;
    while (st == OK && !next_ended(c, &code))
        st = turn(c, NULL, why);
    if (st != OK)
        return st;
    const char *fault = fault_of(s, code, label);
    if (!fault)
        return OK;
    note_set(why, "%s: %s: %s", buf_text(&c->url), fault, s->why.text);
    return IO_ERROR;
}

static enum status warm_up(struct client *c, struct note *why)
{
    const uint32_t n_prefix =
        c->plan->warm_prefixes && c->shape.prefix_tokens ? c->shape.n_prefix : 0;
    enum status st = OK;
    progress_begin(&c->progress, "warm-up", PROGRESS_COUNT, 0, c->plan->n_warm_up + n_prefix);
    for (uint32_t i = 0; st == OK && i < c->plan->n_warm_up; i++) {
        st = ask_alone(c, LOAD_WARM_UP, i, why);
        progress_at(&c->progress, i + 1);
    }
    for (uint32_t i = 0; st == OK && i < n_prefix; i++) {
        st = ask_alone(c, LOAD_WARM_PREFIX, i, why);
        progress_at(&c->progress, c->plan->n_warm_up + i + 1);
    }
    progress_end(&c->progress);
    return st;
}

/* ---- Ctrl-C ---- */

static volatile sig_atomic_t stopped;

/* poll returns then, and the loop sees it. */
static void on_stop(int number)
{
    (void)number;
    stopped = 1;
}

static void catch_stops(void)
{
    struct sigaction once = { .sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&once.sa_mask);
    stopped = 0;
    sigaction(SIGINT, &once, NULL);
    sigaction(SIGTERM, &once, NULL);
}

static void let_stops_be(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

bool load_was_stopped(void)
{
    return stopped;
}

/* ---- what counts ---- */

static bool is_open(const struct load_plan *p)
{
    return p->rate > 0 || p->shape.trace;
}

/* When the next request begins, and where in `idle` its slot is. NEVER: an answer has to end
 * first, or C2. */
static uint64_t next_begin(const struct client *c, uint32_t *at)
{
    uint64_t when = c->due_ns;
    if (c->n_idle == 0 || (c->plan->n_request && c->n_begun == c->plan->n_request))
        return NEVER;
    *at = c->n_idle - 1;
    if (!is_open(c->plan)) {
        for (uint32_t i = 0; i < c->n_idle; i++)
            if (c->slot[c->idle[i]].ready_ns < c->slot[c->idle[*at]].ready_ns)
                *at = i;
        when = c->slot[c->idle[*at]].ready_ns;
    }
    return when < c->end_ns ? when : NEVER;
}

/* The next request's time, behind the one that was just begun. */
static void plan_arrival(struct client *c)
{
    const struct load_trace *trace = c->plan->shape.trace;
    if (trace) {
        const double s = c->n_begun < trace->n ? trace->row[c->n_begun].seconds : 0;
        c->due_ns = c->begin_ns + (uint64_t)(1e9 * s / c->plan->trace_speed);
        return;
    }
    const struct load_dist gap = { c->plan->poisson ? LOAD_EXPONENTIAL : LOAD_FIXED,
                                   1e9 / c->plan->rate, 0 };
    c->due_ns += (uint64_t)load_dist_draw(&gap, &c->arrivals);
}

static enum status begin_due(struct client *c, struct note *why)
{
    uint32_t at = 0;
    uint64_t when;
    while ((when = next_begin(c, &at)) <= os_now_ns()) {
        struct slot *s = &c->slot[c->idle[at]];
        c->idle[at] = c->idle[--c->n_idle];
        if (ask(c, s, LOAD_COUNTED, (uint32_t)c->n_begun++, is_open(c->plan) ? when : 0) != OK)
            return no_memory(why);
        if (is_open(c->plan))
            plan_arrival(c);
    }
    return OK;
}

static void take_ended(struct client *c)
{
    char label[40];
    CURLcode code;
    struct slot *s;
    while ((s = next_ended(c, &code))) {
        const char *fault = fault_of(s, code, label);
        if (fault)
            load_tally_fail(c->tally, fault, &s->why);
        else
            load_tally_add(c->tally, &s->result, &s->gap);
        s->ready_ns = s->result.end_ns + (uint64_t)(1e6 * load_think_ms(&c->shape, &c->plan->think,
                                                                        (uint32_t)c->n_ended++));
        c->idle[c->n_idle++] = (uint32_t)(s - c->slot);
        c->tally->seconds = (double)(s->result.end_ns - c->begin_ns) * 1e-9;
    }
    progress_at(&c->progress, c->n_ended);
}

/* Sleeps until a socket has news, or the next request is due. */
static enum status wait_until(struct client *c, uint64_t until_ns, struct note *why)
{
    struct curl_waitfd extra = { .fd = c->timer, .events = CURL_WAIT_POLLIN };
    struct itimerspec when = { 0 };
    if (until_ns != NEVER)
        when.it_value =
            (struct timespec){ (time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000) };
    timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &when, NULL);
    return turn(c, &extra, why);
}

static enum status run_counted(struct client *c, struct note *why)
{
    enum status st = OK;
    uint32_t at = 0;
    c->begin_ns = c->due_ns = os_now_ns();
    c->end_ns = c->plan->seconds > 0 ? c->begin_ns + (uint64_t)(c->plan->seconds * 1e9) : NEVER;
    progress_begin(&c->progress, "load", PROGRESS_COUNT, 0, c->plan->n_request);
    catch_stops();
    while (st == OK && !stopped) {
        st = begin_due(c, why);
        const uint64_t next = next_begin(c, &at);
        if (st != OK || (next == NEVER && c->n_idle == c->plan->concurrency))
            break;
        st = wait_until(c, next, why);
        take_ended(c);
    }
    let_stops_be();
    c->tally->n_dropped = stopped ? c->n_begun - c->n_ended : 0;
    progress_end(&c->progress);
    return st;
}

/* ---- its parts ---- */

static bool add_header(struct client *c, const char *text)
{
    struct curl_slist *longer = curl_slist_append(c->headers, text);
    if (longer)
        c->headers = longer;
    return longer != NULL;
}

/* Without "Expect:" curl waits for a 100 before it sends a long body. */
static bool add_headers(struct client *c)
{
    struct buf bearer = { 0 };
    if (c->plan->api_key)
        buf_addf(&bearer, "Authorization: Bearer %s", c->plan->api_key);
    const bool ok = add_header(c, "Content-Type: application/json") && add_header(c, "Expect:") &&
                    !bearer.failed && (!bearer.len || add_header(c, bearer.bytes));
    buf_close(&bearer);
    return ok;
}

/* A connection is a file: as many as the system lets us have. */
static void allow_files(uint32_t n)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < n) {
        limit.rlim_cur = limit.rlim_max < n ? limit.rlim_max : n;
        (void)setrlimit(RLIMIT_NOFILE, &limit); // if it is refused, some requests say so
    }
}

static bool open_slots(struct client *c)
{
    const uint32_t n = c->plan->concurrency;
    c->slot = mem_new(n, sizeof *c->slot);
    c->idle = mem_new(n, sizeof *c->idle);
    if (!c->slot || !c->idle)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        c->slot[i].curl = curl_easy_init();
        if (!c->slot[i].curl)
            return false;
        set_options(c, &c->slot[i]);
        c->idle[c->n_idle++] = i;
    }
    return true;
}

static enum status client_open(struct client *c, struct note *why)
{
    load_base(&c->base, c->plan->url);
    buf_addf(&c->url, "%s%s", buf_text(&c->base),
             c->shape.text ? "/v1/completions" : "/v1/chat/completions");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c->multi = curl_multi_init();
    if (!c->multi || c->base.failed || c->url.failed || !add_headers(c) || !open_slots(c))
        return no_memory(why);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->plan->concurrency);
    allow_files(c->plan->concurrency + FILES_BESIDE_CLIENTS);
    c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (c->timer >= 0)
        return OK;
    note_set(why, "cannot make a timer: %m");
    return IO_ERROR;
}

static void slot_close(struct client *c, struct slot *s)
{
    if (s->curl) {
        curl_multi_remove_handle(c->multi, s->curl);
        curl_easy_cleanup(s->curl);
    }
    buf_close(&s->body);
    buf_close(&s->refusal);
    event_reader_close(&s->events);
    load_series_close(&s->gap);
}

static void client_close(struct client *c)
{
    for (uint32_t i = 0; c->slot && i < c->plan->concurrency; i++)
        slot_close(c, &c->slot[i]);
    curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->headers);
    if (c->timer >= 0)
        close(c->timer);
    load_prompts_close(&c->prompts);
    mem_free(c->slot);
    mem_free(c->idle);
    buf_close(&c->base);
    buf_close(&c->url);
    buf_close(&c->model);
}

enum status load_run(const struct load_plan *plan, struct load_tally *tally, struct buf *model,
                     struct note *why)
{
    struct client c = { .plan = plan,
                        .shape = plan->shape,
                        .tally = tally,
                        .timer = -1,
                        .arrivals = rng_seeded(plan->shape.seed, 0) };
    enum status st = client_open(&c, why);
    if (st == OK && plan->shape.model)
        buf_add_text(&c.model, plan->shape.model);
    else if (st == OK)
        st = load_model_ask(&c.model, buf_text(&c.base), c.headers, why);
    c.shape.model = buf_text(&c.model);
    buf_add_text(model, c.shape.model);
    if (st == OK)
        st = load_prompts_open(&c.prompts, &c.shape, why);
    if (st == OK)
        st = warm_up(&c, why);
    if (st == OK)
        st = run_counted(&c, why);
    if (st == OK && load_tally_failed(tally))
        st = no_memory(why);
    client_close(&c);
    return st;
}
