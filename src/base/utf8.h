/* base/utf8.h - reading and writing one code point of UTF-8, strictly (RFC 3629).
 *
 * No overlong forms, no surrogates, nothing above U+10FFFF. Threads  any. Cost  O(1). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the code point at `s`: its length in bytes (1..4) and value, or 0 where the bytes are no
 * complete, valid character. */
size_t utf8_read(const char *s, size_t len, uint32_t *out);

/* Writes c (a valid scalar value) to out[4] and answers its length. */
size_t utf8_write(uint32_t c, char *out);

/* How many of the `len` bytes form complete characters, counting invalid bytes as complete: the rest
 * (0..3 bytes) is the beginning of a character that may still arrive. */
size_t utf8_complete(const char *s, size_t len);

bool utf8_valid(const char *s, size_t len);

#endif
