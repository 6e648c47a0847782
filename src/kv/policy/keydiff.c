/* keydiff - keys that point where few others do. It needs no attention at all.
 * Source: Park et al. 2025, "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in
 * Resource-Constrained Environments" (arXiv 2504.15364). */
#include "kv/policy/keydiff.h"

#include <math.h>

#include "kv/policy/all.h"

static float dot(const float *a, const float *b, uint32_t d)
{
    float sum = 0;
    for (uint32_t j = 0; j < d; j++)
        sum += a[j] * b[j];
    return sum;
}

/* inverse [n]: 1 / |k|, 0 of a key that is zero. anchor [d]: the sum of k / |k|. */
static bool directions(const struct kv_rank_in *in, uint32_t h, float *inverse, float *anchor)
{
    float *k = kv_rank_room(in, (size_t)KV_BLOCK * in->d, sizeof *k);
    if (!k)
        return false;
    for (uint32_t first = 0; first < in->head[h].n; first += KV_BLOCK) {
        const uint32_t left = in->head[h].n - first, n = left < KV_BLOCK ? left : KV_BLOCK;
        kv_rank_read(in, h, first, n, k, NULL);
        for (uint32_t i = 0; i < n; i++) {
            float *row = k + (size_t)i * in->d;
            const float length = sqrtf(dot(row, row, in->d));
            inverse[first + i] = length > 0 ? 1 / length : 0;
            in->kern->scale(row, inverse[first + i], in->d);
            in->kern->add(anchor, row, in->d);
        }
    }
    return true;
}

bool keydiff_of_head(const struct kv_rank_in *in, uint32_t h, float *rank)
{
    struct kv_rank_in plain = *in; // dot products, and nothing done to them
    plain.scale = 1;
    plain.softcap = 0;
    float *inverse = kv_rank_room(in, in->head[h].n, sizeof *inverse);
    float *anchor = kv_rank_room(in, in->d, sizeof *anchor);
    if (!inverse || !anchor || !directions(in, h, inverse, anchor))
        return false;
    kv_rank_scores(&plain, h, anchor, 1, rank); // |anchor| is the same for all
    for (uint32_t i = 0; i < in->head[h].n; i++)
        rank[i] *= -inverse[i];
    return true;
}

static void keydiff_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    (void)opt;
    for (uint32_t h = 0; h < in->n_kv_head; h++)
        if (!keydiff_of_head(in, h, rank[h]))
            return;
}

const struct kv_policy kv_policy_keydiff = {
    .name = "keydiff",
    .source = "Park et al. 2025, \"KeyDiff: Key Similarity-Based KV Cache Eviction\"",
    .summary = "keeps rows whose keys are unlike the others",
    .options_bytes = sizeof(struct kv_common),
    .rank = keydiff_rank,
};
