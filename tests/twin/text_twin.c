#include "twin/text_twin.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/byte_char.h"
#include "text/pretoken.h"

enum { PARTS_MAX = 4096 };

/* A stretch of the text: bytes still to encode, or a token once id >= 0. */
struct part {
    size_t from, len;
    int32_t id;
};

struct parts {
    struct part part[PARTS_MAX];
    size_t n;
};

static void add_part(struct parts *p, size_t from, size_t len, int32_t id)
{
    assert(p->n < PARTS_MAX);
    if (len)
        p->part[p->n++] = (struct part){ from, len, id };
}

static bool is_control(const struct vocab_source *src, uint32_t id)
{
    return src->type[id] == TOKEN_CONTROL || src->type[id] == TOKEN_UNKNOWN;
}

static bool is_text(const struct vocab_source *src, uint32_t id)
{
    return src->type[id] == TOKEN_NORMAL || src->type[id] == TOKEN_UNUSED ||
           (src->type[id] == TOKEN_USER && src->model == VOCAB_BPE);
}

/* The first token with this name that is text, -1: none. A first one that is not hides the others.
 * */
static int32_t text_token(const struct vocab_source *src, const char *name, size_t len)
{
    for (uint32_t id = 0; id < src->n_token; id++) {
        if (src->token[id].len == len && memcmp(src->token[id].bytes, name, len) == 0)
            return is_text(src, id) ? (int32_t)id : -1;
    }
    return -1;
}

/* ---- special tokens ---- */

struct search {
    const struct vocab_source *src;
    const char *text;
    size_t trusted_from, trusted_to;
};

static bool fits(const struct search *q, uint32_t id, size_t at, size_t end)
{
    struct text_span t = q->src->token[id];
    if (at + t.len > end || memcmp(q->text + at, t.bytes, t.len) != 0)
        return false;
    return !is_control(q->src, id) || (at >= q->trusted_from && at + t.len <= q->trusted_to);
}

/* Cuts token `id` out of all that is still text. */
static void cut_out(const struct search *q, uint32_t id, struct parts *p)
{
    static struct parts before;
    size_t len = q->src->token[id].len;
    before = *p;
    p->n = 0;
    for (size_t i = 0; i < before.n; i++) {
        struct part s = before.part[i];
        size_t done = s.from, end = s.from + s.len;
        for (size_t at = s.from; s.id < 0 && at + len <= end;) {
            if (!fits(q, id, at, end)) {
                at++;
                continue;
            }
            add_part(p, done, at - done, -1);
            add_part(p, at, len, (int32_t)id);
            done = at += len;
        }
        add_part(p, done, end - done, s.id);
    }
}

static void cut_special(const struct search *q, struct parts *p)
{
    size_t longest = 0;
    for (uint32_t id = 0; id < q->src->n_token; id++)
        longest = q->src->token[id].len > longest ? q->src->token[id].len : longest;
    for (size_t len = longest; len > 0; len--) {
        for (uint32_t id = 0; id < q->src->n_token; id++) {
            bool special = is_control(q->src, id) || q->src->type[id] == TOKEN_USER;
            if (special && q->src->token[id].len == len)
                cut_out(q, id, p);
        }
    }
}

/* ---- merging ---- */

/* How good it is to join two neighbours, smaller is better, and what it gives; false: it is not
 * done. */
typedef bool judge_fn(const struct vocab_source *src, const char *text, const struct part *left,
                      const struct part *right, double *cost, int32_t *id);

static void join_all(const struct vocab_source *src, const char *text, struct parts *p,
                     judge_fn *judge)
{
    for (;;) {
        size_t best = PARTS_MAX;
        double best_cost = 0;
        int32_t best_id = -1;
        for (size_t i = 0; i + 1 < p->n; i++) {
            double cost;
            int32_t id;
            bool can = judge(src, text, &p->part[i], &p->part[i + 1], &cost, &id);
            if (can && (best == PARTS_MAX || cost < best_cost)) {
                best = i;
                best_cost = cost;
                best_id = id;
            }
        }
        if (best == PARTS_MAX)
            return;
        p->part[best].len += p->part[best + 1].len;
        p->part[best].id = best_id;
        memmove(&p->part[best + 1], &p->part[best + 2], (p->n - best - 2) * sizeof *p->part);
        p->n--;
    }
}

