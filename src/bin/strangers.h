/* bin/strangers.h - flags of llama-server and vllm serve that are none of ours, and what becomes of them.
 *
 *   --cache-type-k q8_0   renamed     --kv-type int8
 *   -ngl 99               taken       and left; what we do instead is told
 *   --lora a.gguf         refused     what it asks for is not there
 *   --naem                unknown     flags.c names the nearest of ours
 *
 * X1  What would change an answer is never taken silently: it is honoured or refused.
 *
 * Source: the flags of llama.cpp at 3f545becc (common/arg.cpp), and of vLLM. Threads  any. */
#ifndef BIN_STRANGERS_H
#define BIN_STRANGERS_H

#include <stdbool.h>

enum stranger_fate { STRANGER_TAKEN, STRANGER_REFUSED };

struct stranger {
    const char *names; // with single spaces
    enum stranger_fate fate;
    bool value;          // the next word belongs to it, if it is no flag
    const char *instead; // what we do, or why not
};

/* "--ngl", "-ngl=99": up to the '='. NULL: it is none of them. */
const struct stranger *stranger_of(const char *flag);

/* The same flag under our name, or NULL; where our flag has a value that theirs says by its name, *value is that. */
const char *stranger_renamed(const char *flag, const char **value);

/* The same value under our name: "q8_0" of a KV type is "int8". */
const char *stranger_value(const char *our_flag, const char *value);

#endif
