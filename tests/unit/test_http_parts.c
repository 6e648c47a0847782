/* http/: the parts that need no socket: targets, the guard, events, routes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "http/guard.h"
#include "http/router.h"
#include "http/sse.h"
#include "http/target.h"

static void expect_path(const char *target, const char *path)
{
    struct http_target t;
    struct note why = { "" };
    enum status st = http_target_open(&t, target, &why);
    if (path) {
        assert_int_equal(st, OK);
        assert_string_equal(http_target_path(&t), path);
    } else {
        assert_int_equal(st, BAD_INPUT);
        assert_true(why.text[0]);
    }
    http_target_close(&t);
}

static void paths_are_decoded_strictly(void **state)
{
    (void)state;
    expect_path("/", "/");
    expect_path("/v1/models/a%2Fb%20c", "/v1/models/a/b c");
    expect_path("/gr%C3%BC%c3%9fe", "/grüße");
    expect_path("http://host:80/x?y", "/x");
    expect_path("HTTPS://host", "/");
    expect_path("http://host?q=1", "/");
    expect_path("*", "*");
    expect_path("/a//b/.c/d..", "/a//b/.c/d..");
    static const char *const bad[] = {
        "",       "x",       "?a",   "/%",        "/%4",    "/%zz",     "/%00",  "/a%0ab",
        "/a\x7f", "/a b",    "/a#b", "/\xc3\xbc", "/%ff",   "/%c3",     "/..",   "/a/../b",
        "/a/.",   "/%2e%2E", "**",   "/a?b=%0",   "/a?%00", "/?a=\x01", "/a\\b", "/<",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_path(bad[i], NULL);
}

static void queries_are_pairs(void **state)
{
    (void)state;
    struct http_target t;
    assert_int_equal(http_target_open(&t, "/p?a=1&b=x+y%26z&&c&=d&a=2&e==", NULL), OK);
    assert_string_equal(http_target_path(&t), "/p");
    assert_string_equal(http_target_query(&t, "a"), "1");
    assert_string_equal(http_target_query(&t, "b"), "x y&z");
    assert_string_equal(http_target_query(&t, "c"), "");
    assert_string_equal(http_target_query(&t, ""), "d");
    assert_string_equal(http_target_query(&t, "e"), "=");
    assert_null(http_target_query(&t, "A"));
    http_target_close(&t);

    struct buf many = { 0 };
    buf_add_text(&many, "/?");
    for (int i = 0; i < HTTP_QUERY_MAX; i++)
        buf_add_text(&many, "a=b&");
    assert_int_equal(http_target_open(&t, many.bytes, NULL), OK);
    http_target_close(&t);
    buf_add_text(&many, "c");
    assert_int_equal(http_target_open(&t, many.bytes, NULL), BAD_INPUT);
    http_target_close(&t);
    buf_close(&many);
}

/* One head: three headers at most, "" for none. */
static unsigned guarded(const char *line, const char *a, const char *b, const char *c)
{
    static char text[4][64];
    char version[16], method[16], target[32];
    struct http_field field[3];
    struct http_head head = {
        .method = method, .target = target, .version = version, .field = field
    };
    struct note why = { "" };
    assert_int_equal(sscanf(line, "%15s %31s %15s", method, target, version), 3);
    const char *all[] = { a, b, c };
    for (int i = 0; i < 3; i++) {
        if (!all[i][0])
            continue;
        snprintf(text[i], sizeof text[i], "%s", all[i]);
        char *colon = strchr(text[i], ':');
        *colon = 0;
        field[head.n_field++] = (struct http_field){ text[i], colon + 1 };
    }
    unsigned status = http_guard_head(&head, 1000, &why);
    assert_int_equal(status != 0, why.text[0] != 0);
    return status;
}

