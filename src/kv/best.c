#include "kv/best.h"

struct kv_best kv_best_of(const uint64_t *key, size_t n, size_t k)
{
    uint64_t prefix = 0, mask = 0;
    if (k == 0)
        return (struct kv_best){ UINT64_MAX, 0 };
    for (int shift = 56; shift >= 0; shift -= 8) {
        size_t count[256] = { 0 };
        for (size_t i = 0; i < n; i++)
            count[key[i] >> shift & 255] += (key[i] & mask) == prefix;
        uint64_t byte = 255;
        for (; count[byte] < k; byte--)
            k -= count[byte];
        prefix |= byte << shift;
        mask |= UINT64_C(255) << shift;
    }
    return (struct kv_best){ prefix, k };
}
