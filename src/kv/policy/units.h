/* kv/policy/units.h - address books of units: runs of positions that are selected as one, each with an address made of
 * its keys.
 *
 *   positions   0 1 2 3 | 4 5 6 7 | 8 9        units: pages of a fixed length, or sentences
 *   address     of their keys the mean; the mean and the variance of each element; or the least and the largest of
 *               each: 64 units a part, as rows of K lie. Or none: all their keys are read, of which the book has copies
 *
 * U1  Units partition the positions entered. The last is open: its address is that of the rows it has so far.
 * U2  An address is a function of its unit's keys, whatever calls entered them.
 * U3  Best unit first, its rows in order of position, floors left out, until the budget is spent: the last is cut. Of
 *     equal scores the later unit.
 *
 * Addresses are of f16, copies of keys of 4 bits, whatever type KV has. Threads  one at a time for a book; scores of
 * rows are steps that others take, too (os/loops.h). */
#ifndef KV_POLICY_UNITS_H
#define KV_POLICY_UNITS_H

#include "kv/select.h"

enum units_address { UNITS_MEAN, UNITS_SPREAD, UNITS_BOUNDS, UNITS_ROWS };

struct units_kind {
    uint32_t page;  // positions of a unit; 0: units are sentences,
    uint32_t least; //   of so many positions at least (1 or more)
    enum units_address address;
};

size_t units_bytes(const struct units_kind *kind, uint32_t n_position, uint32_t d);

/* Floats of room (kv/select.h) for each query that asks. */
size_t units_room(const struct units_kind *kind, uint32_t n_position);

void units_enter(const struct units_kind *kind, void *book, const struct kv_select_in *in,
                 uint32_t from, uint32_t to);

/* How the scores of several queries become one of the unit. */
enum units_join { UNITS_SUM, UNITS_MAX };

/* Scores every unit by queries q [n_query][d]
 *     mean     q * mean; `cosine`: divided by the mean's length
 *     spread   q * mean + 2 sqrt(q^2 * variance): about the largest product with one of some twenty keys, were they
 *              normal and their elements independent
 *     bounds   the largest product with a key inside them: q+ * largest + q- * least (Tang et al. 2024)
 *     rows     the attention that its rows would receive of all of the group's queries, did they read everything below
 *              their own row, by keys of 4 bits; q, n_query, join and cosine are not looked at, in->room is written */
void units_score(const struct units_kind *kind, void *book, const struct kv_select_in *in,
                 const float *q, uint32_t n_query, enum units_join join, bool cosine);

/* Sets the bits of the best units' rows (U3). */
void units_take(const struct units_kind *kind, void *book, const struct kv_select_in *in,
                uint64_t *mask);

#endif
