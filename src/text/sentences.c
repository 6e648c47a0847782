#include "text/sentences.h"

#include <assert.h>
#include <string.h>

#include "base/utf8.h"

void sentences_open(struct sentences *s, const struct vocab *v, enum sentence_rule rule,
                    uint32_t longest)
{
    assert(longest > 0);
    *s = (struct sentences){ .vocab = v, .rule = rule, .longest = longest };
}

/* ---- characters ---- */

static bool is_one_of(uint32_t c, const uint32_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == c)
            return true;
    return false;
}

static bool is_space(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 || c == 0x3000;
}

/* Quotes and brackets that may follow an end, and what text is marked with. */
static bool closes(uint32_t c)
{
    static const uint32_t list[] = { '"',    '\'',   ')',    ']',    '}',    '*',
                                     '_',    '`',    0xbb,   0x2019, 0x201d, 0x203a,
                                     0x300b, 0x300d, 0x300f, 0x3011, 0xff09, 0xff3d };
    return is_one_of(c, list, sizeof list / sizeof *list);
}

/* Marks that end a sentence whatever follows. */
static bool ends_always(uint32_t c)
{
    static const uint32_t list[] = { 0x3002, 0xff01, 0xff1f, 0xff61, 0x964, 0x61f, 0x6d4 };
    return is_one_of(c, list, sizeof list / sizeof *list);
}

static bool is_letter(uint32_t c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z' && c < 128;
}

/* Whether a full stop behind the last word is part of it: "Dr.", "J.", "e.g." */
static bool is_abbreviation(const struct sentences *s)
{
    static const char *const list[] = { "mr", "mrs", "ms", "dr", "prof", "st",
                                        "vs", "fig", "cf", "al", "jr",   "sr" };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (s->n_word == strlen(list[i]) && memcmp(s->word, list[i], s->n_word) == 0)
            return true;
    return s->n_word == 1 && s->initial;
}

static enum sentence_end end_of(const struct sentences *s, uint32_t c)
{
    if (s->rule == SENTENCES_LINES)
        return SENTENCE_GOES_ON;
    if (ends_always(c))
        return SENTENCE_ENDS;
    if (c == '.')
        return is_abbreviation(s) ? SENTENCE_GOES_ON : SENTENCE_MAY_END;
    if (c == '!' || c == '?' || c == 0x2026)
        return SENTENCE_MAY_END;
    return c == ',' || c == ';' || c == ':' ? SENTENCE_PAUSES : SENTENCE_GOES_ON;
}

static void read_word(struct sentences *s, uint32_t c)
{
    if (c == '\'' || c == 0x2019)
        return; /* "can't" is one word */
    if (!is_letter(c)) {
        s->n_word = 0;
        return;
    }
    if (s->n_word < sizeof s->word)
        s->word[s->n_word] = (char)(c | 32);
    if (s->n_word++ == 0)
        s->initial = c < 'a' || s->last == '.';
}

/* Whether the character only follows what is before it, so that it cannot begin a sentence. */
static bool follows(uint32_t c)
{
    return is_space(c) || closes(c);
}

static void read_char(struct sentences *s, uint32_t c)
{
    if (c == '\n') {
        s->state = SENTENCE_ENDS;
    } else if (is_space(c)) {
        s->spaced = true;
    } else if (!closes(c) || s->state == SENTENCE_GOES_ON) {
        s->state = end_of(s, c);
        s->spaced = false;
    }
    read_word(s, c);
    s->last = c;
}

/* ---- tokens ---- */

enum { PIECE_MAX = 256 }; // bytes of a token that are looked at

/* The complete characters of what was held and the piece; the beginning of another is held. Answers how many bytes. */
static size_t gather(struct sentences *s, struct text_span piece, char text[3 + PIECE_MAX])
{
    const size_t more = piece.len < PIECE_MAX ? piece.len : PIECE_MAX, n = s->n_held + more;
    memcpy(text, s->held, s->n_held);
    memcpy(text + s->n_held, piece.bytes, more);
    const size_t complete = utf8_complete(text, n);
    s->n_held = (uint32_t)(n - complete);
    memcpy(s->held, text + complete, s->n_held);
    return complete;
}

/* The character at the front and its bytes; of what is none, one byte. */
static size_t front(const char *text, size_t len, uint32_t *c)
{
    const size_t n = utf8_read(text, len, c);
    if (n > 0)
        return n;
    *c = 0xfffd;
    return 1;
}

/* Whether a token with something of its own begins a sentence here. */
static bool begins(const struct sentences *s)
{
    const bool late = s->n >= s->longest - s->longest / 4;
    return s->state == SENTENCE_ENDS || (s->state == SENTENCE_MAY_END && s->spaced) ||
           (s->state == SENTENCE_PAUSES && s->spaced && late);
}

/* Whether a character has begun that cannot follow an end: all that may begin with other bytes than these. */
static bool holds_content(const struct sentences *s)
{
    const unsigned char first = (unsigned char)s->held[0];
    return s->n_held > 0 && first >= 0xe4 && first != 0xef;
}

static bool next_by_characters(struct sentences *s, int32_t id)
{
    const struct text_span piece = vocab_piece(s->vocab, id, false);
    char text[3 + PIECE_MAX];
    size_t at = 0, used;
    uint32_t c;
    if (piece.len ==
        0) { /* a control token: an end behind it, and before, if there is none already */
        const bool goes_on = s->state != SENTENCE_ENDS;
        s->state = SENTENCE_ENDS;
        s->n_held = s->n_word = 0;
        return goes_on;
    }
    const size_t n = gather(s, piece, text);
    for (; at < n && (used = front(text + at, n - at, &c), follows(c)); at += used)
        read_char(s, c);
    if (at == n && !holds_content(s))
        return false;
    const bool ends = begins(s);
    s->state = SENTENCE_GOES_ON;
    for (; at < n; at += used) {
        used = front(text + at, n - at, &c);
        read_char(s, c);
    }
    return ends;
}

/* The strings that the code beside the paper looks up as tokens. */
static bool next_strictly(struct sentences *s, int32_t id)
{
    static const char *const list[] = { ".",
                                        "!",
                                        "?",
                                        ". ",
                                        "! ",
                                        "? ",
                                        "...",
                                        "\n\n",
                                        "\n\n\n",
                                        "\xe3\x80\x82",
                                        "\xef\xbc\x81",
                                        "\xef\xbc\x9f",
                                        "\xe3\x80\x82\xe3\x80\x82" };
    const struct text_span piece = vocab_piece(s->vocab, id, false);
    const bool ends = s->state == SENTENCE_ENDS;
    s->state = SENTENCE_GOES_ON;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (piece.len == strlen(list[i]) && memcmp(piece.bytes, list[i], piece.len) == 0)
            s->state = SENTENCE_ENDS;
    return ends;
}

bool sentences_next(struct sentences *s, int32_t id)
{
    const bool full = s->n == s->longest;
    bool ends = s->rule == SENTENCES_FIXED    ? false
                : s->rule == SENTENCES_STRICT ? next_strictly(s, id)
                                              : next_by_characters(s, id);
    ends = s->n > 0 && (ends || full);
    s->n = ends ? 1 : s->n + 1;
    return ends;
}
