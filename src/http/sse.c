#include "http/sse.h"

#include <string.h>

static size_t line_len(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[n] != '\n' && text[n] != '\r')
        n++;
    return n;
}

void sse_add_event(struct buf *out, const char *name, const char *text, size_t len)
{
    if (name) {
        buf_add_text(out, "event: ");
        buf_add(out, name, line_len(name, strlen(name)));
        buf_add_byte(out, '\n');
    }
    for (;;) {
        size_t n = line_len(text, len);
        buf_add_text(out, "data: ");
        buf_add(out, text, n);
        buf_add_byte(out, '\n');
        if (n == len)
            break;
        n += 1 + (text[n] == '\r' && n + 1 < len && text[n + 1] == '\n');
        text += n;
        len -= n;
    }
    buf_add_byte(out, '\n');
}

void sse_add_comment(struct buf *out, const char *text)
{
    buf_add_text(out, ": ");
    buf_add(out, text, line_len(text, strlen(text)));
    buf_add_text(out, "\n\n");
}
