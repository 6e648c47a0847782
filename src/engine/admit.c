/* What a waiting sequence can begin with, whom it waits for, whether it has room, and who starts. */
#include <string.h>

#include "engine/engine_in.h"

enum { WORTH_WAITING = 16 }; // rows of another sequence that are worth a step's delay

/* ---- what is there already ---- */

/* How many ids they begin with are the same. */
static uint32_t same_ids(const struct sequence *a, const struct sequence *b)
{
    const uint32_t n = a->n_id < b->n_id ? a->n_id : b->n_id;
    uint32_t i = 0;
    while (i < n && a->ids[i] == b->ids[i])
        i++;
    return i;
}

/* Positions that both say everybody may share. */
static uint32_t both_public(const struct sequence *a, const struct sequence *b)
{
    return a->n_public < b->n_public ? a->n_public : b->n_public;
}

/* Positions that s, which has still to start, may take from a running one, now or when those are computed: at most all
 * but its last, whose row gives the next token, and of another salt only what is public. */
static uint32_t shares_with(const struct sequence *s, const struct sequence *running)
{
    const uint32_t all = sequence_reusable(s);
    const uint32_t most = strcmp(running->salt, s->salt) == 0 ? all : both_public(s, running);
    const uint32_t exact = sequence_n_exact(running);
    if (s->cache_no_read || running->cache_no_write || exact == 0 || most == 0)
        return 0;
    const uint32_t same = same_ids(running, s), n = same < exact ? same : exact;
    const uint32_t end = all < most ? all : most;
    return n < end ? n : end;
}

/* The running sequence that has computed most of what s shares with it: positions [0, *n). NULL: none has any. */
static struct sequence *parent_of(const struct engine *e, const struct sequence *s, uint32_t *n)
{
    struct sequence *parent = NULL;
    *n = 0;
    if (s->keeper && keeper_mark_kinds(s->keeper))
        return NULL; /* what that one's policy knows, it knows of all that it has read */
    for (uint32_t i = 0; i < e->n_running; i++) {
        struct sequence *r = e->running[i];
        const uint32_t shared = shares_with(s, r), done = shared < r->n_done ? shared : r->n_done;
        if (done > *n) {
            parent = r;
            *n = done;
        }
    }
    return parent;
}

/* Positions of s that need not be computed: kept in the index, or a running sequence's. */
static uint32_t reusable(const struct engine *e, const struct sequence *s)
{
    uint32_t of_running;
    const uint32_t kept = engine_kept(e, s).n_position;
    parent_of(e, s, &of_running);
    const uint32_t n = kept > of_running ? kept : of_running;
    return n >= e->limits.n_cache_min ? n : 0;
}

/* ---- room ---- */

/* Bytes that blocks shared by a hit of so many positions need not take again. Windowed groups count for nothing: what
 * they share is small. */
static size_t shared_bytes(const struct kv_shape *shape, uint32_t n_position)
{
    size_t bytes = 0;
    for (uint32_t g = 0; g < shape->n_group; g++) {
        if (!shape->group[g].window)
            bytes += n_position / KV_BLOCK * kv_block_bytes(shape, g);
    }
    return bytes;
}

/* Whether all that the sequence has to read would fit beside one more block for each that runs, if `idle` bytes more
 * were free. */
static bool has_room(const struct engine *e, const struct sequence *s, uint32_t n_hit, size_t idle)
{
    const struct kv_shape *shape = &e->limits.shape;
    struct kv_pool_usage kv;
    size_t block = 0;
    for (uint32_t g = 0; g < shape->n_group; g++)
        block += kv_block_bytes(shape, g);
    kv_pool_usage(e->pool, &kv);
    const size_t need = s->keeper
                            ? keeper_bytes(s->keeper, &e->keeping, s->n_id, e->limits.n_ubatch)
                            : kv_sequence_bytes(shape, s->n_id, e->limits.n_ubatch);
    return need + e->n_running * block <=
           kv.bytes_max - kv.bytes_held + idle + shared_bytes(shape, n_hit);
}

/* Positions whose blocks it would share. */
static uint32_t begins_behind(struct engine *e, const struct sequence *s)
{
    const struct tapped *t = tapped_find(&e->tapped, s);
    return t ? t->n : reusable(e, s);
}

/* What nobody runs with, and can go. */
static size_t idle_bytes(const struct engine *e)
{
    const struct kv_shape *shape = &e->limits.shape;
    return kv_index_idle_bytes(e->index) + frozen_bytes(&e->frozen, shape) +
           tapped_bytes(&e->tapped, shape);
}

