/* Once it is warm, neither a pass of a model (M3) nor a step of an engine that answers asks for memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/mem.h"
#include "support/runner.h"
#include "support/still.h"

enum { PROMPT = 150, WARM = 40, ANSWER = 200, SEQUENCES = 3 };

/* Rows of prompts and single ones, over boundaries of blocks, and their logits. */
static void read_and_answer(struct runner *r, uint32_t n_each)
{
    static const int32_t ids[2 * PROMPT + ANSWER];
    const uint32_t row[] = { 0, n_each };
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        struct run s;
        run_open(r, &s, ids);
        assert_int_equal(kv_space_grow(s.space, n_each + 1), OK);
        struct batch_seq seq = { .space = s.space, .n_row = n_each };
        struct batch b = { .n_row = n_each, .n_seq = 1, .id = ids, .seq = &seq };
        mem_fail_at(0);
        model_forward(r->model, &b);
        model_logits(r->model, row, 1);
        model_let_go(r->model);
        kv_space_commit(s.space, n_each);
        seq.position = n_each;
        seq.n_row = b.n_row = 1;
        model_forward(r->model, &b);
        model_logits(r->model, row, 1);
        assert_int_equal(mem_fail_count(), 0);
        kv_space_commit(s.space, n_each + 1);
        run_close(&s);
    }
}

static void a_pass_asks_for_no_memory(void **state)
{
    static const char *const archs[] = { "llama", "qwen2", "qwen3", "gemma3" };
    (void)state;
    for (uint32_t a = 0; a < 4; a++) {
        struct runner r;
        char path[TINY_PATH];
        tiny_model_save_temporary(tiny_model_of(archs[a], DT_Q4_1), path);
        runner_open(&r,
                    &(struct runner_config){
                        .path = path, .n_thread = 2, .n_position_max = 1024, .kv_type = KV_F16 });
        read_and_answer(&r, PROMPT);
        read_and_answer(&r, 3);
        runner_close(&r);
        unlink(path);
    }
}

/* ---- in the engine ---- */

static void ask(struct still *s, uint32_t n_id, uint32_t n_logprob)
{
    static const int32_t ids[PROMPT];
    struct note why = { "" };
    uint64_t id;
    const struct akv_request r = {
        .ids = ids,
        .n_id = n_id,
        .n_predict = WARM + ANSWER + SEQUENCES,
        .sampling = akv_sampling_default(),
        .ignore_eos = true,
        .n_logprob = n_logprob,
    };
    if (engine_submit(s->engine, &r, 1, &id, &why) != OK)
        fail_msg("%s", why.text);
}

/* Each step's events are read, and come back. */
static void turn(struct still *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct outbox_event *event;
        assert_true(engine_turn(s->engine));
        while ((event = still_event(s)))
            engine_give_event(s->engine, event);
    }
}

static void a_step_that_answers_asks_for_no_memory(void **state)
{
    struct still s;
    (void)state;
    still_open(&s, "llama");
    still_engine_open(&s, &(struct akv_limits){ .n_ctx = 512, .n_parallel = SEQUENCES });
    ask(&s, PROMPT, 0);
    ask(&s, 1, 5);
    ask(&s, 60, 64);
    turn(&s, WARM);
    assert_int_equal(s.engine->n_running, SEQUENCES);
    mem_fail_at(0);
    turn(&s, ANSWER);
    assert_int_equal(mem_fail_count(), 0);
    assert_int_equal(s.engine->n_running, SEQUENCES);
    still_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_asks_for_no_memory),
        cmocka_unit_test(a_step_that_answers_asks_for_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
