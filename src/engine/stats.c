/* What callers see of an engine's counts: a copy made once a step, so that they never touch the pool. */
#include <string.h>

#include "engine/engine_in.h"

static struct akv_times times_of(const struct kv_times *t)
{
    struct akv_times out = { .sum = t->sum };
    _Static_assert((int)AKV_TIME_BUCKETS == (int)KV_TIME_BUCKETS, "the same buckets outside");
    memcpy(out.n, t->n, sizeof out.n);
    return out;
}

static size_t kept_bytes(const struct engine *e, const struct kv_pool_usage *kv)
{
    const struct kv_shape *shape = &e->limits.shape;
    const uint32_t kept = kv_excerpt_class(shape);
    return kept < kv_n_class(shape) ? kv->n_held[kept] * kv_class_bytes(shape, kept) : 0;
}

/* Memory of the process in which running sequences keep what they select by. */
static size_t book_bytes(const struct engine *e)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < e->n_running; i++) {
        const struct keeper *k = e->running[i]->keeper;
        bytes += k && k->select ? kv_select_bytes(k->select) : 0;
    }
    return bytes;
}

void engine_publish(struct engine *e, uint64_t step_ns)
{
    struct kv_spaces_stats maps;
    struct kv_pool_usage kv;
    struct kv_index_stats index;
    uint32_t n_held = 0;
    kv_spaces_stats(e->spaces, &maps);
    kv_pool_usage(e->pool, &kv);
    kv_index_stats(e->index, &index);
    for (uint32_t g = 0; g < e->limits.shape.n_group; g++)
        n_held += kv.n_held[g];
    pthread_mutex_lock(&e->lock);
    struct akv_stats *s = &e->stats;
    *s = (struct akv_stats){
        .kv_bytes_max = kv.bytes_max,
        .kv_bytes_backed = kv.bytes_backed,
        .kv_bytes_held = kv.bytes_held,
        .kv_bytes_parked = e->frozen.parked_bytes,
        .n_episode_parked = e->frozen.n_parked,
        .n_episode_unparked = e->frozen.n_unparked,
        .n_running = e->n_running,
        .n_block_held = n_held,
        .n_block_indexed = index.n_node,
        .n_ctx = e->limits.n_ctx,
        .n_ubatch = e->limits.n_ubatch,
        .n_parallel = e->limits.n_parallel,
        .n_queue = e->limits.n_queue,
        .n_step = s->n_step + (step_ns > 0),
        .n_token_prompt = e->n_token_prompt,
        .n_token_cached = e->n_token_cached,
        .n_token_generated = e->n_token_generated,
        .n_evicted = index.n_evicted,
        .n_paused = e->n_pause,
        .step_ns = s->step_ns + step_ns,
        .map_ns = maps.map_ns,
        .plan_ns = e->sum.plan_ns > maps.map_ns ? e->sum.plan_ns - maps.map_ns : 0,
        .forward_ns = e->sum.forward_ns,
        .sample_ns = e->sum.sample_ns,
        .keep_ns = s->step_ns + step_ns - e->sum.plan_ns - e->sum.forward_ns - e->sum.sample_ns,
        .n_step_sequence = e->sum.n_sequence,
        .n_row = e->sum.n_row,
        .n_window_dropped = index.n_window_dropped,
        .n_crowded = index.n_crowded,
        .n_pruned = index.n_pruned,
        .kv_bytes_kept = kept_bytes(e, &kv),
        .time_bound = kv_time_bound,
        .block_lifetime = times_of(&index.lifetime),
        .block_idle = times_of(&index.idle),
        .block_reuse_gap = times_of(&index.reuse_gap),
        .weight_bytes = model_weights(e->model)->bytes,
        .workspace_bytes = model_workspace_bytes(e->model),
        .kv_bytes_per_token = kv_bytes_per_position(&e->limits.shape),
        .n_row_read = e->sum.n_read,
        .n_row_there = e->sum.n_there,
        .kv_book_bytes = book_bytes(e),
        .kv_mark_bytes = index.mark_bytes,
    };
    memcpy(s->n_step_of_rows, e->sum.n_of_rows, sizeof s->n_step_of_rows);
    pthread_mutex_unlock(&e->lock);
}

void engine_stats(struct engine *e, struct akv_stats *out)
{
    pthread_mutex_lock(&e->lock);
    *out = e->stats;
    /* n_running is of the last step's end: some of those may have ended since */
    out->n_waiting = e->n_inside > out->n_running ? e->n_inside - out->n_running : 0;
    pthread_mutex_unlock(&e->lock);
}