/* Evicts until the sequence has room. False: it would only be paused again, those that run go on. */
static bool make_room(struct engine *e, const struct sequence *s)
{
    if (e->n_running == 0)
        return true; /* alone it fits: L1 */
    if (has_room(e, s, begins_behind(e, s), 0))
        return true;
    if (!has_room(e, s, 0, idle_bytes(e)))
        return false;
    while (!has_room(e, s, begins_behind(e, s), 0)) {
        if (!engine_evict(e))
            return false;
    }
    return true;
}

/* ---- who starts ---- */

/* Whether the one that it waits for is still on its way there. */
static bool still_waits(const struct engine *e, const struct sequence *s)
{
    for (uint32_t i = 0; i < e->n_running && s->wait_until; i++) {
        const struct sequence *r = e->running[i];
        if (r->id == s->wait_for)
            return r->n_done < s->wait_until;
    }
    return false;
}

/* One that runs and is on its way to what s could begin with, as `same` says. */
static const struct sequence *on_the_way(const struct engine *e, const struct sequence *s,
                                         bool (*same)(const struct sequence *running,
                                                      const struct sequence *s))
{
    for (uint32_t i = 0; i < e->n_running; i++) {
        const struct sequence *r = e->running[i];
        if (same(r, s) && keeper_is_before_shared(r->keeper, r->n_done))
            return r;
    }
    return NULL;
}

/* Whether one that runs is on its way to the context that this one could begin with: pruned, or read for both. */
static bool waits_for_context(struct engine *e, struct sequence *s)
{
    if (frozen_find(&e->frozen, s))
        return false;
    const struct sequence *r = on_the_way(e, s, frozen_same);
    if (!r && !tapped_find(&e->tapped, s))
        r = on_the_way(e, s, tapped_same);
    if (!r)
        return false;
    s->wait_for = r->id;
    s->wait_until = keeper_shared(r->keeper);
    return true;
}

/* Of n positions that they share, how many s will be able to take when the running one has computed them: where a policy
 * has to know what it would have seen, that one is asked to put it aside. */
static uint32_t ask_to_share(const struct engine *e, const struct sequence *s,
                             struct sequence *running, uint32_t n)
{
    const unsigned kinds = s->keeper ? keeper_mark_kinds(s->keeper) : 0;
    if (!kinds)
        return n;
    const bool same =
        running->keeper && (keeper_mark_kinds(running->keeper) & kinds) == kinds &&
        keeper_mark_bytes(running->keeper, &e->keeping, n) <= kv_index_mark_max(e->index);
    return same ? keeper_ask_mark(running->keeper, running->n_done, n) : 0;
}

/* Whether a running sequence is about to compute rows that this one shares and that are not there yet, enough of them:
 * then it waits, and takes them. Of eight agents with one long prompt, one computes it. Who waits does so for one that
 * runs, and no longer than that one runs: there is no circle. */
static bool waits_for_prefix(struct engine *e, struct sequence *s)
{
    if (still_waits(e, s))
        return true;
    s->wait_until = 0;
    if (waits_for_context(e, s))
        return true;
    if (s->cache_no_read || e->n_running == 0)
        return false;
    const uint32_t there = reusable(e, s);
    for (uint32_t i = 0; i < e->n_running; i++) {
        struct sequence *r = e->running[i];
        const uint32_t shared = shares_with(s, r);
        if (r->n_done >= shared || shared < there + WORTH_WAITING)
            continue;
        const uint32_t n = ask_to_share(e, s, r, shared);
        if (n >= there + WORTH_WAITING) {
            s->wait_for = r->id;
            s->wait_until = n;
            return true;
        }
    }
    return false;
}

/* Shares the first n positions of a running sequence, its open block's rows too. NOT_FOUND: its window has passed what
 * they need. */
static enum status fork_running(struct sequence *s, struct sequence *parent, uint32_t n,
                                struct note *why)
{
    const enum status st = kv_space_fork(&s->space, parent->space, n, why);
    if (st != OK)
        return st;
    const bool same_salt = strcmp(parent->salt, s->salt) == 0;
    s->hit = (struct kv_hit){ .n_position = n, .miss_at = n, .miss = KV_MISS_END };
    s->hit.of_public = !same_salt;
    if (n + 1 == s->n_id)
        s->hit.miss = KV_MISS_NONE;
    else if (n < parent->n_id && same_salt)
        s->hit.miss = KV_MISS_DIVERGED;
    return OK;
}

