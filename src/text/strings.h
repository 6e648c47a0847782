/* text/strings.h - many short strings laid end to end, and from a string back to its number.
 *
 *   bytes:  t h e c a t s ...      at:  0 3 7 ...      string i is bytes[at[i]] .. bytes[at[i + 1]]
 *   slot:   open addressing, linear probing, at most half full; of equal strings the first is found
 *
 * Lifetime  whoever opened it; closing an empty one is fine. Threads  any number of readers.
 * Cost  two or three allocations for all strings together; look-up O(1). */
#ifndef TEXT_STRINGS_H
#define TEXT_STRINGS_H

#include <stdint.h>

#include "base/note.h"
#include "base/status.h"
#include "text/vocab.h"

struct strings {
    char *bytes;
    uint32_t *at; // [n + 1]
    uint32_t n;
};

/* Copies n strings. FULL: out of memory; BAD_INPUT: more than 4 GiB of them. */
must_use enum status strings_open(struct strings *s, const struct text_span *from, uint32_t n,
                                  struct note *why);
void strings_close(struct strings *s);

static inline struct text_span strings_get(const struct strings *s, uint32_t i)
{
    return (struct text_span){ s->bytes + s->at[i], s->at[i + 1] - s->at[i] };
}

struct string_slot {
    uint32_t tag;  // lower half of the hash; the upper one gave the place
    uint32_t next; // the string's number + 1; 0: nothing here
};

struct string_map {
    struct string_slot *slot;
    uint64_t seed;
    uint32_t n_slot;
};

must_use enum status string_map_open(struct string_map *m, const struct strings *s,
                                     struct note *why);
void string_map_close(struct string_map *m);

/* The number of the first string that equals these bytes, or -1. */
int32_t string_map_find(const struct string_map *m, const struct strings *s, const char *bytes,
                        size_t len);

/* The same in two steps, for who has many to find: tables are larger than caches, so prepare some,
 * which starts to fetch their slots, and then find them. */
uint64_t string_map_prepare(const struct string_map *m, const char *bytes, size_t len);
int32_t string_map_find_prepared(const struct string_map *m, const struct strings *s,
                                 const char *bytes, size_t len, uint64_t prepared);

#endif
