/* A request whose policy reads a history before it starts keeps no other client waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "support/http_client.h"
#include "support/served.h"

enum { N_TURN = 24 };

/* A chat that is read once by the model itself, turn by turn, before its request is submitted (embed=self). */
static void long_chat(struct buf *out, const char *path)
{
    static const char *const topic[] = { "a train to York", "a dentist on Monday",
                                         "two concert tickets" };
    struct buf body = { 0 };
    buf_add_text(&body, "{\"messages\": [");
    for (uint32_t i = 0; i < N_TURN; i++)
        buf_addf(
            &body,
            "{\"role\": \"user\", \"content\": \"Number %u: I should like to have %s, please, and "
            "soon.\"}, "
            "{\"role\": \"assistant\", \"content\": \"I have found %s for you, number %u.\"}, ",
            i, topic[i % 3], topic[i % 3], i);
    buf_add_text(&body, "{\"role\": \"user\", \"content\": \"And my train?\"}], \"max_tokens\": 2, "
                        "\"kv\": \"epicache:budget=256,block=128,embed=self\"}");
    buf_addf(out,
             "POST %s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             path, body.len, buf_text(&body));
    buf_close(&body);
}

/* One thread reads requests. It has read the first before it answers who asks next, to whom the engine has nothing to
 * do yet; `says` is in the first one's answer. */
static void ask_beside(const char *path, const char *says)
{
    struct served server = { 0 };
    struct buf ask = { 0 };
    struct reply reply = { 0 };
    long_chat(&ask, path);
    served_open(&server,
                WORDS("akvifer", "serve", "--port", "0", "-c", "4096", "--threads-http", "1"));
    const int first = client_connect((uint16_t)server.port);
    client_send_bytes(first, ask.bytes, ask.len);
    assert_true(served_metric(&server, "llamacpp:requests_processing") == 0);
    assert_true(served_metric(&server, "llamacpp:requests_deferred") == 0);
    client_read(first, &reply, false);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(buf_text(&reply.body), says));
    reply_close(&reply);
    close(first);
    served_close(&server);
    buf_close(&ask);
}

static void others_are_answered_meanwhile(void **state)
{
    (void)state;
    ask_beside("/v1/chat/completions", "\"episode\":");
}

static void an_explanation_waits_its_turn(void **state)
{
    (void)state;
    ask_beside("/v1/cache/explain", "\"reason\":\"cold\"");
}

/* Clients that leave before their turn comes are dropped, and the server ends as ever. */
static void who_left_is_dropped(void **state)
{
    struct served server = { 0 };
    struct buf ask = { 0 };
    (void)state;
    long_chat(&ask, "/v1/chat/completions");
    served_open(&server,
                WORDS("akvifer", "serve", "--port", "0", "-c", "4096", "--threads-http", "1"));
    for (int i = 0; i < 3; i++) {
        const int chat = client_connect((uint16_t)server.port);
        client_send_bytes(chat, ask.bytes, ask.len);
        close(chat);
    }
    json_decref(served_json(&server, NULL, "/health", NULL, 200));
    served_close(&server);
    buf_close(&ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_are_answered_meanwhile),
        cmocka_unit_test(an_explanation_waits_its_turn),
        cmocka_unit_test(who_left_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
