#include "bin/serve_keys.h"

#include <stdio.h>
#include <string.h>

#include "bin/lines.h"

static enum status add(struct serve_keys *k, const char *key, const char *name, struct note *why)
{
    if (k->n == KEYS_MAX) {
        note_set(why, "there are more than %d API keys", KEYS_MAX);
        return BAD_INPUT;
    }
    if (*key == '\0') {
        note_set(why, "an API key is empty (is a variable not set?)");
        return BAD_INPUT;
    }
    snprintf(k->name[k->n], sizeof k->name[0], "key-%u", k->n + 1);
    k->key[k->n] = (struct api_key){ key, name ? name : k->name[k->n] };
    k->n++;
    return OK;
}

static enum status add_given(struct serve_keys *k, const struct flag_texts *given, struct note *why)
{
    enum status st = OK;
    for (uint32_t i = 0; i < given->n; i++)
        buf_addf(&k->given, "%s%s", i ? "," : "", given->text[i]);
    char *rest = given->n ? k->given.bytes : NULL, *key;
    while (st == OK && rest && (key = strsep(&rest, ",")))
        st = add(k, key, NULL, why);
    return st;
}

/* "KEY" or "KEY NAME". */
static enum status add_line(struct serve_keys *k, char *line, struct note *why)
{
    char *name = line + strcspn(line, " \t");
    if (*name) {
        *name++ = '\0';
        name += strspn(name, " \t");
        name[strcspn(name, " \t")] = '\0';
    }
    return add(k, line, *name ? name : NULL, why);
}

static enum status add_file(struct serve_keys *k, const char *path, struct note *why)
{
    enum status st = read_path(path, &k->file, why);
    char *rest = st == OK ? k->file.bytes : NULL, *line;
    while (st == OK && rest && (line = strsep(&rest, "\r\n"))) {
        line += strspn(line, " \t");
        if (*line)
            st = add_line(k, line, why);
    }
    if (st == OK && k->n == 0) {
        note_set(why, "'%s' has no key: everybody would be let in", path);
        st = BAD_INPUT;
    }
    return st;
}

enum status serve_keys_read(struct serve_keys *k, const struct flag_texts *given, const char *path,
                            struct note *why)
{
    enum status st = add_given(k, given, why);
    return st == OK && path ? add_file(k, path, why) : st;
}

void serve_keys_close(struct serve_keys *k)
{
    buf_close(&k->given);
    buf_close(&k->file);
    *k = (struct serve_keys){ 0 };
}
