/* random - rows chosen by a hash of where they are: the control that every other policy must beat. */
#include "base/hash.h"
#include "kv/policy/all.h"
#include "kv/rank.h"

struct random_options {
    struct kv_common common;
    uint32_t seed;
};

static const struct kv_option options[] = {
    { "seed", KV_OPTION_COUNT, offsetof(struct random_options, seed), NULL, "1", NULL, 0,
      4294967295, NULL, "of the hash of seed, layer, kv_head and position" },
};

static void random_rank(const void *opt, const struct kv_rank_in *in, float *const *rank)
{
    const struct random_options *o = opt;
    for (uint32_t h = 0; h < in->n_kv_head; h++) {
        const uint64_t seed = hash_u64(o->seed, (uint64_t)in->layer << 32 | h);
        for (uint32_t i = 0; i < in->head[h].n; i++)
            rank[h][i] = (float)(hash_u64(seed, in->head[h].position[i]) >> 40);
    }
}

const struct kv_policy kv_policy_random = {
    .name = "random",
    .source = "ours, a control",
    .summary = "keeps rows chosen by a hash",
    .option = options,
    .n_option = sizeof options / sizeof *options,
    .options_bytes = sizeof(struct random_options),
    .rank = random_rank,
};
