/* engine/snapshot.h - a picture of every block, node and sequence, while none of them changes.
 *
 *   looker: snapshot_new -> engine_look: holds the tables, copies index, then sequences -> read at leisure -+
 *                              ^                                                                             |
 *                              +-----------------------------------------------------------------------------+
 *
 * G1  It is of one moment: the tables are held while it is taken. They are free while a pass computes, so that no
 *     looker waits for a step.
 * G2  Nobody looks: it costs nothing.
 *
 * Lifetime  made by who looks, used again for every look. Threads  one at a time.
 * Cost      140 us for 16,384 blocks and 4,800 nodes. */
#ifndef ENGINE_SNAPSHOT_H
#define ENGINE_SNAPSHOT_H

#include "base/buf.h"
#include "engine/engine.h"

struct snapshot {
    struct akv_snapshot seen; // points into what follows
    struct akv_block *block;  // [n_block_all]
    struct akv_node *node;    // [n_node_max]
    struct akv_sequence *sequence;
    const char **salt;
    size_t *salt_at; // in `salts`, while that grows
    uint32_t n_block_all, n_node_max, n_sequence_max, n_salt_max;
    uint32_t public_salt; // what everybody may share lies under it; AKV_NOWHERE: nothing does
    struct buf salts;
};

must_use enum status snapshot_new(struct snapshot **out, const struct engine *e, struct note *why);
void snapshot_free(struct snapshot *s);

/* FULL: no memory for the salts. */
must_use enum status engine_look(struct engine *e, struct snapshot *into);

#endif
