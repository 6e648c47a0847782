/* engine/keeper_schedule.c - where a keeper's passes end: what is due, marks on the way, and how much of its KV there is at
 * once. */
#include "engine/keeper_in.h"

#include <string.h>

/* The next end of a block, or `end`. */
static uint32_t block_end(const struct keeper *k, uint32_t n_done, uint32_t end)
{
    const uint32_t block = k->choice.options.common.block;
    return block ? min_u32(n_done / block * block + block, end) : end;
}

/* Blocks of the history, then what is skipped. */
static uint32_t due_of_episodes(const struct keeper *k, uint32_t n_done)
{
    const struct episodes *e = k->episodes;
    if (n_done < e->n_base)
        return block_end(k, n_done, e->n_base);
    return k->n_skipped < e->n_skip ? e->skip[k->n_skipped].first : KEEPER_NOTHING;
}

uint32_t keeper_due_after(const struct keeper *k, uint32_t n_done)
{
    if (k->episodes)
        return due_of_episodes(k, n_done);
    const uint32_t first = keeper_drops(k) ? keeper_first(k) : keeper_selects_from(k);
    if (n_done < first)
        return keeper_drops(k) ? block_end(k, n_done, first) : first;
    if (k->n_context || !keeper_drops(k))
        return KEEPER_NOTHING;
    if (k->choice.policy->evicts_each)
        return n_done + 1;
    return k->every ? n_done + k->every - (n_done - first) % k->every : KEEPER_NOTHING;
}

uint32_t keeper_next_stop(const struct keeper *k)
{
    return k->n_mark ? min_u32(k->due, k->mark[0]) : k->due;
}

void keeper_look_ahead(struct keeper *k, uint32_t n_done)
{
    k->due = keeper_due_after(k, n_done);
    k->taps.moments_due = keeper_next_stop(k);
    k->skips = k->episodes && n_done >= k->episodes->n_base;
}

uint32_t keeper_rows(const struct keeper *k, uint32_t n_done, uint32_t n)
{
    return min_u32(n, keeper_next_stop(k) - n_done);
}

uint32_t keeper_reusable(const struct keeper *k)
{
    const uint32_t first = keeper_due_after(k, 0);
    if (k->compares) /* what others may need is written down from the first row on */
        return 0;
    return first > keeper_queries(k) ? first - keeper_queries(k) : 0;
}

uint32_t keeper_ask_mark(struct keeper *k, uint32_t n_done, uint32_t n)
{
    const uint32_t at = min_u32(n, keeper_due_after(k, 0)) / KV_BLOCK * KV_BLOCK;
    uint32_t i = 0;
    if (k->compares || k->pruned || at <= n_done || !keeper_mark_kinds(k))
        return 0;
    while (i < k->n_mark && k->mark[i] < at)
        i++;
    if (i < k->n_mark && k->mark[i] == at)
        return at;
    if (k->n_mark == KEEPER_MARKS)
        return i ? k->mark[i - 1] : 0;
    memmove(&k->mark[i + 1], &k->mark[i], (k->n_mark++ - i) * sizeof *k->mark);
    k->mark[i] = at;
    k->taps.moments_due = keeper_next_stop(k);
    return at;
}

void keeper_mark_passed(struct keeper *k)
{
    memmove(k->mark, k->mark + 1, --k->n_mark * sizeof *k->mark);
    k->taps.moments_due = keeper_next_stop(k);
}

void keeper_pass_marks(struct keeper *k, uint32_t n_done)
{
    while (k->n_mark && k->mark[0] <= n_done)
        keeper_mark_passed(k);
}

/* ---- memory ---- */

static uint32_t whole_blocks(uint32_t rows)
{
    return (rows + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

/* Rows of the tail at once: up to the first keep, or from one keep to the next beside a block in progress. */
static uint32_t tail_rows(const struct keeper *k)
{
    const uint32_t block = k->choice.options.common.block;
    const uint32_t between = (block > k->every ? block : k->every) + 2 * KV_BLOCK;
    const uint32_t first = keeper_due_after(k, 0) + KV_BLOCK;
    return whole_blocks(first > between ? first : between);
}

uint32_t keeper_mass_rows(const struct keeper *k, const struct kv_shape *shape)
{
    const uint32_t rows = tail_rows(k), most = whole_blocks(k->n_position_max);
    const uint32_t budget = kv_keep_floors(&k->choice, shape, keeper_whole(k)).budget;
    if (k->n_context && !k->episodes && !k->choice.options.common.block)
        return rows;
    return min_u32(whole_blocks(budget) + rows, most > rows ? most : rows);
}

/* Positions in the space at once, but for the block in progress: up to the first keep, or behind a keep. (A budget that
 * it did not find filled is counted with the slots that it will move into.) */
static uint32_t most_in_space(const struct keeper *k, uint32_t n_position)
{
    const uint32_t first = keeper_due_after(k, 0), last = keeper_first(k);
    const bool goes_on = !k->n_context && (k->every || k->choice.policy->evicts_each);
    const uint32_t behind = goes_on || n_position < last ? tail_rows(k) : n_position - last;
    return first > behind ? first : behind;
}

/* Of the fork that replays, a partial block of the past copied with it. */
static size_t replay_bytes(const struct keeper *k, const struct keeper_frame *f)
{
    const bool again = keeper_needs(k) & KV_NEED_MASS_PEAK;
    const uint32_t most = k->choice.policy->replay == KV_REPLAY_EPISODE
                              ? episodes_text_max(&k->choice)
                              : REPLAY_CHUNK;
    const uint32_t n = again ? min_u32(keeper_whole(k), most) + REPLAY_PREFIX_MAX : f->probe.n;
    return keeper_reads_over(k) ? kv_sequence_bytes(f->model.shape, n + KV_BLOCK, n + KV_BLOCK) : 0;
}

/* Positions in the space at once: a block of the history, or what is read behind it. */
static uint32_t most_of_episodes(const struct keeper *k, uint32_t n_position)
{
    const struct episodes *e = k->episodes;
    uint32_t behind = n_position > e->n_base ? n_position - e->n_base : 0;
    const uint32_t first = e->n_base ? min_u32(block_end(k, 0, e->n_base), n_position) : 0;
    for (uint32_t i = 0; i < e->n_skip; i++)
        behind -= e->skip[i].end - e->skip[i].first;
    return first > behind ? first : behind;
}

size_t keeper_bytes(const struct keeper *k, const struct keeper_frame *f, uint32_t n_position,
                    uint32_t n_step)
{
    const struct kv_shape *shape = f->model.shape;
    size_t slots = 0;
    if (n_position < keeper_due_after(k, 0) || !keeper_drops(k))
        return kv_sequence_bytes(shape, n_position, n_step);
    if (kv_keep_bytes(&k->choice, f->shares, shape, keeper_whole(k), n_position, &slots) != OK)
        return SIZE_MAX;
    const uint32_t most =
        k->episodes ? most_of_episodes(k, n_position) : most_in_space(k, n_position);
    const uint32_t rows = min_u32(most + KV_BLOCK, n_position);
    return kv_sequence_bytes(shape, rows, n_step) + slots + replay_bytes(k, f);
}
