/* More work than the engine can do, on a virtual clock: random arrivals at 1.05 to 3 times its capacity, random
 * lengths, shared beginnings, clients that leave and clients in a hurry, on a pool far too small for all.
 *
 *   nothing hangs     when arrivals end, the engine empties within the work that is left
 *   nothing is lost   every request ends once, with its answer or a named reason; a full queue says so
 *   the cap holds     after every step (E3), and so does what pool and index promise
 *   the oldest goes on  in every step (E2)
 *   who leaves, or is late, is gone one step later, blocks and all */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "support/sanitized.h"
#include "support/still.h"

enum {
    N_CTX = 320,
    N_PARALLEL = 6,
    N_QUEUE = 10,
    N_UBATCH = 48,
    N_REQUEST = SANITIZED ? 60 : 160,
    N_MEASURED = SANITIZED ? 20 : 60,
    N_FAMILY = 5 // of prompts that begin alike
};

static const uint64_t NEVER = UINT64_MAX, MS = 1000000;

struct client {
    struct world *world;
    int32_t ids[N_CTX];
    struct akv_request request;
    uint64_t arrive_ns, cancel_ns, leave_ns; // it arrives; leaves so long after that; left then
    uint64_t id, submit_ns, done_ns;
    uint32_t n_refused, n_token;
    bool submitted, canceled, done;
    enum akv_stop stop;
};

struct world {
    struct still *still;
    struct rng rng;
    struct client client[N_REQUEST];
    uint32_t n_client, n_done, n_refused, n_stop[AKV_STOP_ERROR + 1];
    uint64_t n_turn;
};

static uint64_t now_of(const struct world *w)
{
    return engine_now(w->still->engine);
}

/* ---- requests ---- */

static void client_make(struct world *w, struct client *c)
{
    static const char *const salt[] = { NULL, "a", "b" };
    struct rng *rng = &w->rng;
    const uint32_t family = rng_below(rng, N_FAMILY), n_shared = rng_below(rng, 200);
    const uint32_t n = 1 + rng_below(rng, rng_below(rng, 8) ? 220 : N_CTX - 1);
    *c = (struct client){ .world = w, .cancel_ns = NEVER };
    for (uint32_t p = 0; p < n; p++)
        c->ids[p] = (int32_t)(p < n_shared ? (p * 7 + family * 31) % 256 : rng_below(rng, 256));
    c->request = (struct akv_request){
        .ids = c->ids,
        .n_id = n,
        .n_predict = 1 + rng_below(rng, rng_below(rng, 6) ? 40 : N_CTX),
        .sampling = { .temperature = 1, .top_p = 1, .typical_p = 1, .repeat_penalty = 1 },
        .ignore_eos = rng_below(rng, 2),
        .n_logprob = rng_below(rng, 3),
        .prompt_logprobs = rng_below(rng, 12) == 0,
        .cache_salt = salt[rng_below(rng, 3)],
        .cache_no_read = rng_below(rng, 10) == 0,
        .cache_no_write = rng_below(rng, 10) == 0,
        .time_limit_ms = rng_below(rng, 8) ? 0 : 1 + rng_below(rng, 400),
        .user = c,
    };
    c->request.sampling.seed = rng_u32(rng);
    if (rng_below(rng, 6) == 0)
        c->cancel_ns = rng_below(rng, 400) * MS;
}

static double gap_ns(struct rng *rng, double mean_ns)
{
    return -log(1 - rng_unit(rng)) * mean_ns;
}

/* A full queue is told in words, changes nothing, and the client comes again. */
static void client_arrive(struct world *w, struct client *c)
{
    struct note why = { "" };
    const struct engine *e = w->still->engine;
    const uint32_t n_inside = e->n_inside;
    const enum status st = engine_submit(w->still->engine, &c->request, 1, &c->id, &why);
    assert_true(st == OK || st == FULL);
    assert_int_equal(st == FULL, n_inside == N_QUEUE + N_PARALLEL);
    if (st == FULL) {
        assert_non_null(strstr(why.text, "run or wait already"));
        c->n_refused++;
        w->n_refused++;
        c->arrive_ns = now_of(w) + (1 + rng_below(&w->rng, 50)) * MS;
        return;
    }
    c->submitted = true;
    c->submit_ns = now_of(w);
    c->leave_ns = c->cancel_ns == NEVER ? NEVER : c->submit_ns + c->cancel_ns;
}

static void take_event(struct world *w, const struct akv_event *event)
{
    struct client *c = event->user;
    assert_true(c->submitted && !c->done);
    assert_int_equal(event->id, c->id);
    c->n_token += event->kind == AKV_EVENT_TOKEN;
    if (event->kind != AKV_EVENT_DONE)
        return;
    c->done = true;
    c->done_ns = now_of(w);
    c->stop = event->stop;
    w->n_done++;
    w->n_stop[c->stop]++;
    assert_int_equal(event->usage.n_generated, c->n_token);
    if (c->stop == AKV_STOP_CANCELED)
        assert_true(c->canceled && event->message[0]);
    else if (c->stop == AKV_STOP_TIME)
        assert_true(c->request.time_limit_ms > 0);
    else if (c->stop == AKV_STOP_LENGTH)
        assert_int_equal(c->n_token, c->request.n_predict);
    else if (c->stop == AKV_STOP_CONTEXT)
        assert_int_equal(c->request.n_id + c->n_token, N_CTX);
    else if (c->stop != AKV_STOP_END)
        fail_msg("request %llu stopped by %d: %s", (unsigned long long)c->id, c->stop,
                 event->message);
}

/* ---- the world ---- */

static uint64_t due_ns(const struct client *c)
{
    return c->request.time_limit_ms ? c->submit_ns + c->request.time_limit_ms * MS : NEVER;
}

