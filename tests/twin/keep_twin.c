#include "twin/keep_twin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/mem.h"

static uint32_t n_list(const struct keep_twin *t)
{
    return t->rank->n_layer * t->rank->n_kv_head;
}

void keep_twin_open(struct keep_twin *t, struct rank_twin *rank, const struct kv_shape *shape)
{
    *t = (struct keep_twin){ .rank = rank, .shape = shape };
    const size_t n = (size_t)n_list(t) * rank->n_max;
    t->live = mem_new(n, sizeof *t->live);
    t->rank_was = mem_new(n, sizeof *t->rank_was);
    t->budget = mem_new(n_list(t), sizeof *t->budget);
    t->row = mem_new(rank->n_max, sizeof *t->row);
    t->position = mem_new(rank->n_max, sizeof *t->position);
}

void keep_twin_close(struct keep_twin *t)
{
    mem_free(t->live);
    mem_free(t->rank_was);
    mem_free(t->budget);
    mem_free(t->row);
    mem_free(t->position);
}

static bool is_floor(const struct keep_twin *t, uint32_t p)
{
    return p < t->rank->n_sink || p >= t->rank->recent;
}

void keep_twin_look(struct keep_twin *t, const struct kv_keep_job *job)
{
    const struct kv_floors floors = kv_keep_floors(job->choice, t->shape, job->n_whole);
    struct rank_twin *r = t->rank;
    r->n_sink = floors.n_sink;
    r->recent = floors.recent < r->n_position ? r->n_position - floors.recent : 0;
    kv_keep_deal(job->choice, job->shares, t->shape, job->n_whole, job->n_position, t->budget);
    r->budget = t->budget;
    r->mean_budget = floors.budget;
    r->whole = kv_keep_is_whole(job->choice, job->shares);
    memcpy(t->live, r->live, (size_t)n_list(t) * r->n_max * sizeof *t->live);
    for (uint32_t i = 0; i < n_list(t); i++)
        rank_twin_list(r, job->choice, i / r->n_kv_head, i % r->n_kv_head,
                       t->rank_was + (size_t)i * r->n_max);
}

/* Takes over what is live now. */
static void see(struct keep_twin *t, const struct kv_keep_job *job)
{
    const struct rank_twin *r = t->rank;
    for (uint32_t i = 0; i < n_list(t); i++) {
        const uint32_t n = kv_excerpt_rows(job->excerpt, r->model_layer[i / r->n_kv_head],
                                           i % r->n_kv_head, r->n_position, t->row, t->position);
        bool *live = r->live + (size_t)i * r->n_max;
        memset(live, 0, r->n_max * sizeof *live);
        for (uint32_t j = 0; j < n; j++)
            live[t->position[j]] = true;
    }
}

/* What became of some lists that share a budget. */
struct tally {
    uint32_t had, has, floors, budget;
    double lowest, highest; // ranks: of those that stayed, of those that went
};

static void tally_row(const struct keep_twin *t, size_t at, uint32_t p, struct tally *y)
{
    const bool was = t->live[at], is = t->rank->live[at], floor = is_floor(t, p);
    y->had += was;
    y->has += is;
    y->floors += was && floor;
    assert_true(was || !is);           // nothing comes back
    assert_true(!was || is || !floor); // floors stay
    if (is && !floor)
        y->lowest = fmin(y->lowest, t->rank_was[at]);
    if (was && !is)
        y->highest = fmax(y->highest, t->rank_was[at]);
}

static void check_scope(struct keep_twin *t, const struct kv_keep_job *job, uint32_t i, uint32_t n,
                        bool one)
{
    struct tally y = { .lowest = INFINITY, .highest = -INFINITY };
    for (uint32_t list = i; list < i + n; list++) {
        y.budget += t->budget[list];
        for (uint32_t p = 0; p < t->rank->n_position; p++)
            tally_row(t, (size_t)list * t->rank->n_max + p, p, &y);
    }
    const uint32_t most = y.budget > y.floors ? y.budget : y.floors;
    assert_int_equal(y.has, y.had <= most ? y.had : one ? y.had - 1 : most);
    if (y.highest <= y.lowest)
        return;
    if (y.highest - y.lowest > rank_twin_slack(job->choice, y.lowest))
        fail_msg("%s, list %u: a row of rank %.9g went and one of %.9g stayed",
                 job->choice->policy->name, i, y.highest, y.lowest);
    t->n_tie++;
}

void keep_twin_check(struct keep_twin *t, const struct kv_keep_job *job, bool one)
{
    const enum kv_scope scope = kv_choice_scope(job->choice);
    const uint32_t n = scope == KV_SCOPE_HEAD    ? 1
                       : scope == KV_SCOPE_LAYER ? t->rank->n_kv_head
                                                 : n_list(t);
    see(t, job);
    for (uint32_t i = 0; i < n_list(t); i += n)
        check_scope(t, job, i, n, one);
}
