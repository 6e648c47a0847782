/* quest and sentencekv on models: with the queries and keys of real passes, what each query reads is what the plain
 * twin reads, of a whole past and of one with rows dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/select.h"
#include "support/runner.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"
#include "twin/select_twin.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

/* Rows behind a prompt select. Of a long one some heads score rows in two pieces (kv/policy/units.c). */
enum {
    SHORT = SANITIZED ? 100 : 200,
    LONG = 1100,
    ANSWER = 24,
    N_MAX = LONG + ANSWER,
    BUDGET = 60
};

/* What a choice is to the twin. */
struct as_twin {
    const char *choice;
    struct select_twin twin;
};

enum { SHARE_EACH = 3 }; // every third list retrieves, by the profile of these tests

struct life {
    struct runner r;
    struct run run;
    const struct hparams *h;
    struct kv_taps taps;
    struct kv_select *beside; // asked by the test what the pass asks its own
    uint32_t from, n;         // positions: of the prompt, of all
    uint32_t n_asker, group, n_list, n_kv_head, dense; // group: heads that ask together
    struct kv_shares shares;
    struct kv_excerpt *excerpt; // NULL: a whole past
    bool ends[N_MAX];
    bool *there;              // [n_list][n]
    struct select_twin *twin; // [n_list][n_asker]
    float *k;                 // [n_list][n][d]
    void *scratch;
    uint32_t n_tie, n_look;
};

static struct kv_select *select_new(struct life *f, const struct kv_choice *c)
{
    const struct kv_select_config config = { .choice = c,
                                             .shape = &f->r.shape,
                                             .n_head = f->h->n_head,
                                             .shares = &f->shares,
                                             .n_position_max = f->n,
                                             .from = f->from };
    struct kv_select *s;
    assert_int_equal(kv_select_new(&s, &config, NULL), OK);
    for (uint32_t p = 0; p < f->n; p++)
        if (f->ends[p])
            kv_select_end_sentence(s, p);
    return s;
}

static void open_twins(struct life *f, const struct as_twin *as)
{
    f->twin = mem_new(f->n_list * f->n_asker, sizeof *f->twin);
    f->k = mem_new((size_t)f->n_list * f->n * f->h->d_head, sizeof *f->k);
    f->there = mem_new((size_t)f->n_list * f->n, sizeof *f->there);
    memset(f->there, 1, (size_t)f->n_list * f->n);
    for (uint32_t i = 0; i < f->n_list * f->n_asker; i++) {
        const uint32_t list = i / f->n_asker;
        f->twin[i] = as->twin;
        if (list % SHARE_EACH == 0 && as->twin.by_rows)
            f->twin[i].address = TWIN_ROWS;
        f->twin[i].d = f->h->d_head;
        f->twin[i].attn_scale = f->h->attn_scale;
        f->twin[i].group = f->group;
        f->twin[i].budget = BUDGET;
        f->twin[i].n_sink = 4;
        f->twin[i].recent = 10;
        f->twin[i].ends = f->ends;
        f->twin[i].there = f->there + (size_t)list * f->n;
        select_twin_open(&f->twin[i], f->n);
    }
}

/* A profile by which each list that a third falls to has as much as the mean, the others nothing. */
static void share_some(struct life *f)
{
    const struct kv_group *g = &f->r.shape.group[kv_whole_group(&f->r.shape)];
    assert_int_equal(kv_shares_open(&f->shares, g->n_layer, g->n_kv_head), OK);
    for (uint32_t b = 0; b < KV_SHARES_BUDGETS; b++)
        for (uint32_t i = 0; i < g->n_layer * g->n_kv_head; i++)
            f->shares.share[b][i] = i % SHARE_EACH == 0;
}

static void open_life(struct life *f, const char *path, enum kv_type type, uint32_t n_prompt,
                      const int32_t *ids, const struct as_twin *as)
{
    const struct runner_config config = {
        .path = path, .n_thread = 2, .n_position_max = n_prompt + ANSWER, .kv_type = type
    };
    struct rng rng = rng_seeded(5, 5);
    struct kv_choice c;
    memset(f, 0, sizeof *f);
    f->from = n_prompt;
    f->n = n_prompt + ANSWER;
    runner_open(&f->r, &config);
    run_open(&f->r, &f->run, ids);
    f->h = model_hparams(f->r.model);
    assert_int_equal(kv_choice_parse(&c, as->choice, NULL), OK);
    for (uint32_t p = 0; p < f->n; p++)
        f->ends[p] = p == f->from - 1 || rng_below(&rng, 9) == 0;
    share_some(f);
    f->run.select = select_new(f, &c);
    f->beside = select_new(f, &c);
    const struct kv_group *g = &f->r.shape.group[kv_whole_group(&f->r.shape)];
    f->n_kv_head = g->n_kv_head;
    f->n_list = g->n_layer * g->n_kv_head;
    f->n_asker = strstr(as->choice, "heads=each") ? f->h->n_head / g->n_kv_head : 1;
    f->group = f->h->n_head / g->n_kv_head / f->n_asker;
    f->scratch = mem_new_aligned(
        1, attn_scratch_bytes(f->group * f->n_asker, f->h->d_head, f->h->d_head), 64);
    open_twins(f, as);
    f->taps = (struct kv_taps){
        .n_query = 1,
        .query = mem_new((size_t)f->h->n_layer * f->h->n_head * f->h->d_head, sizeof(float)),
    };
    f->run.taps = &f->taps;
}

