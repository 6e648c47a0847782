#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/byte_char.h"
#include "text/vocab_parts.h"

/* Tokens that end an answer whatever a file says of their type. The names of turn ends come from
 * the chat formats, those of fill-in-the-middle from code models, where the next file would begin.
 * */
static const char *const END_NAMES[] = {
    "</s>",
    "<eos>",
    "<|im_end|>",
    "<|end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    ("<\xef\xbd\x9c" /* fullwidth bars and U+2581: deepseek */
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<fim-repo>",
    "<|repo_name|>",
    "<reponame>",
    "<REPO>",
    "<|file_sep|>",
};

int32_t vocab_find(const struct vocab *v, const char *bytes, size_t len)
{
    return string_map_find(&v->by_name, &v->name, bytes, len);
}

int32_t vocab_text_token(const struct vocab *v, const char *name, size_t len)
{
    int32_t id = vocab_find(v, name, len);
    return id >= 0 && v->mark[id] & MARK_TEXT ? id : -1;
}

/* The byte that a name like "<0x0A>" means, or -1. */
static int byte_of_name(struct text_span name)
{
    static const char digits[] = "0123456789ABCDEF";
    if (name.len != 6 || memcmp(name.bytes, "<0x", 3) != 0 || name.bytes[5] != '>')
        return -1;
    const char *high = memchr(digits, name.bytes[3], 16), *low = memchr(digits, name.bytes[4], 16);
    return high && low ? (int)(high - digits) << 4 | (int)(low - digits) : -1;
}

static enum token_type type_of(const struct vocab_source *src, uint32_t id)
{
    if (src->type)
        return src->type[id] == 0 ? TOKEN_UNUSED : (enum token_type)src->type[id];
    bool byte = src->model == VOCAB_SPM && byte_of_name(src->token[id]) >= 0;
    return byte ? TOKEN_BYTE : TOKEN_NORMAL;
}

/* What text may become by merging. In SPM user-defined tokens come from cutting alone, as in
 * sentencepiece. */
static bool is_text(enum vocab_model model, enum token_type type)
{
    return type == TOKEN_NORMAL || type == TOKEN_UNUSED ||
           (type == TOKEN_USER && model == VOCAB_BPE);
}

static void mark_end(struct vocab *v, int32_t id)
{
    if (id >= 0)
        v->mark[id] |= MARK_END;
}

static enum status mark_tokens(struct vocab *v, const struct vocab_source *src, struct note *why)
{
    v->type = mem_new(v->n_token, 1);
    v->mark = mem_new(v->n_token, 1);
    if (!v->type || !v->mark) {
        note_set(why, "out of memory for %u tokens", v->n_token);
        return FULL;
    }
    for (uint32_t id = 0; id < v->n_token; id++) {
        enum token_type type = type_of(src, id);
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE) {
            note_set(why, "tokenizer.ggml.token_type: token %u is of type %d, not 0 to 6", id,
                     type);
            return BAD_INPUT;
        }
        v->type[id] = (uint8_t)type;
        if (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN)
            v->mark[id] |= MARK_CONTROL;
        if (is_text(v->model, type))
            v->mark[id] |= MARK_TEXT;
    }
    for (size_t i = 0; i < sizeof END_NAMES / sizeof END_NAMES[0]; i++) {
        int32_t id = vocab_find(v, END_NAMES[i], strlen(END_NAMES[i]));
        if (id >= 0)
            v->mark[id] |= MARK_END | MARK_CONTROL;
    }
    mark_end(v, src->eos);
    mark_end(v, src->eot);
    mark_end(v, src->eom);
    return OK;
}

/* Bytes that a name of byte-level BPE spells, to `to`; the name as it is where it spells none. */
static size_t unspell_bytes(struct text_span name, char *to)
{
    size_t n = 0, used;
    for (size_t at = 0; at < name.len; at += used) {
        int byte = byte_spelled(name.bytes + at, name.len - at, &used);
        if (byte < 0) {
            memcpy(to, name.bytes, name.len);
            return name.len;
        }
        to[n++] = (char)byte;
    }
    return n;
}

static size_t unspell_spaces(struct text_span name, char *to)
{
    size_t n = 0;
    for (size_t at = 0; at < name.len;) {
        bool space = name.len - at >= 3 && memcmp(name.bytes + at, "\xe2\x96\x81", 3) == 0;
        to[n++] = space ? ' ' : name.bytes[at];
        at += space ? 3 : 1;
    }
    return n;
}

/* Writes what a token stands for and answers its length, at most that of the name. */
static size_t write_piece(const struct vocab *v, uint32_t id, char *to)
{
    struct text_span name = strings_get(&v->name, id);
    int byte = v->type[id] == TOKEN_BYTE ? byte_of_name(name) : -1;
    if (byte >= 0) {
        to[0] = (char)byte;
        return 1;
    }
    if (v->type[id] == TOKEN_NORMAL || v->type[id] == TOKEN_UNUSED)
        return v->model == VOCAB_BPE ? unspell_bytes(name, to) : unspell_spaces(name, to);
    if (name.len)
        memcpy(to, name.bytes, name.len);
    return name.len;
}

