/* akvifer load against akvifer serve: what is counted, shared and failed, and the plot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/served.h"
#include "support/temp_dir.h"

static struct served server;
static char url[64], peer_url[64];
static pid_t peer;
static int peer_in;

/* Runs it with the words behind the address; the object that it prints. */
static json_t *load_at(const char *at, int exit_code, const char *const *words)
{
    const char *all[32] = { "akvifer", "load", at, "-o", "json", "--api-key", "alice" };
    struct program_end end = { 0 };
    for (size_t n = 7; *words; n++)
        all[n] = *words++;
    program_run(&end, all, NULL, 0);
    if (end.exit_code != exit_code)
        fail_msg("it ended with %d: %s", end.exit_code, buf_text(&end.err));
    json_t *report = json_loads(buf_text(&end.out), 0, NULL);
    if (!report)
        fail_msg("no JSON: %s", buf_text(&end.out));
    program_end_close(&end);
    return report;
}

static json_t *load(int exit_code, const char *const *words)
{
    return load_at(url, exit_code, words);
}

static double real_at(json_t *report, const char *name)
{
    json_t *x = json_object_get(report, name);
    if (!json_is_number(x))
        fail_msg("%s is no number", name);
    return json_number_value(x);
}

static void expect_order(json_t *r, const char *time)
{
    char name[4][40];
    static const char *const rank[] = { "median", "p90", "p99", "max" };
    for (int i = 0; i < 4; i++)
        snprintf(name[i], sizeof *name, "%s_%s_ms", rank[i], time);
    for (int i = 0; i < 3; i++)
        assert_true(real_at(r, name[i]) <= real_at(r, name[i + 1]));
}

/* Twelve requests of two prefixes that the server has: only a prompt's own words are computed. */
static void a_closed_loop_counts_all(void **state)
{
    (void)state;
    json_t *r = load(0, WORDS("-c", "3", "-n", "12", "--prefix-tokens", "100", "--prefixes", "2",
                              "--warm-prefixes", "--prompt-tokens", "10", "--output-tokens", "6",
                              "--ignore-eos", "--slo-ttft", "1000000", "--slo-itl", "0.000001"));
    expect_text(r, "model_id", "smollm2");
    assert_int_equal(json_number_at(r, "completed"), 12);
    assert_int_equal(json_number_at(r, "failed"), 0);
    assert_int_equal(json_number_at(r, "total_output_tokens"), 72);
    assert_in_range(json_number_at(r, "total_input_tokens"), 12 * 110, 12 * 140);
    assert_in_range(json_number_at(r, "total_cached_tokens"), 12 * 100, 12 * 112);
    assert_int_equal(json_number_at(r, "without_usage"), 0);
    assert_true(real_at(r, "goodput_share") == 0); // nothing is that fast
    assert_true(fabs(real_at(r, "output_throughput") / real_at(r, "request_throughput") - 6) <
                1e-6);
    expect_order(r, "ttft");
    expect_order(r, "itl");
    expect_order(r, "tpot");
    expect_order(r, "e2el");
    assert_true(real_at(r, "mean_ttft_ms") + 5 * real_at(r, "mean_tpot_ms") <=
                real_at(r, "mean_e2el_ms") * 1.001);
    json_decref(r);
}

/* The rate decides how long it lasts, not the answers. */
static void an_open_loop_keeps_its_rate(void **state)
{
    (void)state;
    json_t *r = load(0, WORDS("--rate", "10", "--arrivals", "constant", "-n", "16", "--text",
                              "--prompt-tokens", "5", "--output-tokens", "1", "--seed", "2",
                              "--slo-ttft", "1000000"));
    assert_int_equal(json_number_at(r, "completed"), 16);
    assert_int_equal(json_number_at(r, "total_input_tokens"), 16 * 5);
    assert_true(real_at(r, "duration") >= 1.5);
    assert_true(real_at(r, "goodput_share") == 1);
    assert_true(json_is_null(json_object_get(r, "mean_itl_ms"))); // one token has no gap
    json_decref(r);
    r = load(0, WORDS("-d", "1", "-c", "2", "--think", "uniform:100,200", "--prompt-tokens", "5",
                      "--output-tokens", "2"));
    assert_in_range(json_number_at(r, "completed"), 2, 20);
    json_decref(r);
}

static const char *written(const char *name, const char *text)
{
    temp_dir_put(name, text);
    return in_dir(name);
}

