/* Which rows of a batch attend together: see struct attn_plan in pass.h. */
#include "model/pass.h"

enum { CHUNK_ROWS = ATTN_CHUNK_BLOCKS * KV_BLOCK };

/* ---- who shares chunks with whom ---- */

/* For each sequence the earlier one that shares most whole chunks with it. What two share with a third, they share
 * with each other: so whoever follows leaders that share chunk c ends at the first sequence that has it. */
static void find_leaders(struct pass *p)
{
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        p->seq_shared[s] = 0;
        for (uint32_t t = 0; t < s; t++) {
            const uint32_t n = kv_space_shared(p->batch->seq[t].space, p->batch->seq[s].space);
            if (n / ATTN_CHUNK_BLOCKS > p->seq_shared[s]) {
                p->seq_shared[s] = n / ATTN_CHUNK_BLOCKS;
                p->seq_leader[s] = t;
            }
        }
    }
}

static uint32_t first_with(const struct pass *p, uint32_t s, uint32_t chunk)
{
    while (p->seq_shared[s] > chunk)
        s = p->seq_leader[s];
    return s;
}

/* Lists by seq_next of those that share the chunk, each from its first sequence on. */
static void list_sharers(struct pass *p, uint32_t chunk, bool windowed)
{
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        const uint32_t first = windowed ? s : first_with(p, s, chunk);
        p->seq_next[s] = NO_SEQ;
        if (first != s)
            p->seq_next[p->seq_last[first]] = s;
        p->seq_last[first] = s;
    }
}

/* ---- parts ---- */

static bool sees(const struct pass *p, uint32_t row, uint32_t chunk, bool windowed)
{
    const uint32_t position = p->row_position[row], window = windowed ? p->h->window : 0;
    const uint32_t lo = window && position + 1 > window ? position + 1 - window : 0;
    return lo / CHUNK_ROWS <= chunk && chunk <= position / CHUNK_ROWS;
}

/* The rows of the sequences listed from `first` on that see the chunk, tile_rows at a time. False: no room. */
static bool add_parts(struct pass *p, struct attn_plan *plan, uint32_t first, uint32_t chunk,
                      bool windowed)
{
    struct attn_part *part = NULL;
    for (uint32_t s = first; s != NO_SEQ; s = p->seq_next[s]) {
        const struct batch_seq *seq = &p->batch->seq[s];
        for (uint32_t r = seq->first_row; r < seq->first_row + seq->n_row; r++) {
            if (!sees(p, r, chunk, windowed))
                continue;
            if ((plan->n_state + 1) * p->h->n_kv_head > SPLIT_STATES)
                return false;
            if (!part || part->n == p->tile_rows) {
                part = &plan->part[plan->n_part++];
                *part = (struct attn_part){ .chunk = chunk, .first = plan->n_state };
            }
            plan->shares |= s != first;
            plan->row[plan->n_state++] = r;
            part->n++;
        }
    }
    return true;
}

static bool plan_parts(struct pass *p, struct attn_plan *plan, uint32_t n_chunk, bool windowed)
{
    for (uint32_t chunk = 0; chunk < n_chunk; chunk++) {
        list_sharers(p, chunk, windowed);
        for (uint32_t s = 0; s < p->batch->n_seq; s++) {
            if ((windowed || first_with(p, s, chunk) == s) &&
                !add_parts(p, plan, s, chunk, windowed))
                return false;
        }
    }
    return true;
}

/* Parts pay where sequences share chunks, and where tiles alone would leave threads idle. */
static void plan_kind(struct pass *p, struct attn_plan *plan, uint32_t n_chunk, bool windowed)
{
    const uint32_t n_thread = workers_count(p->workers);
    plan->n_part = plan->n_state = 0;
    plan->shares = false;
    const bool fits = plan_parts(p, plan, n_chunk, windowed);
    const bool few = n_thread > 1 && p->n_row * p->h->n_kv_head < 4 * n_thread;
    if (!fits || !(plan->shares || (few && plan->n_state > p->n_row)))
        plan->n_part = 0;
}

void attend_plan(struct pass *p)
{
    uint32_t n_chunk = 0;
    p->plan[0].n_part = p->plan[1].n_part = 0;
    if (p->n_row * p->h->n_kv_head > SPLIT_STATES)
        return;
    for (uint32_t r = 0; r < p->n_row; r++) {
        const uint32_t n = p->row_position[r] / CHUNK_ROWS + 1;
        n_chunk = n > n_chunk ? n : n_chunk;
    }
    find_leaders(p);
    plan_kind(p, &p->plan[0], n_chunk, false);
    if (p->h->window)
        plan_kind(p, &p->plan[1], n_chunk, true);
}
