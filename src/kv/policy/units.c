#include "kv/policy/units.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kv/best.h"

enum { D_MAX = 512, HEADS = 4 }; // elements of a head; queries scored at once

/* ---- where things lie in a book ---- */

struct units_head {
    uint32_t n;         // units, the open one among them
    uint32_t n_entered; // positions
    uint32_t n_open;    // rows left of the open unit
    uint32_t n_position_max;
    uint32_t d;
};

/* open: of the open unit's keys the sum and the sum of squares, or least and largest elements. part: 64 units a part,
 * or with UNITS_ROWS 64 positions. */
struct book {
    struct units_head *head;
    float *open;     // [2][d]
    uint32_t *first; // [n_max] positions
    float *length;   // [n_max] 1 / Euclidean length of the mean
    float *score;    // [n_max]
    uint64_t *key;   // [n_max] a heap
    char *part;      // of means, of least elements and then of largest, or of keys themselves
};

static void *carve(char *base, size_t *used, size_t bytes)
{
    const size_t at = *used;
    *used = at + (bytes + 63) / 64 * 64;
    return base ? base + at : NULL;
}

static uint32_t parts_of(const struct units_kind *kind)
{
    static const uint32_t parts[] = {
        [UNITS_MEAN] = 1, [UNITS_SPREAD] = 2, [UNITS_BOUNDS] = 2, [UNITS_ROWS] = 1
    };
    return parts[kind->address];
}

static size_t part_bytes(const struct units_kind *kind, uint32_t d)
{
    return kind->address == UNITS_ROWS ? scan_part_bytes(d) : kv_part_bytes(KV_F16, d);
}

static uint32_t units_max(const struct units_kind *kind, uint32_t n_position)
{
    return n_position / (kind->page ? kind->page : kind->least) + 1;
}

/* Returns the bytes of it all. */
static size_t lay(struct book *b, char *base, const struct units_kind *kind, uint32_t n_position,
                  uint32_t d)
{
    size_t used = 0;
    const size_t n = units_max(kind, n_position);
    const size_t n_row = kind->address == UNITS_ROWS ? n_position : n;
    const size_t n_part = (n_row + KV_BLOCK - 1) / KV_BLOCK * parts_of(kind);
    b->head = carve(base, &used, sizeof *b->head);
    b->open = carve(base, &used, 2 * (size_t)d * sizeof *b->open);
    b->first = carve(base, &used, n * sizeof *b->first);
    b->length = carve(base, &used, n * sizeof *b->length);
    b->score = carve(base, &used, n * sizeof *b->score);
    b->key = carve(base, &used, n * sizeof *b->key);
    b->part = carve(base, &used, n_part * part_bytes(kind, d));
    return used;
}

size_t units_bytes(const struct units_kind *kind, uint32_t n_position, uint32_t d)
{
    struct book b;
    return lay(&b, NULL, kind, n_position, d);
}

static struct book book_of(const struct units_kind *kind, const void *book)
{
    const struct units_head *head = book;
    struct book b;
    lay(&b, (char *)book, kind, head->n_position_max, head->d);
    return b;
}

static char *part_of(const struct units_kind *kind, const struct book *b, uint32_t block,
                     uint32_t which)
{
    const size_t at = (size_t)block * parts_of(kind) + which;
    return b->part + at * part_bytes(kind, b->head->d);
}

/* ---- entering ---- */

static bool begins(const struct units_kind *kind, const struct book *b,
                   const struct kv_select_in *in, uint32_t position)
{
    if (position == 0 || kind->page)
        return position == 0 || position % kind->page == 0;
    const uint32_t last = position - 1;
    return (in->ends[last / KV_BLOCK] >> last % KV_BLOCK & 1) &&
           position - b->first[b->head->n - 1] >= kind->least;
}

static void begin_unit(const struct units_kind *kind, const struct book *b, uint32_t position)
{
    struct units_head *h = b->head;
    assert(h->n < units_max(kind, h->n_position_max));
    b->first[h->n++] = position;
    h->n_open = 0;
    for (uint32_t j = 0; j < h->d; j++) {
        b->open[j] = kind->address == UNITS_BOUNDS ? INFINITY : 0;
        b->open[h->d + j] = -b->open[j];
    }
}

static void enter_key(const struct units_kind *kind, const struct book *b,
                      const struct kernels *kern, uint32_t position, const float *k)
{
    const uint32_t d = b->head->d;
    if (kind->address == UNITS_ROWS) {
        scan_store(part_of(kind, b, position / KV_BLOCK, 0), position % KV_BLOCK, k, d);
        return;
    }
    float *first = b->open, *second = b->open + d;
    for (uint32_t j = 0; kind->address == UNITS_BOUNDS && j < d; j++) {
        first[j] = k[j] < first[j] ? k[j] : first[j];
        second[j] = k[j] > second[j] ? k[j] : second[j];
    }
    if (kind->address != UNITS_BOUNDS)
        kern->add(first, k, d);
    for (uint32_t j = 0; kind->address == UNITS_SPREAD && j < d; j++)
        second[j] += k[j] * k[j];
    b->head->n_open++;
}

