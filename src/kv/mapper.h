/* kv/mapper.h - the thread that maps blocks ahead of use, and takes mappings away behind it.
 *
 *   engine --post--> [ map | map ]          first: a sequence will soon write there
 *                    [ unmap | unmap ]  --> mapper thread --> [ done | done ] --collect--> engine
 *
 * M1  The mapper knows addresses and blocks, not sequences: a job says all, and belongs to the
 *     mapper between post and collect (or a cancel that answers true).
 * M2  Map jobs run before unmap jobs; among each kind in order. An unmap job that the system
 *     refuses is tried again every millisecond until it is granted: its blocks stay out of use
 *     meanwhile (P6). A map job that is refused ends FULL, with some of its pieces mapped: unmap
 *     them all.
 * M3  Nobody waits without a bound: after REFUSALS_MAX refusals in a row, and nothing else to do,
 *     waiting ends, and what is refused is collected whenever it is done.
 *
 * Jobs live in what posts them, so posting allocates nothing and cannot fail.
 * Lifetime  that of kv_spaces. Threads  the engine thread calls, the mapper thread works. */
#ifndef KV_MAPPER_H
#define KV_MAPPER_H

#include "base/note.h"
#include "kv/pool.h"
#include "os/vm.h"

enum { MAP_PIECES = 8 };

enum map_kind { MAP_AHEAD, MAP_AWAY };
enum map_state { MAP_IDLE, MAP_QUEUED, MAP_RUNNING, MAP_DONE };

/* Blocks [from, to) of one group of the space. */
struct map_piece {
    char *at;
    size_t bytes;
    block_id block; // the first; the others follow it in the file (MAP_AHEAD)
    uint32_t group, from, to;
};

struct map_job {
    enum map_kind kind;
    uint32_t n_piece;
    struct map_piece piece[MAP_PIECES];
    void *owner;
    bool posted; // and not yet collected
    /* the mapper's, under its lock */
    struct map_job *next;
    enum map_state state;
    enum status result; // of a MAP_AHEAD job
};

struct mapper;

must_use enum status mapper_new(struct mapper **out, struct kv_pool *pool, struct note *why);
void mapper_free(struct mapper *m); // nothing may be queued

/* For the end, when the addresses are about to go as a whole: whatever is still refused counts as
 * done, and is collected. */
void mapper_give_up(struct mapper *m);

void mapper_post(struct mapper *m, struct map_job *job);
bool mapper_cancel(struct mapper *m,
                   struct map_job *job); // true: it never ran, and is the caller's again

/* Takes an unmap job back, if need be after its run; true: it was refused, or never ran, and is the
 * caller's again. False: it is done. */
bool mapper_recall(struct mapper *m, struct map_job *job);

/* Until it is done (not yet collected); false: the system keeps refusing (M3). */
bool mapper_wait(struct mapper *m, const struct map_job *job);

/* Until one is done; false: there is none, or none but what the system keeps refusing (M3). */
bool mapper_await_any(struct mapper *m);

struct map_job *
mapper_collect(struct mapper *m); // the job done first, the caller's again; NULL: none is

/* Maps a piece in the calling thread; its blocks have memory. Populated where it is writable: a
 * write faults page by page, 4 times dearer. Read-only pieces are mapped by who reads them first,
 * 16 pages a fault, which costs no more than populating and leaves the engine thread alone: a
 * prefix hit of 2,048 positions takes it microseconds. */
must_use enum status map_piece(struct kv_pool *pool, const struct map_piece *piece,
                               enum vm_access access);

#endif
