/* The flags of serve at work: TLS, keys of a file, names, templates, switches, warnings; /health beside a busy engine;
 * and how it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/http_client.h"
#include "support/served.h"

#define SERVE "akvifer", "serve", "--port", "0", "-c", "512"

enum { N_HEALTH = 200 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- TLS ---- */

static void speaks_tls_with_a_certificate_of_our_own(void **state)
{
    struct served server = { 0 };
    struct fetched f = { 0 };
    char key[128], cert[128], command[512];
    (void)state;
    snprintf(key, sizeof key, "%s", program_file("key.pem", ""));
    snprintf(cert, sizeof cert, "%s", program_file("cert.pem", ""));
    snprintf(
        command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
        "/CN=akvifer -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s 2>/dev/null",
        key, cert);
    assert_int_equal(system(command), 0);
    served_open(&server, WORDS(SERVE, "--ssl-key-file", key, "--ssl-cert-file", cert));
    assert_non_null(strstr(buf_text(&server.user.seen), "listening  https://127.0.0.1:"));
    server.ca = cert;
    json_t *a = served_json(&server, NULL, "/v1/completions",
                            "{\"prompt\": \"Water\", \"max_tokens\": 2}", 200);
    assert_int_equal(json_number_at(a, "usage/completion_tokens"), 2);
    json_decref(a);
    served_fetch(&server, &f, NULL, "/v1/completions",
                 "{\"prompt\": \"Water\", \"max_tokens\": 3, \"stream\": true}");
    assert_non_null(strstr(buf_text(&f.body), "data: [DONE]"));
    buf_close(&f.body);

    /* The same in the command-line client, which checks the certificate; and without TLS nobody answers. */
    snprintf(command, sizeof command, "curl -sf --cacert %s https://127.0.0.1:%u/health >/dev/null",
             cert, server.port);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "curl -sf https://127.0.0.1:%u/health >/dev/null 2>&1",
             server.port);
    assert_int_not_equal(system(command), 0);
    snprintf(command, sizeof command, "curl -sf -m 5 http://127.0.0.1:%u/health >/dev/null 2>&1",
             server.port);
    assert_int_not_equal(system(command), 0);
    served_close(&server);
    program_expect(WORDS(SERVE, "--ssl-key-file", key), NULL, 1, NULL, "needs both a key file");

    /* What a service asks before it starts. */
    program_expect(WORDS(SERVE, "--ssl-key-file", key, "--ssl-cert-file", cert, "--dry-run"), NULL,
                   0, NULL, "kv cap");
    program_expect(WORDS(SERVE, "--ssl-key-file", key, "--ssl-cert-file", "no.pem", "--dry-run"),
                   NULL, 1, NULL, "no.pem");
    program_expect(WORDS(SERVE, "--ssl-key-file", cert, "--ssl-cert-file", key, "--dry-run"), NULL,
                   1, NULL, "do the TLS key and certificate fit?");
}

/* ---- names, keys, switches ---- */

static void names_keys_and_switches_are_heeded(void **state)
{
    struct served server = { 0 };
    char keys[128], template[128], log[128], line[2048] = "";
    (void)state;
    snprintf(keys, sizeof keys, "%s", program_file("keys", "alpha\nbeta research\n"));
    snprintf(template, sizeof template, "%s",
             program_file("template", "{% for m in messages %}[{{ m.content }}]{% endfor %}"));
    snprintf(log, sizeof log, "%s", program_file("log", ""));
    served_open(&server, WORDS(SERVE, "--api-key-file", keys, "--alias", "house", "--no-slots",
                               "--no-metrics", "--chat-template-file", template, "--log-file", log,
                               "--props", "--threads-http", "3", "--timeout", "30"));
    json_t *m = served_json(&server, "alpha", "/v1/models", NULL, 200);
    expect_text(m, "data/0/id", "house");
    json_decref(m);
    json_decref(served_json(&server, "gamma", "/v1/models", NULL, 401));
    json_decref(served_json(&server, "alpha", "/slots", NULL, 501));
    json_decref(served_json(&server, "alpha", "/metrics", NULL, 501));
    json_decref(served_json(&server, "alpha", "/props", NULL, 200));
    json_decref(served_json(&server, NULL, "/health", NULL, 200));
    json_t *p = served_json(&server, "beta", "/apply-template",
                            "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}", 200);
    expect_text(p, "prompt", "[hi]");
    json_decref(p);
    json_decref(served_json(&server, "beta", "/v1/completions",
                            "{\"model\": \"house\", \"prompt\": \"secret\", \"max_tokens\": 1}",
                            200));
    served_close(&server);

    /* Whose request it was, and nothing of what it said, nor the key. */
    FILE *f = fopen(log, "r");
    assert_non_null(f);
    assert_true(fread(line, 1, sizeof line - 1, f) > 0);
    fclose(f);
    assert_non_null(strstr(line, "\"tenant\":\"research\""));
    assert_null(strstr(line, "secret"));
    assert_null(strstr(line, "beta"));
}

