#include "api/holdings.h"

#include <string.h>

#include "api/api.h"
#include "base/mem.h"

/* Two keys may have one name: they share a row. */
static struct holding *row_of(struct holdings *h, const char *tenant)
{
    for (uint32_t i = 0; i < h->n_row; i++) {
        if (strcmp(h->row[i].tenant, tenant) == 0)
            return &h->row[i];
    }
    h->row[h->n_row].tenant = tenant;
    return &h->row[h->n_row++];
}

static void count(struct holdings *h, struct holding *const *of_salt, const struct akv_snapshot *s)
{
    const struct akv_block *b = s->block;
    for (uint32_t g = 0; g < s->n_group; g++) {
        for (uint32_t i = 0; i < s->group[g].n_block; i++, b++) {
            if (b->state == AKV_BLOCK_FREE)
                continue;
            of_salt[b->salt]->n_block[b->state]++;
            h->bytes[b->state] += s->group[g].block_bytes;
        }
    }
}

bool holdings_open(struct holdings *h, const struct api *a, const struct akv_snapshot *s,
                   const struct akv_stats *stats)
{
    struct holding **of_salt = mem_new(s->n_salt, sizeof *of_salt);
    *h = (struct holdings){ .row = mem_new(a->n_tenant + 2, sizeof *h->row) };
    if (!of_salt || !h->row) {
        mem_free(of_salt);
        holdings_close(h);
        return false;
    }
    for (uint32_t i = 0; i < a->n_tenant; i++)
        row_of(h, a->tenant[i].name);
    if (a->n_tenant == 0)
        row_of(h, api_tenant_name(a, ""));
    for (uint32_t i = 0; i < s->n_salt; i++)
        of_salt[i] = row_of(h, api_tenant_name(a, s->salt[i]));
    count(h, of_salt, s);
    h->kept_bytes = stats->kv_bytes_kept;
    const size_t held = h->bytes[AKV_BLOCK_OPEN] + h->bytes[AKV_BLOCK_SEALED] +
                        h->bytes[AKV_BLOCK_IDLE] + h->kept_bytes;
    h->bytes[AKV_BLOCK_FREE] = stats->kv_bytes_max > held ? stats->kv_bytes_max - held : 0;
    mem_free(of_salt);
    return true;
}

void holdings_close(struct holdings *h)
{
    mem_free(h->row);
    *h = (struct holdings){ 0 };
}
