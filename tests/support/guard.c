#include "support/guard.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

struct guarded guard_new(size_t bytes, size_t align)
{
    size_t pages = (bytes + PAGE - 1) / PAGE;
    struct guarded g = { .mapped = (pages + 2) * PAGE };
    g.base = mmap(NULL, g.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(g.base != MAP_FAILED);
    uint8_t *first = (uint8_t *)g.base + PAGE, *end = first + pages * PAGE;
    int failed = mprotect(first, pages * PAGE, PROT_READ | PROT_WRITE);
    assert(!failed);
    g.at = (void *)((uintptr_t)(end - bytes) & ~(uintptr_t)(align - 1));
    return g;
}

void guard_free(struct guarded *g)
{
    munmap(g->base, g->mapped);
    *g = (struct guarded){ 0 };
}