/* A section whose name is that of a model that is not served here is nothing to speak of. */
static void sections_of_no_model_are_told(void **state)
{
    struct served server = { 0 };
    char config[128];
    (void)state;
    snprintf(config, sizeof config, "%s",
             program_file("conf", "[smolm2]\nparallel = 3\n[qwen2]\nparallel = 2\n"));
    served_open(&server, WORDS(SERVE, "--config", config));
    const char *seen = buf_text(&server.user.seen);
    assert_non_null(
        strstr(seen, "conf:2: [smolm2] is the name of no model (did you mean 'smollm2'?)"));
    assert_null(strstr(seen, "[qwen2]"));
    served_close(&server);
}

/* Ends it at once; what it said until it listened is in *said. */
static void say(struct buf *said, const char *const *words)
{
    struct terminal_user u;
    user_starts(&u, words);
    user_sees(&u, "listening");
    usleep(100000); // what follows that line
    user_types(&u, "\x03");
    user_sees(&u, "stopping");
    buf_clear(said);
    buf_add(said, u.seen.bytes, u.seen.len);
    assert_int_equal(user_leaves(&u), 0);
}

static void an_open_door_is_warned_of(void **state)
{
    struct buf said = { 0 };
    (void)state;
    say(&said, WORDS(SERVE, "--host", "0.0.0.0"));
    assert_non_null(strstr(buf_text(&said), "no API key (--api-key) and no TLS"));
    say(&said, WORDS(SERVE, "--host", "0.0.0.0", "--api-key", "k"));
    assert_non_null(strstr(buf_text(&said), "there is no TLS"));
    say(&said, WORDS(SERVE));
    assert_null(strstr(buf_text(&said), "warning"));
    buf_close(&said);
}

/* More lines than a terminal holds, and nobody reads them. */
static void a_log_that_nobody_reads_holds_nobody_up(void **state)
{
    struct served server = { 0 };
    (void)state;
    served_open(&server, WORDS(SERVE));
    for (int i = 0; i < 250; i++)
        json_decref(served_json(&server, NULL, "/v1/completions",
                                "{\"prompt\": [504], \"max_tokens\": 1}", 200));
    served_close(&server);
}

/* ---- a long answer in the background ---- */

struct background {
    const struct served *server;
    const char *body;
    struct fetched f;
    pthread_t thread;
};

/* Without served_fetch: an answer that is cut is what some tests want. */
static void *background_main(void *arg)
{
    struct background *b = arg;
    struct buf text = { 0 };
    char bytes[4096];
    ssize_t n;
    const int fd = client_connect((uint16_t)b->server->port);
    buf_addf(&text,
             "POST /v1/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
             "%zu\r\n\r\n%s",
             strlen(b->body), b->body);
    client_send_bytes(fd, text.bytes, text.len);
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        buf_add(&b->f.body, bytes, (size_t)n);
    close(fd);
    buf_close(&text);
    return NULL;
}

