/* pos=rolling, of window and h2o: of a model of one layer (and one kv_head, where heads keep rows of their own) a row
 * computes what a text of the kept tokens alone gives, read from position 0 on; and keys are turned from what they
 * were, however often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/keep.h"
#include "support/runner.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

enum { PROMPT = 150, N = 600, FIRST = 5, BUDGET = 90, EVERY = 9 };

#define WINDOW "window:budget=90,sinks=5,every=9"

struct life {
    struct runner r;
    struct run run;
    struct kv_choice choice;
    struct kv_excerpt *excerpt;
    struct kv_keep_model model;
    struct kv_taps taps;
    const struct hparams *h;
    int32_t ids[N];
};

static void tiny(const char *arch, uint32_t n_layer, char path[TINY_PATH])
{
    struct tiny_model t = tiny_model_of(arch, DT_F32);
    t.n_layer = n_layer;
    t.n_embd = 64;
    t.n_head = 4;
    t.n_kv_head = 2;
    t.d_head = 32;
    t.n_ff = 96;
    tiny_model_save_temporary(t, path);
}

static void life_open(struct life *f, const char *path, enum kv_type type, const char *choice)
{
    const struct runner_config config = {
        .path = path, .n_thread = 1, .n_position_max = N, .kv_type = type
    };
    struct rng rng = rng_seeded(4, 4);
    memset(f, 0, sizeof *f);
    runner_open(&f->r, &config);
    for (uint32_t i = 0; i < N; i++)
        f->ids[i] = (int32_t)rng_below(&rng, f->r.n_vocab);
    run_open(&f->r, &f->run, f->ids);
    const struct kv_excerpt_config excerpt = { .pool = f->r.pool,
                                               .n_position_max = N,
                                               .n_tail_mass =
                                                   (N + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK };
    assert_int_equal(kv_excerpt_new(&f->excerpt, &excerpt, NULL), OK);
    f->taps =
        (struct kv_taps){ .mass = KV_TAP_MASS_SUM, .into = f->excerpt, .n_counted = UINT32_MAX };
    f->run.excerpt = f->excerpt;
    f->run.taps = &f->taps;
    assert_int_equal(kv_choice_parse(&f->choice, choice, NULL), OK);
    f->h = model_hparams(f->r.model);
    f->model = (struct kv_keep_model){ .kern = model_kernels(f->r.model),
                                       .workers = model_workers(f->r.model),
                                       .shape = &f->r.shape,
                                       .n_head = f->h->n_head,
                                       .scale = f->h->attn_scale,
                                       .n_rot = f->h->n_rot,
                                       .rope_halves = f->h->rope_halves,
                                       .rope_freq = model_rope_freq(f->r.model) };
    assert_int_equal(kv_keep_room_new(&f->model.room, &f->r.shape, 1), OK);
}

static void life_close(struct life *f)
{
    kv_keep_room_free(f->model.room);
    kv_excerpt_free(f->excerpt);
    run_close(&f->run);
    runner_close(&f->r);
}

static enum status try_to_keep(struct life *f)
{
    const struct kv_keep_job job = { .choice = &f->choice,
                                     .excerpt = f->excerpt,
                                     .space = f->run.space,
                                     .taps = &f->taps,
                                     .n_position = f->run.n_done,
                                     .n_whole = f->run.n_done };
    return kv_keep_run(&f->model, &job, NULL);
}

static void keep(struct life *f)
{
    assert_int_equal(try_to_keep(f), OK);
}

/* ---- the text of the kept tokens ---- */

/* Logits of its last token, in a past of nothing else. */
static void read_alone(struct life *f, const int32_t *ids, uint32_t n, float *logits)
{
    float *all = mem_new((size_t)n * f->r.n_vocab, sizeof *all);
    run_all(&f->r, ids, n, n, all);
    memcpy(logits, all + (size_t)(n - 1) * f->r.n_vocab, f->r.n_vocab * sizeof *all);
    mem_free(all);
}

