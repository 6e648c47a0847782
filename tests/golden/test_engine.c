/* The public API on the real default model: an answer does not depend on what else runs, on a pool too small for all,
 * or on what was computed before; requests end, cancel and fail with words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "akvifer.h"
#include "support/sanitized.h"

enum {
    N_RUN = SANITIZED ? 2 : 4,
    N_PROMPT = 90,
    N_ANSWER = 50,
    TIMEOUT_MS = SANITIZED ? 600000 : 60000
};

struct answer {
    int32_t ids[N_ANSWER];
    uint32_t n;
    enum akv_stop stop;
    struct akv_usage usage;
    bool done;
};

static akv_model *model;

static int open_model(void **state)
{
    struct akv_note why = { "" };
    const struct akv_model_params params = { .path = "models/SmolLM2-135M-Instruct.Q4_1.gguf" };
    (void)state;
    if (akv_model_open(&model, &params, &why) == AKV_OK)
        return 0;
    print_error("%s\n", why.text);
    return -1;
}

static int close_model(void **state)
{
    (void)state;
    akv_model_close(model);
    return 0;
}

static akv_engine *engine_of(struct akv_limits limits)
{
    akv_engine *engine;
    struct akv_note why = { "" };
    if (akv_engine_new(&engine, model, &limits, &why) != AKV_OK)
        fail_msg("%s", why.text);
    return engine;
}

/* A prompt of its own for each i: 90 ids and more. */
static uint32_t prompt_of(uint32_t i, int32_t *ids)
{
    for (uint32_t p = 0; p < N_PROMPT + i; p++)
        ids[p] = (int32_t)(100 + (p * 37 + i * 1009) % 40000);
    return N_PROMPT + i;
}

static uint64_t submit_public(akv_engine *engine, uint32_t i, const char *salt, uint32_t n_public,
                              struct answer *a)
{
    int32_t ids[N_PROMPT + N_RUN];
    struct akv_note why = { "" };
    uint64_t id;
    const struct akv_request r = {
        .ids = ids,
        .n_id = prompt_of(i, ids),
        .n_predict = N_ANSWER,
        .sampling = { .temperature = 0.9f,
                      .top_p = 0.95f,
                      .typical_p = 1,
                      .repeat_penalty = 1,
                      .seed = i },
        .ignore_eos = true,
        .cache_salt = salt,
        .n_public = n_public,
        .user = a,
    };
    *a = (struct answer){ 0 };
    if (akv_submit(engine, &r, &id, &why) != AKV_OK)
        fail_msg("%s", why.text);
    return id;
}

static uint64_t submit(akv_engine *engine, uint32_t i, const char *salt, struct answer *a)
{
    return submit_public(engine, i, salt, 0, a);
}

static void wait_for(akv_engine *engine, const struct answer *a)
{
    struct akv_event event;
    while (!a->done) {
        assert_int_equal(akv_next_event(engine, &event, TIMEOUT_MS), AKV_OK);
        struct answer *its = event.user;
        if (event.kind == AKV_EVENT_TOKEN)
            its->ids[its->n++] = event.token;
        if (event.kind == AKV_EVENT_DONE) {
            its->stop = event.stop;
            its->usage = event.usage;
            its->done = true;
        }
    }
}

static void alone(uint32_t i, struct answer *a)
{
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .n_parallel = 1 });
    submit(engine, i, NULL, a);
    wait_for(engine, a);
    akv_engine_free(engine);
    assert_int_equal(a->stop, AKV_STOP_LENGTH);
    assert_int_equal(a->n, N_ANSWER);
}

static void together(struct akv_limits limits)
{
    struct answer expected, got[N_RUN];
    struct akv_stats stats;
    akv_engine *engine = engine_of(limits);
    for (uint32_t i = 0; i < N_RUN; i++)
        submit(engine, i, NULL, &got[i]);
    for (uint32_t i = 0; i < N_RUN; i++)
        wait_for(engine, &got[i]);
    akv_stats(engine, &stats);
    assert_true(stats.kv_bytes_backed <= stats.kv_bytes_max);
    akv_engine_free(engine);
    for (uint32_t i = 0; i < N_RUN; i++) {
        alone(i, &expected);
        assert_memory_equal(got[i].ids, expected.ids, sizeof expected.ids);
    }
}

