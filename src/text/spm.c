#include <stdio.h>
#include <string.h>

#include "base/f16.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/vocab_parts.h"

#define SPACE "\xe2\x96\x81" // U+2581, how names spell a space

/* A number that is smaller where the score is greater; scores that are no numbers come last. */
static uint32_t rank_of(float score)
{
    if (score != score)
        return UINT32_MAX;
    uint32_t bits = bits_of_f32(score + 0.0f); // -0 becomes 0: they are equal scores
    uint32_t ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
    return ~ascending;
}

static enum status find_bytes(struct spm *s, const struct vocab *v, struct note *why)
{
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        int32_t id = string_map_find(&v->by_name, &v->name, name, strlen(name));
        s->byte_id[byte] = id >= 0 && v->type[id] == TOKEN_BYTE ? id : -1;
        if (s->byte_id[byte] < 0 && v->unk < 0) {
            note_set(why, "the vocabulary has neither the byte token %s nor an unknown token",
                     name);
            return BAD_INPUT;
        }
    }
    return OK;
}

enum status spm_open(struct spm *s, const struct vocab *v, const struct vocab_source *src,
                     struct note *why)
{
    if (!src->score) {
        note_set(why, "tokenizer.ggml.scores is missing: a 'llama' vocabulary merges by scores");
        return BAD_INPUT;
    }
    enum status st = find_bytes(s, v, why);
    if (st != OK)
        return st;
    s->rank = mem_new(v->n_token, sizeof *s->rank);
    if (!s->rank) {
        note_set(why, "out of memory for %u scores", v->n_token);
        return FULL;
    }
    for (uint32_t id = 0; id < v->n_token; id++) {
        size_t len = strings_get(&v->name, id).len;
        s->rank[id] = rank_of(src->score[id]);
        if (v->mark[id] & MARK_TEXT && len > s->longest)
            s->longest = len;
    }
    return OK;
}

void spm_close(struct spm *s)
{
    mem_free(s->rank);
    *s = (struct spm){ 0 };
}

/* A text with its spaces spelled as names spell them. */
struct spelled {
    const struct vocab *v;
    char *text;
    size_t len;
};

static bool spell(struct spelled *to, const char *text, size_t len, bool space)
{
    size_t n_space = space;
    for (size_t i = 0; i < len; i++)
        n_space += text[i] == ' ';
    to->text = mem_new(len + n_space * strlen(SPACE), 1);
    if (!to->text)
        return false;
    char *at = to->text;
    if (space)
        at = mempcpy(at, SPACE, strlen(SPACE));
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ')
            at = mempcpy(at, SPACE, strlen(SPACE));
        else
            *at++ = text[i];
    }
    to->len = (size_t)(at - to->text);
    return true;
}

static bool find_joined(const void *table, const struct merge_symbol *left,
                        const struct merge_symbol *right, struct merge_result *out)
{
    const struct spelled *s = table;
    size_t len = (size_t)left->len + right->len;
    if (len > s->v->spm.longest)
        return false;
    int32_t id = vocab_text_token(s->v, s->text + left->at, len);
    if (id < 0)
        return false;
    *out = (struct merge_result){ .rank = s->v->spm.rank[id], .id = id };
    return true;
}

/* A character that was joined to nothing: a token of its own, or its bytes, or the unknown token.
 * */
static void add_character(const struct vocab *v, const char *c, size_t len, struct ids *out)
{
    int32_t id = vocab_text_token(v, c, len);
    for (size_t i = 0; id < 0 && i < len; i++) {
        if (v->spm.byte_id[(unsigned char)c[i]] < 0)
            id = v->unk;
    }
    if (id >= 0) {
        ids_add(out, id);
        return;
    }
    for (size_t i = 0; i < len; i++)
        ids_add(out, v->spm.byte_id[(unsigned char)c[i]]);
}

enum status spm_encode(const struct vocab *v, struct merge *merge, const char *text, size_t len,
                       bool space, struct ids *out, struct note *why)
{
    struct spelled s = { .v = v };
    if (!spell(&s, text, len, space) || !merge_begin(merge, s.len)) {
        note_set(why, "out of memory for a text of %zu bytes", len);
        mem_free(s.text);
        return FULL;
    }
    for (size_t at = 0, n; at < s.len; at += n) {
        uint32_t c;
        n = utf8_read(s.text + at, s.len - at, &c);
        n = n ? n : 1; // a byte that is no character
        merge_add(merge, (uint32_t)at, (uint32_t)n, -1);
    }
    merge_run(merge, find_joined, &s);
    for (uint32_t i = 0; i != MERGE_NONE; i = merge->symbol[i].next) {
        const struct merge_symbol *m = &merge->symbol[i];
        if (m->id >= 0)
            ids_add(out, m->id);
        else
            add_character(v, s.text + m->at, m->len, out);
    }
    mem_free(s.text);
    return OK;
}
