#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t fail_at, asked;

bool mem_refused(void)
{
    uint64_t n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    return n == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

void mem_fail_at(uint64_t k)
{
    atomic_store(&asked, 0);
    atomic_store(&fail_at, k);
}

uint64_t mem_fail_count(void)
{
    return atomic_load(&asked);
}

void *mem_new(size_t n, size_t size)
{
    size_t bytes;
    if (mem_refused() || __builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *mem_new_aligned(size_t n, size_t size, size_t align)
{
    size_t bytes;
    void *p;
    if (mem_refused() || __builtin_mul_overflow(n, size, &bytes))
        return NULL;
    if (posix_memalign(&p, align, bytes ? bytes : 1))
        return NULL;
    memset(p, 0, bytes);
    return p;
}

void *mem_resize(void *old, size_t n, size_t size)
{
    size_t bytes;
    if (mem_refused() || __builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return realloc(old, bytes ? bytes : 1);
}

char *mem_copy_text(const char *text, size_t len)
{
    char *copy = mem_new(len + 1, 1);
    if (copy && len)
        memcpy(copy, text, len);
    return copy;
}

void mem_free(void *p)
{
    free(p);
}
