#include "kv/option.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"

void kv_text_add(struct kv_text *t, const char *format, ...)
{
    va_list ap;
    const size_t at = t->len < t->size ? t->len : t->size;
    va_start(ap, format);
    int n = vsnprintf(t->size ? t->text + at : NULL, t->size - at, format, ap);
    va_end(ap);
    t->len += n > 0 ? (size_t)n : 0;
}

void kv_text_join(char *list, size_t size, const char *word)
{
    const size_t have = strlen(list), need = strlen(word);
    if (have + need + 2 > size)
        return;
    if (have)
        list[have] = ' ';
    memcpy(list + have + (have ? 1 : 0), word, need + 1);
}

/* ---- numbers ---- */

/* A plain decimal number in front of `text`. False: there is none. */
static bool take_number(const char *text, const char **end, double *out)
{
    char digits[48], *stop;
    const size_t n = strspn(text, "0123456789.+-eE");
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    *out = strtod(digits, &stop);
    *end = text + n;
    return *stop == '\0' && isfinite(*out);
}

static bool in_bounds(const struct kv_option *o, double x, const char *text, struct note *why)
{
    if (x >= o->least && x <= o->most)
        return true;
    note_set(why, "%s: %s is outside of the limits, %.10g to %.10g%s%s", o->name, text, o->least,
             o->most, o->unit ? " " : "", o->unit ? o->unit : "");
    return false;
}

static enum status set_count(const struct kv_option *o, uint32_t *out, const char *text,
                             struct note *why)
{
    const char *end;
    double x;
    if (!take_number(text, &end, &x) || *end || x != rint(x)) {
        note_set(why, "%s: '%s' is no whole number", o->name, text);
        return BAD_INPUT;
    }
    if (!in_bounds(o, x, text, why))
        return BAD_INPUT;
    *out = (uint32_t)x;
    return OK;
}

static enum status set_number(const struct kv_option *o, float *out, const char *text,
                              struct note *why)
{
    const char *end;
    double x;
    if (strcmp(text, "inf") == 0 && isinf(o->most)) {
        *out = INFINITY;
        return OK;
    }
    if (!take_number(text, &end, &x) || *end) {
        note_set(why, "%s: '%s' is no number", o->name, text);
        return BAD_INPUT;
    }
    if (!in_bounds(o, x, text, why))
        return BAD_INPUT;
    *out = (float)x;
    return OK;
}

/* ---- amounts ---- */

/* The unit behind a number: nothing, %, or K, M, G, T with B or iB (K not alone). 0: none of them. */
static double amount_unit(const char *text, enum kv_amount_unit *unit)
{
    static const char letters[] = "KMGT";
    *unit = *text == '\0' ? KV_ROWS : strcmp(text, "%") == 0 ? KV_PERCENT : KV_BYTES;
    if (*unit != KV_BYTES || strcmp(text, "B") == 0)
        return 1;
    const char *letter = strchr(letters, *text);
    const bool known = letter && (strcmp(text + 1, "iB") == 0 || strcmp(text + 1, "B") == 0 ||
                                  (!text[1] && *text != 'K'));
    return known ? ldexp(1, 10 * (int)(letter - letters + 1)) : 0;
}

static bool amount_fits(const struct kv_option *o, struct kv_amount a, const char *text,
                        struct note *why)
{
    if (a.unit == KV_ROWS)
        return in_bounds(o, a.n, text, why);
    if (a.unit == KV_PERCENT && (a.n > 100 || a.n < 0 || (o->least > 0 && a.n == 0))) {
        note_set(why, "%s: %s is outside of the limits, %s 0 to 100%%", o->name, text,
                 o->least > 0 ? "above" : "from");
        return false;
    }
    if (a.unit == KV_BYTES && (a.n < 1 || a.n > 0x1p53)) {
        note_set(why, "%s: %s is outside of the limits, 1B to 8192TiB", o->name, text);
        return false;
    }
    return true;
}

