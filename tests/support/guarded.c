#include "support/guarded.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

static size_t pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

void *guarded_new(size_t bytes)
{
    size_t size = pages(bytes);
    char *map = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + size, PAGE, PROT_NONE) != 0)
        abort();
    return map + size - bytes;
}

void guarded_free(void *p, size_t bytes)
{
    size_t size = pages(bytes);
    munmap((char *)p + bytes - size, size + PAGE);
}
