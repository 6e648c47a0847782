/* Snapshots of the engine: every held block is in them once, with who has it; nothing is seen of a moment between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "akvifer.h"
#include "support/tiny_model.h"

enum { N_PROMPT = 200, N_SAME = 140, N_ANSWER = 60, TIMEOUT_MS = 60000 };

static akv_model *model;

static akv_engine *engine_of(void)
{
    akv_engine *engine;
    const struct akv_limits limits = { .n_ctx = 512, .kv_bytes = 32 << 20, .n_ubatch = 64 };
    assert_int_equal(akv_engine_new(&engine, model, &limits, NULL), AKV_OK);
    return engine;
}

static void submit_under(akv_engine *engine, int32_t own, const char *policy, const char *salt)
{
    int32_t ids[N_PROMPT];
    uint64_t id;
    const struct akv_request r = {
        .ids = ids,
        .n_id = N_PROMPT,
        .n_predict = N_ANSWER,
        .sampling = akv_sampling_default(),
        .ignore_eos = true,
        .cache_salt = salt,
        .kv_policy = policy,
        .kv_context = policy ? N_SAME : 0,
    };
    for (int32_t i = 0; i < N_PROMPT; i++)
        ids[i] = (i * 7 + (i < N_SAME ? 0 : own)) % 250;
    assert_int_equal(akv_submit(engine, &r, &id, NULL), AKV_OK);
}

static void submit(akv_engine *engine, int32_t own, const char *salt)
{
    submit_under(engine, own, NULL, salt);
}

/* Waits for so many tokens, or until n requests are done. */
static void await(akv_engine *engine, uint32_t n_token, uint32_t n_done)
{
    struct akv_event e;
    while (n_token > 0 && n_done > 0) {
        assert_int_equal(akv_next_event(engine, &e, TIMEOUT_MS), AKV_OK);
        n_token -= e.kind == AKV_EVENT_TOKEN;
        n_done -= e.kind == AKV_EVENT_DONE;
    }
}

struct counts {
    uint32_t n[AKV_BLOCK_IDLE + 1], n_shared;
};

static struct counts count(const struct akv_snapshot *s)
{
    struct counts c = { 0 };
    uint32_t n_block = 0;
    for (uint32_t g = 0; g < s->n_group; g++)
        n_block += s->group[g].n_block;
    for (uint32_t i = 0; i < n_block; i++) {
        const struct akv_block *b = &s->block[i];
        c.n[b->state]++;
        c.n_shared += b->n_sequence > 1;
        if (b->state != AKV_BLOCK_FREE)
            assert_true(b->salt < s->n_salt);
        assert_int_equal(b->sequence != 0, b->n_sequence > 0);
        assert_int_equal(b->n_sequence > 0,
                         b->state == AKV_BLOCK_OPEN || b->state == AKV_BLOCK_SEALED);
    }
    return c;
}

static void look(akv_engine *engine, struct akv_snapshot *s)
{
    assert_int_equal(akv_snapshot_take(engine, s, NULL), AKV_OK);
}

static void an_idle_engine_holds_what_its_tree_has(void **state)
{
    struct akv_snapshot *s;
    struct akv_stats stats;
    akv_engine *engine = engine_of();
    (void)state;
    assert_int_equal(akv_snapshot_new(&s, engine, NULL), AKV_OK);
    look(engine, s);
    assert_int_equal(count(s).n[AKV_BLOCK_FREE], s->group[0].n_block + s->group[1].n_block);
    assert_int_equal(s->n_node + s->n_sequence + s->n_salt, 0);

    submit(engine, 1, NULL);
    submit(engine, 2, NULL);
    submit(engine, 2, "other");
    await(engine, UINT32_MAX, 3);
    do
        akv_stats(engine, &stats); /* of the last step's end, behind the last event */
    while (stats.n_running > 0);
    look(engine, s);
    const struct counts c = count(s);
    assert_int_equal(c.n[AKV_BLOCK_IDLE], stats.n_block_held);
    assert_int_equal(c.n[AKV_BLOCK_OPEN] + c.n[AKV_BLOCK_SEALED], 0);
    assert_int_equal(s->n_node, stats.n_block_indexed);
    assert_int_equal(s->n_sequence, 0);
    assert_int_equal(s->n_salt, 2);
    for (uint32_t i = 0; i < s->n_node; i++) {
        assert_true(s->node[i].depth >= 1);
        assert_true(i == 0 || s->node[i].depth <= s->node[i - 1].depth + 1);
        assert_int_equal(s->node[i].n_sequence, 0);
        if (s->node[i].depth == 1) /* the prompt's own beginning */
            assert_int_equal(s->node[i].ids[1], 7);
    }
    akv_snapshot_free(s);
    akv_engine_free(engine);
}

