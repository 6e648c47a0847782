/* A past under a policy: with nothing dropped the bits of the plain pass; with rows dropped what slow attention over
 * the rows that are left gives; and whatever was dropped when, the same bits however they were computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/f16.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/pass.h"
#include "support/pruned.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

static void expect_bits(const float *got, const float *want, size_t n, uint32_t n_vocab,
                        const char *how)
{
    for (size_t i = 0; i < n * n_vocab; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s: position %zu, token %zu: %a, expected %a", how, i / n_vocab, i % n_vocab,
                     (double)got[i], (double)want[i]);
}

struct subject {
    struct runner_config config;
    uint32_t n, n_slow, n_vocab, chunk; // chunk: the smallest
    int32_t *ids;
    float *full, *want, *got; // [n][n_vocab]: nothing dropped; pruned
};

static void read_pruned(const struct subject *s, const struct runner_config *config, uint64_t seed,
                        uint32_t chunk, uint32_t n, float *logits)
{
    struct runner r;
    struct pruned p;
    runner_open(&r, config);
    pruned_open(&r, &p, s->ids, seed);
    p.run.logits = logits;
    pruned_run(&r, &p, &chunk, 1, n);
    pruned_close(&p);
    runner_close(&r);
}

/* Pruned ones and plain ones in one batch; then a fork of the first goes on beside it. */
static void in_company(const struct subject *s, const struct runner_config *config)
{
    struct runner r;
    struct pruned p[PRUNED_RUNS];
    const uint32_t most = s->n / PRUNED_EVERY * PRUNED_EVERY;
    runner_open(&r, config);
    pruned_open(&r, &p[0], s->ids, 1);
    pruned_open(&r, &p[1], s->ids, 0);
    pruned_open(&r, &p[2], s->ids, 2);
    p[0].run.logits = s->got;
    pruned_run(&r, p, (uint32_t[]){ 33, 50, 17 }, 3, most);
    expect_bits(s->got, s->want, most, s->n_vocab, "in a batch");
    pruned_close(&p[2]);
    pruned_close(&p[1]);

    struct note why = { "" };
    p[1] = p[0];
    assert_int_equal(kv_space_fork_rest(&p[1].run.space, p[0].run.space, most, &why), OK);
    assert_int_equal(kv_excerpt_fork(&p[1].excerpt, p[0].excerpt, PRUNED_POSITIONS, &why), OK);
    p[1].run.excerpt = p[1].excerpt;
    p[0].run.logits = NULL;
    pruned_run(&r, p, (uint32_t[]){ 2, 1 }, 2, s->n);
    expect_bits(s->got + (size_t)most * s->n_vocab, s->want + (size_t)most * s->n_vocab,
                s->n - most, s->n_vocab, "a fork");
    pruned_close(&p[0]);
    pruned_close(&p[1]);
    runner_close(&r);
}

static void every_way(struct subject *s)
{
    const struct kernels *tables[8];
    const uint32_t n_table = kernels_available(tables, 8);
    struct runner_config two = s->config, table = s->config;
    two.n_thread = 2;
    table.table = true;
    read_pruned(s, &s->config, 0, PRUNED_EVERY, s->n, s->got);
    expect_bits(s->got, s->full, s->n, s->n_vocab, "nothing dropped");
    read_pruned(s, &s->config, 1, s->chunk, s->n, s->got);
    expect_bits(s->got, s->want, s->n, s->n_vocab, "in small chunks");
    read_pruned(s, &two, 1, s->chunk, s->n, s->got); // parts
    expect_bits(s->got, s->want, s->n, s->n_vocab, "in small chunks on two threads");
    read_pruned(s, &table, 1, 7, s->n, s->got);
    expect_bits(s->got, s->want, s->n, s->n_vocab, "in chunks, by a table of blocks");
    in_company(s, &two);
    for (uint32_t i = 0; i < n_table; i++) {
        struct runner_config cpu = two;
        const uint32_t n = strcmp(tables[i]->name, "ref") == 0 ? s->n_slow : s->n;
        cpu.cpu = tables[i]->name;
        read_pruned(s, &cpu, 1, PRUNED_EVERY, n, s->got);
        expect_bits(s->got, s->want, n, s->n_vocab, tables[i]->name);
    }
}

