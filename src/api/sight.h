/* api/sight.h - a snapshot as one tenant may see it, in JSON.
 *
 *   akv_snapshot --[whose salt begins with the tenant's?]--> its own: ids, texts, numbers
 *                                                        \-> others': that a block is held, and no more
 *
 * V1  Of what belongs to others nothing leaves but the state of a block and how many sequences run or wait.
 *
 * A salt on the wire is an `owner`: a number made of it, 0 for somebody else's.
 * Lifetime  of its snapshot's content.  Threads  one at a time. */
#ifndef API_SIGHT_H
#define API_SIGHT_H

#include "akvifer.h"
#include "api/recent.h"
#include "base/buf.h"

/* A block as it was told last. */
struct cell {
    uint8_t state;
    uint32_t owner, n_sequence, node;
    uint64_t sequence, used_step;
};

struct sight {
    const struct akv_snapshot *s;
    const akv_model *model;
    const char *tenant;
    uint32_t *owner;    // [s->n_salt]
    uint32_t everybody; // the owner of what is public
};

/* What the server itself counts. */
struct sight_totals {
    struct akv_stats stats;
    double inter_token_p50_ms, inter_token_p99_ms; // since the last look; 0: no token
    uint64_t time_ms;                              // since 1970
};

/* False: no memory. */
bool sight_open(struct sight *v, const struct akv_snapshot *s, const akv_model *model,
                const char *tenant);
void sight_close(struct sight *v);

bool sight_is_own(const char *tenant, const char *salt);
uint32_t sight_n_block(const struct akv_snapshot *s); // of all groups

/* ,"owner": ..., "salt": what the tenant called it, without the key's part. */
void sight_add_owner(const struct sight *v, uint32_t salt, struct buf *out);

/* The blocks that differ from told [sight_n_block], which then holds them; `whole` says that told was empty.
 * Returns how many there are; where none are, nothing is written. */
uint32_t sight_map(const struct sight *v, struct cell *told, bool whole, struct buf *out);
void sight_sequences(const struct sight *v, const struct sight_totals *t, struct buf *out);
void sight_tree(const struct sight *v, struct buf *out);

/* The tenant's requests behind number `after`, oldest first. */
void sight_requests(struct recent *r, const char *tenant, uint64_t after, struct buf *out);

/* Which rows of a running sequence are there, by layer and position. */
void sight_rows(const struct akv_rows *r, uint64_t id, struct buf *out);

#endif