/* Writes the open unit's address down as it is now. */
static void store_open(const struct units_kind *kind, const struct book *b,
                       const struct kernels *kern)
{
    const uint32_t d = b->head->d, i = b->head->n - 1, at = i % KV_BLOCK, block = i / KV_BLOCK;
    const float n = (float)b->head->n_open;
    float first[D_MAX], second[D_MAX], square = 0;
    if (kind->address == UNITS_ROWS || b->head->n_open == 0)
        return; /* its keys are there, or nothing of it is left to be read */
    memcpy(first, b->open, d * sizeof *first);
    memcpy(second, b->open + d, d * sizeof *second);
    for (uint32_t j = 0; kind->address != UNITS_BOUNDS && j < d; j++) {
        first[j] /= n;
        square += first[j] * first[j];
    }
    for (uint32_t j = 0; kind->address == UNITS_SPREAD && j < d; j++) {
        second[j] = second[j] / n - first[j] * first[j];
        second[j] = second[j] > 0 ? second[j] : 0;
    }
    b->length[i] = square > 0 ? 1 / sqrtf(square) : 0;
    kern->store_k(KV_F16, part_of(kind, b, block, 0), at, first, d);
    if (parts_of(kind) > 1)
        kern->store_k(KV_F16, part_of(kind, b, block, 1), at, second, d);
}

void units_enter(const struct units_kind *kind, void *book, const struct kv_select_in *in,
                 uint32_t from, uint32_t to)
{
    struct units_head *head = book;
    float k[D_MAX];
    assert(in->d <= D_MAX && from == head->n_entered);
    head->n_position_max = in->n_position_max;
    head->d = in->d;
    const struct book b = book_of(kind, book);
    for (uint32_t p = from; p < to; p++) {
        if (begins(kind, &b, in, p)) {
            if (head->n)
                store_open(kind, &b, in->kern);
            begin_unit(kind, &b, p);
        }
        if (kv_select_has(in, p)) {
            kv_select_key(in, p, k);
            enter_key(kind, &b, in->kern, p, k);
        }
        head->n_entered++;
    }
    if (to > from)
        store_open(kind, &b, in->kern);
}

/* ---- scoring ---- */

/* Products of queries [n][d] with all units of a part: out [n][64]. */
static void products(const struct kv_select_in *in, char *part, const float *q, uint32_t n,
                     float *out)
{
    char *const table[1] = { part };
    const struct attn_run run = { .type = KV_F16,
                                  .d_k = in->d,
                                  .d_v = in->d,
                                  .scale = 1,
                                  .n_query = n,
                                  .q = q,
                                  .q_stride = in->d,
                                  .last = 1,
                                  .table = table };
    in->kern->attn_scores(&run, 0, out, in->scratch);
}

static void join_scores(float *score, const float *s, uint32_t n, enum units_join join)
{
    for (uint32_t i = 0; i < n; i++)
        score[i] = join == UNITS_SUM ? score[i] + s[i] : s[i] > score[i] ? s[i] : score[i];
}

/* What is multiplied with the first and the second part of addresses, of queries q of n elements together. */
static void factors(enum units_address address, const float *q, uint32_t n, float *first,
                    float *second)
{
    for (uint32_t j = 0; j < n; j++) {
        const bool bounds = address == UNITS_BOUNDS;
        first[j] = bounds && q[j] > 0 ? 0 : q[j];
        second[j] = !bounds ? q[j] * q[j] : q[j] > 0 ? q[j] : 0;
    }
}

/* Both products of a query with n units, as one score. */
static void join_parts(enum units_address address, float *s, const float *more, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        s[i] += address == UNITS_BOUNDS ? more[i] : 2 * sqrtf(more[i]);
}