static void subject_check(const struct runner_config *config, uint32_t n, uint32_t n_slow,
                          uint32_t chunk)
{
    struct subject s = { .config = *config, .n = n, .n_slow = n_slow, .chunk = chunk };
    struct rng rng = rng_seeded(11, 3);
    struct runner r;
    runner_open(&r, config);
    s.n_vocab = r.n_vocab;
    s.ids = mem_new(n, sizeof *s.ids);
    s.full = mem_new((size_t)n * s.n_vocab, sizeof(float));
    s.want = mem_new((size_t)n * s.n_vocab, sizeof(float));
    s.got = mem_new((size_t)n * s.n_vocab, sizeof(float));
    for (uint32_t i = 0; i < n; i++)
        s.ids[i] = (int32_t)rng_below(&rng, s.n_vocab);
    run_all(&r, s.ids, n, 512, s.full);
    runner_close(&r);
    read_pruned(&s, config, 1, PRUNED_EVERY, n, s.want);
    assert_memory_not_equal(s.want, s.full, (size_t)n * s.n_vocab * sizeof(float));
    every_way(&s);
    mem_free(s.ids);
    mem_free(s.full);
    mem_free(s.want);
    mem_free(s.got);
}

static void tiny(const char *arch, enum kv_type kv)
{
    char path[TINY_PATH];
    tiny_model_save_temporary(tiny_model_of(arch, DT_Q4_1), path);
    const struct runner_config config = {
        .path = path, .n_thread = 1, .n_position_max = PRUNED_POSITIONS, .kv_type = kv
    };
    subject_check(&config, SANITIZED ? 160 : 330, SANITIZED ? 4 : 160, 1);
    unlink(path);
}

static void tiny_models(void **state)
{
    (void)state;
    tiny("llama", KV_F16);
    tiny("qwen2", KV_F32);
    tiny("qwen3", KV_INT8);
    tiny("gemma3", KV_F16);
}

static void real_default_model(void **state)
{
    (void)state;
    const struct runner_config config = {
        .path = SMOLLM2, .n_thread = 1, .n_position_max = PRUNED_POSITIONS, .kv_type = KV_F16
    };
    subject_check(&config, SANITIZED ? 152 : 160, SANITIZED ? 2 : 8, 5);
}

/* ---- one layer's attention against double precision, over lists longer than a chunk ---- */

struct layer_case {
    struct runner r;
    struct workers *workers;
    struct pass pass;
    struct pruned p;
    uint32_t n, n_row; // positions, of which the last n_row attend
};

static double stored(enum kv_type type, const void *part, size_t at, size_t n, uint32_t row)
{
    if (type == KV_F16)
        return (double)f32_of_f16(((const f16 *)part)[at]);
    if (type == KV_F32)
        return (double)((const float *)part)[at];
    return ((const int8_t *)part)[at] *
           (double)((const float *)(const void *)((const char *)part + n))[row];
}

/* Adds what a query sees of one block to sums over all: of weights, and of weights times V. */
static void look(const struct layer_case *c, const float *q, const char *k, const char *v,
                 uint64_t rows, double *l, double *o)
{
    const uint32_t d = c->pass.h->d_head;
    const enum kv_type type = c->r.shape.type;
    for (uint32_t row = 0; row < KV_BLOCK; row++) {
        double s = 0;
        if (!(rows >> row & 1))
            continue;
        for (uint32_t j = 0; j < d; j++)
            s += (double)q[j] *
                 stored(type, k, (size_t)j * KV_BLOCK + row, (size_t)KV_BLOCK * d, row);
        const double w = exp(s * (double)c->pass.h->attn_scale);
        *l += w;
        for (uint32_t j = 0; j < d; j++)
            o[j] += w * stored(type, v, (size_t)row * d + j, (size_t)KV_BLOCK * d, row);
    }
}

static void expect_row(const struct layer_case *c, uint32_t r, uint32_t head)
{
    const struct hparams *h = c->pass.h;
    const uint32_t kv_head = head / (h->n_head / h->n_kv_head), position = c->n - c->n_row + r;
    const size_t at = ((size_t)r * h->n_head + head) * h->d_head;
    const struct kv_list list = kv_excerpt_list(c->p.excerpt, 0, kv_head);
    const struct kv_view view = kv_view_layer(c->p.run.space, 0);
    double l = 0, o[512] = { 0 };
    for (uint32_t b = 0; b < list.n_block; b++)
        look(c, c->pass.q + at, list.block[b], list.block[b] + view.k_bytes, list.live[b], &l, o);
    for (uint32_t b = list.tail_first; b * KV_BLOCK <= position; b++) {
        const uint32_t n = position + 1 - b * KV_BLOCK;
        const uint64_t seen = n >= KV_BLOCK ? UINT64_MAX : (UINT64_C(1) << n) - 1;
        look(c, c->pass.q + at, kv_view_k(&view, b, kv_head), kv_view_v(&view, b, kv_head),
             list.tail_live[b] & seen, &l, o);
    }
    for (uint32_t j = 0; j < h->d_head; j++)
        if (!(fabs(o[j] / l - (double)c->pass.mix[at + j]) < 2e-6))
            fail_msg("row %u, head %u, element %u: %g, expected %g", r, head, j,
                     (double)c->pass.mix[at + j], o[j] / l);
}

