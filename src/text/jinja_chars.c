#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/jinja_chars.h"

#include <pcre2.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/jinja_case_table.h"

/* ---- classes ---- */

struct jchars {
    pcre2_code *code[JCHAR_CLASSES];
    pcre2_match_data *match;
};

/* Python's words in Unicode's categories; isdigit also takes superscripts and digits in circles,
 * some of No. */
static const char *const patterns[JCHAR_CLASSES] = {
    [JCHAR_PRINTABLE] = "[^\\p{C}\\p{Z}]|\\x20",
    [JCHAR_ALPHA] = "\\p{L}",
    [JCHAR_DECIMAL] = "\\p{Nd}",
    [JCHAR_DIGIT] =
        "[\\p{Nd}\\x{b2}\\x{b3}\\x{b9}\\x{1369}-\\x{1371}\\x{19da}\\x{2070}\\x{2074}-\\x{2079}"
        "\\x{2080}-\\x{2089}\\x{2460}-\\x{2468}\\x{2474}-\\x{247c}\\x{2488}-\\x{2490}\\x{24ea}"
        "\\x{24f5}-\\x{24fd}\\x{24ff}\\x{2776}-\\x{277e}\\x{2780}-\\x{2788}\\x{278a}-\\x{2792}"
        "\\x{10a40}-\\x{10a43}\\x{10e60}-\\x{10e68}\\x{11052}-\\x{1105a}\\x{1f100}-\\x{1f10a}]",
    [JCHAR_NUMERIC] = "\\p{N}",
    [JCHAR_UPPER] = "\\p{Uppercase}",
    [JCHAR_LOWER] = "\\p{Lowercase}",
    [JCHAR_CASED] = "\\p{Cased}",
};

static bool ascii_is(enum jchar_class class, uint32_t c)
{
    bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
    switch (class) {
    case JCHAR_PRINTABLE:
        return c >= 0x20 && c < 0x7f;
    case JCHAR_UPPER:
        return upper;
    case JCHAR_LOWER:
        return lower;
    case JCHAR_ALPHA:
    case JCHAR_CASED:
        return upper || lower;
    default:
        return c >= '0' && c <= '9';
    }
}

/* The compiled class, or NULL when there is no memory for it. */
static pcre2_code *class_code(struct jchars **chars, enum jchar_class class)
{
    int error;
    PCRE2_SIZE where;
    if (!*chars)
        *chars = mem_new(1, sizeof **chars);
    if (!*chars)
        return NULL;
    struct jchars *all = *chars;
    if (!all->match)
        all->match = pcre2_match_data_create(1, NULL);
    if (!all->code[class])
        all->code[class] = pcre2_compile((PCRE2_SPTR)patterns[class], PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_ANCHORED, &error, &where, NULL);
    return all->match ? all->code[class] : NULL;
}

bool jchar_is(struct jchars **chars, enum jchar_class class, uint32_t c)
{
    char bytes[4];
    if (c < 128)
        return ascii_is(class, c);
    pcre2_code *code = class_code(chars, class);
    size_t n = utf8_write(c, bytes);
    return code && pcre2_match(code, (PCRE2_SPTR)bytes, n, 0, PCRE2_NO_UTF_CHECK, (*chars)->match,
                               NULL) >= 0;
}

void jchars_free(struct jchars *chars)
{
    if (!chars)
        return;
    for (int i = 0; i < JCHAR_CLASSES; i++)
        pcre2_code_free(chars->code[i]);
    pcre2_match_data_free(chars->match);
    mem_free(chars);
}

/* ---- cases ---- */

static uint32_t mapped(const struct case_run *runs, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) { // the first run that ends at c or behind it
        size_t middle = low + (high - low) / 2;
        if (runs[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n || c < runs[low].first || (c - runs[low].first) % runs[low].step)
        return c;
    return c + (uint32_t)runs[low].delta;
}

/* The forms are in order of the character they are for. */
static bool form_of(const struct case_form *forms, size_t n, uint32_t c,
                    uint32_t out[JCHAR_FORM_MAX], unsigned *len)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (forms[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == n || forms[low].from != c)
        return false;
    memcpy(out, forms[low].to, sizeof forms[low].to);
    *len = out[2] ? 3 : out[1] ? 2 : 1;
    return true;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

unsigned jchar_upper(uint32_t c, uint32_t out[JCHAR_FORM_MAX])
{
    unsigned n = 1;
    out[0] = c;
    if (c < 128)
        out[0] = c >= 'a' && c <= 'z' ? c - 32 : c;
    else if (!form_of(upper_forms, COUNT(upper_forms), c, out, &n))
        out[0] = mapped(upper_runs, COUNT(upper_runs), c);
    return n;
}

unsigned jchar_title(uint32_t c, uint32_t out[JCHAR_FORM_MAX])
{
    unsigned n = 1;
    if (c < 128 || !form_of(title_forms, COUNT(title_forms), c, out, &n))
        n = jchar_upper(c, out);
    return n;
}

unsigned jchar_lower(uint32_t c, uint32_t out[JCHAR_FORM_MAX])
{
    unsigned n = 1;
    out[0] = c;
    if (c < 128)
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
    else if (!form_of(lower_forms, COUNT(lower_forms), c, out, &n))
        out[0] = mapped(lower_runs, COUNT(lower_runs), c);
    return n;
}
