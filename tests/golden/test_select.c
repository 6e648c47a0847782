/* Rows that answer read what a policy names: attention over exactly those rows, the bits of `full` where the budget
 * allows all of them, and the same bits however the pass was cut, batched or threaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/f16.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kv/select.h"
#include "support/runner.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

// Two chunks of attention and more, or one and more.
enum {
    N = SANITIZED ? 1150 : 2200,
    FROM = SANITIZED ? 1100 : 2100,
    PAGE = 16,
    N_POSITION_MAX = 2304
};

/* ---- a policy for tests: pages of 16 positions by the sum of their keys; the best pages by the first head's query
 * ---- */

struct page_book {
    uint32_t n_entered;
    float sum[];
};

static size_t pages_bytes(const void *options, uint32_t n_position, uint32_t d, uint32_t n_asker,
                          float share)
{
    (void)options, (void)n_asker, (void)share;
    return sizeof(struct page_book) + (n_position / PAGE + 1) * (size_t)d * sizeof(float);
}

static void pages_enter(const void *options, void *book, const struct kv_select_in *in,
                        uint32_t from, uint32_t to)
{
    struct page_book *b = book;
    float k[512];
    (void)options;
    assert_int_equal(b->n_entered, from);
    b->n_entered = to;
    for (uint32_t p = from; p < to; p++) {
        kv_select_key(in, p, k);
        for (uint32_t j = 0; j < in->d; j++)
            b->sum[p / PAGE * in->d + j] += k[j];
    }
}

/* As many pages as the budget has, the best ones first; also the last, that is not complete. */
static bool pages_select(const void *options, void *book, const struct kv_select_in *in,
                         uint64_t *mask)
{
    const struct page_book *b = book;
    const uint32_t n_page = (in->n_position + PAGE - 1) / PAGE;
    bool taken[N_POSITION_MAX / PAGE] = { false };
    (void)options;
    assert_int_equal(b->n_entered, in->n_position);
    for (uint32_t n = 0; n < in->budget / PAGE && n < n_page; n++) {
        float best = -INFINITY;
        uint32_t at = 0;
        for (uint32_t i = 0; i < n_page; i++) {
            float s = 0;
            for (uint32_t j = 0; j < in->d; j++)
                s += in->q[j] * b->sum[i * in->d + j];
            if (!taken[i] && s > best) {
                best = s;
                at = i;
            }
        }
        taken[at] = true;
        mask[at * PAGE / KV_BLOCK] |= UINT64_C(0xffff) << at * PAGE % KV_BLOCK;
    }
    return true;
}

static const struct kv_select_policy pages_select_policy = { .book_bytes = pages_bytes,
                                                             .enter = pages_enter,
                                                             .select = pages_select };
static const struct kv_policy pages = { .name = "pages",
                                        .options_bytes = sizeof(struct kv_common),
                                        .select = &pages_select_policy };

static struct kv_choice choice_of(double budget)
{
    struct kv_choice c = { .policy = &pages };
    c.options.common =
        (struct kv_common){ .budget = { KV_ROWS, budget }, .n_sink = 2, .recent = { KV_ROWS, 5 } };
    return c;
}

/* ---- the same bits ---- */

static struct kv_select *select_new(struct runner *r, double budget)
{
    const struct kv_choice c = choice_of(budget);
    struct note why = { "" };
    struct kv_select *s;
    const struct kv_select_config config = { .choice = &c,
                                             .shape = &r->shape,
                                             .n_head = model_hparams(r->model)->n_head,
                                             .n_position_max = N_POSITION_MAX,
                                             .from = FROM };
    if (kv_select_new(&s, &config, &why) != OK)
        fail_msg("%s", why.text);
    return s;
}

/* L5: perhaps the books are written while the prompt is read. */
static void pass(const struct runner *r, struct workers *workers, struct run *run)
{
    if (!workers || run->n_done > FROM)
        return;
    kv_select_pass(run->select, model_kernels(r->model), workers, run->space, run->n_done);
}

/* Logits of all positions, read in chunks, perhaps beside a sequence that reads everything. */
static void read_selecting(const struct runner_config *config, const int32_t *ids, double budget,
                           uint32_t chunk, bool in_company, float *logits)
{
    struct runner r;
    struct run run[2], *each[2] = { &run[0], &run[1] };
    struct workers *workers = NULL;
    runner_open(&r, config);
    if (in_company)
        assert_int_equal(workers_new(&workers, 2, NULL), OK);
    run_open(&r, &run[0], ids);
    run_open(&r, &run[1], ids);
    run[0].select = select_new(&r, budget);
    run[0].logits = logits;
    while (run[0].n_done < N) {
        const uint32_t left = N - run[0].n_done, other = N - run[1].n_done;
        run_step(&r, each,
                 (uint32_t[]){ left < chunk ? left : chunk, !in_company ? 0
                                                            : other < 9 ? other
                                                                        : 9 },
                 2);
        pass(&r, workers, &run[0]);
    }
    workers_free(workers);
    const struct kv_select_stats stats = kv_select_stats_of(run[0].select);
    assert_true(budget >= N ? stats.n_read == stats.n_there : stats.n_read < stats.n_there / 2);
    kv_select_free(run[0].select);
    run_close(&run[0]);
    run_close(&run[1]);
    runner_close(&r);
}

