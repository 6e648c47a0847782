/* base/buf.h - bytes that grow: text being built.
 *
 * `bytes` always ends in a zero byte that `len` does not count, so it can be read as a C string. A failed
 * allocation sets `failed` and drops what did not fit: check once, at the end.
 *
 * Lifetime  whoever opened it; `(struct buf){ 0 }` is an empty one. Threads  one at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *bytes; // NULL while empty
    size_t len;
    size_t room;
    bool failed;
};

void buf_close(struct buf *b);
void buf_clear(struct buf *b); // keeps the memory
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_text(struct buf *b, const char *text);
void buf_add_byte(struct buf *b, char c);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_add_json_text(struct buf *b, const char *bytes,
                       size_t len);        // quoted, escaped; bad UTF-8 as U+FFFD
const char *buf_text(const struct buf *b); // never NULL

/* The same for token ids. */
struct ids {
    int32_t *id;
    size_t n;
    size_t room;
    bool failed;
};

void ids_close(struct ids *v);
void ids_add(struct ids *v, int32_t id);
void ids_add_all(struct ids *v, const int32_t *id, size_t n);

#endif
