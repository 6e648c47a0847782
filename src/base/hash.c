#include "base/hash.h"

#include <sys/auxv.h>

uint64_t hash_seed(void)
{
    uint64_t seed = 0x2545f4914f6cdd1du;
    const void *random = (const void *)getauxval(AT_RANDOM); // 16 bytes that the kernel drew for us
    if (random)
        memcpy(&seed, random, sizeof seed);
    return seed;
}
