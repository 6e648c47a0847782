/* What `akvifer load` is made of: amounts, prompts, event streams split anywhere, and its sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "bin/load_dist.h"
#include "bin/load_events.h"
#include "bin/load_prompt.h"
#include "bin/load_tally.h"

static struct load_dist dist(const char *text)
{
    struct load_dist d;
    struct note why = { "" };
    if (load_dist_parse(&d, text, 1e6, &why) != OK)
        fail_msg("%s", why.text);
    return d;
}

/* ---- amounts ---- */

static void amounts_are_read_strictly(void **state)
{
    static const char *const wrong[] = {
        "",
        "a",
        "-1",
        "1e9",
        "12 ",
        "1,2",
        "nan",
        "uniform:",
        "uniform:5",
        "uniform:9,3",
        "uniform:1,2,3",
        "uniform:0.5,2",
        "uniform:1,2000000",
        "lognormal:0,1",
        "lognormal:10,11",
        "lognormal:5",
        "exponential:-2",
        "normal:1,2",
        "exponential:2000000",
        "uniform:1;2",
    };
    struct load_dist d;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct note why = { "" };
        assert_int_equal(load_dist_parse(&d, wrong[i], 1e6, &why), BAD_INPUT);
        assert_non_null(strstr(why.text, "is no amount from 0 to 1000000"));
    }
    assert_int_equal(dist("128").kind, LOAD_FIXED);
    assert_true(dist("0.5").a == 0.5);
    assert_true(dist("uniform:3,9").b == 9);
}

/* Means and quantiles of 100,000 draws lie within four standard errors of what they should be. */
static void amounts_are_drawn_as_said(void **state)
{
    enum { N = 100000 };
    const struct load_dist uniform = dist("uniform:3,9"), exponential = dist("exponential:200"),
                           lognormal = dist("lognormal:200,0.8");
    struct load_series u = { 0 }, e = { 0 }, l = { 0 };
    struct rng rng = rng_seeded(7, 1);
    (void)state;
    for (int i = 0; i < N; i++) {
        load_series_add(&u, load_dist_draw(&uniform, &rng));
        load_series_add(&e, load_dist_draw(&exponential, &rng));
        load_series_add(&l, load_dist_draw(&lognormal, &rng));
    }
    assert_true(load_series_quantile(&u, 0) == 3 && load_series_quantile(&u, 1) == 9);
    assert_true(fabs(load_series_mean(&u) - 6) < 4 * 2 / sqrt(N));
    assert_true(fabs(load_series_deviation(&u) - 2) < 0.02);
    assert_true(fabs(load_series_mean(&e) - 200) < 4 * 200 / sqrt(N));
    assert_true(fabs(load_series_quantile(&e, 0.5) - 200 * log(2)) < 4);
    assert_true(fabs(log(load_series_quantile(&l, 0.5) / 200)) < 4 * 1.26 * 0.8 / sqrt(N));
    assert_true(fabs(load_series_mean(&l) / (200 * exp(0.32)) - 1) < 0.02);
    load_series_close(&u);
    load_series_close(&e);
    load_series_close(&l);
}

static void counts_keep_their_bounds(void **state)
{
    const struct load_dist wide = dist("lognormal:50,3"), none = dist("0");
    struct rng rng = rng_seeded(1, 1);
    bool least = false, most = false;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        const uint32_t n = load_dist_count(&wide, &rng, 1, 500);
        assert_in_range(n, 1, 500);
        least |= n == 1;
        most |= n == 500;
    }
    assert_true(least && most);
    assert_int_equal(load_dist_count(&none, &rng, 1, 500), 1);
}

/* ---- prompts ---- */

static struct load_shape shape_of(uint32_t n_prefix, uint32_t prefix_tokens)
{
    return (struct load_shape){ .own = dist("20"),
                                .output = dist("uniform:4,8"),
                                .n_prefix = n_prefix,
                                .prefix_tokens = prefix_tokens,
                                .seed = 5,
                                .model = "m" };
}

static json_t *body_of(const struct load_prompts *p, enum load_part part, uint32_t i)
{
    struct buf text = { 0 };
    uint32_t n_output;
    json_t *json;
    assert_int_equal(load_prompt_body(p, part, i, &text, &n_output), OK);
    assert_int_equal(json_from_text(&json, buf_text(&text), text.len, NULL), OK);
    assert_int_equal(json_integer_value(json_object_get(json, "max_tokens")), n_output);
    buf_close(&text);
    return json;
}

