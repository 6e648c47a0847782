/* kv/option.h - one option of a policy: its value from text, and back. Private to kv/policy.c, kv/policy_print.c and
 * tests.
 *
 * Amounts are "512" (rows), "20%", "64MiB" (or MB, M: powers of 1024; a plain K would be read as rows by some and as
 * bytes by others, so it is refused). Threads  any. */
#ifndef KV_OPTION_H
#define KV_OPTION_H

#include "kv/policy.h"

/* Those that every policy but `full` has; of them the first few where nothing is dropped. */
enum { KV_N_COMMON = 11, KV_N_COMMON_SELECT = 3 };
extern const struct kv_option kv_common_options[KV_N_COMMON];

/* Text into a room of fixed size, cut where that ends; `len` goes on counting, as snprintf's. */
struct kv_text {
    char *text;
    size_t size, len;
};
void kv_text_add(struct kv_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends a word to a list in a room of `size`, with a space between; what does not fit is left out. */
void kv_text_join(char *list, size_t size, const char *word);

/* BAD_INPUT: the note names the option, the value and the limit; nothing changed. */
must_use enum status kv_option_set(const struct kv_option *o, void *options, const char *text,
                                   struct note *why);

/* As kv_option_set reads it. */
void kv_option_print(const struct kv_option *o, const void *options, struct kv_text *out);

#endif
