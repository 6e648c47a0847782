#include "api/sight.h"

#include <string.h>
#include <xxhash.h>

#include "api/api.h"
#include "api/explain.h"
#include "base/mem.h"

bool sight_is_own(const char *tenant, const char *salt)
{
    const size_t len = strlen(tenant);
    return len == 0 || (strncmp(salt, tenant, len) == 0 && (salt[len] == '\0' || salt[len] == '/'));
}

/* Never 0. */
static uint32_t owner_of(const char *salt)
{
    const uint32_t h = (uint32_t)XXH3_64bits(salt, strlen(salt));
    return h ? h : 1;
}

bool sight_open(struct sight *v, const struct akv_snapshot *s, const akv_model *model,
                const char *tenant)
{
    *v = (struct sight){ .s = s, .model = model, .tenant = tenant };
    v->owner = mem_new(s->n_salt, sizeof *v->owner);
    v->everybody = owner_of(API_SALT_PUBLIC);
    for (uint32_t i = 0; v->owner && i < s->n_salt; i++)
        v->owner[i] = sight_is_own(tenant, s->salt[i]) ? owner_of(s->salt[i]) : 0;
    return v->owner != NULL;
}

void sight_close(struct sight *v)
{
    mem_free(v->owner);
    *v = (struct sight){ 0 };
}

uint32_t sight_n_block(const struct akv_snapshot *s)
{
    uint32_t n = 0;
    for (uint32_t g = 0; g < s->n_group; g++)
        n += s->group[g].n_block;
    return n;
}

void sight_add_owner(const struct sight *v, uint32_t salt, struct buf *out)
{
    const char *own = v->s->salt[salt] + strlen(v->tenant);
    own += *own == '/';
    buf_addf(out, ",\"owner\":%u,\"salt\":", v->owner[salt]);
    buf_add_json_text(out, own, strlen(own));
}

/* ---- the map ---- */

static struct cell cell_of(const struct sight *v, const struct akv_block *b)
{
    if (b->state == AKV_BLOCK_FREE)
        return (struct cell){ 0 };
    const uint32_t owner = v->owner[b->salt];
    if (!owner) { /* V1 */
        const bool is_public = strcmp(v->s->salt[b->salt], API_SALT_PUBLIC) == 0;
        return (struct cell){ .state = (uint8_t)b->state, .owner = is_public ? v->everybody : 0 };
    }
    return (struct cell){
        .state = (uint8_t)b->state,
        .owner = owner,
        .n_sequence = b->n_sequence,
        .node = b->node == AKV_NOWHERE ? 0 : b->node + 1,
        .sequence = b->sequence,
        .used_step = b->n_sequence ? 0 : b->used_step, /* now */
    };
}

static bool same(const struct cell *a, const struct cell *b)
{
    return a->state == b->state && a->owner == b->owner && a->n_sequence == b->n_sequence &&
           a->node == b->node && a->sequence == b->sequence && a->used_step == b->used_step;
}

static void add_groups(const struct akv_snapshot *s, struct buf *out)
{
    buf_addf(out, ",\"block_tokens\":%d,\"groups\":[", AKV_BLOCK_TOKENS);
    for (uint32_t g = 0; g < s->n_group; g++)
        buf_addf(out, "%s{\"blocks\":%u,\"block_bytes\":%zu,\"layers\":%u,\"window\":%u}",
                 g ? "," : "", s->group[g].n_block, s->group[g].block_bytes, s->group[g].n_layer,
                 s->group[g].window);
    buf_add_byte(out, ']');
}

static void add_cell(uint32_t i, const struct cell *c, struct buf *out)
{
    buf_addf(out, "[%u,%u", i, c->state);
    if (c->owner)
        buf_addf(out, ",%u,%llu,%u,%llu,%u", c->owner, (unsigned long long)c->sequence,
                 c->n_sequence, (unsigned long long)c->used_step, c->node);
    buf_add_byte(out, ']');
}

uint32_t sight_map(const struct sight *v, struct cell *told, bool whole, struct buf *out)
{
    const uint32_t n = sight_n_block(v->s);
    uint32_t count = 0;
    const size_t began = out->len;
    buf_addf(out, "{\"step\":%llu,\"whole\":%s", (unsigned long long)v->s->step,
             whole ? "true" : "false");
    add_groups(v->s, out);
    buf_add_text(out, ",\"blocks\":[");
    for (uint32_t i = 0; i < n; i++) {
        const struct cell c = cell_of(v, &v->s->block[i]);
        if (same(&c, &told[i]))
            continue;
        told[i] = c;
        buf_add_text(out, count++ ? "," : "");
        add_cell(i, &c, out);
    }
    buf_add_text(out, "]}");
    if (count == 0 && !whole && out->bytes) {
        out->len = began;
        out->bytes[began] = '\0';
    }
    return count;
}

/* ---- sequences ---- */