static const char *message_of(const json_t *body, size_t i, const char *role)
{
    const json_t *m = json_array_get(json_object_get(body, "messages"), i);
    assert_string_equal(json_string_value(json_object_get(m, "role")), role);
    return json_string_value(json_object_get(m, "content"));
}

static size_t n_word(const char *text)
{
    size_t n = 1;
    for (; *text; text++)
        n += *text == ' ';
    return n;
}

/* L1, L2: requests 2, 6, 10 ... have the third prefix; own parts differ in their first word. */
static void prompts_share_what_they_shall(void **state)
{
    const struct load_shape shape = shape_of(4, 30);
    struct load_prompts p;
    (void)state;
    assert_int_equal(load_prompts_open(&p, &shape, NULL), OK);
    json_t *a = body_of(&p, LOAD_COUNTED, 2), *b = body_of(&p, LOAD_COUNTED, 6),
           *c = body_of(&p, LOAD_COUNTED, 3), *again = body_of(&p, LOAD_COUNTED, 2);
    assert_true(json_equal(a, again));
    assert_string_equal(message_of(a, 0, "system"), message_of(b, 0, "system"));
    assert_string_not_equal(message_of(a, 0, "system"), message_of(c, 0, "system"));
    assert_int_equal(n_word(message_of(a, 0, "system")), 30);
    const char *own = message_of(a, 1, "user"), *other = message_of(b, 1, "user");
    assert_int_equal(n_word(own), 20);
    assert_true(strcspn(own, " ") != strcspn(other, " ") || strncmp(own, other, strcspn(own, " ")));
    json_decref(a);
    json_decref(b);
    json_decref(c);
    json_decref(again);
    load_prompts_close(&p);
}

static void warm_ups_leave_prefixes_cold(void **state)
{
    const struct load_shape shape = shape_of(2, 30);
    struct load_prompts p;
    (void)state;
    assert_int_equal(load_prompts_open(&p, &shape, NULL), OK);
    json_t *warm = body_of(&p, LOAD_WARM_UP, 0), *prefix = body_of(&p, LOAD_WARM_PREFIX, 1),
           *counted = body_of(&p, LOAD_COUNTED, 1);
    assert_int_equal(json_array_size(json_object_get(warm, "messages")), 1);
    assert_string_equal(message_of(prefix, 0, "system"), message_of(counted, 0, "system"));
    assert_string_not_equal(message_of(prefix, 1, "user"), message_of(counted, 1, "user"));
    assert_int_equal(json_integer_value(json_object_get(prefix, "max_tokens")), 1);
    json_decref(warm);
    json_decref(prefix);
    json_decref(counted);
    load_prompts_close(&p);
}

static void text_prompts_take_extra_members(void **state)
{
    struct load_shape shape = shape_of(1, 10);
    struct load_prompts p;
    (void)state;
    shape.text = shape.ignore_eos = true;
    shape.extra = json_pack("{sf ss}", "temperature", 0.5, "cache_salt", "x");
    assert_int_equal(load_prompts_open(&p, &shape, NULL), OK);
    json_t *body = body_of(&p, LOAD_COUNTED, 0);
    assert_int_equal(n_word(json_string_value(json_object_get(body, "prompt"))), 30);
    assert_null(json_object_get(body, "messages"));
    assert_true(json_real_value(json_object_get(body, "temperature")) == 0.5);
    assert_string_equal(json_string_value(json_object_get(body, "cache_salt")), "x");
    assert_true(json_is_true(json_object_get(body, "ignore_eos")));
    json_decref(body);
    json_decref(shape.extra);
    load_prompts_close(&p);
}

/* ---- event streams ---- */

static void note_event(void *arg, const char *data, size_t len)
{
    buf_add_byte(arg, '[');
    buf_add(arg, data, len);
    buf_add_byte(arg, ']');
}

static const char stream[] = ": ping\n\n"
                             "data: one\n\n"
                             "event: x\r\ndata:two\r\ndata:  more\r\nid: 7\r\n\r\n"
                             "data\rretry: 3\r\r"
                             "datum: no\n\n"
                             "data: caf\xc3\xa9\n\n\n"
                             "data: unfinished\n";
static const char events[] = "[one][two\n more][][caf\xc3\xa9]";