/* The largest difference of logits over the rows behind the prompt. */
static double difference(const char *path, const char *choice)
{
    struct life *f = mem_new(1, sizeof *f);
    float *got, *wanted;
    double most = 0;
    life_open(f, path, KV_F32, choice);
    got = mem_new((size_t)N * f->r.n_vocab, sizeof *got);
    wanted = mem_new(f->r.n_vocab, sizeof *wanted);
    f->run.logits = got;
    run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ PROMPT }, 1);
    uint32_t from = 0; // the first of the newest rows
    for (uint32_t i = 0; i < (SANITIZED ? 40 : 100); i++) {
        int32_t kept[N];
        uint32_t n = 0;
        if (i % EVERY == 0) {
            keep(f);
            from = f->run.n_done - (BUDGET - FIRST);
        }
        run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ 1 }, 1);
        for (uint32_t p = 0; p < FIRST; p++)
            kept[n++] = f->ids[p];
        for (uint32_t p = from; p < f->run.n_done; p++)
            kept[n++] = f->ids[p];
        read_alone(f, kept, n, wanted);
        const float *row = got + (size_t)(f->run.n_done - 1) * f->r.n_vocab;
        for (uint32_t t = 0; t < f->r.n_vocab; t++)
            most = fmax(most, fabs((double)row[t] - (double)wanted[t]));
    }
    mem_free(got);
    mem_free(wanted);
    life_close(f);
    mem_free(f);
    return most;
}

static void one_layer_reads_a_text_of_what_was_kept(void **state)
{
    (void)state;
    static const char *const archs[] = { "llama", "qwen2" }; /* neighbours, and halves */
    for (int a = 0; a < 2; a++) {
        char path[TINY_PATH];
        tiny(archs[a], 1, path);
        const double rolling = difference(path, WINDOW ",pos=rolling"),
                     original = difference(path, WINDOW ",pos=original");
        print_message("%s: rolling %.2g, original %.2g\n", archs[a], rolling, original);
        assert_true(rolling < 1e-4);
        assert_true(original > 20 * rolling);
        unlink(path);
    }
}

/* ---- h2o, whose kept rows lie anywhere ---- */

enum { H2O_PROMPT = 320 };

/* With a token: one row of each list leaves; with each block, what settled is brought near. */
static bool evict_one(struct life *f)
{
    const struct kv_keep_job job = { .choice = &f->choice,
                                     .excerpt = f->excerpt,
                                     .space = f->run.space,
                                     .taps = &f->taps,
                                     .n_position = f->run.n_done,
                                     .n_whole = H2O_PROMPT };
    assert_int_equal(kv_keep_one(&f->model, &job, NULL), OK);
    if (f->run.n_done % KV_BLOCK)
        return false;
    assert_int_equal(kv_excerpt_settle(f->excerpt, f->run.space, f->run.n_done), OK);
    assert_int_equal(kv_keep_turn(&f->model, &job, NULL), OK);
    return true;
}

/* ids of the kept rows of the only list, in order; and of the token that comes next. */
static uint32_t kept_text(const struct life *f, int32_t *ids)
{
    kv_row row[N];
    uint32_t position[N], n_text = 0;
    bool there[N] = { false };
    const uint32_t n = kv_excerpt_rows(f->excerpt, 0, 0, f->run.n_done, row, position);
    for (uint32_t i = 0; i < n; i++)
        there[position[i]] = true;
    for (uint32_t p = 0; p < f->run.n_done; p++)
        if (there[p])
            ids[n_text++] = f->ids[p];
    ids[n_text++] = f->ids[f->run.n_done];
    return n_text;
}

