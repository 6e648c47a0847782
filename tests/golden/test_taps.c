/* What a pass writes down for policies: mass, queries, moments and hidden rows are those of plain double precision, and
 * the same bits however the pass was cut, batched, threaded or computed. */
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

enum { N_QUERY = 5, MOMENTS_FROM = 4, N_LATE = 10, HIDDEN_LAYER = 2, HIDDEN_FROM = 3 };

static void taps_open(struct kv_taps *t, const struct hparams *h, enum kv_tap_mass mass,
                      struct kv_excerpt *into)
{
    const size_t width = (size_t)h->n_head * h->d_head;
    *t = (struct kv_taps){
        .mass = mass,
        .into = into,
        .n_counted = UINT32_MAX,
        .n_query = N_QUERY,
        .query = mem_new(h->n_layer * N_QUERY * width, sizeof(float)),
        .moments_from = MOMENTS_FROM,
        .sum = mem_new(h->n_layer * width, sizeof(float)),
        .outer = mem_new(h->n_layer * width * h->d_head, sizeof(float)),
        .n_late_max = N_LATE,
        .late = mem_new(h->n_layer * width * N_LATE, sizeof(float)),
        .hidden_layer = HIDDEN_LAYER,
        .hidden_from = HIDDEN_FROM,
        .hidden = mem_new(h->n_embd, sizeof(float)),
    };
}

static void taps_close(struct kv_taps *t)
{
    mem_free(t->query);
    mem_free(t->sum);
    mem_free(t->outer);
    mem_free(t->late);
    mem_free(t->hidden);
}

/* ---- the same bits ---- */

struct written {
    struct kv_taps taps;
    uint64_t *mass; // of all lists' live rows, one behind the other
    uint32_t n_mass;
};

static void collect_mass(const struct runner *r, const struct pruned *p, struct written *w)
{
    static kv_row row[PRUNED_POSITIONS];
    static uint32_t position[PRUNED_POSITIONS];
    w->mass = mem_new(64 * PRUNED_POSITIONS, sizeof *w->mass);
    for (uint32_t layer = 0; layer < r->shape.n_layer; layer++) {
        const struct kv_group *g = &r->shape.group[r->shape.layer_group[layer]];
        for (uint32_t head = 0; head < g->n_kv_head && !g->window; head++) {
            const struct kv_list l = kv_excerpt_list(p->excerpt, layer, head);
            const uint32_t n =
                kv_excerpt_rows(p->excerpt, layer, head, p->run.n_done, row, position);
            for (uint32_t i = 0; i < n; i++)
                w->mass[w->n_mass++] =
                    row[i] & KV_IN_TAIL ? l.tail_mass[position[i] % l.n_tail_mass] : l.mass[row[i]];
        }
    }
}

/* One sequence under taps, pruned as it goes, perhaps beside one that is neither, by chunks of `company`. */
static void write_down(struct written *w, const struct runner_config *config, const int32_t *ids,
                       uint32_t n, uint32_t chunk, enum kv_tap_mass mass, uint32_t company)
{
    struct runner r;
    struct pruned p[2];
    *w = (struct written){ 0 };
    runner_open(&r, config);
    pruned_open(&r, &p[0], ids, 3);
    pruned_open(&r, &p[1], ids, 4);
    taps_open(&w->taps, model_hparams(r.model), mass, p[0].excerpt);
    w->taps.moments_due = n;
    p[0].run.taps = &w->taps;
    pruned_run(&r, p, (uint32_t[]){ chunk, company }, company ? 2 : 1, n);
    collect_mass(&r, &p[0], w);
    pruned_close(&p[1]);
    pruned_close(&p[0]);
    runner_close(&r);
}

static void written_close(struct written *w)
{
    taps_close(&w->taps);
    mem_free(w->mass);
}

