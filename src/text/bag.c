#include "text/bag.h"

#include <stdbool.h>
#include <string.h>

enum { WORD_MAX = 64 };

struct word {
    char bytes[WORD_MAX];
    size_t n;
};

/* FNV-1a: a table of this process's seed would not do (base/hash.h). */
static uint64_t hash_of(const char *bytes, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

static bool drop_ending(struct word *w, const char *ending)
{
    const size_t n = strlen(ending);
    if (w->n < n + 3 || memcmp(w->bytes + w->n - n, ending, n) != 0)
        return false;
    w->n -= n;
    return true;
}

static void word_ends(struct word *w, float *count)
{
    static const char *const ending[] = { "ing", "ed", "es", "s", "e" };
    if (w->n == 0)
        return;
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (drop_ending(w, ending[i]))
            break;
    const uint64_t h = hash_of(w->bytes, w->n);
    count[h % BAG_PLACES] += h >> 63 ? -1 : 1;
    w->n = 0;
}

static void word_add(struct word *w, const char *bytes, size_t n)
{
    if (w->n + n > WORD_MAX)
        return;
    memcpy(w->bytes + w->n, bytes, n);
    w->n += n;
}

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}

void bag_add(float *count, const char *text, size_t len)
{
    struct word w = { .n = 0 };
    for (size_t i = 0; i < len;) {
        const unsigned char c = (unsigned char)text[i];
        const size_t n = c < 0x80   ? 1
                         : c < 0xe0 ? 2
                         : c < 0xf0 ? 3
                                    : 4,
                     m = i + n < len ? n : len - i;
        const char lower = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : (char)c;
        const bool alone = c >= 0xe2 + 1; /* U+3000 and above: scripts without spaces */
        if (alone || !is_letter(c))
            word_ends(&w, count);
        if (is_letter(c))
            word_add(&w, n == 1 ? &lower : text + i, m);
        if (alone)
            word_ends(&w, count);
        i += m;
    }
    word_ends(&w, count);
}
