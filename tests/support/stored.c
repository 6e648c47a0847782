#include "support/stored.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/f16.h"

uint64_t stored_floats(uint64_t hash, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = x[i] != x[i] ? 0x7fc00000 : bits_of_f32(x[i]);
        hash = fnv1a_64_more(hash, &bits, sizeof bits);
    }
    return hash;
}

void expect_stored(uint64_t got, uint64_t stored, const char *by, const char *what)
{
    if (got != stored)
        fail_msg("%s: the hash of %s is 0x%016llx; stored is 0x%016llx", by, what,
                 (unsigned long long)got, (unsigned long long)stored);
}