static void expect_same_words(const struct hparams *h, const struct written *got,
                              const struct written *want, const char *how)
{
    const size_t width = (size_t)h->n_head * h->d_head;
    const struct kv_taps *a = &got->taps, *b = &want->taps;
    print_message("  %s\n", how);
    assert_true(a->n_moment == b->n_moment && a->n_hidden == b->n_hidden);
    assert_memory_equal(a->hidden, b->hidden, h->n_embd * sizeof(float));
    assert_memory_equal(a->query, b->query, h->n_layer * N_QUERY * width * sizeof(float));
    assert_memory_equal(a->sum, b->sum, h->n_layer * width * sizeof(float));
    assert_memory_equal(a->outer, b->outer, h->n_layer * width * h->d_head * sizeof(float));
    assert_int_equal(got->n_mass, want->n_mass);
    assert_memory_equal(got->mass, want->mass, want->n_mass * sizeof *want->mass);
}

static void same_however(struct tiny_model tiny, enum kv_type kv, enum kv_tap_mass mass)
{
    enum { N = SANITIZED ? 170 : 320, N_REF = 160 };
    struct runner_config config = { .n_thread = 1, .n_position_max = 1024, .kv_type = kv }, two;
    const struct hparams h = {
        .n_layer = tiny.n_layer, .n_embd = tiny.n_embd, .n_head = tiny.n_head, .d_head = tiny.d_head
    };
    struct written want, got;
    int32_t ids[N];
    char path[TINY_PATH];
    struct rng rng = rng_seeded(17, 3);
    tiny_model_save_temporary(tiny, path);
    config.path = path;
    two = config;
    for (uint32_t i = 0; i < N; i++)
        ids[i] = (int32_t)rng_below(&rng, 256);
    print_message("%s, %u heads\n", tiny.arch, tiny.n_head);
    write_down(&want, &config, ids, N, 512, mass, 0);
    assert_true(want.taps.n_moment == N - MOMENTS_FROM);
    assert_int_equal(want.taps.n_hidden, N - HIDDEN_FROM);
    static const struct {
        uint32_t n, n_thread, company;
    } chunk[] = { { 1, 1, 0 }, { 7, 2, 0 }, { 64, 1, 40 }, { 512, 2, 0 },
                  { 2, 2, 0 }, { 1, 3, 0 }, { 2, 2, 1 },   { 3, 5, 2 } };
    for (uint32_t i = 0; i < sizeof chunk / sizeof *chunk; i++) {
        two.n_thread = chunk[i].n_thread;
        write_down(&got, &two, ids, N, chunk[i].n, mass, chunk[i].company);
        expect_same_words(&h, &got, &want, "in chunks");
        written_close(&got);
    }
    written_close(&want);
    two.n_thread = 2;
    write_down(&want, &two, ids, N_REF, 1, mass, 0);
    two.cpu = "ref";
    write_down(&got, &two, ids, N_REF, SANITIZED ? 150 : 30, mass, 0);
    expect_same_words(&h, &got, &want, "ref");
    written_close(&want);
    written_close(&got);
    unlink(path);
}

static void the_same_bits_however_computed(void **state)
{
    (void)state;
    struct tiny_model wide = tiny_model_of("llama", DT_Q4_1);
    wide.n_head = 64, wide.n_kv_head = 1, wide.d_head = 8; // seven rows' scores have no room
    same_however(tiny_model_of("llama", DT_Q4_1), KV_F16, KV_TAP_MASS_SUM);
    same_however(tiny_model_of("qwen3", DT_Q4_1), KV_INT8,
                 KV_TAP_MASS_PEAK); // with norms of queries
    same_however(tiny_model_of("gemma3", DT_Q4_1), KV_F32, KV_TAP_MASS_SUM); // with windows
    same_however(wide, KV_F16, KV_TAP_MASS_SUM);
}

/* ---- the right numbers: one layer of a pass with queries of our own ---- */

enum { PAST = 700, ROWS = 40 };

struct layer_case {
    struct runner r;
    struct workers *workers;
    struct pass pass;
    struct pruned p;
    struct kv_taps taps;
    struct batch_seq seq;
    struct batch batch;
    float *before; // queries before RoPE
};

static float spread(struct rng *rng)
{
    return (float)(rng_unit(rng) * 2 - 1);
}

static void fill(float *x, size_t n, struct rng *rng)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 2 * spread(rng);
}

