#include "base/utf8.h"

/* How long the character that starts with this byte is, or 0 for a byte that starts none. */
static size_t length_of(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    if (first >= 0xf0 && first <= 0xf4)
        return 4;
    return 0;
}

/* Whether `second` may follow `first`: the only place where overlong forms and surrogates show. */
static bool second_ok(uint8_t first, uint8_t second)
{
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

size_t utf8_read(const char *s, size_t len, uint32_t *out)
{
    const uint8_t *b = (const uint8_t *)s;
    if (len == 0)
        return 0;
    size_t n = length_of(b[0]);
    if (n == 0 || n > len || (n > 1 && !second_ok(b[0], b[1])))
        return 0;
    uint32_t c = n == 1 ? b[0] : b[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (b[i] & 0x3fu);
    }
    *out = c;
    return n;
}

size_t utf8_write(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

size_t utf8_complete(const char *s, size_t len)
{
    const uint8_t *b = (const uint8_t *)s;
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        uint8_t c = b[len - back];
        if ((c & 0xc0) == 0x80)
            continue;
        if (length_of(c) <= back)
            return len;
        if (back > 1 && !second_ok(c, b[len - back + 1]))
            return len;
        return len - back;
    }
    return len;
}

bool utf8_valid(const char *s, size_t len)
{
    uint32_t c;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_read(s + i, len - i, &c);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