static void close_life(struct life *f)
{
    for (uint32_t i = 0; i < f->n_list * f->n_asker; i++)
        select_twin_close(&f->twin[i]);
    mem_free(f->twin);
    mem_free(f->k);
    mem_free(f->there);
    kv_shares_close(&f->shares);
    kv_excerpt_free(f->excerpt);
    mem_free(f->scratch);
    mem_free(f->taps.query);
    kv_select_free(f->beside);
    kv_select_free(f->run.select);
    run_close(&f->run);
    runner_close(&f->r);
}

/* The query of the last position in one layer and kv_head, of one who asks. */
static struct kv_select_in input(struct life *f, uint32_t layer, uint32_t h, uint32_t asker)
{
    const size_t d = f->h->d_head;
    return (struct kv_select_in){
        .layer = layer,
        .kv_head = h,
        .group = f->group,
        .d = f->h->d_head,
        .n_position = f->run.n_done - 1,
        .q = f->taps.query +
             (layer * (size_t)f->h->n_head + ((size_t)h * f->n_asker + asker) * f->group) * d,
        .asker = asker,
        .scale = f->h->attn_scale,
        .kern = model_kernels(f->r.model),
        .scratch = f->scratch,
        .view = kv_view_layer(f->run.space, layer),
    };
}

/* Keys of rows that are there, while all of them lie in the space. */
static void copy_keys(struct life *f, uint32_t from)
{
    for (uint32_t layer = 0; layer < f->h->n_layer; layer++) {
        for (uint32_t h = 0; h < f->n_kv_head && !f->h->windowed[layer]; h++) {
            const struct kv_select_in in = input(f, layer, h, 0);
            const uint32_t list = f->r.shape.layer_index[layer] * f->n_kv_head + h;
            for (uint32_t p = from; p < f->run.n_done; p++)
                kv_select_key(&in, p, f->k + ((size_t)list * f->n + p) * in.d);
        }
    }
}

/* About a third of each list's rows go, and most of what is left moves into slots. */
static void drop_rows(struct life *f)
{
    const struct kv_excerpt_config config = { .pool = f->r.pool, .n_position_max = f->n };
    struct rng rng = rng_seeded(9, 9);
    assert_int_equal(kv_excerpt_new(&f->excerpt, &config, NULL), OK);
    for (uint32_t layer = 0; layer < f->h->n_layer; layer++) {
        for (uint32_t h = 0; h < f->n_kv_head && !f->h->windowed[layer]; h++) {
            bool *there =
                f->there + (f->r.shape.layer_index[layer] * f->n_kv_head + h) * (size_t)f->n;
            for (uint32_t p = 0; p < f->from; p++) {
                there[p] = rng_below(&rng, 3) > 0;
                if (!there[p])
                    kv_excerpt_drop(f->excerpt, layer, h, KV_IN_TAIL | p);
            }
        }
    }
    assert_int_equal(kv_excerpt_settle(f->excerpt, f->run.space, f->from), OK);
    f->run.excerpt = f->excerpt;
}

static void compare(struct life *f, uint32_t layer, uint32_t h, uint32_t asker)
{
    struct kv_select_in in = input(f, layer, h, asker);
    const uint32_t list = f->r.shape.layer_index[layer] * f->n_kv_head + h, n = in.n_position;
    const float *k = f->k + (size_t)list * f->n * in.d;
    struct kv_list rows;
    bool reads[N_MAX];
    struct kv_selected mask;
    if (f->excerpt) {
        rows = kv_excerpt_list(f->excerpt, layer, h);
        in.list = &rows;
    }
    const bool some = kv_select_rows(f->beside, &in, &mask);
    f->n_look++;
    if (!select_twin_rows(&f->twin[list * f->n_asker + asker], in.q, k, n, reads)) {
        f->n_tie++;
        return;
    }
    for (uint32_t p = 0; p <= n; p++) {
        const bool left = f->there[(size_t)list * f->n + p];
        const bool is = left && (!some || (mask.rows[p / KV_BLOCK] >> p % KV_BLOCK & 1));
        if (is != (left && (layer < f->dense || reads[p])))
            fail_msg("layer %u, kv_head %u: the query at %u %s row %u", layer, h, n,
                     is ? "reads" : "does not read", p);
    }
}