/* Rows [0, PAST) are written, some dropped, some of the others settled; then ROWS more are computed. */
static void case_open(struct layer_case *c, const char *path, enum kv_tap_mass mass,
                      uint32_t n_counted)
{
    static const int32_t ids[PAST + ROWS];
    const struct runner_config config = {
        .path = path, .n_thread = 1, .n_position_max = 1024, .kv_type = KV_F32
    };
    struct rng rng = rng_seeded(23, 1);
    struct note why = { "" };
    *c = (struct layer_case){ 0 };
    runner_open(&c->r, &config);
    pruned_open(&c->r, &c->p, ids, 0);
    while (c->p.run.n_done < PAST)
        run_step(&c->r, &(struct run *){ &c->p.run }, &(uint32_t){ 100 }, 1);
    c->p.seed = 5;
    pruned_drop(&c->r, &c->p);
    assert_int_equal(kv_excerpt_settle(c->p.excerpt, c->p.run.space, PAST - 200), OK);
    c->pass.kern = model_kernels(c->r.model);
    c->pass.h = model_hparams(c->r.model);
    assert_int_equal(workers_new(&c->workers, 2, &why), OK);
    c->pass.workers = c->workers;
    rope_init(&c->pass.rope[0], &c->pass.h->rope, c->pass.h->n_rot, NULL);
    assert_int_equal(pass_open(&c->pass, model_weights(c->r.model), ROWS, &why), OK);
    taps_open(&c->taps, c->pass.h, mass, c->p.excerpt);
    c->taps.n_counted = n_counted;
    c->taps.moments_from = PAST + 3;
    c->seq = (struct batch_seq){ .space = c->p.run.space,
                                 .n_row = ROWS,
                                 .position = PAST,
                                 .excerpt = c->p.excerpt,
                                 .taps = &c->taps };
    c->batch = (struct batch){ .n_row = ROWS, .n_seq = 1, .id = ids, .seq = &c->seq };
    assert_int_equal(kv_space_grow(c->p.run.space, PAST + ROWS), OK);
    pass_begin(&c->pass, &c->batch, model_weights(c->r.model));
    const size_t n_q = (size_t)c->pass.h->n_head * c->pass.h->d_head * ROWS;
    const size_t n_k = (size_t)c->pass.h->n_kv_head * c->pass.h->d_head * ROWS;
    fill(c->pass.q, n_q, &rng);
    fill(c->pass.k, n_k, &rng);
    fill(c->pass.v, n_k, &rng);
    c->before = mem_new(n_q, sizeof *c->before);
    memcpy(c->before, c->pass.q, n_q * sizeof *c->before);
    pass_rope_store(&c->pass, 0, NULL, NULL);
    pass_attend(&c->pass, 0);
}

static void case_close(struct layer_case *c)
{
    mem_free(c->before);
    taps_close(&c->taps);
    pass_close(&c->pass);
    workers_free(c->workers);
    pruned_close(&c->p);
    runner_close(&c->r);
}

static double dot(const struct layer_case *c, const float *q, const char *k, uint32_t row)
{
    double s = 0;
    for (uint32_t j = 0; j < c->pass.h->d_head; j++)
        s += (double)q[j] * (double)((const float *)(const void *)k)[j * KV_BLOCK + row];
    return s * (double)c->pass.h->attn_scale;
}

/* Weights of one query over the rows of a list that it sees, as parts of one. */
static void weigh(const struct layer_case *c, const float *q, uint32_t kv_head, uint32_t end,
                  const kv_row *row, uint32_t n, double *w)
{
    const struct kv_list list = kv_excerpt_list(c->p.excerpt, 0, kv_head);
    const struct kv_view view = kv_view_layer(c->p.run.space, 0);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = row[i] & ~KV_IN_TAIL, b = at / KV_BLOCK;
        const char *k = row[i] & KV_IN_TAIL ? kv_view_k(&view, b, kv_head) : list.block[b];
        const uint32_t position = row[i] & KV_IN_TAIL ? at : list.position[at];
        w[i] = position < end ? exp(dot(c, q, k, at % KV_BLOCK)) : 0;
        sum += w[i];
    }
    for (uint32_t i = 0; i < n; i++)
        w[i] /= sum;
}

