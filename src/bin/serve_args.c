#include "bin/serve_args.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/words.h"
#include "bin/models.h"
#include "bin/strangers.h"

/* Says what becomes of it; `from` is where it stands, or "". */
static enum status meet(const struct stranger *s, const char *from, const char *flag,
                        struct note *why)
{
    const int len = (int)strcspn(flag, "=");
    if (s->fate == STRANGER_REFUSED) {
        note_set(why, "%s%.*s is not supported: %s", from, len, flag, s->instead);
        return BAD_INPUT;
    }
    fprintf(stderr, "akvifer serve: %s%.*s does nothing here: %s\n", from, len, flag, s->instead);
    return OK;
}

/* ---- the file ---- */

static const char *config_of(int argc, char **argv)
{
    const char *path = flags_environment("AKV_ARG_CONFIG");
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            path = argv[i] + 9;
        else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            path = argv[i + 1];
    }
    return path;
}

/* A setting of a stranger's name is left out, or becomes ours. */
static enum status meet_setting(struct flag_setting *s, bool *stays, struct note *why)
{
    char flag[2][64], from[512];
    snprintf(flag[0], sizeof flag[0], "--%s", s->name);
    snprintf(flag[1], sizeof flag[1], "-%s", s->name);
    snprintf(from, sizeof from, "%s:%u: ", s->path, s->line);
    *stays = true;
    for (int i = 0; i < 2; i++) {
        const struct stranger *stranger = stranger_of(flag[i]);
        const char *ours = stranger_renamed(flag[i], &s->value);
        if (ours)
            s->name = ours + 2;
        if (ours && s->value)
            s->value = stranger_value(ours, s->value);
        if (!stranger)
            continue;
        *stays = false;
        return meet(stranger, from, s->name, why);
    }
    if (s->section && (strcmp(s->name, "model") == 0 || strcmp(s->name, "m") == 0)) {
        note_set(why, "%s%s cannot stand in [%s]: a section is chosen by it", from, s->name,
                 s->section);
        return BAD_INPUT;
    }
    if (strcmp(s->name, "config") != 0)
        return OK;
    note_set(why, "%sa file of flags cannot name another one", from);
    return BAD_INPUT;
}

static enum status meet_settings(struct config *c, struct note *why)
{
    enum status st = OK;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n && st == OK; i++) {
        bool stays;
        st = meet_setting(&c->setting[i], &stays, why);
        if (stays)
            c->setting[n++] = c->setting[i];
    }
    c->n = n;
    return st;
}

/* ---- the command line ---- */

/* A value, and not the next flag: -1 is one. */
static bool is_value(const char *word)
{
    return word && (word[0] != '-' || isdigit((unsigned char)word[1]));
}

/* Takes argument i, and what belongs to it; gives the next. */
static int take_renamed(struct serve_args *a, const char *ours, const char *value, int i,
                        char **argv)
{
    char *equals = strchr(argv[i], '=');
    const bool next = !value && !equals && is_value(argv[i + 1]);
    value = value ? value : equals ? equals + 1 : next ? argv[i + 1] : NULL;
    a->argv[a->argc++] = (char *)ours; // flags.c only reads it
    if (value)
        a->argv[a->argc++] = (char *)stranger_value(ours, value);
    return i + 1 + next;
}

static int take(struct serve_args *a, int i, char **argv, enum status *st, struct note *why)
{
    const char *value = NULL;
    const char *ours = stranger_renamed(argv[i], &value);
    const struct stranger *s = stranger_of(argv[i]);
    if (ours)
        return take_renamed(a, ours, value, i, argv);
    if (!s) {
        a->argv[a->argc++] = argv[i];
        return i + 1;
    }
    *st = meet(s, "", argv[i], why);
    return i + 1 + (s->value && !strchr(argv[i], '=') && is_value(argv[i + 1]));
}

enum status serve_args_open(struct serve_args *a, int argc, char **argv, struct note *why)
{
    const char *path = config_of(argc, argv);
    enum status st = OK;
    *a = (struct serve_args){ 0 };
    if (path)
        st = config_read(&a->config, path, why);
    if (st == OK)
        st = meet_settings(&a->config, why);
    a->argv = mem_new(2 * (size_t)argc + 1, sizeof *a->argv); // a name may bring a value
    if (st == OK && !a->argv) {
        note_set(why, "no memory for %d arguments", argc);
        st = FULL;
    }
    for (int i = 0; i < argc && st == OK;)
        i = take(a, i, argv, &st, why);
    if (st != OK)
        serve_args_close(a);
    return st;
}

/* A model that `pull` knows, or a file: as it is called, or beside the one that is served. */
static bool is_a_model(const char *section, const char *served)
{
    const char *slash = strrchr(served, '/');
    const int folder = slash ? (int)(slash - served + 1) : 0;
    bool there = access(section, F_OK) == 0;
    for (size_t i = 0; i < n_known_model; i++)
        there |= config_is_of(section, known_models[i].name);
    for (int i = 0; i < 2 && !there; i++) {
        struct buf path = { 0 };
        buf_addf(&path, "%.*s%s%s", folder, served, section, i ? ".gguf" : "");
        there = access(buf_text(&path), F_OK) == 0;
        buf_close(&path);
    }
    return there;
}

void serve_args_tell_strange_sections(const struct serve_args *a, const char *model)
{
    const char *last = NULL;
    for (uint32_t i = 0; i < a->config.n; i++) {
        const struct flag_setting *s = &a->config.setting[i];
        if (!s->section || s->section == last || config_is_of(s->section, model))
            continue;
        last = s->section;
        if (is_a_model(s->section, model))
            continue;
        struct nearest near = { .typed = s->section };
        for (size_t m = 0; m < n_known_model; m++)
            nearest_try(&near, known_models[m].name, strlen(known_models[m].name));
        nearest_try(&near, model, strlen(model));
        fprintf(
            stderr,
            "akvifer serve: %s:%u: [%s] is the name of no model%s%.*s%s: nothing in it counts\n",
            s->path, s->line, s->section, near.best ? " (did you mean '" : "", (int)near.best_len,
            near.best ? near.best : "", near.best ? "'?)" : "");
    }
}

void serve_args_close(struct serve_args *a)
{
    mem_free(a->argv);
    config_close(&a->config);
    *a = (struct serve_args){ 0 };
}
