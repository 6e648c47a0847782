/* http/server: answers that come later, streams, and clients that leave, over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/sse.h"
#include "os/clock.h"
#include "support/http_service.h"

static void late_answers_come_from_any_thread(void **state)
{
    (void)state;
    struct reply r;
    int fd = client_connect(service.port);
    for (int i = 0; i < 10; i++) {
        client_send(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        struct http_request *req = service_take();
        if (i % 2)
            usleep(2000); // the connection sleeps by then
        assert_false(http_gone(req));
        service_answer(req, "late");
        client_read(fd, &r, false);
        assert_string_equal(buf_text(&r.body), "late");
        reply_close(&r);
    }
    close(fd);
    assert_int_equal(service.n_gone, 0);
}

static void streams_are_written_from_any_thread(void **state)
{
    (void)state;
    struct reply r;
    struct buf want = { 0 };
    int fd = client_connect(service.port);
    client_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *req = service_take();
    for (int i = 0; i < 200; i++) {
        char event[64];
        int n = snprintf(event, sizeof event, "data: %d\n\n", i);
        buf_add(&want, event, (size_t)n);
        assert_int_equal(http_stream_write(req, event, (size_t)n), OK);
        if (i % 10 == 0)
            usleep(500);
    }
    http_stream_end(req);
    client_read(fd, &r, false);
    assert_false(r.cut);
    assert_string_equal(reply_header(&r, "Content-Type"), SSE_TYPE);
    assert_string_equal(buf_text(&r.body), want.bytes);
    reply_close(&r);
    buf_close(&want);
    client_send(fd, "GET /tell HTTP/1.1\r\nHost: h\r\n\r\n"); // the connection is still good
    client_read(fd, &r, false);
    assert_int_equal(r.status, 200);
    reply_close(&r);
    close(fd);
    service_expect("GET /streamed HTTP/1.0\r\n\r\n", 200, "data: a\n\n");
}

static void aborted_streams_are_seen_to_be(void **state)
{
    (void)state;
    struct reply r;
    int fd = client_connect(service.port);
    client_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *req = service_take();
    http_stream_abort(req);
    client_read(fd, &r, false);
    assert_true(r.cut || r.status == 0); // within the body, or before its head was sent
    reply_close(&r);
    close(fd);
}

static void silent_streams_ping(void **state)
{
    (void)state;
    int fd = client_connect(service.port);
    client_send(fd, "GET /stream?ping=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *req = service_take();
    usleep(1200000);
    http_stream_end(req);
    struct reply r;
    client_read(fd, &r, false);
    assert_true(r.body.len >= 2 * strlen(SSE_PING));
    assert_memory_equal(r.body.bytes, SSE_PING SSE_PING, 2 * strlen(SSE_PING));
    reply_close(&r);
    close(fd);
}

/* R4: a client that does not read fills the buffer; the writer learns it and goes on when it reads. */
static void slow_readers_fill_a_bounded_buffer(void **state)
{
    (void)state;
    char piece[1024];
    memset(piece, 'x', sizeof piece);
    int fd = client_connect(service.port);
    int small = 1 << 16;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *req = service_take();
    size_t written = 0;
    int refused = 0;
    while (refused < 50) {
        enum status st = http_stream_write(req, piece, sizeof piece);
        assert_true(st == OK || st == FULL);
        if (st == OK)
            written += sizeof piece;
        else if (++refused)
            usleep(2000);
        assert_true(written < 64 << 20);
    }
    http_stream_end(req); // what waits is still delivered
    struct reply r;
    client_read(fd, &r, false);
    assert_false(r.cut);
    assert_int_equal(r.body.len, written);
    reply_close(&r);
    close(fd);
    assert_int_equal(service.n_gone, 0);
}

static void readers_that_stop_are_dropped(void **state)
{
    (void)state;
    struct http_options opt = service_options();
    opt.idle_ms = 1000;
    service_start(&opt);
    char piece[4096];
    memset(piece, 'x', sizeof piece);
    int fd = client_connect(service.port);
    client_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *req = service_take();
    enum status st;
    const uint64_t begin = os_now_ns();
    while ((st = http_stream_write(req, piece, sizeof piece)) != CANCELED) {
        if (st == FULL)
            usleep(5000);
        assert_true(os_now_ns() - begin < 8000000000u);
    }
    service_wait_gone(1);
    http_stream_end(req);
    close(fd);
}

/* R3, for a pending answer and for a silent stream; reset or closed. */
static void disconnects_are_noticed_at_once(void **state)
{
    (void)state;
    static const char *const path[] = { "/hold", "/stream" };
    for (int i = 0; i < 4; i++) {
        char text[64];
        int fd = client_connect(service.port);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path[i % 2]);
        client_send(fd, text);
        struct http_request *req = service_take();
        usleep(20000);
        assert_false(http_gone(req));
        if (i >= 2) {
            struct linger now = { 1, 0 };
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        const uint64_t begin = os_now_ns();
        close(fd);
        service_wait_gone(1);
        assert_true(os_now_ns() - begin < 250000000);
        assert_true(http_gone(req));
        if (i % 2) {
            assert_int_equal(http_stream_write(req, "x", 1), CANCELED);
            http_stream_end(req);
        } else {
            service_answer(req, "nobody");
        }
    }
    service_wait_closed();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, service_setup, service_teardown)
#define OWN(f) cmocka_unit_test_teardown(f, service_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(late_answers_come_from_any_thread),  TEST(streams_are_written_from_any_thread),
        TEST(aborted_streams_are_seen_to_be),     TEST(silent_streams_ping),
        TEST(slow_readers_fill_a_bounded_buffer), OWN(readers_that_stop_are_dropped),
        TEST(disconnects_are_noticed_at_once),
    };
    return cmocka_run_group_tests_name("http streams", tests, NULL, NULL);
}
