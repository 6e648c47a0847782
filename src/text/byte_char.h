/* text/byte_char.h - the characters that byte-level BPE vocabularies spell bytes with.
 *
 *   byte 'a' -> U+0061 'a'     byte ' ' -> U+0120 (G with dot)     byte '\n' -> U+010A (C with dot)
 *
 * Printable bytes of Latin-1 stand for themselves; the 68 others are numbered from U+0100 on, in
 * order.
 * Source: Radford et al. 2019 (GPT-2), whose published vocabulary is written so. */
#ifndef TEXT_BYTE_CHAR_H
#define TEXT_BYTE_CHAR_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t char_of_byte(uint8_t b)
{
    if (b <= 0x20)
        return 0x100u + b;
    if (b >= 0x7f && b <= 0xa0)
        return 0x100u + 0x21u + (b - 0x7fu);
    return b == 0xad ? 0x143u : b;
}

/* The byte that is spelled with c, or -1. */
static inline int byte_of_char(uint32_t c)
{
    if (c >= 0x100 && c <= 0x120)
        return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    if (c == 0x143)
        return 0xad;
    return c <= 0xff && char_of_byte((uint8_t)c) == c ? (int)c : -1;
}

/* Reads the byte that is spelled at `s`, and the one or two bytes that spell it to *used; -1: none
 * is. */
static inline int byte_spelled(const char *s, size_t len, size_t *used)
{
    unsigned first = (unsigned char)s[0];
    if (first < 0x80) {
        *used = 1;
        return byte_of_char(first);
    }
    if (len < 2 || first < 0xc2 || first > 0xc5 || ((unsigned char)s[1] & 0xc0) != 0x80)
        return -1; // U+0143 is the last
    *used = 2;
    return byte_of_char((first & 0x1f) << 6 | ((unsigned char)s[1] & 0x3f));
}

#endif
