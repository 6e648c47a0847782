/* Any bytes as a text, for a small BPE and a small SPM vocabulary: V1 to V3 hold, streams and spans
 * agree with whole texts; word pieces of it are tokens, too. The first byte chooses the vocabulary, the second where
 * spans are cut. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "support/small_vocab.h"
#include "text/wordpiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { RULES = 7 };

/* One for each pre-tokenizer, and SPM last. Made once: they do not change. */
static const struct vocab *vocab_at(unsigned i)
{
    static const char *const pre[RULES] = { "default", "gpt-2",  "llama-bpe",   "qwen2",
                                            "smollm",  "tekken", "deepseek-llm" };
    static struct vocab *made[RULES + 1];
    static struct vocab_maker m;
    if (!made[i]) {
        if (i < RULES)
            small_bpe(&m);
        else
            small_spm(&m);
        m.src.pre = i < RULES ? pre[i] : NULL;
        made[i] = maker_build(&m);
    }
    return made[i];
}

static void encode(const struct vocab *v, const char *text, size_t len, unsigned flags,
                   struct ids *out)
{
    enum status st = vocab_encode(v, text, len, flags, out, NULL);
    assert(st == OK);
    for (size_t i = 0; i < out->n; i++)
        assert((uint32_t)out->id[i] < vocab_n_token(v)); // V3
}

static void check_plain(const struct vocab *v, const char *text, size_t len)
{
    struct ids ids = { 0 };
    struct buf whole = { 0 }, streamed = { 0 };
    struct detok d;
    encode(v, text, len, 0, &ids);
    enum status st = vocab_decode(v, ids.id, ids.n, true, &whole, NULL);
    assert(st == OK);
    detok_open(&d, v, true);
    for (size_t i = 0; i < ids.n; i++) {
        assert(vocab_type(v, ids.id[i]) != TOKEN_CONTROL); // V1
        detok_push(&d, ids.id[i], &streamed);
    }
    detok_flush(&d, &streamed);
    assert(streamed.len == whole.len);
    assert(whole.len == 0 || memcmp(streamed.bytes, whole.bytes, whole.len) == 0);
    bool escape = memmem(text, len, "\u2581", 3) != NULL;
    assert(escape || (whole.len == len && memcmp(buf_text(&whole), text, len) == 0)); // V2
    detok_close(&d);
    buf_close(&whole);
    buf_close(&streamed);
    ids_close(&ids);
}

/* The text in three spans must give what the whole gives: all trusted that of VOCAB_SPECIAL, none
 * that of 0. */
static void check_spans(const struct vocab *v, const char *text, size_t len, size_t cut,
                        bool trusted)
{
    struct ids whole = { 0 }, parts = { 0 };
    size_t half = cut / 2;
    const struct vocab_span span[] = { { text, half, trusted },
                                       { text + half, cut - half, trusted },
                                       { text + cut, len - cut, trusted } };
    encode(v, text, len, trusted ? VOCAB_SPECIAL : 0, &whole);
    enum status st = vocab_encode_spans(v, span, 3, false, &parts, NULL);
    assert(st == OK && parts.n == whole.n);
    assert(whole.n == 0 || memcmp(parts.id, whole.id, whole.n * sizeof *whole.id) == 0);
    ids_close(&whole);
    ids_close(&parts);
}

static void check_pieces(const char *text, size_t len)
{
    static const struct text_span token[] = { { "[UNK]", 5 },
                                              { "\xe2\x96\x81"
                                                "a",
                                                4 },
                                              { "a", 1 },
                                              { "\xe2\x96\x81"
                                                "bc",
                                                5 },
                                              { "\xe1\x84\x80", 3 },
                                              { "\xe2\x96\x81.", 4 } };
    static struct wordpiece *w;
    struct ids ids = { 0 };
    enum status st = w ? OK : wordpiece_new(&w, token, sizeof token / sizeof *token, NULL);
    assert(st == OK);
    wordpiece_encode(w, text, len, &ids);
    for (size_t i = 0; i < ids.n; i++)
        assert((uint32_t)ids.id[i] < sizeof token / sizeof *token);
    assert(ids.n <= 3 * len); /* a syllable of three bytes is three letters */
    ids_close(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 2)
        return 0;
    const struct vocab *v = vocab_at(bytes[0] % (RULES + 1));
    const char *text = (const char *)bytes + 2;
    size_t n = len - 2, cut = n ? bytes[1] % n : 0;
    check_plain(v, text, n);
    check_pieces(text, n);
    check_spans(v, text, n, cut, true);
    check_spans(v, text, n, cut, false);
    return 0;
}
