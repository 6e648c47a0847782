#include <string.h>

#include "base/mem.h"
#include "text/vocab_parts.h"

#define TEXT_BYTES_MAX (1u << 30) // positions are 32 bits, and SPM spells a space with three bytes

/* Encodes a piece of text that lies between special tokens or beside them. */
static enum status encode_fragment(const struct vocab *v, struct merge *merge, const char *text,
                                   size_t len, struct ids *out, struct note *why)
{
    if (len == 0)
        return OK;
    if (v->model == VOCAB_BPE)
        return bpe_encode(v, merge, text, len, out, why);
    return spm_encode(v, merge, text, len, v->add_space_prefix, out, why);
}

static enum status encode_around(const struct vocab *v, const char *text, size_t len,
                                 const struct special_cuts *cuts, struct ids *out, struct note *why)
{
    struct merge merge = { 0 };
    enum status st = OK;
    size_t done = 0;
    for (size_t i = 0; st == OK && i < cuts->n; i++) {
        st = encode_fragment(v, &merge, text + done, cuts->cut[i].at - done, out, why);
        ids_add(out, cuts->cut[i].id);
        done = cuts->cut[i].at + cuts->cut[i].len;
    }
    if (st == OK)
        st = encode_fragment(v, &merge, text + done, len - done, out, why);
    merge_close(&merge);
    return st;
}

static enum status encode(const struct vocab *v, const char *text, size_t len,
                          const struct special_range *trusted, size_t n_trusted, struct ids *out,
                          struct note *why)
{
    struct special_cuts cuts = { 0 };
    if (len > TEXT_BYTES_MAX) {
        note_set(why, "a text of %zu bytes is too long to tokenize at once: at most %u", len,
                 TEXT_BYTES_MAX);
        return BAD_INPUT;
    }
    enum status st = special_find(&v->special, text, len, trusted, n_trusted, &cuts, why);
    if (st == OK)
        st = encode_around(v, text, len, &cuts, out, why);
    special_cuts_close(&cuts);
    return st;
}

/* A failed encoding leaves `out` as it was. */
static enum status conclude(struct ids *out, size_t n_before, enum status st, struct note *why)
{
    if (st == OK && out->failed) {
        note_set(why, "out of memory for more than %zu tokens", out->n);
        st = FULL;
    }
    if (st != OK) {
        out->n = n_before;
        out->failed = false;
    }
    return st;
}

enum status vocab_encode(const struct vocab *v, const char *text, size_t len, unsigned flags,
                         struct ids *out, struct note *why)
{
    size_t n_before = out->n;
    struct special_range all = { 0, len };
    if (flags & VOCAB_BOS && v->add_bos)
        ids_add(out, v->bos);
    enum status st = encode(v, text, len, &all, flags & VOCAB_SPECIAL ? 1 : 0, out, why);
    if (flags & VOCAB_EOS && v->add_eos)
        ids_add(out, v->eos);
    return conclude(out, n_before, st, why);
}

/* The spans as one text, and its trusted ranges; neighbouring trusted spans are one range. */
struct joined {
    struct buf text;
    struct special_range *trusted; // [n_span] is enough
    size_t n_trusted;
};

static void join_span(struct joined *j, const struct vocab_span *span)
{
    size_t from = j->text.len;
    if (span->len == 0)
        return;
    buf_add(&j->text, span->bytes, span->len);
    if (!span->trusted)
        return;
    struct special_range *last = j->n_trusted ? &j->trusted[j->n_trusted - 1] : NULL;
    if (last && last->to == from)
        last->to = j->text.len;
    else
        j->trusted[j->n_trusted++] = (struct special_range){ from, j->text.len };
}

/* A template that writes BOS itself does not get a second one. */
static bool begins_with_bos(const struct vocab *v, const struct joined *j)
{
    struct text_span bos = strings_get(&v->name, (uint32_t)v->bos);
    return j->n_trusted && j->trusted[0].from == 0 && j->trusted[0].to >= bos.len && bos.len &&
           memcmp(j->text.bytes, bos.bytes, bos.len) == 0;
}

enum status vocab_encode_spans(const struct vocab *v, const struct vocab_span *span, size_t n_span,
                               bool bos, struct ids *out, struct note *why)
{
    enum status st = FULL;
    size_t n_before = out->n;
    struct joined j = { .trusted = mem_new(n_span, sizeof *j.trusted) };
    for (size_t i = 0; j.trusted && i < n_span; i++)
        join_span(&j, &span[i]);
    if (!j.trusted || j.text.failed) {
        note_set(why, "out of memory for a text of %zu parts", n_span);
        goto done;
    }
    if (bos && v->add_bos && !begins_with_bos(v, &j))
        ids_add(out, v->bos);
    st = encode(v, buf_text(&j.text), j.text.len, j.trusted, j.n_trusted, out, why);
done:
    buf_close(&j.text);
    mem_free(j.trusted);
    return conclude(out, n_before, st, why);
}
