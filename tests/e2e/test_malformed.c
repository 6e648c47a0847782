/* Ten thousand requests that no good client sends, at a server that is to answer right before and behind them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "support/http_client.h"
#include "support/served.h"

enum { N_REQUEST = 10000, N_AT_ONCE = 32, N_SLOW = 64, REQUEST_SECONDS = 3 };

static struct served server;
static struct rng rng;

/* ---- heads ---- */

/* Lines behind the request line; each has to be refused with the status (0: any refusal, or a cut connection). */
static const struct {
    const char *line, *fields;
    int status;
} heads[] = {
    { "GET /health HTTP/1.1", "", 400 },                           // no Host
    { "GET /health HTTP/1.1", "Host: a\r\nHost: b\r\n", 400 },     // two
    { "GET /health HTTP/1.1", "Host: a b\r\n", 400 },              // none of a name
    { "GET /health HTTP/1.1", "Host: a\r\nBad Name: x\r\n", 400 }, // RFC 9110: no token
    { "GET /health HTTP/1.1", "Host: a\r\nX: a\001b\r\n", 400 },   // a control character
    { "GET /health HTTP/1.1", "Host: a\r\nno colon\r\n", 0 },
    { "GET /health HTTP/9.9", "Host: a\r\n", 505 },
    { "GET /health", "Host: a\r\n", 0 },
    { "G@T /health HTTP/1.1", "Host: a\r\n", 400 },
    { "GET  HTTP/1.1", "Host: a\r\n", 0 },
    { "GET /health%zz HTTP/1.1", "Host: a\r\n", 400 },
    { "GET /health%00 HTTP/1.1", "Host: a\r\n", 400 },
    { "GET /%ff%fe HTTP/1.1", "Host: a\r\n", 400 },
    { "GET /../../etc/passwd HTTP/1.1", "Host: a\r\n", 0 },
    { "GET * HTTP/1.1", "Host: a\r\n", 400 },
    { "DELETE /v1/models HTTP/1.1", "Host: a\r\n", 405 },
    { "BREW /health HTTP/1.1", "Host: a\r\n", 405 },
    { "GET /nowhere HTTP/1.1", "Host: a\r\n", 404 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
      400 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n", 400 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n", 400 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: -2\r\n", 400 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: +2\r\n", 400 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: 0x2\r\n", 400 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: 2, 2\r\n", 400 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: 99999999999\r\n", 413 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nContent-Length: 99999999999999999999999\r\n", 0 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nTransfer-Encoding: gzip\r\n", 0 },
    { "POST /tokenize HTTP/1.1", "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n", 0 },
    { "POST /tokenize HTTP/1.1",
      "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400 },
    { "POST /tokenize HTTP/1.0", "Transfer-Encoding: chunked\r\n", 400 },
};

static int make_head(struct buf *out)
{
    const uint32_t i = rng_below(&rng, sizeof heads / sizeof *heads);
    buf_addf(out, "%s\r\n%sX-N: %u\r\nConnection: close\r\n\r\n{}", heads[i].line, heads[i].fields,
             rng_u32(&rng));
    return heads[i].status;
}

/* Too much of a head: a target, a header, many headers. */
static int make_large_head(struct buf *out)
{
    const uint32_t kind = rng_below(&rng, 3), n = 9000 + rng_below(&rng, 40000);
    buf_add_text(out, "GET /health");
    for (uint32_t i = 0; kind == 0 && i < n; i++)
        buf_add_byte(out, 'a');
    buf_add_text(out, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ");
    for (uint32_t i = 0; kind == 1 && i < 33000 + n; i++)
        buf_add_byte(out, 'a');
    for (uint32_t i = 0; kind == 2 && i < 101 + n / 100; i++)
        buf_addf(out, "\r\nX-%u: a", i);
    buf_add_text(out, "\r\n\r\n");
    return 0;
}

static int make_noise(struct buf *out)
{
    const uint32_t n = 1 + rng_below(&rng, 300);
    for (uint32_t i = 0; i < n; i++)
        buf_add_byte(out, (char)rng_u32(&rng));
    buf_add_text(out, "\r\n\r\n");
    return 0;
}

/* ---- bodies ---- */

static void add_post(struct buf *out, const char *path, const struct buf *body)
{
    buf_addf(
        out,
        "POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n",
        path, body->len);
    buf_add(out, buf_text(body), body->len);
}

static const char *any_path(void)
{
    static const char *const paths[] = { "/v1/chat/completions", "/v1/completions",
                                         "/completion",          "/tokenize",
                                         "/detokenize",          "/apply-template",
                                         "/v1/cache/explain" };
    return paths[rng_below(&rng, sizeof paths / sizeof *paths)];
}

static const char good[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"prompt\": \"Hello\", "
    "\"content\": \"Hello\", \"tokens\": [1, 2], \"max_tokens\": 1, \"n_predict\": 1}";

/* Cut anywhere: no JSON. */
static int make_cut_json(struct buf *out)
{
    struct buf body = { 0 };
    buf_add(&body, good, rng_below(&rng, sizeof good - 1));
    add_post(out, any_path(), &body);
    buf_close(&body);
    return 400;
}

/* JSON that strict readers refuse, and values that no row of a request allows. */
static int make_wrong_json(struct buf *out)
{
    static const char *const bodies[] = {
        "{\"prompt\": \"\xff\xfe\"}",
        "{\"prompt\": \"\xed\xa0\x80\"}",
        "{\"prompt\": \"\\ud800\"}",
        "{\"prompt\": \"a\", \"prompt\": \"b\"}",
        "{\"prompt\": \"a\", \"temperature\": 1e999}",
        "{\"prompt\": \"a\", \"temperature\": NaN}",
        "{\"prompt\": \"a\", \"temperature\": 01}",
        "{\"prompt\": \"a\", \"seed\": 99999999999999999999999}",
        "{\"prompt\": \"a\"} x",
        "{\"prompt\": 'a'}",
        "{prompt: \"a\"}",
        "[]",
        "null",
        "7",
        "\"text\"",
        "",
        "{}",
        "{\"prompt\": {}, \"messages\": {}, \"content\": {}, \"tokens\": {}}",
        "{\"prompt\": [[]], \"messages\": [[]], \"content\": [], \"tokens\": [[]]}",
        "{\"prompt\": [-1], \"messages\": [1], \"content\": 1, \"tokens\": [-1]}",
        "{\"prompt\": [1e300], \"messages\": \"a\", \"content\": true, \"tokens\": [1e300]}",
    };
    struct buf body = { 0 };
    buf_add_text(&body, bodies[rng_below(&rng, sizeof bodies / sizeof *bodies)]);
    add_post(out, any_path(), &body);
    buf_close(&body);
    return 400;
}

/* A member of a type or size that it cannot have. */
static int make_wrong_member(struct buf *out)
{
    static const char *const members[] = {
        "temperature", "top_p",    "top_k",      "min_p",      "seed",          "n",
        "stream",      "stop",     "logit_bias", "min_tokens", "ignore_eos",    "stop_token_ids",
        "cache_salt",  "logprobs", "echo",       "best_of",    "repeat_last_n",
    };
    static const char *const values[] = { "{\"a\": [1]}", "[[[]]]", "\"\\u0000\"", "-1e308" };
    struct buf body = { 0 };
    buf_addf(&body, "{\"prompt\": \"a\", \"max_tokens\": 1, \"%s\": %s}",
             members[rng_below(&rng, sizeof members / sizeof *members)],
             values[rng_below(&rng, sizeof values / sizeof *values)]);
    add_post(out, "/v1/completions", &body);
    buf_close(&body);
    return 400;
}

static int make_deep_json(struct buf *out)
{
    struct buf body = { 0 };
    const uint32_t n = 2100 + rng_below(&rng, 20000);
    buf_add_text(&body, "{\"prompt\": ");
    for (uint32_t i = 0; i < n; i++)
        buf_add_text(&body, rng_below(&rng, 2) ? "[" : "{\"a\":");
    add_post(out, any_path(), &body);
    buf_close(&body);
    return 400;
}

/* Chunks whose sizes are no sizes. */
static int make_bad_chunks(struct buf *out)
{
    static const char *const chunks[] = { "zz\r\n{}\r\n0\r\n\r\n", "-1\r\n{}\r\n",
                                          "ffffffffffffffffffff\r\n", "2\r\n{}xx\r\n0\r\n\r\n",
                                          "\r\n\r\n" };
    buf_addf(out,
             "POST /tokenize HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: "
             "chunked\r\n\r\n%s",
             chunks[rng_below(&rng, sizeof chunks / sizeof *chunks)]);
    return 0;
}

typedef int make(struct buf *out);
static make *const kinds[] = { make_head,       make_head,         make_noise,
                               make_large_head, make_cut_json,     make_wrong_json,
                               make_wrong_json, make_wrong_member, make_wrong_member,
                               make_deep_json,  make_bad_chunks };

/* ---- asking ---- */

struct ask {
    struct buf bytes;
    int fd, status; // to be refused with; 0: any refusal, or none
    bool leaves;    // in the middle of it
};

static void ask_begin(struct ask *a)
{
    buf_clear(&a->bytes);
    a->status = kinds[rng_below(&rng, sizeof kinds / sizeof *kinds)](&a->bytes);
    a->leaves = rng_below(&rng, 16) == 0;
    a->fd = client_connect((uint16_t)server.port);
    assert_true(a->fd >= 0);
    client_send_bytes(a->fd, a->bytes.bytes,
                      a->leaves ? rng_below(&rng, (uint32_t)a->bytes.len) : a->bytes.len);
    if (a->status == 0)
        shutdown(a->fd, SHUT_WR); // no more comes: a head that never ends is not waited for
}

/* Reads until the server closed; gives the status, 0 where no answer came. */
static int read_status(int fd)
{
    char bytes[4096] = "", rest[4096];
    size_t len = 0;
    for (;;) {
        struct pollfd p = { fd, POLLIN, 0 };
        if (poll(&p, 1, CLIENT_SECONDS * 1000) != 1)
            return -1;
        const ssize_t n = len < sizeof bytes - 1 ? recv(fd, bytes + len, sizeof bytes - 1 - len, 0)
                                                 : recv(fd, rest, sizeof rest, 0);
        if (n <= 0)
            break;
        len += len < sizeof bytes - 1 ? (size_t)n : 0;
    }
    return strncmp(bytes, "HTTP/1.", 7) == 0 ? atoi(bytes + 9) : 0;
}

static void ask_end(struct ask *a)
{
    const int status = a->leaves ? 0 : read_status(a->fd);
    const bool refused =
        status == 0 || (status >= 400 && status < 500) || status == 501 || status == 505;
    const bool right = a->leaves || (a->status ? status == a->status : refused);
    close(a->fd);
    if (!right)
        fail_msg("answered %d, not %d: %.300s", status, a->status, buf_text(&a->bytes));
}

/* ---- what must be as before ---- */

static char *answer(void)
{
    json_t *a =
        served_json(&server, NULL, "/v1/completions",
                    "{\"prompt\": \"An aquifer is\", \"max_tokens\": 8, \"temperature\": 0}", 200);
    char *text = strdup(json_string_value(json_at(a, "choices/0/text")));
    json_decref(a);
    return text;
}

static unsigned n_descriptor(void)
{
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", server.user.pid);
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Waits for what closes a little later than its client. */
static void expect_descriptors(unsigned n)
{
    for (int tries = 0; n_descriptor() > n; tries++) {
        assert_true(tries < 10 * REQUEST_SECONDS + 100);
        usleep(100000);
    }
}

/* ---- tests ---- */

static void ten_thousand_bad_requests_leave_no_trace(void **state)
{
    static struct ask ask[N_AT_ONCE];
    (void)state;
    char *before = answer();
    const double held = served_metric(&server, "akvifer_kv_used_bytes");
    const unsigned n_open = n_descriptor();
    rng = rng_seeded(1, 1);
    for (unsigned n = 0; n < N_REQUEST; n += N_AT_ONCE) {
        for (unsigned i = 0; i < N_AT_ONCE; i++)
            ask_begin(&ask[i]);
        for (unsigned i = 0; i < N_AT_ONCE; i++)
            ask_end(&ask[i]);
    }
    for (unsigned i = 0; i < N_AT_ONCE; i++)
        buf_close(&ask[i].bytes);
    expect_descriptors(n_open);
    assert_true(served_metric(&server, "akvifer_kv_used_bytes") == held);
    assert_true(served_metric(&server, "llamacpp:requests_processing") == 0);
    char *after = answer();
    assert_string_equal(after, before);
    free(before);
    free(after);
}

/* Requests that never become whole: 408 in time, while others are served. */
static void slow_clients_are_sent_away(void **state)
{
    static const char part[] = "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{";
    int fd[N_SLOW];
    (void)state;
    const unsigned n_open = n_descriptor();
    for (unsigned i = 0; i < N_SLOW; i++) {
        fd[i] = client_connect((uint16_t)server.port);
        client_send_bytes(fd[i], part, 1 + i * (sizeof part - 2) / (N_SLOW - 1));
    }
    char *text = answer();
    assert_true(strlen(text) > 0);
    free(text);
    for (unsigned i = 0; i < N_SLOW; i++) {
        const int status = read_status(fd[i]);
        if (status != 408 && status != 0)
            fail_msg("slow client %u was answered %d", i, status);
        close(fd[i]);
    }
    expect_descriptors(n_open);
}

static int open_server(void **state)
{
    char log[64];
    curl_global_init(CURL_GLOBAL_ALL);
    if (program_folder_make(state) != 0)
        return -1;
    snprintf(log, sizeof log, "%s", program_file("log", ""));
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "512", "--request-timeout",
                               "3", "--log-file", log));
    return 0;
}

static int close_server(void **state)
{
    served_close(&server);
    curl_global_cleanup();
    return program_folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_bad_requests_leave_no_trace),
        cmocka_unit_test(slow_clients_are_sent_away),
    };
    return cmocka_run_group_tests_name("malformed", tests, open_server, close_server);
}