static void guard_refuses_what_is_ambiguous(void **state)
{
    (void)state;
    const char *post = "POST /x HTTP/1.1", *host = "Host:h";
    static const struct {
        const char *line, *a, *b, *c;
        unsigned status;
    } heads[] = {
        { "GET /x HTTP/1.1", "Host:localhost:80", "", "", 0 },
        { "GET /x HTTP/1.1", "Host:[::1]:80", "Accept:*/*\t\xe9", "", 0 },
        { "GET /x HTTP/1.1", "Host:", "", "", 0 },
        { "GET /x HTTP/1.0", "", "", "", 0 },
        { "OPTIONS * HTTP/1.1", "Host:h", "", "", 0 },
        { "GET * HTTP/1.1", "Host:h", "", "", 400 },
        { "GET /x HTTP/1.1", "", "", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", "host:h", "", 400 },
        { "GET /x HTTP/1.0", "Host:h", "host:h", "", 400 },
        { "GET /x HTTP/1.1", "Host:a b", "", "", 400 },
        { "GET /x HTTP/1.1", "Host:a/b", "", "", 400 },
        { "GET /x HTTP/1.2", "Host:h", "", "", 505 },
        { "G(T /x HTTP/1.1", "Host:h", "", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", "A:\x01", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", "A:b\rc", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", "A:\x7f", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", "A b:c", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", "A\t:c", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", ":c", "", 400 },
        { "GET /x HTTP/1.1", "Host:h", "Expect:100-Continue", "", 0 },
        { "GET /x HTTP/1.1", "Host:h", "Expect:tea", "", 417 },
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        assert_int_equal(guarded(heads[i].line, heads[i].a, heads[i].b, heads[i].c),
                         heads[i].status);
    assert_int_equal(guarded(post, host, "Content-Length:1000", ""), 0);
    assert_int_equal(guarded(post, host, "Content-Length:1001", ""), 413);
    assert_int_equal(guarded(post, host, "Content-Length:9999999999999999999", ""), 413);
    assert_int_equal(guarded(post, host, "Content-Length:18446744073709551617", ""), 400);
    assert_int_equal(guarded(post, host, "Content-Length:", ""), 400);
    assert_int_equal(guarded(post, host, "Content-Length:+5", ""), 400);
    assert_int_equal(guarded(post, host, "Content-Length:5 ", ""), 400);
    assert_int_equal(guarded(post, host, "Content-Length:5,5", ""), 400);
    assert_int_equal(guarded(post, host, "Content-Length:0x5", ""), 400);
    assert_int_equal(guarded(post, host, "Content-Length:5", "content-length:5"), 400);
    assert_int_equal(guarded(post, host, "Content-Length:5", "Transfer-Encoding:chunked"), 400);
    assert_int_equal(guarded(post, host, "Transfer-Encoding:Chunked", ""), 0);
    assert_int_equal(guarded(post, host, "Transfer-Encoding:gzip, chunked", ""), 501);
    assert_int_equal(guarded(post, host, "Transfer-Encoding:chunked ", ""), 501);
    assert_int_equal(guarded(post, host, "Transfer-Encoding:chunked", "Transfer-Encoding:x"), 400);
    assert_int_equal(guarded("POST /x HTTP/1.0", "Transfer-Encoding:chunked", "", ""), 400);
}

static void guard_wants_bodies_as_they_are(void **state)
{
    static const char post[] = "POST /x HTTP/1.1", host[] = "Host:h";
    (void)state;
    assert_int_equal(guarded(post, host, "Content-Length:5", "Content-Encoding:gzip"), 415);
    assert_int_equal(guarded(post, host, "Content-Length:5", "content-encoding:Deflate"), 415);
    assert_int_equal(guarded(post, host, "Content-Length:5", "Content-Encoding:identity"), 0);
    assert_int_equal(guarded(post, host, "Content-Length:5", "Content-Encoding:"), 0);
}

static void guard_has_bounds(void **state)
{
    (void)state;
    static char target[HTTP_TARGET_MAX + 2], value[HTTP_HEAD_MAX + 1];
    static struct http_field field[HTTP_FIELDS_MAX + 1] = { { "Host", "h" } };
    struct http_head head = { "GET", "/", "HTTP/1.1", field, HTTP_FIELDS_MAX };
    struct note why;
    for (int i = 1; i <= HTTP_FIELDS_MAX; i++)
        field[i] = (struct http_field){ "A", "b" };
    assert_int_equal(http_guard_head(&head, 0, &why), 0);
    head.n_field++;
    assert_int_equal(http_guard_head(&head, 0, &why), 431);
    head.n_field = 2;
    memset(value, 'v', sizeof value - 1);
    field[1].value = value;
    assert_int_equal(http_guard_head(&head, 0, &why), 431);
    value[HTTP_HEAD_MAX - 6] = 0;
    assert_int_equal(http_guard_head(&head, 0, &why), 0);
    memset(target, '/', sizeof target - 1);
    head.target = target;
    assert_int_equal(http_guard_head(&head, 0, &why), 414);
    head.target = target + 1;
    assert_int_equal(http_guard_head(&head, 0, &why), 0);
}

static void events_keep_their_lines(void **state)
{
    (void)state;
    struct buf out = { 0 };
    sse_add_event(&out, NULL, "{\"a\":1}", 7);
    assert_string_equal(out.bytes, "data: {\"a\":1}\n\n");
    buf_clear(&out);
    sse_add_event(&out, "delta", "a\nb\r\nc\rd\n", 9);
    assert_string_equal(out.bytes, "event: delta\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
    buf_clear(&out);
    sse_add_event(&out, NULL, "", 0);
    assert_string_equal(out.bytes, "data: \n\n");
    buf_clear(&out);
    sse_add_comment(&out, "ping");
    assert_string_equal(out.bytes, SSE_PING);
    buf_clear(&out);
    sse_add_comment(&out, "a\ndata: b");
    assert_string_equal(out.bytes, ": a\n\n");
    buf_close(&out);
}

static void routes_fit_whole_paths(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path, *name; // NULL: it does not fit
    } cases[] = {
        { "/a", "/a", "" },
        { "/a", "/a/", NULL },
        { "/a", "/ab", NULL },
        { "/a/{x}", "/a/b", "b" },
        { "/a/{x}", "/a/", NULL },
        { "/a/{x}", "/a/b/c", NULL },
        { "/a/{x}/z", "/a/b/z", "b" },
        { "/a/{x}/z", "/a/b", NULL },
        { "/a/{x}/z", "/a//z", NULL },
        { "/a/{x*}", "/a/b/c", "b/c" },
        { "/a/{x*}", "/a/", NULL },
        { "/a/{x}", "/b/c", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name;
        size_t len;
        bool fits = http_route_fits(cases[i].pattern, cases[i].path, &name, &len);
        assert_int_equal(fits, cases[i].name != NULL);
        if (!fits)
            continue;
        assert_int_equal(len, strlen(cases[i].name));
        assert_true(len == 0 || memcmp(name, cases[i].name, len) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_decoded_strictly),
        cmocka_unit_test(queries_are_pairs),
        cmocka_unit_test(guard_refuses_what_is_ambiguous),
        cmocka_unit_test(guard_wants_bodies_as_they_are),
        cmocka_unit_test(guard_has_bounds),
        cmocka_unit_test(events_keep_their_lines),
        cmocka_unit_test(routes_fit_whole_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
