/* text/merge.h - joins neighbouring symbols, the best pair first, until no pair can be joined.
 *
 *   h e l l o      ->  h e ll o  ->  he ll o  ->  hell o  ->  hello
 *   symbols: a linked list over the text       queue: pairs that could be joined, best first
 *
 * M1  Of all pairs that can be joined the one of least rank goes first, among equals the leftmost.
 * M2  The symbols always cover the text, in order, without gaps.
 *
 * Both kinds of vocabulary are this loop; they differ in what makes a pair good (a rank, a score).
 *
 * Lifetime  one encoding; used again for each of its words. Threads  one at a time.
 * Cost  O(n log n) for n symbols, in time; 52 bytes a symbol. Source: Sennrich et al. 2016. */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "text/heap.h"

#define MERGE_NONE UINT32_MAX

struct merge_symbol {
    uint32_t at, len; // in the text; len is 0 once it was joined to its left neighbour
    int32_t id;       // the token it is, -1 for none
    uint32_t prev, next;
};

struct merge {
    struct merge_symbol *symbol;
    uint32_t n;
    size_t room;
    struct heap queue;
};

/* What joining gives: a token, and how early to do it. */
struct merge_result {
    uint32_t rank;
    int32_t id;
};

/* Whether these two can be joined. */
typedef bool merge_find(const void *table, const struct merge_symbol *left,
                        const struct merge_symbol *right, struct merge_result *out);

/* Forgets the symbols and makes room for up to n new ones; false when out of memory. */
bool merge_begin(struct merge *m, size_t n);
void merge_add(struct merge *m, uint32_t at, uint32_t len, int32_t id); // the next one to the right
void merge_run(struct merge *m, merge_find *find, const void *table);
void merge_close(struct merge *m);

#endif
