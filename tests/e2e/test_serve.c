/* akvifer serve as its clients meet it: answers whole and streamed, errors, sharing, leaving, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/served.h"

enum { N_CLIENT = 8 };

static struct served server;

/* ---- tests ---- */

#define GREEDY "\"temperature\": 0, \"max_tokens\": 12"

static void a_stream_says_what_an_answer_does(void **state)
{
    static const char whole[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"What is an aquifer?\"}], " GREEDY "}";
    static const char streamed[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", "
        "\"text\": \"What is an aquifer?\"}]}], " GREEDY
        ", \"stream\": true, \"stream_options\": {\"include_usage\": true}}";
    struct fetched r = { 0 };
    struct buf text = { 0 };
    (void)state;
    json_t *answer = served_json(&server, NULL, "/v1/chat/completions", whole, 200);
    expect_text(answer, "object", "chat.completion");
    expect_text(answer, "choices/0/message/role", "assistant");
    expect_text(answer, "choices/0/finish_reason", "length");
    assert_int_equal(json_number_at(answer, "usage/completion_tokens"), 12);

    served_fetch(&server, &r, NULL, "/v1/chat/completions", streamed);
    assert_int_equal(r.status, 200);
    char *rest = r.body.bytes, *line;
    unsigned n_usage = 0, n_done = 0;
    while ((line = strsep(&rest, "\n"))) {
        if (strncmp(line, "data: ", 6) != 0)
            continue;
        json_t *chunk = json_loads(line + 6, 0, NULL);
        n_done += strcmp(line, "data: [DONE]") == 0;
        const char *delta = json_string_value(json_at(chunk, "choices/0/delta/content"));
        buf_add_text(&text, delta ? delta : "");
        if (json_number_at(chunk, "usage/completion_tokens") == 12) {
            n_usage++;
            assert_int_equal(json_array_size(json_at(chunk, "choices")), 0);
            assert_true(json_number_at(chunk, "usage/prompt_tokens_details/cached_tokens") > 0);
        }
        json_decref(chunk);
    }
    assert_int_equal(n_usage, 1);
    assert_int_equal(n_done, 1);
    expect_text(answer, "choices/0/message/content", buf_text(&text));
    json_decref(answer);
    buf_close(&text);
    buf_close(&r.body);
}

/* What lm-evaluation-harness asks of a completion server. */
static void echoed_prompts_have_log_probabilities(void **state)
{
    (void)state;
    json_t *a =
        served_json(&server, NULL, "/v1/completions",
                    "{\"prompt\": [[504, 3575, 282, 4649], [504, 3575]], \"max_tokens\": 1, "
                    "\"temperature\": 0, \"logprobs\": 1, \"echo\": true}",
                    200);
    assert_int_equal(json_array_size(json_at(a, "choices")), 2);
    assert_int_equal(json_array_size(json_at(a, "choices/0/logprobs/tokens")), 5);
    assert_int_equal(json_array_size(json_at(a, "choices/1/logprobs/token_logprobs")), 3);
    assert_true(json_is_null(json_at(a, "choices/0/logprobs/token_logprobs/0")));
    assert_true(json_real_value(json_at(a, "choices/0/logprobs/token_logprobs/3")) < 0);
    assert_int_equal(json_number_at(a, "choices/0/logprobs/text_offset/0"), 0);
    assert_int_equal(json_number_at(a, "usage/prompt_tokens"), 6);
    json_decref(a);
}

static void wrong_requests_get_words(void **state)
{
    static const struct {
        const char *path, *body;
        long status;
        const char *param, *says;
    } wrong[] = {
        { "/v1/completions", "{\"prompt\": \"a\", \"temperature\": 300}", 400, "temperature",
          "from 0 to 100" },
        { "/v1/completions", "{\"prompt\": \"a\", \"top_p\": \"x\"}", 400, "top_p",
          "must be a number" },
        { "/v1/completions", "{\"prompt\": \"\"}", 400, "prompt", "no tokens" },
        { "/v1/completions", "{\"prompt\": [1, 99999999]}", 400, "prompt", "vocabulary" },
        { "/v1/completions", "{\"prompt\": \"a\"", 400, NULL, "JSON" },
        { "/v1/completions", "{\"prompt\": \"a\", \"model\": \"gpt-7\"}", 404, "model", "gpt-7" },
        { "/v1/completions", "{\"prompt\": \"a\", \"suffix\": \"b\"}", 501, "suffix",
          "not supported" },
        { "/v1/chat/completions", "{\"messages\": []}", 400, "messages", "at least one" },
        { "/v1/chat/completions",
          "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [{}]}", 501,
          "tools", "tool calls" },
        { "/v1/completions", "{\"prompt\": \"a\", \"prompt_logprobs\": 0}", 501, "prompt_logprobs",
          "not supported" },
        { "/v1/completions", "{\"prompt\": \"a\", \"skip_special_tokens\": false}", 501,
          "skip_special_tokens", "control tokens" },
        { "/completion", "{\"prompt\": \"a\", \"samplers\": [\"top_k\"]}", 501, "samplers",
          "order" },
        { "/completion", "{\"prompt\": \"a\", \"top_n_sigma\": 1}", 501, "top_n_sigma",
          "top-n-sigma" },
        { "/v1/completions", "{\"prompt\": [1, \"a\"]}", 400, "prompt", "vocabulary" },
        { "/v1/chat/completions",
          "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"stream\": true, "
          "\"stream_options\": {\"include_obfuscation\": true}}",
          501, "include_obfuscation", "padding" },
        { "/v1/completions", "{\"prompt\": \"a\", \"logit_bias\": {\"no\": 1}}", 400, "logit_bias",
          "'no'" },
        { "/v1/completions", "{\"prompt\": \"a\", \"logit_bias\": {\"+5\": 1}}", 400, "logit_bias",
          "'+5'" },
        { "/v1/completions", "{\"prompt\": \"a\", \"logit_bias\": {\"99999999\": 1}}", 400,
          "logit_bias", "'99999999'" },
        { "/completion", "{\"prompt\": \"a\", \"logit_bias\": [[\"no\", false]]}", 400,
          "logit_bias", "no" },
        { "/completion", "{\"prompt\": \"a\", \"logit_bias\": [7]}", 400, "logit_bias", "''" },
        { "/completion", "{\"prompt\": \"a\", \"logit_bias\": [[7, 101]]}", 400, "logit_bias",
          "token 7" },
        { "/apply-template", "{\"messages\": []}", 400, "messages", "at least one" },
        { "/v1/embeddings", "{}", 501, NULL, "not supported" },
        { "/tokenize", "{}", 400, "content", "missing" },
        { "/nothing", "{}", 404, NULL, "/nothing" },
        { "/health", "{}", 405, NULL, "allowed" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *e = served_json(&server, NULL, wrong[i].path, wrong[i].body, wrong[i].status);
        const char *message = json_string_value(json_at(e, "error/message"));
        if (!message || !strstr(message, wrong[i].says))
            fail_msg("%s %s: %s", wrong[i].path, wrong[i].body, message ? message : "no message");
        assert_true(json_is_string(json_at(e, "error/type")) && json_at(e, "error/code"));
        if (wrong[i].param)
            expect_text(e, "error/param", wrong[i].param);
        json_decref(e);
    }
}

/* Every path of /openapi.json is there, for each of its methods, and every request names its members. */
static void the_description_is_of_this_server(void **state)
{
    const char *path, *method, *name;
    json_t *operations, *operation, *schema;
    unsigned n = 0;
    (void)state;
    json_t *d = served_json(&server, NULL, "/openapi.json", NULL, 200);
    expect_text(d, "openapi", "3.1.0");
    json_object_foreach(json_object_get(d, "paths"), path, operations)
    {
        json_object_foreach(operations, method, operation)
        {
            struct fetched f = { 0 };
            const bool posts = strcmp(method, "post") == 0;
            const char *real = strstr(path, "{model}")  ? "/v1/models/smollm2"
                               : strstr(path, "{file}") ? "/page/page.css"
                                                        : path;
            if (strcmp(path, "/v1/kv/live") == 0) /* it streams for ever */
                f.leave_at = 1;
            served_fetch(&server, &f, NULL, real, posts ? "[]" : NULL);
            const bool absent = json_at(operation, "responses/501") != NULL;
            const bool nothing = strstr(path, "{sequence}"); /* none runs */
            assert_int_equal(f.status, absent ? 501 : nothing ? 404 : posts ? 400 : 200);
            assert_true(json_string_length(json_at(operation, "summary")) > 0);
            buf_close(&f.body);
            n++;
        }
    }
    assert_true(n > 20);
    json_object_foreach(json_at(d, "components/schemas"), name, schema)
        assert_true(json_is_object(schema) && json_object_size(schema) > 0);
    assert_int_equal(
        json_number_at(d, "components/schemas/ChatRequest/properties/temperature/maximum"), 100);
    json_decref(d);
}

static void a_prompt_too_long_is_told_both_numbers(void **state)
{
    struct buf body = { 0 };
    (void)state;
    buf_add_text(&body, "{\"prompt\": [");
    for (int i = 0; i < 600; i++)
        buf_addf(&body, "%s%d", i ? "," : "", 100 + i);
    buf_add_text(&body, "]}");
    json_t *e = served_json(&server, NULL, "/v1/completions", buf_text(&body), 400);
    assert_int_equal(json_number_at(e, "error/n_prompt_tokens"), 600);
    assert_int_equal(json_number_at(e, "error/n_ctx"), 512);
    expect_text(e, "error/code", "context_length_exceeded");
    json_decref(e);
    buf_close(&body);
}

/* ---- many at once ---- */

struct client {
    pthread_t thread;
    char body[4096];
    struct fetched reply;
};

static void *client_main(void *arg)
{
    struct client *c = arg;
    served_fetch(&server, &c->reply, NULL, "/v1/completions", c->body);
    return NULL;
}

/* Eight prompts that share 190 ids: the answers are those of each alone, and one of them computed the beginning. */
static void many_clients_share_a_prompt(void **state)
{
    static struct client client[N_CLIENT];
    (void)state;
    json_int_t cached = 0;
    for (int i = 0; i < N_CLIENT; i++) {
        struct buf b = { 0 };
        buf_add_text(&b, "{\"prompt\": [");
        for (int p = 0; p < 200; p++)
            buf_addf(&b, "%s%d", p ? "," : "", p < 190 ? 500 + p * 7 : 1000 + i * 50 + p);
        buf_addf(&b, "], \"max_tokens\": 8, \"seed\": %d, \"cache_salt\": \"many\"}", i);
        snprintf(client[i].body, sizeof client[i].body, "%s", buf_text(&b));
        buf_close(&b);
        assert_int_equal(pthread_create(&client[i].thread, NULL, client_main, &client[i]), 0);
    }
    for (int i = 0; i < N_CLIENT; i++)
        pthread_join(client[i].thread, NULL);
    for (int i = 0; i < N_CLIENT; i++) {
        assert_int_equal(client[i].reply.status, 200);
        json_t *got = json_loadb(client[i].reply.body.bytes, client[i].reply.body.len, 0, NULL);
        cached += json_number_at(got, "usage/prompt_tokens_details/cached_tokens");
        /* Alone, and cold: under a salt of its own. */
        char *salt = strstr(client[i].body, "many");
        snprintf(salt, 8, "s%d\"}", 100 + i);
        json_t *alone = served_json(&server, NULL, "/v1/completions", client[i].body, 200);
        assert_int_equal(json_number_at(alone, "usage/prompt_tokens_details/cached_tokens"), 0);
        expect_text(got, "choices/0/text", json_string_value(json_at(alone, "choices/0/text")));
        json_decref(alone);
        json_decref(got);
        buf_close(&client[i].reply.body);
    }
    assert_true(cached >= (N_CLIENT - 1) * 128);
}

/* What llama.cpp's tests and vLLM's dashboards ask for, and that each has its HELP and TYPE. */
static void dashboards_find_their_names(void **state)
{
    static const char *const names[] = {
        "llamacpp:prompt_tokens_total",
        "llamacpp:prompt_tokens_cached_total",
        "llamacpp:prompt_seconds_total",
        "llamacpp:tokens_predicted_total",
        "llamacpp:tokens_predicted_seconds_total",
        "llamacpp:n_decode_total",
        "llamacpp:n_tokens_max",
        "llamacpp:spec_decode_num_draft_tokens_total",
        "llamacpp:spec_decode_num_accepted_tokens_total",
        "llamacpp:spec_decode_num_drafts_total",
        "llamacpp:prompt_tokens_seconds",
        "llamacpp:predicted_tokens_seconds",
        "llamacpp:requests_processing",
        "llamacpp:requests_deferred",
        "llamacpp:n_busy_slots_per_decode",
        "vllm:e2e_request_latency_seconds",
        "vllm:time_to_first_token_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:request_prompt_tokens",
        "vllm:request_generation_tokens",
        "vllm:request_queue_time_seconds",
        "vllm:request_prefill_time_seconds",
        "vllm:request_decode_time_seconds",
        "vllm:request_inference_time_seconds",
        "vllm:request_max_num_generation_tokens",
        "vllm:iteration_tokens_total",
        "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_hits_total",
        "vllm:external_prefix_cache_queries_total",
        "vllm:external_prefix_cache_hits_total",
        "vllm:num_preemptions_total",
        "vllm:prompt_tokens_cached_total",
        "vllm:cache_config_info",
        "akvifer_kv_used_bytes",
        "akvifer_kv_cap_bytes",
        "akvifer_kv_blocks",
        "akvifer_kv_bytes",
        "akvifer_kv_evictions_total",
        "akvifer_kv_rows_read_total",
        "akvifer_kv_rows_there_total",
        "akvifer_kv_book_bytes",
        "akvifer_kv_mark_bytes",
        "akvifer_cache_hit_total",
        "akvifer_cache_miss_total",
        "akvifer_step_seconds_total",
        "akvifer_requests",
        "akvifer_http_connections",
    };
    struct fetched f = { 0 };
    (void)state;
    served_fetch(&server, &f, NULL, "/metrics", NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char line[128];
        snprintf(line, sizeof line, "# HELP %s ", names[i]);
        if (!strstr(buf_text(&f.body), line))
            fail_msg("no %s", names[i]);
        snprintf(line, sizeof line, "# TYPE %s ", names[i]);
        assert_non_null(strstr(buf_text(&f.body), line));
    }
    buf_close(&f.body);
    const double parts[] = { served_metric(&server, "akvifer_step_seconds_total{part=\"plan\"}"),
                             served_metric(&server, "akvifer_step_seconds_total{part=\"map\"}"),
                             served_metric(&server, "akvifer_step_seconds_total{part=\"forward\"}"),
                             served_metric(&server,
                                           "akvifer_step_seconds_total{part=\"sample\"}") };
    for (int i = 0; i < 4; i++)
        assert_true(parts[i] > 0);
    assert_true(parts[2] > parts[0] + parts[1]);
}

static void a_client_that_leaves_stops_its_answer(void **state)
{
    struct fetched r = { .leave_at = 600 };
    (void)state;
    served_fetch(
        &server, &r, NULL, "/v1/completions",
        "{\"prompt\": \"Once upon\", \"max_tokens\": 400, \"ignore_eos\": true, \"stream\": true}");
    buf_close(&r.body);
    for (int tries = 0;; tries++) {
        struct fetched m = { 0 };
        served_fetch(&server, &m, NULL, "/metrics", NULL);
        const bool idle = strstr(buf_text(&m.body), "llamacpp:requests_processing 0\n");
        const bool aborted = strstr(buf_text(&m.body), "finished_reason=\"abort\"} 1\n");
        buf_close(&m.body);
        if (idle && aborted)
            return;
        assert_true(tries < 100);
        usleep(50000);
    }
}

/* llama-server's mixed prompts; values that ask for nothing; members that change nothing. */
static void what_asks_for_nothing_is_let_through(void **state)
{
    (void)state;
    json_t *a = served_json(
        &server, NULL, "/completion",
        "{\"prompt\": [504, \" weight of\", 1913.0], \"n_predict\": 2, \"temperature\": 0, "
        "\"top_n_sigma\": -1.0, \"samplers\": [], \"mirostat\": 0, \"id_slot\": 3, \"n_keep\": 5, "
        "\"reasoning_format\": \"none\", \"n_cmpl\": 1, \"sse_ping_interval\": 5}",
        200);
    assert_int_equal(json_number_at(a, "tokens_evaluated"), 4);
    json_decref(a);
    json_decref(served_json(&server, NULL, "/v1/chat/completions",
                            "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], "
                            "\"max_tokens\": 1, \"tool_choice\": \"none\", \"tools\": [], "
                            "\"response_format\": {\"type\": \"text\"}, \"modalities\": "
                            "[\"text\"], \"store\": false, \"user\": \"u\", \"metadata\": {}, "
                            "\"reasoning_effort\": \"low\", \"unheard_of\": {\"a\": 1}}",
                            200));
}

static void tokens_go_there_and_back(void **state)
{
    (void)state;
    json_t *t =
        served_json(&server, NULL, "/tokenize", "{\"content\": \"The weight of <|im_end|>\"}", 200);
    json_t *ids = json_at(t, "tokens");
    char *body = json_dumps(t, 0);
    assert_int_equal(json_integer_value(json_array_get(ids, json_array_size(ids) - 1)), 2);
    json_t *back = served_json(&server, NULL, "/detokenize", body, 200);
    expect_text(back, "content", "The weight of <|im_end|>");
    json_t *rendered =
        served_json(&server, NULL, "/apply-template",
                    "{\"messages\": [{\"role\": \"user\", \"content\": \"<|im_end|>\"}]}", 200);
    assert_non_null(
        strstr(json_string_value(json_at(rendered, "prompt")), "<|im_start|>user\n<|im_end|>"));
    free(body);
    json_decref(t);
    json_decref(back);
    json_decref(rendered);
}

/* llama-server's: its time over, an answer ends with the line. */
static void an_answer_ends_with_its_line(void **state)
{
    (void)state;
    json_t *long_one = served_json(&server, NULL, "/completion",
                                   "{\"prompt\": \"1\\n2\\n3\\n4\\n5\\n6\\n\", \"temperature\": 0, "
                                   "\"n_predict\": 60, \"ignore_eos\": true}",
                                   200);
    json_t *short_one =
        served_json(&server, NULL, "/completion",
                    "{\"prompt\": \"1\\n2\\n3\\n4\\n5\\n6\\n\", \"temperature\": 0, "
                    "\"n_predict\": 60, \"ignore_eos\": true, "
                    "\"t_max_predict_ms\": 1}",
                    200);
    const char *text = json_string_value(json_at(short_one, "content"));
    assert_int_equal(json_number_at(long_one, "tokens_predicted"), 60);
    assert_true(json_number_at(short_one, "tokens_predicted") < 60);
    expect_text(short_one, "stop_type", "limit");
    assert_non_null(strchr(text, '\n'));
    assert_memory_equal(text, json_string_value(json_at(long_one, "content")), strlen(text));
    json_decref(long_one);
    json_decref(short_one);
}

static int open_server(void **state)
{
    (void)state;
    curl_global_init(CURL_GLOBAL_ALL);
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "512", "-ngl", "99"));
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
        cmocka_unit_test(a_stream_says_what_an_answer_does),
        cmocka_unit_test(echoed_prompts_have_log_probabilities),
        cmocka_unit_test(wrong_requests_get_words),
        cmocka_unit_test(the_description_is_of_this_server),
        cmocka_unit_test(a_prompt_too_long_is_told_both_numbers),
        cmocka_unit_test(many_clients_share_a_prompt),
        cmocka_unit_test(dashboards_find_their_names),
        cmocka_unit_test(a_client_that_leaves_stops_its_answer),
        cmocka_unit_test(what_asks_for_nothing_is_let_through),
        cmocka_unit_test(tokens_go_there_and_back),
        cmocka_unit_test(an_answer_ends_with_its_line),
    };
    return cmocka_run_group_tests_name("serve", tests, open_server, close_server);
}
