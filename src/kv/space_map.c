#include "kv/space_in.h"

#include <assert.h>

/* ---- the VMA budget: mappings are counted as runs of file neighbours ---- */

/* Whether a mapping of its own starts at block i (protection aside: vma_of_space counts that
 * seam). */
static bool starts_run(const struct span *span, uint32_t i)
{
    return i == span->mapped_from || !kv_block_follows(span->mapped[i - 1], span->mapped[i]);
}

static void count_runs(struct kv_space *s, const struct span *span, uint32_t from, uint32_t to,
                       int sign)
{
    uint32_t n = 0;
    for (uint32_t i = from; i < to; i++)
        n += starts_run(span, i);
    s->all->stats.n_vma += (uint32_t)sign * n;
}

static bool vma_room(const struct kv_spaces *all, uint32_t n_block)
{
    return all->stats.n_vma + n_block <= all->stats.n_vma_max;
}

/* Says that blocks [mapped_to, to) are mapped, or will be before anybody looks. */
static void note_mapped(struct kv_space *s, struct span *span, uint32_t to)
{
    for (uint32_t i = span->mapped_to; i < to; i++) {
        span->mapped[i] = span->block[i];
        kv_pool_mapped(s->all->pool, span->mapped[i]);
    }
    count_runs(s, span, span->mapped_to, to, +1);
    s->all->stats.n_map += to - span->mapped_to;
    span->mapped_to = to;
}

/* Where a span shrinks. The caller knows: when all that is mapped goes, the indices cannot tell, and
 * blocks mapped next start at mapped_to. */
enum end { FRONT, BACK };

/* Says that blocks [from, to), at that end of what is mapped, no longer are. */
static void note_unmapped(struct kv_space *s, struct span *span, uint32_t from, uint32_t to,
                          enum end end)
{
    bool splits = to < span->mapped_to && !starts_run(span, to);
    count_runs(s, span, from, to, -1);
    s->all->stats.n_vma += splits;
    for (uint32_t i = from; i < to; i++)
        kv_pool_unmapped(s->all->pool, span->mapped[i]);
    s->all->stats.n_unmap += to - from;
    if (end == FRONT)
        span->mapped_from = to;
    else
        span->mapped_to = from;
}

/* For the table form. What the system refuses to take away stays mapped until the mapper may: its
 * blocks are out of use meanwhile (P6), and nobody waits. */
static void leave(struct kv_space *s);

/* ---- pieces ---- */

/* The longest piece from block `from` on that is one run of the file. */
static struct map_piece piece_of(const struct kv_space *s, uint32_t group, uint32_t from,
                                 uint32_t to)
{
    const struct span *span = &s->span[group];
    uint32_t end = from + 1;
    while (end < to && kv_block_follows(span->block[end - 1], span->block[end]))
        end++;
    return (struct map_piece){
        .at = block_at(s, span, from),
        .bytes = (end - from) * span->block_bytes,
        .block = span->block[from],
        .group = group,
        .from = from,
        .to = end,
    };
}

/* The addresses of blocks [from, to), whatever is there. */
static struct map_piece gap_of(const struct kv_space *s, uint32_t group, uint32_t from, uint32_t to)
{
    const struct span *span = &s->span[group];
    return (struct map_piece){
        .at = block_at(s, span, from),
        .bytes = (to - from) * span->block_bytes,
        .group = group,
        .from = from,
        .to = to,
    };
}

static void post(struct kv_space *s, struct map_job *job, enum map_kind kind)
{
    job->kind = kind;
    job->owner = s;
    s->n_job++;
    mapper_post(s->all->mapper, job);
}

/* False: the system keeps refusing it. */
static bool wait_for(struct kv_space *s, const struct map_job *job)
{
    bool done = mapper_wait(s->all->mapper, job);
    kv_spaces_collect(s->all);
    return done;
}

/* ---- mapping ---- */

