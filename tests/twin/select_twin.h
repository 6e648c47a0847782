/* twin/select_twin.h - which rows a query reads under quest and sentencekv, worked out plainly in double precision:
 * every unit's address anew from its keys for every query, every score, a sort. */
#ifndef TWIN_SELECT_TWIN_H
#define TWIN_SELECT_TWIN_H

#include <stdbool.h>
#include <stdint.h>

enum twin_address { TWIN_MEAN, TWIN_SPREAD, TWIN_BOUNDS, TWIN_ROWS };

struct select_twin {
    uint32_t page; // 0: sentences, of `least` positions or more
    uint32_t least;
    enum twin_address address;
    bool largest;      // of several heads the largest score instead of the sum
    bool mean, cosine; // the sentence's queries together; products by the mean's length
    uint32_t dense_first;
    bool by_rows; // for whoever deals twins to lists: those of heads that retrieve have TWIN_ROWS
    double attn_scale;                         // of their scores
    uint32_t d, group, budget, n_sink, recent; // recent: rows before the query's own
    const bool *ends, *there;                  // [position]
    double *asked;                             // [d] of the sentence so far
    uint32_t n_asked;
    /* Sentences are chosen once for a sentence; with a drift also where the cosine falls below it. */
    bool once;
    double drift;       // 0: none
    bool has, sure;     // something was chosen for this sentence, and rounding had no say
    bool *chosen;       // [n_max] rows of that besides the floors
    double *asked_then; // [d]
};

/* For up to n_max positions. */
void select_twin_open(struct select_twin *t, uint32_t n_max);
void select_twin_close(struct select_twin *t);

/* The query at position n over keys k [n][d] of rows that are there, those it follows asked before: reads [n + 1].
 * False: rounding decides which unit is the last, or which of two is cut. */
bool select_twin_rows(struct select_twin *t, const float *q, const float *k, uint32_t n,
                      bool *reads);

#endif
