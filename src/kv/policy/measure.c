#include "kv/policy/measure.h"

#include <math.h>
#include <string.h>

#include "kv/best.h"

enum { TILE = 16 }; // queries at once: their scores of 4k rows stay in the second cache

/* ---- attention received ---- */

/* Rows behind the first of the queries, which some of them do not see: their indices. Answers how many. */
static uint32_t rows_behind(const struct kv_rank_in *in, uint32_t h, uint32_t position,
                            uint32_t *late)
{
    const struct kv_rank_head *head = &in->head[h];
    uint32_t n = 0;
    for (uint32_t i = 0; i < head->n; i++)
        if (head->position[i] > position)
            late[n++] = i;
    return n;
}

static void hide(const struct kv_rank_head *head, const uint32_t *late, uint32_t n_late,
                 uint32_t position, float *score)
{
    for (uint32_t i = 0; i < n_late; i++)
        if (head->position[late[i]] > position)
            score[late[i]] = -INFINITY;
}

bool measure_received(const struct kv_rank_in *in, uint32_t h, uint32_t g, uint32_t from,
                      const float *factor, float *out)
{
    const struct kv_rank_head *head = &in->head[h];
    const uint32_t n_query = in->n_query - from, n_tile = n_query < TILE ? n_query : TILE;
    float *q = kv_rank_room(in, (size_t)n_tile * in->d, sizeof *q);
    float *score = kv_rank_room(in, (size_t)n_tile * head->n, sizeof *score);
    uint32_t *late = kv_rank_room(in, head->n, sizeof *late);
    if (!q || !score || !late)
        return false;
    const uint32_t first = in->n_position - in->n_query; // position of query 0
    const uint32_t n_late = rows_behind(in, h, first + from, late);
    for (uint32_t t = from; t < in->n_query; t += TILE) {
        const uint32_t n = in->n_query - t < n_tile ? in->n_query - t : n_tile;
        for (uint32_t i = 0; i < n; i++)
            memcpy(q + (size_t)i * in->d, in->query[t + i] + ((size_t)h * in->group + g) * in->d,
                   in->d * sizeof *q);
        kv_rank_scores(in, h, q, n, score);
        for (uint32_t i = 0; i < n; i++) {
            float *s = score + (size_t)i * head->n;
            hide(head, late, n_late, first + t + i, s);
            in->kern->softmax(s, head->n);
            if (factor)
                in->kern->scale(s, factor[t + i], head->n);
            in->kern->add(out, s, head->n);
        }
    }
    return true;
}

bool measure_query(const struct kv_rank_in *in, uint32_t t, float *out)
{
    if (t >= in->n_query)
        return true;
    for (uint32_t h = 0; h < in->n_kv_head; h++) {
        const struct kv_rank_head *head = &in->head[h];
        float *of_head = kv_rank_room(in, head->n, sizeof *of_head);
        float *score = kv_rank_room(in, (size_t)in->group * head->n, sizeof *score);
        if (!of_head || !score)
            return false;
        kv_rank_scores(in, h, in->query[t] + (size_t)h * in->group * in->d, in->group, score);
        for (uint32_t g = 0; g < in->group; g++, score += head->n) {
            in->kern->softmax(score, head->n);
            in->kern->add(of_head, score, head->n);
        }
        for (uint32_t i = 0; i < head->n; i++)
            out[head->position[i]] += of_head[i];
    }
    return true;
}

void measure_mass(const struct kv_rank_in *in, uint32_t h, float *out)
{
    for (uint32_t i = 0; i < in->head[h].n; i++)
        out[i] = kv_mass_received(in->head[h].mass[i]);
}

/* ---- values ---- */

/* Sums of so many rows grow side by side: each is a chain of additions, which waits for itself. */
enum { SIDE_BY_SIDE = 8 };

