/* model/attend_parts: a thread that waits for others to compute the rest of its rows does not compute meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "model/model_in.h"
#include "support/asleep.h"
#include "support/pruned.h"
#include "support/tiny_model.h"

enum { PAST = 1100 }; // two chunks

static const struct kernels *real;
static pthread_t caller;
static atomic_bool begun;

/* The worker's first part takes long; the caller leaves it one. */
static void partial(const struct attn_run *run, struct attn_state out, void *scratch)
{
    if (!pthread_equal(pthread_self(), caller) && !atomic_exchange(&begun, true))
        asleep_for_long();
    while (!begun)
        asleep_ms(1);
    real->attn_partial(run, out, scratch);
}

static void who_waits_for_the_rest_of_a_row_sleeps(void **state)
{
    static const int32_t ids[PAST + 1];
    struct kv_taps taps = { .mass = KV_TAP_MASS_SUM, .n_counted = UINT32_MAX };
    struct runner r;
    struct pruned p;
    char path[TINY_PATH];
    (void)state;
    tiny_model_save_temporary(tiny_model_of("llama", DT_Q4_1), path);
    runner_open(&r, &(struct runner_config){
                        .path = path, .n_thread = 2, .n_position_max = 2048, .kv_type = KV_F16 });
    pruned_open(&r, &p, ids, 0);
    run_step(&r, &(struct run *){ &p.run }, &(uint32_t){ PAST / 2 }, 1);
    run_step(&r, &(struct run *){ &p.run }, &(uint32_t){ PAST / 2 }, 1);
    taps.into = p.excerpt;
    p.run.taps = &taps;
    real = r.model->pass.kern;
    struct kernels slow = *real;
    slow.attn_partial = partial;
    r.model->pass.kern = &slow;
    caller = pthread_self();
    const double before = asleep_processor_ms();
    run_step(&r, &(struct run *){ &p.run }, &(uint32_t){ 1 }, 1);
    assert_true(begun);
    assert_true(asleep_processor_ms() - before < ASLEEP_SPIN_MS);
    r.model->pass.kern = real;
    pruned_close(&p);
    runner_close(&r);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_the_rest_of_a_row_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
