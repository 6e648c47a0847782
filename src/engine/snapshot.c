#include "engine/snapshot.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine_in.h"

/* ---- birth and death ---- */

static void shape_of(struct akv_snapshot *s, const struct engine *e)
{
    const struct kv_shape *shape = &e->limits.shape;
    _Static_assert(sizeof s->group / sizeof *s->group >= KV_GROUP_MAX, "room for all groups");
    _Static_assert((int)AKV_BLOCK_TOKENS == (int)KV_BLOCK, "a block has as many tokens outside");
    s->n_group = shape->n_group;
    for (uint32_t g = 0; g < shape->n_group; g++) {
        const size_t bytes = kv_block_bytes(shape, g);
        s->group[g].block_bytes = bytes;
        s->group[g].n_block = (uint32_t)(e->limits.kv_bytes / bytes);
        s->group[g].n_layer = shape->group[g].n_layer;
        s->group[g].window = shape->group[g].window;
    }
}

enum status snapshot_new(struct snapshot **out, const struct engine *e, struct note *why)
{
    struct snapshot *s = mem_new(1, sizeof *s);
    if (!s)
        goto full;
    shape_of(&s->seen, e);
    for (uint32_t g = 0; g < s->seen.n_group; g++)
        s->n_block_all += s->seen.group[g].n_block;
    s->n_node_max = kv_index_node_max(e->index);
    s->n_sequence_max = e->n_inside_max;
    s->n_salt_max = s->n_node_max + s->n_sequence_max + FROZEN_MAX + TAPPED_MAX;
    s->block = mem_new(s->n_block_all, sizeof *s->block);
    s->node = mem_new(s->n_node_max, sizeof *s->node);
    s->sequence = mem_new(s->n_sequence_max, sizeof *s->sequence);
    s->salt = mem_new(s->n_salt_max, sizeof *s->salt);
    s->salt_at = mem_new(s->n_salt_max, sizeof *s->salt_at);
    if (!s->block || !s->node || !s->sequence || !s->salt || !s->salt_at)
        goto full;
    *out = s;
    return OK;
full:
    note_set(why, "no memory for a snapshot");
    snapshot_free(s);
    return FULL;
}

void snapshot_free(struct snapshot *s)
{
    if (!s)
        return;
    mem_free(s->block);
    mem_free(s->node);
    mem_free(s->sequence);
    mem_free(s->salt);
    mem_free(s->salt_at);
    buf_close(&s->salts);
    mem_free(s);
}

/* ---- what is copied ---- */

static uint32_t add_salt(struct snapshot *s, const char *salt)
{
    const uint32_t i = s->seen.n_salt++;
    assert(i < s->n_salt_max);
    s->salt_at[i] = s->salts.len;
    buf_add(&s->salts, salt, strlen(salt) + 1);
    return i;
}

static struct akv_block *block_of(struct snapshot *s, block_id b)
{
    uint32_t first = 0;
    for (uint32_t g = 0; g < kv_block_class(b); g++)
        first += s->seen.group[g].n_block;
    return &s->block[first + kv_block_index(b)];
}

static void add_node(void *arg, const struct kv_index_seen *seen)
{
    struct snapshot *s = arg;
    if (seen->depth == 0) {
        const uint32_t root = add_salt(s, seen->salt);
        if (strcmp(seen->salt, KV_SALT_PUBLIC) == 0)
            s->public_salt = root;
        return;
    }
    const uint32_t salt = s->seen.n_salt - 1;
    struct akv_node *n = &s->node[s->seen.n_node++];
    n->name = seen->name;
    n->depth = seen->depth;
    n->salt = salt;
    n->n_id = seen->n_id;
    n->n_sequence = seen->n_pin;
    n->used_step = seen->used;
    memcpy(n->ids, seen->id, seen->n_id * sizeof *n->ids);
    for (uint32_t g = 0; g < s->seen.n_group; g++) {
        if (seen->block[g].n == KV_NO_BLOCK.n)
            continue;
        struct akv_block *block = block_of(s, seen->block[g]);
        if (block->state != AKV_BLOCK_FREE && block->salt == s->public_salt)
            continue; /* public it is, whoever has it too */
        *block = (struct akv_block){
            .state = AKV_BLOCK_IDLE,
            .salt = salt,
            .node = seen->name,
            .used_step = seen->used,
        };
    }
}