/* Begins behind its context, with what another of the same pruned. NOT_FOUND: there is none. */
static enum status take_frozen(struct engine *e, struct sequence *s, struct note *why)
{
    struct frozen *f = frozen_find(&e->frozen, s);
    if (!f)
        return NOT_FOUND;
    const enum status st = frozen_fork(&e->frozen, f, &e->keeping, s, why);
    if (st != OK)
        return st;
    s->hit = (struct kv_hit){ .n_position = f->n, .miss = KV_MISS_POLICY, .miss_at = f->n };
    s->n_done = f->n;
    if (s->prompt_logprobs && s->n_posted < s->n_done)
        engine_post_forked(e, s, f->logits);
    return OK;
}

/* Begins behind its context, which another has read for it. NOT_FOUND: none has. */
static enum status take_tapped(struct engine *e, struct sequence *s, struct note *why)
{
    const struct tapped *t = tapped_find(&e->tapped, s);
    if (!t)
        return NOT_FOUND;
    const enum status st = tapped_begin(t, &e->keeping, s, model_hparams(e->model)->n_vocab, why);
    if (st != OK)
        return st;
    s->hit = (struct kv_hit){ .n_position = t->n, .miss = KV_MISS_POLICY, .miss_at = t->n };
    s->n_done = t->n;
    if (s->prompt_logprobs && s->n_posted < s->n_done)
        engine_post_forked(e, s, t->logits);
    return OK;
}

/* Its space, with as much of its KV as is there already. FULL: none now. */
static enum status take_space(struct engine *e, struct sequence *s, struct note *why)
{
    uint32_t n;
    struct sequence *parent = parent_of(e, s, &n);
    enum status st = take_frozen(e, s, why);
    if (st == NOT_FOUND)
        st = take_tapped(e, s, why);
    if (st != NOT_FOUND)
        return st;
    if (s->keeper && !s->start_ns)
        engine_know(e, s);
    s->hit = engine_kept(e, s);
    const bool forks = parent && n > s->hit.n_position, enough = reusable(e, s) > 0;
    if (s->hit.miss == KV_MISS_COLD && !forks)
        s->hit.miss = kv_index_elsewhere(e->index, s->salt, s->ids, s->n_id);
    if (!enough && (forks || s->hit.n_position > 0))
        s->hit = (struct kv_hit){ .miss = KV_MISS_SHORT };
    if (forks && enough)
        st = fork_running(s, parent, n, why);
    if (st == NOT_FOUND && s->hit.n_position > 0)
        st = engine_take_kept(e, s, why);
    if (st == OK)
        s->n_done = s->hit.n_position;
    if (st == NOT_FOUND)
        st = kv_space_new(&s->space, e->spaces, why);
    if (st == OK && s->keeper && keeper_begin(s->keeper, &e->keeping, why) != OK) {
        kv_index_drop(e->index, &s->trail);
        kv_index_drop(e->index, &s->public_trail);
        kv_space_free(s->space);
        s->space = NULL;
        s->n_done = 0;
        st = FULL;
    }
    if (st == OK && s->keeper) {
        keeper_pass_marks(s->keeper, s->n_done);
        engine_recall(e, s);
        if (!s->cache_no_write)
            keeper_ask_mark(s->keeper, s->n_done, s->n_known);
    }
    return st;
}

/* FULL: no memory for it now; the note says what lacks. */
static enum status start(struct engine *e, struct sequence *s, struct note *why)
{
    if (!make_room(e, s))
        return FULL;
    while (take_space(e, s, why) != OK) {
        if (!engine_evict(e))
            return FULL;
    }
    if (!s->start_ns) { /* not one that was paused */
        s->start_ns = engine_now(e);
        s->n_cached = s->n_done;
        s->cached_public = s->hit.of_public;
        s->evicted = engine_evicted(e, &s->hit);
        e->n_token_cached += s->n_cached;
    }
    e->running[e->n_running++] = s;
    return OK;
}

/* Oldest first; one that waits for a prefix lets others pass, one without room does not. */
void engine_start_waiting(struct engine *e)
{
    struct note why = { "" };
    struct sequence *before = NULL, *next;
    for (struct sequence *s = e->waiting.first; s && e->n_running < e->limits.n_parallel;
         s = next) {
        next = s->next;
        if (waits_for_prefix(e, s)) {
            before = s;
            continue;
        }
        if (start(e, s, &why) == OK) {
            queue_take(&e->waiting, before, s);
            continue;
        }
        if (e->n_running == 0) { /* nobody will give anything back */
            queue_take(&e->waiting, before, s);
            engine_finish(e, s, AKV_STOP_ERROR, FULL, why.text);
        }
        return;
    }
}