/* Everyone whose time came acts; the next time at which somebody will. */
static uint64_t clients_act(struct world *w)
{
    uint64_t next = NEVER;
    for (uint32_t i = 0; i < w->n_client; i++) {
        struct client *c = &w->client[i];
        if (!c->submitted && c->arrive_ns <= now_of(w))
            client_arrive(w, c);
        if (!c->submitted && c->arrive_ns < next)
            next = c->arrive_ns;
        if (c->submitted && !c->done && !c->canceled && c->leave_ns <= now_of(w)) {
            c->canceled = true;
            engine_cancel(w->still->engine, c->id);
        }
    }
    return next;
}

/* One step; the sequence that was the oldest when it began has come on, or ended. */
static void turn(struct world *w)
{
    struct outbox_event *event;
    const struct engine *e = w->still->engine;
    const struct sequence *oldest = e->n_running ? e->running[0] : NULL;
    const uint64_t id = oldest ? oldest->id : 0;
    const uint32_t n_done = oldest ? oldest->n_done : 0;
    const uint64_t began = now_of(w);
    still_turn(w->still);
    w->n_turn++;
    if (e->n_running && e->running[0]->id == id)
        assert_true(e->running[0]->n_done > n_done);
    for (uint32_t i = 0; i < e->n_inside; i++)
        assert_true(e->inside[i]->id != id || e->inside[i] == e->running[0]);
    while ((event = still_event(w->still))) {
        take_event(w, &event->event);
        outbox_event_free(event);
    }
    for (uint32_t i = 0; i < w->n_client; i++) {
        const struct client *c = &w->client[i];
        assert_true(!c->submitted || c->done || (!c->canceled && due_ns(c) > began));
    }
}

/* Runs until all clients were served. A step computes a row of the oldest at least, so the work that there is bounds
 * the steps. */
static void run(struct world *w)
{
    uint64_t n_work = 0;
    for (uint32_t i = 0; i < w->n_client; i++)
        n_work += N_CTX;
    while (w->n_done < w->n_client) {
        const uint64_t next = clients_act(w);
        if (still_is_idle(w->still)) {
            assert_true(next != NEVER);
            w->still->waited_ns += next - now_of(w);
            continue;
        }
        turn(w);
        assert_true(w->n_turn <= n_work);
    }
    assert_true(still_is_idle(w->still));
    assert_int_equal(w->still->engine->n_inside, 0);
}

/* Nobody holds what nobody uses: with the index gone, so is every block. */
static void expect_no_block_left(struct world *w)
{
    struct kv_pool_usage kv;
    while (kv_index_evict(w->still->engine->index))
        ;
    kv_pool_usage(w->still->engine->pool, &kv);
    assert_int_equal(kv.bytes_held, 0);
}

static void world_open(struct world *w, struct still *s, double n_fit, uint64_t seed)
{
    const struct akv_limits limits = {
        .n_ctx = N_CTX,
        .n_parallel = N_PARALLEL,
        .n_queue = N_QUEUE,
        .n_ubatch = N_UBATCH,
        .kv_bytes = still_kv_bytes(s, n_fit, N_CTX, N_UBATCH),
    };
    *w = (struct world){ .still = s, .rng = rng_seeded(seed, 17) };
    still_engine_open(s, &limits);
}

/* Nanoseconds a request takes while there is always another one. */
static double capacity(struct still *s, double n_fit)
{
    static struct world w;
    world_open(&w, s, n_fit, 1);
    for (; w.n_client < N_MEASURED; w.n_client++)
        client_make(&w, &w.client[w.n_client]);
    run(&w);
    const double each = (double)now_of(&w) / N_MEASURED;
    still_engine_close(s);
    return each;
}

static void overload(struct still *s, double n_fit, double factor, double each_ns)
{
    static struct world w;
    double at = 0;
    world_open(&w, s, n_fit, (uint64_t)(factor * 100 + n_fit * 1000));
    for (; w.n_client < N_REQUEST; w.n_client++) {
        client_make(&w, &w.client[w.n_client]);
        at += gap_ns(&w.rng, each_ns / factor);
        w.client[w.n_client].arrive_ns = (uint64_t)at;
    }
    run(&w);
    print_message("%.2fx on a pool for %.1f: %llu steps, %llu pauses, %u refusals, %u in time "
                  "(%u end, %u length, %u context), %u left, %u late\n",
                  factor, n_fit, (unsigned long long)w.n_turn,
                  (unsigned long long)s->engine->n_pause, w.n_refused,
                  w.n_stop[AKV_STOP_END] + w.n_stop[AKV_STOP_LENGTH] + w.n_stop[AKV_STOP_CONTEXT],
                  w.n_stop[AKV_STOP_END], w.n_stop[AKV_STOP_LENGTH], w.n_stop[AKV_STOP_CONTEXT],
                  w.n_stop[AKV_STOP_CANCELED], w.n_stop[AKV_STOP_TIME]);
    expect_no_block_left(&w);
    still_engine_close(s);
}

static void overloaded(const char *arch)
{
    static const double factors[] = { 1.05, 1.5, 3 };
    struct still s;
    still_open(&s, arch);
    for (double n_fit = 1; n_fit < 4; n_fit *= 1.7) {
        const double each = capacity(&s, n_fit);
        for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
            overload(&s, n_fit, factors[i], each);
    }
    still_close(&s);
}

static void llama_overloaded(void **state)
{
    (void)state;
    overloaded("llama");
}

static void gemma3_overloaded(void **state)
{
    (void)state;
    overloaded("gemma3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_overloaded),
        cmocka_unit_test(gemma3_overloaded),
    };
    return cmocka_run_group_tests_name("engine under load", tests, NULL, NULL);
}
