/* The pace of prompts beside answers: what it decides from measured times, noisy ones too; and in the engine, on a
 * virtual clock, that a stream waits for no step longer than it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/rng.h"
#include "engine/pace.h"
#include "support/still.h"

enum { MOST = 512 };

/* A machine on which a step takes 4 ms, 0.5 ms more for each answer and `row` more for each row of a prompt. */
static uint64_t machine_ns(uint32_t n_answer, uint32_t n_prompt, double row)
{
    return (uint64_t)(4e6 + 0.5e6 * n_answer + row * n_prompt);
}

static uint32_t step(struct pace *p, uint32_t n_answer, double row, double noise)
{
    const uint32_t n = pace_rows(p, n_answer, MOST);
    assert_true(n <= MOST);
    pace_measured(p, n_answer, n, (uint64_t)(noise * (double)machine_ns(n_answer, n, row)));
    return n;
}

static void without_answers_there_is_no_bound(void **state)
{
    struct pace p = { .stretch = 2.5 }, unbounded = { 0 };
    (void)state;
    assert_int_equal(pace_rows(&p, 0, MOST), MOST);
    assert_int_equal(pace_rows(&unbounded, 3, MOST), MOST);
}

/* 4.5 ms with one answer: 6.75 ms are left for prompts. */
static void it_finds_what_fits(void **state)
{
    static const double rows[] = { 1e4, 2e5, 1e6, 3e6 };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pace p = { .stretch = 2.5 };
        uint32_t n = 0;
        const double fits = 1.5 * 4.5e6 / rows[i];
        for (int k = 0; k < 200 || n == 0; k++) // not a step that measures
            n = step(&p, 1, rows[i], 1);
        assert_true(n <= fits * 1.1 && n >= (fits < MOST ? fits : MOST) * 0.9 - 1);
    }
}

/* Eight answers more take 8.5 ms instead of 4.5: the next step measures that. */
static void it_follows_the_number_of_answers(void **state)
{
    struct pace p = { .stretch = 2.5 };
    (void)state;
    for (int k = 0; k < 40; k++)
        step(&p, 1, 2e5, 1);
    assert_int_equal(pace_rows(&p, 9, MOST), 0);
    for (int k = 0; k < 10; k++)
        step(&p, 9, 2e5, 1);
    assert_in_range(pace_rows(&p, 9, MOST), 1.5 * 8.5e6 / 2e5 * 0.8, 1.5 * 8.5e6 / 2e5 * 1.1);
}

/* Some steps take thirty times as long, until one row is all that seems to fit; soon there are as many as before. */
static void a_disturbance_starves_nobody(void **state)
{
    struct pace p = { .stretch = 2.5 };
    const double fits = 1.5 * 4.5e6 / 2e5;
    uint32_t n = 0, n_row = 0;
    (void)state;
    for (int k = 0; k < 400; k++) {
        n = step(&p, 1, 2e5, k >= 100 && k < 120 ? 30 : 1);
        n_row += k >= 200 ? n : 0;
    }
    assert_true(n_row >= 200 * fits * 0.7);
    assert_true(n_row <= 200 * fits * 1.1);
}

/* One step in twenty takes five times as long: the others stay near what was asked for. */
static void noise_does_not_carry_it_away(void **state)
{
    struct pace p = { .stretch = 2.5 };
    struct rng rng = rng_seeded(4, 4);
    uint32_t n_long = 0, n_short = 0;
    (void)state;
    for (int k = 0; k < 2000; k++) {
        const uint32_t n = step(&p, 1, 2e5, rng_below(&rng, 20) ? 1 : 5);
        if (n == 0)
            continue;
        n_long += (double)machine_ns(1, n, 2e5) > 3 * 4.5e6;
        n_short += (double)machine_ns(1, n, 2e5) < 1.7 * 4.5e6;
    }
    assert_in_range(n_long, 0, 20);
    assert_in_range(n_short, 0, 500);
}

/* ---- in the engine ---- */

enum { N_TOKEN = 300, N_PROMPT = 1000 };

struct seen {
    uint64_t last_ns, gap_ns[N_TOKEN];
    uint32_t n;
};

static void ask(struct still *s, uint32_t n_id, uint32_t n_predict, struct seen *user)
{
    int32_t ids[N_PROMPT];
    struct note why = { "" };
    uint64_t id;
    for (uint32_t i = 0; i < n_id; i++)
        ids[i] = (int32_t)((i * 7 + 1) % 251);
    const struct akv_request r = {
        .ids = ids,
        .n_id = n_id,
        .n_predict = n_predict,
        .sampling = akv_sampling_default(),
        .ignore_eos = true,
        .cache_no_read = true,
        .cache_no_write = true,
        .user = user,
    };
    if (engine_submit(s->engine, &r, 1, &id, &why) != OK)
        fail_msg("%s", why.text);
}

static int ascending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The gaps of a stream of N_TOKEN, sorted, while there are always prompts to read; how many were read. */
static uint32_t stream(struct still *s, float stretch, struct seen *seen)
{
    const struct akv_limits limits = {
        .n_ctx = 2048, .n_parallel = 4, .n_ubatch = MOST, .step_stretch = stretch
    };
    uint32_t n_read = 0;
    *seen = (struct seen){ 0 };
    still_engine_open(s, &limits);
    ask(s, 1, N_TOKEN + 1, seen);
    while (seen->n < N_TOKEN) {
        struct outbox_event *event;
        if (s->engine->n_inside < 3)
            ask(s, N_PROMPT, 1, NULL);
        still_turn(s);
        const uint64_t now = engine_now(s->engine);
        for (; (event = still_event(s)); outbox_event_free(event)) {
            const bool token = event->event.kind == AKV_EVENT_TOKEN;
            n_read += token && !event->event.user;
            if (!token || !event->event.user)
                continue;
            if (seen->last_ns)
                seen->gap_ns[seen->n++] = now - seen->last_ns;
            seen->last_ns = now;
        }
    }
    still_engine_close(s);
    qsort(seen->gap_ns, seen->n, sizeof *seen->gap_ns, ascending);
    return n_read;
}

/* On this clock a step takes 1 ms and 0.1 a row: an answer alone 1.1, with prompts 2.75 at most. */
static void a_stream_beside_prompts_goes_on(void **state)
{
    static struct seen bound, unbound;
    struct still s;
    (void)state;
    still_open(&s, "llama");
    const uint32_t n_read = stream(&s, 0, &bound);
    stream(&s, -1, &unbound);
    still_close(&s);
    print_message("gaps of %.2f ms, p99 %.2f, %u prompts read; without a bound p99 %.2f\n",
                  (double)bound.gap_ns[N_TOKEN / 2] * 1e-6,
                  (double)bound.gap_ns[N_TOKEN * 99 / 100] * 1e-6, n_read,
                  (double)unbound.gap_ns[N_TOKEN * 99 / 100] * 1e-6);
    assert_in_range(bound.gap_ns[N_TOKEN - 1], 1100000, 3 * 1100000);
    assert_true(n_read >= 4);
    assert_true(unbound.gap_ns[N_TOKEN * 99 / 100] > 20000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_answers_there_is_no_bound),
        cmocka_unit_test(it_finds_what_fits),
        cmocka_unit_test(it_follows_the_number_of_answers),
        cmocka_unit_test(a_disturbance_starves_nobody),
        cmocka_unit_test(noise_does_not_carry_it_away),
        cmocka_unit_test(a_stream_beside_prompts_goes_on),
    };
    return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
