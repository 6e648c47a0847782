#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf_internal.h"

static int text_compare(struct gguf_text a, struct gguf_text b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.bytes, b.bytes, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int pointed_compare(const void *a, const void *b)
{
    const struct gguf_text *const *x = a, *const *y = b;
    return text_compare(**x, **y);
}

struct shown shown_text(struct gguf_text t)
{
    struct shown s = { "" };
    size_t room = sizeof s.text - 4, n = t.len < room ? t.len : room;
    for (size_t i = 0; i < n; i++) {
        char c = t.bytes[i];
        s.text[i] = c >= 0x20 && c < 0x7f ? c : '?';
    }
    if (n < t.len)
        memcpy(s.text + n, "...", 4);
    return s;
}

enum status name_index_new(struct name_index *out, const void *objects, size_t n, size_t stride,
                           const char *what, struct note *why)
{
    struct name_index x = { .sorted = mem_new(n, sizeof *x.sorted), .n = n };
    if (!x.sorted) {
        note_set(why, "no memory to index %zu names", n);
        return FULL;
    }
    for (size_t i = 0; i < n; i++)
        x.sorted[i] = (const struct gguf_text *)((const char *)objects + i * stride);
    qsort(x.sorted, n, sizeof *x.sorted, pointed_compare);
    for (size_t i = 1; i < n; i++) {
        if (text_compare(*x.sorted[i - 1], *x.sorted[i]) == 0) {
            note_set(why, "duplicate %s '%s'", what, shown_text(*x.sorted[i]).text);
            name_index_free(&x);
            return BAD_INPUT;
        }
    }
    *out = x;
    return OK;
}

void name_index_free(struct name_index *x)
{
    mem_free(x->sorted);
    *x = (struct name_index){ 0 };
}

const void *name_index_find(const struct name_index *x, const char *name)
{
    struct gguf_text wanted = { .bytes = name, .len = strlen(name) };
    const struct gguf_text *key = &wanted;
    if (x->n == 0)
        return NULL;
    const struct gguf_text **hit =
        bsearch(&key, x->sorted, x->n, sizeof *x->sorted, pointed_compare);
    return hit ? *hit : NULL;
}
