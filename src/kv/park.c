#include "kv/park.h"

#include <string.h>

#include "base/mem.h"
#include "kv/excerpt_in.h"

struct kv_parked {
    struct kv_excerpt *lists; // of which slots are which rows; its blocks are not held
    uint32_t n_position, first[KV_GROUP_MAX];
    size_t n_slot_byte;
    char *bytes; // slots, list after list, then the space's blocks
};

size_t kv_park_bytes(const struct kv_excerpt *e, const struct kv_space *s)
{
    return kv_excerpt_bytes(e) + kv_space_save(s, NULL);
}

enum status kv_park(struct kv_parked **out, struct kv_excerpt *e, struct kv_space *s)
{
    struct kv_parked *p = mem_new(1, sizeof *p);
    if (p)
        p->bytes = mem_new(kv_park_bytes(e, s), 1);
    if (!p || !p->bytes) {
        mem_free(p);
        return FULL;
    }
    const size_t size = kv_class_bytes(e->shape, e->class);
    p->lists = e;
    p->n_position = kv_space_committed(s);
    for (uint32_t i = 0; i < e->n_list; i++)
        for (uint32_t b = 0; b < e->list[i].n_block; b++, p->n_slot_byte += size) {
            memcpy(p->bytes + p->n_slot_byte, e->list[i].block[b], size);
            kv_pool_release(e->config.pool, e->list[i].id[b]);
        }
    for (uint32_t g = 0; g < e->shape->n_group; g++)
        p->first[g] = kv_space_first(s, g);
    kv_space_save(s, p->bytes + p->n_slot_byte);
    kv_space_free(s);
    *out = p;
    return OK;
}

/* Blocks for the first n slots' blocks of all lists go back. */
static void give_back(struct kv_excerpt *e, size_t n)
{
    for (uint32_t i = 0; i < e->n_list; i++)
        for (uint32_t b = 0; b < e->list[i].n_block && n > 0; b++, n--)
            kv_pool_release(e->config.pool, e->list[i].id[b]);
}

/* FULL: nothing is held. */
static enum status fill_slots(struct kv_excerpt *e, const char *bytes)
{
    const size_t size = kv_class_bytes(e->shape, e->class);
    size_t n = 0;
    for (uint32_t i = 0; i < e->n_list; i++)
        for (uint32_t b = 0; b < e->list[i].n_block; b++, n++) {
            struct slots *l = &e->list[i];
            if (kv_pool_take(e->config.pool, e->class, &l->id[b]) != OK) {
                give_back(e, n);
                return FULL;
            }
            l->block[b] = kv_pool_address(e->config.pool, l->id[b]);
            memcpy(l->block[b], bytes + n * size, size);
        }
    return OK;
}

enum status kv_unpark(struct kv_parked *p, struct kv_spaces *all, struct kv_excerpt **e,
                      struct kv_space **s, struct note *why)
{
    enum status st =
        kv_space_restore(s, all, p->n_position, p->first, p->bytes + p->n_slot_byte, why);
    if (st != OK)
        return st;
    st = fill_slots(p->lists, p->bytes);
    if (st != OK) {
        note_set(why, "no KV block is free for kept rows that come back");
        kv_space_free(*s);
        *s = NULL;
        return st;
    }
    *e = p->lists;
    mem_free(p->bytes);
    mem_free(p);
    return OK;
}

void kv_parked_free(struct kv_parked *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; i < p->lists->n_list; i++)
        p->lists->list[i].n_block = 0; // nothing is held
    kv_excerpt_free(p->lists);
    mem_free(p->bytes);
    mem_free(p);
}
