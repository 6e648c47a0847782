#include "bin/eval_kv_prose.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/embed.h"
#include "bin/eval_kv_cases.h"
#include "bin/lines.h"

EMBED(passage_frankenstein, "src/bin/passages/frankenstein.txt");
EMBED(passage_moby_dick, "src/bin/passages/moby_dick.txt");
EMBED(passage_pride, "src/bin/passages/pride_and_prejudice.txt");
EMBED(passage_sherlock, "src/bin/passages/sherlock_holmes.txt");
EMBED(passage_war, "src/bin/passages/war_and_peace.txt");

/* ---- sentences ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Bytes of a closing quote or bracket at `at`; 0: there is none. */
static size_t closing(const char *text, size_t len, size_t at)
{
    static const char *const marks[] = { "\"", "'", ")", "]", "\u201d", "\u2019" };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const size_t n = strlen(marks[i]);
        if (n <= len - at && memcmp(text + at, marks[i], n) == 0)
            return n;
    }
    return 0;
}

size_t eval_sentence_end(const char *text, size_t len, size_t at)
{
    while (at < len) {
        const char c = text[at++];
        if (c != '.' && c != '!' && c != '?')
            continue;
        for (size_t n; at < len && (n = closing(text, len, at)) > 0;)
            at += n;
        if (at == len || is_space(text[at]))
            return at;
    }
    return len;
}

/* ---- reading ---- */

static void add_text(struct eval_prose *p, const akv_model *model, const char *text, size_t len)
{
    p->text[p->n_text++] = p->ids.n;
    for (size_t at = 0; at < len;) {
        const size_t end = eval_sentence_end(text, len, at);
        ids_add(&p->sentence, (int32_t)p->ids.n);
        eval_tokens(&p->ids, model, text + at, end - at, false);
        at = end;
    }
    p->text[p->n_text] = p->ids.n;
}

static void add_passages(struct eval_prose *p, const akv_model *model)
{
    static const struct {
        const char *from, *to;
    } passages[] = {
        { passage_frankenstein, passage_frankenstein_end },
        { passage_moby_dick, passage_moby_dick_end },
        { passage_pride, passage_pride_end },
        { passage_sherlock, passage_sherlock_end },
        { passage_war, passage_war_end },
    };
    for (size_t i = 0; i < sizeof passages / sizeof *passages; i++)
        add_text(p, model, passages[i].from, (size_t)(passages[i].to - passages[i].from));
}

/* Names of a folder's texts, sorted. */
struct names {
    char name[EVAL_TEXTS][NAME_MAX + 1];
    uint32_t n; // also of those that found no room
};

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b); // the same order under every locale
}

static enum status read_names(struct names *out, const char *folder, struct note *why)
{
    DIR *dir = opendir(folder);
    out->n = 0;
    if (!dir) {
        note_set(why, "cannot read the texts in '%s': %m", folder);
        return errno == ENOENT ? NOT_FOUND : IO_ERROR;
    }
    for (const struct dirent *file; (file = readdir(dir));) {
        const char *dot = strrchr(file->d_name, '.');
        if (!dot || strcmp(dot, ".txt") != 0)
            continue;
        if (out->n < EVAL_TEXTS)
            snprintf(out->name[out->n], sizeof *out->name, "%s", file->d_name);
        out->n++;
    }
    closedir(dir);
    if (out->n == 0 || out->n > EVAL_TEXTS) {
        note_set(why, "'%s' has %u files that end in .txt; --texts takes 1 to %d", folder, out->n,
                 EVAL_TEXTS);
        return BAD_INPUT;
    }
    qsort(out->name, out->n, sizeof *out->name, by_name);
    return OK;
}

static enum status add_file(struct eval_prose *p, const akv_model *model, const char *folder,
                            const char *name, struct note *why)
{
    struct buf path = { 0 }, text = { 0 };
    buf_addf(&path, "%s/%s", folder, name);
    enum status st = read_path(buf_text(&path), &text, why);
    if (st == OK)
        add_text(p, model, buf_text(&text), text.len);
    buf_close(&path);
    buf_close(&text);
    return st;
}

static enum status add_folder(struct eval_prose *p, const akv_model *model, const char *folder,
                              struct note *why)
{
    struct names names;
    enum status st = read_names(&names, folder, why);
    for (uint32_t i = 0; st == OK && i < names.n; i++)
        st = add_file(p, model, folder, names.name[i], why);
    return st;
}

enum status eval_prose_open(struct eval_prose *p, const akv_model *model, const char *folder,
                            struct note *why)
{
    enum status st = OK;
    *p = (struct eval_prose){ 0 };
    eval_tokens(&p->bos, model, "", 0, true);
    if (folder)
        st = add_folder(p, model, folder, why);
    else
        add_passages(p, model);
    if (st == OK && (p->ids.failed || p->sentence.failed)) {
        note_set(why, "no memory for %zu tokens of text", p->ids.n);
        st = FULL;
    }
    if (st == OK && p->ids.n == 0) {
        note_set(why, "the texts in '%s' are empty", folder);
        st = BAD_INPUT;
    }
    if (st != OK)
        eval_prose_close(p);
    return st;
}

void eval_prose_close(struct eval_prose *p)
{
    ids_close(&p->ids);
    ids_close(&p->sentence);
    ids_close(&p->bos);
    *p = (struct eval_prose){ 0 };
}

/* ---- places ---- */

uint32_t eval_prose_places(const struct eval_prose *p, uint32_t n, struct rng *rng, size_t *place,
                           uint32_t n_place)
{
    uint32_t n_seen = 0; // each is kept with the same chance (Vitter 1985, algorithm R)
    for (uint32_t t = 0; t < p->n_text; t++)
        for (size_t at = p->text[t]; at + n <= p->text[t + 1]; at += n, n_seen++) {
            const uint32_t i = n_seen < n_place ? n_seen : rng_below(rng, n_seen + 1);
            if (i < n_place)
                place[i] = at;
        }
    const uint32_t n_kept = n_seen < n_place ? n_seen : n_place;
    for (uint32_t i = n_kept; i > 1; i--) {
        const uint32_t j = rng_below(rng, i);
        const size_t moved = place[j];
        place[j] = place[i - 1];
        place[i - 1] = moved;
    }
    return n_kept;
}

uint32_t eval_prose_take(const struct eval_prose *p, uint32_t n, struct rng *rng, struct ids *out,
                         uint32_t *cut, uint32_t n_cut)
{
    size_t s = rng_below(rng, (uint32_t)p->sentence.n);
    size_t at = (size_t)p->sentence.id[s];
    uint32_t n_found = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (at == (size_t)p->sentence.id[s]) {
            if (n_found < n_cut)
                cut[n_found++] = (uint32_t)out->n;
            s = s + 1 < p->sentence.n ? s + 1 : 0;
        }
        ids_add(out, p->ids.id[at]);
        at = at + 1 < p->ids.n ? at + 1 : 0;
    }
    return n_found;
}
