#include "os/pages.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

#ifndef MADV_POPULATE_READ // Linux 5.14
#define MADV_POPULATE_READ 22
#endif

enum status pages_new(void **out, size_t bytes, const char *what, struct note *why)
{
    void *p = MAP_FAILED;
    if (mem_refused())
        errno = ENOMEM;
    else
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        note_set(why, "no memory for %s (%zu bytes): %m", what, bytes);
        return FULL;
    }
    madvise(p, bytes, MADV_HUGEPAGE); /* a wish: small pages work too */
    *out = p;
    return OK;
}

void pages_free(void *p, size_t bytes)
{
    if (p)
        munmap(p, bytes);
}

void pages_forget(const void *p, size_t bytes)
{
    uintptr_t page = os_page_bytes();
    uintptr_t first = ((uintptr_t)p + page - 1) & ~(page - 1);
    uintptr_t last = ((uintptr_t)p + bytes) & ~(page - 1);
    if (first < last)
        madvise((void *)first, last - first, MADV_DONTNEED);
}

bool pages_fetch(const void *p, size_t bytes)
{
    const uintptr_t page = os_page_bytes(), first = (uintptr_t)p & ~(page - 1);
    return madvise((void *)first, (uintptr_t)p + bytes - first, MADV_POPULATE_READ) == 0 ||
           errno == EINVAL;
}

size_t os_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}
