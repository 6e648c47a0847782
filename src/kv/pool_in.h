/* kv/pool_in.h - the pool from the inside. Private to pool.c (who holds what), pool_open.c (birth and death) and
 * populator.c (memory ahead of use).
 *
 * Two accounts, kept apart: `state` says who may use a block, `memory` whether there is any behind
 * it.
 *
 *     set `bare`                                           set `ready`
 *     FREE, NONE --fill--> FILLING, PROMISED ------------> FREE, THERE --take--> OPEN, THERE ->
 *     SEALED, THERE
 *         |                                                    |                     ^
 *         +---keep---> KEPT, PROMISED --back--> KEPT, THERE <--+-- take_kept --------+
 *
 * A FREE block that a space still maps is in no set (P6). */
#ifndef KV_POOL_IN_H
#define KV_POOL_IN_H

#include <pthread.h>

#include "kv/block_set.h"
#include "kv/pool.h"

/* What a block is to the pool. FREE blocks are in one of two sets, but for those that a space still
 * maps; FILLING and KEPT ones are free to the accounts and out of everybody's reach. */
enum state { FREE, FILLING, KEPT, OPEN, SEALED };

/* PROMISED memory is counted in bytes_backed already, so that P4 holds while the system still looks
 * for it. */
enum memory { NONE, PROMISED, THERE };

struct kv_pool_block {
    uint32_t holders;
    uint32_t n_map; // mappings in spaces
    uint8_t state;
    uint8_t memory;
    bool shown; // in the page tables of the pool's own mapping
};

/* Blocks in the file order, and the memory behind them. */
struct pool_class {
    size_t block_bytes;
    uint32_t n_block;
    int fd;
    char *base; // the whole file, writable
    struct kv_pool_block *block;
    struct block_set ready; // FREE, backed, mapped nowhere
    struct block_set bare;  // FREE, without memory
    uint32_t n_held;
    uint32_t n_backed; // with memory, or the promise of it
};

struct kv_pool {
    struct kv_shape shape;
    uint32_t n_class;
    size_t bytes_max, bytes_backed, bytes_held;
    struct pool_class class[KV_CLASS_MAX];
    kv_let_go *let_go;
    void *let_go_arg;

    pthread_mutex_t lock;   // sets, states of blocks nobody holds, bytes_backed
    pthread_cond_t filled;  // a FILLING block became FREE
    pthread_cond_t drained; // there may be something to populate, or the pool ends
    pthread_t populator;
    bool populate, populator_runs, populator_idle, huge_pages, stop;
    size_t populate_ahead;
    uint32_t n_filling;
};

/* Whether one more block of the class may have memory. */
bool pool_has_room(const struct kv_pool *p, const struct pool_class *g);

/* Puts a block that nobody holds where a take finds it; one that is mapped still waits (P6). Under
 * the lock. */
void pool_make_free(struct kv_pool *p, struct pool_class *g, uint32_t i);

/* Takes the memory of a free block of the class away. False: the system refuses. Under the lock. */
bool pool_punch(struct kv_pool *p, struct pool_class *g);

/* Gives block i, which is in no set, its memory; the lock is dropped meanwhile. FULL:
 * pool_make_free undoes it. */
enum status pool_fill(struct kv_pool *p, struct pool_class *g, uint32_t i);

/* ---- populator.c ---- */

must_use enum status populator_start(struct kv_pool *p, struct note *why);
void populator_stop(struct kv_pool *p); // also one that was never started
void populator_wake(struct kv_pool *p); // a block was taken. Under the lock

#endif