static enum status span_map(struct kv_space *s, uint32_t group, uint32_t to, enum vm_access access)
{
    struct span *span = &s->span[group];
    while (span->mapped_to < to) {
        struct map_piece piece = piece_of(s, group, span->mapped_to, to);
        if (!vma_room(s->all, 1) || map_piece(s->all->pool, &piece, access) != OK)
            return FULL;
        note_mapped(s, span, piece.to);
        s->all->stats.n_map_inline += piece.to - piece.from;
    }
    return OK;
}

void space_map(struct kv_space *s, uint32_t to, enum vm_access access)
{
    for (uint32_t g = 0; g < s->all->shape->n_group && !s->table; g++)
        if (span_map(s, g, to, access) != OK)
            leave(s);
}

void space_protect(struct kv_space *s, uint32_t from, uint32_t to)
{
    for (uint32_t g = 0; g < s->all->shape->n_group && !s->table && from < to; g++) {
        struct map_piece gap = gap_of(s, g, from, to);
        if (vm_protect(gap.at, gap.bytes, VM_READ) != OK)
            leave(s);
    }
}

/* ---- unmapping ---- */

/* In this thread, if the system lets us. */
static bool unmapped_now(struct kv_space *s, uint32_t group, uint32_t from)
{
    struct span *span = &s->span[group];
    struct map_piece gap = gap_of(s, group, from, span->mapped_to);
    if (vm_unmap(gap.at, gap.bytes) != OK)
        return false;
    note_unmapped(s, span, from, span->mapped_to, BACK);
    s->all->stats.n_unmap_batch++;
    return true;
}

void space_unmap_tail(struct kv_space *s, uint32_t group, uint32_t from)
{
    struct span *span = &s->span[group];
    if (s->table || from >= span->mapped_to)
        return;
    assert(!span->tail.posted);
    if (!unmapped_now(s, group, from))
        leave(s);
}

void space_unmap_passed(struct kv_space *s, uint32_t group)
{
    struct span *span = &s->span[group];
    if (s->table || span->mapped_from >= span->first || span->front.posted)
        return; // when the job in flight is done, it asks again
    span->front.n_piece = 1;
    span->front.piece[0] = gap_of(s, group, span->mapped_from, span->first);
    post(s, &span->front, MAP_AWAY);
}

void space_unmap_all(struct kv_space *s)
{
    struct map_job *job = &s->retire;
    if (s->table)
        return; // on its way since the space left its addresses
    job->n_piece = 0;
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        struct span *span = &s->span[g];
        uint32_t from = span->front.posted ? span->front.piece[0].to : span->mapped_from;
        if (from < span->mapped_to)
            job->piece[job->n_piece++] = gap_of(s, g, from, span->mapped_to);
    }
    if (job->n_piece)
        post(s, job, MAP_AWAY);
}

/* ---- ahead of use ---- */

static void span_map_ahead(struct kv_space *s, uint32_t group, uint32_t n_block)
{
    struct span *span = &s->span[group];
    struct map_job *job = &span->tail;
    uint32_t end = span->n;
    if (span->n_ahead || job->posted)
        return;
    for (; end < span->n + n_block && vma_room(s->all, end - span->n + 1); end++) {
        block_id after = end > span->first ? span->block[end - 1] : KV_NO_BLOCK;
        if (kv_pool_keep(s->all->pool, group, after, &span->block[end]) != OK)
            break;
    }
    job->n_piece = 0;
    for (uint32_t i = span->n; i < end; i = job->piece[job->n_piece++].to)
        job->piece[job->n_piece] = piece_of(s, group, i, end);
    if (job->n_piece == 0)
        return;
    span->n_ahead = end - span->n;
    note_mapped(s, span, end);
    post(s, job, MAP_AHEAD);
}

void space_map_ahead(struct kv_space *s, uint32_t n_block)
{
    uint32_t most = n_block < MAP_PIECES ? n_block : MAP_PIECES;
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        span_map_ahead(s, g, most);
}

