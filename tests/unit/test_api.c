/* api: what requests of every dialect get, where an end-to-end test would need luck: a queue that fills in the
 * middle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/log.h"
#include "support/api_service.h"
#include "support/served.h"

enum { N_PARALLEL = 2, N_QUEUE = 62, N_CTX = 512, N_REFUSED = 3 };

#define TEMPLATE                                                                                   \
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"                     \
    "{% if add_generation_prompt %}>{% endif %}"

static struct api_service it;
static FILE *log_file;

/* ---- asking ---- */

/* Its status and body. */
static int ask_anything(struct buf *out, const char *key, const char *path, const char *body)
{
    struct reply r = { 0 };
    api_service_ask(&it, key, path, body, &r);
    *out = r.body;
    r.body = (struct buf){ 0 };
    reply_close(&r);
    return r.status;
}

/* The body of an answer of that status. */
static void ask(struct buf *out, const char *key, const char *path, const char *body, int status)
{
    const int got = ask_anything(out, key, path, body);
    if (got != status)
        fail_msg("%s %s: %d %s", path, body ? body : "", got, buf_text(out));
}

static json_t *ask_json(const char *path, const char *body, int status)
{
    struct buf text;
    ask(&text, "alice", path, body, status);
    json_t *json = json_loadb(text.bytes, text.len, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    buf_close(&text);
    return json;
}

/* ---- tests ---- */

static uint32_t n_inside(void)
{
    struct akv_stats s;
    akv_stats(it.engine, &s);
    return s.n_running + s.n_waiting;
}

static void wait_inside(uint32_t n)
{
    for (int tries = 0; n_inside() != n; tries++) {
        assert_true(tries < 5000);
        usleep(1000);
    }
}

/* A request that stays: of a client that sends it, and reads nothing. */
static int ask_for_long(void)
{
    const int fd = client_connect(it.port);
    client_send(fd, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bob\r\n"
                    "Content-Length: 49\r\n\r\n"
                    "{\"prompt\":[9],\"max_tokens\":500,\"ignore_eos\":true}");
    wait_inside(1);
    return fd;
}

/* The queue has room for some of the answers, not for all: none enters, and who comes next finds the room that there
 * was. */
static void who_fills_the_queue_in_the_middle_is_refused(void **state)
{
    static const char too_many[] = "{\"prompt\":\"hello\",\"n\":64,\"max_tokens\":1,"
                                   "\"echo\":true,\"stream\":true}";
    static const char all_that_fit[] = "{\"prompt\":\"hello\",\"n\":63,\"max_tokens\":1}";
    (void)state;
    for (int n_refused = 0, tries = 0; n_refused < N_REFUSED; tries++) {
        struct buf text;
        const int other = ask_for_long();
        const int status = ask_anything(&text, "alice", "/v1/completions", too_many);
        assert_true(tries < 10 * N_REFUSED && (status == 429 || status == 200));
        n_refused += status == 429; /* 200: the other one had ended */
        buf_close(&text);
        ask(&text, "alice", "/v1/completions", all_that_fit, 200);
        buf_close(&text);
        close(other);
        wait_inside(0);
    }
}

/* An empty queue would not take them either. */
static void more_answers_than_ever_fit_are_no_matter_of_patience(void **state)
{
    (void)state;
    json_decref(
        ask_json("/v1/completions", "{\"prompt\":\"hello\",\"n\":64,\"max_tokens\":1}", 200));
    json_t *n = ask_json("/v1/completions", "{\"prompt\":[[1],[2]],\"n\":33}", 400);
    expect_text(n, "error/param", "n");
    json_decref(n);
    struct buf body = { 0 };
    buf_add_text(&body, "{\"prompt\":[[1]");
    for (int i = 0; i < N_PARALLEL + N_QUEUE; i++)
        buf_add_text(&body, ",[2]");
    buf_add_text(&body, "]}");
    json_t *p = ask_json("/v1/completions", buf_text(&body), 400);
    expect_text(p, "error/param", "prompt");
    json_decref(p);
    buf_close(&body);
}

/* The first name of a number counts; one that is overlooked has to be right, too. */
static void each_name_of_a_number_is_read(void **state)
{
    static const struct {
        const char *body, *param;
    } wrong[] = {
        { "{\"max_completion_tokens\":1,\"max_tokens\":99999999999", "max_tokens" },
        { "{\"max_completion_tokens\":null,\"max_tokens\":\"x\"", "max_tokens" },
        { "{\"repetition_penalty\":1,\"repeat_penalty\":-7", "repeat_penalty" },
        { "{\"repetition_penalty\":-7,\"repeat_penalty\":1", "repetition_penalty" },
    };
    static const char chat[] = ",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    char body[256];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(body, sizeof body, "%s%s", wrong[i].body, chat);
        json_t *e = ask_json("/v1/chat/completions", body, 400);
        expect_text(e, "error/param", wrong[i].param);
        json_decref(e);
    }
    snprintf(body, sizeof body, "{\"max_completion_tokens\":1,\"max_tokens\":2%s", chat);
    json_t *a = ask_json("/v1/chat/completions", body, 200);
    assert_int_equal(json_number_at(a, "usage/completion_tokens"), 1);
    json_decref(a);
}

