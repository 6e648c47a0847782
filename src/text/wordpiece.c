#include "text/wordpiece.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/strings.h"
#include "text/wordpiece_fold.h"

#define BEGINS "\xe2\x96\x81" // U+2581: a piece that begins a word

enum { WORD_MAX = 100, BEGINS_BYTES = sizeof BEGINS - 1 };

struct wordpiece {
    struct strings spelling;
    struct string_map map;
    int32_t unknown;
};

enum status wordpiece_new(struct wordpiece **out, const struct text_span *token, uint32_t n_token,
                          struct note *why)
{
    struct wordpiece *w = mem_new(1, sizeof *w);
    if (!w) {
        note_set(why, "no memory for a vocabulary of word pieces");
        return FULL;
    }
    enum status st = strings_open(&w->spelling, token, n_token, why);
    if (st == OK)
        st = string_map_open(&w->map, &w->spelling, why);
    if (st == OK) {
        w->unknown = wordpiece_find(w, "[UNK]");
        if (w->unknown < 0) {
            note_set(why, "a vocabulary of word pieces needs the token '[UNK]'; it has none");
            st = BAD_INPUT;
        }
    }
    if (st != OK) {
        wordpiece_free(w);
        return st;
    }
    *out = w;
    return OK;
}

void wordpiece_free(struct wordpiece *w)
{
    if (!w)
        return;
    string_map_close(&w->map);
    strings_close(&w->spelling);
    mem_free(w);
}

int32_t wordpiece_find(const struct wordpiece *w, const char *spelling)
{
    return string_map_find(&w->map, &w->spelling, spelling, strlen(spelling));
}

/* ---- a word ---- */

struct word {
    char bytes[BEGINS_BYTES + 4 * WORD_MAX]; // behind the sign that begins it
    size_t len;
    uint32_t n_char; // more than WORD_MAX: those behind are not in bytes
};

static void word_begin(struct word *word)
{
    memcpy(word->bytes, BEGINS, BEGINS_BYTES);
    word->len = BEGINS_BYTES;
    word->n_char = 0;
}

static void word_add(struct word *word, uint32_t c)
{
    if (word->n_char++ < WORD_MAX)
        word->len += utf8_write(c, word->bytes + word->len);
}

static size_t char_before(const char *bytes, size_t at)
{
    do
        at--;
    while (((unsigned char)bytes[at] & 0xc0) == 0x80);
    return at;
}

/* The longest token that begins at `from`, and where it ends; -1: there is none. */
static int32_t longest_piece(const struct wordpiece *w, const struct word *word, size_t from,
                             size_t *end)
{
    const size_t least = from == 0 ? BEGINS_BYTES : from; /* the sign alone is no piece */
    for (*end = word->len; *end > least; *end = char_before(word->bytes, *end)) {
        const int32_t id = string_map_find(&w->map, &w->spelling, word->bytes + from, *end - from);
        if (id >= 0)
            return id;
    }
    return -1;
}

/* Its pieces, or the unknown token alone. The word is empty again. */
static void word_end(const struct wordpiece *w, struct word *word, struct ids *out)
{
    const size_t n_before = out->n;
    bool known = word->n_char <= WORD_MAX;
    for (size_t at = 0, end; known && word->n_char > 0 && at < word->len; at = end) {
        const int32_t id = longest_piece(w, word, at, &end);
        known = id >= 0;
        if (known)
            ids_add(out, id);
    }
    if (!known) {
        out->n = n_before;
        ids_add(out, w->unknown);
    }
    word_begin(word);
}

/* ---- a text ---- */

static void add_char(const struct wordpiece *w, uint32_t c, struct word *word, struct ids *out)
{
    uint32_t to[FOLD_MAX];
    const bool ideograph = fold_is_ideograph(c);
    if (fold_is_space(c)) {
        word_end(w, word, out);
        return;
    }
    const unsigned n = fold_char(c, to);
    for (unsigned i = 0; i < n; i++) {
        const bool alone = ideograph || fold_is_punctuation(to[i]);
        if (alone)
            word_end(w, word, out);
        word_add(word, to[i]);
        if (alone)
            word_end(w, word, out);
    }
}

void wordpiece_encode(const struct wordpiece *w, const char *text, size_t len, struct ids *out)
{
    struct word word;
    word_begin(&word);
    for (size_t at = 0; at < len;) {
        uint32_t c;
        const size_t n = utf8_read(text + at, len - at, &c);
        if (n)
            add_char(w, c, &word, out);
        at += n ? n : 1;
    }
    word_end(w, &word, out);
}
