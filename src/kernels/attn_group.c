#include "kernels/attn_group.h"

#include <math.h>
#include <string.h>

/* One call of attn_by_groups: what all steps need. */
struct call {
    const struct attn_leaves *leaves;
    const struct attn_run *run;
    struct attn_state out;
    float *p; // [48][64]
    struct attn_block block;
    struct group group;
};

/* How many of n outputs (a multiple of 8) the next tile takes: 8, 16, 32 .. */
static uint32_t tile_out(uint32_t n, uint32_t most)
{
    while (most > n)
        most /= 2;
    return most;
}

/* Half a block of f16 is a cache line wide: of one that is not read whole, what nobody sees is left out by halves. */
enum { STRIP_OUT = 32 };

/* What a strip that is left out would have fetched. */
static void fetch_instead(const struct matrix *k, const struct tiles *t)
{
    const size_t bytes = k->n_in * source_bytes(k->from);
    for (size_t at = t->out * bytes; at < (t->out + t->n_out) * bytes; at += 64)
        __builtin_prefetch(k->ahead + at);
}

/* Of rows in sight; those beside them in a strip as well. */
static void scores(const struct call *c, uint64_t seen)
{
    const struct group *g = &c->group;
    const bool both = seen >> STRIP_OUT && seen << STRIP_OUT;
    const bool all = both || c->leaves->tile_out < STRIP_OUT;
    struct tiles t = { .n = g->n,
                       .a = g->q,
                       .c = g->p,
                       .n_out = all ? c->leaves->tile_out : STRIP_OUT,
                       .last = c->run->d_k,
                       .fresh = true };
    for (; t.out < KV_BLOCK; t.out += t.n_out)
        if (seen & row_bits(t.out, t.out + t.n_out))
            c->leaves->tiles(&c->block.k, &t);
        else if (c->block.k.from != FROM_PANELS && !is_half_idle(c->block.k.idle))
            fetch_instead(&c->block.k, &t);
}

/* o += p V in all of its columns. */
static void add_columns(const struct call *c, struct tiles *t)
{
    for (; t->out < c->run->d_v; t->out += t->n_out) {
        t->n_out = tile_out(c->run->d_v - t->out, c->leaves->tile_out);
        c->leaves->tiles(&c->block.v, t);
    }
}

/* Of n queries from the i-th on, over the rows of [lo, hi) that the mask leaves. */
static void add_rows(const struct call *c, uint32_t i, uint32_t n, struct row_range rows)
{
    const float *const *p = (const float *const *)c->group.p;
    uint64_t left = rows.lo < rows.hi ? row_bits(rows.lo, rows.hi) & c->block.mask : 0;
    struct tiles t = { .n = n, .a = p + i, .c = c->group.o + i };
    uint8_t row[KV_BLOCK];
    if (!left)
        return;
    t.first = (uint32_t)__builtin_ctzll(left);
    t.last = KV_BLOCK - (uint32_t)__builtin_clzll(left);
    if (left != row_bits(t.first, t.last) || is_sparse(c->block.v.idle)) {
        t.row = row;
        t.rows = left;
        t.first = t.last = 0;
        for (; left; left &= left - 1)
            row[t.last++] = (uint8_t)__builtin_ctzll(left);
    }
    add_columns(c, &t);
}

/* The rows that n_q queries from the i-th on all see; none: [64, 64). */
static struct row_range common_rows(const struct group *g, uint32_t i, uint32_t n_q)
{
    struct row_range common = g->rows[i];
    for (uint32_t q = i + 1; q < i + n_q; q++) {
        common.lo = g->rows[q].lo > common.lo ? g->rows[q].lo : common.lo;
        common.hi = g->rows[q].hi < common.hi ? g->rows[q].hi : common.hi;
    }
    return common.lo < common.hi ? common : (struct row_range){ KV_BLOCK, KV_BLOCK };
}

/* Queries of a tile that begin and end at different rows: what all of them see goes together, the
 * rest one by one. */