static void answers_together_are_those_alone(void **state)
{
    (void)state;
    together((struct akv_limits){ .n_ctx = 192, .n_parallel = N_RUN, .n_ubatch = 64 });
}

/* Four blocks for sequences that need three each: the youngest pause and are computed again. */
static void a_pool_too_small_for_all_changes_nothing(void **state)
{
    (void)state;
    together((struct akv_limits){ .n_ctx = 192, .n_parallel = N_RUN, .kv_bytes = 4 * 1474560 });
}

static void a_prompt_seen_before_is_reused_inside_its_salt(void **state)
{
    struct answer cold, first, second, longer, other, salted;
    (void)state;
    alone(0, &cold);
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .kv_bytes = 24 * 1474560 });
    submit(engine, 0, "alice", &first);
    wait_for(engine, &first);
    submit(engine, 0, "alice", &second); /* the same prompt: all but its last position is there */
    wait_for(engine, &second);
    submit(engine, 1, "alice", &longer);
    wait_for(engine, &longer);
    submit(engine, 0, "bob", &other);
    wait_for(engine, &other);
    submit(engine, 0, "alice/x", &salted);
    wait_for(engine, &salted);
    assert_string_equal(salted.usage.cache_miss, "salt");
    assert_int_equal(first.usage.n_cached, 0);
    assert_string_equal(first.usage.cache_miss, "cold");
    assert_int_equal(second.usage.n_cached, N_PROMPT - 1);
    assert_string_equal(second.usage.cache_miss, "none");
    assert_int_equal(longer.usage.n_cached, 0); /* it begins with another token */
    assert_int_equal(other.usage.n_cached, 0);
    assert_string_equal(other.usage.cache_miss, "cold"); /* it must not learn more */
    assert_string_equal(other.usage.cache_miss_operator, "tenant");
    assert_memory_equal(first.ids, cold.ids, sizeof cold.ids);
    assert_memory_equal(second.ids, cold.ids, sizeof cold.ids);
    assert_memory_equal(other.ids, cold.ids, sizeof cold.ids);
    akv_engine_free(engine);
}

static void ask(akv_engine *engine, const char *salt, uint32_t n_public, struct answer *a)
{
    submit_public(engine, 0, salt, n_public, a);
    wait_for(engine, a);
}

/* 90 ids: one whole block of 64 can be public, whatever is declared. The rest stays under its salt. */
static void what_is_public_is_shared_by_who_says_so(void **state)
{
    struct answer cold, first, few, silent, second, again;
    (void)state;
    alone(0, &cold);
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .kv_bytes = 24 * 1474560 });
    ask(engine, "alice", N_PROMPT, &first);
    ask(engine, "eve", 63, &few); /* not a whole block */
    ask(engine, "carol", 0, &silent);
    ask(engine, "bob", 64, &second);
    ask(engine, "bob", 64, &again);
    assert_int_equal(first.usage.n_cached, 0);
    assert_int_equal(few.usage.n_cached, 0);
    assert_int_equal(silent.usage.n_cached, 0);
    assert_string_equal(silent.usage.cache_miss, "public");
    assert_int_equal(second.usage.n_cached, 64);
    assert_true(second.usage.cached_public);
    assert_string_equal(second.usage.cache_miss, "end");
    assert_int_equal(again.usage.n_cached, N_PROMPT - 1); /* its own is there now */
    assert_false(again.usage.cached_public);
    assert_memory_equal(second.ids, cold.ids, sizeof cold.ids);
    assert_memory_equal(again.ids, cold.ids, sizeof cold.ids);
    akv_engine_free(engine);
}

/* Four tenants at once: one computes the public block, the others wait for it and compute their own rest. */
static void tenants_at_once_compute_what_is_public_once(void **state)
{
    enum { N_TENANT = 4 };
    static const char *const salt[] = { "alice", "bob", "carol", "dan" };
    struct answer cold, got[N_TENANT];
    (void)state;
    alone(0, &cold);
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .n_parallel = N_TENANT });
    for (uint32_t i = 0; i < N_TENANT; i++)
        submit_public(engine, 0, salt[i], 64, &got[i]);
    for (uint32_t i = 0; i < N_TENANT; i++) {
        wait_for(engine, &got[i]);
        assert_memory_equal(got[i].ids, cold.ids, sizeof cold.ids);
        assert_int_equal(got[i].usage.n_cached, i ? 64 : 0);
    }
    akv_engine_free(engine);
}

