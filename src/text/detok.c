#include <string.h>

#include "base/utf8.h"
#include "text/vocab_parts.h"

struct text_span vocab_piece(const struct vocab *v, int32_t id, bool special)
{
    if (id < 0 || (uint32_t)id >= v->n_token || (!special && v->mark[id] & MARK_CONTROL))
        return (struct text_span){ "", 0 };
    return strings_get(&v->piece, (uint32_t)id);
}

/* The piece, less the space that encoding put in front of the text after a special token (`started`
 * off). */
static struct text_span next_piece(const struct vocab *v, int32_t id, bool special, bool *started)
{
    struct text_span piece = vocab_piece(v, id, special);
    enum token_type type = vocab_type(v, id);
    if (!v->add_space_prefix)
        return piece;
    if (type == TOKEN_USER || type == TOKEN_CONTROL || type == TOKEN_UNKNOWN) {
        *started = false;
    } else if (!*started && piece.len) {
        *started = true;
        if (piece.bytes[0] == ' ')
            return (struct text_span){ piece.bytes + 1, piece.len - 1 };
    }
    return piece;
}

static void cut_back(struct buf *b, size_t len)
{
    b->len = len;
    if (b->bytes)
        b->bytes[len] = 0;
}

enum status vocab_decode(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                         struct buf *out, struct note *why)
{
    size_t len_before = out->len;
    bool started = false;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= v->n_token) {
            note_set(why, "token %zu of %zu is %d, but ids go from 0 to %u", i, n, ids[i],
                     v->n_token - 1);
            cut_back(out, len_before);
            return BAD_INPUT;
        }
        struct text_span piece = next_piece(v, ids[i], special, &started);
        buf_add(out, piece.bytes, piece.len);
    }
    if (out->failed) {
        note_set(why, "out of memory for the text of %zu tokens", n);
        return FULL;
    }
    return OK;
}

void detok_open(struct detok *d, const struct vocab *v, bool special)
{
    *d = (struct detok){ .vocab = v, .special = special };
}

void detok_close(struct detok *d)
{
    buf_close(&d->held);
    *d = (struct detok){ 0 };
}

void detok_push(struct detok *d, int32_t id, struct buf *out)
{
    struct text_span piece = next_piece(d->vocab, id, d->special, &d->started);
    buf_add(&d->held, piece.bytes, piece.len);
    size_t n = utf8_complete(buf_text(&d->held), d->held.len);
    buf_add(out, d->held.bytes, n);
    if (n)
        memmove(d->held.bytes, d->held.bytes + n, d->held.len - n);
    d->held.len -= n;
    out->failed |= d->held.failed;
}

void detok_flush(struct detok *d, struct buf *out)
{
    buf_add(out, d->held.bytes, d->held.len);
    buf_clear(&d->held);
}
