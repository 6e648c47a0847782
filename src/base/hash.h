/* base/hash.h - a fast 64-bit hash of bytes, for tables in memory.
 *
 * Every process hashes with its own seed, so that a file cannot be made to collide; therefore
 * nothing may depend on the order of a table, and no hash may be written down. Not for signatures.
 *
 * Threads  any. Cost  a multiplication for each 8 bytes, and two.
 * Idea: multiply two words and fold the halves of the product (Wang Yi 2019, wyhash). */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* This process's seed: random, the same at every call. */
uint64_t hash_seed(void);

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_u64(uint64_t seed, uint64_t x)
{
    return hash_fold(x ^ seed, 0x9e3779b97f4a7c15u);
}

/* A place below n for this hash: no remainder, and n need not be a power of two. */
static inline uint32_t hash_place(uint64_t hash, uint32_t n)
{
    return (uint32_t)((unsigned __int128)hash * n >> 64);
}

/* Up to 8 bytes as one number; which bytes land where does not matter, only that all do. */
static inline uint64_t hash_load(const unsigned char *p, size_t len)
{
    if (len >= 4) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + len - 4, 4);
        return (uint64_t)high << 32 | low;
    }
    return len ? (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1] : 0;
}

static inline uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t h = hash_fold(seed ^ len, 0x9e3779b97f4a7c15u);
    size_t left = len;
    for (; left > 8; left -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = hash_fold(h ^ word, 0xd6e8feb86659fd93u);
    }
    return hash_fold(h ^ hash_load(p, left), 0xa0761d6478bd642fu);
}

#endif
