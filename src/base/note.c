#include "base/note.h"

#include <stdio.h>
#include <string.h>

void note_set_v(struct note *why, const char *format, va_list ap)
{
    if (why)
        vsnprintf(why->text, sizeof why->text, format, ap);
}

void note_set(struct note *why, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    note_set_v(why, format, ap);
    va_end(ap);
}

void note_prefix(struct note *why, const char *format, ...)
{
    if (!why)
        return;
    struct note old = *why;
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(why->text, sizeof why->text, format, ap);
    va_end(ap);
    size_t room = n < 0 || (size_t)n >= sizeof why->text ? 0 : sizeof why->text - (size_t)n;
    if (room > 3)
        snprintf(why->text + n, room, ": %.*s", (int)room - 3, old.text);
}