/* The largest difference of logits of rows right behind a turn. */
static double difference_of_h2o(const char *path, const char *choice)
{
    struct life *f = mem_new(1, sizeof *f);
    uint32_t n_compared = 0;
    double most = 0;
    life_open(f, path, KV_F32, choice);
    float *got = mem_new((size_t)N * f->r.n_vocab, sizeof *got),
          *wanted = mem_new(f->r.n_vocab, sizeof *wanted);
    f->run.logits = got;
    run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ H2O_PROMPT }, 1);
    keep(f);
    bool turned = true;
    while (f->run.n_done + 1 < N) {
        int32_t text[N];
        const uint32_t n = kept_text(f, text);
        run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ 1 }, 1);
        const float *row = got + (size_t)(f->run.n_done - 1) * f->r.n_vocab;
        if (turned)
            read_alone(f, text, n, wanted);
        for (uint32_t t = 0; turned && t < f->r.n_vocab; t++)
            most = fmax(most, fabs((double)row[t] - (double)wanted[t]));
        n_compared += turned;
        turned = evict_one(f);
    }
    assert_true(n_compared > 4);
    mem_free(got);
    mem_free(wanted);
    life_close(f);
    mem_free(f);
    return most;
}

static void one_head_reads_a_text_of_what_was_kept(void **state)
{
    (void)state;
    static const char *const archs[] = { "llama", "qwen2" };
    for (int a = 0; a < 2; a++) {
        char path[TINY_PATH];
        struct tiny_model t = tiny_model_of(archs[a], DT_F32);
        t.n_layer = t.n_kv_head = 1;
        t.n_head = 2;
        t.d_head = 32;
        t.n_embd = 64;
        t.n_ff = 96;
        tiny_model_save_temporary(t, path);
        const double rolling = difference_of_h2o(path, "h2o:budget=200,recent=140,pos=rolling"),
                     original = difference_of_h2o(path, "h2o:budget=200,recent=140");
        print_message("%s: rolling %.2g, original %.2g\n", archs[a], rolling, original);
        assert_true(rolling < 1e-4);
        assert_true(original > 20 * rolling);
        unlink(path);
    }
}

/* ---- keys ---- */

static void key_of(const struct life *f, uint32_t layer, uint32_t h, uint32_t position, float *k)
{
    const struct kv_list list = kv_excerpt_list(f->excerpt, layer, h);
    for (uint32_t s = 0; s < list.n_block * KV_BLOCK; s++) {
        if (list.position[s] != position || !(list.live[s / KV_BLOCK] >> s % KV_BLOCK & 1))
            continue;
        f->model.kern->load_k(f->r.shape.type, list.block[s / KV_BLOCK], s % KV_BLOCK, k,
                              f->h->d_head);
        return;
    }
    fail_msg("position %u is in no slot", position);
}

static void turned_plainly(const struct life *f, const float *k, uint32_t by, double *out)
{
    const uint32_t half = f->h->n_rot / 2;
    for (uint32_t i = 0; i < half; i++) {
        const uint32_t a = f->h->rope_halves ? i : 2 * i, b = f->h->rope_halves ? i + half : a + 1;
        const double angle = by * model_rope_freq(f->r.model)[i];
        out[a] = (double)k[a] * cos(angle) - (double)k[b] * sin(angle);
        out[b] = (double)k[a] * sin(angle) + (double)k[b] * cos(angle);
    }
    for (uint32_t i = f->h->n_rot; i < f->h->d_head; i++)
        out[i] = (double)k[i];
}

