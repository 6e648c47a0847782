#include "support/matmul_tables.h"

#include <string.h>

#include "kernels/avx512/matmul_fns.h"
#include "support/simde_avx512_matmul.h"

struct kernels matmul_table[MATMUL_TABLES];
uint32_t n_matmul_table;

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

int find_matmul_tables(void **state)
{
    const struct kernels *available[4];
    struct tables t = { .at = matmul_table, .n = kernels_available(available, 4) };
    (void)state;
    for (uint32_t i = 0; i < t.n; i++)
        matmul_table[i] = *available[i];
    emulate(&t, "avx512", "avx512 in emulation", UINT32_MAX, simde_avx512_matmul);
    emulate(&t, "amx", "amx in emulation", ACTS_TILE, simde_amx_matmul);
    n_matmul_table = t.n;
    return 0;
}
