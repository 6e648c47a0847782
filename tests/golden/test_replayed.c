/* Policies that read a text again, whole: an engine reads a prompt, replays and prunes it, and at every step what stays
 * is what a plain, slow reference keeps.
 *
 *   reference   past, prefix and text are read as one ordinary text without a policy; what every row of the prefix and
 *               the text pays each live row of the past is computed in double precision from the queries and keys of
 *               that reading
 *
 * A reading without a policy has the hidden states of one with it as long as nothing was dropped; of a model of one
 * layer always, as its keys and queries come from the tokens alone. So models of one layer are pruned again and again,
 * others once. */
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
#include "kv/view.h"
#include "support/runner.h"
#include "support/sanitized.h"
#include "support/still.h"
#include "twin/keep_twin.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

/* What the episode's text looks at; what is expected beside it is test_policies'. */
#define MASS_ALONE "epicache:ranks=mass,shares=equal,whole=off,round=off"

enum { QUESTION = 9, CHUNK = 500, ROOM = 5000 }; // ROOM: positions of the reference

struct replayed {
    struct still still;
    struct runner r;
    const struct hparams *h;
    struct kv_choice choice;
    struct rank_twin twin;
    struct keep_twin kept;
    uint16_t model_layer[KV_LAYER_MAX];
    struct ids prompt;
    uint32_t n_context, n_checked;
};

/* ---- the reference ---- */

/* [0, n_past) of the prompt, a prefix, and some of a text: as an ordinary text. */
struct reading {
    int32_t *ids;
    uint32_t n_past, n;
    float *query; // [n_layer of the model][n][n_head * d]
    struct kv_taps taps;
    struct run run;
};

static void reading_open(struct reading *g, struct replayed *f, const struct replay_prefix *prefix,
                         const int32_t *text, uint32_t n_text, uint32_t n_past)
{
    const size_t row = (size_t)f->h->n_head * f->h->d_head;
    *g = (struct reading){ .n_past = n_past, .n = n_past + prefix->n + n_text };
    assert_true(g->n <= ROOM);
    g->ids = mem_new(g->n, sizeof *g->ids);
    g->query = mem_new(f->h->n_layer * g->n * row, sizeof *g->query);
    memcpy(g->ids, f->prompt.id, n_past * sizeof *g->ids);
    memcpy(g->ids + n_past, prefix->id, prefix->n * sizeof *g->ids);
    memcpy(g->ids + n_past + prefix->n, text, n_text * sizeof *g->ids);
    g->taps = (struct kv_taps){ .n_counted = UINT32_MAX, .n_query = g->n, .query = g->query };
    run_open(&f->r, &g->run, g->ids);
    g->run.taps = &g->taps;
    for (uint32_t n; g->run.n_done < g->n;) {
        n = g->n - g->run.n_done < CHUNK ? g->n - g->run.n_done : CHUNK;
        run_step(&f->r, &(struct run *){ &g->run }, &n, 1);
    }
}

static void reading_close(struct reading *g)
{
    run_close(&g->run);
    mem_free(g->query);
    mem_free(g->ids);
}

static void keys_of(struct replayed *f, const struct reading *g, uint32_t list, float *k)
{
    const uint32_t n = f->twin.n_kv_head;
    const struct kv_view view = kv_view_layer(g->run.space, f->model_layer[list / n]);
    for (uint32_t p = 0; p < g->n; p++)
        model_kernels(f->r.model)
            ->load_k(f->r.shape.type, kv_view_k(&view, p / KV_BLOCK, list % n), p % KV_BLOCK,
                     k + (size_t)p * f->twin.d, f->twin.d);
}

/* What one query pays the past, as the largest so far; the softmax is over the live past and, unless it is counted
 * alone, the replayed rows up to the query's. */
static void pay(const struct replayed *f, const struct reading *g, uint32_t list, const float *q,
                uint32_t at, const float *k, bool past_alone, double *peak)
{
    const bool *live = f->twin.live + (size_t)list * f->twin.n_max;
    double *weight = mem_new(at + 1, sizeof *weight), top = -INFINITY, sum = 0;
    for (uint32_t p = 0; p <= at; p++) {
        double dot = 0;
        for (uint32_t j = 0; j < f->twin.d; j++)
            dot += (double)q[j] * (double)k[(size_t)p * f->twin.d + j];
        const bool counts = p < g->n_past ? live[p] : !past_alone;
        weight[p] = counts ? f->twin.scale * dot : -INFINITY;
        top = fmax(top, weight[p]);
    }
    for (uint32_t p = 0; p <= at; p++)
        sum += weight[p] = exp(weight[p] - top);
    for (uint32_t p = 0; p < g->n_past; p++)
        peak[p] = fmax(peak[p], weight[p] / sum);
    mem_free(weight);
}

