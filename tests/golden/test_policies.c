/* Policies on models: with the queries, mass and moments of real passes, what each keeps is what the plain twin keeps,
 * at every step of a prompt read in blocks and of an answer. (What passes write down is test_taps's; here it is taken
 * as true.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/rank.h"
#include "kv/view.h"
#include "support/runner.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"
#include "twin/keep_twin.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

enum { PROMPT = 260, ANSWER = 20, N = PROMPT + ANSWER, BLOCK = 100, QUERIES = 32 };

struct life {
    struct runner r;
    const struct hparams *h;
    const struct kv_group *group;
    struct run run;
    struct kv_excerpt *excerpt;
    struct kv_taps taps;
    struct kv_keep_model model;
    struct kv_shares shares;
    struct rank_twin twin;
    struct keep_twin kept;
    uint16_t model_layer[KV_LAYER_MAX];
    int32_t ids[N];
};

static void open_twin(struct life *f)
{
    f->group = &f->r.shape.group[kv_whole_group(&f->r.shape)];
    rank_twin_of(&f->twin, f->h, &f->r.shape, f->model_layer, N);
    f->twin.taps = &f->taps;
    keep_twin_open(&f->kept, &f->twin, &f->r.shape);
}

static void open_taps(struct life *f, const struct kv_policy *p)
{
    const size_t row = (size_t)f->h->n_head * f->h->d_head;
    f->taps = (struct kv_taps){
        .mass = p->replay ? KV_TAP_MASS_PEAK : KV_TAP_MASS_SUM,
        .into = f->excerpt,
        .n_counted = UINT32_MAX,
        .n_least = p->by_mass ? f->h->n_layer * f->h->n_kv_head : 0,
        .least = mem_new(f->h->n_layer * f->h->n_kv_head, sizeof(kv_row)),
        .n_query = QUERIES,
        .query = mem_new(f->h->n_layer * QUERIES * row, sizeof(float)),
        .moments_from = KV_OUTLIERS,
        .sum = mem_new(f->h->n_layer * row, sizeof(float)),
        .outer = mem_new(f->h->n_layer * row * f->h->d_head, sizeof(float)),
    };
    kv_taps_forget_least(&f->taps);
    f->run.taps = &f->taps;
}

static void open_life(struct life *f, const char *path, enum kv_type type,
                      const struct kv_policy *policy)
{
    const struct runner_config config = {
        // One thread alone goes by tiles, where a pass looks who leaves.
        .path = path,
        .n_thread = policy->by_mass ? 1 : 2,
        .n_position_max = N,
        .kv_type = type
    };
    struct rng rng = rng_seeded(3, 3);
    memset(f, 0, sizeof *f);
    runner_open(&f->r, &config);
    f->h = model_hparams(f->r.model);
    for (uint32_t i = 0; i < N; i++)
        f->ids[i] = (int32_t)rng_below(&rng, f->r.n_vocab);
    run_open(&f->r, &f->run, f->ids);
    const struct kv_excerpt_config excerpt = { .pool = f->r.pool,
                                               .n_position_max = N,
                                               .n_tail_mass = N };
    assert_int_equal(kv_excerpt_new(&f->excerpt, &excerpt, NULL), OK);
    f->run.excerpt = f->excerpt;
    open_taps(f, policy);
    open_twin(f);
    f->model = (struct kv_keep_model){ .kern = model_kernels(f->r.model),
                                       .workers = model_workers(f->r.model),
                                       .shape = &f->r.shape,
                                       .n_head = f->h->n_head,
                                       .scale = f->h->attn_scale,
                                       .n_rot = f->h->n_rot,
                                       .rope_halves = f->h->rope_halves,
                                       .rope_freq = model_rope_freq(f->r.model) };
    assert_int_equal(kv_keep_room_new(&f->model.room, &f->r.shape, workers_count(f->model.workers)),
                     OK);
    assert_int_equal(kv_shares_open(&f->shares, f->group->n_layer, f->group->n_kv_head), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < f->group->n_layer * f->group->n_kv_head; i++)
            f->shares.share[b][i] = (float)rng_unit(&rng) * 2,
            f->shares.follow[b][i] = (float)rng_unit(&rng) * 2;
}

static void close_life(struct life *f)
{
    kv_shares_close(&f->shares);
    kv_keep_room_free(f->model.room);
    keep_twin_close(&f->kept);
    rank_twin_close(&f->twin);
    mem_free(f->taps.least);
    mem_free(f->taps.query);
    mem_free(f->taps.sum);
    mem_free(f->taps.outer);
    kv_excerpt_free(f->excerpt);
    run_close(&f->run);
    runner_close(&f->r);
}

/* Rows and queries of position p, to the twin. */
static void copy_position(struct life *f, uint32_t p)
{
    const size_t d = f->h->d_head, row = f->h->n_head * d;
    const enum kv_type type = f->r.shape.type;
    for (uint32_t l = 0; l < f->twin.n_layer; l++) {
        const struct kv_view view = kv_view_layer(f->run.space, f->model_layer[l]);
        for (uint32_t h = 0; h < f->twin.n_kv_head; h++) {
            const size_t at = ((size_t)l * f->twin.n_kv_head + h) * N + p;
            f->model.kern->load_k(type, kv_view_k(&view, p / KV_BLOCK, h), p % KV_BLOCK,
                                  f->twin.k + at * d, (uint32_t)d);
            f->model.kern->load_v(type, kv_view_v(&view, p / KV_BLOCK, h), p % KV_BLOCK,
                                  f->twin.v + at * d, (uint32_t)d);
            f->twin.live[at] = true;
        }
        memcpy(f->twin.query + ((size_t)l * N + p) * row,
               f->taps.query + ((size_t)f->model_layer[l] * QUERIES + p % QUERIES) * row,
               row * sizeof(float));
    }
}

