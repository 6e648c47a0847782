/* kv/index.h - sealed blocks by what they hold, so that who needs the same KV takes it instead of computing it.
 *
 *   salt "a" -- [64 ids] -- [64 ids] -- [64 ids]      a node: one block of every group, and the ids
 *                   |            \-- [17 ids]         whose rows it holds; a partial one is shared by
 *                   \-- [64 ids]                      copying its rows
 *   salt "b" -- [64 ids]                              never meets salt "a"
 *
 *   salt "*" -- [64 ids]                              public: what its owners say anybody may take
 *
 * A salt's beginning, up to the first '/', names the tenant: "t-1/x" and "t-1" are two salts of one.
 *
 * A node's key is XXH3-128 of (parent's key, ids); a root's is that of (version, model fingerprint,
 * KV type, salt). Keys find, ids decide: they are compared one by one, so a hit is never a matter
 * of a hash alone. What a sequence sealed is put here at once, so another one shares it while the
 * first still runs.
 *
 * N1  Every node holds its blocks (kv_pool_hold), so they are SEALED and never change.
 * N2  A node with children or pins stays: nodes go from the leaves, the longest unused first.
 * N3  Only exact KV of this process's model and KV type enters.
 * N4  A hit depends on the salt and the ids alone; no salt sees another's nodes. Only the reason of a miss may come
 *     from them (kv_index_elsewhere), and of those KV_MISS_TENANT is never told to whoever asked.
 * N5  Blocks that a window has passed may go while their node stays: they are dropped apart, the
 *     longest unused first. A hit at position n needs only what a query at n sees.
 * N6  A public node holds whole blocks all of whose ids, and those before them, their sequence declared public; only
 *     who declares the same of its own prompt finds it. What follows lies under a salt alone.
 *
 * N7  A mark (kv/mark.h) is of the ids up to its node's end, and goes with the node. All of them take an eighth of the
 *     pool's cap at most, beside it.
 *
 * Lifetime  from start to end; nodes are sized at kv_index_new. A put that finds none free evicts,
 *           or leaves out what it wanted to put.
 * Threads   the engine thread.
 * Cost      a lookup: one hash of 256 bytes a block, and a comparison with each sibling at the end.
 *           An eviction: O(log nodes). */
#ifndef KV_INDEX_H
#define KV_INDEX_H

#include "kv/mark.h"
#include "kv/space.h"

enum { KV_SALT_MAX = 255 }; // bytes
#define KV_SALT_PUBLIC "*"  // of what everybody may take; no tenant's salt begins with it

struct kv_index;
struct kv_node;

/* Why no more of a prompt was found. */
enum kv_miss {
    KV_MISS_NONE,     // all that can be reused was (all positions but the last)
    KV_MISS_COLD,     // nothing under this salt begins like this
    KV_MISS_DIVERGED, // other ids follow here in all that is kept
    KV_MISS_END,      // what is kept ends here: the prompt is longer
    KV_MISS_EVICTED,  // it was here, and went to make room
    KV_MISS_WINDOW,   // the rows that a windowed layer would need went
    KV_MISS_OFF,      // the request asked for no reuse
    KV_MISS_POLICY, // its KV policy has to see more computed: what it would know of it is not here
    KV_MISS_SHORT,  // what is here is less than the least that is worth taking
    KV_MISS_SALT,   // cold, but another salt of the same tenant has it
    KV_MISS_PUBLIC, // cold, but it is public, which the request did not say of its own
    KV_MISS_TENANT, // cold, but another tenant has it: for the operator's eyes only
    KV_MISS_N,
};
const char *kv_miss_name(enum kv_miss m);

/* Why a block went. */
enum kv_evict {
    KV_EVICT_MEMORY,   // to make room for others
    KV_EVICT_WINDOW,   // the same, and no window looked at it any more
    KV_EVICT_NODES,    // the list of what is here was full
    KV_EVICT_REPLACED, // a longer one has its rows too
    KV_EVICT_POLICY,   // its sequence pruned its KV, and nobody else used it
    KV_EVICT_N,
};
const char *kv_evict_name(enum kv_evict why);

