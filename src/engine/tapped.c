#include "engine/tapped.h"

#include <string.h>

#include "base/mem.h"

/* ---- who ---- */

bool tapped_same(const struct sequence *a, const struct sequence *b)
{
    const struct keeper *k = a->keeper, *l = b->keeper;
    return k && l && k->wide.into && keeper_may_judge(l, &k->wide) && !a->cache_no_write &&
           !b->cache_no_read && k->n_context == l->n_context && strcmp(a->salt, b->salt) == 0 &&
           memcmp(a->ids, b->ids, k->n_context * sizeof *a->ids) == 0;
}

static bool fits(const struct tapped *t, const struct sequence *s)
{
    return t->n == s->keeper->n_context && keeper_may_judge(s->keeper, &t->taps) &&
           strcmp(t->salt, s->salt) == 0 && memcmp(t->ids, s->ids, t->n * sizeof *t->ids) == 0;
}

static void touch(struct tapped_table *t, struct tapped *entry)
{
    entry->used = ++t->tick;
    entry->used_step = t->step;
}

struct tapped *tapped_find(struct tapped_table *t, const struct sequence *s)
{
    for (uint32_t i = 0; s->keeper && !s->cache_no_read && i < t->n; i++) {
        if (fits(t->entry[i], s)) {
            touch(t, t->entry[i]);
            return t->entry[i];
        }
    }
    return NULL;
}

/* ---- entries ---- */

static void tapped_free(struct tapped *t)
{
    if (!t)
        return;
    kv_space_free(t->space);
    kv_excerpt_free(t->excerpt);
    kv_taps_close(&t->taps);
    mem_free(t->salt);
    mem_free(t->ids);
    mem_free(t->logits);
    mem_free(t);
}

bool tapped_evict(struct tapped_table *t)
{
    uint32_t oldest = 0;
    if (t->n == 0)
        return false;
    for (uint32_t i = 1; i < t->n; i++)
        if (t->entry[i]->used < t->entry[oldest]->used)
            oldest = i;
    tapped_free(t->entry[oldest]);
    t->entry[oldest] = t->entry[--t->n];
    return true;
}

/* What names it, and its last row. NULL: no memory. */
static struct tapped *tapped_new(const struct sequence *s, uint32_t n_vocab)
{
    struct tapped *t = mem_new(1, sizeof *t);
    if (!t)
        return NULL;
    t->n = s->keeper->n_context;
    t->kv_bytes_peak = s->kv_bytes_peak;
    t->salt = mem_copy_text(s->salt, strlen(s->salt));
    t->ids = mem_new(t->n, sizeof *t->ids);
    t->logits = mem_new(n_vocab, sizeof *t->logits);
    if (!t->salt || !t->ids || !t->logits) {
        tapped_free(t);
        return NULL;
    }
    memcpy(t->ids, s->ids, t->n * sizeof *t->ids);
    memcpy(t->logits, s->keeper->logits, n_vocab * sizeof *t->logits);
    return t;
}

static void add(struct tapped_table *t, const struct sequence *s, uint32_t n_vocab)
{
    struct note why = { "" };
    if (s->cache_no_write || !s->keeper->logits || tapped_find(t, s))
        return;
    struct tapped *entry = tapped_new(s, n_vocab);
    if (!entry || kv_space_fork(&entry->space, s->space, entry->n, &why) != OK ||
        kv_excerpt_fork(&entry->excerpt, s->keeper->excerpt, s->n_id_max + REPLAY_ROWS, &why) !=
            OK) {
        tapped_free(entry);
        return;
    }
    entry->taps = keeper_give_wide(s->keeper);
    entry->taps.into = entry->excerpt;
    touch(t, entry);
    if (t->n == TAPPED_MAX)
        tapped_evict(t);
    t->entry[t->n++] = entry;
}

void tapped_put(struct tapped_table *t, const struct keeper_frame *frame, struct sequence *s,
                uint32_t n_vocab)
{
    struct keeper *k = s->keeper;
    if (!k->wide.into || s->n_done != k->n_context)
        return;
    keeper_learn(k, frame, &k->wide);
    add(t, s, n_vocab);
    kv_taps_close(&k->wide);
}

enum status tapped_begin(const struct tapped *t, const struct keeper_frame *frame,
                         struct sequence *s, uint32_t n_vocab, struct note *why)
{
    struct kv_excerpt *excerpt = NULL;
    enum status st = kv_space_fork(&s->space, t->space, t->n, why);
    if (st == OK)
        st = kv_excerpt_fork(&excerpt, t->excerpt, s->n_id_max + REPLAY_ROWS, why);
    if (st == OK)
        st = keeper_begin_behind(s->keeper, frame, excerpt, &t->taps, why);
    if (st != OK) {
        kv_excerpt_free(excerpt);
        kv_space_free(s->space);
        s->space = NULL;
        return FULL;
    }
    keeper_remember(s->keeper, t->logits, n_vocab);
    if (s->kv_bytes_peak < t->kv_bytes_peak)
        s->kv_bytes_peak = t->kv_bytes_peak;
    return OK;
}

/* ---- when blocks are short ---- */

size_t tapped_bytes(const struct tapped_table *t, const struct kv_shape *shape)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < t->n; i++)
        bytes += kv_sequence_bytes(shape, t->entry[i]->n, t->entry[i]->n);
    return bytes;
}

void tapped_close(struct tapped_table *t)
{
    while (tapped_evict(t))
        ;
}
