#include "support/small_vocab.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "text/byte_char.h"

void maker_open(struct vocab_maker *m, enum vocab_model model)
{
    m->used = 0;
    m->src = (struct vocab_source){ .model = model,
                                    .pre = "gpt-2",
                                    .token = m->token,
                                    .score = m->score,
                                    .type = m->type,
                                    .merge = m->merge,
                                    .bos = -1,
                                    .eos = -1,
                                    .eot = -1,
                                    .eom = -1,
                                    .unk = -1,
                                    .pad = -1 };
}

static struct text_span keep(struct vocab_maker *m, const char *text, size_t len)
{
    assert(m->used + len <= MAKER_BYTES);
    struct text_span kept = { m->bytes + m->used, len };
    memcpy(m->bytes + m->used, text, len);
    m->used += len;
    return kept;
}

int32_t maker_token_bytes(struct vocab_maker *m, const char *text, size_t len, enum token_type type,
                          float score)
{
    assert(m->src.n_token < MAKER_TOKENS);
    uint32_t id = m->src.n_token++;
    m->token[id] = keep(m, text, len);
    m->type[id] = (int32_t)type;
    m->score[id] = score;
    return (int32_t)id;
}

int32_t maker_token(struct vocab_maker *m, const char *text, enum token_type type, float score)
{
    return maker_token_bytes(m, text, strlen(text), type, score);
}

int32_t maker_find(const struct vocab_maker *m, const char *text)
{
    size_t len = strlen(text);
    for (uint32_t id = 0; id < m->src.n_token; id++) {
        if (m->token[id].len == len && memcmp(m->token[id].bytes, text, len) == 0)
            return (int32_t)id;
    }
    return -1;
}

void maker_merge(struct vocab_maker *m, const char *merge)
{
    char joined[256];
    const char *space = strchr(merge + 1, ' ');
    assert(m->src.n_merge < MAKER_MERGES && space && strlen(merge) < sizeof joined);
    snprintf(joined, sizeof joined, "%.*s%s", (int)(space - merge), merge, space + 1);
    m->merge[m->src.n_merge++] = keep(m, merge, strlen(merge));
    if (maker_find(m, joined) < 0)
        maker_token(m, joined, TOKEN_NORMAL, 0);
}

void maker_byte_tokens(struct vocab_maker *m)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8] = { 0 };
        if (m->src.model == VOCAB_SPM)
            snprintf(name, sizeof name, "<0x%02X>", byte);
        else
            utf8_write(char_of_byte((uint8_t)byte), name);
        maker_token(m, name, m->src.model == VOCAB_SPM ? TOKEN_BYTE : TOKEN_NORMAL, 0);
    }
}

struct vocab *maker_build(const struct vocab_maker *m)
{
    struct vocab *v = NULL;
    struct note why = { "" };
    enum status st = vocab_new(&v, &m->src, &why);
    if (st != OK)
        fprintf(stderr, "%s\n", why.text);
    assert(st == OK);
    return v;
}

void small_bpe(struct vocab_maker *m)
{
    static const char *const merges[] = {
        "h e",          "l l", "he ll", "hell o",        "\u0120 w", "o r", "\u0120w or", "l d",
        "\u0120wor ld", "a a", "aa aa", "\u0120 \u0120", "< <",      "> >", "<< >>",      "1 2",
    };
    maker_open(m, VOCAB_BPE);
    maker_byte_tokens(m);
    maker_token(m, "<|end|>", TOKEN_CONTROL, 0);
    maker_token(m, "<<>>", TOKEN_CONTROL, 0);
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        maker_merge(m, merges[i]);
    m->src.bos = maker_token(m, "<|im_start|>", TOKEN_CONTROL, 0);
    maker_token(m, "<tool>", TOKEN_USER, 0);
    maker_token(m, "<tool><x>", TOKEN_USER, 0);
    maker_token(m, "ab", TOKEN_USER, 0);
    maker_token(m, "bcd", TOKEN_USER, 0);
    m->src.unk = maker_token(m, "<unk>", TOKEN_UNKNOWN, 0);
    m->src.eos = maker_find(m, "<|end|>");
}

void small_spm(struct vocab_maker *m)
{
    static const struct {
        const char *text;
        float score;
    } normal[] = {
        { "\u2581", -9 },       { "h", -10 },    { "e", -11 },         { "l", -12 },
        { "o", -13 },           { "he", -3 },    { "ll", -3.5f },      { "lo", -4 },
        { "hell", -2 },         { "hello", -1 }, { "\u2581hello", 0 }, { "\u00e9", -8 },
        { "\u2581\u2581", -7 }, { "<", -14 },    { "s", -15 },         { ">", -16 },
        { "<s", -1 },           { "0x41>", -1 }, { "<0", -1 },         { "x41>", -1 },
        { "0", -17 },           { "x", -18 },    { "4", -19 },         { "1", -20 },
        { "x4", -2 },           { "1>", -2 },    { "aa", -6 },         { "ab", -5 },
        { "a", -21 },
    };
    maker_open(m, VOCAB_SPM);
    maker_byte_tokens(m);
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++)
        maker_token(m, normal[i].text, TOKEN_NORMAL, normal[i].score);
    m->src.bos = maker_token(m, "<s>", TOKEN_CONTROL, 0);
    m->src.eos = maker_token(m, "</s>", TOKEN_CONTROL, 0);
    maker_token(m, "<b>", TOKEN_USER, -1000);
    maker_token(m, "\n\n", TOKEN_USER, -1000);
    m->src.add_bos = m->src.add_space_prefix = true;
}