static void add_ragged(const struct call *c, uint32_t i, uint32_t n_q)
{
    const struct group *g = &c->group;
    struct row_range common = common_rows(g, i, n_q);
    for (uint32_t q = i; q < i + n_q; q++) {
        uint32_t hi = g->rows[q].hi < common.lo ? g->rows[q].hi : common.lo;
        add_rows(c, q, 1, (struct row_range){ g->rows[q].lo, hi });
    }
    add_rows(c, i, n_q, common);
    for (uint32_t q = i; q < i + n_q; q++)
        add_rows(c, q, 1, (struct row_range){ common.hi, g->rows[q].hi });
}

static void add_values(const struct call *c)
{
    const struct group *g = &c->group;
    if (!g->ragged) {
        add_rows(c, 0, g->n, g->rows[0]);
        return;
    }
    for (uint32_t i = 0, n_q; i < g->n; i += n_q) {
        n_q = tile_queries(g->n - i, c->leaves->tile_queries);
        add_ragged(c, i, n_q);
    }
}

/* Rows of which some query of the group sees the score. */
static uint64_t in_sight(const struct call *c)
{
    const struct group *g = &c->group;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < (g->ragged ? g->n : 1); i++)
        seen |= row_bits(g->rows[i].lo, g->rows[i].hi);
    return seen & c->block.mask;
}

/* Tiles fetch codes of the part ahead, not the scales behind them, which wait for memory then (int8, 3 queries of 64, one
 * thread of Zen 4, AVX-512: 9 -> 11 GB/s; decode of smollm2 behind 4,096 positions 1.02x). */
static void fetch_scales(const struct matrix *ahead, uint32_t d)
{
    const char *scales = (const char *)kv_scales(ahead->ahead, d);
    for (size_t at = 0; at < KV_BLOCK * sizeof(float); at += 64)
        __builtin_prefetch(scales + at);
}

static void attend(struct call *c)
{
    scores(c, in_sight(c));
    c->leaves->softmax(c->run, &c->block, &c->group, c->out);
    if (c->block.k.from == FROM_INT8) {
        fetch_scales(&c->block.k, c->run->d_k);
        fetch_scales(&c->block.v, c->run->d_v);
    }
    add_values(c);
    c->group.n = 0;
    c->group.ragged = false;
}

/* What is read behind block i: the run's next block with a row in sight, else what the caller says; else it again. */
static void find_ahead(const struct attn_run *run, uint32_t i, struct attn_block *b)
{
    uint32_t next = i + 1;
    while (next < run->last && !attn_mask(run, next))
        next++;
    const bool over = next >= run->last;
    if (over)
        next = i;
    b->k.ahead = over && run->k_next ? run->k_next : attn_k(run, next);
    b->v.ahead = over && run->v_next ? run->v_next : attn_v(run, next);
    b->k.idle = b->v.idle = over ? 0 : ~attn_mask(run, next);
}

static struct attn_block open_block(const struct attn_run *run, uint32_t i)
{
    const enum source from = (enum source)run->type;
    struct attn_block b = { .k = { from, run->d_k, KV_BLOCK, attn_k(run, i), NULL, 0 },
                            .v = { from, KV_BLOCK, run->d_v, attn_v(run, i), NULL, 0 },
                            .keep = run->keep ? run->keep + (size_t)(i - run->keep_first) * KV_BLOCK
                                              : NULL,
                            .mask = attn_mask(run, i) };
    find_ahead(run, i, &b);
    if (run->type == KV_INT8) {
        b.k_scale = kv_scales(b.k.data, run->d_k);
        b.v_scale = kv_scales(b.v.data, run->d_v);
    }
    return b;
}

