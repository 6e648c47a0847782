#include "kv/policy/observed.h"

#include <math.h>

#include "kv/policy/measure.h"

/* Of n scores in order of position, the pool of those at most kernel / 2 away. */
static float pooled(uint32_t kernel, bool mean, const float *score, uint32_t n, uint32_t i)
{
    const uint32_t left = (kernel - 1) / 2, right = kernel / 2;
    const uint32_t from = i > left ? i - left : 0, to = n - i > right ? i + right : n - 1;
    float best = score[from], sum = 0;
    for (uint32_t j = from; j <= to; j++) {
        best = fmaxf(best, score[j]);
        sum += score[j];
    }
    return mean ? sum / (float)kernel : best;
}

/* Rows in front of the observing queries, in order of position. Answers how many. */
static uint32_t rows_in_order(const struct kv_rank_in *in, uint32_t h, uint32_t *row)
{
    const struct kv_rank_head *head = &in->head[h];
    uint32_t *at = kv_rank_room(in, in->n_position, sizeof *at), n = 0;
    for (uint32_t i = 0; at && i < head->n; i++)
        at[head->position[i]] = i + 1;
    for (uint32_t p = 0; at && p + in->n_query < in->n_position; p++)
        if (at[p])
            row[n++] = at[p] - 1;
    return n;
}

void observed_rank(const struct kv_rank_in *in, uint32_t kernel, bool mean, float *const *rank)
{
    for (uint32_t h = 0; h < in->n_kv_head; h++) {
        const uint32_t n_row = in->head[h].n;
        float *sum = kv_rank_room(in, n_row, sizeof *sum);
        float *score = kv_rank_room(in, n_row, sizeof *score);
        uint32_t *row = kv_rank_room(in, n_row, sizeof *row);
        if (!sum || !score || !row)
            return;
        for (uint32_t g = 0; g < in->group; g++)
            if (!measure_received(in, h, g, 0, NULL, sum))
                return;
        const uint32_t n = rows_in_order(in, h, row);
        for (uint32_t i = 0; i < n; i++)
            score[i] = sum[row[i]];
        for (uint32_t i = 0; i < n_row; i++)
            rank[h][i] = INFINITY; // the observing queries' own rows
        for (uint32_t i = 0; i < n; i++)
            rank[h][row[i]] = pooled(kernel, mean, score, n, i);
    }
}