/* What a pool of three blocks forgot: whence, when and what for. */
static void what_went_is_told(void **state)
{
    struct answer first, other, again;
    (void)state;
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .kv_bytes = 3 * 1474560 });
    ask(engine, NULL, 0, &first);
    submit(engine, 1, NULL, &other);
    wait_for(engine, &other);
    ask(engine, NULL, 0, &again);
    assert_string_equal(again.usage.cache_miss, "evicted");
    assert_string_equal(again.usage.evicted.why, "memory");
    assert_string_equal(again.usage.evicted.from, "memory");
    assert_in_range(again.usage.evicted.steps_ago, 1, 1000);
    assert_true(again.usage.evicted.ns_ago > 0);
    assert_null(first.usage.evicted.why);
    assert_memory_equal(again.ids, first.ids, sizeof first.ids);
    struct akv_stats s;
    akv_stats(engine, &s);
    assert_true(s.n_evicted > 0 && s.block_lifetime.sum > 0);
    akv_engine_free(engine);
}

static void a_beginning_below_the_minimum_is_computed(void **state)
{
    struct answer first, second;
    (void)state;
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .n_cache_min = N_PROMPT });
    submit(engine, 0, NULL, &first);
    wait_for(engine, &first);
    submit(engine, 0, NULL, &second);
    wait_for(engine, &second);
    assert_int_equal(second.usage.n_cached, 0);
    assert_string_equal(second.usage.cache_miss, "below_minimum");
    assert_memory_equal(second.ids, first.ids, sizeof first.ids);
    akv_engine_free(engine);
}

/* Four requests with one prompt at once: one computes it, the others wait and take it, its open block too. */
static void a_prompt_that_many_share_is_computed_once(void **state)
{
    struct answer cold, got[N_RUN];
    (void)state;
    alone(0, &cold);
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .n_parallel = N_RUN });
    for (uint32_t i = 0; i < N_RUN; i++)
        submit(engine, 0, NULL, &got[i]);
    for (uint32_t i = 0; i < N_RUN; i++) {
        wait_for(engine, &got[i]);
        assert_memory_equal(got[i].ids, cold.ids, sizeof cold.ids);
        assert_int_equal(got[i].usage.n_cached, i ? N_PROMPT - 1 : 0);
    }
    akv_engine_free(engine);
}

/* A prompt that one step computes: meanwhile everything can be looked at, and over again. */
static void who_looks_waits_for_no_step(void **state)
{
    enum { N_LONG = SANITIZED ? 256 : 1000 };
    int32_t ids[N_LONG];
    struct akv_event event;
    struct akv_cache_find found;
    struct akv_snapshot *seen;
    uint64_t id;
    uint32_t n_look = 0;
    (void)state;
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 1024, .n_ubatch = 1024 });
    const struct akv_request r = {
        .ids = ids, .n_id = N_LONG, .n_predict = 1, .sampling = akv_sampling_default()
    };
    for (int32_t i = 0; i < N_LONG; i++)
        ids[i] = 100 + i * 37 % 40000;
    assert_int_equal(akv_snapshot_new(&seen, engine, NULL), AKV_OK);
    assert_int_equal(akv_submit(engine, &r, &id, NULL), AKV_OK);
    while (akv_next_event(engine, &event, 0) != AKV_OK) {
        assert_int_equal(akv_cache_find(engine, &r, &found, NULL), AKV_OK);
        assert_int_equal(akv_snapshot_take(engine, seen, NULL), AKV_OK);
        n_look++;
        usleep(1000);
    }
    struct akv_stats s;
    akv_stats(engine, &s);
    assert_true(s.n_step <= 2);
    assert_true(n_look > 10); /* between steps there is room for one or two */
    akv_snapshot_free(seen);
    akv_engine_free(engine);
}

