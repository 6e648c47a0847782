/* akvifer serve and its KV: why a prompt missed, a policy of a request's own, episodes of a chat. */
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

static void a_miss_is_explained(void **state)
{
    (void)state;
    json_decref(served_json(&server, NULL, "/v1/completions",
                            "{\"prompt\": \"Water that lies under the ground\", " GREEDY "}", 200));
    json_t *e = served_json(&server, NULL, "/v1/cache/explain",
                            "{\"prompt\": \"Water that lies on the ground, and more\"}", 200);
    expect_text(e, "reason", "diverged");
    assert_int_equal(json_number_at(e, "at"), json_number_at(e, "cached_tokens"));
    assert_non_null(strstr(json_string_value(json_at(e, "prompt_text")), " on the ground"));
    assert_non_null(strstr(json_string_value(json_at(e, "cached_text")), " under the ground"));
    json_decref(e);
    e = served_json(&server, NULL, "/v1/cache/explain",
                    "{\"prompt\": \"Zebras\", \"cache_salt\": \"new\"}", 200);
    expect_text(e, "reason", "cold");
    json_decref(e);
}

/* Eighty ids, of which a policy keeps some. */
#define IDS_80                                                                                     \
    "[[504, 3575, 282, 4649, 314, 7042, 284, 260, 504, 3575, 282, 4649, 314, 7042, 284, 260, "     \
    "504, 3575, 282, 4649, 314, 7042, 284, 260, 504, 3575, 282, 4649, 314, 7042, 284, 260, "       \
    "504, 3575, 282, 4649, 314, 7042, 284, 260, 504, 3575, 282, 4649, 314, 7042, 284, 260, "       \
    "504, 3575, 282, 4649, 314, 7042, 284, 260, 504, 3575, 282, 4649, 314, 7042, 284, 260, "       \
    "504, 3575, 282, 4649, 314, 7042, 284, 260, 504, 3575, 282, 4649, 314, 7042, 284, 260]]"

/* Keys of `kv` in a request about those ids, and what comes of it. */
static json_t *ask_with_policy(const char *kv, unsigned status)
{
    struct buf body = { 0 };
    buf_addf(&body, "{\"prompt\": " IDS_80 ", " GREEDY ", \"kv\": %s}", kv);
    json_t *answer = served_json(&server, NULL, "/v1/completions", buf_text(&body), status);
    buf_close(&body);
    return answer;
}

static void a_request_has_its_kv_policy(void **state)
{
    (void)state;
    json_t *a = ask_with_policy("{\"policy\": \"h2o\", \"budget_tokens\": 32, \"recent\": 8}", 200);
    assert_non_null(strstr(json_string_value(json_at(a, "akvifer/kv/policy")),
                           "h2o:budget=32,sinks=4,recent=8"));
    expect_text(a, "akvifer/kv/shares", "equal");
    assert_int_equal(json_number_at(a, "akvifer/kv/kept_tokens"), 32);
    assert_int_equal(json_number_at(a, "akvifer/kv/dropped_tokens"), 80 + 11 - 32);
    json_decref(a);
    a = ask_with_policy("\"window:budget=100%\"", 200);
    json_t *whole = ask_with_policy("{\"policy\": \"full\"}", 200);
    assert_int_equal(json_number_at(a, "akvifer/kv/dropped_tokens"), 0);
    expect_text(whole, "akvifer/kv/policy", "full");
    assert_null(json_at(whole, "akvifer/kv/shares"));
    assert_int_equal(json_number_at(whole, "akvifer/kv/kept_tokens"), 80 + 11);
    assert_int_equal(json_number_at(whole, "akvifer/kv/dropped_tokens"), 0);
    assert_true(json_number_at(whole, "akvifer/kv/peak_bytes") > 0);
    expect_text(whole, "choices/0/text", json_string_value(json_at(a, "choices/0/text")));
    json_decref(a);
    json_decref(whole);
    a = ask_with_policy("{\"policy\": \"quest\", \"budget_tokens\": 32, \"dense\": 0}", 200);
    assert_int_equal(json_number_at(a, "akvifer/kv/dropped_tokens"), 0);
    assert_int_equal(json_number_at(a, "akvifer/kv/read_tokens"), 32);
    assert_int_equal(json_number_at(a, "akvifer/kv/of_tokens"), 86); // of 81 to 91
    assert_true(json_number_at(a, "akvifer/kv/book_bytes") > 0);
    json_decref(a);
    a = ask_with_policy("{\"policy\": \"sentencekv\", \"budget_tokens\": 20, \"keep_factor\": 2, "
                        "\"recent\": 4, \"window\": 4}",
                        200);
    assert_int_equal(json_number_at(a, "akvifer/kv/dropped_tokens"), 40); // of the prompt's 80
    assert_int_equal(json_number_at(a, "akvifer/kv/read_tokens"), 20);
    assert_in_range(json_number_at(a, "akvifer/kv/of_tokens"), 41, 51);
    json_decref(a);
    a = ask_with_policy("{\"policy\": \"hh2o\"}", 400);
    expect_text(a, "error/param", "kv");
    assert_non_null(strstr(json_string_value(json_at(a, "error/message")), "did you mean 'h2o'"));
    json_decref(a);
    json_decref(ask_with_policy("{\"policy\": \"h2o\", \"budget_tokens\": \"x\"}", 400));
    a = ask_with_policy("{\"policy\": \"auto\", \"context\": 81}", 400);
    expect_text(a, "error/param", "kv");
    expect_text(a, "error/message", "kv.context is 81 tokens, but the prompt has 80");
    json_decref(a);
    a = ask_with_policy("{\"policy\": \"h2o:recent=1\", \"recent\": 2}", 400);
    expect_text(a, "error/param", "kv");
    expect_text(a, "error/message", "recent is given twice");
    json_decref(a);
    json_decref(ask_with_policy("7", 400));
    assert_true(served_metric(&server, "akvifer_kv_evictions_total{reason=\"policy\"}") > 0);
    assert_true(served_metric(&server, "akvifer_kv_bytes{class=\"kept\"}") ==
                0); /* all have ended */
}

