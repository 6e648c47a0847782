#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/byte_char.h"
#include "text/vocab_parts.h"

static uint64_t pair_of(int32_t left, int32_t right)
{
    return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
}

/* The slot of this pair, or the empty one where it would go. */
static struct bpe_merge *slot_of(const struct bpe *b, uint64_t pair)
{
    size_t i = hash_u64(b->seed, pair) & b->mask;
    while (b->slot[i].pair != 0 && b->slot[i].pair != pair)
        i = (i + 1) & b->mask;
    return &b->slot[i];
}

/* Cuts "left right" at the first space that is not its first byte. */
static bool cut_merge(struct text_span merge, struct text_span *left, struct text_span *right)
{
    const char *space = merge.len > 1 ? memchr(merge.bytes + 1, ' ', merge.len - 1) : NULL;
    if (!space)
        return false;
    *left = (struct text_span){ merge.bytes, (size_t)(space - merge.bytes) };
    *right = (struct text_span){ space + 1, merge.len - left->len - 1 };
    return true;
}

static bool is_joined(struct text_span name, struct text_span left, struct text_span right)
{
    return name.len == left.len + right.len && memcmp(name.bytes, left.bytes, left.len) == 0 &&
           memcmp(name.bytes + left.len, right.bytes, right.len) == 0;
}

/* The token that the two make. Vocabularies list tokens in the order of their merges, so `guess`, the one after
 * the last, is nearly always right and saves a search. */
static int32_t find_joined(const struct vocab *v, struct text_span left, struct text_span right,
                           int32_t guess, char *scratch)
{
    if ((uint32_t)guess < v->n_token &&
        is_joined(strings_get(&v->name, (uint32_t)guess), left, right))
        return guess;
    memcpy(scratch, left.bytes, left.len);
    memcpy(scratch + left.len, right.bytes, right.len);
    return string_map_find(&v->by_name, &v->name, scratch, left.len + right.len);
}

static enum status bad_merge(uint32_t i, struct text_span merge, const char *what, struct note *why)
{
    note_set(why, "tokenizer.ggml.merges: merge %u ('%.*s') %s", i,
             (int)(merge.len < 80 ? merge.len : 80), merge.bytes, what);
    return BAD_INPUT;
}

static enum status add_merges(struct bpe *b, const struct vocab *v, const struct vocab_source *src,
                              char *scratch, struct note *why)
{
    int32_t made = -1;
    for (uint32_t i = 0; i < src->n_merge; i++) {
        struct text_span left, right;
        if (!cut_merge(src->merge[i], &left, &right))
            return bad_merge(i, src->merge[i], "is not two tokens with a space between", why);
        int32_t l = string_map_find(&v->by_name, &v->name, left.bytes, left.len);
        int32_t r = string_map_find(&v->by_name, &v->name, right.bytes, right.len);
        if (l < 0 || r < 0)
            return bad_merge(i, src->merge[i], "has a part that is no token", why);
        made = find_joined(v, left, right, made + 1, scratch);
        if (made < 0)
            return bad_merge(i, src->merge[i], "makes no token", why);
        if (!(v->mark[made] & MARK_TEXT))
            continue; // V1: text does not become a control token, even if the file would have it
        struct bpe_merge *slot = slot_of(b, pair_of(l, r));
        if (slot->pair == 0)
            *slot = (struct bpe_merge){ .pair = pair_of(l, r), .rank = i, .id = made };
    }
    return OK;
}

static enum status open_merges(struct bpe *b, const struct vocab *v, const struct vocab_source *src,
                               struct note *why)
{
    enum status st = FULL;
    size_t n_slot = 16, longest = 0;
    while (n_slot < 2 * (size_t)src->n_merge)
        n_slot *= 2;
    for (uint32_t i = 0; i < src->n_merge; i++)
        longest = src->merge[i].len > longest ? src->merge[i].len : longest;
    char *scratch = mem_new(longest, 1);
    b->seed = hash_seed();
    b->mask = (uint32_t)(n_slot - 1);
    b->slot = mem_new(n_slot, sizeof *b->slot);
    if (scratch && b->slot)
        st = add_merges(b, v, src, scratch, why);
    else
        note_set(why, "out of memory for %u merges", src->n_merge);
    mem_free(scratch);
    return st;
}

