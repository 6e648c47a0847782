/* support/fnv.h - FNV-1a of 64 bits: the hash for what tests write down, frozen by its definition.
 * Source: Fowler, Noll, Vo; draft-eastlake-fnv. */
#ifndef SUPPORT_FNV_H
#define SUPPORT_FNV_H

#include <stddef.h>
#include <stdint.h>

#define FNV1A_64_NONE UINT64_C(0xcbf29ce484222325) // of no bytes

/* The hash of what `h` is the hash of, and these bytes behind it. */
static inline uint64_t fnv1a_64_more(uint64_t h, const void *bytes, size_t len)
{
    for (const unsigned char *p = bytes; len > 0; len--)
        h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

static inline uint64_t fnv1a_64(const void *bytes, size_t len)
{
    return fnv1a_64_more(FNV1A_64_NONE, bytes, len);
}

#endif
