/* support/fnv.h - FNV-1a of 64 bits: the hash for what tests write down, frozen by its definition.
 * Source: Fowler, Noll, Vo; draft-eastlake-fnv. */
#ifndef SUPPORT_FNV_H
#define SUPPORT_FNV_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t fnv1a_64(const void *bytes, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const unsigned char *p = bytes; len > 0; len--)
        h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

#endif