/* Of one token nothing can be reused, and nothing is missed. */
static void a_prompt_of_one_token_misses_nothing(void **state)
{
    (void)state;
    json_t *a = ask_json("/v1/completions", "{\"prompt\":[70],\"max_tokens\":1}", 200);
    json_t *e = ask_json("/v1/cache/explain", "{\"prompt\":[70]}", 200);
    expect_text(a, "akvifer/cache_miss", "none");
    expect_text(e, "reason", "none");
    json_decref(a);
    json_decref(e);
}

/* A turn that only called a tool has no text. A content that is none is said by its place. */
static void messages_without_a_text_are_read(void **state)
{
    static const char *const wrong[] = {
        "{\"role\":\"user\"}",
        "{\"role\":\"user\",\"content\":5}",
        "{\"role\":\"user\",\"content\":{\"a\":1}}",
        "{\"content\":\"hello\"}",
        "7",
    };
    (void)state;
    json_t *a = ask_json(
        "/apply-template",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":"
        "null,\"tool_calls\":[{\"id\":\"1\"}]},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":"
        "\"2\"}]},{\"role\":\"tool\",\"content\":[{\"type\":\"text\",\"text\":\"y\"}]}]}",
        200);
    expect_text(a, "prompt", "user: xassistant: assistant: tool: y>");
    json_decref(a);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char body[128];
        snprintf(body, sizeof body, "{\"messages\":[%s]}", wrong[i]);
        json_t *e = ask_json("/v1/chat/completions", body, 400);
        expect_text(e, "error/param", "messages");
        assert_non_null(strstr(json_string_value(json_at(e, "error/message")), "messages[0]"));
        json_decref(e);
    }
}

/* Where the template's own variables and the member say how a prompt ends, the variables do; nothing is overlooked. */
static void how_a_prompt_ends_is_as_asked(void **state)
{
    static const struct {
        const char *more, *end, *param; // param: refused for it
        int status;
    } way[] = {
        { "", ">", NULL, 200 },
        { ",\"add_generation_prompt\":false", "", NULL, 200 },
        { ",\"chat_template_kwargs\":{\"add_generation_prompt\":false}", "", NULL, 200 },
        { ",\"chat_template_kwargs\":{\"add_generation_prompt\":null}", ">", NULL, 200 },
        { ",\"chat_template_kwargs\":{\"add_generation_prompt\":true},"
          "\"add_generation_prompt\":false",
          ">", NULL, 200 },
        { ",\"chat_template_kwargs\":{\"add_generation_prompt\":7}", "", "chat_template_kwargs",
          400 },
        { ",\"chat_template_kwargs\":{\"continue_final_message\":true}", "", "chat_template_kwargs",
          501 },
        { ",\"continue_final_message\":true", "", "continue_final_message", 501 },
        { ",\"continue_final_message\":false", ">", NULL, 200 },
    };
    static const char *const path[] = { "/apply-template", "/tokenize", "/v1/chat/completions" };
    (void)state;
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        struct buf body = { 0 };
        buf_addf(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s}", way[i].more);
        for (int p = 0; p < (way[i].param ? 3 : 1); p++) {
            char prompt[32];
            json_t *a = ask_json(path[p], buf_text(&body), way[i].status);
            snprintf(prompt, sizeof prompt, "user: x%s", way[i].end);
            if (way[i].param)
                expect_text(a, "error/param", way[i].param);
            else
                expect_text(a, "prompt", prompt);
            json_decref(a);
        }
        buf_close(&body);
    }
}