/* Roundings of f16 do not add up over fifty turns, and nothing else is touched. */
static void first_keys_are_turned_from_what_they_were(void **state)
{
    (void)state;
    enum { D = 32, LISTS = 4 };
    char path[TINY_PATH];
    struct life *f = mem_new(1, sizeof *f);
    float was[LISTS][FIRST][D], k[D];
    double wanted[D], worst = 0;
    tiny("qwen2", 2, path);
    life_open(f, path, KV_F16, WINDOW ",pos=rolling");
    run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ PROMPT }, 1);
    for (uint32_t i = 0; i < LISTS; i++) {
        const struct kv_view view = kv_view_layer(f->run.space, i / 2);
        for (uint32_t p = 0; p < FIRST; p++)
            f->model.kern->load_k(KV_F16, kv_view_k(&view, 0, i % 2), p, was[i][p], D);
    }
    while (f->run.n_done + EVERY < N) {
        keep(f);
        for (uint32_t i = 0; i < LISTS; i++)
            for (uint32_t p = 0; p < FIRST; p++) {
                key_of(f, i / 2, i % 2, p, k);
                turned_plainly(f, was[i][p], f->run.n_done - BUDGET, wanted);
                for (uint32_t j = 0; j < D; j++)
                    worst = fmax(worst,
                                 fabs((double)k[j] - wanted[j]) / fmax(fabs(wanted[j]), 0x1p-10));
            }
        run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ EVERY }, 1);
    }
    print_message("largest relative difference %.2g\n", worst);
    assert_true(worst < 0x1p-11 * 1.1); /* one rounding, and that of angles */
    life_close(f);
    unlink(path);
    mem_free(f);
}

enum { H2O_D = 32, H2O_LISTS = 4 };
typedef float keys_as_written[H2O_LISTS][N][H2O_D];

/* Keys of [first, n_done), which lie in the space yet. */
static void write_down(const struct life *f, keys_as_written was, uint32_t first)
{
    for (uint32_t i = 0; i < H2O_LISTS; i++) {
        const struct kv_view view = kv_view_layer(f->run.space, i / 2);
        for (uint32_t p = first; p < f->run.n_done; p++)
            f->model.kern->load_k(KV_F16, kv_view_k(&view, p / KV_BLOCK, i % 2), p % KV_BLOCK,
                                  was[i][p], H2O_D);
    }
}

/* Of the rows that settled, each is turned by what has gone behind it: the largest relative difference. */
static double worst_key(const struct life *f, keys_as_written was, uint32_t *n_turned)
{
    double worst = 0;
    for (uint32_t i = 0; i < H2O_LISTS; i++) {
        const struct kv_list list = kv_excerpt_list(f->excerpt, i / 2, i % 2);
        kv_row row[N];
        uint32_t position[N];
        const uint32_t n = kv_excerpt_rows(f->excerpt, i / 2, i % 2, f->run.n_done, row, position);
        for (uint32_t j = 0; j < n; j++) {
            uint32_t gone = f->run.n_done - 1 - position[j];
            float k[H2O_D];
            double wanted[H2O_D];
            for (uint32_t o = 0; o < n; o++)
                gone -= position[o] > position[j];
            if (row[j] & KV_IN_TAIL)
                continue;
            *n_turned += gone > 0;
            f->model.kern->load_k(KV_F16, list.block[row[j] / KV_BLOCK], row[j] % KV_BLOCK, k,
                                  H2O_D);
            turned_plainly(f, was[i][position[j]], gone, wanted);
            for (uint32_t d = 0; d < H2O_D; d++)
                worst =
                    fmax(worst, fabs((double)k[d] - wanted[d]) / fmax(fabs(wanted[d]), 0x1p-10));
        }
    }
    return worst;
}

/* Rows move from slot to slot, and take along what their keys were; so do those of a fork. */
static void all_keys_are_turned_from_what_they_were(void **state)
{
    (void)state;
    char path[TINY_PATH];
    struct life *f = mem_new(1, sizeof *f);
    float(*was)[N][H2O_D] = mem_new(H2O_LISTS, sizeof *was);
    uint32_t n_turned = 0;
    double worst = 0;
    tiny("qwen2", 2, path);
    life_open(f, path, KV_F16, "h2o:budget=100,recent=30,pos=rolling");
    run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ H2O_PROMPT }, 1);
    write_down(f, was, 0);
    keep(f);
    worst = worst_key(f, was, &n_turned);
    for (bool forked = false; f->run.n_done < N;) {
        run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ 1 }, 1);
        write_down(f, was, f->run.n_done - 1);
        if (evict_one(f))
            worst = fmax(worst, worst_key(f, was, &n_turned));
        if (f->run.n_done > 450 && !forked) {
            struct kv_excerpt *fork;
            assert_int_equal(kv_excerpt_fork(&fork, f->excerpt, N, NULL), OK);
            kv_excerpt_free(f->excerpt);
            f->excerpt = f->taps.into = fork;
            f->run.excerpt = fork;
            forked = true;
        }
    }
    print_message("%u keys, largest relative difference %.2g\n", n_turned, worst);
    assert_true(worst < 0x1p-11 * 1.1);
    assert_true(n_turned > 1000);
    life_close(f);
    unlink(path);
    mem_free(was);
    mem_free(f);
}