static bool judge_rank(const struct vocab_source *src, const char *text, const struct part *left,
                       const struct part *right, double *cost, int32_t *id)
{
    (void)text;
    if (left->id < 0 || right->id < 0)
        return false;
    struct text_span l = src->token[left->id], r = src->token[right->id];
    char merge[512], joined[512];
    size_t n = (size_t)snprintf(merge, sizeof merge, "%.*s %.*s", (int)l.len, l.bytes, (int)r.len,
                                r.bytes);
    size_t m = (size_t)snprintf(joined, sizeof joined, "%.*s%.*s", (int)l.len, l.bytes, (int)r.len,
                                r.bytes);
    for (uint32_t i = 0; i < src->n_merge; i++) {
        if (src->merge[i].len == n && memcmp(src->merge[i].bytes, merge, n) == 0) {
            *cost = i;
            *id = text_token(src, joined, m);
            return *id >= 0;
        }
    }
    return false;
}

static bool judge_score(const struct vocab_source *src, const char *text, const struct part *left,
                        const struct part *right, double *cost, int32_t *id)
{
    *id = text_token(src, text + left->from, left->len + right->len);
    if (*id >= 0)
        *cost = -src->score[*id];
    return *id >= 0;
}

struct word_ctx {
    const struct vocab_source *src;
    struct ids *out;
};

static enum status encode_word(void *ctx, const char *word, size_t len, struct note *why)
{
    static struct parts p;
    const struct word_ctx *w = ctx;
    (void)why;
    p.n = 0;
    for (size_t i = 0; i < len; i++) {
        char name[4];
        size_t n = utf8_write(char_of_byte((uint8_t)word[i]), name);
        add_part(&p, i, 1, text_token(w->src, name, n));
    }
    join_all(w->src, word, &p, judge_rank);
    for (size_t i = 0; i < p.n; i++) {
        if (p.part[i].id >= 0)
            ids_add(w->out, p.part[i].id);
    }
    return OK;
}

static void encode_bpe(const struct vocab_source *src, const char *text, size_t len,
                       struct ids *out)
{
    struct pretoken pre;
    struct word_ctx w = { src, out };
    enum status st = pretoken_open(&pre, pretoken_find(src->pre), NULL);
    assert(st == OK);
    st = pretoken_split(&pre, text, len, encode_word, &w, NULL);
    assert(st == OK);
    pretoken_close(&pre);
}

static void encode_spm(const struct vocab_source *src, const char *text, size_t len,
                       struct ids *out)
{
    static struct parts p;
    struct buf spelled = { 0 };
    if (src->add_space_prefix)
        buf_add_text(&spelled, "\u2581");
    for (size_t i = 0; i < len; i++)
        buf_add(&spelled, text[i] == ' ' ? "\u2581" : &text[i], text[i] == ' ' ? 3 : 1);
    p.n = 0;
    for (size_t at = 0, n; at < spelled.len; at += n) {
        uint32_t c;
        n = utf8_read(spelled.bytes + at, spelled.len - at, &c);
        n = n ? n : 1;
        add_part(&p, at, n, text_token(src, spelled.bytes + at, n));
    }
    join_all(src, spelled.bytes, &p, judge_score);
    for (size_t i = 0; i < p.n; i++) {
        if (p.part[i].id >= 0)
            ids_add(out, p.part[i].id);
        for (size_t k = 0; p.part[i].id < 0 && k < p.part[i].len; k++)
            ids_add(out,
                    (unsigned char)spelled.bytes[p.part[i].from + k]); // byte tokens come first
    }
    buf_close(&spelled);
}

void twin_encode(const struct vocab_source *src, const char *text, size_t len, size_t trusted_from,
                 size_t trusted_to, struct ids *out)
{
    static struct parts p;
    struct search q = { src, text, trusted_from, trusted_to };
    p.n = 0;
    add_part(&p, 0, len, -1);
    cut_special(&q, &p);
    for (size_t i = 0; i < p.n; i++) {
        struct part s = p.part[i];
        if (s.id >= 0)
            ids_add(out, s.id);
        else if (src->model == VOCAB_BPE)
            encode_bpe(src, text + s.from, s.len, out);
        else
            encode_spm(src, text + s.from, s.len, out);
    }
}
