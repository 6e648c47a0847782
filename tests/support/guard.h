/* support/guard.h - memory that ends at a page nobody may touch, so that reading one byte too far is a crash. */
#ifndef SUPPORT_GUARD_H
#define SUPPORT_GUARD_H

#include <stddef.h>

struct guarded {
    void *at;   // `bytes` of them, zeroed, ending at the guard page but for what `align` needs
    void *base; // the mapping
    size_t mapped;
};

struct guarded guard_new(size_t bytes, size_t align);
void guard_free(struct guarded *g);

#endif
