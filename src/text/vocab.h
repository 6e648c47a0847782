/* text/vocab.h - text to token ids and back.
 *
 *   text -> [control / user-defined tokens cut out] -> fragments -> [BPE: pre-split by a pattern, merge by rank]
 *                                                               -> [SPM: merge by score, byte fallback]
 *
 * V1  Encoding text (VOCAB_SPECIAL off) never yields a control token, whatever the text says.
 * V2  Decoding the ids of a text gives its bytes back (SPM: apart from a literal U+2581).
 * V3  Every id that comes out is below vocab_n_token.
 *
 * Lifetime  vocab_new copies what it needs. Threads  encoding and decoding are pure: any number at once.
 * Cost  linear in the text for BPE and O(n log n) for SPM; memory linear.
 * Sources: Sennrich et al. 2016 (BPE); Radford et al. 2019 (byte-level); Kudo and Richardson 2018 (SentencePiece). */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

enum vocab_model { VOCAB_BPE /* "gpt2" */, VOCAB_SPM /* "llama" */ };

enum token_type { // as in tokenizer.ggml.token_type
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER = 4, // user-defined: matched as a whole in any text
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

struct text_span {
    const char *bytes;
    size_t len;
};

/* Plain arrays, as a model file carries them; -1 is "none" for ids. */
struct vocab_source {
    enum vocab_model model;
    const char *pre;                // name of the pre-tokenizer ("llama-bpe", ...); NULL or unknown: see vocab_new
    uint32_t n_token;
    const struct text_span *token;  // [n_token]
    const float *score;             // [n_token] or NULL (SPM needs it)
    const int32_t *type;            // [n_token] enum token_type, or NULL: all normal
    uint32_t n_merge;
    const struct text_span *merge;  // [n_merge] "left right" (BPE)
    int32_t bos, eos, eot, eom, unk, pad;
    bool add_bos, add_eos, add_space_prefix;
    bool ignore_merges;             // a whole pre-token that is a token is taken as it is (llama-bpe, tekken)
};

struct vocab; // opaque

/* BAD_INPUT: an unknown pre-tokenizer (the note lists those there are), an empty vocabulary, a merge whose
 * parts are no tokens, ... A NULL `pre` with BPE takes "default" and says so in the note with status OK. */
must_use enum status vocab_new(struct vocab **out, const struct vocab_source *src, struct note *why);
void vocab_free(struct vocab *v);

enum vocab_flags {
    VOCAB_SPECIAL = 1, // text may name control tokens
    VOCAB_BOS = 2,     // put the model's BOS in front if the model adds one
};

/* Appends the ids of `text` (any bytes; invalid UTF-8 is kept byte for byte where the vocabulary can).
 * FULL: out of memory; BAD_INPUT: the pattern gave up on this text (match limit; the note says where). */
must_use enum status vocab_encode(const struct vocab *v, const char *text, size_t len, unsigned flags,
                                  struct ids *out, struct note *why);

/* A text whose trusted parts (a template's own) may name control tokens and whose other parts may not. */
struct vocab_span {
    const char *bytes;
    size_t len;
    bool trusted;
};

/* Encodes the concatenation of the spans; control tokens match only inside one trusted span, everything else is
 * split exactly as in the concatenated text. With all spans trusted it equals vocab_encode with VOCAB_SPECIAL. */
must_use enum status vocab_encode_spans(const struct vocab *v, const struct vocab_span *span, size_t n_span,
                                        bool bos, struct ids *out, struct note *why);

/* The bytes of one token as it appears inside a text; control tokens give their name only if `special`. */
struct text_span vocab_piece(const struct vocab *v, int32_t id, bool special);

/* Bytes of a whole sequence (SPM: drops the one space that add_space_prefix put in front). Ids out of range: BAD_INPUT. */
must_use enum status vocab_decode(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                                  struct buf *out, struct note *why);

/* Streaming: push ids, take complete characters; never splits one. */
struct detok {
    const struct vocab *vocab;
    struct buf held;  // bytes not yet given out
    bool special;
    bool started;
};
void detok_open(struct detok *d, const struct vocab *v, bool special);
void detok_close(struct detok *d);
/* Appends to `out` what has become complete with this token; at the end flush gives the rest as it is. */
void detok_push(struct detok *d, int32_t id, struct buf *out);
void detok_flush(struct detok *d, struct buf *out);

uint32_t vocab_n_token(const struct vocab *v);
enum token_type vocab_type(const struct vocab *v, int32_t id);
int32_t vocab_bos(const struct vocab *v); // -1: none
int32_t vocab_eos(const struct vocab *v);
bool vocab_adds_bos(const struct vocab *v);
/* Whether generation should stop at this id: eos, eot, eom and tokens named so ("<|im_end|>", "<end_of_turn>", ...). */
bool vocab_is_end(const struct vocab *v, int32_t id);
int32_t vocab_find(const struct vocab *v, const char *bytes, size_t len); // -1: no such token

/* The names of the pre-tokenizers there are, comma-separated. */
const char *vocab_pre_names(void);
/* Whether models with this pre-tokenizer add BOS where the file does not say (llama-bpe, tekken). */
bool vocab_pre_adds_bos(const char *pre);

#endif