static void a_canceled_request_ends(void **state)
{
    struct answer a, b;
    (void)state;
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 192, .n_parallel = 1 });
    submit(engine, 0, NULL, &a);
    akv_cancel(engine, submit(engine, 1, NULL, &b)); /* while it waits */
    akv_cancel(engine, 12345);                       /* nobody */
    wait_for(engine, &b);
    wait_for(engine, &a);
    assert_int_equal(b.stop, AKV_STOP_CANCELED);
    assert_int_equal(a.stop, AKV_STOP_LENGTH);
    akv_engine_free(engine);
}

static void refusals_have_words(void **state)
{
    struct akv_note why = { "" };
    int32_t ids[200] = { 0 };
    uint64_t id;
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = 128, .n_parallel = 1 });
    struct akv_request r = {
        .ids = ids, .n_id = 200, .n_predict = 1, .sampling = akv_sampling_default()
    };
    (void)state;
    assert_int_equal(akv_submit(engine, &r, &id, &why), AKV_BAD_INPUT);
    assert_string_equal(
        why.text, "the prompt has 200 tokens; the context holds 128, and an answer needs room too");
    r.n_id = 0;
    assert_int_equal(akv_submit(engine, &r, &id, &why), AKV_BAD_INPUT);
    r.n_id = 3;
    ids[2] = 49152;
    assert_int_equal(akv_submit(engine, &r, &id, &why), AKV_BAD_INPUT);
    assert_string_equal(why.text,
                        "token 2 of the prompt is 49152; the vocabulary has ids 0 to 49151");
    akv_engine *second = NULL; // it would take the first one's workspace away
    assert_int_equal(akv_engine_new(&second, model, NULL, &why), AKV_BAD_INPUT);
    assert_true(!second && strstr(why.text, "has an engine already"));
    akv_engine_free(engine);

    const struct akv_limits tight = { .n_ctx = 4096, .kv_bytes = 4 << 20 };
    assert_int_equal(akv_engine_new(&engine, model, &tight, &why), AKV_BAD_INPUT);
    assert_non_null(strstr(why.text, "a context of 4096 tokens needs"));
    const struct akv_limits type = { .kv_type = "q3" };
    assert_int_equal(akv_engine_new(&engine, model, &type, &why), AKV_BAD_INPUT);
    assert_string_equal(why.text, "--kv-type is 'q3'; it must be f16, f32 or int8");
}

/* Resident bytes of mappings whose line in smaps has that name. */
static size_t resident_of(const char *name)
{
    char line[512];
    size_t kib, sum = 0;
    bool its = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strchr(line, '-') && strstr(line, " r"))
            its = strstr(line, name) != NULL;
        if (its && sscanf(line, "Rss: %zu", &kib) == 1)
            sum += kib << 10;
    }
    fclose(f);
    return sum;
}

/* Rows of the embedding are read from the file; what was read does not pile up. */
static void a_long_prompt_does_not_hold_the_file(void **state)
{
    enum { N_LONG = 1024, SHIFT = 47, FEW = 12 << 20 };
    akv_engine *engine = engine_of((struct akv_limits){ .n_ctx = N_LONG + 64, .n_parallel = 1 });
    struct akv_note why = { "" };
    struct answer a = { 0 };
    int32_t ids[N_LONG];
    uint64_t id;
    (void)state;
    for (int i = 0; i < N_LONG; i++)
        ids[i] = i * SHIFT;
    const struct akv_request r = {
        .ids = ids, .n_id = N_LONG, .n_predict = 1, .sampling = akv_sampling_default(), .user = &a
    };
    if (akv_submit(engine, &r, &id, &why) != AKV_OK)
        fail_msg("%s", why.text);
    wait_for(engine, &a);
    assert_in_range(resident_of(".gguf"), 0, FEW);
    akv_engine_free(engine);
}

