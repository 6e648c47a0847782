/* api/holdings.h - the blocks of KV memory by who holds them and in which state, for /metrics.
 *
 *   snapshot's block --salt--> tenant --name--> a row      (as many rows as configured names: no request can add one)
 *
 * Lifetime  opened over a snapshot, which may go then. Threads  one at a time. */
#ifndef API_HOLDINGS_H
#define API_HOLDINGS_H

#include <stdbool.h>

#include "akvifer.h"

struct api;

enum { HOLDINGS_STATES = AKV_BLOCK_IDLE + 1 };
#define TENANT_PUBLIC "public" // the row of what everybody may share

struct holding {
    const char *tenant; // its name; the api's
    uint32_t n_block[HOLDINGS_STATES];
};

struct holdings {
    struct holding *row; // [n_row]
    uint32_t n_row;
    size_t bytes[HOLDINGS_STATES]; // of all tenants; FREE: those of the cap that nobody holds
    size_t kept_bytes;             // rows that KV policies kept, in blocks of their own
};

/* False: no memory. */
bool holdings_open(struct holdings *h, const struct api *a, const struct akv_snapshot *s,
                   const struct akv_stats *stats);
void holdings_close(struct holdings *h);

#endif
