#include "bin/config.h"

#include <string.h>

#include "base/mem.h"
#include "bin/lines.h"
#include "bin/models.h"

static const char blanks[] = " \t\r";

static char *trimmed(char *text)
{
    text += strspn(text, blanks);
    for (size_t n = strlen(text); n > 0 && strchr(blanks, text[n - 1]);)
        text[--n] = '\0';
    return text;
}

/* Where a comment begins: # at the beginning, or behind a blank; not inside of quotes. */
static void cut_comment(char *line)
{
    bool quoted = false;
    for (char *at = line; *at; at++) {
        quoted ^= *at == '"';
        if (*at == '#' && !quoted && (at == line || strchr(blanks, at[-1]))) {
            *at = '\0';
            return;
        }
    }
}

/* A value in quotes: what is between them. False: the second is missing. */
static bool unquote(char **value)
{
    const size_t n = strlen(*value);
    if (**value != '"')
        return true;
    if (n < 2 || (*value)[n - 1] != '"')
        return false;
    (*value)[n - 1] = '\0';
    ++*value;
    return true;
}

/* [name] */
static enum status begin_section(char *line, const char **section, const char *path,
                                 uint32_t number, struct note *why)
{
    const size_t n = strlen(line);
    if (line[n - 1] == ']') {
        line[n - 1] = '\0';
        *section = trimmed(line + 1);
        if (**section)
            return OK;
    }
    note_set(why, "%s:%u: a section must be [model]", path, number);
    return BAD_INPUT;
}

static enum status add_line(struct config *c, char *line, const char **section, const char *path,
                            uint32_t number, struct note *why)
{
    cut_comment(line);
    line = trimmed(line);
    if (*line == '\0')
        return OK;
    if (*line == '[')
        return begin_section(line, section, path, number, why);
    char *value = strchr(line, '=');
    if (value)
        *value++ = '\0';
    char *name = trimmed(line);
    name += strspn(name, "-");
    value = value ? trimmed(value) : NULL;
    if (*name == '\0' || name[strcspn(name, " \t")] || (value && !unquote(&value))) {
        note_set(why, "%s:%u: a line must be 'flag = value', or a switch alone", path, number);
        return BAD_INPUT;
    }
    c->setting[c->n++] = (struct flag_setting){ name, value, path, number, *section };
    return OK;
}

static uint32_t count_lines(const struct buf *text)
{
    uint32_t n = 1;
    for (size_t i = 0; i < text->len; i++)
        n += text->bytes[i] == '\n';
    return n;
}

enum status config_read(struct config *c, const char *path, struct note *why)
{
    *c = (struct config){ 0 };
    enum status st = read_path(path, &c->text, why);
    if (st == OK && c->text.len && memchr(c->text.bytes, 0, c->text.len)) {
        note_set(why, "%s: there are zero bytes in it; it must be text", path);
        st = BAD_INPUT;
    }
    c->setting = st == OK ? mem_new(2 * (size_t)count_lines(&c->text), sizeof *c->setting) : NULL;
    if (st == OK && !c->setting) {
        note_set(why, "no memory for the settings of '%s'", path);
        st = FULL;
    }
    const char *section = NULL;
    char *rest = c->text.bytes, *line;
    for (uint32_t i = 1; st == OK && rest && (line = strsep(&rest, "\n")); i++)
        st = add_line(c, line, &section, path, i, why);
    if (st != OK)
        config_close(c);
    return st;
}

static const char *file_of(const char *model)
{
    const struct known_model *known = known_model_find(model);
    const char *slash = strrchr(model, '/');
    return known ? known->file : slash ? slash + 1 : model;
}

bool config_is_of(const char *section, const char *model)
{
    const char *file = file_of(model);
    const size_t n = strlen(section);
    return strcmp(section, model) == 0 || strcmp(file_of(section), file) == 0 ||
           (strncmp(section, file, n) == 0 && strcmp(file + n, ".gguf") == 0);
}

void config_choose(struct config *c, const char *model)
{
    struct flag_setting *own = c->setting + c->n; // there is room for as many again
    uint32_t n = 0, n_own = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct flag_setting s = c->setting[i];
        if (!s.section)
            c->setting[n++] = s;
        else if (config_is_of(s.section, model))
            own[n_own++] = s;
    }
    memmove(c->setting + n, own, n_own * sizeof *own);
    c->n = n + n_own;
}

void config_close(struct config *c)
{
    mem_free(c->setting);
    buf_close(&c->text);
    *c = (struct config){ 0 };
}