/* Up to HEADS queries. */
static void score_some(const struct units_kind *kind, const struct book *b,
                       const struct kv_select_in *in, const float *q, uint32_t n,
                       enum units_join join)
{
    _Alignas(64) float out[HEADS * KV_BLOCK], more[HEADS * KV_BLOCK];
    float first[HEADS * D_MAX], second[HEADS * D_MAX];
    const bool two = parts_of(kind) > 1;
    factors(kind->address, q, n * in->d, first, second);
    for (uint32_t unit = 0; unit < b->head->n; unit += KV_BLOCK) {
        const uint32_t left = b->head->n - unit, n_unit = left < KV_BLOCK ? left : KV_BLOCK;
        products(in, part_of(kind, b, unit / KV_BLOCK, 0), first, n, out);
        if (two)
            products(in, part_of(kind, b, unit / KV_BLOCK, 1), second, n, more);
        for (uint32_t t = 0; t < n; t++) {
            float *s = out + (size_t)t * KV_BLOCK;
            if (two)
                join_parts(kind->address, s, more + (size_t)t * KV_BLOCK, n_unit);
            join_scores(b->score + unit, s, n_unit, join);
        }
    }
}

/* ---- scoring by rows ----
 *
 * The room of a query: of each piece of rows the largest score and the sum of all, then what its units receive by that.
 *
 *     | largest [n_piece] | sum [n_piece] | units of piece 0, in 1,024 | of piece 1 | ..
 *
 * The first two are as long as whole lines of 64 bytes. */

enum { PIECE = 16, PIECE_ROWS = PIECE * KV_BLOCK }; // parts whose rows are scored by who takes them

static size_t room_in_front(uint32_t n_position)
{
    const size_t n_piece = n_position / PIECE_ROWS + 1;
    return 2 * ((n_piece + 15) / 16 * 16);
}

size_t units_room(const struct units_kind *kind, uint32_t n_position)
{
    const size_t n_piece = n_position / PIECE_ROWS + 1;
    if (kind->address != UNITS_ROWS)
        return 0;
    return room_in_front(n_position) + n_piece * PIECE_ROWS;
}

/* Of some of the group's queries. */
struct row_scores {
    const struct book *b;
    const struct units_kind *kind;
    const struct kv_select_in *in;
    uint32_t n_part, first, n; // queries
    struct scan_query query[SCAN_QUERIES];
};

static float *largest_in(const struct kv_select_in *in, uint32_t query)
{
    return in->room + query * in->room_stride;
}

static float *sums_in(const struct kv_select_in *in, uint32_t query)
{
    return largest_in(in, query) + room_in_front(in->n_position_max) / 2;
}

static float *piece_in(const struct kv_select_in *in, uint32_t query, uint32_t piece)
{
    return largest_in(in, query) + room_in_front(in->n_position_max) + (size_t)piece * PIECE_ROWS;
}