static void copy_mass(struct life *f)
{
    for (uint32_t i = 0; i < f->twin.n_layer * f->twin.n_kv_head; i++) {
        const uint32_t layer = f->model_layer[i / f->twin.n_kv_head], h = i % f->twin.n_kv_head;
        const struct kv_list list = kv_excerpt_list(f->excerpt, layer, h);
        const uint32_t n =
            kv_excerpt_rows(f->excerpt, layer, h, f->run.n_done, f->kept.row, f->kept.position);
        for (uint32_t j = 0; j < n; j++) {
            const uint32_t at = f->kept.row[j] & ~KV_IN_TAIL;
            f->twin.mass[(size_t)i * N + f->kept.position[j]] =
                f->kept.row[j] & KV_IN_TAIL ? list.tail_mass[at % list.n_tail_mass] : list.mass[at];
        }
    }
}

static void read_on(struct life *f, uint32_t n)
{
    const uint32_t from = f->run.n_done;
    run_step(&f->r, &(struct run *){ &f->run }, &n, 1);
    for (uint32_t p = from; p < f->run.n_done; p++)
        copy_position(f, p);
    f->twin.n_position = f->run.n_done;
    model_rope_mean(f->r.model, f->run.n_done, KV_FUTURE, f->twin.future);
    copy_mass(f);
}

static void keep(struct life *f, const struct kv_choice *c, bool one)
{
    const struct kv_keep_job job = { .choice = c,
                                     .shares = &f->shares,
                                     .excerpt = f->excerpt,
                                     .space = f->run.space,
                                     .taps = &f->taps,
                                     .future = f->twin.future,
                                     .n_position = f->run.n_done,
                                     .n_whole = PROMPT };
    keep_twin_look(&f->kept, &job);
    assert_int_equal(one ? kv_keep_one(&f->model, &job, NULL) : kv_keep_run(&f->model, &job, NULL),
                     OK);
    keep_twin_check(&f->kept, &job, one);
}

/* The pass to come finds who leaves, or leaves that to keep. */
static void look(struct life *f, const struct kv_choice *c, bool looks)
{
    const struct kv_floors floors = kv_keep_floors(c, &f->r.shape, PROMPT);
    kv_taps_forget_least(&f->taps);
    f->taps.looks = looks && f->taps.n_least;
    f->taps.open = kv_open_of(&floors, f->run.n_done + 1);
}