/* The first payload of a stream that has the member; NULL: none has. */
static json_t *find_chunk(const char *stream, const char *member)
{
    json_t *found = NULL;
    for (const char *at = stream; !found && (at = strstr(at, "data: {")); at++) {
        json_t *chunk = json_loads(at + strlen("data: "), JSON_DISABLE_EOF_CHECK, NULL);
        found = json_at(chunk, member) ? json_incref(chunk) : NULL;
        json_decref(chunk);
    }
    return found;
}

static void usage_grows_with_the_tokens(void **state)
{
    struct buf text;
    (void)state;
    ask(&text, "alice", "/v1/completions",
        "{\"prompt\":[90,91],\"max_tokens\":3,\"ignore_eos\":true,\"stream\":true,"
        "\"return_token_ids\":true,\"stream_options\":{\"continuous_usage_stats\":true}}",
        200);
    json_t *first = find_chunk(buf_text(&text), "usage");
    assert_int_equal(json_number_at(first, "usage/prompt_tokens"), 2);
    assert_int_equal(json_number_at(first, "usage/completion_tokens"), 1);
    json_decref(first);
    buf_close(&text);
}

/* Of what became of its KV every answer speaks once, in every dialect, whole and in pieces: a policy that drops rows
 * must not do so in silence. */