/* Blocks of a context or an episode that is kept for others: in no tree, unless they are that too. */
static void add_context(struct snapshot *s, const struct kv_space *space, const char *text,
                        uint64_t used_step)
{
    const uint32_t n = (kv_space_grown(space) + KV_BLOCK - 1) / KV_BLOCK, salt = add_salt(s, text);
    for (uint32_t g = 0; g < s->seen.n_group; g++) {
        for (uint32_t i = kv_space_first(space, g); i < n; i++) {
            struct akv_block *block = block_of(s, kv_space_block(space, g, i));
            if (block->state == AKV_BLOCK_FREE)
                *block = (struct akv_block){
                    .state = AKV_BLOCK_IDLE,
                    .salt = salt,
                    .node = AKV_NOWHERE,
                    .used_step = used_step,
                };
        }
    }
}

static void add_contexts(struct snapshot *s, const struct engine *e)
{
    for (uint32_t i = 0; i < e->frozen.n; i++) {
        const struct frozen *f = e->frozen.entry[i];
        if (f->space) /* else it is parked */
            add_context(s, f->space, f->salt, f->used_step);
    }
    for (uint32_t i = 0; i < e->tapped.n; i++) {
        const struct tapped *t = e->tapped.entry[i];
        add_context(s, t->space, t->salt, t->used_step);
    }
}

/* A block that a running sequence has: its own to write, or one that it shares. */
static void mark_block(struct snapshot *s, const struct engine *e, block_id b, uint64_t id,
                       uint32_t salt)
{
    struct akv_block *block = block_of(s, b);
    if (block->state == AKV_BLOCK_FREE) {
        block->salt = salt;
        block->node = AKV_NOWHERE;
    }
    block->state = kv_pool_is_sealed(e->pool, b) ? AKV_BLOCK_SEALED : AKV_BLOCK_OPEN;
    block->used_step = e->step;
    if (block->n_sequence++ == 0)
        block->sequence = id; /* they come oldest first */
}

static uint32_t mark_blocks(struct snapshot *s, const struct engine *e, const struct sequence *q,
                            uint32_t salt)
{
    const uint32_t n = (kv_space_grown(q->space) + KV_BLOCK - 1) / KV_BLOCK;
    uint32_t count = 0;
    for (uint32_t g = 0; g < s->seen.n_group; g++) {
        for (uint32_t i = kv_space_first(q->space, g); i < n; i++, count++)
            mark_block(s, e, kv_space_block(q->space, g, i), q->id, salt);
    }
    return count;
}

static void add_sequence(struct snapshot *s, const struct engine *e, const struct sequence *q,
                         uint64_t now)
{
    const uint32_t salt = add_salt(s, q->salt);
    s->sequence[s->seen.n_sequence++] = (struct akv_sequence){
        .id = q->id,
        .salt = salt,
        .phase = !q->space                 ? AKV_PHASE_WAITING
                 : q->n_done < q->n_prompt ? AKV_PHASE_PROMPT
                                           : AKV_PHASE_ANSWER,
        .n_prompt = q->n_prompt,
        .n_cached = q->n_cached,
        .n_done = q->n_done,
        .n_generated = q->n_id - q->n_prompt,
        .n_block = q->space ? mark_blocks(s, e, q, salt) : 0,
        .age_ns = now - q->submit_ns,
        .policy = q->keeper ? q->keeper->choice.policy->name : "full",
    };
}

static void take(struct snapshot *s, const struct engine *e)
{
    const uint64_t now = os_now_ns();
    memset(s->block, 0, s->n_block_all * sizeof *s->block);
    buf_clear(&s->salts);
    s->seen.n_node = s->seen.n_sequence = s->seen.n_salt = 0;
    s->seen.step = e->step;
    s->public_salt = AKV_NOWHERE;
    kv_index_walk(e->index, add_node, s);
    add_contexts(s, e);
    for (uint32_t i = 0; i < e->n_running; i++)
        add_sequence(s, e, e->running[i], now);
    for (const struct sequence *q = e->waiting.first; q; q = q->next)
        add_sequence(s, e, q, now);
    for (uint32_t i = 0; i < s->seen.n_salt && !s->salts.failed; i++)
        s->salt[i] = s->salts.bytes + s->salt_at[i];
    s->seen.block = s->block;
    s->seen.node = s->node;
    s->seen.sequence = s->sequence;
    s->seen.salt = s->salt;
}

enum status engine_look(struct engine *e, struct snapshot *into)
{
    tables_look(&e->tables);
    take(into, e);
    tables_looked(&e->tables);
    return into->salts.failed ? FULL : OK;
}
