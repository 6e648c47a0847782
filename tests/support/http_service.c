#include "support/http_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "http/router.h"
#include "http/sse.h"
#include "os/clock.h"

struct http_service service = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void wait_changed(void)
{
    if (os_cond_wait_until(&service.changed, &service.lock,
                           os_now_ns() + CLIENT_SECONDS * 1000000000ull))
        fail_msg("nothing happened for %d s", CLIENT_SECONDS);
}

struct http_request *service_take(void)
{
    pthread_mutex_lock(&service.lock);
    while (service.n_held == 0 && !service.stop)
        wait_changed();
    struct http_request *req = service.n_held ? service.held[--service.n_held] : NULL;
    pthread_mutex_unlock(&service.lock);
    return req;
}

void service_wait_gone(uint32_t n)
{
    pthread_mutex_lock(&service.lock);
    while (service.n_gone < n)
        wait_changed();
    assert_int_equal(service.n_gone, n);
    service.n_gone = 0;
    pthread_mutex_unlock(&service.lock);
}

static void one_gone(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&service.lock);
    service.n_gone++;
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
}

static void hold(void *arg, struct http_request *req)
{
    (void)arg;
    http_on_gone(req, one_gone, NULL);
    pthread_mutex_lock(&service.lock);
    service.held[service.n_held++] = req;
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
}

void service_answer(struct http_request *req, const char *text)
{
    http_answer(req, 200, "text/plain", text, strlen(text), NULL, 0);
}

static void echo(void *arg, struct http_request *req)
{
    (void)arg;
    size_t len;
    const char *body = http_body(req, &len);
    http_answer(req, 200, "application/octet-stream", body, len, NULL, 0);
}

static void tell(void *arg, struct http_request *req)
{
    (void)arg;
    char text[256];
    const char *q = http_query(req, "q"), *agent = http_header(req, "user-AGENT");
    snprintf(text, sizeof text, "%s|%s|%s|%s|%s|%s", http_method(req), http_path(req),
             http_name(req), q ? q : "-", agent ? agent : "-", http_client(req));
    const struct http_field extra = { "X-Extra", "yes" };
    http_answer(req, 200, "text/plain", text, strlen(text), &extra, 1);
}

static void stream_hold(void *arg, struct http_request *req)
{
    http_stream_begin(req, 200, SSE_TYPE, NULL, 0);
    if (http_query(req, "ping"))
        http_stream_ping(req, 100, SSE_PING);
    hold(arg, req);
}

static void stream_now(void *arg, struct http_request *req)
{
    (void)arg;
    http_stream_begin(req, 200, SSE_TYPE, NULL, 0);
    if (http_stream_write(req, "data: a\n\n", 9) == OK)
        http_stream_end(req);
    else
        http_stream_abort(req);
}

static const struct http_route routes[] = {
    { "POST", "/echo", echo, NULL },         { "GET", "/tell", tell, NULL },
    { "GET", "/tell/{name}", tell, NULL },   { "GET", "/all/{name*}", tell, NULL },
    { "GET", "/hold", hold, NULL },          { "POST", "/hold", hold, NULL },
    { "GET", "/stream", stream_hold, NULL }, { "GET", "/streamed", stream_now, NULL },
};
static const struct http_router router = { routes, sizeof routes / sizeof *routes, NULL };

static void json_error(struct buf *out, unsigned status, const char *sentence)
{
    buf_addf(out, "{\"code\":%u,\"message\":", status);
    buf_add_json_text(out, sentence, strlen(sentence));
    buf_add_text(out, "}");
}

struct http_options service_options(void)
{
    return (struct http_options){ .n_thread = 2,
                                  .n_connection_max = 600,
                                  .body_bytes_max = 1 << 20,
                                  .stream_bytes_max = 1 << 16,
                                  .error_text = json_error,
                                  .error_type = "application/json",
                                  .handler = http_router_handle,
                                  .arg = (void *)(uintptr_t)&router };
}

void service_start(const struct http_options *opt)
{
    struct note why = { "" };
    if (!service.ready)
        os_cond_init(&service.changed);
    service.ready = true;
    if (http_server_new(&service.server, opt, &why) != OK)
        fail_msg("%s", why.text);
    service.port = http_server_port(service.server);
    assert_true(service.port);
}

int service_setup(void **state)
{
    (void)state;
    struct http_options opt = service_options();
    service_start(&opt);
    return 0;
}

int service_teardown(void **state)
{
    (void)state;
    http_server_free(service.server);
    service.server = NULL;
    service.n_held = service.n_gone = 0;
    return 0;
}

void service_expect(const char *text, int status, const char *body)
{
    struct reply r;
    client_ask(service.port, text, &r);
    if (r.status != status || (body && strcmp(buf_text(&r.body), body) != 0))
        fail_msg("asked\n%s\nand got %d\n%s%s", text, r.status, buf_text(&r.head),
                 buf_text(&r.body));
    assert_false(r.cut);
    reply_close(&r);
}

void service_wait_closed(void)
{
    const uint64_t due = os_now_ns() + 5000000000u;
    while (http_server_counts(service.server).n_connection) {
        if (os_now_ns() > due)
            fail_msg("%u connections hang", http_server_counts(service.server).n_connection);
        usleep(1000);
    }
    assert_int_equal(http_server_counts(service.server).n_open, 0);
}

void *service_answer_all(void *arg)
{
    for (struct http_request *req; (req = service_take());) {
        if (strcmp(http_path(req), "/hold") == 0) {
            service_answer(req, "held");
            continue;
        }
        for (int k = 0; k < 3; k++)
            (void)!http_stream_write(req, "data: x\n\n", 9);
        http_stream_end(req);
    }
    return arg;
}

void service_end_answers(pthread_t answerer)
{
    pthread_mutex_lock(&service.lock);
    service.stop = true;
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
    pthread_join(answerer, NULL);
    service.stop = false;
    service.n_gone = 0;
}