/* The unit that a position is in. */
static uint32_t unit_at(const struct book *b, uint32_t position)
{
    uint32_t low = 0, high = b->head->n;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (b->first[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Units with rows in a piece; those at its ends may have others elsewhere. */
struct units_range {
    uint32_t first, n;
};

static struct units_range units_of(const struct row_scores *r, uint32_t piece)
{
    const uint32_t from = piece * PIECE_ROWS, to = from + PIECE_ROWS;
    const uint32_t last = (to < r->in->n_position ? to : r->in->n_position) - 1;
    const uint32_t first = unit_at(r->b, from);
    return (struct units_range){ first, unit_at(r->b, last) - first + 1 };
}

/* What a query's scores x of a piece are to its units; rows that are not left receive nothing. */
static void score_units(const struct row_scores *r, uint32_t query, uint32_t piece, float *x)
{
    const struct kv_select_in *in = r->in;
    const struct units_range units = units_of(r, piece);
    const uint32_t base = piece * PIECE_ROWS, left = in->n_position - base;
    const uint32_t n = left < PIECE_ROWS ? left : PIECE_ROWS;
    if (in->softcap != 0)
        in->kern->softcap(x, in->softcap, n);
    for (uint32_t i = 0; in->there && i < n; i++)
        if (!kv_select_has(in, base + i))
            x[i] = -INFINITY;
    in->kern->scan_mass(x, n, r->b->first + units.first, units.n, base, piece_in(in, query, piece),
                        largest_in(in, query) + piece, sums_in(in, query) + piece);
}

static void score_piece(void *arg, uint32_t piece, void *scratch)
{
    const struct row_scores *r = arg;
    const uint32_t part = piece * PIECE, left = r->n_part - part;
    _Alignas(64) float x[SCAN_QUERIES * PIECE_ROWS];
    (void)scratch;
    r->in->kern->scan(r->query, r->n, r->in->d, part_of(r->kind, r->b, part, 0),
                      left < PIECE ? left : PIECE, x, PIECE_ROWS);
    for (uint32_t q = 0; q < r->n; q++)
        score_units(r, r->first + q, piece, x + q * PIECE_ROWS);
}

/* Pieces' scores of a query to one softmax: adds what units receive of it. */
static void join_pieces(const struct row_scores *r, uint32_t query)
{
    const uint32_t n_piece = (r->n_part + PIECE - 1) / PIECE;
    const float *sum = sums_in(r->in, query);
    float *factor = largest_in(r->in, query), all = 0;
    r->in->kern->softmax(factor, n_piece); // exp(largest - the largest of all), but for a factor
    for (uint32_t p = 0; p < n_piece; p++)
        all += factor[p] * sum[p];
    for (uint32_t p = 0; p < n_piece; p++) {
        const struct units_range units = units_of(r, p);
        const float *of = piece_in(r->in, query, p), f = factor[p] / all;
        for (uint32_t i = 0; i < units.n; i++)
            r->b->score[units.first + i] += of[i] * f;
    }
}

/* The attention of each unit's rows: of up to SCAN_QUERIES queries at once. */
static void score_by_rows(const struct units_kind *kind, const struct book *b,
                          const struct kv_select_in *in)
{
    struct row_scores r = { .b = b, .kind = kind, .in = in };
    r.n_part = (in->n_position + KV_BLOCK - 1) / KV_BLOCK;
    for (uint32_t i = 0; i < b->head->n; i++)
        b->score[i] = 0;
    for (r.first = 0; r.first < in->group; r.first += r.n) {
        const uint32_t left = in->group - r.first;
        r.n = left < SCAN_QUERIES ? left : SCAN_QUERIES;
        for (uint32_t i = 0; i < r.n; i++)
            scan_ask(&r.query[i], in->q + (size_t)(r.first + i) * in->d, in->d, in->scale);
        kv_select_loop(in, score_piece, &r, (r.n_part + PIECE - 1) / PIECE);
        for (uint32_t i = 0; i < r.n; i++)
            join_pieces(&r, r.first + i);
    }
}

void units_score(const struct units_kind *kind, void *book, const struct kv_select_in *in,
                 const float *q, uint32_t n_query, enum units_join join, bool cosine)
{
    const struct book b = book_of(kind, book);
    if (kind->address == UNITS_ROWS) {
        score_by_rows(kind, &b, in);
        return;
    }
    for (uint32_t i = 0; i < b.head->n; i++)
        b.score[i] = join == UNITS_SUM ? 0 : -INFINITY;
    for (uint32_t t = 0; t < n_query; t += HEADS)
        score_some(kind, &b, in, q + (size_t)t * in->d, n_query - t < HEADS ? n_query - t : HEADS,
                   join);
    for (uint32_t i = 0; cosine && kind->address == UNITS_MEAN && i < b.head->n; i++)
        b.score[i] *= b.length[i];
}

/* ---- the best ---- */

/* The largest key of a heap comes to its top, where one below it may be larger. */
static void sink_down(uint64_t *key, uint32_t n, uint32_t i)
{
    const uint64_t x = key[i];
    for (uint32_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && key[child + 1] > key[child])
            child++;
        if (key[child] <= x)
            break;
        key[i] = key[child];
        i = child;
    }
    key[i] = x;
}

static uint32_t rows_left(const struct kv_select_in *in)
{
    const uint32_t floors =
        kv_select_count(in, 0, in->n_sink) + kv_select_count(in, in->recent, in->n_position + 1);
    return in->budget > floors ? in->budget - floors : 0;
}

/* Sets the bits of the first rows left of [from, to), n at most. Answers how many. */
static uint32_t take_rows(const struct kv_select_in *in, uint64_t *mask, uint32_t from, uint32_t to,
                          uint32_t n)
{
    const uint32_t all = kv_select_count(in, from, to);
    if (all <= n) {
        kv_select_set(mask, from, to);
        return all;
    }
    for (uint32_t left = n; left > 0; from++) {
        kv_select_set(mask, from, from + 1);
        left -= kv_select_has(in, from);
    }
    return n;
}

void units_take(const struct units_kind *kind, void *book, const struct kv_select_in *in,
                uint64_t *mask)
{
    const struct book b = book_of(kind, book);
    uint32_t n = b.head->n, left = rows_left(in);
    for (uint32_t i = 0; i < n; i++)
        b.key[i] = kv_row_key(b.score[i], i);
    for (uint32_t i = n / 2; i-- > 0;)
        sink_down(b.key, n, i);
    while (n > 0 && left > 0) {
        const uint32_t unit = (uint32_t)b.key[0];
        const uint32_t end = unit + 1 < b.head->n ? b.first[unit + 1] : b.head->n_entered;
        const uint32_t from = b.first[unit] > in->n_sink ? b.first[unit] : in->n_sink;
        const uint32_t to = end < in->recent ? end : in->recent;
        b.key[0] = b.key[--n];
        sink_down(b.key, n, 0);
        if (from < to)
            left -= take_rows(in, mask, from, to, left);
    }
}