static void unkeep_ahead(struct kv_space *s, struct span *span)
{
    for (uint32_t i = span->n; i < span->n + span->n_ahead; i++)
        kv_pool_unkeep(s->all->pool, span->block[i]);
    span->n_ahead = 0;
}

/* Takes the job back before it ran: then there is nothing to unmap. */
static bool cancel_ahead(struct kv_space *s, struct span *span)
{
    if (!span->tail.posted || !mapper_cancel(s->all->mapper, &span->tail))
        return false;
    s->n_job--;
    note_unmapped(s, span, span->n, span->mapped_to, BACK);
    unkeep_ahead(s, span);
    return true;
}

void space_drop_ahead(struct kv_space *s, uint32_t group)
{
    struct span *span = &s->span[group];
    if (cancel_ahead(s, span))
        return;
    if (span->tail.posted)
        wait_for(s, &span->tail);
    if (span->n_ahead == 0) // there was none, or it failed and is dropped already
        return;
    space_unmap_tail(s, group, span->n);
    unkeep_ahead(s, span);
}

void space_abandon_ahead(struct kv_space *s, uint32_t group)
{
    struct span *span = &s->span[group];
    if (!cancel_ahead(s, span) && !span->tail.posted)
        unkeep_ahead(s, span);
}

void space_collect_ahead(struct kv_space *s)
{
    for (uint32_t g = 0; g < s->all->shape->n_group; g++)
        if (s->span[g].tail.posted)
            wait_for(s, &s->span[g].tail);
}

static void ahead_done(struct kv_space *s, uint32_t group, enum status result)
{
    struct span *span = &s->span[group];
    if (result == OK)
        s->all->stats.n_map_ahead += span->n_ahead;
    if (s->dead)
        unkeep_ahead(s, span);
    else if (result != OK)
        space_drop_ahead(s, group);
}

static void away_done(struct kv_space *s, const struct map_job *job)
{
    for (uint32_t i = 0; i < job->n_piece; i++) {
        const struct map_piece *piece = &job->piece[i];
        struct span *span = &s->span[piece->group];
        note_unmapped(s, span, piece->from, piece->to, job == &span->front ? FRONT : BACK);
    }
    s->all->stats.n_unmap_batch += job->n_piece;
    if (!s->dead)
        space_unmap_passed(s, job->piece[0].group); // more may have passed meanwhile
}

void space_job_done(struct kv_space *s, struct map_job *job)
{
    if (job->kind == MAP_AHEAD)
        ahead_done(s, job->piece[0].group, job->result);
    else
        away_done(s, job);
}

/* ---- without addresses ---- */

/* Has no job of this group in flight any more, and nothing kept. */
static void stop_jobs(struct kv_space *s, struct span *span)
{
    if (!cancel_ahead(s, span) && span->tail.posted)
        wait_for(s, &span->tail);
    unkeep_ahead(s, span);
    if (!span->front.posted)
        return;
    if (mapper_recall(s->all->mapper, &span->front))
        s->n_job--;
    else
        kv_spaces_collect(s->all);
}

static void leave(struct kv_space *s)
{
    struct map_job *job = &s->retire;
    job->n_piece = 0;
    s->table = true; // first: what is collected on the way finds it so
    s->all->stats.n_left++;
    for (uint32_t g = 0; g < s->all->shape->n_group; g++) {
        struct span *span = &s->span[g];
        stop_jobs(s, span);
        if (span->mapped_from < span->mapped_to && !unmapped_now(s, g, span->mapped_from))
            job->piece[job->n_piece++] = gap_of(s, g, span->mapped_from, span->mapped_to);
        for (uint32_t i = span->first; i < span->n; i++)
            kv_pool_show(s->all->pool, span->block[i]);
    }
    if (job->n_piece)
        post(s, job, MAP_AWAY);
}
