#include "text/turns.h"

#include <string.h>

#include "base/mem.h"

enum { PIECE = TURN_LONG / 4 }; // ids of a piece of a long turn at least

static bool is_space(const struct vocab *v, int32_t id)
{
    const struct text_span t = vocab_piece(v, id, false);
    for (size_t i = 0; i < t.len; i++)
        if (!strchr(" \t\r\n", t.bytes[i]))
            return false;
    return t.len > 0;
}

static bool has_line_end(const struct vocab *v, int32_t id)
{
    const struct text_span t = vocab_piece(v, id, false);
    return t.len > 0 && memchr(t.bytes, '\n', t.len);
}

static bool ends_sentence(const struct vocab *v, int32_t id)
{
    const struct text_span t = vocab_piece(v, id, false);
    size_t n = t.len;
    while (n > 0 && strchr(" \t\r\n\"'", t.bytes[n - 1]))
        n--;
    return n > 0 && strchr(".!?", t.bytes[n - 1]);
}

static enum status add(struct turns *t, uint32_t first, uint32_t end, uint32_t speech)
{
    if (t->n == t->n_room) {
        const uint32_t room = t->n_room ? 2 * t->n_room : 64;
        struct turn *larger = mem_resize(t->turn, room, sizeof *larger);
        if (!larger)
            return FULL;
        t->turn = larger;
        t->n_room = room;
    }
    t->turn[t->n++] = (struct turn){ .first = first, .end = end, .speech = speech };
    return OK;
}

/* One speech, in pieces where it is long (N4). */
static enum status add_speech(struct turns *t, const struct vocab *v, const int32_t *ids,
                              uint32_t first, uint32_t end)
{
    const uint32_t speech = t->n ? t->turn[t->n - 1].speech + 1 : 0;
    enum status st = OK;
    for (uint32_t i = first; end - first > TURN_LONG && i + PIECE < end && st == OK; i++) {
        if (i + 1 - first < PIECE || !(ends_sentence(v, ids[i]) || i + 1 - first >= TURN_LONG))
            continue;
        st = add(t, first, i + 1, speech);
        first = i + 1;
    }
    return st == OK ? add(t, first, end, speech) : st;
}

static bool is_chat(const struct vocab *v, const int32_t *ids, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) /* what begins a text may be what ends one */
        if (vocab_is_end(v, ids[i]))
            return true;
    return false;
}

static enum status cut_chat(struct turns *t, const struct vocab *v, const int32_t *ids, uint32_t n)
{
    enum status st = OK;
    uint32_t first = 0;
    for (uint32_t i = 1; i < n && st == OK; i++) {
        if (!vocab_is_end(v, ids[i]))
            continue;
        while (i + 1 < n && is_space(v, ids[i + 1]))
            i++;
        st = add_speech(t, v, ids, first, i + 1);
        first = i + 1;
    }
    t->header = first;
    return st == OK && first < n ? add(t, first, n, t->turn[t->n - 1].speech + 1) : st;
}

static enum status cut_text(struct turns *t, const struct vocab *v, const int32_t *ids, uint32_t n)
{
    enum status st = OK;
    uint32_t first = 0;
    bool said = false;
    t->header = n;
    for (uint32_t i = 0; i < n && st == OK; i++) {
        said |= vocab_piece(v, ids[i], false).len > 0 && !is_space(v, ids[i]);
        if (!said || !has_line_end(v, ids[i]))
            continue;
        st = add_speech(t, v, ids, first, i + 1);
        first = i + 1;
        said = false;
    }
    if (st != OK || first == n)
        return st;
    if (said || t->n == 0)
        return add_speech(t, v, ids, first, n);
    t->turn[t->n - 1].end = n; /* white space at the end */
    return OK;
}

/* Who begins with the header of the answer to come is the model. */
static void find_answers(struct turns *t, const int32_t *ids, uint32_t n)
{
    const uint32_t n_header = n - t->header;
    bool answers = false;
    for (uint32_t i = 0; n_header > 0 && i < t->n; i++) {
        const bool goes_on = i > 0 && t->turn[i].speech == t->turn[i - 1].speech;
        if (!goes_on)
            answers = t->turn[i].end - t->turn[i].first >= n_header &&
                      memcmp(ids + t->turn[i].first, ids + t->header, n_header * sizeof *ids) == 0;
        t->turn[i].answers = answers;
    }
}

enum status turns_cut(struct turns *out, const struct vocab *v, const int32_t *ids, uint32_t n,
                      struct note *why)
{
    *out = (struct turns){ .is_chat = is_chat(v, ids, n) };
    const enum status st = out->is_chat ? cut_chat(out, v, ids, n) : cut_text(out, v, ids, n);
    if (st != OK) {
        note_set(why, "no memory for the turns of a conversation of %u tokens", n);
        turns_close(out);
        return st;
    }
    find_answers(out, ids, n);
    return OK;
}

void turns_close(struct turns *t)
{
    mem_free(t->turn);
    *t = (struct turns){ 0 };
}
