/* What /v1/kv answers: a snapshot of blocks, sequences, tree and requests; what a tenant sees of another; what
 * changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/api_service.h"

enum { N_PROMPT = 150, N_ANSWER = 20 };

static struct api_service it;

/* ---- asking ---- */

static json_t *get_as(const char *key, const char *path, const char *body)
{
    struct reply r = { 0 };
    api_service_ask(&it, key, path, body, &r);
    if (r.status != 200)
        fail_msg("%s: %d %s", path, r.status, buf_text(&r.body));
    json_t *json = json_loadb(r.body.bytes, r.body.len, 0, NULL);
    assert_non_null(json);
    reply_close(&r);
    return json;
}

/* A prompt of 150 ids, of which the first `n_same` are everybody's. */
static void generate(const char *key, int n_same, int seed)
{
    struct buf body = { 0 };
    buf_add_text(&body, "{\"prompt\":[");
    for (int i = 0; i < N_PROMPT; i++)
        buf_addf(&body, "%s%d", i ? "," : "", 32 + (i * 7 + (i < n_same ? 0 : seed)) % 90);
    buf_addf(&body, "],\"max_tokens\":%d,\"ignore_eos\":true}", N_ANSWER);
    json_decref(get_as(key, "/v1/completions", buf_text(&body)));
    buf_close(&body);
}

static json_int_t number(const json_t *j, const char *name)
{
    assert_true(json_is_integer(json_object_get(j, name)));
    return json_integer_value(json_object_get(j, name));
}

/* ---- tests ---- */

static void a_map_shows_whose_blocks_are_whose(void **state)
{
    size_t i, n_own = 0, n_other = 0;
    json_t *cell;
    (void)state;
    generate("alice", 0, 1);
    generate("bob", 0, 1);
    json_t *map = get_as("alice", "/v1/kv/map", NULL);
    assert_int_equal(number(map, "block_tokens"), AKV_BLOCK_TOKENS);
    const json_t *group = json_array_get(json_object_get(map, "groups"), 0);
    json_array_foreach(json_object_get(map, "blocks"), i, cell)
    {
        assert_true(json_integer_value(json_array_get(cell, 0)) < number(group, "blocks"));
        assert_int_equal(json_integer_value(json_array_get(cell, 1)), AKV_BLOCK_IDLE);
        n_own += json_array_size(cell) == 7;
        n_other += json_array_size(cell) == 2; /* its place and its state */
    }
    assert_int_equal(n_own, 3); /* 170 tokens */
    assert_int_equal(n_other, 3);
    json_decref(map);
}

/* Two prompts that share 100 ids: one block of both, then two branches that begin where they differ. */
static void a_tree_branches_where_prompts_differ(void **state)
{
    (void)state;
    generate("carol", 100, 1);
    generate("carol", 100, 2);
    json_t *tree = get_as("carol", "/v1/kv/tree", NULL);
    const json_t *entries = json_object_get(tree, "entries");
    assert_int_equal(json_array_size(entries), 4);
    const json_t *root = json_array_get(entries, 0), *stem = json_array_get(entries, 1);
    assert_int_equal(number(root, "depth"), 0);
    assert_string_equal(json_string_value(json_object_get(root, "salt")), "");
    assert_int_equal(number(stem, "depth"), 1);
    assert_int_equal(number(stem, "tokens"), AKV_BLOCK_TOKENS);
    assert_true(json_is_false(json_object_get(stem, "cut")));
    for (size_t i = 2; i < 4; i++) {
        const json_t *branch = json_array_get(entries, i);
        assert_int_equal(number(branch, "depth"), 2);
        assert_int_equal(json_array_size(json_object_get(branch, "nodes")), 2);
        assert_true(json_is_true(json_object_get(branch, "cut")));
    }
    json_decref(tree);
}

static void requests_say_where_they_parted(void **state)
{
    size_t i;
    json_t *r, *last = NULL;
    (void)state;
    json_t *all = get_as("carol", "/v1/kv/requests", NULL);
    json_array_foreach(json_object_get(all, "requests"), i, r) last = r;
    assert_int_equal(i, 2);
    assert_string_equal(json_string_value(json_object_get(last, "reason")), "diverged");
    assert_int_equal(number(last, "at"), 100);
    assert_int_equal(number(last, "cached_tokens"), 100);
    assert_true(strlen(json_string_value(json_object_get(last, "after"))) > 0);
    json_decref(all);
}

