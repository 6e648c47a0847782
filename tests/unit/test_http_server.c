/* http/server: starting and stopping, many connections at once, memory that runs out, TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/sse.h"
#include "os/clock.h"
#include "support/http_service.h"

static void stop_waits_for_open_answers(void **state)
{
    (void)state;
    struct reply r;
    int kept = client_connect(service.port), fd = client_connect(service.port);
    client_send(kept, "GET /tell HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(kept, &r, false);
    reply_close(&r);
    client_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *req = service_take();
    const uint64_t begin = os_now_ns();
    assert_int_equal(http_server_stop(service.server, 200), CANCELED);
    assert_true(os_now_ns() - begin > 190000000);
    assert_int_equal(client_connect(service.port), -1);
    client_send(kept, "GET /tell HTTP/1.1\r\nHost: h\r\n\r\n");
    client_read(kept, &r, false);
    assert_int_equal(r.status, 503);
    assert_string_equal(reply_header(&r, "Connection"), "close");
    reply_close(&r);
    assert_int_equal(http_stream_write(req, "last", 4), OK);
    http_stream_end(req);
    assert_int_equal(http_server_stop(service.server, 5000), OK);
    client_read(fd, &r, false);
    assert_string_equal(buf_text(&r.body), "last");
    assert_false(r.cut);
    reply_close(&r);
    close(kept), close(fd);
}

/* What is open when the server ends is gone, and may be finished after that. */
static void requests_outlive_the_server(void **state)
{
    (void)state;
    struct http_request *req[4];
    int fd[4];
    for (int i = 0; i < 4; i++) {
        fd[i] = client_connect(service.port);
        client_send(fd[i], i % 2 ? "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"
                                 : "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        req[i] = service_take();
    }
    assert_int_equal(http_server_stop(service.server, 10), CANCELED);
    http_server_free(service.server);
    service.server = NULL;
    service_wait_gone(4);
    assert_string_equal(http_path(req[0]), "/hold");
    service_answer(req[0], "late");
    http_stream_begin(req[2], 200, SSE_TYPE, NULL, 0);
    assert_int_equal(http_stream_write(req[2], "x", 1), CANCELED);
    http_stream_abort(req[2]);
    http_stream_end(req[1]);
    http_stream_end(req[3]);
    for (int i = 0; i < 4; i++) {
        while (client_byte(fd[i]) >= 0)
            ;
        close(fd[i]);
    }
}

static void many_connections_at_once(void **state)
{
    (void)state;
    enum { N = 240, ROUNDS = 3 };
    static int fd[N];
    pthread_t answerer;
    struct reply r;
    assert_int_equal(pthread_create(&answerer, NULL, service_answer_all, NULL), 0);
    for (int i = 0; i < N; i++)
        assert_true((fd[i] = client_connect(service.port)) >= 0);
    for (int round = 0; round < ROUNDS; round++) {
        static const char *const path[] = { "tell", "hold", "stream" };
        for (int i = 0; i < N; i++) {
            char text[64];
            snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\nHost: h\r\n\r\n", path[i % 3]);
            client_send(fd[i], text);
        }
        for (int i = 0; i < N; i++) {
            client_read(fd[i], &r, false);
            assert_int_equal(r.status, 200);
            assert_string_equal(buf_text(&r.body), i % 3 == 0 ? "GET|/tell||-|-|127.0.0.1"
                                                   : i % 3 == 1
                                                       ? "held"
                                                       : "data: x\n\ndata: x\n\ndata: x\n\n");
            reply_close(&r);
        }
    }
    service_end_answers(answerer);
    assert_int_equal(http_server_counts(service.server).n_connection, N);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    service_wait_closed();
}

/* Clients that leave at any moment, while answers, pings and ends race with service. */
static void leaving_races_with_answers(void **state)
{
    (void)state;
    enum { N = 600 };
    pthread_t answerer;
    assert_int_equal(pthread_create(&answerer, NULL, service_answer_all, NULL), 0);
    for (int i = 0; i < N; i++) {
        int fd = client_connect(service.port);
        client_send(fd, i % 2 ? "GET /stream?ping=1 HTTP/1.1\r\nHost: h\r\n\r\n"
                              : "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        usleep((useconds_t)(i % 7) * 50);
        if (i % 5 ==
            0) { // leaves, and yet reads: gone for the server, unless the answer was quicker
            struct reply r;
            shutdown(fd, SHUT_WR);
            client_read(fd, &r, false);
            reply_close(&r);
        }
        close(fd);
    }
    service_wait_closed();
    service_end_answers(answerer);
}

static void says_why_it_cannot_start(void **state)
{
    (void)state;
    struct http_options opt = service_options();
    struct http_server *s = NULL;
    struct note why;
    service_start(&opt);
    opt.port = service.port;
    assert_int_equal(http_server_new(&s, &opt, &why), IO_ERROR);
    assert_non_null(strstr(why.text, "in use"));
    opt.port = 0;
    opt.host = "no.such.host.invalid";
    assert_int_equal(http_server_new(&s, &opt, &why), BAD_INPUT);
    opt.host = NULL;
    opt.tls_key_file = "Makefile";
    assert_int_equal(http_server_new(&s, &opt, &why), BAD_INPUT);
    assert_string_equal(why.text, "TLS needs both a key file and a certificate file");
    opt.tls_cert_file = "no/such/file";
    assert_int_equal(http_server_new(&s, &opt, &why), NOT_FOUND);
    opt.tls_cert_file = "Makefile";
    assert_int_equal(http_server_new(&s, &opt, &why), BAD_INPUT);
    opt.tls_key_file = opt.tls_cert_file = NULL;
    opt.n_connection_max = 1;
    assert_int_equal(http_server_new(&s, &opt, &why), BAD_INPUT);
    assert_null(s);
}

/* Whichever allocation of a request fails: it is answered, refused or cut off, and the next one is served. */
static void memory_may_run_out(void **state)
{
    (void)state;
    static const char *const asked[] = {
        "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "GET /tell/name?q=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /streamed HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    };
    for (int i = 0; i < 4; i++) {
        uint64_t k = 1;
        for (bool all = false; !all; k++) {
            int fd = client_connect(service.port);
            mem_fail_at(k);
            client_send(fd, asked[i]);
            assert_true(client_byte(fd) == 'H' || k < 16);
            while (client_byte(fd) >= 0)
                ;
            close(fd);
            service_wait_closed();
            all = mem_fail_count() < k;
        }
        assert_in_range(k, 6, 20);
        mem_fail_at(0);
        service_expect("GET /tell HTTP/1.1\r\nHost: h\r\n\r\n", 200, NULL);
    }
}

static void write_key(const char *key_file, const char *cert_file)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    FILE *key_out = fopen(key_file, "w"), *cert_out = fopen(cert_file, "w");
    assert_true(key && cert && key_out && cert_out);
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(PEM_write_X509(cert_out, cert), 1);
    fclose(key_out), fclose(cert_out);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void speaks_tls(void **state)
{
    (void)state;
    char folder[] = "/tmp/akvifer-tls-XXXXXX", key[64], cert[64], command[256], text[256] = "";
    assert_non_null(mkdtemp(folder));
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    write_key(key, cert);
    struct http_options opt = service_options();
    opt.tls_key_file = key;
    opt.tls_cert_file = cert;
    service_start(&opt);
    snprintf(command, sizeof command,
             "curl -sS --http1.1 --cacert %s https://localhost:%u/streamed "
             "https://localhost:%u/tell?q=tls -A me 2>&1",
             cert, service.port, service.port);
    FILE *curl = popen(command, "r");
    size_t n = fread(text, 1, sizeof text - 1, curl);
    text[n] = 0;
    assert_int_equal(pclose(curl), 0);
    assert_string_equal(text, "data: a\n\nGET|/tell||tls|me|127.0.0.1");
    unlink(key), unlink(cert), rmdir(folder);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, service_setup, service_teardown)
#define OWN(f) cmocka_unit_test_teardown(f, service_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stop_waits_for_open_answers),
        TEST(requests_outlive_the_server),
        TEST(many_connections_at_once),
        TEST(leaving_races_with_answers),
        OWN(says_why_it_cannot_start),
        TEST(memory_may_run_out),
        OWN(speaks_tls),
    };
    return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
