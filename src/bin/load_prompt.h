/* bin/load_prompt.h - the requests of a load: what shall be shared is, and nothing else.
 *
 *   prefix k  w w w w ... w      the same words for every request that has prefix k
 *   request i          + d d d d w ... w     its own: digits of i as words, then words by seed
 *
 * L1  Request i of a seed is the same bytes in every run, whatever came before it.
 * L2  Own parts of four words and more differ for any two requests of a run (2^32 of them), and
 *     those of two requests less than 256 apart from the first word on.
 *
 * A word is one of 256 that are one token each, with the space before it, in the vocabularies that
 * we know: lengths are close to what was asked for, and the server's own count gets reported.
 *
 * Lifetime  load_prompts_open to load_prompts_close. Threads  one at a time. Cost  linear. */
#ifndef BIN_LOAD_PROMPT_H
#define BIN_LOAD_PROMPT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "bin/load_dist.h"
#include "bin/load_trace.h"

enum { LOAD_TOKENS_MAX = 1000000, LOAD_PREFIXES_MAX = 4096 };

struct load_shape {
    struct load_dist own, output;   // tokens a request,
    const struct load_trace *trace; //   or those of its rows; NULL: none
    uint32_t n_prefix;              // different ones, at least 1
    uint32_t prefix_tokens;         // of each; 0: none
    uint64_t seed;
    bool text; // /v1/completions in place of /v1/chat/completions
    bool ignore_eos;
    double temperature;
    const char *model; // as the server calls it
    json_t *extra;     // an object of members to add, or to put in place of ours; NULL: none
};

struct load_prompts {
    const struct load_shape *shape;
    struct buf *prefix; // [n_prefix]
};

/* FULL: no memory; nothing stays open. */
must_use enum status load_prompts_open(struct load_prompts *p, const struct load_shape *shape,
                                       struct note *why);
void load_prompts_close(struct load_prompts *p);

enum load_part { LOAD_COUNTED, LOAD_WARM_UP, LOAD_WARM_PREFIX }; // what request i is one of

/* The body of request i into `out`, and the tokens that it asks for. A warm-up has no prefix; the
 * warming of prefix i asks for one token behind it. FULL: no memory. */
must_use enum status load_prompt_body(const struct load_prompts *p, enum load_part part, uint32_t i,
                                      struct buf *out, uint32_t *n_output);

/* How long the client of request i thinks before it asks. */
double load_think_ms(const struct load_shape *shape, const struct load_dist *think, uint32_t i);

#endif
