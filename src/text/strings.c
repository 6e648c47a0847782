#include "text/strings.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum status strings_open(struct strings *s, const struct text_span *from, uint32_t n,
                         struct note *why)
{
    size_t total = 0;
    *s = (struct strings){ .n = n };
    for (uint32_t i = 0; i < n; i++) {
        total += from[i].len;
        if (from[i].len > UINT32_MAX || total > UINT32_MAX) {
            note_set(why, "the tokens' texts are longer than 4 GiB together");
            return BAD_INPUT;
        }
    }
    s->at = mem_new((size_t)n + 1, sizeof *s->at);
    s->bytes = mem_new(total, 1);
    if (!s->at || !s->bytes) {
        note_set(why, "out of memory for the texts of %u tokens (%zu bytes)", n, total);
        strings_close(s);
        return FULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->at[i + 1] = s->at[i] + (uint32_t)from[i].len;
        if (from[i].len)
            memcpy(s->bytes + s->at[i], from[i].bytes, from[i].len);
    }
    return OK;
}

void strings_close(struct strings *s)
{
    mem_free(s->bytes);
    mem_free(s->at);
    *s = (struct strings){ 0 };
}

static bool same(struct text_span a, const char *bytes, size_t len)
{
    return a.len == len && memcmp(a.bytes, bytes, len) == 0;
}

static void insert(struct string_map *m, const struct strings *s, uint32_t i)
{
    struct text_span t = strings_get(s, i);
    uint64_t h = hash_bytes(m->seed, t.bytes, t.len);
    struct string_slot *slot = &m->slot[h & m->mask];
    uint32_t tag = (uint32_t)(h >> 32);
    while (slot->next) {
        if (slot->tag == tag && same(strings_get(s, slot->next - 1), t.bytes, t.len))
            return;
        slot = &m->slot[(size_t)(slot + 1 - m->slot) & m->mask];
    }
    *slot = (struct string_slot){ .tag = tag, .next = i + 1 };
}

enum status string_map_open(struct string_map *m, const struct strings *s, struct note *why)
{
    size_t n_slot = 16;
    while (n_slot < 2 * (size_t)s->n)
        n_slot *= 2;
    *m = (struct string_map){ .seed = hash_seed(), .mask = (uint32_t)(n_slot - 1) };
    m->slot = mem_new(n_slot, sizeof *m->slot);
    if (!m->slot) {
        note_set(why, "out of memory for a table of %u tokens", s->n);
        return FULL;
    }
    for (uint32_t i = 0; i < s->n; i++)
        insert(m, s, i);
    return OK;
}

void string_map_close(struct string_map *m)
{
    mem_free(m->slot);
    *m = (struct string_map){ 0 };
}

int32_t string_map_find(const struct string_map *m, const struct strings *s, const char *bytes,
                        size_t len)
{
    uint64_t h = hash_bytes(m->seed, bytes, len);
    uint32_t tag = (uint32_t)(h >> 32);
    for (size_t i = h & m->mask; m->slot[i].next; i = (i + 1) & m->mask) {
        if (m->slot[i].tag == tag && same(strings_get(s, m->slot[i].next - 1), bytes, len))
            return (int32_t)(m->slot[i].next - 1);
    }
    return -1;
}
