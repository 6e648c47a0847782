/* bin/serve_keys.h - the API keys of serve: of flags and of a file.
 *
 *   --api-key a --api-key b,c          keys a, b, c               tenants key-1, key-2, key-3
 *   --api-key-file: "d\ne research\n"  keys d, e                  tenants key-4, research
 *
 * An empty key is refused: it is a variable that was not set. Lifetime  until serve ends. */
#ifndef BIN_SERVE_KEYS_H
#define BIN_SERVE_KEYS_H

#include "api/api.h"
#include "bin/flags.h"

struct serve_keys {
    struct api_key key[KEYS_MAX];
    uint32_t n;
    struct buf given, file; // what the keys point into
    char name[KEYS_MAX][16];
};

/* path may be NULL. */
must_use enum status serve_keys_read(struct serve_keys *k, const struct flag_texts *given,
                                     const char *path, struct note *why);
void serve_keys_close(struct serve_keys *k);

#endif
