#include "kv/mark.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

static size_t n_sum(const struct kv_taps_size *size)
{
    return (size_t)size->n_layer * size->n_head * size->d;
}

/* ---- mass: the tail's, where all rows are while nothing was dropped ---- */

static uint32_t n_list(const struct kv_shape *shape)
{
    uint32_t n = 0;
    for (uint32_t l = 0; l < shape->n_layer; l++) {
        const struct kv_group *g = &shape->group[shape->layer_group[l]];
        n += g->window ? 0 : g->n_kv_head;
    }
    return n;
}

/* Between `mass` [list][n] and the lists, to the left or to the right. */
static void move_mass(uint64_t *mass, const struct kv_excerpt *e, const struct kv_shape *shape,
                      uint32_t n, bool to_lists)
{
    for (uint32_t l = 0; l < shape->n_layer; l++) {
        const struct kv_group *g = &shape->group[shape->layer_group[l]];
        for (uint32_t h = 0; !g->window && h < g->n_kv_head; h++, mass += n) {
            const struct kv_list list = kv_excerpt_list(e, l, h);
            assert(list.tail_first == 0 && n <= list.n_tail_mass);
            memcpy(to_lists ? list.tail_mass : mass, to_lists ? mass : list.tail_mass,
                   n * sizeof *mass);
        }
    }
}

/* ---- marks ---- */

static size_t n_value(enum kv_mark_kind kind, const struct kv_taps_size *size,
                      const struct kv_shape *shape, uint32_t n)
{
    return kind == KV_MARK_MASS ? (size_t)n_list(shape) * n : n_sum(size) * (1 + (size_t)size->d);
}

size_t kv_mark_bytes(enum kv_mark_kind kind, const struct kv_taps_size *size,
                     const struct kv_shape *shape, uint32_t n)
{
    return n_value(kind, size, shape, n) *
           (kind == KV_MARK_MASS ? sizeof(uint64_t) : sizeof(float));
}

enum status kv_mark_new(struct kv_mark **out, enum kv_mark_kind kind, const struct kv_taps *t,
                        const struct kv_taps_size *size, const struct kv_shape *shape, uint32_t n)
{
    const size_t n_all = n_value(kind, size, shape, n);
    struct kv_mark *m = mem_new(1, sizeof *m);
    if (!m)
        return FULL;
    *m = (struct kv_mark){ .kind = kind, .n = n, .n_holder = 1, .n_moment = t->n_moment };
    if (kind == KV_MARK_MASS)
        m->mass = mem_new(n_all, sizeof *m->mass);
    else
        m->moments = mem_new(n_all, sizeof *m->moments);
    if (!m->mass && !m->moments) {
        mem_free(m);
        return FULL;
    }
    m->bytes = kv_mark_bytes(kind, size, shape, n);
    if (m->mass) {
        move_mass(m->mass, t->into, shape, n, false);
    } else {
        assert(t->n_late == 0);
        memcpy(m->moments, t->sum, n_sum(size) * sizeof *t->sum);
        memcpy(m->moments + n_sum(size), t->outer, n_sum(size) * size->d * sizeof *t->outer);
    }
    *out = m;
    return OK;
}

struct kv_mark *kv_mark_hold(struct kv_mark *m)
{
    m->n_holder++;
    return m;
}

void kv_mark_release(struct kv_mark *m)
{
    if (!m || --m->n_holder > 0)
        return;
    mem_free(m->mass);
    mem_free(m->moments);
    mem_free(m);
}

void kv_mark_read(const struct kv_mark *m, struct kv_taps *t, const struct kv_taps_size *size,
                  const struct kv_shape *shape)
{
    if (m->mass) {
        move_mass(m->mass, t->into, shape, m->n, true);
        return;
    }
    memcpy(t->sum, m->moments, n_sum(size) * sizeof *t->sum);
    memcpy(t->outer, m->moments + n_sum(size), n_sum(size) * size->d * sizeof *t->outer);
    t->n_moment = m->n_moment;
}
