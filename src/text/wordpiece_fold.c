#include "text/wordpiece_fold.h"

#include <stddef.h>

#include "text/wordpiece_table.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The first of n ranges that ends at c or behind it. */
static size_t range_at(const struct fold_range *range, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (range[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_in(const struct fold_range *range, size_t n, uint32_t c)
{
    const size_t i = range_at(range, n, c);
    return i < n && range[i].first <= c;
}

bool fold_is_space(uint32_t c)
{
    if (c < 128)
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
    return is_in(space_ranges, COUNT(space_ranges), c);
}

bool fold_is_punctuation(uint32_t c)
{
    if (c < 128)
        return (c > ' ' && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') ||
               (c > 'z' && c < 127);
    return is_in(punctuation_ranges, COUNT(punctuation_ranges), c);
}

bool fold_is_ideograph(uint32_t c)
{
    static const struct fold_range ideographs[] = { { 0x3400, 0x4dbf },   { 0x4e00, 0x9fff },
                                                    { 0xf900, 0xfaff },   { 0x20000, 0x2a6df },
                                                    { 0x2a700, 0x2b73f }, { 0x2b740, 0x2b81f },
                                                    { 0x2b920, 0x2ceaf }, { 0x2f800, 0x2fa1f } };
    return is_in(ideographs, COUNT(ideographs), c);
}

/* A syllable is two or three letters (Unicode 3.12). */
static unsigned fold_hangul(uint32_t c, uint32_t out[FOLD_MAX])
{
    enum {
        FIRST = 0xac00,
        LEAD = 0x1100,
        VOWEL = 0x1161,
        TAIL = 0x11a7,
        N_VOWEL = 21,
        N_TAIL = 28
    };
    const uint32_t i = c - FIRST, tail = i % N_TAIL;
    out[0] = LEAD + i / (N_VOWEL * N_TAIL);
    out[1] = VOWEL + i % (N_VOWEL * N_TAIL) / N_TAIL;
    out[2] = TAIL + tail;
    return tail ? 3 : 2;
}

static unsigned fold_several(const struct fold_form *form, uint32_t out[FOLD_MAX])
{
    unsigned n = 0;
    for (; n < FOLD_MAX && form->to[n]; n++)
        out[n] = form->to[n];
    return n;
}

/* NULL: it does not become several. */
static const struct fold_form *form_of(uint32_t c)
{
    size_t low = 0, high = COUNT(several_forms);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (several_forms[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < COUNT(several_forms) && several_forms[low].from == c ? &several_forms[low] : NULL;
}

static uint32_t fold_one(uint32_t c)
{
    size_t low = 0, high = COUNT(one_runs);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (one_runs[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    const struct fold_run *run = &one_runs[low];
    if (low == COUNT(one_runs) || c < run->first || (c - run->first) % run->step)
        return c;
    return c + (uint32_t)run->delta;
}

unsigned fold_char(uint32_t c, uint32_t out[FOLD_MAX])
{
    if (c < 128) {
        out[0] = c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
        return c >= ' ' && c != 127;
    }
    if (c >= 0xac00 && c <= 0xd7a3)
        return fold_hangul(c, out);
    if (is_in(dropped_ranges, COUNT(dropped_ranges), c))
        return 0;
    const struct fold_form *form = form_of(c);
    if (form)
        return fold_several(form, out);
    out[0] = fold_one(c);
    return 1;
}