static void background_begin(struct background *b, const struct served *server, const char *body)
{
    *b = (struct background){ .server = server, .body = body };
    assert_int_equal(pthread_create(&b->thread, NULL, background_main, b), 0);
    for (int tries = 0; served_metric(server, "llamacpp:requests_processing") < 1; tries++) {
        assert_true(tries < 1000);
        usleep(10000);
    }
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* One connection, asked while two long answers are computed. The bar of 5 ms is of a quiet machine: it is printed, and
 * ten times that is a failure anywhere. */
static void health_answers_while_the_engine_is_busy(void **state)
{
    struct served server = { 0 };
    struct background b[2];
    struct reply r;
    static double took[N_HEALTH];
    (void)state;
    served_open(&server, WORDS(SERVE, "--drain", "0"));
    for (int i = 0; i < 2; i++)
        background_begin(&b[i], &server,
                         "{\"prompt\": \"Once\", \"max_tokens\": 450, \"ignore_eos\": true}");
    const int fd = client_connect((uint16_t)server.port);
    for (int i = 0; i < N_HEALTH; i++) {
        const double begin = now_ms();
        client_send(fd, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        client_read(fd, &r, false);
        took[i] = now_ms() - begin;
        assert_int_equal(r.status, 200);
        reply_close(&r);
    }
    close(fd);
    const bool busy = served_metric(&server, "llamacpp:requests_processing") > 0;
    qsort(took, N_HEALTH, sizeof *took, by_size);
    print_message("/health while the engine is %s: median %.2f ms, p99 %.2f ms\n",
                  busy ? "busy" : "idle again", took[N_HEALTH / 2], took[N_HEALTH * 99 / 100]);
    assert_true(took[N_HEALTH / 2] < (SANITIZED ? 500 : 50));
    served_close(&server);
    for (int i = 0; i < 2; i++) {
        pthread_join(b[i].thread, NULL);
        buf_close(&b[i].f.body);
    }
}

/* ---- stopping ---- */

static void sigterm_lets_answers_finish(void **state)
{
    struct served server = { 0 };
    struct background b;
    struct reply r;
    (void)state;
    served_open(&server, WORDS(SERVE, "--drain", "60"));
    const int old = client_connect((uint16_t)server.port);
    client_send(old, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(old, &r, false);
    reply_close(&r);
    background_begin(
        &b, &server,
        "{\"prompt\": \"Once\", \"max_tokens\": 60, \"ignore_eos\": true, \"stream\": true}");
    kill(server.user.pid, SIGTERM);
    user_sees(&server.user, "stopping: up to 60 s");
    usleep(50000);
    client_send(old, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"); // a connection of before
    client_read(old, &r, false);
    assert_true(r.status == 503 || r.status == 0);
    reply_close(&r);
    close(old);
    const int late = client_connect((uint16_t)server.port);
    assert_true(late < 0 || client_at_end(late)); // nobody is let in
    close(late);
    assert_int_equal(user_leaves(&server.user), 0);
    pthread_join(b.thread, NULL);
    assert_non_null(strstr(buf_text(&b.f.body), "data: [DONE]"));
    buf_close(&b.f.body);
}

static void sigterm_has_a_deadline(void **state)
{
    struct served server = { 0 };
    struct background b;
    (void)state;
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "8192", "--drain", "1"));
    background_begin(
        &b, &server,
        "{\"prompt\": \"Once\", \"max_tokens\": 8000, \"ignore_eos\": true, \"stream\": "
        "true}");
    const double begin = now_ms();
    kill(server.user.pid, SIGTERM);
    assert_int_equal(user_leaves(&server.user), 0);
    const double took = now_ms() - begin;
    pthread_join(b.thread, NULL);
    assert_null(strstr(buf_text(&b.f.body), "data: [DONE]"));
    assert_true(took >= 950 && took < (SANITIZED ? 20000 : 8000));
    buf_close(&b.f.body);
}

static int set_up(void **state)
{
    curl_global_init(CURL_GLOBAL_ALL);
    return program_folder_make(state);
}

static int tear_down(void **state)
{
    curl_global_cleanup();
    return program_folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_tls_with_a_certificate_of_our_own),
        cmocka_unit_test(names_keys_and_switches_are_heeded),
        cmocka_unit_test(sections_of_no_model_are_told),
        cmocka_unit_test(an_open_door_is_warned_of),
        cmocka_unit_test(a_log_that_nobody_reads_holds_nobody_up),
        cmocka_unit_test(health_answers_while_the_engine_is_busy),
        cmocka_unit_test(sigterm_lets_answers_finish),
        cmocka_unit_test(sigterm_has_a_deadline),
    };
    return cmocka_run_group_tests_name("serve_flags", tests, set_up, tear_down);
}
