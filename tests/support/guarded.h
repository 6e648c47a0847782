/* support/guarded.h - memory that ends where a page that faults begins: a read one byte too far dies. */
#ifndef SUPPORT_GUARDED_H
#define SUPPORT_GUARDED_H

#include <stddef.h>

/* `bytes` zero bytes that end at the guard page, so they are aligned to what `bytes` is a multiple of. */
void *guarded_new(size_t bytes);
void guarded_free(void *p, size_t bytes);

#endif