/* Five rows, of which one had no answer: lengths and times are the trace's. */
static void a_trace_is_asked_as_it_came(void **state)
{
    static const char rows[] = "Timestamp,Model,Request tokens,Response tokens,Total tokens\n"
                               "100,ChatGPT,20,3,23\n"
                               "101,ChatGPT,30,4,34\r\n"
                               "101.5,\"GPT-4\",9,0,9\n"
                               "103,ChatGPT,40,5,45\n"
                               "112,ChatGPT,10,1,11\n";
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s", written("trace.csv", rows));
    json_t *r = load(
        0, WORDS("--trace", path, "--trace-speed", "4", "--text", "--ignore-eos", "--seed", "5"));
    assert_int_equal(json_number_at(r, "completed"), 4);
    assert_int_equal(json_number_at(r, "total_input_tokens"), 20 + 30 + 40 + 10);
    assert_int_equal(json_number_at(r, "total_output_tokens"), 3 + 4 + 5 + 1);
    assert_true(real_at(r, "duration") >= 3);
    json_decref(r);
    program_expect(
        WORDS("akvifer", "load", "--trace", written("no.csv", "Timestamp,Request tokens\n1,2\n")),
        NULL, 1, NULL, "line 1: no column is called 'Response tokens'");
    program_expect(WORDS("akvifer", "load", "--trace",
                         written("bad.csv", "timestamp,request tokens,response tokens\n"
                                            "1,2,3\n0,2,3\n")),
                   NULL, 1, NULL, "line 3: 0 s comes behind 1 s");
}

/* Ctrl-C: what ended is reported. */
static void a_load_that_is_stopped_reports(void **state)
{
    struct terminal_user u;
    (void)state;
    user_starts(&u, WORDS("akvifer", "load", url, "--api-key", "alice", "-c", "2", "-d", "600",
                          "--prompt-tokens", "5", "--output-tokens", "8"));
    user_sees(&u, "load");
    sleep(SANITIZED ? 12 : 3);
    user_types(&u, "\003");
    user_sees(&u, "stopped by hand");
    user_sees(&u, "time to first token");
    assert_int_equal(user_leaves(&u), 130);
}

static void failures_are_told_apart(void **state)
{
    (void)state;
    json_t *r = load(1, WORDS("-n", "3", "-m", "gpt-7", "--warm-up", "0"));
    assert_int_equal(json_number_at(r, "failed"), 3);
    assert_int_equal(json_number_at(r, "errors/HTTP 404/count"), 3);
    assert_non_null(strstr(json_string_value(json_at(r, "errors/HTTP 404/example")), "gpt-7"));
    assert_true(json_is_null(json_object_get(r, "mean_ttft_ms")));
    json_decref(r);
    r = load(1, WORDS("-n", "2", "-c", "2", "--warm-up", "0", "--timeout", "0.05", "--ignore-eos",
                      "--output-tokens", "400"));
    assert_int_equal(json_number_at(r, "errors/timeout/count"), 2);
    json_decref(r);
    program_expect(WORDS("akvifer", "load", url, "--api-key", "eve"), NULL, 1, NULL, "answers 401");
    program_expect(WORDS("akvifer", "load", url, "--api-key", "alice", "-m", "gpt-7"), NULL, 1,
                   NULL, "HTTP 404");
    program_expect(WORDS("akvifer", "load", "http://127.0.0.1:1", "-n", "1"), NULL, 1, NULL,
                   "cannot ask http://127.0.0.1:1/v1/models");
    program_expect(WORDS("akvifer", "load", "--chat", "--text"), NULL, 2, NULL, "exclude");
    program_expect(WORDS("akvifer", "load", "--rate", "2", "--think", "5"), NULL, 2, NULL,
                   "--think");
    program_expect(WORDS("akvifer", "load", "--extra-body", "[1]"), NULL, 2, NULL,
                   "--extra-body: '[1]' is no JSON object");
}

/* 100 ms, then nine gaps of 20 ms, in events cut in half: no time may be below what was slept. */
static void a_known_pace_is_measured(void **state)
{
    (void)state;
    json_t *r =
        load_at(peer_url, 0, WORDS("-m", "steady", "-c", "4", "-n", "8", "--slo-itl", "19"));
    assert_int_equal(json_number_at(r, "completed"), 8);
    assert_int_equal(json_number_at(r, "total_input_tokens"), 56);
    assert_int_equal(json_number_at(r, "total_output_tokens"), 80);
    assert_true(json_is_null(json_object_get(r, "total_cached_tokens")));
    assert_true(real_at(r, "median_ttft_ms") >= 100 && real_at(r, "median_ttft_ms") < 1000);
    assert_true(real_at(r, "mean_itl_ms") >= 19.5 && real_at(r, "median_itl_ms") < 200);
    assert_true(fabs(real_at(r, "mean_itl_ms") / real_at(r, "mean_tpot_ms") - 1) < 1e-6);
    assert_true(real_at(r, "mean_e2el_ms") >= 280);
    assert_true(real_at(r, "goodput_share") == 0);
    json_decref(r);
    r = load_at(peer_url, 0, WORDS("-m", "plain", "-n", "1", "--warm-up", "0"));
    assert_int_equal(json_number_at(r, "without_usage"), 1);
    assert_int_equal(json_number_at(r, "total_output_tokens"), 10);
    json_decref(r);
}