/* K, and V from the first to the last row that a query sees, into panels in the scratch. */
static void pack_block(struct call *c, uint32_t i, void *scratch)
{
    struct attn_scratch to = attn_scratch_place(scratch, c->run->d_k, c->run->d_v);
    struct attn_block *b = &c->block;
    struct row_range seen = { KV_BLOCK, 0 };
    for (uint32_t q = 0; q < c->run->n_query; q++) {
        struct row_range rows = attn_rows(c->run, q, i);
        if (rows.lo == rows.hi)
            continue;
        seen.lo = rows.lo < seen.lo ? rows.lo : seen.lo;
        seen.hi = rows.hi > seen.hi ? rows.hi : seen.hi;
    }
    c->leaves->pack(&b->k, to.k, 0, c->run->d_k);
    for (uint64_t left = row_bits(seen.lo, seen.hi) & b->mask; left;) {
        const uint32_t first = (uint32_t)__builtin_ctzll(left);
        const uint64_t gaps = ~left & UINT64_MAX << first;
        const uint32_t last = gaps ? (uint32_t)__builtin_ctzll(gaps) : KV_BLOCK;
        c->leaves->pack(&b->v, to.v, first, last);
        left &= ~row_bits(first, last);
    }
    b->k.from = b->v.from = FROM_PANELS;
    b->k.data = (const char *)to.k;
    b->v.data = (const char *)to.v;
}

static void clear(const struct attn_run *run, struct attn_state out)
{
    for (uint32_t q = 0; q < run->n_query; q++) {
        out.m[q] = -INFINITY;
        out.l[q] = 0;
    }
    memset(out.o, 0, (size_t)run->n_query * run->d_v * sizeof *out.o);
}

static void add_query(struct call *c, uint32_t query, struct row_range rows)
{
    struct group *g = &c->group;
    uint32_t i = g->n++;
    g->query[i] = query;
    g->rows[i] = rows;
    g->ragged |= rows.lo != g->rows[0].lo || rows.hi != g->rows[0].hi;
    g->q[i] = c->run->q + query * c->run->q_stride;
    g->p[i] = c->p + (size_t)i * KV_BLOCK;
    g->o[i] = c->out.o + (size_t)query * c->run->d_v;
}

void attn_by_groups(const struct attn_leaves *leaves, const struct attn_run *run,
                    struct attn_state out, void *scratch)
{
    struct call c = { .leaves = leaves, .run = run, .out = out };
    const bool packs =
        run->n_query >= (run->type == KV_INT8 ? leaves->pack_int8 : leaves->pack_float);
    c.p = attn_scratch_place(scratch, run->d_k, run->d_v).p;
    clear(run, out);
    for (uint32_t i = run->first; i < run->last; i++) {
        if (!attn_mask(run, i))
            continue;
        c.block = open_block(run, i);
        for (uint32_t q = 0; q < run->n_query; q++) {
            struct row_range rows = attn_rows(run, q, i);
            if (!(row_bits(rows.lo, rows.hi) & c.block.mask))
                continue;
            if (packs && c.block.k.from != FROM_PANELS) // on the first query that sees it
                pack_block(&c, i, scratch);
            add_query(&c, q, rows);
            if (c.group.n == ATTN_GROUP)
                attend(&c);
        }
        if (c.group.n > 0)
            attend(&c);
    }
}

void attn_scores_by_groups(const struct attn_leaves *leaves, const struct attn_run *run,
                           uint32_t block, float *out, void *scratch)
{
    struct call c = { .leaves = leaves, .run = run, .block = open_block(run, block) };
    if (run->n_query >= (run->type == KV_INT8 ? leaves->pack_int8 : leaves->pack_float)) {
        float *to = attn_scratch_place(scratch, run->d_k, run->d_v).k;
        leaves->pack(&c.block.k, to, 0, run->d_k);
        c.block.k.from = FROM_PANELS;
        c.block.k.data = (const char *)to;
    }
    for (uint32_t first = 0; first < run->n_query; first += c.group.n) {
        const uint32_t left = run->n_query - first;
        c.group.n = left < ATTN_GROUP ? left : ATTN_GROUP;
        c.p = out + (size_t)first * KV_BLOCK;
        for (uint32_t i = 0; i < c.group.n; i++) {
            c.group.q[i] = run->q + (first + i) * run->q_stride;
            c.group.p[i] = c.p + (size_t)i * KV_BLOCK;
        }
        scores(&c, UINT64_MAX);
        for (uint32_t i = 0; i < c.group.n; i++)
            leaves->finish(run, &c.block, c.group.p[i]);
    }
}
