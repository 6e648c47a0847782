#include "kv/least.h"

#include "kv/best.h"
#include "kv/rank.h"

/* The lowest row so far. Ranks are floats, so rows of up to `bound` may have the same one. */
struct lowest {
    uint64_t key, bound;
    kv_row row;
};

static void offer(struct lowest *l, kv_row row, uint32_t position, uint64_t mass)
{
    const uint64_t key = kv_row_key(kv_mass_received(mass), position);
    if (key > l->key)
        return;
    *l = (struct lowest){ key, mass + (mass >> 23) + 1, row };
}

/* Of 64 rows. Almost none has less than the lowest so far. */
static void look_over(struct lowest *l, uint64_t rows, const uint64_t *mass,
                      const uint32_t *position, kv_row first)
{
    for (; rows; rows &= rows - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(rows);
        if (mass[i] <= l->bound)
            offer(l, first + i, position[i], mass[i]);
    }
}

/* Positions of a block of the tail. */
static void positions_from(uint32_t position[KV_BLOCK], uint32_t first)
{
    for (uint32_t i = 0; i < KV_BLOCK; i++)
        position[i] = first + i;
}

kv_row kv_least_received(const struct kernels *kern, const struct kv_list *list,
                         struct kv_open open)
{
    const uint32_t n = open.first < open.end ? open.end - open.first : 0;
    struct lowest l = { UINT64_MAX, UINT64_MAX, KV_NO_ROW };
    uint32_t in_tail[KV_BLOCK];
    for (uint32_t b = 0; b < list->n_block; b++) {
        const uint64_t *mass = list->mass + (size_t)b * KV_BLOCK;
        const uint32_t *position = list->position + (size_t)b * KV_BLOCK;
        const uint64_t low = kern->low_rows(mass, l.bound, position, open.first, n);
        look_over(&l, list->live[b] & low, mass, position, b * KV_BLOCK);
    }
    for (uint32_t b = list->tail_first; b * KV_BLOCK < open.end; b++) {
        const uint64_t *mass = list->tail_mass + (size_t)b * KV_BLOCK % list->n_tail_mass;
        positions_from(in_tail, b * KV_BLOCK);
        const uint64_t low = kern->low_rows(mass, l.bound, in_tail, open.first, n);
        look_over(&l, list->tail_live[b] & low, mass, in_tail, KV_IN_TAIL | b * KV_BLOCK);
    }
    return l.row;
}
