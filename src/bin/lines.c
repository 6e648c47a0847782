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

enum status read_path(const char *path, struct buf *out, struct note *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        note_set(why, "cannot open '%s': %m", path);
        return errno == ENOENT ? NOT_FOUND : IO_ERROR;
    }
    enum status st = read_all(fd, out, why);
    if (st != OK)
        note_prefix(why, "%s", path);
    close(fd);
    return st;
}

/* ---- JSON lines ---- */

struct lines {
    const struct flag_table *verb;
    line_fn *fn;
    void *arg;
    struct buf out; // of one line
    size_t number;
    int exit_code;
};

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

static enum status answer(struct lines *l, const char *line, size_t len, struct note *why)
{
    json_t *value = NULL;
    enum status st = json_from_text(&value, line, len, why);
    if (st == OK)
        st = l->fn(l->arg, value, &l->out, why);
    json_decref(value);
    if (st == OK && l->out.failed) {
        note_set(why, "no memory for the answer");
        st = FULL;
    }
    return st;
}

static void answer_line(struct lines *l, const char *line, size_t len)
{
    struct note why = { "" };
    l->number++;
    if (is_blank(line, len))
        return;
    buf_clear(&l->out);
    if (answer(l, line, len, &why) != OK) {
        buf_clear(&l->out);
        buf_add_text(&l->out, "{\"error\": ");
        buf_add_json_text(&l->out, why.text, strlen(why.text));
        buf_add_byte(&l->out, '}');
        note_prefix(&why, "line %zu", l->number);
        l->exit_code = verb_fails(l->verb, &why);
    }
    buf_add_byte(&l->out, '\n');
    fwrite(buf_text(&l->out), 1, l->out.len, stdout);
    fflush(stdout);
}

/* Answers the complete lines of `in` (at the end of input: all of it) and leaves the rest. */
static void answer_complete(struct lines *l, struct buf *in, bool end)
{
    size_t start = 0;
    while (start < in->len) {
        const char *line = in->bytes + start;
        const char *stop = memchr(line, '\n', in->len - start);
        if (!stop && !end)
            break;
        size_t len = stop ? (size_t)(stop - line) : in->len - start;
        answer_line(l, line, len);
        start += len + (stop != NULL);
    }
    if (start == 0)
        return;
    in->len -= start;
    memmove(in->bytes, in->bytes + start, in->len + 1);
}

int answer_lines(const struct flag_table *verb, line_fn *fn, void *arg)
{
    struct lines l = { .verb = verb, .fn = fn, .arg = arg };
    struct buf in = { 0 };
    struct note why = { "" };
    bool end = false;
    while (!end) {
        if (read_some(STDIN_FILENO, &in, &end, &why) != OK) {
            l.exit_code = verb_fails(verb, &why);
            break;
        }
        answer_complete(&l, &in, end);
    }
    if (ferror(stdout)) {
        note_set(&why, "cannot write the answers: %m");
        l.exit_code = verb_fails(verb, &why);
    }
    buf_close(&in);
    buf_close(&l.out);
    return l.exit_code;
}

void add_json_ids(struct buf *out, const struct ids *ids)
{
    buf_add_byte(out, '[');
    for (size_t i = 0; i < ids->n; i++)
        buf_addf(out, i ? ", %d" : "%d", ids->id[i]);
    buf_add_byte(out, ']');
}