/* One under way at a time, all due at once: each waited for those before it. */
static void waiting_counts_at_a_rate(void **state)
{
    (void)state;
    json_t *r = load_at(peer_url, 0,
                        WORDS("-m", "steady", "-c", "1", "-n", "3", "--rate", "1000", "--arrivals",
                              "constant", "--warm-up", "0"));
    assert_true(real_at(r, "median_ttft_ms") >= 380 - 1);
    assert_true(real_at(r, "max_ttft_ms") >= 660 - 2);
    json_decref(r);
}

static void wrong_answers_are_told_apart(void **state)
{
    static const char *const wrong[][3] = {
        { "busy", "errors/HTTP 429", "the queue is full" },
        { "cut", "errors/cut off", "" },
        { "broken", "errors/error in the stream", "out of blocks" },
        { "empty", "errors/empty answer", "no text" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *r = load_at(peer_url, 1, WORDS("-m", wrong[i][0], "-n", "2", "--warm-up", "0"));
        json_t *fault = json_at(r, wrong[i][1]);
        assert_int_equal(json_number_at(fault, "count"), 2);
        assert_non_null(strstr(json_string_value(json_at(fault, "example")), wrong[i][2]));
        assert_int_equal(json_number_at(r, "total_output_tokens"), 0);
        json_decref(r);
    }
    program_expect(WORDS("akvifer", "load", peer_url, "-n", "1"), NULL, 1, NULL,
                   "answers 404: no such page");
}

static void a_plot_is_a_png(void **state)
{
    unsigned char head[8] = { 0 };
    (void)state;
    if (system("gnuplot --version >/dev/null 2>&1") != 0) {
        print_message("skipped: gnuplot is not installed (apt-get install gnuplot-nox)\n");
        skip();
    }
    program_expect(WORDS("akvifer", "load", url, "--api-key", "alice", "-n", "3", "--output-tokens",
                         "3", "--plot", in_dir("it's.png")),
                   NULL, 0, "| time to first token |", NULL);
    FILE *f = fopen(in_dir("it's.png"), "rb");
    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    assert_memory_equal(head, "\x89PNG\r\n\x1a\n", sizeof head);
    fseek(f, 0, SEEK_END);
    assert_in_range(ftell(f), 5000, 200000);
    fclose(f);
    program_expect(WORDS("akvifer", "load", url, "-n", "3", "--plot", in_dir("no/x.png")), NULL, 1,
                   NULL, "cannot write");
    program_expect(
        WORDS("akvifer", "load", url, "-n", "1", "--api-key", "eve", "--plot", in_dir("none.png")),
        NULL, 1, NULL, "401");
    assert_null(fopen(in_dir("none.png"), "rb"));
}

static int start_peer(void)
{
    int in[2], out[2];
    unsigned port = 0;
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return -1;
    peer = fork();
    if (peer == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execlp("python3", "python3", "tests/support/paced_server.py", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    peer_in = in[1];
    FILE *says = fdopen(out[0], "r");
    const bool listens = says && fscanf(says, "%u", &port) == 1;
    fclose(says);
    snprintf(peer_url, sizeof peer_url, "http://127.0.0.1:%u", port);
    return listens ? 0 : -1;
}

static int open_server(void **state)
{
    curl_global_init(CURL_GLOBAL_ALL);
    temp_dir_make(state);
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "512", "--api-key", "alice",
                               "--log-file", in_dir("log")));
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/", server.port);
    return start_peer();
}

static int close_server(void **state)
{
    close(peer_in);
    waitpid(peer, NULL, 0);
    served_close(&server);
    temp_dir_remove(state);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_loop_counts_all),
        cmocka_unit_test(an_open_loop_keeps_its_rate),
        cmocka_unit_test(a_trace_is_asked_as_it_came),
        cmocka_unit_test(a_load_that_is_stopped_reports),
        cmocka_unit_test(failures_are_told_apart),
        cmocka_unit_test(a_known_pace_is_measured),
        cmocka_unit_test(waiting_counts_at_a_rate),
        cmocka_unit_test(wrong_answers_are_told_apart),
        cmocka_unit_test(a_plot_is_a_png),
    };
    return cmocka_run_group_tests_name("load", tests, open_server, close_server);
}