static void pay_all(struct replayed *f, const struct reading *g, uint32_t list, bool past_alone)
{
    const uint32_t layer = f->model_layer[list / f->twin.n_kv_head],
                   head = list % f->twin.n_kv_head * f->twin.group;
    float *k = mem_new((size_t)g->n * f->twin.d, sizeof *k);
    double *peak = mem_new(g->n_past, sizeof *peak);
    keys_of(f, g, list, k);
    for (uint32_t at = g->n_past; at < g->n; at++)
        for (uint32_t i = 0; i < f->twin.group; i++) {
            const size_t row = ((size_t)layer * g->n + at) * f->h->n_head + head + i;
            pay(f, g, list, g->query + row * f->twin.d, at, k, past_alone, peak);
        }
    uint64_t *mass = f->twin.mass + (size_t)list * f->twin.n_max;
    for (uint32_t p = 0; p < g->n_past; p++) {
        const uint64_t now = (uint64_t)rint(peak[p] * (1 << 30));
        mass[p] = now > mass[p] ? now : mass[p];
    }
    mem_free(peak);
    mem_free(k);
}

/* The text over the first n_past positions, in chunks that do not see each other. */
static void replay(struct replayed *f, const struct replay_text *text, uint32_t n_past)
{
    const uint32_t n_list = f->twin.n_layer * f->twin.n_kv_head;
    memset(f->twin.mass, 0, (size_t)n_list * f->twin.n_max * sizeof *f->twin.mass);
    for (uint32_t at = 0; at < text->n; at += REPLAY_CHUNK) {
        struct reading g;
        const uint32_t left = text->n - at, n = left < REPLAY_CHUNK ? left : REPLAY_CHUNK;
        reading_open(&g, f, text->prefix, text->ids + at, n, n_past);
        for (uint32_t list = 0; list < n_list; list++)
            pay_all(f, &g, list, text->past_alone);
        reading_close(&g);
    }
}

/* ---- beside an engine ---- */

static void replayed_open(struct replayed *f, const char *path, const char *choice)
{
    const struct runner_config config = {
        .path = path, .n_thread = 1, .n_position_max = ROOM, .kv_type = KV_F32
    };
    *f = (struct replayed){ .n_checked = 0 };
    assert_int_equal(kv_choice_parse(&f->choice, choice, NULL), OK);
    still_open_file(&f->still, path);
    runner_open(&f->r, &config);
    f->h = model_hparams(f->r.model);
    rank_twin_of(&f->twin, f->h, &f->r.shape, f->model_layer, ROOM);
    keep_twin_open(&f->kept, &f->twin, &f->r.shape);
}

static void replayed_close(struct replayed *f)
{
    keep_twin_close(&f->kept);
    rank_twin_close(&f->twin);
    runner_close(&f->r);
    still_close(&f->still);
    ids_close(&f->prompt);
}

/* Lines of letters, and a question behind them. */
static void make_prompt(struct replayed *f, uint32_t n_context)
{
    struct rng rng = rng_seeded(12, 12);
    struct note why = { "" };
    while (f->prompt.n < n_context + QUESTION) {
        char line[80];
        const uint32_t len = 20 + rng_below(&rng, 50);
        for (uint32_t i = 0; i < len; i++)
            line[i] = rng_below(&rng, 6) ? (char)('a' + rng_below(&rng, 26)) : ' ';
        line[len] = '\n';
        assert_int_equal(vocab_encode(f->still.vocab, line, len + 1, 0, &f->prompt, &why), OK);
    }
    f->prompt.n = n_context + QUESTION;
    f->n_context = n_context;
}

/* What the engine reads over the first n positions. */
static struct replay_text text_of(const struct replayed *f, const struct keeper *k, uint32_t n)
{
    const struct keeper_frame *frame = &f->still.engine->keeping;
    if (!k->episodes)
        return (struct replay_text){ .prefix = &frame->repeat, .ids = f->prompt.id, .n = n };
    char text[512];
    kv_choice_print(&f->choice, text, sizeof text);
    return (struct replay_text){ .prefix = &frame->essential,
                                 .ids = k->episodes->text,
                                 .n = k->episodes->n_text,
                                 .past_alone = strstr(text, "support=past") != NULL };
}

/* The engine has just judged the first n positions. */
static void check(struct replayed *f, const struct sequence *s, uint32_t n)
{
    const struct kv_keep_job job = { .choice = &f->choice,
                                     .excerpt = s->keeper->excerpt,
                                     .space = s->space,
                                     .n_position = n,
                                     .n_whole = f->n_context };
    const struct replay_text text = text_of(f, s->keeper, n);
    for (uint32_t i = 0; i < f->twin.n_layer * f->twin.n_kv_head; i++)
        for (uint32_t p = f->twin.n_position; p < n; p++)
            f->twin.live[(size_t)i * f->twin.n_max + p] = true;
    f->twin.n_position = n;
    replay(f, &text, n);
    keep_twin_look(&f->kept, &job);
    keep_twin_check(&f->kept, &job, false);
    f->n_checked++;
}

/* The next position behind which something is judged. */
static uint32_t next_keep(const struct replayed *f)
{
    const uint32_t block = f->choice.options.common.block, n = f->twin.n_position;
    return block && n + block < f->n_context ? n + block : f->n_context;
}

