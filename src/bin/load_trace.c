#include "bin/load_trace.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "bin/lines.h"
#include "bin/load_prompt.h"

enum { COLUMNS_MAX = 64, FIELD_BYTES = 64 };
enum column { AT, PROMPT, OUTPUT, N_COLUMN };
static const char *const column_names[N_COLUMN] = { "Timestamp", "Request tokens",
                                                    "Response tokens" };

/* Field i of a line, without quotes and blanks around it. False: there is none, or it is too long to be one of ours. */
static bool field_at(const char *line, size_t len, uint32_t i, char out[FIELD_BYTES])
{
    const char *end = line + len, *from = line;
    for (; i > 0 && from; i--) {
        from = memchr(from, ',', (size_t)(end - from));
        from = from ? from + 1 : NULL;
    }
    if (!from)
        return false;
    const char *to = memchr(from, ',', (size_t)(end - from));
    to = to ? to : end;
    while (from < to && strchr(" \t\"", *from))
        from++;
    while (to > from && strchr(" \t\r\"", to[-1]))
        to--;
    if (to - from >= FIELD_BYTES)
        return false;
    memcpy(out, from, (size_t)(to - from));
    out[to - from] = '\0';
    return true;
}

static enum status read_head(const char *line, size_t len, uint32_t at[N_COLUMN], struct note *why)
{
    char name[FIELD_BYTES];
    for (uint32_t c = 0; c < N_COLUMN; c++) {
        at[c] = UINT32_MAX;
        for (uint32_t i = 0; i < COLUMNS_MAX && at[c] == UINT32_MAX; i++) {
            if (field_at(line, len, i, name) && strcasecmp(name, column_names[c]) == 0)
                at[c] = i;
        }
        if (at[c] == UINT32_MAX) {
            note_set(why, "no column is called '%s' in the first line", column_names[c]);
            return BAD_INPUT;
        }
    }
    return OK;
}

static enum status read_row(const char *line, size_t len, const uint32_t at[N_COLUMN],
                            double x[N_COLUMN], struct note *why)
{
    char text[FIELD_BYTES], *end;
    for (uint32_t c = 0; c < N_COLUMN; c++) {
        const double most = c == AT ? 1e12 : LOAD_TOKENS_MAX;
        const bool there = field_at(line, len, at[c], text) && text[0];
        x[c] = there ? strtod(text, &end) : NAN;
        if (!there || *end || !(x[c] >= 0 && x[c] <= most)) {
            note_set(why, "'%s' is '%s'; it must be a number from 0 to %g", column_names[c],
                     there ? text : "", most);
            return BAD_INPUT;
        }
    }
    return OK;
}

static enum status add(struct load_trace *t, const double x[N_COLUMN], struct note *why)
{
    if (t->n > 0 && x[AT] < t->row[t->n - 1].seconds) {
        note_set(why, "%g s comes behind %g s; sort the rows by time", x[AT],
                 t->row[t->n - 1].seconds);
        return BAD_INPUT;
    }
    if (t->n == t->room) {
        const uint32_t room = t->room ? 2 * t->room : 1024;
        struct load_arrival *row = mem_resize(t->row, room, sizeof *row);
        if (!row) {
            note_set(why, "no memory for %u requests", room);
            return FULL;
        }
        t->row = row;
        t->room = room;
    }
    t->row[t->n++] = (struct load_arrival){ x[AT], x[PROMPT] < 1 ? 1 : (uint32_t)x[PROMPT],
                                            (uint32_t)x[OUTPUT] };
    return OK;
}

static enum status read_lines(struct load_trace *t, struct line_reader *in, struct note *why)
{
    uint32_t at[N_COLUMN];
    double x[N_COLUMN];
    const char *line;
    size_t len;
    enum status st = line_next(in, &line, &len, why);
    if (st == OK)
        st = read_head(line, len, at, why);
    while (st == OK && (st = line_next(in, &line, &len, why)) == OK) {
        st = read_row(line, len, at, x, why);
        if (st == OK && x[OUTPUT] >= 1)
            st = add(t, x, why);
    }
    if (st == BAD_INPUT)
        note_prefix(why, "line %llu", (unsigned long long)in->number);
    return st;
}

enum status load_trace_open(struct load_trace *t, const char *path, struct note *why)
{
    struct line_reader in = { .fd = -1 };
    *t = (struct load_trace){ 0 };
    enum status st = open_path(&in.fd, path, why);
    if (st != OK)
        return st;
    st = read_lines(t, &in, why);
    if (st == NOT_FOUND && t->n == 0) {
        note_set(why, "it has no request with an answer");
        st = BAD_INPUT;
    } else if (st == NOT_FOUND) {
        st = OK; /* no more lines */
    }
    for (uint32_t i = t->n; st == OK && i-- > 0;)
        t->row[i].seconds -= t->row[0].seconds;
    if (st != OK) {
        note_prefix(why, "%s", path);
        load_trace_close(t);
    }
    buf_close(&in.in);
    close(in.fd);
    return st;
}

void load_trace_close(struct load_trace *t)
{
    mem_free(t->row);
    *t = (struct load_trace){ 0 };
}