static void live_with(const char *path, enum kv_type type, uint32_t n_prompt,
                      const struct as_twin *as, uint32_t dense, bool drops)
{
    struct life *f = mem_new(1, sizeof *f);
    struct rng rng = rng_seeded(7, 7);
    int32_t ids[N_MAX];
    for (uint32_t i = 0; i < n_prompt + ANSWER; i++)
        ids[i] = (int32_t)rng_below(&rng, 250);
    open_life(f, path, type, n_prompt, ids, as);
    f->dense = dense;
    while (f->run.n_done < n_prompt) {
        const uint32_t left = n_prompt - f->run.n_done, n = left < SHORT ? left : SHORT;
        run_step(&f->r, &(struct run *){ &f->run }, &n, 1);
    }
    kv_space_commit(f->run.space, n_prompt);
    copy_keys(f, 0);
    if (drops)
        drop_rows(f);
    while (f->run.n_done < f->n) {
        run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ 1 }, 1);
        copy_keys(f, f->run.n_done - 1);
        for (uint32_t layer = 0; layer < f->h->n_layer; layer++)
            for (uint32_t i = 0; i < f->n_kv_head * f->n_asker && !f->h->windowed[layer]; i++)
                compare(f, layer, i / f->n_asker, i % f->n_asker);
    }
    const struct kv_select_stats pass = kv_select_stats_of(f->run.select),
                                 beside = kv_select_stats_of(f->beside);
    assert_memory_equal(&pass, &beside, sizeof pass);
    assert_true(pass.n_read < pass.n_there);
    /* What is chosen once is in doubt for all of its sentence. */
    if (f->n_tie > f->n_look / (as->twin.once ? 4 : 10))
        fail_msg("%s: %u of %u choices were decided by rounding", as->choice, f->n_tie, f->n_look);
    close_life(f);
    mem_free(f);
}

#define COMMON "budget=60,sinks=4,recent=10,"

/* Where rows are dropped by the test, the choice must be one that may. */
static const struct as_twin choices[] = {
    { "quest:" COMMON "dense=0,heads=sum", { .page = 16, .address = TWIN_BOUNDS } },
    { "quest:" COMMON "dense=0,page=7,heads=max",
      { .page = 7, .address = TWIN_BOUNDS, .largest = true } },
    { "sentencekv:" COMMON "query=mean,address=mean,rerank=every,keep_factor=2",
      { .least = 4, .mean = true } },
    { "sentencekv:" COMMON
      "query=mean,least=1,dense_first=2,address=mean,rerank=every,keep_factor=2",
      { .least = 1, .mean = true, .dense_first = 2 } },
    { "sentencekv:" COMMON
      "query=token,heads=sum,score=cos,by_rows=inf,address=mean,rerank=every,keep_factor=2",
      { .least = 4, .cosine = true } },
    { "sentencekv:" COMMON
      "query=token,heads=max,by_rows=1.5,address=spread,rerank=every,keep_factor=2",
      { .least = 4, .address = TWIN_SPREAD, .largest = true } },
    { "sentencekv:" COMMON "query=token,heads=sum,by_rows=0.5,rerank=every,keep_factor=2",
      { .least = 4, .by_rows = true } },
    { "sentencekv:" COMMON "query=token,heads=sum,by_rows=inf,rerank=boundary,keep_factor=2",
      { .least = 4, .once = true } },
    { "sentencekv:" COMMON "query=mean,rerank=drift,drift=0.9,dense_first=1,keep_factor=2",
      { .least = 4, .mean = true, .once = true, .drift = 0.9, .dense_first = 1 } },
    { "sentencekv:" COMMON "query=token,heads=sum,rerank=drift,drift=0.05,keep_factor=2",
      { .least = 4, .once = true, .drift = 0.05, .by_rows = true } },
};

/* Each head by itself. */
static const struct as_twin choices_apart[] = {
    { "quest:" COMMON "dense=0,heads=each", { .page = 16, .address = TWIN_BOUNDS } },
    { "sentencekv:" COMMON "query=token,heads=each,by_rows=0.5,rerank=every,keep_factor=2",
      { .least = 4, .by_rows = true } },
    { "sentencekv:" COMMON "query=mean,heads=each,dense_first=2,rerank=every,keep_factor=2",
      { .least = 4, .mean = true, .dense_first = 2 } },
    { "sentencekv:" COMMON "query=token,heads=each,rerank=drift,drift=0.05,keep_factor=2",
      { .least = 4, .once = true, .drift = 0.05, .by_rows = true } },
};

