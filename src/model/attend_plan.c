/* Which rows of a batch attend together: see struct attn_plan in pass.h. */
#include "model/past.h"

enum { CHUNK_ROWS = ATTN_CHUNK_BLOCKS * KV_BLOCK };

/* ---- pasts under a policy ---- */

static void find_slots(struct pass *p)
{
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        const struct kv_excerpt *e = p->batch->seq[s].excerpt;
        const bool listed = pass_reads_lists(&p->batch->seq[s]);
        const uint32_t n = listed ? kv_excerpt_slot_blocks(e) : 0;
        p->seq_slots[s] = (n + ATTN_CHUNK_BLOCKS - 1) / ATTN_CHUNK_BLOCKS;
        p->seq_tail[s] = listed ? kv_excerpt_tail_first(e) / ATTN_CHUNK_BLOCKS : 0;
    }
}

/* ---- who shares chunks with whom ---- */

static uint32_t chunks_shared(const struct pass *p, uint32_t a, uint32_t b)
{
    const struct batch_seq *x = &p->batch->seq[a], *y = &p->batch->seq[b];
    if (pass_reads_lists(x) || pass_reads_lists(y))
        return 0; // rows dropped of one may be the other's
    return kv_space_shared(x->space, y->space) / ATTN_CHUNK_BLOCKS;
}

/* For each sequence the earlier one that shares most whole chunks with it. What two share with a third, they share
 * with each other: so whoever follows leaders that share chunk c ends at the first sequence that has it. */
