/* akvifer serve with two keys: a tenant each, and beginnings that they share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "support/served.h"

static struct served server;

#define GREEDY "\"temperature\": 0, \"max_tokens\": 12"

static void each_key_is_a_tenant(void **state)
{
    static const char body[] = "{\"prompt\": [500, 501, 502, 503, 504, 505], " GREEDY "}";
    (void)state;
    json_decref(served_json(&server, NULL, "/v1/completions", body, 401));
    json_decref(served_json(&server, "eve", "/v1/models", NULL, 401));
    json_decref(served_json(&server, "alice", "/v1/completions", body, 200));
    json_t *again = served_json(&server, "alice", "/v1/completions", body, 200);
    json_t *other = served_json(&server, "bob", "/v1/completions", body, 200);
    assert_int_equal(json_number_at(again, "usage/prompt_tokens_details/cached_tokens"), 5);
    assert_int_equal(json_number_at(other, "usage/prompt_tokens_details/cached_tokens"), 0);
    expect_text(other, "akvifer/cache_miss", "cold");
    expect_text(other, "choices/0/text", json_string_value(json_at(again, "choices/0/text")));
    json_decref(again);
    json_decref(other);
}

#define ABOUT_WATER                                                                                \
    "You answer questions about water in the ground: what an aquifer is, how long it keeps what "  \
    "rains in, who may draw from it and how much, and what a well must be like. You answer in "    \
    "one sentence, in plain words, you never guess, and you say so where you do not know. Where "  \
    "a question is about something else you say that this is not your subject, and stop there."

/* A chat whose first message is public. */
static json_t *ask_about_water(const char *path, const char *key, const char *question, int n)
{
    char body[1024];
    snprintf(body, sizeof body,
             "{\"messages\": [{\"role\": \"system\", \"content\": \"" ABOUT_WATER
             "\"}, {\"role\": \"user\", \"content\": \"%s\"}], \"cache_public\": %d, " GREEDY "}",
             question, n);
    return served_json(&server, key, path, body, 200);
}

static void a_public_beginning_is_everybodys(void **state)
{
    (void)state;
    json_decref(ask_about_water("/v1/chat/completions", "alice", "Is it wet?", 1));
    json_t *other = ask_about_water("/v1/chat/completions", "bob", "Is it wet?", 1);
    assert_int_equal(json_number_at(other, "akvifer/cached_tokens"), 64);
    assert_true(json_is_true(json_at(other, "akvifer/cached_public")));
    json_decref(other);
    json_t *e = ask_about_water("/v1/cache/explain", "bob", "Is it deep?", 0);
    assert_true(json_number_at(e, "cached_tokens") >= 64); /* its own by now */
    assert_true(json_is_false(json_at(e, "cached_public")));
    assert_int_equal(json_number_at(e, "key/public_tokens"), 0);
    json_decref(e);
    e = ask_about_water("/v1/cache/explain", "alice", "Is it deep?", 1);
    assert_int_equal(json_number_at(e, "key/public_tokens"), 64);
    expect_text(e, "key/tenant", "key-1");
    json_decref(e);
}

static void wrong_public_beginnings_get_words(void **state)
{
    static const char *const body[] = {
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"cache_public\": 2}",
        "{\"prompt\": \"abc\", \"cache_public\": \"b\"}",
        "{\"prompt\": \"abc\", \"cache_public\": 1}",
        "{\"prompt\": [1, 2], \"cache_public\": 3}",
        "{\"prompt\": [1, 2], \"cache_public\": \"a\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof body / sizeof *body; i++) {
        json_t *error = served_json(&server, "alice",
                                    i ? "/v1/completions" : "/v1/chat/completions", body[i], 400);
        expect_text(error, "error/param", "cache_public");
        json_decref(error);
    }
}

static int open_server(void **state)
{
    (void)state;
    curl_global_init(CURL_GLOBAL_ALL);
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "512", "--api-key", "alice",
                               "--api-key", "bob"));
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    served_close(&server);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_is_a_tenant),
        cmocka_unit_test(a_public_beginning_is_everybodys),
        cmocka_unit_test(wrong_public_beginnings_get_words),
    };
    return cmocka_run_group_tests_name("serve_tenants", tests, open_server, close_server);
}
