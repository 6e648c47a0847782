#include "support/matmul_tables.h"

#include <string.h>

#include "kernels/avx512/matmul_fns.h"
#include "support/simde_avx512_matmul.h"

struct tables {
    struct kernels *at;
    uint32_t n;
};

static bool is_there(const struct tables *t, const char *name)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (strcmp(t->at[i].name, name) == 0)
            return true;
    return false;
}

static void emulate(struct tables *t, const char *name, const char *shown, uint32_t tiles_from,
                    kern_matmul *matmul)
{
    if (t->n < 2 || is_there(t, name)) // emulation stands on avx2
        return;
    struct kernels *k = &t->at[t->n++];
    *k = t->at[1];
    k->name = shown;
    k->raised_from = AVX512_RAISED_FROM;
    k->tiles_from = tiles_from;
    k->reads_excess = false;
    k->quantise = simde_avx512_quantise;
    k->matmul = matmul;
}

uint32_t matmul_tables(struct kernels out[MATMUL_TABLES])
{
    const struct kernels *available[4];
    struct tables t = { .at = out, .n = kernels_available(available, 4) };
    for (uint32_t i = 0; i < t.n; i++)
        out[i] = *available[i];
    emulate(&t, "avx512", "avx512 in emulation", UINT32_MAX, simde_avx512_matmul);
    emulate(&t, "amx", "amx in emulation", ACTS_TILE, simde_amx_matmul);
    return t.n;
}