static void run(struct replayed *f)
{
    while (!still_is_idle(&f->still)) {
        struct outbox_event *event;
        still_turn(&f->still);
        const struct engine *e = f->still.engine;
        const struct sequence *s = e->n_running ? e->running[0] : NULL;
        const bool judged = s && s->keeper && s->space && s->n_done == next_keep(f) &&
                            s->keeper->due != s->n_done && f->twin.n_position < f->n_context;
        if (judged)
            check(f, s, s->n_done);
        while ((event = still_event(&f->still))) {
            if (event->event.kind == AKV_EVENT_DONE && event->event.stop == AKV_STOP_ERROR)
                fail_msg("%s", event->event.message);
            outbox_event_free(event);
        }
    }
}

/* n_step: keeps that the context comes to. */
static void follow_file(const char *path, const char *policy, uint32_t n_context, uint32_t n_step)
{
    struct replayed *f = mem_new(1, sizeof *f);
    replayed_open(f, path, policy);
    make_prompt(f, n_context);
    const struct akv_limits limits = { .n_ctx = ROOM / 2, .n_ubatch = 90, .kv_type = "f32" };
    const struct akv_request request = { .ids = f->prompt.id,
                                         .n_id = f->prompt.n,
                                         .n_predict = 2,
                                         .ignore_eos = true,
                                         .kv_policy = policy,
                                         .kv_context = n_context,
                                         .sampling = akv_sampling_default() };
    struct note why = { "" };
    uint64_t id;
    still_engine_open(&f->still, &limits);
    if (engine_submit(f->still.engine, &request, 1, &id, &why) != OK)
        fail_msg("%s: %s", policy, why.text);
    run(f);
    if (f->n_checked != n_step)
        fail_msg("%s: %u keeps, %u expected", policy, f->n_checked, n_step);
    const uint32_t n_list = f->twin.n_layer * f->twin.n_kv_head;
    assert_true(f->kept.n_tie <= n_step * n_list / 10);
    replayed_close(f);
    mem_free(f);
}

static void follow(const struct tiny_model *t, const char *policy, uint32_t n_context,
                   uint32_t n_step)
{
    char path[TINY_PATH];
    tiny_model_save_temporary(*t, path);
    follow_file(path, policy, n_context, n_step);
    unlink(path);
}

static struct tiny_model small(const char *arch, uint32_t n_layer)
{
    struct tiny_model t = tiny_model_of(arch, DT_F32);
    if (n_layer)
        t.n_layer = n_layer;
    t.n_embd = 64;
    t.n_head = 4;
    t.n_kv_head = 2;
    t.d_head = 32;
    t.n_ff = 96;
    return t;
}

/* ---- tests ---- */

static void kvzip_reads_the_text_again(void **state)
{
    (void)state;
    static const char *const archs[] = { "llama", "qwen2", "qwen3", "gemma3" };
    for (uint32_t i = 0; i < 4; i++) {
        const struct tiny_model t = small(archs[i], 0);
        follow(&t, "kvzip:budget=25%", 300, 1);
        follow(&t, "kvzip:budget=60,preset=paper", 131, 1);
    }
}

static void kvzip_reads_again_what_is_left(void **state)
{
    (void)state;
    const struct tiny_model t = small("llama", 1);
    follow(&t, "kvzip:budget=50,block=70", 300, 5);
    follow(&t, "kvzip:budget=20%,block=64,recent=0", 256, 4);
}

/* A long text goes by chunks, and no chunk sees another. */
static void kvzip_goes_by_chunks(void **state)
{
    (void)state;
    const struct tiny_model t = small("llama", SANITIZED ? 1 : 2);
    follow(&t, "kvzip:budget=10%", REPLAY_CHUNK + 70, 1);
}

static void epicache_reads_an_episode(void **state)
{
    (void)state;
    static const char *const archs[] = { "llama", "qwen2" };
    for (uint32_t i = 0; i < 2; i++) {
        const struct tiny_model t = small(archs[i], 0), one = small(archs[i], 1);
        follow(&t, MASS_ALONE ",budget=60,block=1024,recent=8,episodes=2,segment=1,reps=2", 300, 1);
        follow(&t, MASS_ALONE ",budget=60,block=1024,recent=8,episodes=2,segment=1,support=all",
               300, 1);
        follow(&one, MASS_ALONE ",budget=60,block=70,recent=8,episodes=3,segment=1,reps=2", 400, 6);
        follow(&one, MASS_ALONE ",budget=90,block=64,recent=0,episodes=2,segment=2,support=all",
               320, 5);
    }
}

static void the_default_model(void **state)
{
    (void)state;
    if (SANITIZED)
        return;
    follow_file(SMOLLM2, "kvzip:budget=20%", 150, 1);
    follow_file(SMOLLM2, MASS_ALONE ",budget=40,block=512,recent=4,episodes=2,segment=1,reps=2",
                150, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kvzip_reads_the_text_again),
        cmocka_unit_test(kvzip_reads_again_what_is_left),
        cmocka_unit_test(kvzip_goes_by_chunks),
        cmocka_unit_test(epicache_reads_an_episode),
        cmocka_unit_test(the_default_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
