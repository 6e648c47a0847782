/* All policies as text: for --help, the manual and docs/POLICIES.md. */
#include <string.h>

#include "kv/option.h"

enum { COLUMNS = 100, INDENT = 4, HELP = 16 };

/* Words from column `at` on; lines that follow begin at column `indent`. */
static void add_wrapped(struct buf *out, uint32_t at, uint32_t indent, const char *text)
{
    while (*text) {
        const size_t n = strcspn(text, " ");
        if (at + n > COLUMNS && at > indent) {
            buf_addf(out, "\n%*s", (int)indent, "");
            at = indent;
        }
        buf_add(out, text, n);
        at += (uint32_t)n + 1;
        text += n + (text[n] == ' ');
        if (*text && at + strcspn(text, " ") <= COLUMNS)
            buf_add_byte(out, ' ');
    }
    buf_add_byte(out, '\n');
}

static void print_option(const struct kv_policy *p, const struct kv_option *o, struct buf *out)
{
    const char *paper = kv_option_preset(p, o, true), *tuned = kv_option_preset(p, o, false);
    struct buf text = { 0 };
    buf_addf(&text, "%s", o->help);
    if (o->words)
        buf_addf(&text, "; one of: %s", o->words);
    else if (o->least < o->most)
        buf_addf(&text, "; %.10g to %.10g%s%s", o->least, o->most, o->unit ? " " : "",
                 o->unit ? o->unit : "");
    buf_addf(&text, "; default %s", tuned);
    if (strcmp(paper, tuned) != 0)
        buf_addf(&text, ", paper: %s", paper);
    buf_addf(out, "%*s%-*s", INDENT, "", HELP - INDENT, o->name);
    add_wrapped(out, HELP, HELP, buf_text(&text));
    out->failed |= text.failed;
    buf_close(&text);
}

static uint32_t n_common(const struct kv_policy *p)
{
    return p->rank ? KV_N_COMMON : KV_N_COMMON_SELECT;
}

/* Common options whose value is not that of all. */
static void add_defaults(const struct kv_policy *p, bool paper, struct buf *text)
{
    const struct kv_policy bare = { 0 };
    for (uint32_t i = 0; i < n_common(p); i++) {
        const struct kv_option *o = &kv_common_options[i];
        const char *value = kv_option_preset(p, o, paper);
        if (strcmp(value, kv_option_preset(&bare, o, paper)) != 0)
            buf_addf(text, " %s=%s", o->name, value);
    }
}

static void print_defaults(const struct kv_policy *p, struct buf *out)
{
    struct buf tuned = { 0 }, paper = { 0 };
    if (kv_policy_option(p, 0)) {
        add_defaults(p, false, &tuned);
        add_defaults(p, true, &paper);
    }
    if (tuned.len)
        buf_addf(out, "%*sdefault    %s\n", INDENT, "", buf_text(&tuned));
    if (paper.len)
        buf_addf(out, "%*spaper      %s\n", INDENT, "", buf_text(&paper));
    out->failed |= tuned.failed | paper.failed;
    buf_close(&tuned);
    buf_close(&paper);
}

static void print_policy(const struct kv_policy *p, const struct kv_policy *before, struct buf *out)
{
    buf_addf(out, "%s - %s\n%*s", p->name, p->summary, INDENT, "");
    add_wrapped(out, INDENT, INDENT, p->source);
    print_defaults(p, out);
    if (before && p->n_option && p->option == before->option) {
        buf_addf(out, "%*soptions of %s\n", INDENT, "", before->name);
        return;
    }
    for (uint32_t i = 0; i < p->n_option; i++)
        print_option(p, &p->option[i], out);
}

void kv_policies_print(struct buf *out)
{
    const struct kv_policy bare = { 0 }, *before = NULL;
    for (const struct kv_policy *const *p = kv_policies; *p; before = *p++)
        print_policy(*p, before, out);
    buf_add_text(out, "all but full (those that drop nothing: budget, sinks and recent alone)\n");
    for (uint32_t i = 0; i < KV_N_COMMON; i++)
        print_option(&bare, &kv_common_options[i], out);
    buf_addf(out, "%*s%-*s", INDENT, "", HELP - INDENT, "preset");
    add_wrapped(
        out, HELP, HELP,
        "paper: every option as the source has it; tuned: as it measured best; default tuned");
}