static void same_however(struct tiny_model tiny, enum kv_type kv)
{
    struct runner_config config = { .n_thread = 1,
                                    .n_position_max = N_POSITION_MAX,
                                    .kv_type = kv };
    const size_t n = (size_t)N * tiny.n_vocab, bytes = n * sizeof(float);
    float *full = mem_new(n, sizeof *full), *want = mem_new(n, sizeof *want);
    float *got = mem_new(n, sizeof *got);
    struct rng rng = rng_seeded(19, 3);
    int32_t ids[N];
    char path[TINY_PATH];
    struct runner r;
    tiny_model_save_temporary(tiny, path);
    config.path = path;
    for (uint32_t i = 0; i < N; i++)
        ids[i] = (int32_t)rng_below(&rng, tiny.n_vocab);
    runner_open(&r, &config);
    run_all(&r, ids, N, 512, full);
    runner_close(&r);

    read_selecting(&config, ids, N, 64, false, got);
    assert_memory_equal(got, full, bytes); // L2
    read_selecting(&config, ids, 48, 1, false, want);
    assert_memory_equal(want, full, (size_t)FROM * tiny.n_vocab * sizeof(float));
    assert_memory_not_equal(want, full, bytes);
    static const uint32_t chunk[] = { 7, 64, 512 };
    for (uint32_t i = 0; i < 3; i++) {
        config.n_thread = 1 + i;
        config.table = i == 1;
        read_selecting(&config, ids, 48, chunk[i], i == 1, got);
        assert_memory_equal(got, want, bytes);
    }
    config.n_thread = 2;
    read_selecting(&config, ids, 48, 1, true, got);
    assert_memory_equal(got, want, bytes);
    unlink(path);
    mem_free(full);
    mem_free(want);
    mem_free(got);
}

static void the_same_bits_however_computed(void **state)
{
    (void)state;
    struct tiny_model wide = tiny_model_of("llama", DT_Q4_1);
    wide.n_head = 64, wide.n_kv_head = 1, wide.d_head = 8; // states of two chunks have room
    same_however(tiny_model_of("llama", DT_Q4_1), KV_F16);
    same_however(tiny_model_of("gemma3", DT_Q4_1), KV_INT8);
    if (!SANITIZED)
        same_however(wide, KV_F16);
}

/* ---- rows behind no bit are not there: NaN in them changes nothing ---- */

static void spoil(const struct kv_space *space, const struct kv_shape *shape, uint32_t from,
                  uint32_t to)
{
    for (uint32_t layer = 0; layer < shape->n_layer; layer++) {
        const struct kv_view v = kv_view_layer(space, layer);
        for (uint32_t head = 0; head < v.n_kv_head; head++)
            for (uint32_t p = from; p < to; p++)
                for (uint32_t j = 0; j < v.d_v; j++)
                    ((float *)(void *)kv_view_v(&v, p / KV_BLOCK, head))[p % KV_BLOCK * v.d_v + j] =
                        NAN;
    }
}

/* No pages: sinks and recent rows alone. */
static void masked_rows_are_not_read(void **state)
{
    (void)state;
    struct runner_config config = { .n_thread = 1,
                                    .n_position_max = N_POSITION_MAX,
                                    .kv_type = KV_F32 };
    const struct tiny_model tiny = tiny_model_of("llama", DT_Q4_1);
    static int32_t ids[N];
    struct runner r;
    struct run run;
    char path[TINY_PATH];
    tiny_model_save_temporary(tiny, path);
    config.path = path;
    runner_open(&r, &config);
    run_open(&r, &run, ids);
    run.select = select_new(&r, 10);
    assert_int_equal(kv_space_grow(run.space, FROM + 1), OK);
    spoil(run.space, &r.shape, 2, FROM - 5);
    const struct batch_seq seq = {
        .space = run.space, .n_row = 1, .position = FROM, .select = run.select
    };
    model_forward(r.model, &(struct batch){ .n_row = 1, .n_seq = 1, .id = ids, .seq = &seq });
    const float *row = model_logits(r.model, &(uint32_t){ 0 }, 1);
    for (uint32_t i = 0; i < tiny.n_vocab; i++)
        assert_true(isfinite(row[i]));
    kv_select_free(run.select);
    run_close(&run);
    runner_close(&r);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bits_however_computed),
        cmocka_unit_test(masked_rows_are_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