static void add_totals(const struct sight_totals *t, struct buf *out)
{
    const struct akv_stats *s = &t->stats;
    buf_addf(out,
             ",\"time_ms\":%llu,\"kv_bytes_cap\":%zu,\"kv_bytes_held\":%zu,"
             "\"kv_bytes_kept\":%zu,\"blocks_held\":%u,"
             "\"blocks_indexed\":%u,\"prompt_tokens\":%llu,\"cached_tokens\":%llu,"
             "\"generated_tokens\":%llu,\"evicted\":%llu,\"paused\":%llu,\"parallel\":%u,"
             "\"inter_token_p50_ms\":%.3f,\"inter_token_p99_ms\":%.3f",
             (unsigned long long)t->time_ms, s->kv_bytes_max, s->kv_bytes_held, s->kv_bytes_kept,
             s->n_block_held, s->n_block_indexed, (unsigned long long)s->n_token_prompt,
             (unsigned long long)s->n_token_cached, (unsigned long long)s->n_token_generated,
             (unsigned long long)s->n_evicted, (unsigned long long)s->n_paused, s->n_parallel,
             t->inter_token_p50_ms, t->inter_token_p99_ms);
}

static void add_sequence(const struct sight *v, const struct akv_sequence *q, struct buf *out)
{
    static const char *const phase[] = { "waiting", "prompt", "answer" };
    buf_addf(out, "{\"id\":%llu,\"phase\":\"%s\"", (unsigned long long)q->id, phase[q->phase]);
    sight_add_owner(v, q->salt, out);
    buf_addf(out,
             ",\"prompt_tokens\":%u,\"cached_tokens\":%u,\"done_tokens\":%u,"
             "\"generated_tokens\":%u,\"blocks\":%u,\"policy\":\"%s\",\"age_ms\":%llu}",
             q->n_prompt, q->n_cached, q->n_done, q->n_generated, q->n_block, q->policy,
             (unsigned long long)(q->age_ns / 1000000));
}

void sight_sequences(const struct sight *v, const struct sight_totals *t, struct buf *out)
{
    uint32_t others[2] = { 0 }, n = 0; /* that wait, that run */
    buf_addf(out, "{\"step\":%llu", (unsigned long long)v->s->step);
    add_totals(t, out);
    buf_add_text(out, ",\"sequences\":[");
    for (uint32_t i = 0; i < v->s->n_sequence; i++) {
        const struct akv_sequence *q = &v->s->sequence[i];
        if (!v->owner[q->salt]) {
            others[q->phase != AKV_PHASE_WAITING]++;
            continue;
        }
        buf_add_text(out, n++ ? "," : "");
        add_sequence(v, q, out);
    }
    buf_addf(out, "],\"others_waiting\":%u,\"others_running\":%u}", others[0], others[1]);
}

/* ---- rows ---- */

void sight_rows(const struct akv_rows *r, uint64_t id, struct buf *out)
{
    buf_addf(out,
             "{\"sequence\":%llu,\"policy\":\"%s\",\"positions\":%u,\"columns\":%u,"
             "\"kv_heads\":%u,\"layers\":[",
             (unsigned long long)id, r->policy, r->n_position, r->n_column, r->n_kv_head);
    for (uint32_t i = 0; i < r->n_layer; i++) {
        buf_addf(out, "%s{\"window\":%u,\"kept\":[", i ? "," : "", r->window[i]);
        for (uint32_t c = 0; c < r->n_column; c++)
            buf_addf(out, "%s%u", c ? "," : "", r->kept[(size_t)i * r->n_column + c]);
        buf_add_text(out, "]}");
    }
    buf_add_text(out, "]}");
}

/* ---- requests ---- */

static void add_request(const struct recent_request *e, struct buf *out)
{
    const struct akv_usage *u = &e->usage;
    buf_addf(out,
             "{\"number\":%llu,\"id\":\"%s\",\"time_ms\":%lld,\"reason\":\"%s\",\"at\":%u,"
             "\"prompt_tokens\":%u,\"cached_tokens\":%u,\"generated_tokens\":%u,"
             "\"ttft_ms\":%.3f,\"before\":",
             (unsigned long long)e->number, e->id, e->time_ms, u->cache_miss, u->cache_miss_at,
             u->n_prompt, u->n_cached, u->n_generated, e->ttft_ms);
    buf_add_json_text(out, e->before, strlen(e->before));
    buf_add_text(out, ",\"after\":");
    buf_add_json_text(out, e->after, strlen(e->after));
    buf_addf(out, ",\"public\":%s", u->cached_public ? "true" : "false");
    evicted_json(&u->evicted, out);
    buf_add_byte(out, '}');
}

void sight_requests(struct recent *r, const char *tenant, uint64_t after, struct buf *out)
{
    const uint64_t last = recent_count(r), oldest = last > RECENT_MAX ? last - RECENT_MAX : 0;
    uint32_t n = 0;
    buf_add_text(out, "{\"requests\":[");
    for (uint64_t i = (after > oldest ? after : oldest) + 1; i <= last; i++) {
        struct recent_request e;
        if (!recent_get(r, i, &e) || !sight_is_own(tenant, e.salt))
            continue;
        buf_add_text(out, n++ ? "," : "");
        add_request(&e, out);
    }
    buf_add_text(out, "]}");
}
