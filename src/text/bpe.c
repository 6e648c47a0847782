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

/* Where the search for this pair begins. */
static struct bpe_merge *place_of(const struct bpe *b, uint64_t pair)
{
    return &b->slot[hash_place(hash_u64(b->seed, pair), b->n_slot)];
}

/* The slot of this pair, or the empty one where it would go. */
static struct bpe_merge *slot_of(const struct bpe *b, uint64_t pair)
{
    struct bpe_merge *slot = place_of(b, pair), *end = b->slot + b->n_slot;
    while (slot->pair != 0 && slot->pair != pair)
        slot = slot + 1 < end ? slot + 1 : b->slot;
    return slot;
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

/* The token that the two make. Vocabularies list tokens in the order of their merges, so `guess`,
 * the one after the last, is nearly always right and saves a search. */
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

/* A merge on its way into the table. */
struct incoming {
    struct text_span left, right;
    uint64_t left_prepared, right_prepared;
    int32_t left_id, right_id, made;
};

/* What resolving the merges one after the other needs. */
struct merge_reader {
    const struct vocab *v;
    const struct vocab_source *src;
    char *scratch; // room for the longest merge
    int32_t guess; // the token that the next merge probably makes
};

static enum status prepare(const struct merge_reader *r, struct incoming *in, uint32_t rank,
                           struct note *why)
{
    const struct string_map *map = &r->v->by_name;
    if (!cut_merge(r->src->merge[rank], &in->left, &in->right))
        return bad_merge(rank, r->src->merge[rank], "is not two tokens with a space between", why);
    in->left_prepared = string_map_prepare(map, in->left.bytes, in->left.len);
    in->right_prepared = string_map_prepare(map, in->right.bytes, in->right.len);
    return OK;
}

static enum status resolve(struct merge_reader *r, struct incoming *in, uint32_t rank,
                           struct note *why)
{
    const struct vocab *v = r->v;
    in->left_id = string_map_find_prepared(&v->by_name, &v->name, in->left.bytes, in->left.len,
                                           in->left_prepared);
    in->right_id = string_map_find_prepared(&v->by_name, &v->name, in->right.bytes, in->right.len,
                                            in->right_prepared);
    if (in->left_id < 0 || in->right_id < 0)
        return bad_merge(rank, r->src->merge[rank], "has a part that is no token", why);
    in->made = find_joined(v, in->left, in->right, r->guess, r->scratch);
    if (in->made < 0)
        return bad_merge(rank, r->src->merge[rank], "makes no token", why);
    r->guess = in->made + 1;
    return OK;
}

static void insert(struct bpe *b, const struct vocab *v, const struct incoming *in, uint32_t rank)
{
    uint64_t pair = pair_of(in->left_id, in->right_id);
    struct bpe_merge *slot = slot_of(b, pair);
    if (!(v->mark[in->made] & MARK_TEXT))
        return; // V1: text does not become a control token, even if the file would have it
    if (slot->pair == 0)
        *slot = (struct bpe_merge){ .pair = pair, .rank = rank, .id = in->made };
}

/* Merges go through in small groups, so that the tables' slots arrive while others are worked on: one
 * by one, waiting for them was half the time of loading 151k merges. */
static enum status add_merges(struct bpe *b, struct merge_reader *r, struct note *why)
{
    struct incoming in[32];
    enum status st = OK;
    for (uint32_t first = 0, n; st == OK && first < r->src->n_merge; first += n) {
        n = r->src->n_merge - first < 32 ? r->src->n_merge - first : 32;
        for (uint32_t i = 0; st == OK && i < n; i++)
            st = prepare(r, &in[i], first + i, why);
        for (uint32_t i = 0; st == OK && i < n; i++) {
            st = resolve(r, &in[i], first + i, why);
            __builtin_prefetch(place_of(b, pair_of(in[i].left_id, in[i].right_id)));
        }
        for (uint32_t i = 0; st == OK && i < n; i++)
            insert(b, r->v, &in[i], first + i);
    }
    return st;
}

static enum status open_merges(struct bpe *b, const struct vocab *v, const struct vocab_source *src,
                               struct note *why)
{
    enum status st = FULL;
    size_t longest = 0;
    for (uint32_t i = 0; i < src->n_merge; i++)
        longest = src->merge[i].len > longest ? src->merge[i].len : longest;
    char *scratch = mem_new(longest, 1);
    b->seed = hash_seed();
    b->n_slot = 2 * src->n_merge + 1;
    b->slot = mem_new(b->n_slot, sizeof *b->slot);
    if (scratch && b->slot)
        st = add_merges(b, &(struct merge_reader){ .v = v, .src = src, .scratch = scratch }, why);
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
