#include "bin/flags.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bin/flags_in.h"
#include "bin/show.h"
#include "bin/verbs.h"

const char *flags_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

const char *flag_name(const struct flag *f)
{
    const char *space = strrchr(f->names, ' ');
    return space ? space + 1 : f->names;
}

/* Sets it, and says in front of an error where the value came from. */
static enum status set_from(const struct flag *f, void *options, const char *from, const char *text,
                            struct note *why)
{
    enum status st = flag_set(f, options, text, why);
    if (st != OK)
        note_prefix(why, "%s", from);
    return st;
}

/* ---- the environment ---- */

/* --ctx-size becomes AKV_ARG_CTX_SIZE. */
static const char *read_alias(const char *prefix, const char *word, size_t len, char room[96])
{
    size_t n = strlen(prefix);
    if (len <= 3 || len - 2 >= 96 - n)
        return NULL;
    memcpy(room, prefix, n);
    for (size_t i = 2; i < len; i++)
        room[n++] = word[i] == '-' ? '_' : (char)toupper((unsigned char)word[i]);
    room[n] = 0;
    return flags_environment(room);
}

static enum status set_from_environment(const struct flag *f, void *options, struct note *why)
{
    static const char *const prefixes[] = { "AKV_ARG_", "LLAMA_ARG_" };
    for (size_t p = 0; p < 2; p++) {
        const char *names = f->names, *word;
        size_t len;
        while (word_next(&names, &word, &len)) {
            char variable[96];
            const char *value =
                strncmp(word, "--", 2) == 0 ? read_alias(prefixes[p], word, len, variable) : NULL;
            if (value)
                return set_from(f, options, variable, value, why);
        }
    }
    const char *value = f->env ? flags_environment(f->env) : NULL;
    return value ? set_from(f, options, f->env, value, why) : OK;
}

/* ---- the command line ---- */

struct line {
    const struct flag_table *table;
    void *options;
    int argc, at;
    char **argv;
    struct operands operands; // collected in place, at the front of argv
};

static const struct flag *find_flag(const struct flag_table *t, const char *name, size_t len)
{
    for (size_t i = 0; i < t->n_flag; i++) {
        const char *names = t->flag[i].names, *word;
        size_t n;
        while (word_next(&names, &word, &n))
            if (n == len && strncmp(word, name, len) == 0)
                return &t->flag[i];
    }
    return NULL;
}

/* --no-NAME of a switch. */
static const struct flag *find_negated(const struct flag_table *t, const char *name, size_t len)
{
    char positive[64];
    if (len < 6 || len >= sizeof positive || strncmp(name, "--no-", 5) != 0)
        return NULL;
    int n = snprintf(positive, sizeof positive, "--%.*s", (int)(len - 5), name + 5);
    const struct flag *f = find_flag(t, positive, (size_t)n);
    return f && f->type == FLAG_SWITCH ? f : NULL;
}

static enum status unknown_flag(const struct flag_table *t, const char *name, size_t len,
                                struct note *why)
{
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)len, name);
    struct nearest near = { .typed = typed };
    for (size_t i = 0; i < t->n_flag; i++) {
        const char *names = t->flag[i].names, *word;
        size_t n;
        while (word_next(&names, &word, &n))
            nearest_try(&near, word, n);
    }
    if (near.best)
        note_set(why, "there is no flag %s; did you mean %.*s?", typed, (int)near.best_len,
                 near.best);
    else
        note_set(why, "there is no flag %s; `akvifer %s --help` lists them", typed, t->verb);
    return BAD_INPUT;
}

/* One flag at argv[at], with its value there or in the next word. */
static enum status read_flag(struct line *l, struct note *why)
{
    char *word = l->argv[l->at++];
    size_t len = strcspn(word, "=");
    const char *value = word[len] ? word + len + 1 : NULL;
    const struct flag *f = find_flag(l->table, word, len);
    if (f && f->type == FLAG_SWITCH && !value)
        value = "on";
    if (!f && !value) {
        f = find_negated(l->table, word, len);
        value = "off";
    }
    if (!f)
        return unknown_flag(l->table, word, len, why);
    if (!value && l->at == l->argc) {
        note_set(why, "%s needs a value (%s)", word, f->unit);
        return BAD_INPUT;
    }
    if (!value)
        value = l->argv[l->at++];
    return set_from(f, l->options, flag_name(f), value, why);
}

static bool is_flag(const char *word)
{
    return word[0] == '-' && word[1];
}

/* --help and --version, which go before all that a verb would do. */
static bool asks_instead(const char *word, struct note *why)
{
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    if (!help && strcmp(word, "--version") != 0)
        return false;
    note_set(why, help ? "help" : "version");
    return true;
}

static enum status read_words(struct line *l, struct note *why)
{
    bool flags_over = false;
    while (l->at < l->argc) {
        char *word = l->argv[l->at];
        if (!flags_over && asks_instead(word, why))
            return CANCELED;
        if (flags_over || !is_flag(word)) {
            l->operands.text[l->operands.n++] = word;
            l->at++;
        } else if (strcmp(word, "--") == 0) {
            flags_over = true;
            l->at++;
        } else {
            enum status st = read_flag(l, why);
            if (st != OK)
                return st;
        }
    }
    return OK;
}

