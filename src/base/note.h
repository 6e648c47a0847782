/* base/note.h - the sentence for a human, written where the cause is known.
 *
 * A call that can fail takes a `struct note *why`, and fills it on its cold path; whoever ends the
 * chain prints it. A note says what was wrong, the value, the limit, and what to do. NULL is allowed. */
#ifndef BASE_NOTE_H
#define BASE_NOTE_H

#include <stdarg.h>

struct note {
    char text[512];
};

/* Replaces the text; understands %m. Longer text is cut. */
void note_set(struct note *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

void note_set_v(struct note *why, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Puts "format: " in front of what is there, to say in which larger thing it happened. */
void note_prefix(struct note *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
