#include <math.h>
#include <string.h>

#include "bin/flags.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 100 };

/* "-m, --model PATH" */
static void add_names(struct buf *out, const struct flag *f)
{
    const char *names = f->names, *word, *comma = "";
    size_t len;
    while (word_next(&names, &word, &len)) {
        buf_add_text(out, comma);
        buf_add(out, word, len);
        comma = ", ";
    }
    if (f->unit)
        buf_addf(out, " %s", f->unit);
}

/* A bound of a size reads better as 2G than as 2147483648. */
static void add_bound(struct buf *out, const struct flag *f, double x)
{
    static const char *const units[] = { "", "K", "M", "G", "T" };
    size_t unit = 0;
    while (f->type == FLAG_SIZE && x >= 1024 && fmod(x, 1024) == 0 && unit < 4) {
        x /= 1024;
        unit++;
    }
    buf_addf(out, "%.15g%s", x, units[unit]);
}

/* The sentence, then words, bounds and default as far as there are any. */
static void add_sentence(struct buf *out, const struct flag *f)
{
    const char *sep = " (";
    buf_add_text(out, f->help);
    if (f->words) {
        buf_addf(out, "%s%s", sep, f->words);
        sep = "; ";
    }
    if (f->least < f->most) {
        bool open = f->most == (double)INFINITY;
        buf_addf(out, "%s%s", sep, open ? "at least " : "");
        add_bound(out, f, f->least);
        if (!open) {
            buf_add_text(out, " to ");
            add_bound(out, f, f->most);
        }
        sep = "; ";
    }
    if (f->shown || f->preset) {
        buf_addf(out, "%sdefault: %s", sep, f->shown ? f->shown : f->preset);
        sep = "; ";
    }
    if (f->env) {
        buf_addf(out, "%salso $%s", sep, f->env);
        sep = "; ";
    }
    if (sep[0] == ';')
        buf_add_byte(out, ')');
}

/* Words of a sentence, broken before HELP_WIDTH and continued at HELP_COLUMN. */
static void add_wrapped(struct buf *out, const char *text)
{
    const char *word;
    size_t len, column = HELP_COLUMN;
    while (word_next(&text, &word, &len)) {
        if (column + len + 1 > HELP_WIDTH) {
            buf_addf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            buf_add_byte(out, ' ');
        }
        buf_add(out, word, len);
        column += len + 1;
    }
    buf_add_byte(out, '\n');
}

static void add_flag(struct buf *out, const struct flag *f)
{
    struct buf sentence = { 0 };
    size_t start = out->len;
    buf_add_text(out, "  ");
    add_names(out, f);
    if (out->len - start > HELP_COLUMN - 2) {
        buf_add_byte(out, '\n');
        start = out->len;
    }
    buf_addf(out, "%*s", (int)(HELP_COLUMN - (out->len - start)), "");
    add_sentence(&sentence, f);
    add_wrapped(out, buf_text(&sentence));
    buf_close(&sentence);
}

static void add_usage(struct buf *out, const struct flag_table *t)
{
    buf_addf(out, "akvifer %s%s%s%s", t->verb, t->operands ? " " : "",
             t->operands ? t->operands : "", t->n_flag ? " [flags]" : "");
}

void flags_help(const struct flag_table *t, struct buf *out)
{
    buf_addf(out, "akvifer %s - %s\n\nusage: ", t->verb, t->summary);
    add_usage(out, t);
    buf_add_text(out, "\n\nexamples:\n");
    for (const char *const *e = t->examples; *e; e++)
        buf_addf(out, "  %s\n", *e);
    if (t->n_flag == 0)
        return;
    buf_add_text(out, "\nflags:\n");
    for (size_t i = 0; i < t->n_flag; i++)
        add_flag(out, &t->flag[i]);
    buf_add_text(out, "\nA switch is turned off by --no-NAME. The environment can set a flag too: "
                      "AKV_ARG_NAME (or LLAMA_ARG_NAME),\nwith _ for -; the command line wins.\n");
}

/* troff reads backslashes, and dots and quotes at the start of a line; "-" would be a hyphen. */
static void add_troff(struct buf *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        buf_add_text(out, "\\&");
    for (; *text; text++) {
        if (*text == '\\')
            buf_add_text(out, "\\e");
        else if (*text == '-')
            buf_add_text(out, "\\-");
        else
            buf_add_byte(out, *text);
    }
}

static void add_troff_flag(struct buf *out, const struct flag *f)
{
    struct buf text = { 0 };
    buf_add_text(out, ".TP\n.B ");
    add_names(&text, f);
    add_troff(out, buf_text(&text));
    buf_add_byte(out, '\n');
    buf_clear(&text);
    add_sentence(&text, f);
    add_troff(out, buf_text(&text));
    buf_add_byte(out, '\n');
    buf_close(&text);
}

void flags_manual(const struct flag_table *t, struct buf *out)
{
    struct buf usage = { 0 };
    add_usage(&usage, t);
    buf_addf(out, ".SH \"akvifer %s\"\n", t->verb);
    add_troff(out, t->summary);
    buf_add_text(out, "\n.PP\n.B ");
    add_troff(out, buf_text(&usage));
    buf_add_byte(out, '\n');
    for (size_t i = 0; i < t->n_flag; i++)
        add_troff_flag(out, &t->flag[i]);
    buf_add_text(out, ".PP\nExamples:\n.PP\n.nf\n.RS\n");
    for (const char *const *e = t->examples; *e; e++) {
        add_troff(out, *e);
        buf_add_byte(out, '\n');
    }
    buf_add_text(out, ".RE\n.fi\n");
    buf_close(&usage);
}