static inline void norms_by(const float *v, size_t d, bool l1, float out[SIDE_BY_SIDE])
{
    float sum[SIDE_BY_SIDE] = { 0 };
    for (size_t j = 0; j < d; j++) {
#pragma GCC unroll 8
        for (size_t i = 0; i < SIDE_BY_SIDE; i++)
            sum[i] += l1 ? fabsf(v[i * d + j]) : v[i * d + j] * v[i * d + j];
    }
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        out[i] = l1 ? sum[i] : sqrtf(sum[i]);
}

/* Twice, so that no element asks which norm it is. */
static void norms(const float *v, size_t d, bool l1, float out[SIDE_BY_SIDE])
{
    if (l1)
        norms_by(v, d, true, out);
    else
        norms_by(v, d, false, out);
}

bool measure_values(const struct kv_rank_in *in, uint32_t h, bool l1, float *out)
{
    float *v = kv_rank_room(in, (size_t)KV_BLOCK * in->d_v, sizeof *v);
    if (!v)
        return false;
    const uint32_t n_row = in->head[h].n;
    for (uint32_t first = 0; first < n_row; first += KV_BLOCK) {
        const uint32_t n = n_row - first < KV_BLOCK ? n_row - first : KV_BLOCK;
        float norm[KV_BLOCK];
        kv_rank_read(in, h, first, n, NULL, v);
        for (uint32_t i = 0; i < n; i += SIDE_BY_SIDE) /* of rows behind the last as well */
            norms(v + (size_t)i * in->d_v, in->d_v, l1, norm + i);
        memcpy(out + first, norm, n * sizeof *out);
    }
    return true;
}

/* ---- places ---- */

struct item {
    uint64_t key;
    uint32_t row;
};

/* Ascending by key, whose lowest bits are in order as they are: by bytes from there on, those that are the same in all
 * left out. Answers where the result is. */
static struct item *sort(struct item *items, struct item *spare, uint32_t n, uint32_t in_order)
{
    for (uint32_t shift = in_order; shift < 64; shift += 8) {
        uint32_t start[256] = { 0 }, sum = 0;
        for (uint32_t i = 0; i < n; i++)
            start[items[i].key >> shift & 255]++;
        if (n == 0 || start[items[0].key >> shift & 255] == n)
            continue;
        for (uint32_t b = 0; b < 256; b++) {
            const uint32_t count = start[b];
            start[b] = sum;
            sum += count;
        }
        for (uint32_t i = 0; i < n; i++)
            spare[start[items[i].key >> shift & 255]++] = items[i];
        struct item *sorted = spare;
        spare = items;
        items = sorted;
    }
    return items;
}

static bool is_ascending(const uint32_t *position, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (position[i] < position[i - 1])
            return false;
    return true;
}

bool measure_places(const struct kv_rank_in *in, uint32_t h, const float *score, uint32_t *place)
{
    const struct kv_rank_head *head = &in->head[h];
    struct item *items = kv_rank_room(in, head->n, sizeof *items);
    struct item *spare = kv_rank_room(in, head->n, sizeof *spare);
    uint32_t n = 0;
    if (!items || !spare)
        return false;
    for (uint32_t i = head->n; i-- > 0;) { /* of equals the newest first */
        place[i] = 0;
        if (measure_is_floor(in, head->position[i]))
            continue;
        items[n++] = (struct item){ ~kv_row_key(score[i], head->position[i]), i };
    }
    items = sort(items, spare, n, is_ascending(head->position, head->n) ? 32 : 0);
    for (uint32_t i = 0; i < n; i++)
        place[items[i].row] = i;
    return true;
}

bool measure_join(const struct kv_rank_in *in, uint32_t h, const float *score, float *rank)
{
    uint32_t *place = kv_rank_room(in, in->head[h].n, sizeof *place);
    if (!place || !measure_places(in, h, score, place))
        return false;
    for (uint32_t i = 0; i < in->head[h].n; i++)
        if (-(float)place[i] > rank[i])
            rank[i] = -(float)place[i];
    return true;
}
