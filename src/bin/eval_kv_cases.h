/* bin/eval_kv_cases.h - what a task asks: contexts, and behind each of them cases, each with its
 * answers.
 *
 *     [ context ............. ][ given | scored ]    tail 0 of a case: the right answer
 *                              [ given | scored ]    tail 1, 2, ..: wrong ones, if it is a choice
 *        the policy prunes here ^ once
 *
 * C1  A context is not empty, and neither are the two halves of a tail: the first token behind a
 *     context is predicted by the context's own last row, which no policy has touched, so it is
 *     always given and never scored.
 * C2  Cases of one context lie next to each other, so that those who run together share its pruned
 *     state.
 *
 * They are built in order: a context, its cases, the tails of each. Lifetime from (struct
 * eval_cases){ 0 } to close. Without memory `failed` is set and adding has no effect: check once,
 * at the end. */
#ifndef BIN_EVAL_KV_CASES_H
#define BIN_EVAL_KV_CASES_H

#include <stdbool.h>

#include "akvifer.h"
#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

struct eval_tail {
    size_t at;           // in `ids`
    uint32_t n, n_given; // tokens, and those of them that are not scored
    size_t score;        // of its first scored token among all scored tokens
};

struct eval_case {
    uint32_t context;         // index
    uint32_t tail, n_tail;    // its tails are tail[tail ..]
    uint32_t length, percent; // its place in the picture: tokens, depth of what is asked
};

struct eval_context {
    size_t at;
    uint32_t n;
};

struct eval_cases {
    struct ids ids;
    struct eval_context *context;
    struct eval_case *item;
    struct eval_tail *tail;
    uint32_t n_context, n_item, n_tail;
    uint32_t context_room, item_room, tail_room;
    size_t n_scored;
    bool failed;
};

void eval_cases_close(struct eval_cases *cs);

/* A new context; the next cases are behind it. */
void eval_cases_add_context(struct eval_cases *cs, const struct ids *context);
/* A new case; the next tails are its. length 0: that of the context. */
void eval_cases_add(struct eval_cases *cs, uint32_t length, uint32_t percent);
void eval_cases_add_tail(struct eval_cases *cs, const struct ids *given, const struct ids *scored);

/* FULL: there was no memory for all. BAD_INPUT: one is longer than n_ctx, or there are none. */
must_use enum status eval_cases_check(const struct eval_cases *cs, uint32_t n_ctx,
                                      struct note *why);

/* Tokens of a text; `bos`: with the one that begins a text in front, where the model has it. */
void eval_tokens(struct ids *out, const akv_model *model, const char *text, size_t len, bool bos);

/* The same of a formatted text, without that token. */
void eval_tokensf(struct ids *out, const akv_model *model, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
