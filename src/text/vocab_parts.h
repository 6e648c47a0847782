/* text/vocab_parts.h - what a vocabulary is made of; for the files of this folder.
 *
 *   names    tokens as the file spells them       "Ġhello"   "▁hello"   "<0x0A>"   "<|im_end|>"
 *   pieces   what they stand for inside a text    " hello"   " hello"   "\n"       "<|im_end|>"
 *
 * Merging works on names' numbers only (BPE) or on names' texts (SPM). */
#ifndef TEXT_VOCAB_PARTS_H
#define TEXT_VOCAB_PARTS_H

#include "text/merge.h"
#include "text/pretoken.h"
#include "text/special.h"
#include "text/strings.h"
#include "text/vocab.h"

enum mark {
    MARK_CONTROL = 1, // matched only in trusted text, left out when decoding plainly
    MARK_END = 2,     // generation stops here
    MARK_TEXT = 4,    // merging may give it
};

/* The way from two neighbours to the token that they make, and how early. */
struct bpe_merge {
    uint64_t pair; // (left id << 32 | right id) + 1; 0: empty slot
    uint32_t rank;
    int32_t id;
};

struct bpe {
    struct bpe_merge *slot; // open addressing, at most half full
    uint64_t seed;
    uint32_t n_slot;
    int32_t byte_id[256]; // the token of one byte, -1: the vocabulary has none
    bool ignore_merges;
    struct pretoken pretoken;
};

struct spm {
    uint32_t *rank; // [n_token] the scores as numbers that are smaller where the score is greater
    size_t longest; // bytes of the longest name that merging may give
    int32_t byte_id[256];
};

struct vocab {
    enum vocab_model model;
    uint32_t n_token;
    struct strings name;
    struct string_map by_name;
    struct strings piece;
    uint8_t *type; // [n_token] enum token_type
    uint8_t *mark; // [n_token] enum mark
    struct special special;
    struct bpe bpe; // the one that `model` says; the other is empty
    struct spm spm;
    int32_t bos, eos, unk;
    bool add_bos, add_eos, add_space_prefix;
};

/* The number of a token that merging may give, by name; -1: none. */
int32_t vocab_text_token(const struct vocab *v, const char *name, size_t len);

/* What these need of the vocabulary (names, types, marks) is there before they are opened. */
must_use enum status bpe_open(struct bpe *b, const struct vocab *v, const struct vocab_source *src,
                              struct note *why);
void bpe_close(struct bpe *b);
must_use enum status spm_open(struct spm *s, const struct vocab *v, const struct vocab_source *src,
                              struct note *why);
void spm_close(struct spm *s);

/* Encodes a text without special tokens. `merge` is scratch. `space`: put a space in front (SPM).
 * */
must_use enum status bpe_encode(const struct vocab *v, struct merge *merge, const char *text,
                                size_t len, struct ids *out, struct note *why);
must_use enum status spm_encode(const struct vocab *v, struct merge *merge, const char *text,
                                size_t len, bool space, struct ids *out, struct note *why);

#endif
