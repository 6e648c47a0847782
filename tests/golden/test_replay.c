/* What is read over a past and forgotten: a probe's query is that of the same tokens read as text, and the past is as
 * it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/replay.h"
#include "model/vocab_load.h"
#include "support/runner.h"
#include "support/tiny_model.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

enum { PAST = 150, CHUNK = 50, PROBE = 3, N = PAST + PROBE, BESIDE = PROBE + KV_BLOCK };

static const struct replay_prefix prefix = { .id = { 11, 7, 42 }, .n = PROBE };
static const struct replay_text probe = { .prefix = &prefix };

struct reading {
    struct runner r;
    struct run run;
    struct kv_taps taps; // the last row's query
    size_t n_query;      // floats in it
    int32_t ids[N];      // the past, and the probe behind it
};

static void open_reading(struct reading *f, const char *path)
{
    const struct runner_config config = { .path = path,
                                          .n_thread = 2,
                                          .n_position_max = PAST + BESIDE };
    struct rng rng = rng_seeded(5, 5);
    memset(f, 0, sizeof *f);
    runner_open(&f->r, &config);
    const struct hparams *h = model_hparams(f->r.model);
    f->n_query = (size_t)h->n_layer * h->n_head * h->d_head;
    for (uint32_t i = 0; i < PAST; i++)
        f->ids[i] = (int32_t)rng_below(&rng, f->r.n_vocab);
    memcpy(f->ids + PAST, prefix.id, sizeof f->ids - PAST * sizeof *f->ids);
    f->taps = (struct kv_taps){ .n_counted = UINT32_MAX,
                                .n_query = 1,
                                .query = mem_new(f->n_query, sizeof(float)) };
    run_open(&f->r, &f->run, f->ids);
    f->run.taps = &f->taps;
}

static void close_reading(struct reading *f)
{
    mem_free(f->taps.query);
    run_close(&f->run);
    runner_close(&f->r);
}

static void read_to(struct reading *f, uint32_t end)
{
    struct run *run = &f->run;
    for (uint32_t n; run->n_done < end;) {
        n = end - run->n_done < CHUNK ? end - run->n_done : CHUNK;
        run_step(&f->r, &run, &n, 1);
    }
}

static void forward_replay(struct reading *f, struct replay *r)
{
    const uint32_t end = r->n_past + r->n;
    const struct batch_seq seq = {
        .space = r->space, .n_row = r->n, .position = r->n_past, .taps = &r->taps
    };
    const struct batch batch = { .n_row = r->n, .n_seq = 1, .id = r->ids, .seq = &seq };
    assert_int_equal(kv_space_grow(r->space, end), OK);
    model_forward(f->r.model, &batch);
}

static void probe_past(struct reading *f)
{
    struct replay r;
    bool over = false;
    assert_int_equal(replay_probe_begin(&r, &probe, f->run.space, &f->taps, PAST, NULL), OK);
    assert_true(r.runs);
    assert_int_equal(r.n, PROBE);
    forward_replay(f, &r);
    assert_int_equal(replay_went_on(&r, &probe, f->run.space, r.n, &over, NULL), OK);
    assert_true(over);
    replay_end(&r);
}

static void a_probe_asks_as_text_would(void **state)
{
    (void)state;
    static const char *const archs[] = { "llama", "qwen2", "gemma3" };
    for (uint32_t a = 0; a < 3; a++) {
        struct reading probed, text;
        char path[TINY_PATH];
        tiny_model_save_temporary(tiny_model_of(archs[a], DT_F32), path);
        open_reading(&probed, path);
        open_reading(&text, path);
        read_to(&probed, PAST);
        probe_past(&probed);
        read_to(&text, N);
        assert_memory_equal(probed.taps.query, text.taps.query, text.n_query * sizeof(float));

        assert_int_equal(kv_space_committed(probed.run.space), PAST);
        read_to(&probed, N); // what comes next is read as if there had been no probe
        assert_memory_equal(probed.taps.query, text.taps.query, text.n_query * sizeof(float));
        close_reading(&text);
        close_reading(&probed);
        unlink(path);
    }
}

/* The default model has one token for it. */
static void the_probe_is_a_paragraph_break(void **state)
{
    (void)state;
    const struct model_params params = { .path = SMOLLM2, .n_thread = 1 };
    struct replay_prefix made = { .n = 0 };
    struct model *m;
    struct vocab *v;
    assert_int_equal(model_open(&m, &params, NULL), OK);
    assert_int_equal(model_vocab_load(&v, model_file(m), NULL), OK);
    assert_int_equal(replay_probe_make(&made, v, NULL), OK);
    assert_int_equal(made.n, 1);
    vocab_free(v);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_asks_as_text_would),
        cmocka_unit_test(the_probe_is_a_paragraph_break),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