enum status bpe_open(struct bpe *b, const struct vocab *v, const struct vocab_source *src,
                     struct note *why)
{
    const char *name = src->pre ? src->pre : "default";
    const struct pretoken_rule *rule = pretoken_find(name);
    if (!rule) {
        note_set(why, "pre-tokenizer '%.60s' (tokenizer.ggml.pre) is unknown; there are: %s", name,
                 vocab_pre_names());
        return BAD_INPUT;
    }
    for (int byte = 0; byte < 256; byte++) {
        char spelled[4];
        size_t n = utf8_write(char_of_byte((uint8_t)byte), spelled);
        b->byte_id[byte] = vocab_text_token(v, spelled, n);
    }
    b->ignore_merges = src->ignore_merges || pretoken_ignores_merges(rule);
    enum status st = open_merges(b, v, src, why);
    if (st == OK)
        st = pretoken_open(&b->pretoken, rule, why);
    if (st != OK)
        bpe_close(b);
    return st;
}

void bpe_close(struct bpe *b)
{
    mem_free(b->slot);
    pretoken_close(&b->pretoken);
    *b = (struct bpe){ 0 };
}

static bool find_pair(const void *table, const struct merge_symbol *left,
                      const struct merge_symbol *right, struct merge_result *out)
{
    const struct bpe *b = table;
    if (left->id < 0 || right->id < 0)
        return false;
    const struct bpe_merge *slot = slot_of(b, pair_of(left->id, right->id));
    *out = (struct merge_result){ .rank = slot->rank, .id = slot->id };
    return slot->pair != 0;
}

/* The token that is this whole word, or -1. */
static int32_t whole_word(const struct vocab *v, const char *word, size_t len)
{
    char name[512]; // words that are longer than that, spelled out, are merged like any other
    size_t n = 0;
    if (2 * len > sizeof name)
        return -1;
    for (size_t i = 0; i < len; i++)
        n += utf8_write(char_of_byte((uint8_t)word[i]), name + n);
    return vocab_text_token(v, name, n);
}

struct word_taker {
    const struct vocab *v;
    struct merge *merge;
    struct ids *out;
};

static enum status encode_word(void *ctx, const char *word, size_t len, struct note *why)
{
    const struct word_taker *t = ctx;
    const struct bpe *b = &t->v->bpe;
    int32_t whole = b->ignore_merges ? whole_word(t->v, word, len) : -1;
    if (whole >= 0) {
        ids_add(t->out, whole);
        return OK;
    }
    if (!merge_begin(t->merge, len)) {
        note_set(why, "out of memory for a word of %zu bytes", len);
        return FULL;
    }
    for (size_t i = 0; i < len; i++)
        merge_add(t->merge, (uint32_t)i, 1, b->byte_id[(unsigned char)word[i]]);
    merge_run(t->merge, find_pair, b);
    const struct merge_symbol *symbol = t->merge->symbol;
    for (uint32_t i = 0; i != MERGE_NONE; i = symbol[i].next) {
        if (symbol[i].id >= 0) // a byte that the vocabulary lacks leaves nothing behind
            ids_add(t->out, symbol[i].id);
    }
    return OK;
}

enum status bpe_encode(const struct vocab *v, struct merge *merge, const char *text, size_t len,
                       struct ids *out, struct note *why)
{
    struct word_taker taker = { .v = v, .merge = merge, .out = out };
    return pretoken_split(&v->bpe.pretoken, text, len, encode_word, &taker, why);
}