static void every_answer_speaks_of_its_kv(void **state)
{
    static const struct {
        const char *path, *more;
    } way[] = {
        { "/completion", "" },
        { "/completion", ",\"stream\":true" },
        { "/v1/completions", ",\"stream\":true" },
        { "/v1/completions", ",\"stream\":true,\"n\":2" },
        { "/v1/completions", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        struct buf text, body = { 0 };
        buf_addf(&body,
                 "{\"prompt\":\"%060d\",\"max_tokens\":2,\"ignore_eos\":true,\"kv\":{\"policy\":"
                 "\"window\",\"budget_tokens\":32}%s}",
                 (int)i, way[i].more);
        ask(&text, "alice", way[i].path, buf_text(&body), 200);
        const char *said = strstr(buf_text(&text), "\"akvifer\":{\"cached_tokens\":");
        assert_non_null(said);
        assert_non_null(strstr(said, "\"dropped_tokens\":28,"));
        assert_null(strstr(said + 1, "\"akvifer\":{"));
        buf_close(&body);
        buf_close(&text);
    }
}

/* A member of "kv" is one option: none is taken for another, or overlooked. */
static void members_of_kv_are_options(void **state)
{
    static const struct {
        const char *kv;
        int status;
        const char *says; // in the error, or in what became of its KV
    } of[] = {
        { "{\"policy\":\"h2o:budget=33\",\"recent\":5}", 200, "h2o:budget=33,sinks=4,recent=5," },
        { "{\"policy\":\"h2o\",\"budget\":\"50%\"}", 200, "h2o:budget=50%," },
        { "{\"policy\":\"h2o\",\"budget\":50,\"budget_tokens\":60}", 400, "give one" },
        { "{\"policy\":\"h2o\",\"budget_tokens\":\"5%\"}", 400, "number of tokens" },
        { "{\"policy\":\"h2o\",\"recent=3,sinks\":3}", 400, "kv.recent=3,sinks is one option" },
        { "{\"policy\":\"h2o\",\"sinks\":\"3,recent=3\"}", 400, "kv.sinks is one option" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct buf text, body = { 0 };
        buf_addf(&body, "{\"prompt\":[60,61,62],\"max_tokens\":1,\"kv\":%s}", of[i].kv);
        ask(&text, "alice", "/v1/completions", buf_text(&body), of[i].status);
        if (!strstr(buf_text(&text), of[i].says))
            fail_msg("%s: %s", of[i].kv, buf_text(&text));
        buf_close(&body);
        buf_close(&text);
    }
}

/* What its clients look at: ids in a stream, an answer that the context cut, as many slots as /props says. */
static void llama_servers_clients_find_their_way(void **state)
{
    struct buf text;
    (void)state;
    ask(&text, "alice", "/completion",
        "{\"prompt\":[60,61],\"n_predict\":2,\"ignore_eos\":true,\"stream\":true}", 200);
    json_t *first = find_chunk(buf_text(&text), "tokens/0");
    assert_true(json_is_integer(json_at(first, "tokens/0")));
    json_decref(first);
    buf_close(&text);

    struct buf body = { 0 };
    buf_add_text(&body, "{\"ignore_eos\":true,\"prompt\":[1");
    for (int i = 1; i < N_CTX - 2; i++)
        buf_addf(&body, ",%d", 1 + i % 50);
    buf_add_text(&body, "]}");
    json_t *a = ask_json("/completion", buf_text(&body), 200);
    assert_true(json_is_true(json_at(a, "truncated")));
    assert_int_equal(json_number_at(a, "tokens_predicted"), 2);
    json_decref(a);
    buf_close(&body);
    a = ask_json("/completion", "{\"prompt\":[60,61],\"n_predict\":2,\"ignore_eos\":true}", 200);
    assert_true(json_is_false(json_at(a, "truncated")));
    assert_int_equal(json_array_size(json_at(a, "tokens")), 0);
    json_decref(a);

    wait_inside(0); /* what is counted comes a little behind the answers */
    json_t *slots = ask_json("/slots", NULL, 200), *props = ask_json("/props", NULL, 200);
    assert_int_equal(json_array_size(slots), N_PARALLEL);
    assert_int_equal(json_number_at(props, "total_slots"), N_PARALLEL);
    expect_text(props, "chat_template", TEMPLATE);
    const char *const name[] = { "bos_token", "eos_token" };
    const int32_t id[] = { it.api.info.bos, it.api.info.eos };
    for (int i = 0; i < 2; i++) {
        size_t len;
        expect_text(props, name[i], akv_token_bytes(it.model, id[i], true, &len));
        assert_true(id[i] < 0 || len > 0);
    }
    assert_true(json_is_false(json_object_get(json_array_get(slots, 0), "is_processing")));
    json_decref(slots);
    json_decref(props);
}

/* Forced by a bias to say "b" for ever: of two stop texts the one that was met is told, whole and in a stream. */
static void the_stop_text_that_was_met_is_told(void **state)
{
    static const char body[] = "{\"prompt\":\"a\",\"n_predict\":9,\"ignore_eos\":true,"
                               "\"stop\":[\"xyz\",\"bbb\"],\"logit_bias\":[[%d,100]]%s}";
    char text[256];
    struct buf stream;
    (void)state;
    json_t *tokens = ask_json("/tokenize", "{\"content\":\"b\"}", 200);
    const int b = (int)json_number_at(tokens, "tokens/0");
    json_decref(tokens);
    snprintf(text, sizeof text, body, b, "");
    json_t *a = ask_json("/completion", text, 200);
    expect_text(a, "stop_type", "word");
    expect_text(a, "stopping_word", "bbb");
    json_decref(a);
    snprintf(text, sizeof text, body, b, ",\"stream\":true");
    ask(&stream, "alice", "/completion", text, 200);
    assert_non_null(strstr(buf_text(&stream), "\"stopping_word\":\"bbb\""));
    buf_close(&stream);
    a = ask_json("/completion", "{\"prompt\":\"a\",\"n_predict\":1,\"stop\":[\"xyz\"]}", 200);
    expect_text(a, "stopping_word", "");
    json_decref(a);
}

/* Whether two answers of a hot model, with that seed, are the same. */
static bool is_same_twice(const char *path, long long seed)
{
    char body[256], said[2][1024];
    for (int i = 0; i < 2; i++) {
        snprintf(body, sizeof body,
                 "{\"prompt\":[60,61],\"max_tokens\":24,\"ignore_eos\":true,\"temperature\":100,"
                 "\"top_k\":0,\"top_p\":1,\"min_p\":0,"
                 "\"return_token_ids\":true,\"seed\":%lld}",
                 seed);
        json_t *a = ask_json(path, body, 200);
        json_t *ids = json_at(a, *path == '/' && path[1] == 'v' ? "choices/0/token_ids" : "tokens");
        assert_int_equal(json_array_size(ids), 24);
        char *text = json_dumps(ids, 0);
        snprintf(said[i], sizeof said[i], "%s", text);
        free(text);
        json_decref(a);
    }
    return strcmp(said[0], said[1]) == 0;
}

/* llama-server's seed is of 32 bits: -1 is their largest too. Elsewhere that is a seed as any other. */
static void no_seed_is_another_one_each_time(void **state)
{
    (void)state;
    assert_false(is_same_twice("/completion", -1));
    assert_false(is_same_twice("/completion", 4294967295));
    assert_true(is_same_twice("/completion", 4294967294));
    assert_true(is_same_twice("/v1/completions", 4294967295));
    assert_false(is_same_twice("/v1/completions", -1));
}

/* llama-server's way to have a prompt computed before it is needed. */
static void a_prompt_can_be_computed_alone(void **state)
{
    static const struct {
        const char *path, *none, *one;
    } way[] = {
        { "/completion", "{\"prompt\":[40,41,42,43,44],\"n_predict\":0}",
          "{\"prompt\":[40,41,42,43,44],\"n_predict\":1}" },
        { "/v1/completions", "{\"prompt\":[45,41,42,43,44],\"max_tokens\":0,\"echo\":true}",
          "{\"prompt\":[45,41,42,43,44],\"max_tokens\":1}" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        json_t *none = ask_json(way[i].path, way[i].none, 200);
        json_t *one = ask_json(way[i].path, way[i].one, 200);
        assert_int_equal(json_number_at(none, "akvifer/cached_tokens"), 0);
        assert_int_equal(json_number_at(one, "akvifer/cached_tokens"), 4);
        if (i == 0)
            assert_int_equal(json_number_at(none, "tokens_predicted"), 0);
        else
            expect_text(none, "choices/0/finish_reason", "length");
        json_decref(none);
        json_decref(one);
    }
}

/* A character of three tokens: llama-server shows their bytes; vLLM leaves `tokens` ids, and puts texts beside. */
static void pieces_of_characters_are_bytes(void **state)
{
    (void)state;
    json_t *a = ask_json("/tokenize", "{\"content\":\"a\\u20ac\",\"with_pieces\":true}", 200);
    expect_text(a, "tokens/0/piece", "a");
    assert_int_equal(json_number_at(a, "tokens/1/piece/0"), 0xe2);
    assert_int_equal(json_number_at(a, "tokens/3/piece/0"), 0xac);
    json_decref(a);
    a = ask_json("/tokenize", "{\"prompt\":\"ab\",\"return_token_strs\":true}", 200);
    assert_true(json_is_integer(json_at(a, "tokens/0")));
    expect_text(a, "token_strs/0", "ab");
    json_decref(a);
}

/* finish_reason has few words; stop_reason says what exactly ended an answer, as vLLM's does. */
static void what_ended_an_answer_is_told(void **state)
{
    char body[256];
    (void)state;
    json_t *a =
        ask_json("/v1/completions",
                 "{\"prompt\":[61,62,63],\"max_tokens\":2,\"temperature\":0,\"ignore_eos\":true,"
                 "\"return_token_ids\":true}",
                 200);
    const int first = json_number_at(a, "choices/0/token_ids/0");
    assert_true(json_is_null(json_at(a, "choices/0/stop_reason")));
    json_decref(a);
    snprintf(body, sizeof body,
             "{\"prompt\":[61,62,63],\"max_tokens\":2,\"temperature\":0,\"ignore_eos\":true,"
             "\"stop_token_ids\":[%d]}",
             first);
    a = ask_json("/v1/completions", body, 200);
    expect_text(a, "choices/0/finish_reason", "stop");
    assert_int_equal(json_number_at(a, "choices/0/stop_reason"), first);
    json_decref(a);
    a = ask_json("/v1/chat/completions",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"temperature\":0,"
                 "\"ignore_eos\":true,\"max_tokens\":100000}",
                 200);
    expect_text(a, "choices/0/finish_reason", "length");
    expect_text(a, "choices/0/stop_reason", "context");
    json_decref(a);
}

/* A request that wants nothing of the cache, or whose policy has to see its prompt computed, gets nothing, and is told
 * so before it is run. */
static void who_asks_for_no_reuse_is_told_so(void **state)
{
    static const char *const body[] = {
        "{\"prompt\":[51,52,53,54,55,56],\"n_predict\":1}",
        "{\"prompt\":[51,52,53,54,55,56],\"n_predict\":1,\"cache_prompt\":false}",
        "{\"prompt\":[51,52,53,54,55,56],\"n_predict\":1,\"kv\":\"h2o:budget=64\"}",
    };
    static const char *const reason[] = { "none", "off", "policy" };
    (void)state;
    json_decref(ask_json("/completion", body[0], 200));
    for (int i = 0; i < 3; i++) {
        json_t *e = ask_json("/v1/cache/explain", body[i], 200);
        json_t *a = ask_json("/completion", body[i], 200);
        expect_text(e, "reason", reason[i]);
        expect_text(a, "akvifer/cache_miss", reason[i]);
        assert_int_equal(json_number_at(e, "cached_tokens"),
                         json_number_at(a, "akvifer/cached_tokens"));
        assert_int_equal(json_number_at(e, "cached_tokens"), i ? 0 : 5);
        json_decref(e);
        json_decref(a);
    }
}

/* A value of /metrics as this key sees it; -1: it is not there. */
static int metric(const char *key, const char *name)
{
    struct buf text;
    ask(&text, key, "/metrics", NULL, 200);
    const char *at = strstr(buf_text(&text), name);
    const int value = at ? atoi(at + strlen(name)) : -1;
    buf_close(&text);
    return value;
}

#define OF_TENANT "akvifer_cache_miss_total{reason=\"tenant\"} "
#define BLOCKS_OF(NAME) "akvifer_kv_blocks{state=\"idle\",tenant=\"" NAME "\"} "

/* Whoever may count what happens to others finds out what they asked, id by id. */
static void metrics_tell_a_tenant_nothing_of_another(void **state)
{
    static const char body[] = "{\"prompt\":[71,72,73,74,75,76,77,78],\"max_tokens\":1}";
    struct buf text;
    (void)state;
    ask(&text, "alice", "/v1/completions", body, 200);
    buf_close(&text);
    const int before = metric("operator", OF_TENANT);
    ask(&text, "bob", "/v1/completions", body, 200);
    buf_close(&text);
    assert_int_equal(metric("operator", OF_TENANT), before + 1);
    assert_true(metric("operator", BLOCKS_OF("a")) > 0 && metric("operator", BLOCKS_OF("b")) > 0);
    assert_int_equal(metric("bob", OF_TENANT), 0);
    assert_true(metric("bob", BLOCKS_OF("b")) > 0);
    assert_int_equal(metric("bob", BLOCKS_OF("a")), -1);
    ask(&text, "operator", "/v1/models", NULL, 401);
    buf_close(&text);
    ask(&text, "operato", "/metrics", NULL, 401);
    buf_close(&text);
}

/* ---- refusals in the log ---- */

/* The lines of a log that warn, as an array. */
static json_t *warnings_of(FILE *log)
{
    json_t *all = json_array();
    char line[4096];
    rewind(log);
    while (fgets(line, sizeof line, log)) {
        json_t *one = json_loads(line, 0, NULL);
        const char *level = json_string_value(json_object_get(one, "level"));
        assert_null(strstr(line, "xyzzy"));
        if (level && strcmp(level, "warn") == 0)
            json_array_append(all, one);
        json_decref(one);
    }
    return all;
}

/* All up to one of that path; lines keep the order of their requests, and come a little behind the answers. */
static json_t *await_warning(const char *path)
{
    for (int tries = 0; tries < 5000; tries++) {
        json_t *all = warnings_of(log_file);
        json_t *last = json_array_get(all, json_array_size(all) - 1);
        const char *its = json_string_value(json_object_get(last, "path"));
        if (its && strcmp(its, path) == 0)
            return all;
        json_decref(all);
        usleep(1000);
    }
    fail_msg("no line of %s", path);
    return NULL;
}

/* Whoever runs the server sees who is refused and why; what was sent (and is quoted in the answer) stays out of it. */
static void refusals_are_logged_without_their_words(void **state)
{
    static const struct {
        const char *key, *tenant, *path, *body;
        int status;
        const char *type, *param;
    } ask_of[] = {
        { "alice", "a", "/v1/completions", "{\"prompt\":\"xyzzy\",\"model\":\"xyzzy\"}", 404,
          "not_found_error", "model" },
        { "xyzzy", NULL, "/v1/completions", "{\"prompt\":\"xyzzy\"}", 401, "authentication_error",
          NULL },
        { "bob", "b", "/v1/chat/completions", "{\"messages\":[{\"role\":\"xyzzy\"}]}", 400,
          "invalid_request_error", "messages" },
        { "bob", "b", "/completion", "{\"prompt\":\"xyzzy\",\"kv\":\"xyzzy\"}", 400,
          "invalid_request_error", "kv" },
        { "alice", "a", "/tokenize", "xyzzy", 400, "invalid_request_error", NULL },
        { "alice", "a", "/v1/embeddings", "{\"input\":\"xyzzy\"}", 501, "not_supported_error",
          NULL },
        { "alice", "a", "/nowhere", "{\"prompt\":\"xyzzy\"}", 404, "invalid_request_error", NULL },
    };
    enum { N = sizeof ask_of / sizeof *ask_of };
    (void)state;
    struct buf text;
    ask(&text, "alice", "/before", NULL, 404);
    buf_close(&text);
    json_t *before = await_warning("/before");
    const size_t n_before = json_array_size(before);
    for (size_t i = 0; i < N; i++) {
        ask(&text, ask_of[i].key, ask_of[i].path, ask_of[i].body, ask_of[i].status);
        buf_close(&text);
    }
    json_t *all = await_warning("/nowhere");
    assert_int_equal(json_array_size(all), n_before + N);
    for (size_t i = 0; i < N; i++) {
        json_t *line = json_array_get(all, n_before + i);
        const char *tenant = json_string_value(json_at(line, "tenant"));
        const char *param = json_string_value(json_at(line, "param"));
        expect_text(line, "method", "POST");
        expect_text(line, "path", ask_of[i].path);
        expect_text(line, "type", ask_of[i].type);
        assert_int_equal(json_number_at(line, "status"), ask_of[i].status);
        assert_true(strncmp(json_string_value(json_at(line, "id")), "req-", 4) == 0);
        assert_true(tenant ? ask_of[i].tenant && strcmp(tenant, ask_of[i].tenant) == 0
                           : !ask_of[i].tenant);
        assert_true(param ? ask_of[i].param && strcmp(param, ask_of[i].param) == 0
                          : !ask_of[i].param);
    }
    json_decref(before);
    json_decref(all);
}

/* L2 of api/log.h: every refusal is told or counted, and a second has 100 at most. */
static void refusals_do_not_flood_the_log(void **state)
{
    enum { N = 1000, PER_S = 100 };
    const struct log_refusal r = { "req-1", NULL, "GET", "/", 401, "authentication_error", "" };
    struct note why = { "" };
    struct log *log;
    FILE *f = tmpfile();
    size_t i, n = 0;
    json_t *line;
    (void)state;
    assert_int_equal(log_open(&log, f, &why), OK);
    const time_t begin = time(NULL);
    for (i = 0; i < N; i++)
        log_refused(log, &r);
    usleep(1100 * 1000);
    log_refused(log, &r);
    const time_t end = time(NULL);
    log_close(log);
    json_t *all = warnings_of(f);
    json_array_foreach(all, i, line)
    {
        n += 1 + (size_t)json_number_at(line, "refusals_untold");
    }
    assert_int_equal(n, N + 1);
    assert_true((time_t)json_array_size(all) <= PER_S * (end - begin + 2));
    json_decref(all);
    fclose(f);
}

/* ---- the server ---- */

static int open_server(void **state)
{
    static const struct api_key keys[] = { { "alice", "a" }, { "bob", "b" } };
    struct tiny_model t = tiny_model_of("llama", DT_Q8_0);
    const struct akv_limits limits = {
        .n_ctx = N_CTX, .kv_bytes = 32 << 20, .n_parallel = N_PARALLEL, .n_queue = N_QUEUE
    };
    (void)state;
    log_file = tmpfile();
    assert_non_null(log_file);
    assert_int_equal(fcntl(fileno(log_file), F_SETFL, O_APPEND), 0); /* wherever it is read */
    t.chat_template = TEMPLATE;
    api_service_open(&it, t, limits,
                     (struct api_options){
                         .kv_type = "f16",
                         .key = keys,
                         .n_key = sizeof keys / sizeof *keys,
                         .metrics_key = "operator",
                         .sampling = akv_sampling_default(),
                         .n_predict = -1,
                         .metrics = true,
                         .slots = true,
                         .log = log_file,
                     });
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    api_service_close(&it);
    fclose(log_file);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_fills_the_queue_in_the_middle_is_refused),
        cmocka_unit_test(more_answers_than_ever_fit_are_no_matter_of_patience),
        cmocka_unit_test(each_name_of_a_number_is_read),
        cmocka_unit_test(a_prompt_of_one_token_misses_nothing),
        cmocka_unit_test(messages_without_a_text_are_read),
        cmocka_unit_test(how_a_prompt_ends_is_as_asked),
        cmocka_unit_test(usage_grows_with_the_tokens),
        cmocka_unit_test(every_answer_speaks_of_its_kv),
        cmocka_unit_test(members_of_kv_are_options),
        cmocka_unit_test(llama_servers_clients_find_their_way),
        cmocka_unit_test(the_stop_text_that_was_met_is_told),
        cmocka_unit_test(no_seed_is_another_one_each_time),
        cmocka_unit_test(a_prompt_can_be_computed_alone),
        cmocka_unit_test(pieces_of_characters_are_bytes),
        cmocka_unit_test(what_ended_an_answer_is_told),
        cmocka_unit_test(who_asks_for_no_reuse_is_told_so),
        cmocka_unit_test(metrics_tell_a_tenant_nothing_of_another),
        cmocka_unit_test(refusals_are_logged_without_their_words),
        cmocka_unit_test(refusals_do_not_flood_the_log),
    };
    return cmocka_run_group_tests_name("api", tests, open_server, close_server);
}
