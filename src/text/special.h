/* text/special.h - tokens that are cut out of a text as they stand, before it is split and merged.
 *
 *   "<|im_start|>user\nHi<tool_call>"  ->  [<|im_start|>] "user\nHi" [<tool_call>]
 *
 * C1  Control and unknown tokens match only inside trusted bytes, user-defined ones anywhere.
 * C2  Longer tokens first, wherever they are; of equally long ones the lower id; of one token the
 *     leftmost. What is cut stays cut: a shorter token never takes bytes of a longer one.
 *
 * How it is found: each position offers the longest token that begins there; offers are taken in
 * the order of C2; an offer that reaches into bytes that are gone is replaced by the longest token
 * that still fits.
 *
 * Lifetime  part of a vocabulary. Threads  any number may search.
 * Cost  O(1) a byte where no token begins, O(length of the longest token) where one may. */
#ifndef TEXT_SPECIAL_H
#define TEXT_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/note.h"
#include "base/status.h"
#include "text/heap.h"
#include "text/vocab.h"

struct special_token {
    struct text_span text;
    int32_t id;
    bool control;  // needs trust
    uint32_t turn; // its place in the order of C2: 0 is first
};

struct special {
    struct special_token *token; // [n], sorted by text
    uint32_t *by_turn;           // [n] turn -> index into token
    uint32_t n;
    bool begins[256]; // whether some token begins with this byte
};

/* Takes over `token` (n of them, unsorted, `turn` unset), also when it fails; their texts must
 * outlive it. */
must_use enum status special_open(struct special *s, struct special_token *token, uint32_t n,
                                  struct note *why);
void special_close(struct special *s);

struct special_range { // bytes [from, to) of the text
    size_t from, to;
};

struct special_cut {
    size_t at, len;
    int32_t id;
};

struct special_cuts {
    struct special_cut *cut; // [n], from left to right
    size_t n;
};

/* Finds what to cut out. `trusted`: disjoint ranges in order. FULL: out of memory. */
must_use enum status special_find(const struct special *s, const char *text, size_t len,
                                  const struct special_range *trusted, size_t n_trusted,
                                  struct special_cuts *out, struct note *why);
void special_cuts_close(struct special_cuts *c);

#endif
