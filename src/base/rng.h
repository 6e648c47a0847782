/* base/rng.h - random numbers that are the same on every machine: PCG32.
 * Source: O'Neill 2014, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms". */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
    uint64_t stream; // odd
};

static inline uint32_t rng_u32(struct rng *r)
{
    uint64_t old = r->state;
    r->state = old * 6364136223846793005u + r->stream;
    uint32_t mixed = (uint32_t)(((old >> 18) ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return mixed >> turn | mixed << (-turn & 31);
}

static inline struct rng rng_seeded(uint64_t seed, uint64_t stream)
{
    struct rng r = { .state = 0, .stream = stream << 1 | 1 };
    rng_u32(&r);
    r.state += seed;
    rng_u32(&r);
    return r;
}

/* Uniform in [0, n), n > 0, without bias. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    uint32_t least = -n % n;
    for (;;) {
        uint32_t x = rng_u32(r);
        if (x >= least)
            return x % n;
    }
}

static inline uint64_t rng_u64(struct rng *r)
{
    uint64_t high = rng_u32(r);
    return high << 32 | rng_u32(r);
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

#endif
