#include "bin/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "bin/verbs.h"

enum { CHUNK = 1 << 16 };

/* Appends up to a chunk; *end: there is no more. */
static enum status read_some(int fd, struct buf *out, bool *end, struct note *why)
{
    char chunk[CHUNK];
    ssize_t n;
    do
        n = read(fd, chunk, sizeof chunk);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        note_set(why, "cannot read the input: %m");
        return IO_ERROR;
    }
    buf_add(out, chunk, (size_t)n);
    *end = n == 0;
    if (!out->failed)
        return OK;
    note_set(why, "no memory for an input of more than %zu bytes", out->len);
    return FULL;
}

enum status read_all(int fd, struct buf *out, struct note *why)
{
    bool end = false;
    enum status st = OK;
    while (st == OK && !end)
        st = read_some(fd, out, &end, why);
    return st;
}

enum status open_path(int *fd, const char *path, struct note *why)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd >= 0)
        return OK;
    note_set(why, "cannot open '%s': %m", path);
    return errno == ENOENT ? NOT_FOUND : IO_ERROR;
}

enum status read_path(const char *path, struct buf *out, struct note *why)
{
    int fd;
    enum status st = open_path(&fd, path, why);
    if (st != OK)
        return st;
    st = read_all(fd, out, why);
    if (st != OK)
        note_prefix(why, "%s", path);
    close(fd);
    return st;
}

enum status read_given(const char *text, const char *path, struct buf *out, struct note *why)
{
    if (!text)
        return path ? read_path(path, out, why) : read_all(STDIN_FILENO, out, why);
    buf_add_text(out, text);
    if (!out->failed)
        return OK;
    note_set(why, "no memory for a text of %zu bytes", strlen(text));
    return FULL;
}

/* ---- lines ---- */

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

/* A line of what was read; at the end of input its break may lack. False: more has to be read. */
static bool find_line(struct line_reader *r, const char **line, size_t *len)
{
    const char *from = r->in.bytes + r->at;
    size_t rest = r->in.len - r->at;
    const char *stop = rest ? memchr(from + r->searched, '\n', rest - r->searched) : NULL;
    if (!stop && !(r->end && rest)) {
        r->searched = rest;
        return false;
    }
    *line = from;
    *len = stop ? (size_t)(stop - from) : rest;
    r->at += *len + (stop != NULL);
    r->searched = 0;
    return true;
}

static enum status read_more(struct line_reader *r, struct note *why)
{
    if (r->at > 0) {
        r->in.len -= r->at;
        memmove(r->in.bytes, r->in.bytes + r->at, r->in.len + 1);
        r->at = 0;
    }
    return read_some(r->fd, &r->in, &r->end, why);
}

enum status line_next(struct line_reader *r, const char **line, size_t *len, struct note *why)
{
    for (;;) {
        if (find_line(r, line, len)) {
            r->number++;
            if (!is_blank(*line, *len))
                return OK;
            continue;
        }
        if (r->end)
            return NOT_FOUND;
        enum status st = read_more(r, why);
        if (st != OK)
            return st;
    }
}

enum status line_write(struct buf *line, struct note *why)
{
    buf_add_byte(line, '\n');
    if (line->failed) {
        note_set(why, "no memory for an answer of %zu bytes", line->len);
        return FULL;
    }
    if (fwrite(line->bytes, 1, line->len, stdout) == line->len && fflush(stdout) == 0)
        return OK;
    note_set(why, "cannot write the answers: %m");
    return IO_ERROR;
}

void line_error(struct buf *line, const struct note *why)
{
    buf_clear(line);
    buf_add_text(line, "{\"error\": ");
    buf_add_json_text(line, why->text, strlen(why->text));
    buf_add_byte(line, '}');
}

/* ---- JSON lines that are answered ---- */

static enum status answer(line_fn *fn, void *arg, const char *line, size_t len, struct buf *out,
                          struct note *why)
{
    json_t *value = NULL;
    enum status st = json_from_text(&value, line, len, why);
    if (st == OK)
        st = fn(arg, value, out, why);
    json_decref(value);
    if (st == OK && out->failed) {
        note_set(why, "no memory for the answer");
        st = FULL;
    }
    return st;
}

int answer_lines(const struct flag_table *verb, int fd, line_fn *fn, void *arg)
{
    struct line_reader in = { .fd = fd };
    struct buf out = { 0 };
    struct note why = { "" };
    const char *line;
    size_t len;
    int exit_code = EXIT_DONE;
    enum status st;
    while ((st = line_next(&in, &line, &len, &why)) == OK) {
        buf_clear(&out);
        if (answer(fn, arg, line, len, &out, &why) != OK) {
            line_error(&out, &why);
            note_prefix(&why, "line %llu", (unsigned long long)in.number);
            exit_code = verb_fails(verb, &why);
        }
        st = line_write(&out, &why);
        if (st != OK)
            break;
    }
    if (st != NOT_FOUND)
        exit_code = verb_fails(verb, &why);
    buf_close(&in.in);
    buf_close(&out);
    return exit_code;
}

/* ---- ids ---- */

void add_json_ids(struct buf *out, const struct ids *ids)
{
    buf_add_byte(out, '[');
    for (size_t i = 0; i < ids->n; i++)
        buf_addf(out, i ? ", %d" : "%d", ids->id[i]);
    buf_add_byte(out, ']');
}

enum status check_ids(const struct ids *ids, struct note *why)
{
    if (!ids->failed)
        return OK;
    note_set(why, "no memory for more than %zu tokens", ids->n);
    return FULL;
}

enum status read_json_ids(const json_t *line, struct ids *out, struct note *why)
{
    const json_t *array = json_object_get(line, "ids");
    if (!json_is_array(array)) {
        note_set(why, "a line must be an object with an array \"ids\"");
        return BAD_INPUT;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *id = json_array_get(array, i);
        json_int_t x = json_integer_value(id);
        if (!json_is_integer(id) || x < 0 || x > INT32_MAX) {
            note_set(why, "ids[%zu] must be a whole number from 0 to %d", i, INT32_MAX);
            return BAD_INPUT;
        }
        ids_add(out, (int32_t)x);
    }
    return check_ids(out, why);
}
