#include "engine/frozen.h"

#include <string.h>

#include "base/mem.h"

bool frozen_applies(const struct sequence *s)
{
    return s->keeper && kv_choice_drops(&s->keeper->choice) && s->keeper->n_context &&
           s->n_prompt > s->keeper->n_context;
}

bool frozen_same(const struct sequence *a, const struct sequence *b)
{
    if (!frozen_applies(a) || !frozen_applies(b))
        return false;
    const uint32_t n = a->keeper->n_context;
    return n == b->keeper->n_context && strcmp(a->salt, b->salt) == 0 &&
           strcmp(a->keeper->name, b->keeper->name) == 0 &&
           memcmp(a->ids, b->ids, n * sizeof *a->ids) == 0;
}

struct frozen *frozen_find(struct frozen_table *t, const struct sequence *s)
{
    for (uint32_t i = 0; frozen_applies(s) && i < t->n; i++) {
        struct frozen *f = t->entry[i];
        if (f->n == s->keeper->n_context && strcmp(f->salt, s->salt) == 0 &&
            strcmp(f->policy, s->keeper->name) == 0 &&
            memcmp(f->ids, s->ids, f->n * sizeof *f->ids) == 0) {
            f->used = ++t->tick;
            return f;
        }
    }
    return NULL;
}

static void frozen_free(struct frozen *f)
{
    if (!f)
        return;
    kv_space_free(f->space);
    kv_excerpt_free(f->excerpt);
    mem_free(f->salt);
    mem_free(f->policy);
    mem_free(f->ids);
    mem_free(f->logits);
    mem_free(f);
}

static enum status fork_both(struct kv_space **space, struct kv_excerpt **excerpt,
                             struct kv_space *from, struct kv_excerpt *rows, uint32_t n,
                             struct note *why)
{
    const enum status st = kv_space_fork_rest(space, from, n, why);
    if (st != OK)
        return st;
    if (kv_excerpt_fork(excerpt, rows, why) == OK)
        return OK;
    kv_space_free(*space);
    *space = NULL;
    return FULL;
}

static struct frozen *frozen_new(struct sequence *s, uint32_t n_vocab)
{
    struct note why = { "" };
    struct frozen *f = mem_new(1, sizeof *f);
    if (!f)
        return NULL;
    f->n = s->keeper->n_context;
    f->salt = mem_copy_text(s->salt, strlen(s->salt));
    f->policy = mem_copy_text(s->keeper->name, strlen(s->keeper->name));
    f->ids = mem_new(f->n, sizeof *f->ids);
    f->logits = mem_new(n_vocab, sizeof *f->logits);
    if (!f->salt || !f->policy || !f->ids || !f->logits ||
        fork_both(&f->space, &f->excerpt, s->space, s->keeper->excerpt, f->n, &why) != OK) {
        frozen_free(f);
        return NULL;
    }
    memcpy(f->ids, s->ids, f->n * sizeof *f->ids);
    memcpy(f->logits, s->keeper->logits, n_vocab * sizeof *f->logits);
    return f;
}

void frozen_put(struct frozen_table *t, struct sequence *s, uint32_t n_vocab)
{
    if (!frozen_applies(s) || !s->keeper->logits || frozen_find(t, s))
        return;
    struct frozen *f = frozen_new(s, n_vocab);
    if (!f)
        return;
    if (t->n == FROZEN_MAX)
        frozen_evict(t);
    f->used = ++t->tick;
    t->entry[t->n++] = f;
}

enum status frozen_fork(struct frozen *f, const struct keeper_frame *frame, struct sequence *s,
                        struct note *why)
{
    struct kv_excerpt *excerpt;
    enum status st = fork_both(&s->space, &excerpt, f->space, f->excerpt, f->n, why);
    if (st != OK)
        return st;
    st = keeper_adopt(s->keeper, frame, excerpt, why);
    if (st != OK) {
        kv_excerpt_free(excerpt);
        kv_space_free(s->space);
        s->space = NULL;
    }
    return st;
}

bool frozen_evict(struct frozen_table *t)
{
    uint32_t oldest = 0;
    if (t->n == 0)
        return false;
    for (uint32_t i = 1; i < t->n; i++)
        oldest = t->entry[i]->used < t->entry[oldest]->used ? i : oldest;
    frozen_free(t->entry[oldest]);
    t->entry[oldest] = t->entry[--t->n];
    return true;
}

void frozen_close(struct frozen_table *t)
{
    while (frozen_evict(t))
        ;
}