/* When a block went, and why. tick 0: it is not known. */
struct kv_gone {
    uint64_t tick, ns; // as kv_index_tick and kv_index_clock said
    enum kv_evict why;
};

enum { KV_INSTEAD_MAX = 16 };

struct kv_hit {
    uint32_t n_position;             // reusable
    enum kv_miss miss;               // why not more
    uint32_t miss_at;                // position at which it ends
    bool of_public;                  // they are public ones (N6)
    struct kv_gone gone;             // KV_MISS_EVICTED, KV_MISS_WINDOW: what is missing there
    int32_t instead[KV_INSTEAD_MAX]; // KV_MISS_DIVERGED: the ids that follow there in what is kept
    uint32_t n_instead;
};

/* Where a sequence stands in the tree: what it put, or took. Zero: nowhere yet. */
struct kv_trail {
    struct kv_node *node; // pinned; NULL: nowhere
    uint32_t n_block;     // full blocks from the root to it
};

struct kv_key {
    uint64_t low, high;
};

struct kv_index_config {
    struct kv_pool *pool;
    struct kv_spaces *spaces;
    struct kv_key model; // what the KV depends on besides the ids: weights, adapters
};

/* Room for as many nodes as blocks of every group fit the pool, and a few more. FULL: no memory. */
must_use enum status kv_index_new(struct kv_index **out, const struct kv_index_config *config,
                                  struct note *why);
void kv_index_free(struct kv_index *x); // every trail must be dropped; NULL is allowed

/* Time for "unused for": the engine's step. And the clock's, for how long blocks live. */
void kv_index_tick(struct kv_index *x, uint64_t tick);
void kv_index_clock(struct kv_index *x, uint64_t now_ns);

/* How much of ids[0..n_id) is here under the salt (a text of up to KV_SALT_MAX bytes), at most n_id - 1
 * positions. Pure. */
struct kv_hit kv_index_find(const struct kv_index *x, const char *salt, const int32_t *ids,
                            uint32_t n_id);

/* Why a prompt that is cold under the salt is: KV_MISS_COLD, or KV_MISS_SALT, KV_MISS_PUBLIC or KV_MISS_TENANT where
 * one of the 64 newest other salts has its beginning, 16 ids or all but the last. Pure. */
enum kv_miss kv_index_elsewhere(const struct kv_index *x, const char *salt, const int32_t *ids,
                                uint32_t n_id);

/* A new space of the positions that kv_index_find promises, and the trail there. NOT_FOUND: none.
 * FULL: no block for a copy, no address space: nothing changed. */
must_use enum status kv_index_take(struct kv_index *x, const char *salt, const int32_t *ids,
                                   uint32_t n_id, struct kv_space **space, struct kv_trail *trail,
                                   struct kv_hit *hit, struct note *why);

/* Puts what the space has sealed since the trail's end: ids[0..committed) are the sequence's. Where
 * the same is here already, the trail goes on over it. */
void kv_index_put(struct kv_index *x, const char *salt, const int32_t *ids, struct kv_space *space,
                  struct kv_trail *trail);

/* The sequence ends here: its partial last block is sealed and put too. Frees the space. */
void kv_index_leave(struct kv_index *x, const char *salt, const int32_t *ids,
                    struct kv_space *space, struct kv_trail *trail);

/* ---- what is public (N6): of ids[0..n_public), whole blocks. 0: nothing. ---- */

struct kv_hit kv_index_find_public(const struct kv_index *x, const int32_t *ids, uint32_t n_id,
                                   uint32_t n_public);
/* As kv_index_take; the trail is that of kv_index_publish. */
must_use enum status kv_index_take_public(struct kv_index *x, const int32_t *ids, uint32_t n_id,
                                          uint32_t n_public, struct kv_space **space,
                                          struct kv_trail *trail, struct kv_hit *hit,
                                          struct note *why);