/* One row more goes, and the first ones are turned by one more. */
static void lose_one(struct life *f, struct kv_excerpt *e)
{
    const struct kv_turn how = { f->model.kern, f->model.rope_freq, f->h->n_rot,
                                 f->h->rope_halves };
    kv_excerpt_drop(e, 0, 1, KV_IN_TAIL | (PROMPT - 1));
    assert_int_equal(kv_excerpt_turn(e, PROMPT, &how, NULL), OK);
}

/* A fork knows what the first keys were: turned further it has the bits of its original, which it leaves alone. */
static void a_fork_turns_its_own(void **state)
{
    (void)state;
    enum { D = 32 };
    char path[TINY_PATH];
    struct life *f = mem_new(1, sizeof *f);
    struct kv_excerpt *fork, *own;
    float before[D], after[D], forked[D];
    tiny("llama", 1, path);
    life_open(f, path, KV_F16, WINDOW ",pos=rolling");
    run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ PROMPT }, 1);
    keep(f);
    own = f->excerpt;
    key_of(f, 0, 1, 3, before);
    assert_int_equal(kv_excerpt_fork(&fork, own, N, NULL), OK);
    lose_one(f, fork);
    key_of(f, 0, 1, 3, after);
    assert_memory_equal(after, before, sizeof after);
    f->excerpt = fork;
    key_of(f, 0, 1, 3, forked);
    f->excerpt = own;
    lose_one(f, own);
    key_of(f, 0, 1, 3, after);
    assert_memory_equal(after, forked, sizeof after);
    assert_memory_not_equal(after, before, sizeof after);
    kv_excerpt_free(fork);
    life_close(f);
    unlink(path);
    mem_free(f);
}

/* A keep that lacks memory is called again, and goes on. */
static void memory_may_be_short(void **state)
{
    (void)state;
    enum { D = 32 };
    char path[TINY_PATH];
    struct life *f = mem_new(1, sizeof *f), *g = mem_new(1, sizeof *g);
    float a[D], b[D];
    uint32_t n_failed = 0;
    enum status st = FULL;
    tiny("llama", 1, path);
    life_open(f, path, KV_INT8, WINDOW ",pos=rolling");
    life_open(g, path, KV_INT8, WINDOW ",pos=rolling");
    run_step(&f->r, &(struct run *){ &f->run }, &(uint32_t){ PROMPT }, 1);
    run_step(&g->r, &(struct run *){ &g->run }, &(uint32_t){ PROMPT }, 1);
    for (uint64_t k = 1; st != OK; k++) {
        mem_fail_at(k);
        st = try_to_keep(f);
        mem_fail_at(0);
        assert_true(st == OK || st == FULL);
        n_failed += st == FULL;
    }
    keep(g);
    for (uint32_t p = 0; p < FIRST; p++) {
        key_of(f, 0, 1, p, a);
        key_of(g, 0, 1, p, b);
        assert_memory_equal(a, b, sizeof a);
    }
    assert_true(n_failed > 1);
    life_close(f);
    life_close(g);
    unlink(path);
    mem_free(f);
    mem_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_layer_reads_a_text_of_what_was_kept),
        cmocka_unit_test(first_keys_are_turned_from_what_they_were),
        cmocka_unit_test(one_head_reads_a_text_of_what_was_kept),
        cmocka_unit_test(all_keys_are_turned_from_what_they_were),
        cmocka_unit_test(a_fork_turns_its_own),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