static void check_found(const struct life *f, bool looked)
{
    for (uint32_t i = 0; f->taps.n_least && i < f->twin.n_layer * f->twin.n_kv_head; i++) {
        const uint32_t layer = f->model_layer[i / f->twin.n_kv_head], h = i % f->twin.n_kv_head;
        const kv_row row = f->taps.least[layer * f->twin.n_kv_head + h];
        assert_true((row != KV_ROW_UNKNOWN) == looked);
    }
}

static void live_with(const char *path, enum kv_type type, const char *text, uint32_t n_answer)
{
    struct life *f = mem_new(1, sizeof *f);
    struct kv_choice c;
    assert_int_equal(kv_choice_parse(&c, text, NULL), OK);
    open_life(f, path, type, c.policy);
    while (f->run.n_done < PROMPT) {
        read_on(f, PROMPT - f->run.n_done < BLOCK ? PROMPT - f->run.n_done : BLOCK);
        if (c.options.common.block || f->run.n_done == PROMPT)
            keep(f, &c, false);
    }
    for (uint32_t i = 0; i < n_answer; i++) {
        look(f, &c, i % 3 != 2);
        read_on(f, 1);
        check_found(f, i % 3 != 2);
        if (c.policy->evicts_each)
            keep(f, &c, true);
    }
    keep(f, &c, false);
    const uint32_t n_list = f->twin.n_layer * f->twin.n_kv_head;
    if (f->kept.n_tie > n_list / 10)
        fail_msg("%s: %u keeps of %u lists were decided by rounding", text, f->kept.n_tie, n_list);
    close_life(f);
    mem_free(f);
}

static void tiny_models_keep_what_the_twin_keeps(void **state)
{
    (void)state;
    static const char *const archs[] = { "llama", "qwen2", "qwen3", "gemma3" };
    static const char *const choices[] = {
        "auto:budget=25%,block=100",
        "auto:budget=25%,whole=on,recent=2%",
        "auto:budget=60,ranks=last+expected+keydiff,rest=ranks,round=off",
        "h2o:budget=30%",
        "h2o-chunked:budget=25%,block=100,values=on",
        "snapkv:budget=40%",
        "sentencekv:budget=16%,keep_factor=2.5",
        "tova:budget=20%",
        "keydiff:budget=20%",
        "expected:budget=25%,block=100",
        "window:budget=20%",
        "random:budget=25%,seed=5",
        "kvzip:budget=25%",
        "epicache:budget=30%,block=100",
        "epicache:budget=30%,block=100,ranks=mass",
    };
    for (uint32_t a = 0; a < 4; a++) {
        char path[TINY_PATH];
        tiny_model_save_temporary(tiny_model_of(archs[a], DT_F32), path);
        for (uint32_t i = a % 2; i < sizeof choices / sizeof *choices; i += SANITIZED ? 4 : 2)
            live_with(path, (enum kv_type)(i % 3), choices[i], 6);
        unlink(path);
    }
}

static void the_default_model_keeps_what_the_twin_keeps(void **state)
{
    (void)state;
    live_with(SMOLLM2, KV_F16, "auto:budget=20%", 1);
    live_with(SMOLLM2, KV_INT8, "h2o:budget=20%", ANSWER);
    if (SANITIZED)
        return;
    live_with(SMOLLM2, KV_F16, "expected:budget=10%", 0);
    live_with(SMOLLM2, KV_F16, "snapkv:budget=30%", 0);
    live_with(SMOLLM2, KV_F16, "tova:budget=20%,block=100", 1);
    live_with(SMOLLM2, KV_F16, "h2o-chunked:budget=25%,block=100", ANSWER);
    live_with(SMOLLM2, KV_F16, "keydiff:budget=20%", 1);
    live_with(SMOLLM2, KV_F16, "window:budget=20%", 1);
    live_with(SMOLLM2, KV_F16, "random:budget=20%", 1);
    live_with(SMOLLM2, KV_F16, "kvzip:budget=25%", 0);
    live_with(SMOLLM2, KV_F16, "epicache:budget=40%,block=100", 0);
    live_with(SMOLLM2, KV_F16, "sentencekv:budget=16%,keep_factor=2.5", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_models_keep_what_the_twin_keeps),
        cmocka_unit_test(the_default_model_keeps_what_the_twin_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