/* Puts what the space has sealed of them since the trail's end where everybody finds it, besides where its own salt
 * does. */
void kv_index_publish(struct kv_index *x, const int32_t *ids, uint32_t n_public,
                      struct kv_space *space, struct kv_trail *trail);

/* ---- what policies wrote down over a prefix ---- */

/* Whether the trail stands behind n positions, and there is no mark of the kind yet. */
bool kv_index_lacks_mark(const struct kv_trail *trail, enum kv_mark_kind kind, uint32_t n);
size_t kv_index_mark_max(const struct kv_index *x); // bytes of a mark that can be put

/* Puts it where the trail stands, if that is its end and there is room; the index is a holder of its own. */
void kv_index_mark(struct kv_index *x, const struct kv_trail *trail, struct kv_mark *m);

/* The most positions, of those that kv_index_find may promise, at whose end there are marks of all `kinds` (bits 1 <<
 * kind); mark[kind] are those, the index's. 0: nowhere. Pure. */
uint32_t kv_index_marked(const struct kv_index *x, const char *salt, const int32_t *ids,
                         uint32_t n_id, unsigned kinds, struct kv_mark *mark[KV_MARK_N]);

/* Of those positions, how many are here or were here once: whole blocks that another prompt began with, too. Pure. */
uint32_t kv_index_known(const struct kv_index *x, const char *salt, const int32_t *ids,
                        uint32_t n_id);

void kv_index_drop(struct kv_index *x, struct kv_trail *trail); // unpins

/* Unpins, and lets go of the nodes behind the first n_block that nobody else stands at or behind: the sequence pruned
 * its KV, and what it put is to give its memory back. */
void kv_index_forget(struct kv_index *x, struct kv_trail *trail, uint32_t n_block);

/* Lets the longest unused go: one node, or one node's passed window blocks. False: there is none
 * that would free memory. */
bool kv_index_evict(struct kv_index *x);
size_t kv_index_idle_bytes(const struct kv_index *x); // that evicting would free. Cost  O(nodes)

/* Times in seconds: [i] of up to kv_time_bound[i] (and above the one before), the last of all above. */
enum { KV_TIME_BUCKETS = 16 };
extern const double kv_time_bound[KV_TIME_BUCKETS - 1];
struct kv_times {
    uint64_t n[KV_TIME_BUCKETS];
    double sum;
};

struct kv_index_stats {
    uint32_t n_node, n_salt;
    uint64_t n_evicted, n_window_dropped, n_crowded,
        n_pruned;                   // by enum kv_evict: MEMORY, WINDOW, NODES, POLICY
    struct kv_times lifetime, idle; // of nodes that went: since they were put, since their last use
    struct kv_times reuse_gap;      // from one use of a node to the next
    uint64_t n_put, n_put_twice;    // nodes made; blocks that were here already
    uint32_t n_mark;
    size_t mark_bytes; // of the process
};
void kv_index_stats(const struct kv_index *x, struct kv_index_stats *out);

/* A node as a walk shows it: a root (n_id 0), or what lies under the root that was shown before. */
struct kv_index_seen {
    uint32_t name;         // the same as long as the node lives
    uint32_t depth;        // 0: a root; 1: its children
    const char *salt;      // a root's
    uint32_t n_id, n_pin;  // rows; sequences whose trail ends here
    const int32_t *id;     // [n_id]
    uint64_t used;         // tick of its last use
    const block_id *block; // [groups] KV_NO_BLOCK: a windowed group's that went
};
typedef void kv_index_visit(void *arg, const struct kv_index_seen *seen);

/* Shows every node, parents before their children. Cost  O(nodes). */
void kv_index_walk(const struct kv_index *x, kv_index_visit *visit, void *arg);
uint32_t kv_index_node_max(const struct kv_index *x); // most nodes there can be, roots included

void kv_index_check(const struct kv_index *x); // N1, N2 and the lists, for tests: aborts

#endif