static enum status check_operands(const struct flag_table *t, const struct operands *o,
                                  struct note *why)
{
    if (o->n > t->n_operand_max) {
        if (t->n_operand_max == 0 && t->operands)
            note_set(why, "'%s' is no flag; in front of its flags %s takes %s", o->text[0], t->verb,
                     t->operands);
        else if (t->n_operand_max == 0)
            note_set(why, "'%s' is no flag, and %s takes nothing else", o->text[0], t->verb);
        else
            note_set(why, "'%s' is one too many: %s takes %u", o->text[t->n_operand_max], t->verb,
                     t->n_operand_max);
        return BAD_INPUT;
    }
    if (o->n < t->n_operand_min) {
        note_set(why, "%s is missing", t->operands);
        return BAD_INPUT;
    }
    return OK;
}

/* ---- a file's settings ---- */

/* --NAME, else -NAME, else --no-NAME of a switch (which sets *value). */
static const struct flag *find_setting(const struct flag_table *t, const char *name,
                                       const char **value)
{
    char dashed[64];
    const size_t len = (size_t)snprintf(dashed, sizeof dashed, "--%s", name);
    if (len >= sizeof dashed)
        return NULL;
    const struct flag *f = find_flag(t, dashed, len);
    if (!f)
        f = find_flag(t, dashed + 1, len - 1);
    if (f)
        return f;
    f = *value ? NULL : find_negated(t, dashed, len);
    *value = f ? "off" : *value;
    return f;
}

static enum status apply_setting(const struct flag_table *t, void *options,
                                 const struct flag_setting *s, struct note *why)
{
    const char *value = s->value;
    const struct flag *f = find_setting(t, s->name, &value);
    enum status st;
    if (!f) {
        st = unknown_flag(t, s->name, strlen(s->name), why);
    } else if (!value && f->type != FLAG_SWITCH) {
        note_set(why, "%s needs a value (%s)", s->name, f->unit);
        st = BAD_INPUT;
    } else {
        st = set_from(f, options, s->name, value ? value : "on", why);
    }
    if (st != OK) {
        char from[512];
        snprintf(from, sizeof from, "%s:%u", s->path, s->line);
        note_prefix(why, "%s", from);
    }
    return st;
}

/* ---- all of it ---- */

enum status flags_parse_over(const struct flag_table *t, void *options,
                             const struct flag_setting *setting, uint32_t n, int argc, char **argv,
                             struct operands *out, struct note *why)
{
    struct line l = { .table = t, .options = options, .argc = argc, .at = 1, .argv = argv };
    enum status st = OK;
    l.operands.text = argv + 1; // never ahead of what is read
    for (size_t i = 0; i < t->n_flag && st == OK; i++) {
        if (t->flag[i].preset)
            st = set_from(&t->flag[i], options, flag_name(&t->flag[i]), t->flag[i].preset, why);
    }
    for (uint32_t i = 0; i < n && st == OK; i++)
        st = apply_setting(t, options, &setting[i], why);
    for (size_t i = 0; i < t->n_flag && st == OK; i++)
        st = set_from_environment(&t->flag[i], options, why);
    if (st == OK)
        st = read_words(&l, why);
    if (st == OK)
        st = check_operands(t, &l.operands, why);
    if (st == OK && out)
        *out = l.operands;
    return st;
}

enum status flags_parse(const struct flag_table *t, void *options, int argc, char **argv,
                        struct operands *out, struct note *why)
{
    return flags_parse_over(t, options, NULL, 0, argc, argv, out, why);
}

static void print_instead(const struct flag_table *t, const char *asked)
{
    struct buf help = { 0 };
    if (strcmp(asked, "version") == 0) {
        puts("akvifer " AKV_VERSION);
        return;
    }
    flags_help(t, &help);
    fputs(buf_text(&help), stdout);
    buf_close(&help);
}

bool flags_read(const struct flag_table *t, void *options, int argc, char **argv,
                struct operands *out, int *exit_code)
{
    return flags_read_over(t, options, NULL, 0, argc, argv, out, exit_code);
}

bool flags_read_over(const struct flag_table *t, void *options, const struct flag_setting *setting,
                     uint32_t n, int argc, char **argv, struct operands *out, int *exit_code)
{
    struct note why = { "" };
    enum status st = flags_parse_over(t, options, setting, n, argc, argv, out, &why);
    if (st == CANCELED) {
        print_instead(t, why.text);
        *exit_code = EXIT_DONE;
    } else if (st != OK) {
        *exit_code = verb_misused(t, why.text);
    }
    return st == OK;
}

int verb_fails(const struct flag_table *t, const struct note *why)
{
    struct note shown = *why; // it may quote a file
    show_harmless(shown.text, strlen(shown.text));
    fprintf(stderr, "akvifer %s: %s\n", t->verb, shown.text);
    return EXIT_FAILED;
}

int verb_misused(const struct flag_table *t, const char *what)
{
    fprintf(stderr, "akvifer %s: %s\n", t->verb, what);
    return EXIT_USAGE;
}
