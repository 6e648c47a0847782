#include "text/strings.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define AHEAD 16 // so many slots are being fetched while one is filled

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

static uint32_t after(const struct string_map *m, uint32_t place)
{
    return place + 1 < m->n_slot ? place + 1 : 0;
}

/* The slot that holds these bytes, or the empty one where they would go. */
static struct string_slot *slot_of(const struct string_map *m, const struct strings *s,
                                   const char *bytes, size_t len, uint64_t hash)
{
    uint32_t i = hash_place(hash, m->n_slot);
    while (m->slot[i].next) {
        if (m->slot[i].tag == (uint32_t)hash &&
            same(strings_get(s, m->slot[i].next - 1), bytes, len))
            break;
        i = after(m, i);
    }
    return &m->slot[i];
}

uint64_t string_map_prepare(const struct string_map *m, const char *bytes, size_t len)
{
    uint64_t hash = hash_bytes(m->seed, bytes, len);
    __builtin_prefetch(&m->slot[hash_place(hash, m->n_slot)]);
    return hash;
}

static void insert_all(struct string_map *m, const struct strings *s)
{
    uint64_t prepared[AHEAD];
    for (uint32_t i = 0; i < s->n + AHEAD; i++) {
        if (i >= AHEAD) {
            uint64_t hash = prepared[i % AHEAD];
            struct text_span t = strings_get(s, i - AHEAD);
            struct string_slot *slot = slot_of(m, s, t.bytes, t.len, hash);
            if (slot->next == 0)
                *slot = (struct string_slot){ .tag = (uint32_t)hash, .next = i - AHEAD + 1 };
        }
        if (i < s->n) {
            struct text_span t = strings_get(s, i);
            prepared[i % AHEAD] = string_map_prepare(m, t.bytes, t.len);
        }
    }
}

enum status string_map_open(struct string_map *m, const struct strings *s, struct note *why)
{
    assert(s->n <= INT32_MAX);
    *m = (struct string_map){ .seed = hash_seed(), .n_slot = 2 * s->n + 1 };
    m->slot = mem_new(m->n_slot, sizeof *m->slot);
    if (!m->slot) {
        note_set(why, "out of memory for a table of %u tokens", s->n);
        return FULL;
    }
    insert_all(m, s);
    return OK;
}

void string_map_close(struct string_map *m)
{
    mem_free(m->slot);
    *m = (struct string_map){ 0 };
}

int32_t string_map_find_prepared(const struct string_map *m, const struct strings *s,
                                 const char *bytes, size_t len, uint64_t prepared)
{
    return (int32_t)slot_of(m, s, bytes, len, prepared)->next - 1;
}

int32_t string_map_find(const struct string_map *m, const struct strings *s, const char *bytes,
                        size_t len)
{
    return string_map_find_prepared(m, s, bytes, len, hash_bytes(m->seed, bytes, len));
}
