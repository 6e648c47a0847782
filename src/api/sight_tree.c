/* The prefix tree of one tenant. Blocks that follow each other without a branch are one entry:
 *
 *   salt ""                          depth 0
 *     [block][block][block]          1      "You are a helpful"     nodes: three names
 *       [block]                      2      "...What is an aquifer" from where its neighbours differ
 *       [block][block]               2      "...Write a poem"                                         */
#include <string.h>

#include "api/sight.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { ENTRIES_MAX = 1000, TEXT_BYTES = 200 };

struct branch {
    uint32_t parent, last_child; // indices of nodes; AKV_NOWHERE: none
    uint32_t n_child;
    uint32_t n_sequence; // here and below
    uint32_t n_same;     // first ids that a neighbour has too
    uint32_t depth;      // of its entry
};

static uint32_t same_ids(const struct akv_node *a, const struct akv_node *b)
{
    const uint32_t n = a->n_id < b->n_id ? a->n_id : b->n_id;
    uint32_t i = 0;
    while (i < n && a->ids[i] == b->ids[i])
        i++;
    return i;
}

/* Compares node i with the sibling that came before it. */
static void meet_neighbour(const struct akv_snapshot *s, struct branch *b, uint32_t i,
                           uint32_t before)
{
    const uint32_t n = same_ids(&s->node[i], &s->node[before]);
    b[i].n_same = n;
    if (b[before].n_same < n)
        b[before].n_same = n;
}

/* Nodes come parents first: the parent of one is the nearest before it of a lower depth. */
static void link_branches(const struct akv_snapshot *s, struct branch *b)
{
    uint32_t root_last = AKV_NOWHERE;
    for (uint32_t i = 0; i < s->n_node; i++) {
        uint32_t up = i ? i - 1 : AKV_NOWHERE;
        while (up != AKV_NOWHERE && s->node[up].depth >= s->node[i].depth)
            up = b[up].parent;
        b[i] = (struct branch){ .parent = up,
                                .last_child = AKV_NOWHERE,
                                .n_sequence = s->node[i].n_sequence };
        uint32_t *last = up == AKV_NOWHERE ? &root_last : &b[up].last_child;
        if (*last != AKV_NOWHERE && s->node[*last].salt == s->node[i].salt)
            meet_neighbour(s, b, i, *last);
        *last = i;
        if (up != AKV_NOWHERE)
            b[up].n_child++;
    }
    for (uint32_t i = s->n_node; i-- > 0;) {
        if (b[i].parent != AKV_NOWHERE)
            b[b[i].parent].n_sequence += b[i].n_sequence;
    }
}

/* Whether node i goes on what its parent began. */
static bool goes_on(const struct branch *b, uint32_t i)
{
    const struct branch *up = b[i].parent == AKV_NOWHERE ? NULL : &b[b[i].parent];
    return up && up->n_child == 1 && up->n_sequence == b[i].n_sequence;
}

static void add_text(const struct sight *v, const struct akv_node *n, uint32_t from,
                     struct buf *out)
{
    struct buf text = { 0 };
    if (from == n->n_id) /* a neighbour goes on where this one ends */
        from = from > 8 ? from - 8 : 0;
    for (uint32_t i = from; i < n->n_id && text.len < TEXT_BYTES; i++) {
        size_t len;
        const char *bytes = akv_token_bytes(v->model, n->ids[i], true, &len);
        buf_add(&text, bytes, len);
    }
    buf_addf(out, ",\"cut\":%s,\"text\":", from ? "true" : "false");
    buf_add_json_text(out, buf_text(&text), utf8_complete(buf_text(&text), text.len));
    buf_close(&text);
}

/* The entry that begins with node i. */
static void add_entry(const struct sight *v, const struct branch *b, uint32_t i, struct buf *out)
{
    const struct akv_node *first = &v->s->node[i];
    uint32_t n_token = 0;
    buf_addf(out, "{\"depth\":%u,\"running\":%u,\"used_step\":%llu,\"nodes\":[", b[i].depth,
             b[i].n_sequence, (unsigned long long)first->used_step);
    uint32_t k = i;
    do {
        buf_addf(out, "%s%u", k > i ? "," : "", v->s->node[k].name + 1);
        n_token += v->s->node[k].n_id;
        k++;
    } while (k < v->s->n_node && b[k].parent == k - 1 && goes_on(b, k));
    buf_addf(out, "],\"tokens\":%u", n_token);
    add_text(v, first, b[i].n_same, out);
    buf_add_byte(out, '}');
}

static void add_entries(const struct sight *v, struct branch *b, struct buf *out)
{
    const struct akv_snapshot *s = v->s;
    uint32_t salt = AKV_NOWHERE, n = 0, n_more = 0;
    for (uint32_t i = 0; i < s->n_node; i++) {
        if (!v->owner[s->node[i].salt])
            continue;
        const struct branch *up = b[i].parent == AKV_NOWHERE ? NULL : &b[b[i].parent];
        const bool on = goes_on(b, i);
        b[i].depth = (up ? up->depth : 0) + !on;
        if (on || n >= ENTRIES_MAX) {
            n_more += !on;
            continue;
        }
        if (s->node[i].salt != salt) {
            salt = s->node[i].salt;
            buf_add_text(out, n ? "," : "");
            buf_add_text(out, "{\"depth\":0");
            sight_add_owner(v, salt, out);
            buf_add_byte(out, '}');
            n++;
        }
        buf_add_byte(out, ',');
        add_entry(v, b, i, out);
        n++;
    }
    buf_addf(out, "],\"more\":%u", n_more);
}

void sight_tree(const struct sight *v, struct buf *out)
{
    struct branch *b = mem_new(v->s->n_node, sizeof *b);
    if (!b) {
        out->failed = true;
        return;
    }
    link_branches(v->s, b);
    buf_add_text(out, "{\"entries\":[");
    add_entries(v, b, out);
    buf_addf(out, ",\"step\":%llu}", (unsigned long long)v->s->step);
    mem_free(b);
}