static enum status set_amount(const struct kv_option *o, struct kv_amount *out, const char *text,
                              struct note *why)
{
    const char *end;
    struct kv_amount a = { 0 };
    const double factor = take_number(text, &end, &a.n) ? amount_unit(end, &a.unit) : 0;
    if (factor == 0 || (a.unit == KV_ROWS && a.n != rint(a.n))) {
        note_set(why,
                 "%s: '%s' is no amount: give rows (512), a share (20%%), or bytes with a unit "
                 "(64MiB, 512KiB)",
                 o->name, text);
        return BAD_INPUT;
    }
    a.n = a.unit == KV_BYTES ? floor(a.n * factor) : a.n;
    if (!amount_fits(o, a, text, why))
        return BAD_INPUT;
    *out = a;
    return OK;
}

/* With as few digits as read back to the same number. */
static void print_number(double x, bool is_float, struct kv_text *out)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (is_float ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x)
            break;
    }
    kv_text_add(out, "%s", text);
}

static void print_amount(struct kv_amount a, struct kv_text *out)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    uint32_t i = 0;
    if (a.unit == KV_ROWS) {
        kv_text_add(out, "%.0f", a.n);
        return;
    }
    if (a.unit == KV_PERCENT) {
        print_number(a.n, false, out);
        kv_text_add(out, "%%");
        return;
    }
    for (; i < 4 && fmod(a.n, 1024) == 0; i++)
        a.n /= 1024;
    kv_text_add(out, "%.0f%s", a.n, units[i]);
}

/* ---- words ---- */

/* The index of `text` in a list of words. */
static bool word_index(const char *list, const char *text, uint32_t *out)
{
    const char *word;
    size_t len;
    for (uint32_t i = 0; word_next(&list, &word, &len); i++) {
        if (strlen(text) == len && strncmp(text, word, len) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static enum status set_word(const struct kv_option *o, uint32_t *out, const char *text,
                            struct note *why)
{
    if (word_index(o->words, text, out))
        return OK;
    note_set(why, "%s: '%s' is none of: %s", o->name, text, o->words);
    return BAD_INPUT;
}

static enum status set_switch(const struct kv_option *o, bool *out, const char *text,
                              struct note *why)
{
    uint32_t i;
    if (!word_index("off false no 0 on true yes 1", text, &i)) {
        note_set(why, "%s: '%s' is neither on nor off", o->name, text);
        return BAD_INPUT;
    }
    *out = i >= 4;
    return OK;
}

static void print_word(const char *list, uint32_t i, struct kv_text *out)
{
    const char *word = "";
    size_t len = 0;
    for (uint32_t n = 0; n <= i && word_next(&list, &word, &len); n++)
        ;
    kv_text_add(out, "%.*s", (int)len, word);
}

/* ---- any ---- */

enum status kv_option_set(const struct kv_option *o, void *options, const char *text,
                          struct note *why)
{
    void *field = (char *)options + o->at;
    switch (o->type) {
    case KV_OPTION_COUNT:
        return set_count(o, field, text, why);
    case KV_OPTION_AMOUNT:
        return set_amount(o, field, text, why);
    case KV_OPTION_NUMBER:
        return set_number(o, field, text, why);
    case KV_OPTION_SWITCH:
        return set_switch(o, field, text, why);
    case KV_OPTION_WORD:
        return set_word(o, field, text, why);
    }
    return BAD_INPUT;
}

void kv_option_print(const struct kv_option *o, const void *options, struct kv_text *out)
{
    const void *field = (const char *)options + o->at;
    switch (o->type) {
    case KV_OPTION_COUNT:
        kv_text_add(out, "%u", *(const uint32_t *)field);
        return;
    case KV_OPTION_AMOUNT:
        print_amount(*(const struct kv_amount *)field, out);
        return;
    case KV_OPTION_NUMBER:
        print_number(*(const float *)field, true, out);
        return;
    case KV_OPTION_SWITCH:
        kv_text_add(out, *(const bool *)field ? "on" : "off");
        return;
    case KV_OPTION_WORD:
        print_word(o->words, *(const uint32_t *)field, out);
        return;
    }
}
