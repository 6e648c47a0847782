#include "support/pruned.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"

void pruned_open(struct runner *r, struct pruned *p, const int32_t *ids, uint64_t seed)
{
    const struct kv_excerpt_config config = { .pool = r->pool,
                                              .n_position_max = PRUNED_POSITIONS,
                                              .n_tail_mass = PRUNED_POSITIONS };
    struct note why = { "" };
    *p = (struct pruned){ .seed = seed };
    run_open(r, &p->run, ids);
    if (kv_excerpt_new(&p->excerpt, &config, &why) != OK)
        fail_msg("%s", why.text);
    p->run.excerpt = p->excerpt;
}

void pruned_close(struct pruned *p)
{
    kv_excerpt_free(p->excerpt);
    run_close(&p->run);
}

void pruned_drop(struct runner *r, struct pruned *p)
{
    static kv_row row[PRUNED_POSITIONS];
    static uint32_t position[PRUNED_POSITIONS];
    for (uint32_t layer = 0; layer < r->shape.n_layer; layer++) {
        const struct kv_group *g = &r->shape.group[r->shape.layer_group[layer]];
        for (uint32_t head = 0; head < g->n_kv_head && !g->window; head++) {
            const uint32_t n =
                kv_excerpt_rows(p->excerpt, layer, head, p->run.n_done, row, position);
            struct rng rng = rng_seeded(p->seed * 1000 + layer * 16 + head, p->run.n_done);
            const uint32_t chance = layer * 5 + head * 11;
            for (uint32_t i = 0; i < n; i++)
                if (rng_below(&rng, 64) < 4 + chance % 24)
                    kv_excerpt_drop(p->excerpt, layer, head, row[i]);
        }
    }
}

static void prune(struct runner *r, struct pruned *p)
{
    if (p->seed == 0)
        return;
    pruned_drop(r, p);
    assert_int_equal(kv_excerpt_settle(p->excerpt, p->run.space, p->run.n_done), OK);
}

void pruned_run(struct runner *r, struct pruned *p, const uint32_t *chunk, uint32_t n_run,
                uint32_t to)
{
    struct run *each[PRUNED_RUNS];
    for (uint32_t i = 0; i < n_run; i++)
        each[i] = &p[i].run;
    while (p[0].run.n_done < to) {
        const uint32_t stop = (p[0].run.n_done / PRUNED_EVERY + 1) * PRUNED_EVERY,
                       end = stop < to ? stop : to;
        for (;;) {
            uint32_t n[PRUNED_RUNS], sum = 0;
            for (uint32_t i = 0; i < n_run; i++) {
                const uint32_t left = end - each[i]->n_done;
                sum += n[i] = left < chunk[i] ? left : chunk[i];
            }
            if (sum == 0)
                break;
            run_step(r, each, n, n_run);
        }
        for (uint32_t i = 0; i < n_run && end == stop; i++)
            prune(r, &p[i]);
    }
}