enum { N_CHOICE = sizeof choices / sizeof *choices };

static void tiny_models_read_what_the_twin_reads(void **state)
{
    (void)state;
    static const char *const archs[] = { "llama", "qwen2", "qwen3", "gemma3" };
    for (uint32_t a = 0; a < 4; a++) {
        char path[TINY_PATH];
        tiny_model_save_temporary(tiny_model_of(archs[a], DT_F32), path);
        for (uint32_t i = a % 2; i < N_CHOICE; i += 2)
            live_with(path, (enum kv_type)((a + i) % 3), SHORT, &choices[i], 0,
                      i >= 2 && (a + i) % 4 > 0);
        unlink(path);
    }
}

static void heads_that_choose_apart_read_what_the_twin_reads(void **state)
{
    (void)state;
    char path[TINY_PATH];
    tiny_model_save_temporary(tiny_model_of("qwen2", DT_F32), path);
    for (uint32_t i = 0; i < sizeof choices_apart / sizeof *choices_apart; i++)
        live_with(path, (enum kv_type)(i % 3), SHORT, &choices_apart[i], 0, i % 2 == 1);
    unlink(path);
    live_with(SMOLLM2, KV_F16, SHORT, &choices_apart[1], 0, true);
}

/* Logits [n_vocab] behind each answered row of a model that selects. */
static void answer_with(const struct tiny_model *tiny, const char *choice, float *logits)
{
    char path[TINY_PATH];
    struct life *f = mem_new(1, sizeof *f);
    struct rng rng = rng_seeded(7, 7);
    int32_t ids[SHORT + ANSWER];
    tiny_model_save_temporary(*tiny, path);
    for (uint32_t i = 0; i < SHORT + ANSWER; i++)
        ids[i] = (int32_t)rng_below(&rng, tiny->n_vocab);
    open_life(f, path, KV_F16, SHORT, ids, &(struct as_twin){ .choice = choice });
    f->run.logits = logits;
    run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ SHORT }, 1);
    while (f->run.n_done < f->n)
        run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ 1 }, 1);
    const struct kv_select_stats stats = kv_select_stats_of(f->run.select);
    assert_true(stats.n_read < stats.n_there);
    close_life(f);
    mem_free(f);
    unlink(path);
}

/* Of a model whose every head has a KV of its own, copies of what the others of its group have, nothing chosen
 * together differs from what is chosen apart. */
static void choosing_apart_is_having_a_kv_each(void **state)
{
    (void)state;
    static const char *const choice[] = {
        "quest:" COMMON "dense=0,heads=each",
        "sentencekv:" COMMON "query=mean,heads=each,by_rows=inf,dense_first=1",
        "sentencekv:" COMMON "query=token,heads=each,by_rows=inf",
    };
    struct tiny_model shared = tiny_model_of("llama", DT_Q8_0), own = shared;
    own.n_kv_head = own.n_head;
    own.kv_copies = shared.n_head / shared.n_kv_head;
    const size_t n = (SHORT + ANSWER) * (size_t)shared.n_vocab;
    float *a = mem_new(n, sizeof *a), *b = mem_new(n, sizeof *b);
    for (uint32_t i = 0; i < 3; i++) {
        answer_with(&shared, choice[i], a);
        answer_with(&own, choice[i], b);
        assert_memory_equal(a, b, n * sizeof *a);
    }
    mem_free(a);
    mem_free(b);
}

static void rows_of_two_pieces_are_scored_as_one(void **state)
{
    char path[TINY_PATH];
    (void)state;
    tiny_model_save_temporary(tiny_model_of("qwen2", DT_F32), path);
    live_with(path, KV_F16, LONG, &choices[6], 0, false);
    live_with(path, KV_INT8, LONG, &choices[9], 0, true);
    unlink(path);
}

static void the_default_model_reads_what_the_twin_reads(void **state)
{
    (void)state;
    const struct as_twin two_dense = { "quest:" COMMON "dense=2,heads=sum", choices[0].twin };
    live_with(SMOLLM2, KV_F16, SHORT, &two_dense, 2, false);
    live_with(SMOLLM2, KV_F16, SHORT, &choices[2], 0, true);
    live_with(SMOLLM2, KV_INT8, SHORT, &choices[5], 0, false);
    live_with(SMOLLM2, KV_F16, SHORT, &choices[6], 0, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_models_read_what_the_twin_reads),
        cmocka_unit_test(heads_that_choose_apart_read_what_the_twin_reads),
        cmocka_unit_test(choosing_apart_is_having_a_kv_each),
        cmocka_unit_test(rows_of_two_pieces_are_scored_as_one),
        cmocka_unit_test(the_default_model_reads_what_the_twin_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
