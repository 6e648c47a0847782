/* text/vocab.h - text to token ids and back.
 *
 *   text -> [special tokens cut out] -> fragments -> BPE: words, by pattern -> merged by rank
 *                                                 -> SPM: merged by score, bytes where none fits
 *
 * V1  Encoding text (VOCAB_SPECIAL off, an untrusted span) never yields a token of type control,
 *     whatever the text says.
 * V2  Decoding the ids of a text, `special` on, gives its bytes back. Exceptions: SPM takes a
 *     literal U+2581 for a space; a byte that a BPE vocabulary has no token for is lost, as is a
 *     character that becomes SPM's unknown.
 * V3  Every id that comes out is below vocab_n_token.
 *
 * Tokens are those of llama.cpp for the same file, with three deliberate differences: bytes that
 * are no UTF-8 are kept (not U+FFFD), tekken's pattern is the model's own, and merging never gives
 * a control or byte token. No Unicode normalisation is done, also where the model's original
 * tokenizer asked for NFC (qwen2).
 *
 * Lifetime  vocab_new copies what it needs. Threads  encoding and decoding are pure: any number.
 * Cost  BPE O(w log w) for each word of w bytes, SPM O(n log n): some 10 and 5 MB/s. Memory: 52
 *       bytes for each byte of the longest word (BPE) or stretch between special tokens (SPM).
 * Sources: Sennrich et al. 2016 (BPE); Radford et al. 2019 (byte-level); Kudo and Richardson 2018
 * (SentencePiece). */
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

/* Plain arrays, as a model file carries them; -1 is "none" for ids. Of tokens with equal texts the
 * first counts; an empty text never matches. */
struct vocab_source {
    enum vocab_model model;
    const char *pre; // BPE: name of the pre-tokenizer ("llama-bpe", ...); NULL: see vocab_new
    uint32_t n_token;
    const struct text_span *token; // [n_token]
    const float *score;            // [n_token] or NULL (SPM needs it)
    const int32_t *type; // [n_token] enum token_type, 0 for unused; or NULL: see vocab_new
    uint32_t n_merge;
    const struct text_span *merge; // [n_merge] "left right" (BPE)
    int32_t bos, eos, eot, eom, unk, pad;
    bool add_bos, add_eos, add_space_prefix;
    bool
        ignore_merges; // a whole word that is a token is taken as it is (llama-bpe, tekken: always)
};

struct vocab; // opaque

/* BAD_INPUT: an unknown pre-tokenizer (the note lists those there are), an empty vocabulary, a
 * merge whose parts are no tokens, an id out of range, add_bos without BOS, SPM without scores or
 * with neither byte tokens nor an unknown token. FULL: out of memory. A NULL `pre` with BPE takes
 * "default" and says so in the note with status OK. Without types all tokens are normal, but SPM's
 * <0x00> to <0xFF> are bytes.
 *
 * Tokens with the name of an end marker ("<|im_end|>", "</s>", ... the list is in vocab.c) are
 * matched and hidden like control tokens, and vocab_is_end, whatever type the file gives them;
 * merging may still give them if that type is normal. */
must_use enum status vocab_new(struct vocab **out, const struct vocab_source *src,
                               struct note *why);
void vocab_free(struct vocab *v);

enum vocab_flags {
    VOCAB_SPECIAL = 1, // text may name control tokens
    VOCAB_BOS = 2,     // put the model's BOS in front if the model adds one
    VOCAB_EOS = 4,     // put the model's EOS behind if the model adds one
};

/* Appends the ids of `text` (any bytes; invalid UTF-8 is kept byte for byte where the vocabulary
 * can). FULL: out of memory; BAD_INPUT: more than 1 GiB, or the pattern gave up on this text (match
 * limit; the note says where). On failure `out` is as before. */
must_use enum status vocab_encode(const struct vocab *v, const char *text, size_t len,
                                  unsigned flags, struct ids *out, struct note *why);

/* A text whose trusted parts, a template's own, may name control tokens; its others may not. */
struct vocab_span {
    const char *bytes;
    size_t len;
    bool trusted;
};

/* Encodes the concatenation of the spans; control tokens match only where all their bytes are
 * trusted (neighbouring trusted spans are as one), everything else is split exactly as in the
 * concatenated text: user-defined tokens and words may reach across. With all spans trusted it
 * equals vocab_encode with VOCAB_SPECIAL. `bos`: as VOCAB_BOS, unless the text begins with a
 * trusted BOS already, as templates write it. Errors as vocab_encode. */
must_use enum status vocab_encode_spans(const struct vocab *v, const struct vocab_span *span,
                                        size_t n_span, bool bos, struct ids *out, struct note *why);

/* The bytes of one token as it appears inside a text; control and unknown tokens give their name if
 * `special`, else nothing; so do ids out of range. Points into the vocabulary. */
struct text_span vocab_piece(const struct vocab *v, int32_t id, bool special);

/* Appends the bytes of a whole sequence. SPM with add_space_prefix: without the space that encoding
 * put in front of the text, and of what follows a special token. BAD_INPUT: an id out of range,
 * `out` is as before; FULL: out of memory. */
must_use enum status vocab_decode(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                                  struct buf *out, struct note *why);

/* Streaming: push ids, take complete characters; never splits one. All that comes out, in order, is
 * what vocab_decode gives. To go on with a text that has begun (a completion), set `started` before
 * the first push: then a leading space is not taken for the one that add_space_prefix put there. */
struct detok {
    const struct vocab *vocab;
    struct buf held; // the beginning of a character, at most 3 bytes between calls
    bool special;
    bool started; // text has come since the start or the last special token
};
void detok_open(struct detok *d, const struct vocab *v, bool special);
void detok_close(struct detok *d);
/* Appends to `out` what has become complete with this token; at the end flush gives the rest as it
 * is. Ids out of range give nothing; out of memory sets out->failed. */
void detok_push(struct detok *d, int32_t id, struct buf *out);
void detok_flush(struct detok *d, struct buf *out);

uint32_t vocab_n_token(const struct vocab *v);
enum token_type vocab_type(const struct vocab *v, int32_t id); // out of range: TOKEN_UNUSED
int32_t vocab_bos(const struct vocab *v);                      // -1: none
int32_t vocab_eos(const struct vocab *v);
bool vocab_adds_bos(const struct vocab *v);
/* Whether generation should stop at this id: eos, eot, eom and tokens named so ("<|im_end|>",
 * "<end_of_turn>", ...). */
bool vocab_is_end(const struct vocab *v, int32_t id);
/* The first token that the file spells so ("<|im_end|>", "\u0120hello"), -1: none. */
int32_t vocab_find(const struct vocab *v, const char *bytes, size_t len);

/* The names of the pre-tokenizers there are, comma-separated. */
const char *vocab_pre_names(void);
/* Whether models with this pre-tokenizer add BOS if their file does not say: llama-bpe, tekken. */
bool vocab_pre_adds_bos(const char *pre);

#endif