/* Of a chat of n questions, each answered but the last. */
static json_t *ask_a_chat(uint32_t n, const char *last)
{
    static const char *const topic[] = { "a train from Leeds to York at nine",
                                         "a dentist for my tooth on Monday" };
    struct buf body = { 0 };
    buf_add_text(&body, "{\"messages\": [");
    for (uint32_t i = 0; i < n; i++)
        buf_addf(&body,
                 "{\"role\": \"user\", \"content\": \"I need %s, please, %u.\"}, "
                 "{\"role\": \"assistant\", \"content\": \"I found %s.\"}, ",
                 topic[i / 3 % 2], i, topic[i / 3 % 2]);
    buf_addf(&body,
             "{\"role\": \"user\", \"content\": \"%s\"}], \"max_tokens\": 4, \"temperature\": 0, "
             "\"kv\": {\"policy\": \"epicache\", \"budget_tokens\": 80, \"block\": 64, "
             "\"episodes\": 2, \"segment\": 2}}",
             last);
    json_t *answer = served_json(&server, NULL, "/v1/chat/completions", buf_text(&body), 200);
    buf_close(&body);
    return answer;
}

static void a_chat_has_episodes(void **state)
{
    (void)state;
    json_t *train = ask_a_chat(9, "When is my train to York?"),
           *tooth = ask_a_chat(9, "Which day is the dentist?"),
           *again = ask_a_chat(9, "When is my train to York?"), *brief = ask_a_chat(1, "Hello?");
    assert_int_equal(json_number_at(train, "akvifer/kv/episodes"), 2);
    assert_int_not_equal(json_number_at(train, "akvifer/kv/episode"),
                         json_number_at(tooth, "akvifer/kv/episode"));
    assert_int_equal(json_number_at(train, "akvifer/kv/episode"),
                     json_number_at(again, "akvifer/kv/episode"));
    const double near = json_real_value(json_at(train, "akvifer/kv/similarity"));
    assert_true(near > 0 && near <= 1.0001);
    assert_true(json_number_at(train, "akvifer/kv/dropped_tokens") > 0);
    assert_true(json_number_at(again, "akvifer/cached_tokens") > 80);
    assert_string_equal(json_string_value(json_at(train, "choices/0/message/content")),
                        json_string_value(json_at(again, "choices/0/message/content")));
    assert_null(json_at(brief, "akvifer/kv/episode")); /* there is nothing to divide yet */
    json_decref(train);
    json_decref(tooth);
    json_decref(again);
    json_decref(brief);
}

static void rows_are_of_a_running_request(void **state)
{
    static const char *const none[] = { "x", "-1", "987654321", "99999999999999999999" };
    char path[64];
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        snprintf(path, sizeof path, "/v1/kv/rows/%s", none[i]);
        json_t *a = served_json(&server, NULL, path, NULL, 404);
        assert_non_null(strstr(json_string_value(json_at(a, "error/message")), none[i]));
        json_decref(a);
    }
}

static int open_server(void **state)
{
    (void)state;
    curl_global_init(CURL_GLOBAL_ALL);
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "512"));
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
        cmocka_unit_test(a_miss_is_explained),
        cmocka_unit_test(a_request_has_its_kv_policy),
        cmocka_unit_test(a_chat_has_episodes),
        cmocka_unit_test(rows_are_of_a_running_request),
    };
    return cmocka_run_group_tests_name("serve_kv", tests, open_server, close_server);
}
