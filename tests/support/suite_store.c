#include "support/kernel_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/f16.h"
#include "support/guard.h"

static const uint32_t WIDTHS[] = { 8, 16, 24, 64, 80, 96, 128, 256, 512 };

/* Any f16 NaN equals any other; everything else byte for byte. */
static void expect_same_part(enum kv_type type, const void *got, const void *want, uint32_t d,
                             const char *what)
{
    size_t n = (size_t)KV_BLOCK * d;
    if (type == KV_F32) {
        expect_same_floats(got, want, n, what);
    } else if (type == KV_F16) {
        const f16 *g = got, *w = want;
        for (size_t i = 0; i < n; i++)
            if (g[i] != w[i] && !((g[i] & 0x7fff) > 0x7c00 && (w[i] & 0x7fff) > 0x7c00))
                fail_msg("%s: element %zu is %04x, not %04x", what, i, g[i], w[i]);
    } else {
        if (memcmp(got, want, n) != 0)
            fail_msg("%s: the int8 differ", what);
        expect_same_floats((const float *)((const char *)got + n),
                           (const float *)((const char *)want + n), KV_BLOCK, what);
    }
}

static void store_rows(const struct kernels *got, const struct kernels *want, enum kv_type type,
                       uint32_t d, struct rng *rng, uint32_t hostile)
{
    size_t bytes = kv_part_bytes(type, d);
    struct guarded part[4], row_memory = guard_new(d * sizeof(float), 4);
    float *x = row_memory.at, y[2][512];
    char what[96];
    for (int i = 0; i < 4; i++) {
        part[i] = guard_new(bytes, 64);
        memset(part[i].at, 0x2a, bytes);
    }
    for (uint32_t n = 0; n < 9; n++) {
        uint32_t row = n == 8 ? KV_BLOCK - 1 : rng_below(rng, KV_BLOCK);
        for (uint32_t j = 0; j < d; j++)
            x[j] = n == 7 ? 0.0f : any_float(rng, hostile) * (n == 6 ? 1e-36f : 1.0f);
        got->store_k(type, part[0].at, row, x, d);
        want->store_k(type, part[1].at, row, x, d);
        got->store_v(type, part[2].at, row, x, d);
        want->store_v(type, part[3].at, row, x, d);
        snprintf(what, sizeof what, "store, type %d, d = %u, row %u", type, d, row);
        expect_same_part(type, part[0].at, part[1].at, d, what);
        expect_same_part(type, part[2].at, part[3].at, d, what);
        got->load_k(type, part[1].at, row, y[0], d);
        want->load_k(type, part[1].at, row, y[1], d);
        expect_same_floats(y[0], y[1], d, what);
        got->load_v(type, part[3].at, row, y[0], d);
        expect_same_floats(y[0], y[1], d, what);
        want->load_v(type, part[3].at, row, y[1], d);
        expect_same_floats(y[0], y[1], d, what);
    }
    for (int i = 0; i < 4; i++)
        guard_free(&part[i]);
    guard_free(&row_memory);
}

void suite_store(const struct kernels *got, const struct kernels *want, uint32_t effort)
{
    struct rng rng = rng_seeded(12, 1);
    for (uint32_t n = 0; n < effort; n++)
        for (enum kv_type type = KV_F16; type <= KV_INT8; type++)
            for (uint32_t i = 0; i < sizeof WIDTHS / sizeof *WIDTHS; i++) {
                store_rows(got, want, type, WIDTHS[i], &rng, 0);
                store_rows(got, want, type, WIDTHS[i], &rng, 40);
            }
}
