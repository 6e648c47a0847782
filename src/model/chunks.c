#include "model/chunks.h"
#include "base/num.h"

/* The run over those of the stretch's blocks that are of the chunk `at` is in. */
static struct attn_run chunk_of(const struct stretch *s, uint32_t at)
{
    struct attn_run run = *s->run;
    const uint32_t begin = at / ATTN_CHUNK_BLOCKS * ATTN_CHUNK_BLOCKS;
    run.first = max_u32(s->from, begin);
    run.last = min_u32(s->to, begin + ATTN_CHUNK_BLOCKS);
    const struct past_block next =
        run.last < s->to ? past_first_of(&run, run.last, s->to) : s->behind;
    run.k_next = next.k;
    run.v_next = next.v;
    return run;
}

void chunks_in_order(struct pass *p, const struct stretch *s, struct pass_thread *mine)
{
    for (uint32_t at = s->from; at < s->to;) {
        const struct attn_run run = chunk_of(s, at);
        p->kern->attn_partial(&run, mine->part, mine->scratch);
        p->kern->attn_merge(mine->total, mine->part, run.n_query, run.d_v);
        at = run.last;
    }
}

enum { APART_MAX = 64 };

/* Chunks of few queries, each with a state of its own. */
struct apart {
    const struct pass *p;
    const struct stretch *stretch;
    uint32_t n, block[APART_MAX]; // of each the first block with a row in sight
    struct attn_state state;
};

static struct attn_state state_of(const struct apart *a, uint32_t i)
{
    const size_t at = (size_t)i * a->stretch->run->n_query;
    return (struct attn_state){ a->state.m + at, a->state.l + at,
                                a->state.o + at * a->stretch->run->d_v };
}

/* Last steps are taken first (os/loops.h), first chunks too. */
static void attend_apart(void *arg, uint32_t step, void *scratch)
{
    const struct apart *a = arg;
    const uint32_t i = a->n - 1 - step;
    const struct attn_run run = chunk_of(a->stretch, a->block[i]);
    a->p->kern->attn_partial(&run, state_of(a, i), scratch);
}

/* Finds the next chunks in which something is seen, `most` of them, from a block on. Answers the block behind them. */
static uint32_t find_chunks(struct apart *a, uint32_t at, uint32_t most)
{
    const struct stretch *s = a->stretch;
    for (a->n = 0; at < s->to && a->n < most; at++) {
        if (s->run->row_mask && !s->run->row_mask[at])
            continue;
        a->block[a->n++] = at;
        at |= ATTN_CHUNK_BLOCKS - 1;
    }
    return at;
}

void chunks_shared(struct pass *p, const struct stretch *s, struct pass_thread *mine)
{
    const uint32_t room = min_u32(p->queries_max / s->run->n_query, APART_MAX);
    struct apart a = { .p = p, .stretch = s, .state = mine->part };
    for (uint32_t at = s->from; at < s->to;) {
        at = find_chunks(&a, at, room);
        if (a.n > 1)
            loops_run(&p->loops, (uint32_t)(mine - p->thread), attend_apart, &a, a.n);
        else if (a.n == 1)
            attend_apart(&a, 0, mine->scratch);
        for (uint32_t i = 0; i < a.n; i++)
            p->kern->attn_merge(mine->total, state_of(&a, i), s->run->n_query, s->run->d_v);
    }
}