static void a_stranger_learns_nothing_of_texts(void **state)
{
    (void)state;
    json_t *tree = get_as("dave", "/v1/kv/tree", NULL);
    json_t *all = get_as("dave", "/v1/kv/requests", NULL);
    json_t *run = get_as("dave", "/v1/kv/sequences", NULL);
    assert_int_equal(json_array_size(json_object_get(tree, "entries")), 0);
    assert_int_equal(json_array_size(json_object_get(all, "requests")), 0);
    assert_int_equal(json_array_size(json_object_get(run, "sequences")), 0);
    assert_true(number(run, "blocks_held") > 0);
    json_decref(tree);
    json_decref(all);
    json_decref(run);
}

static void a_key_is_needed(void **state)
{
    struct reply r = { 0 };
    (void)state;
    client_ask(it.port, "GET /v1/kv/live HTTP/1.1\r\nHost: x\r\n\r\n", &r);
    assert_int_equal(r.status, 401);
    reply_close(&r);
}

/* Reads the stream until `text` was in it. */
static void see(int fd, struct buf *seen, const char *text)
{
    while (!strstr(buf_text(seen), text)) {
        const int c = client_byte(fd);
        assert_true(c >= 0);
        buf_add_byte(seen, (char)c);
    }
}

static void a_stream_tells_what_changes(void **state)
{
    struct buf seen = { 0 };
    (void)state;
    const int fd = client_connect(it.port);
    client_send(fd, "GET /v1/kv/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer erin\r\n\r\n");
    see(fd, &seen, "event: map\ndata: {");
    see(fd, &seen, "\"whole\":true");
    see(fd, &seen, "event: requests\ndata: {\"requests\":[]}");
    generate("erin", 0, 5);
    see(fd, &seen, "\"whole\":false");
    see(fd, &seen, "\"reason\":\"cold\"");
    see(fd, &seen, "\"depth\":1");
    close(fd);
    buf_close(&seen);
}

/* Last: a stream is no reason to wait when the server stops. */
static void streams_end_when_the_server_drains(void **state)
{
    struct buf seen = { 0 };
    (void)state;
    const int fd = client_connect(it.port);
    client_send(fd, "GET /v1/kv/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer erin\r\n\r\n");
    see(fd, &seen, "\"whole\":true");
    api_drain(&it.api);
    see(fd, &seen, "\r\n0\r\n\r\n");
    assert_int_equal(http_server_stop(it.http, 5000), OK);
    close(fd);
    buf_close(&seen);
}

static void a_quantile_lies_in_its_bucket(void **state)
{
    static struct metrics m;
    struct histogram before, now;
    (void)state;
    metrics_open(&m);
    metrics_token(&m, false, 900000000);
    metrics_inter_token(&m, &before);
    assert_true(metrics_quantile(&before, &before, 0.5) == 0);
    for (int i = 0; i < 100; i++)
        metrics_token(&m, false, i < 90 ? 15000000 : 400000000);
    metrics_inter_token(&m, &now);
    const double p50 = metrics_quantile(&now, &before, 0.5),
                 p99 = metrics_quantile(&now, &before, 0.99);
    assert_true(p50 > 0.01 && p50 <= 0.02);
    assert_true(p99 > 0.3 && p99 <= 0.5);
    metrics_close(&m);
}

/* ---- the server ---- */

static int open_server(void **state)
{
    static const struct api_key keys[] = {
        { "alice", "a" }, { "bob", "b" }, { "carol", "c" }, { "dave", "d" }, { "erin", "e" },
    };
    struct tiny_model t = tiny_model_of("llama", DT_Q8_0);
    (void)state;
    t.n_embd = 64;
    t.n_head = 2;
    t.n_kv_head = 1;
    t.d_head = 32;
    t.n_ff = 96;
    api_service_open(&it, t, (struct akv_limits){ .n_ctx = 512, .kv_bytes = 32 << 20 },
                     (struct api_options){
                         .key = keys,
                         .n_key = sizeof keys / sizeof *keys,
                         .sampling = akv_sampling_default(),
                         .n_predict = -1,
                     });
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    api_service_close(&it);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_shows_whose_blocks_are_whose),
        cmocka_unit_test(a_tree_branches_where_prompts_differ),
        cmocka_unit_test(requests_say_where_they_parted),
        cmocka_unit_test(a_stranger_learns_nothing_of_texts),
        cmocka_unit_test(a_key_is_needed),
        cmocka_unit_test(a_stream_tells_what_changes),
        cmocka_unit_test(a_quantile_lies_in_its_bucket),
        cmocka_unit_test(streams_end_when_the_server_drains),
    };
    return cmocka_run_group_tests_name("live", tests, open_server, close_server);
}
