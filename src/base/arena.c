#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum { ALIGN = 64, CHUNK_MIN = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *older;
    size_t size; // usable bytes behind the header
    char pad[ALIGN - sizeof(void *) - sizeof(size_t)];
    char bytes[];
};

void arena_open(struct arena *a, size_t bytes_max)
{
    *a = (struct arena){ .bytes_max = bytes_max };
}

static void chunks_free(struct arena *a, struct arena_chunk *from)
{
    while (from) {
        struct arena_chunk *older = from->older;
        a->bytes_held -= from->size;
        mem_free(from);
        from = older;
    }
}

void arena_close(struct arena *a)
{
    chunks_free(a, a->newest);
    *a = (struct arena){ .bytes_max = a->bytes_max };
}

void arena_clear(struct arena *a)
{
    if (!a->newest)
        return;
    chunks_free(a, a->newest->older);
    a->newest->older = NULL;
    memset(a->newest->bytes, 0, a->used);
    a->used = 0;
}

static struct arena_chunk *chunk_add(struct arena *a, size_t need)
{
    size_t size = a->newest ? a->newest->size * 2 : CHUNK_MIN;
    if (size < need)
        size = need;
    if (a->bytes_max && a->bytes_held + size > a->bytes_max)
        size = need;
    if (a->bytes_max && a->bytes_held + size > a->bytes_max)
        return NULL;
    struct arena_chunk *c = mem_new_aligned(1, sizeof *c + size, ALIGN);
    if (!c)
        return NULL;
    c->older = a->newest;
    c->size = size;
    a->newest = c;
    a->used = 0;
    a->bytes_held += size;
    return c;
}

void *arena_new(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 4)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!a->newest || a->newest->size - a->used < bytes) {
        if (!chunk_add(a, bytes))
            return NULL;
    }
    void *p = a->newest->bytes + a->used; // zero since the chunk was new
    a->used += bytes;
    return p;
}

char *arena_copy_text(struct arena *a, const char *text, size_t len)
{
    char *copy = arena_new(a, len + 1, 1);
    if (copy && len)
        memcpy(copy, text, len);
    return copy;
}
