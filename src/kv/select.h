/* kv/select.h - which rows the queries of a step read: chosen in each layer from the queries themselves.
 *
 *   q of this step --policy--> a mask of rows for each kv_head --> attention reads those blocks and rows only
 *
 * Nothing is dropped: what is not read now may be read by the next query. A policy keeps an address book of its own for each
 * sequence (means, bounds), built from keys when a run of positions is complete.
 *
 * L1  Rows of the pass itself are always read; so are the floors of the choice.
 * L2  A budget at or above what there is selects everything: the bits are those of `full`.
 * L3  Whether and what is selected depends on the sequence alone: rows of a prompt read everything (prefill is dense), rows
 *     that answer select.
 *
 * Lifetime  of its sequence. Threads  select is called by workers, one at a time for a layer and kv_head. */
#ifndef KV_SELECT_H
#define KV_SELECT_H

#include "kv/excerpt.h"
#include "kv/policy.h"

struct kv_select; // one sequence's: choice, address books, masks

struct kv_select_in {
    uint32_t layer, kv_head, group, d;
    uint32_t n_position; // rows [0, n_position) may be selected; the query is at n_position
    const float *q;      // [group][d] after RoPE
    struct kv_list list; // the past's rows
};

struct kv_select_policy {
    /* Bytes of an address book of one kv_head, for up to n positions. */
    size_t (*book_bytes)(const void *options, uint32_t n_position, uint32_t d);
    /* Rows [from, to) are complete and written: enters them into the book. ends[i]: a sentence ends with position i. */
    void (*enter)(const void *options, void *book, const struct kv_select_in *in, uint32_t from,
                  uint32_t to, const uint64_t *ends);
    /* mask [blocks of the past]: sets the bits of rows that the query reads. */
    void (*select)(const void *options, void *book, const struct kv_select_in *in, uint64_t *mask);
};

#endif
