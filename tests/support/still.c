#include "support/still.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/vocab_load.h"

void still_open_file(struct still *s, const char *path)
{
    struct note why = { "" };
    const struct model_params params = { .path = path, .n_thread = 1 };
    *s = (struct still){ .step_ns = 1000000, .row_ns = 100000 };
    if (model_open(&s->model, &params, &why) != OK ||
        model_vocab_load(&s->vocab, model_file(s->model), &why) != OK)
        fail_msg("%s", why.text);
}

void still_open(struct still *s, const char *arch)
{
    char path[TINY_PATH];
    struct tiny_model t = tiny_model_of(arch, DT_Q8_0);
    t.n_embd = 64;
    t.n_head = 4;
    t.n_kv_head = 2;
    t.d_head = 32;
    t.n_ff = 96;
    tiny_model_save_temporary(t, path);
    still_open_file(s, path);
    unlink(path);
}

void still_close(struct still *s)
{
    still_engine_close(s);
    vocab_free(s->vocab);
    model_close(s->model);
}

size_t still_kv_bytes(const struct still *s, double n, uint32_t n_ctx, uint32_t n_ubatch)
{
    struct kv_shape shape;
    hparams_kv_shape(model_hparams(s->model), KV_F16, &shape);
    return (size_t)(n * (double)kv_sequence_bytes(&shape, n_ctx, n_ubatch));
}

static uint64_t now_ns(void *arg)
{
    const struct still *s = arg;
    const struct engine *e = s->engine;
    return s->waited_ns + (e ? e->step * s->step_ns + e->sum.n_row * s->row_ns : 0);
}

void still_engine_open(struct still *s, const struct akv_limits *limits)
{
    struct note why = { "" };
    const struct engine_clock clock = { now_ns, s };
    s->waited_ns = 0;
    if (engine_new_still(&s->engine, s->model, s->vocab, limits, clock, &why) != OK)
        fail_msg("%s", why.text);
}

void still_engine_close(struct still *s)
{
    engine_free(s->engine);
    s->engine = NULL;
}

bool still_is_idle(const struct still *s)
{
    const struct engine *e = s->engine;
    return e->n_running == 0 && !e->waiting.first && !e->inbox.first;
}

void still_turn(struct still *s)
{
    const struct engine *e = s->engine;
    struct kv_pool_usage kv;
    assert_true(engine_turn(s->engine));
    kv_pool_usage(e->pool, &kv);
    assert_true(kv.bytes_held <= kv.bytes_backed);
    assert_true(kv.bytes_backed <= kv.bytes_max);
    kv_pool_check(e->pool);
    kv_index_check(e->index);
    assert_true(e->n_running <= e->limits.n_parallel);
}

struct outbox_event *still_event(struct still *s)
{
    return engine_take_event(s->engine, 0);
}