static float spread(struct rng *rng)
{
    return (float)(rng_unit(rng) * 2 - 1);
}

static void fill_rows(struct layer_case *c, struct rng *rng)
{
    const struct kernels *kern = c->pass.kern;
    const struct kv_view view = kv_view_layer(c->p.run.space, 0);
    float x[512];
    for (uint32_t i = 0; i < c->n * view.n_kv_head; i++) {
        const uint32_t position = i / view.n_kv_head, head = i % view.n_kv_head;
        const uint32_t block = position / KV_BLOCK, row = position % KV_BLOCK;
        for (uint32_t part = 0; part < 2; part++) {
            for (uint32_t j = 0; j < view.d_k; j++)
                x[j] = spread(rng);
            if (part == 0)
                kern->store_k(view.type, kv_view_k(&view, block, head), row, x, view.d_k);
            else
                kern->store_v(view.type, kv_view_v(&view, block, head), row, x, view.d_v);
        }
    }
}

static void attend_and_compare(struct layer_case *c, uint32_t n_row, struct rng *rng)
{
    const struct hparams *h = c->pass.h;
    static const int32_t ids[64];
    const struct batch_seq seq = {
        .space = c->p.run.space, .n_row = n_row, .position = c->n - n_row, .excerpt = c->p.excerpt
    };
    const struct batch batch = { .n_row = n_row, .n_seq = 1, .id = ids, .seq = &seq };
    c->n_row = n_row;
    pass_begin(&c->pass, &batch, model_weights(c->r.model));
    for (size_t i = 0; i < (size_t)n_row * h->n_head * h->d_head; i++)
        c->pass.q[i] = 3 * spread(rng);
    pass_attend(&c->pass, 0);
    for (uint32_t r = 0; r < n_row; r++)
        for (uint32_t head = 0; head < h->n_head; head++)
            expect_row(c, r, head);
}

/* A row, a few and many, before and after settling: parts and tiles. */
static void layer_agrees(const char *path, enum kv_type type)
{
    struct layer_case c = { .n = 1700 };
    struct rng rng = rng_seeded(5, 5);
    struct note why = { "" };
    const struct runner_config config = {
        .path = path, .n_thread = 1, .n_position_max = PRUNED_POSITIONS, .kv_type = type
    };
    runner_open(&c.r, &config);
    pruned_open(&c.r, &c.p, NULL, 9);
    c.pass.kern = model_kernels(c.r.model);
    c.pass.h = model_hparams(c.r.model);
    rope_init(&c.pass.rope[0], &c.pass.h->rope, c.pass.h->n_rot, NULL);
    assert_int_equal(workers_new(&c.workers, 2, &why), OK);
    c.pass.workers = c.workers;
    assert_int_equal(pass_open(&c.pass, model_weights(c.r.model), 64, &why), OK);
    assert_int_equal(kv_space_grow(c.p.run.space, c.n), OK);
    fill_rows(&c, &rng);
    c.p.run.n_done = c.n - 64;
    kv_space_commit(c.p.run.space, c.n - 64);
    pruned_drop(&c.r, &c.p);
    for (uint32_t i = 0; i < 3; i++) {
        attend_and_compare(&c, 1, &rng);
        attend_and_compare(&c, 5, &rng);
        attend_and_compare(&c, 64, &rng);
        if (i == 1)
            pruned_drop(&c.r, &c.p);
        assert_int_equal(kv_excerpt_settle(c.p.excerpt, c.p.run.space, i ? c.n - 64 : 1290), OK);
    }
    assert_true(kv_excerpt_slot_blocks(c.p.excerpt) > ATTN_CHUNK_BLOCKS);
    pass_close(&c.pass);
    workers_free(c.workers);
    pruned_close(&c.p);
    runner_close(&c.r);
}

static void attention_over_lists_is_attention(void **state)
{
    (void)state;
    char path[TINY_PATH];
    tiny_model_save_temporary(tiny_model_of("llama", DT_Q4_1), path);
    layer_agrees(path, KV_F16);
    layer_agrees(path, KV_F32);
    layer_agrees(path, KV_INT8);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_over_lists_is_attention),
        cmocka_unit_test(tiny_models),
        cmocka_unit_test(real_default_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