static void find_leaders(struct pass *p)
{
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        p->seq_shared[s] = 0;
        for (uint32_t t = 0; t < s; t++) {
            const uint32_t n = chunks_shared(p, t, s);
            if (n > p->seq_shared[s]) {
                p->seq_shared[s] = n;
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

bool attend_by_plan(const struct pass *p, const struct batch_seq *seq, uint32_t row, bool windowed)
{
    const struct kv_taps *t = p->taps.mass ? seq->taps : NULL;
    const bool counts = t && t->mass != KV_TAP_NO_MASS;
    const bool by_parts = !counts || (p->parts_count && t->n_counted == UINT32_MAX);
    return windowed || (by_parts && row - seq->first_row < past_n_dense(seq, false));
}

static bool sees(const struct pass *p, uint32_t row, uint32_t chunk, bool windowed)
{
    const uint32_t position = p->row_position[row], window = windowed ? p->h->window : 0;
    const uint32_t lo = window && position + 1 > window ? position + 1 - window : 0;
    const uint32_t first = windowed ? 0 : p->seq_tail[p->row_seq[row]];
    return lo / CHUNK_ROWS <= chunk && first <= chunk && chunk <= position / CHUNK_ROWS;
}

/* One more row for the part, or for a new one like it behind it where that is full. False: no room. */
static bool add_row(struct pass *p, struct attn_plan *plan, struct attn_part *part, uint32_t row)
{
    if ((plan->n_state + 1) * p->h->n_kv_head > SPLIT_STATES)
        return false;
    if (part->n == 0 || part->n == p->tile_rows) {
        part->first = plan->n_state;
        part->n = 0;
        plan->n_part++;
    }
    plan->row[plan->n_state++] = row;
    part->n++;
    plan->part[plan->n_part - 1] = *part;
    return true;
}

/* All rows of a sequence, each of which sees all slots. */
static bool add_slots(struct pass *p, struct attn_plan *plan, uint32_t s, uint32_t chunk)
{
    const struct batch_seq *seq = &p->batch->seq[s];
    struct attn_part part = { .chunk = chunk, .slots = true };
    for (uint32_t r = seq->first_row; r < seq->first_row + seq->n_row; r++)
        if (attend_by_plan(p, seq, r, false) && !add_row(p, plan, &part, r))
            return false;
    return true;
}

/* The rows of the sequences listed from `first` on that see the chunk, tile_rows at a time. False: no room. */
static bool add_parts(struct pass *p, struct attn_plan *plan, uint32_t first, uint32_t chunk,
                      bool windowed)
{
    struct attn_part part = { .chunk = chunk };
    for (uint32_t s = first; s != NO_SEQ; s = p->seq_next[s]) {
        const struct batch_seq *seq = &p->batch->seq[s];
        for (uint32_t r = seq->first_row; r < seq->first_row + seq->n_row; r++) {
            if (!sees(p, r, chunk, windowed) || !attend_by_plan(p, seq, r, windowed))
                continue;
            if (!add_row(p, plan, &part, r))
                return false;
            plan->shares |= s != first;
        }
    }
    return true;
}

/* Slots come before the tail: a row's parts are merged in the order of the plan. */
static bool plan_slots(struct pass *p, struct attn_plan *plan)
{
    for (uint32_t s = 0; s < p->batch->n_seq; s++)
        for (uint32_t chunk = 0; chunk < p->seq_slots[s]; chunk++)
            if (!add_slots(p, plan, s, chunk))
                return false;
    return true;
}

static bool plan_parts(struct pass *p, struct attn_plan *plan, uint32_t n_chunk, bool windowed)
{
    if (!windowed && !plan_slots(p, plan))
        return false;
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

/* So few that tiles alone would leave threads idle. */
static bool has_few_rows(const struct pass *p)
{
    const uint32_t n_thread = workers_count(p->workers);
    return n_thread > 1 && p->n_row * p->h->n_kv_head < 4 * n_thread;
}

/* Parts pay where sequences share chunks, and where rows are few. */
static void plan_kind(struct pass *p, struct attn_plan *plan, uint32_t n_chunk, bool windowed)
{
    plan->n_part = plan->n_state = 0;
    plan->shares = false;
    const bool fits = plan_parts(p, plan, n_chunk, windowed);
    if (!fits || !(plan->shares || (has_few_rows(p) && plan->n_state > p->n_row)))
        plan->n_part = 0;
}

static void plan_parts_of_all(struct pass *p)
{
    uint32_t n_chunk = 0;
    if (p->n_row * p->h->n_kv_head > SPLIT_STATES)
        return;
    for (uint32_t r = 0; r < p->n_row; r++) {
        const uint32_t n = p->row_position[r] / CHUNK_ROWS + 1;
        n_chunk = n > n_chunk ? n : n_chunk;
    }
    find_slots(p);
    find_leaders(p);
    p->parts_count = has_few_rows(p);
    plan_kind(p, &p->plan[0], n_chunk, false);
    if (p->h->window)
        plan_kind(p, &p->plan[1], n_chunk, true);
}

/* ---- tiles ---- */

/* Blocks that a row sees, of the longest list. */
static uint32_t blocks_seen(const struct pass *p, const struct batch_seq *seq, uint32_t row,
                            bool windowed)
{
    const uint32_t n = p->row_position[row] / KV_BLOCK + 1, most = p->h->window / KV_BLOCK + 1;
    if (windowed)
        return n < most ? n : most;
    if (!pass_reads_lists(seq))
        return n;
    return n - kv_excerpt_tail_first(seq->excerpt) + kv_excerpt_slot_blocks(seq->excerpt);
}

/* Before all that see less. */
static void add_tile(struct pass *p, struct attn_tile tile, bool windowed)
{
    struct attn_tile *all = p->tile[windowed];
    uint32_t i = p->n_tile[windowed]++;
    for (; i > 0 && all[i - 1].n_block < tile.n_block; i--)
        all[i] = all[i - 1];
    all[i] = tile;
}

/* The rows of a sequence from the last ones on: later rows see more, and so few are moved. */
static void add_tiles(struct pass *p, const struct batch_seq *seq, bool windowed)
{
    const uint32_t n_row = past_n_dense(seq, windowed);
    if (p->plan[windowed].n_part > 0 && attend_by_plan(p, seq, seq->first_row, windowed))
        return;
    for (uint32_t end = n_row; end > 0;) {
        const uint32_t from = (end - 1) / p->tile_rows * p->tile_rows;
        const uint32_t last = seq->first_row + end - 1;
        add_tile(p,
                 (struct attn_tile){ seq->first_row + from, end - from,
                                     blocks_seen(p, seq, last, windowed) },
                 windowed);
        end = from;
    }
}

void attend_plan(struct pass *p)
{
    p->plan[0].n_part = p->plan[1].n_part = 0;
    p->n_tile[0] = p->n_tile[1] = 0;
    p->parts_count = false;
    plan_parts_of_all(p);
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        add_tiles(p, &p->batch->seq[s], false);
        if (p->h->window)
            add_tiles(p, &p->batch->seq[s], true);
    }
}