/* Two that share a beginning and run at once, and a third under another salt. */
static void running_sequences_are_seen_in_their_blocks(void **state)
{
    struct akv_snapshot *s;
    akv_engine *engine = engine_of();
    (void)state;
    assert_int_equal(akv_snapshot_new(&s, engine, NULL), AKV_OK);
    submit(engine, 1, NULL);
    submit(engine, 2, NULL);
    submit(engine, 2, "other");
    await(engine, 12, 3);
    look(engine, s);
    const struct counts c = count(s);
    assert_int_equal(s->n_sequence, 3);
    assert_true(c.n[AKV_BLOCK_OPEN] >= 3);
    assert_true(c.n[AKV_BLOCK_SEALED] > 0);
    assert_true(c.n_shared > 0);
    for (uint32_t i = 0; i < s->n_sequence; i++) {
        const struct akv_sequence *q = &s->sequence[i];
        assert_int_equal(q->n_prompt, N_PROMPT);
        assert_true(q->n_block > 0);
        assert_string_equal(s->salt[q->salt], q->id == 3 ? "other" : "");
        assert_true(q->phase != AKV_PHASE_ANSWER || q->n_done >= N_PROMPT);
    }
    await(engine, UINT32_MAX, 3);
    akv_snapshot_free(s);
    akv_engine_free(engine);
}

/* What a policy left of a context, or has pruned behind it, belongs to no request and stands in no tree. */
static void contexts_that_are_kept_are_idle_blocks(void **state)
{
    struct akv_snapshot *s;
    struct akv_stats stats;
    akv_engine *engine = engine_of();
    uint32_t n_outside = 0, n_block = 0;
    (void)state;
    assert_int_equal(akv_snapshot_new(&s, engine, NULL), AKV_OK);
    submit_under(engine, 1, "h2o:budget=20,sinks=1", "a");
    submit_under(engine, 2, "epicache:budget=20,recent=4,block=64", "b");
    await(engine, UINT32_MAX, 2);
    do
        akv_stats(engine, &stats);
    while (stats.n_running > 0);
    look(engine, s);
    assert_int_equal(count(s).n[AKV_BLOCK_IDLE], stats.n_block_held);
    for (uint32_t g = 0; g < s->n_group; g++)
        n_block += s->group[g].n_block;
    for (uint32_t i = 0; i < n_block; i++) {
        const struct akv_block *b = &s->block[i];
        if (b->state == AKV_BLOCK_FREE || b->node != AKV_NOWHERE)
            continue;
        assert_true(b->used_step > 0 && b->used_step <= s->step);
        assert_true(strchr("ab", s->salt[b->salt][0]));
        n_outside++;
    }
    assert_true(n_outside > 0);
    akv_snapshot_free(s);
    akv_engine_free(engine);
}

/* gemma3: a group of layers with a window beside one without. */
static int open_model(void **state)
{
    char path[TINY_PATH];
    struct tiny_model t = tiny_model_of("gemma3", DT_Q8_0);
    const struct akv_model_params params = { .path = path, .n_thread = 1 };
    (void)state;
    tiny_model_save_temporary(t, path);
    const enum akv_status st = akv_model_open(&model, &params, NULL);
    unlink(path);
    return st == AKV_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    akv_model_close(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_engine_holds_what_its_tree_has),
        cmocka_unit_test(running_sequences_are_seen_in_their_blocks),
        cmocka_unit_test(contexts_that_are_kept_are_idle_blocks),
    };
    return cmocka_run_group_tests_name("snapshot", tests, open_model, close_model);
}