/* What a policy drops is memory that the system has again, while the answer goes on. */
static void a_pruned_prompt_leaves_memory(void **state)
{
    enum {
        N_LONG = 1024,
        N_LATER = SANITIZED ? 120 : 240,
        PER_TOKEN = 23040,
        FULL = N_LONG * PER_TOKEN
    };
    akv_engine *engine =
        engine_of((struct akv_limits){ .n_ctx = N_LONG + N_LATER + 64, .n_parallel = 1 });
    struct akv_note why = { "" };
    struct akv_event event = { 0 };
    struct akv_stats stats = { 0 };
    int32_t ids[N_LONG];
    uint64_t id;
    (void)state;
    for (int i = 0; i < N_LONG; i++)
        ids[i] = i * 29;
    const struct akv_request r = { .ids = ids,
                                   .n_id = N_LONG,
                                   .n_predict = N_LATER + 60,
                                   .sampling = akv_sampling_default(),
                                   .ignore_eos = true,
                                   .kv_policy = "window:budget=128,every=64" };
    if (akv_submit(engine, &r, &id, &why) != AKV_OK)
        fail_msg("%s", why.text);
    for (uint32_t n = 0; n < N_LATER; n += event.kind == AKV_EVENT_TOKEN)
        assert_int_equal(akv_next_event(engine, &event, TIMEOUT_MS), AKV_OK);
    akv_stats(engine, &stats);
    assert_in_range(stats.kv_bytes_held, FULL / 9, FULL / 4);
    assert_in_range(stats.kv_bytes_backed, FULL / 9, FULL / 3);
    assert_in_range(resident_of("akvifer-kv"), FULL / 9, FULL / 3);
    akv_engine_free(engine);
}

/* A list enters as a whole, or leaves no trace: neither the room it would have taken, nor an id. */
static void a_list_is_taken_whole_or_not_at_all(void **state)
{
    enum { N_LIST = 3 };
    static const int32_t good = 100, bad = -1;
    struct akv_request r[N_LIST];
    struct akv_note why = { "" };
    struct answer a[N_LIST] = { 0 }, before;
    uint64_t id[N_LIST] = { 0 };
    akv_engine *engine =
        engine_of((struct akv_limits){ .n_ctx = 192, .n_parallel = 1, .n_queue = 2 });
    (void)state;
    for (int i = 0; i < N_LIST; i++)
        r[i] = (struct akv_request){ .ids = &good,
                                     .n_id = 1,
                                     .n_predict = 1,
                                     .sampling = akv_sampling_default(),
                                     .ignore_eos = true,
                                     .user = &a[i] };
    r[N_LIST - 1].ids = &bad;
    assert_int_equal(akv_submit_all(engine, r, N_LIST, id, &why), AKV_BAD_INPUT);
    assert_non_null(strstr(why.text, "-1"));
    r[N_LIST - 1].ids = &good;
    submit(engine, 0, NULL, &before);
    assert_int_equal(akv_submit_all(engine, r, N_LIST, id, &why), AKV_FULL);
    assert_non_null(strstr(why.text, "the limit is 3"));
    assert_true(id[0] == 0 && id[1] == 0 && id[2] == 0);
    assert_int_equal(akv_submit_all(engine, r, N_LIST - 1, id, &why), AKV_OK);
    assert_true(id[0] > 0 && id[1] == id[0] + 1 && id[2] == 0);
    wait_for(engine, &before);
    wait_for(engine, &a[0]);
    wait_for(engine, &a[1]);
    assert_true(a[0].n == 1 && a[1].n == 1 && !a[2].done);
    akv_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_together_are_those_alone),
        cmocka_unit_test(a_pool_too_small_for_all_changes_nothing),
        cmocka_unit_test(a_prompt_seen_before_is_reused_inside_its_salt),
        cmocka_unit_test(what_is_public_is_shared_by_who_says_so),
        cmocka_unit_test(tenants_at_once_compute_what_is_public_once),
        cmocka_unit_test(what_went_is_told),
        cmocka_unit_test(a_beginning_below_the_minimum_is_computed),
        cmocka_unit_test(a_prompt_that_many_share_is_computed_once),
        cmocka_unit_test(who_looks_waits_for_no_step),
        cmocka_unit_test(a_long_prompt_does_not_hold_the_file),
        cmocka_unit_test(a_pruned_prompt_leaves_memory),
        cmocka_unit_test(a_canceled_request_ends),
        cmocka_unit_test(refusals_have_words),
        cmocka_unit_test(a_list_is_taken_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
