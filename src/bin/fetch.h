/* bin/fetch.h - downloads over http(s), by libcurl.
 *
 *   fetch_file:  PATH (what has arrived)  +  PATH.tag (which version of the remote file that is)
 *
 *                  absent --start--> growing --all there--> OK, tag removed
 *                                    ^     |
 *                                    +-----+ cut off: asks for the rest (If-Range: same version)
 *
 * D1  PATH never mixes two versions: when the remote file changed, or cannot be asked for a
 *     version, it starts over.
 * D2  One process at a time writes PATH (flock).
 * D3  A refused answer (404 ...) leaves PATH as it was. Lost connections and 5xx are tried again,
 *     with growing waits.
 *
 * Threads  one at a time. */
#ifndef BIN_FETCH_H
#define BIN_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

struct fetch {
    const char *url;
    const char *ca_file; // certificates to trust; NULL: the system's
    const char *label;   // of the progress line; NULL: none is drawn
    unsigned n_retry;    // after the first try
    unsigned wait_ms;    // before the first retry; doubled for each
};

/* Puts all of the remote file into `path`, going on where an earlier call was cut off. NOT_FOUND:
 * the server says 404 or 410. IO_ERROR: it cannot be reached, refuses, or the disk does. FULL:
 * another process is fetching to `path`. */
must_use enum status fetch_file(const struct fetch *f, const char *path, struct note *why);

/* A small page into `out`, and the address it was finally found at into `found_at`. BAD_INPUT:
 * longer than bytes_max. */
must_use enum status fetch_page(const struct fetch *f, size_t bytes_max, struct buf *out,
                                struct buf *found_at, struct note *why);

/* `link`, as it stands in a page at `base`, as a full address without fragment. */
must_use enum status fetch_resolve(struct buf *out, const char *base, const char *link,
                                   struct note *why);

/* The last part of an address's path, decoded: what a file from there is called. BAD_INPUT: there
 * is none that is safe as a file's name. */
must_use enum status fetch_file_name(struct buf *out, const char *url, struct note *why);

#endif
