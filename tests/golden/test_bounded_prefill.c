/* A prompt far longer than the pool: read in blocks under a policy it holds its budget and a block, as the pool itself
 * counts, and what a text of an episode takes beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/rng.h"
#include "engine/replay.h"
#include "support/sanitized.h"
#include "support/still.h"

static struct still s;

static int open_still(void **state)
{
    (void)state;
    still_open(&s, "llama");
    return 0;
}

static int close_still(void **state)
{
    (void)state;
    still_close(&s);
    return 0;
}

/* Lines of words of the vocabulary's bytes. */
static struct ids prompt_of(uint32_t n)
{
    struct rng rng = rng_seeded(11, 11);
    struct ids ids = { 0 };
    struct note why = { "" };
    while (ids.n < n) {
        char line[80];
        uint32_t len = 20 + rng_below(&rng, 50);
        for (uint32_t i = 0; i < len; i++)
            line[i] = rng_below(&rng, 6) ? (char)('a' + rng_below(&rng, 26)) : ' ';
        line[len] = '\n';
        assert_int_equal(vocab_encode(s.vocab, line, len + 1, 0, &ids, &why), OK);
    }
    ids.n = n;
    return ids;
}

/* The most that the pool held while it was read and answered. */
static size_t peak_of(const struct ids *prompt, const char *policy, uint32_t n_context,
                      size_t kv_bytes)
{
    const struct akv_limits limits = { .n_ctx = (uint32_t)prompt->n + 64,
                                       .n_ubatch = 256,
                                       .kv_policy = policy,
                                       .kv_bytes = kv_bytes };
    const struct akv_request request = { .ids = prompt->id,
                                         .n_id = prompt->n,
                                         .n_predict = 8,
                                         .ignore_eos = true,
                                         .kv_context = n_context,
                                         .sampling = akv_sampling_default() };
    struct note why = { "" };
    uint64_t id;
    size_t peak = 0;
    bool done = false;
    still_engine_open(&s, &limits);
    if (engine_submit(s.engine, &request, 1, &id, &why) != OK)
        fail_msg("%s: %s", policy, why.text);
    while (!done) {
        struct outbox_event *event;
        struct kv_pool_usage kv;
        still_turn(&s);
        kv_pool_usage(s.engine->pool, &kv);
        peak = kv.bytes_held > peak ? kv.bytes_held : peak;
        while ((event = still_event(&s))) {
            done |= event->event.kind == AKV_EVENT_DONE;
            if (event->event.kind == AKV_EVENT_DONE && event->event.stop == AKV_STOP_ERROR)
                fail_msg("%s: %s", policy, event->event.message);
            outbox_event_free(event);
        }
    }
    still_engine_close(&s);
    return peak;
}

static double rows_of(size_t bytes)
{
    struct kv_shape shape;
    hparams_kv_shape(model_hparams(s.model), KV_F16, &shape);
    return (double)bytes / (double)kv_bytes_per_position(&shape);
}

/* Of the issue: 32k tokens in a pool of 2k. */
static void a_long_prompt_in_a_small_pool(void **state)
{
    (void)state;
    static const struct {
        const char *policy;
        uint32_t budget, block, text, behind; // behind: the context that the policy prunes
    } run[] = {
        { "h2o-chunked:budget=1024,block=512", 1024, 512, 0, 0 },
        { "h2o-chunked:budget=1024,block=512", 1024, 512, 0, 100 },
        { "epicache:budget=1024,block=256,reps=2", 1024, 256, 256 + REPLAY_PREFIX_MAX, 0 },
    };
    struct ids prompt = prompt_of(SANITIZED ? 6000 : 32768);
    for (size_t i = 0; i < sizeof run / sizeof *run; i++) {
        const size_t pool = still_kv_bytes(&s, 1, 2048, 1);
        const uint32_t n_context = run[i].behind ? (uint32_t)prompt.n - run[i].behind : 0;
        const double rows = rows_of(peak_of(&prompt, run[i].policy, n_context, pool));
        print_message("%zu tokens under %s: at most %.0f rows\n", prompt.n, run[i].policy, rows);
        assert_true(rows <= 2048);
        /* each list's last block of slots may be partial, so may the space's and its fork's */
        assert_true(rows <= run[i].budget + run[i].block + run[i].text + 3 * KV_BLOCK);
    }
    ids_close(&prompt);
}

/* The paper's sheet: 8,192 tokens, a budget of 1,536, blocks of 512. */
static void resident_ratio(void **state)
{
    (void)state;
    struct ids prompt = prompt_of(8192);
    const size_t pool = still_kv_bytes(&s, 1, 8192 + 64, 256);
    const double full = rows_of(peak_of(&prompt, "full", 0, pool)),
                 ours = rows_of(peak_of(&prompt, "epicache:budget=1536,block=512,reps=1", 0, pool));
    print_message("%.0f rows at most, of %.0f: %.2fx\n", ours, full, full / ours);
    assert_true(full / ours >= 3.4);
    ids_close(&prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_prompt_in_a_small_pool),
        cmocka_unit_test(resident_ratio),
    };
    return cmocka_run_group_tests(tests, open_still, close_still);
}
