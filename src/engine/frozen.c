#include "engine/frozen.h"

#include <string.h>

#include "base/mem.h"

bool frozen_applies(const struct sequence *s)
{
    const struct keeper *k = s->keeper;
    return k && kv_choice_drops(&k->choice) && keeper_shared(k) > 0 &&
           s->n_prompt > keeper_shared(k);
}

/* ---- the same episode ---- */

/* Of what a request skips: below n. */
static uint32_t skips_below(const struct episodes *e, uint32_t n)
{
    uint32_t n_skip = 0;
    while (n_skip < e->n_skip && e->skip[n_skip].end <= n)
        n_skip++;
    return n_skip;
}

static bool same_skips(const struct stretch *a, const struct stretch *b, uint32_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

static bool is_of_episode(const struct frozen *f, const struct episodes *e)
{
    return f->n_base == e->n_base && f->episode == e->episode &&
           f->n_skip == skips_below(e, f->n) && same_skips(f->skip, e->skip, f->n_skip) &&
           (f->n_skip == e->n_skip || e->skip[f->n_skip].first >= f->n);
}

bool frozen_same(const struct sequence *a, const struct sequence *b)
{
    if (!frozen_applies(a) || !frozen_applies(b) || a->cache_no_write || b->cache_no_read)
        return false;
    const struct keeper *k = a->keeper, *l = b->keeper;
    const uint32_t n = keeper_shared(k);
    const bool same = !k->episodes || !l->episodes || k->episodes->episode == l->episodes->episode;
    return same && n == keeper_shared(l) && strcmp(a->salt, b->salt) == 0 &&
           strcmp(k->name, l->name) == 0 && memcmp(a->ids, b->ids, n * sizeof *a->ids) == 0;
}

/* Whether s may begin behind it. */
static bool fits(const struct frozen *f, const struct sequence *s)
{
    const struct keeper *k = s->keeper;
    const bool all = k->episodes && !s->prompt_logprobs; // also what was read behind the history
    if (all ? f->n >= s->n_id || f->n < k->episodes->n_base : f->n != keeper_shared(k))
        return false;
    return (!s->prompt_logprobs || f->logits) && strcmp(f->salt, s->salt) == 0 &&
           strcmp(f->policy, k->name) == 0 && (!k->episodes || is_of_episode(f, k->episodes)) &&
           memcmp(f->ids, s->ids, f->n * sizeof *f->ids) == 0;
}

static void touch(struct frozen_table *t, struct frozen *f)
{
    f->used = ++t->tick;
    f->used_step = t->step;
}

struct frozen *frozen_find(struct frozen_table *t, const struct sequence *s)
{
    struct frozen *longest = NULL;
    const bool looks = s->keeper && (s->keeper->episodes || frozen_applies(s)) && !s->cache_no_read;
    for (uint32_t i = 0; looks && i < t->n; i++)
        if (fits(t->entry[i], s) && (!longest || t->entry[i]->n > longest->n))
            longest = t->entry[i];
    if (longest)
        touch(t, longest);
    return longest;
}

/* ---- entries ---- */

static void frozen_free(struct frozen *f)
{
    if (!f)
        return;
    kv_space_free(f->space);
    kv_excerpt_free(f->excerpt);
    kv_parked_free(f->parked);
    mem_free(f->salt);
    mem_free(f->policy);
    mem_free(f->ids);
    mem_free(f->skip);
    mem_free(f->logits);
    mem_free(f);
}

static enum status fork_both(struct kv_space **space, struct kv_excerpt **excerpt,
                             struct kv_space *from, struct kv_excerpt *rows, uint32_t n,
                             uint32_t n_position_max, struct note *why)
{
    const enum status st = kv_space_fork_rest(space, from, n, why);
    if (st != OK)
        return st;
    if (kv_excerpt_fork(excerpt, rows, n_position_max, why) == OK)
        return OK;
    kv_space_free(*space);
    *space = NULL;
    return FULL;
}

static bool copy_skips(struct frozen *f, const struct episodes *e)
{
    f->n_base = e->n_base;
    f->episode = e->episode;
    f->n_skip = skips_below(e, f->n);
    f->skip = mem_new(f->n_skip, sizeof *f->skip);
    if (f->skip && f->n_skip > 0)
        memcpy(f->skip, e->skip, f->n_skip * sizeof *f->skip);
    return f->skip;
}

/* Positions [0, n) of s, without their KV. */
static struct frozen *frozen_new(const struct sequence *s, uint32_t n)
{
    struct frozen *f = mem_new(1, sizeof *f);
    if (!f)
        return NULL;
    f->n = n;
    f->salt = mem_copy_text(s->salt, strlen(s->salt));
    f->policy = mem_copy_text(s->keeper->name, strlen(s->keeper->name));
    f->ids = mem_new(f->n, sizeof *f->ids);
    const bool skips = !s->keeper->episodes || copy_skips(f, s->keeper->episodes);
    f->parks = keeper_parks(s->keeper);
    if (!f->salt || !f->policy || !f->ids || !skips) {
        frozen_free(f);
        return NULL;
    }
    memcpy(f->ids, s->ids, f->n * sizeof *f->ids);
    return f;
}

/* The longest unused, of those that hold blocks alone or of all; n: there is none. */
static uint32_t oldest(const struct frozen_table *t, bool resident)
{
    uint32_t oldest = t->n;
    for (uint32_t i = 0; i < t->n; i++)
        if ((!resident || t->entry[i]->space) &&
            (oldest == t->n || t->entry[i]->used < t->entry[oldest]->used))
            oldest = i;
    return oldest;
}

static void drop(struct frozen_table *t, uint32_t i)
{
    t->parked_bytes -= t->entry[i]->parked_bytes;
    frozen_free(t->entry[i]);
    t->entry[i] = t->entry[--t->n];
}

static void add(struct frozen_table *t, struct frozen *f)
{
    if (t->n == FROZEN_MAX)
        drop(t, oldest(t, false));
    touch(t, f);
    t->entry[t->n++] = f;
}

void frozen_put(struct frozen_table *t, struct sequence *s, uint32_t n_vocab)
{
    struct note why = { "" };
    if (!frozen_applies(s) || !s->keeper->logits || s->cache_no_write || frozen_find(t, s))
        return;
    struct frozen *f = frozen_new(s, keeper_shared(s->keeper));
    if (!f)
        return;
    f->logits = mem_new(n_vocab, sizeof *f->logits);
    if (!f->logits || fork_both(&f->space, &f->excerpt, s->space, s->keeper->excerpt, f->n,
                                s->n_id_max, &why) != OK) {
        frozen_free(f);
        return;
    }
    memcpy(f->logits, s->keeper->logits, n_vocab * sizeof *f->logits);
    add(t, f);
}

/* Whether g goes on where f ends, behind the history that both are of. */
static bool goes_on(const struct frozen *f, const struct frozen *g)
{
    return f->n > f->n_base && f->n <= g->n && f->n_base == g->n_base && f->episode == g->episode &&
           f->n_skip <= g->n_skip && strcmp(f->salt, g->salt) == 0 &&
           strcmp(f->policy, g->policy) == 0 && same_skips(f->skip, g->skip, f->n_skip) &&
           memcmp(f->ids, g->ids, f->n * sizeof *f->ids) == 0;
}

/* Who asks again begins behind the history, who goes on behind the last answer: what lies between is not asked for. */
static void drop_passed(struct frozen_table *t, const struct frozen *by)
{
    for (uint32_t i = t->n; i-- > 0;)
        if (t->entry[i]->skip && goes_on(t->entry[i], by))
            drop(t, i);
}

bool frozen_leave(struct frozen_table *t, struct sequence *s)
{
    const struct keeper *k = s->keeper;
    const bool read = k && k->episodes && k->pruned && !keeper_replays(k) && s->space &&
                      s->n_done >= s->n_prompt && !s->prompt_logprobs;
    struct frozen *f = read ? frozen_new(s, s->n_done) : NULL;
    if (!f)
        return false;
    f->space = s->space;
    f->excerpt = s->keeper->excerpt;
    s->space = NULL;
    s->keeper->excerpt = NULL;
    drop_passed(t, f);
    add(t, f);
    return true;
}

/* ---- parked ---- */

/* False: it may not, or there is no room. */
static bool park(struct frozen_table *t, struct frozen *f)
{
    const size_t bytes = kv_park_bytes(f->excerpt, f->space);
    if (!f->parks || bytes > t->parked_bytes_max - t->parked_bytes ||
        kv_park(&f->parked, f->excerpt, f->space) != OK)
        return false;
    f->space = NULL;
    f->excerpt = NULL;
    f->parked_bytes = bytes;
    t->parked_bytes += bytes;
    t->n_parked++;
    return true;
}

static enum status unpark(struct frozen_table *t, struct frozen *f, struct note *why)
{
    const enum status st = kv_unpark(f->parked, t->spaces, &f->excerpt, &f->space, why);
    if (st != OK)
        return st;
    f->parked = NULL;
    t->parked_bytes -= f->parked_bytes;
    f->parked_bytes = 0;
    t->n_unparked++;
    return OK;
}

enum status frozen_fork(struct frozen_table *t, struct frozen *f, const struct keeper_frame *frame,
                        struct sequence *s, struct note *why)
{
    struct kv_excerpt *excerpt;
    const uint32_t n_position_max = s->n_id_max + REPLAY_ROWS;
    enum status st = f->space ? OK : unpark(t, f, why);
    if (st == OK)
        st = fork_both(&s->space, &excerpt, f->space, f->excerpt, f->n, n_position_max, why);
    if (st != OK)
        return st;
    st = keeper_adopt(s->keeper, frame, excerpt, f->n, why);
    if (st != OK) {
        kv_excerpt_free(excerpt);
        kv_space_free(s->space);
        s->space = NULL;
    }
    return st;
}

/* ---- when blocks are short ---- */

size_t frozen_bytes(const struct frozen_table *t, const struct kv_shape *shape)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct frozen *f = t->entry[i];
        if (!f->space)
            continue;
        const uint32_t n_block = (kv_space_grown(f->space) + KV_BLOCK - 1) / KV_BLOCK;
        bytes += kv_excerpt_bytes(f->excerpt);
        for (uint32_t g = 0; g < shape->n_group; g++)
            bytes += (n_block - kv_space_first(f->space, g)) * kv_block_bytes(shape, g);
    }
    return bytes;
}

bool frozen_evict(struct frozen_table *t)
{
    const uint32_t i = oldest(t, true);
    if (i == t->n)
        return false;
    if (!park(t, t->entry[i]))
        drop(t, i);
    return true;
}

void frozen_close(struct frozen_table *t)
{
    while (t->n > 0)
        drop(t, t->n - 1);
}