static enum status write_pieces(struct vocab *v, struct note *why)
{
    v->piece.n = v->n_token;
    v->piece.at = mem_new((size_t)v->n_token + 1, sizeof *v->piece.at);
    v->piece.bytes = mem_new(v->name.at[v->n_token], 1);
    if (!v->piece.at || !v->piece.bytes) {
        note_set(why, "out of memory for the texts of %u tokens", v->n_token);
        return FULL;
    }
    for (uint32_t id = 0; id < v->n_token; id++) {
        uint32_t at = v->piece.at[id];
        v->piece.at[id + 1] = at + (uint32_t)write_piece(v, id, v->piece.bytes + at);
    }
    return OK;
}

static bool is_special(const struct vocab *v, uint32_t id)
{
    bool named = strings_get(&v->name, id).len > 0;
    return named && (v->mark[id] & MARK_CONTROL || v->type[id] == TOKEN_USER);
}

static enum status collect_special(struct vocab *v, struct note *why)
{
    uint32_t n = 0;
    for (uint32_t id = 0; id < v->n_token; id++)
        n += is_special(v, id);
    struct special_token *token = mem_new(n, sizeof *token);
    if (!token) {
        note_set(why, "out of memory for %u special tokens", n);
        return FULL;
    }
    n = 0;
    for (uint32_t id = 0; id < v->n_token; id++) {
        if (is_special(v, id))
            token[n++] = (struct special_token){ .text = strings_get(&v->name, id),
                                                 .id = (int32_t)id,
                                                 .control = v->mark[id] & MARK_CONTROL };
    }
    return special_open(&v->special, token, n, why);
}

static enum status check_id(const struct vocab_source *src, const char *what, int32_t id,
                            struct note *why)
{
    if (id >= -1 && id < (int32_t)src->n_token)
        return OK;
    note_set(why, "the %s token is %d, but there are only %u tokens", what, id, src->n_token);
    return BAD_INPUT;
}

static enum status check_source(const struct vocab_source *src, struct note *why)
{
    const struct {
        const char *what;
        int32_t id;
    } named[] = { { "BOS", src->bos }, { "EOS", src->eos }, { "EOT", src->eot },
                  { "EOM", src->eom }, { "UNK", src->unk }, { "PAD", src->pad } };
    if (src->n_token == 0 || src->n_token > INT32_MAX) {
        note_set(why, "a vocabulary of %u tokens: there must be 1 to %d", src->n_token, INT32_MAX);
        return BAD_INPUT;
    }
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        enum status st = check_id(src, named[i].what, named[i].id, why);
        if (st != OK)
            return st;
    }
    if ((src->add_bos && src->bos < 0) || (src->add_eos && src->eos < 0)) {
        note_set(why, "the vocabulary wants %s added to every text, but has no such token",
                 src->add_bos && src->bos < 0 ? "BOS" : "EOS");
        return BAD_INPUT;
    }
    return OK;
}

enum status vocab_new(struct vocab **out, const struct vocab_source *src, struct note *why)
{
    enum status st = check_source(src, why);
    if (st != OK)
        return st;
    struct vocab *v = mem_new(1, sizeof *v);
    if (!v) {
        note_set(why, "out of memory for a vocabulary");
        return FULL;
    }
    v->model = src->model;
    v->n_token = src->n_token;
    v->bos = src->bos;
    v->eos = src->eos;
    v->unk = src->unk;
    v->add_bos = src->add_bos;
    v->add_eos = src->add_eos;
    v->add_space_prefix = src->add_space_prefix && src->model == VOCAB_SPM;
    st = strings_open(&v->name, src->token, src->n_token, why);
    if (st == OK)
        st = string_map_open(&v->by_name, &v->name, why);
    if (st == OK)
        st = mark_tokens(v, src, why);
    if (st == OK)
        st = write_pieces(v, why);
    if (st == OK)
        st = collect_special(v, why);
    if (st == OK)
        st =
            v->model == VOCAB_BPE ? bpe_open(&v->bpe, v, src, why) : spm_open(&v->spm, v, src, why);
    if (st != OK) {
        vocab_free(v);
        return st;
    }
    if (v->model == VOCAB_BPE && !src->pre)
        note_set(why,
                 "the model names no pre-tokenizer: 'default' is used, which may not be its own");
    *out = v;
    return OK;
}

void vocab_free(struct vocab *v)
{
    if (!v)
        return;
    bpe_close(&v->bpe);
    spm_close(&v->spm);
    special_close(&v->special);
    strings_close(&v->piece);
    mem_free(v->type);
    mem_free(v->mark);
    string_map_close(&v->by_name);
    strings_close(&v->name);
    mem_free(v);
}

uint32_t vocab_n_token(const struct vocab *v)
{
    return v->n_token;
}

static bool has(const struct vocab *v, int32_t id)
{
    return id >= 0 && (uint32_t)id < v->n_token;
}

enum token_type vocab_type(const struct vocab *v, int32_t id)
{
    return has(v, id) ? (enum token_type)v->type[id] : TOKEN_UNUSED;
}

int32_t vocab_bos(const struct vocab *v)
{
    return v->bos;
}

int32_t vocab_eos(const struct vocab *v)
{
    return v->eos;
}

bool vocab_adds_bos(const struct vocab *v)
{
    return v->add_bos;
}

bool vocab_is_end(const struct vocab *v, int32_t id)
{
    return has(v, id) && v->mark[id] & MARK_END;
}

bool vocab_pre_adds_bos(const char *pre)
{
    const struct pretoken_rule *rule = pretoken_find(pre);
    return rule && pretoken_adds_bos(rule);
}
