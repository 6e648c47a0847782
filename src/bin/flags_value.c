/* The text of a flag's value, to its field. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bin/flags_in.h"

static void *field(const struct flag *f, void *options)
{
    return (char *)options + f->at;
}

static bool is_bounded(const struct flag *f)
{
    return f->least < f->most;
}

static enum status check_bounds(const struct flag *f, double x, const char *text, struct note *why)
{
    if (!is_bounded(f) || (x >= f->least && x <= f->most))
        return OK;
    if (f->most == (double)INFINITY)
        note_set(why, "%s is below the least that is allowed, %.15g", text, f->least);
    else
        note_set(why, "%s is outside of the limits, %.15g to %.15g", text, f->least, f->most);
    return BAD_INPUT;
}

/* What is left behind a number, and errno, decide whether it was one. */
static enum status check_number(const char *text, const char *end, const char *what,
                                struct note *why)
{
    if (end == text || *end || isspace((unsigned char)*text)) {
        note_set(why, "'%s' is no %s", text, what);
        return BAD_INPUT;
    }
    if (errno == ERANGE) {
        note_set(why, "%s is too large for 64 bits", text);
        return BAD_INPUT;
    }
    return OK;
}

static enum status set_int(const struct flag *f, int64_t *out, const char *text, struct note *why)
{
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    enum status st = check_number(text, end, "whole number", why);
    if (st == OK)
        st = check_bounds(f, (double)x, text, why);
    if (st == OK)
        *out = x;
    return st;
}

static enum status set_u64(const struct flag *f, uint64_t *out, const char *text, struct note *why)
{
    char *end;
    errno = 0;
    unsigned long long x = strtoull(text, &end, 10);
    enum status st = check_number(text, end, "whole number", why);
    if (st == OK && *text == '-') {
        note_set(why, "%s is below 0", text);
        st = BAD_INPUT;
    }
    if (st == OK)
        st = check_bounds(f, (double)x, text, why);
    if (st == OK)
        *out = x;
    return st;
}

static enum status set_float(const struct flag *f, double *out, const char *text, struct note *why)
{
    char *end;
    double x = strtod(text, &end);
    errno = 0; // an underflow to zero is as good as zero
    enum status st = check_number(text, isfinite(x) ? end : text, "number", why);
    if (st == OK)
        st = check_bounds(f, x, text, why);
    if (st == OK)
        *out = x;
    return st;
}

/* "1.5G": a number, then K, M, G or T, then B or iB for those who like it. */
static enum status set_size(const struct flag *f, uint64_t *out, const char *text, struct note *why)
{
    static const char units[] = "KMGT";
    char *end;
    double x = strtod(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        x = ldexp(x, 10 * (int)(unit - units + 1));
        end += strncmp(end + 1, "iB", 2) == 0 ? 3 : 1;
    }
    if (*end == 'B')
        end++;
    errno = 0;
    enum status st = check_number(text, isfinite(x) ? end : text,
                                  "size (bytes, or a number with K, M, G or T behind it)", why);
    if (st == OK && (x < 0 || x >= 0x1p63)) {
        note_set(why, "%s is outside of the limits of a size, 0 to 8388607T", text);
        st = BAD_INPUT;
    }
    if (st == OK)
        st = check_bounds(f, x, text, why);
    if (st == OK)
        *out = (uint64_t)x;
    return st;
}

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

static enum status set_enum(const struct flag *f, uint32_t *out, const char *text, struct note *why)
{
    if (word_index(f->words, text, out))
        return OK;
    note_set(why, "'%s' is none of: %s", text, f->words);
    return BAD_INPUT;
}

static enum status set_switch(bool *out, const char *text, struct note *why)
{
    uint32_t i;
    if (!word_index("off false no 0 on true yes 1", text, &i)) {
        note_set(why, "'%s' is neither on nor off", text);
        return BAD_INPUT;
    }
    *out = i >= 4;
    return OK;
}

static enum status add_text(struct flag_texts *all, const char *text, struct note *why)
{
    if (all->n == FLAG_TEXTS_MAX) {
        note_set(why, "'%s' is one too many: at most %d can be given", text, FLAG_TEXTS_MAX);
        return BAD_INPUT;
    }
    all->text[all->n++] = text;
    return OK;
}

enum status flag_set(const struct flag *f, void *options, const char *text, struct note *why)
{
    switch (f->type) {
    case FLAG_TEXT:
        *(const char **)field(f, options) = text;
        return OK;
    case FLAG_INT:
        return set_int(f, field(f, options), text, why);
    case FLAG_U64:
        return set_u64(f, field(f, options), text, why);
    case FLAG_FLOAT:
        return set_float(f, field(f, options), text, why);
    case FLAG_SWITCH:
        return set_switch(field(f, options), text, why);
    case FLAG_SIZE:
        return set_size(f, field(f, options), text, why);
    case FLAG_ENUM:
        return set_enum(f, field(f, options), text, why);
    case FLAG_TEXTS:
        return add_text(field(f, options), text, why);
    }
    return BAD_INPUT;
}
