#include "bin/show.h"

#include <stdio.h>

static struct shown_amount scaled(uint64_t n, double base, const char *const units[5])
{
    struct shown_amount s;
    double x = (double)n;
    int i = 0;
    while (x >= base && i < 4) {
        x /= base;
        i++;
    }
    snprintf(s.text, sizeof s.text, i ? "%.1f%s" : "%.0f%s", x, units[i]);
    return s;
}

struct shown_amount show_bytes(uint64_t bytes)
{
    static const char *const units[5] = { " B", " KiB", " MiB", " GiB", " TiB" };
    return scaled(bytes, 1024, units);
}

struct shown_amount show_count(uint64_t n)
{
    static const char *const units[5] = { "", " k", " M", " G", " T" };
    return scaled(n, 1000, units);
}

struct shown_amount show_seconds(uint64_t seconds)
{
    struct shown_amount s;
    unsigned hours = (unsigned)(seconds / 3600 % 10000), rest = (unsigned)(seconds % 3600);
    if (hours)
        snprintf(s.text, sizeof s.text, "%u:%02u:%02u", hours, rest / 60, rest % 60);
    else
        snprintf(s.text, sizeof s.text, "%u:%02u", rest / 60, rest % 60);
    return s;
}

void show_harmless(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i],
                      next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
        if (c < 0x20 || c == 0x7f)
            text[i] = '?';
        else if (c == 0xc2 && next >= 0x80 && next < 0xa0) // U+0080 to U+009F
            text[i] = text[i + 1] = '?';
    }
}

void show_warning(const char *path, const char *text)
{
    char line[1024];
    int n = snprintf(line, sizeof line, "akvifer: %s: %s", path, text);
    show_harmless(line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
    fprintf(stderr, "%s\n", line);
}
