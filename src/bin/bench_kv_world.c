/* The pool and the spaces that `bench kv` measures on. */
#include <string.h>
#include <time.h>

#include "bin/bench_kv_in.h"

/* As if all layers saw everything: one group, so that a block is a block. */
struct kv_shape bench_kv_shape(const struct bench_kv_options *o)
{
    struct hparams h = o->h;
    struct kv_shape shape;
    h.window = 0;
    memset(h.windowed, 0, sizeof h.windowed);
    hparams_kv_shape(&h, (enum kv_type)o->kv_type, &shape);
    return shape;
}

void bench_kv_await_backed(struct kv_pool *pool, const struct kv_shape *shape)
{
    struct kv_pool_usage u;
    size_t block_bytes = SIZE_MAX; // the smallest: less than that is room for none
    for (uint32_t g = 0; g < shape->n_group; g++)
        if (kv_block_bytes(shape, g) < block_bytes)
            block_bytes = kv_block_bytes(shape, g);
    do {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        kv_pool_usage(pool, &u);
    } while (u.bytes_backed + block_bytes <= u.bytes_max);
}

void bench_kv_world_close(struct world *w)
{
    for (uint32_t i = 0; i < SEQ_MAX; i++)
        kv_space_free(w->space[i]);
    kv_spaces_free(w->all);
    kv_pool_free(w->pool);
}

enum status bench_kv_world_open(struct world *w, const struct bench_kv_options *o, struct form form,
                                uint32_t n_block, struct note *why)
{
    *w = (struct world){ .shape = bench_kv_shape(o) };
    size_t bytes = n_block * kv_block_bytes(&w->shape, 0);
    struct kv_pool_config pool = { .shape = &w->shape,
                                   .bytes_max = bytes < o->kv_ram ? bytes : o->kv_ram,
                                   .populate = form.backed };
    enum status st = kv_pool_new(&w->pool, &pool, why);
    if (st != OK)
        return st;
    if (form.backed)
        bench_kv_await_backed(w->pool, &w->shape);
    struct kv_spaces_config spaces = {
        .pool = w->pool,
        .n_position_max = (uint32_t)o->n_ctx,
        .map_ahead = form.map_ahead,
        .table = form.table,
    };
    return kv_spaces_new(&w->all, &spaces, why);
}