/* Two cuts at all places, which also parts CR from LF and the halves of a character. */
static void events_survive_every_cut(void **state)
{
    enum { LEN = sizeof stream - 1 };
    struct event_reader r = { 0 };
    struct buf seen = { 0 };
    (void)state;
    for (size_t i = 0; i <= LEN; i++) {
        for (size_t j = i; j <= LEN; j++) {
            buf_clear(&seen);
            event_reader_clear(&r);
            assert_int_equal(event_reader_feed(&r, stream, i, note_event, &seen), OK);
            assert_int_equal(event_reader_feed(&r, stream + i, j - i, note_event, &seen), OK);
            assert_int_equal(event_reader_feed(&r, stream + j, LEN - j, note_event, &seen), OK);
            assert_string_equal(buf_text(&seen), events);
        }
    }
    buf_close(&seen);
    event_reader_close(&r);
}

static void endless_events_are_refused(void **state)
{
    static char part[1 << 20];
    struct event_reader r = { 0 };
    enum status st = event_reader_feed(&r, "data: ", 6, note_event, NULL);
    unsigned n = 0;
    (void)state;
    memset(part, 'x', sizeof part);
    for (; st == OK && n < 100; n++)
        st = event_reader_feed(&r, part, sizeof part, note_event, NULL);
    assert_int_equal(st, FULL);
    assert_int_equal(n, EVENT_BYTES_MAX / sizeof part);
    event_reader_close(&r);
}

static struct load_chunk chunk(const char *data)
{
    struct load_chunk c;
    struct note why = { "" };
    if (load_chunk_read(&c, data, strlen(data), &why) != OK)
        fail_msg("%s: %s", data, why.text);
    return c;
}

static void chunks_say_what_counts(void **state)
{
    (void)state;
    assert_true(chunk("[DONE]").done);
    assert_false(chunk("{\"choices\": [{\"delta\": {\"role\": \"assistant\", \"content\": \"\"}}]}")
                     .content);
    assert_true(
        chunk("{\"choices\": [{\"delta\": {\"content\": \"a\"}}], \"usage\": null}").content);
    assert_true(chunk("{\"choices\": [{\"delta\": {\"reasoning_content\": \"a\"}}]}").content);
    assert_true(chunk("{\"choices\": [{\"delta\": {\"tool_calls\": [{}]}}]}").content);
    assert_true(chunk("{\"choices\": [{\"text\": \"\"}, {\"text\": \" \"}]}").content);
    assert_true(chunk("{\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}]}").finished);
    assert_false(chunk("{\"choices\": [{\"text\": \"a\", \"finish_reason\": null}]}").finished);

    struct load_chunk c =
        chunk("{\"choices\": [], \"usage\": {\"prompt_tokens\": 9, \"completion_tokens\": 4, "
              "\"prompt_tokens_details\": {\"cached_tokens\": 5}}}");
    assert_true(c.has_usage && !c.content && !c.finished);
    assert_int_equal(c.n_prompt, 9);
    assert_int_equal(c.n_output, 4);
    assert_int_equal(c.n_cached, 5);
    c = chunk("{\"usage\": {\"prompt_tokens\": 9, \"prompt_tokens_details\": null}}");
    assert_int_equal(c.n_cached, -1);
}

static void errors_keep_their_words(void **state)
{
    static const char *const wrong[][2] = {
        { "{\"error\": {\"message\": \"too long\", \"code\": 400}}", "too long" },
        { "{\"error\": \"busy\"}", "busy" },
        { "{\"error\": {}}", "an error without words" },
        { "{\"detail\": \"Not Found\"}", "Not Found" },
    };
    struct load_chunk c;
    struct note why = { "" };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(load_chunk_read(&c, wrong[i][0], strlen(wrong[i][0]), &why), BAD_INPUT);
        assert_string_equal(why.text, wrong[i][1]);
        load_error_read(wrong[i][0], strlen(wrong[i][0]), &why);
        assert_string_equal(why.text, wrong[i][1]);
    }
    assert_int_equal(load_chunk_read(&c, "[1]", 3, &why), BAD_INPUT);
    assert_int_equal(load_chunk_read(&c, "{", 1, &why), BAD_INPUT);
    load_error_read("<h1>502\x1b[2J</h1>", 16, &why);
    assert_string_equal(why.text, "<h1>502?[2J</h1>");
}