/* A score of size S = scale * sum |q k| is off by (d + 3) 2^-24 S at most, here 4e-5; a weight relatively by twice
 * that, and by half a unit. */
static void expect_mass(const struct layer_case *c, uint32_t kv_head)
{
    static kv_row row[PAST + ROWS];
    static uint32_t position[PAST + ROWS];
    static double w[PAST + ROWS], want[PAST + ROWS];
    const struct hparams *h = c->pass.h;
    const struct kv_list list = kv_excerpt_list(c->p.excerpt, 0, kv_head);
    const uint32_t n = kv_excerpt_rows(c->p.excerpt, 0, kv_head, PAST + ROWS, row, position);
    const uint32_t group = h->n_head / h->n_kv_head;
    memset(want, 0, sizeof want);
    for (uint32_t i = 0; i < ROWS * group; i++) {
        const uint32_t r = i / group, head = kv_head * group + i % group;
        const uint32_t end = PAST + r + 1 < c->taps.n_counted ? PAST + r + 1 : c->taps.n_counted;
        weigh(c, c->pass.q + ((size_t)r * h->n_head + head) * h->d_head, kv_head, end, row, n, w);
        for (uint32_t j = 0; j < n; j++)
            want[j] = c->taps.mass == KV_TAP_MASS_SUM ? want[j] + w[j] : fmax(want[j], w[j]);
    }
    for (uint32_t j = 0; j < n; j++) {
        const uint64_t units = row[j] & KV_IN_TAIL ? list.tail_mass[position[j] % list.n_tail_mass]
                                                   : list.mass[row[j]];
        const double got = (double)units / (1 << KV_MASS_BITS);
        if (!(fabs(got - want[j]) <= 1e-4 * want[j] + ROWS * (double)group * 1e-9))
            fail_msg("kv_head %u, row %u: mass %.9g, expected %.9g", kv_head, position[j], got,
                     want[j]);
    }
}

static void expect_moments(const struct layer_case *c)
{
    const struct hparams *h = c->pass.h;
    const uint32_t d = h->d_head;
    assert_true(c->taps.n_moment == ROWS - 3);
    for (uint32_t i = 0; i < h->n_head * d; i++) {
        const uint32_t head = i / d;
        double sum = 0;
        for (uint32_t r = 3; r < ROWS; r++)
            sum += (double)c->before[(size_t)r * h->n_head * d + i];
        assert_true(fabs(sum - (double)c->taps.sum[i]) < 1e-4);
        for (uint32_t j = 0; j <= i % d; j++) {
            double want = 0;
            for (uint32_t r = 3; r < ROWS; r++) {
                const float *q = c->before + ((size_t)r * h->n_head + head) * d;
                want += (double)q[i % d] * (double)q[j];
            }
            assert_true(fabs(want - (double)c->taps.outer[(size_t)i * d + j]) < 1e-4);
        }
    }
}

static void expect_queries(const struct layer_case *c)
{
    const size_t width = (size_t)c->pass.h->n_head * c->pass.h->d_head;
    for (uint32_t r = ROWS - N_QUERY; r < ROWS; r++)
        assert_memory_equal(c->taps.query + (PAST + r) % N_QUERY * width, c->pass.q + r * width,
                            width * sizeof(float));
}

static void what_is_written_is_right(void **state)
{
    (void)state;
    static const enum kv_tap_mass masses[] = { KV_TAP_MASS_SUM, KV_TAP_MASS_PEAK };
    static const uint32_t counted[] = { UINT32_MAX, PAST, PAST - 77 };
    char path[TINY_PATH];
    tiny_model_save_temporary(tiny_model_of("llama", DT_Q4_1), path);
    for (uint32_t i = 0; i < 6; i++) {
        struct layer_case c;
        case_open(&c, path, masses[i % 2], counted[i / 2]);
        for (uint32_t head = 0; head < c.pass.h->n_kv_head; head++)
            expect_mass(&c, head);
        expect_moments(&c);
        expect_queries(&c);
        case_close(&c);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_right),
        cmocka_unit_test(the_same_bits_however_computed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
