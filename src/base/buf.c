#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

static bool room_for(struct buf *b, size_t more)
{
    if (b->failed)
        return false;
    if (b->bytes && b->room - b->len > more)
        return true;
    size_t room = b->room ? b->room * 2 : 64;
    while (room - b->len <= more)
        room *= 2;
    char *bytes = mem_resize(b->bytes, room, 1);
    if (!bytes) {
        b->failed = true;
        return false;
    }
    b->bytes = bytes;
    b->room = room;
    return true;
}

void buf_close(struct buf *b)
{
    mem_free(b->bytes);
    *b = (struct buf){ 0 };
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->bytes)
        b->bytes[0] = 0;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    if (!room_for(b, len))
        return;
    if (len)
        memcpy(b->bytes + b->len, bytes, len);
    b->len += len;
    b->bytes[b->len] = 0;
}

void buf_add_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_byte(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0) // more than INT_MAX, or a wide character that is none
        b->failed = true;
    else if (room_for(b, (size_t)n + 1)) {
        vsnprintf(b->bytes + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

/* Controls, and what some readers take for the end of a line: a line of JSON must stay one. */
static bool is_escaped(uint32_t c)
{
    return c < 0x20 || c == 0x7f || c == 0x85 || c == 0x2028 || c == 0x2029;
}

void buf_add_json_text(struct buf *b, const char *bytes, size_t len)
{
    buf_add_byte(b, '"');
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = utf8_read(bytes + i, len - i, &c);
        if (n == 0) {
            buf_add_text(b, "\\ufffd");
            i++;
            continue;
        }
        if (c == '"' || c == '\\')
            buf_addf(b, "\\%c", (char)c);
        else if (c == '\n')
            buf_add_text(b, "\\n");
        else if (is_escaped(c))
            buf_addf(b, "\\u%04x", c);
        else
            buf_add(b, bytes + i, n);
        i += n;
    }
    buf_add_byte(b, '"');
}

const char *buf_text(const struct buf *b)
{
    return b->bytes ? b->bytes : "";
}

void ids_close(struct ids *v)
{
    mem_free(v->id);
    *v = (struct ids){ 0 };
}

void ids_add(struct ids *v, int32_t id)
{
    if (v->failed)
        return;
    if (v->n == v->room) {
        size_t room = v->room ? v->room * 2 : 64;
        int32_t *grown = mem_resize(v->id, room, sizeof *grown);
        if (!grown) {
            v->failed = true;
            return;
        }
        v->id = grown;
        v->room = room;
    }
    v->id[v->n++] = id;
}

void ids_add_all(struct ids *v, const int32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids_add(v, id[i]);
}