/* ---- sums ---- */

static void quantiles_lie_between_neighbours(void **state)
{
    struct load_series s = { 0 }, none = { 0 };
    (void)state;
    assert_true(isnan(load_series_quantile(&none, 0.5)) && isnan(load_series_mean(&none)));
    for (int i = 10; i > 0; i--)
        load_series_add(&s, i);
    assert_true(load_series_quantile(&s, 0) == 1 && load_series_quantile(&s, 1) == 10);
    assert_true(load_series_quantile(&s, 0.5) == 5.5);
    assert_true(fabs(load_series_quantile(&s, 0.9) - 9.1) < 1e-12);
    load_series_add(&s, 0); // behind a look: sorted again
    assert_true(load_series_quantile(&s, 0) == 0 && load_series_quantile(&s, 0.5) == 5);
    assert_true(load_series_mean(&s) == 5);
    load_series_close(&s);
}

static struct load_result answer(double ttft_ms, double token_ms, int64_t n_token)
{
    const uint64_t from = 5000000000, first = from + (uint64_t)(ttft_ms * 1e6);
    const uint64_t last = first + (uint64_t)(token_ms * 1e6 * (double)(n_token - 1));
    return (struct load_result){ from, first,   last, last + 1000000, (uint32_t)n_token, true,
                                 100,  n_token, 60 };
}

static void goodput_asks_for_both(void **state)
{
    struct load_tally t = { .slo = { .ttft_ms = 100, .itl_ms = 20 } };
    const struct load_series gap = { 0 };
    const struct load_result r[] = {
        answer(100, 20, 11), answer(101, 1, 11), answer(1, 21, 11),
        answer(50, 500, 1),  answer(50, 10, 2),
    };
    (void)state;
    for (size_t i = 0; i < sizeof r / sizeof *r; i++)
        load_tally_add(&t, &r[i], &gap);
    assert_int_equal(t.n_good, 5);
    assert_int_equal(t.n_in_slo, 3);
    assert_int_equal(t.n_output, 36);
    assert_int_equal(t.n_cached, 300);
    assert_int_equal(t.token.n, 4); // an answer of one token has no token behind it
    assert_true(load_series_quantile(&t.first, 1) == 101);
    assert_true(fabs(load_series_quantile(&t.whole, 1) - 301) < 1e-6); // 100 + 10 * 20 + 1
    t.slo = (struct load_slo){ 0 };
    assert_true(load_in_slo(&t.slo, &r[1]));
    load_tally_close(&t);
}

static void failures_have_rows_and_a_last_one(void **state)
{
    struct load_tally t = { 0 };
    struct note first = { "first" }, second = { "second" };
    char label[40];
    (void)state;
    load_tally_fail(&t, "HTTP 429", &first);
    load_tally_fail(&t, "HTTP 429", &second);
    assert_int_equal(t.n_fault, 1);
    assert_int_equal(t.fault[0].n, 2);
    assert_string_equal(t.fault[0].example.text, "first");
    for (int i = 0; i < 40; i++) {
        snprintf(label, sizeof label, "HTTP %d", 500 + i);
        load_tally_fail(&t, label, &first);
    }
    assert_int_equal(t.n_fault, LOAD_FAULTS_MAX);
    assert_string_equal(t.fault[LOAD_FAULTS_MAX - 1].label, "others");
    assert_int_equal(t.fault[LOAD_FAULTS_MAX - 1].n, 42 - 2 - (LOAD_FAULTS_MAX - 2));
    assert_int_equal(t.n_failed, 42);
    load_tally_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_read_strictly),
        cmocka_unit_test(amounts_are_drawn_as_said),
        cmocka_unit_test(counts_keep_their_bounds),
        cmocka_unit_test(prompts_share_what_they_shall),
        cmocka_unit_test(warm_ups_leave_prefixes_cold),
        cmocka_unit_test(text_prompts_take_extra_members),
        cmocka_unit_test(events_survive_every_cut),
        cmocka_unit_test(endless_events_are_refused),
        cmocka_unit_test(chunks_say_what_counts),
        cmocka_unit_test(errors_keep_their_words),
        cmocka_unit_test(quantiles_lie_between_neighbours),
        cmocka_unit_test(goodput_asks_for_both),
        cmocka_unit_test(failures_have_rows_and_a_last_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
