/* Random vocabularies and random texts, beside the plain twin: the same ids, from plain text, from
 * special text and from spans; and V1 to V3 for each of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "support/small_vocab.h"
#include "twin/text_twin.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOWER = 4 };
#else
enum { SLOWER = 1 };
#endif

enum { VOCABS = 80 / SLOWER, TEXTS = 40, TEXT_MAX = 96 };

static const char *const LETTERS[] = { "a", "b", "c" };

/* Few letters, so that much overlaps. */
static void random_name(struct rng *rng, char *to, uint32_t least)
{
    uint32_t n = least + rng_below(rng, 5);
    *to = 0;
    while (n--)
        strcat(to, LETTERS[rng_below(rng, 3)]);
}

static void add_specials(struct vocab_maker *m, struct rng *rng)
{
    static const enum token_type types[] = { TOKEN_CONTROL, TOKEN_USER, TOKEN_UNKNOWN };
    for (uint32_t n = rng_below(rng, 20); n; n--) {
        char name[16];
        random_name(rng, name, 2);
        if (maker_find(m, name) < 0)
            maker_token(m, name, types[rng_below(rng, 3)], 0);
    }
}

/* Merges of tokens that are there, so that ranks are not sorted by length. */
static void random_bpe(struct vocab_maker *m, struct rng *rng)
{
    maker_open(m, VOCAB_BPE);
    maker_byte_tokens(m);
    add_specials(m, rng);
    for (uint32_t n = rng_below(rng, 20); n; n--) {
        const char *name[2];
        char merge[64], left[32], right[32];
        for (int i = 0; i < 2; i++) {
            uint32_t made = m->src.n_token - 256;
            uint32_t id =
                made && rng_below(rng, 2) ? 256 + rng_below(rng, made) : 'a' + rng_below(rng, 3);
            snprintf(i ? right : left, 32, "%.*s", (int)m->token[id].len, m->token[id].bytes);
            name[i] = i ? right : left;
        }
        if (strlen(left) + strlen(right) > 24)
            continue;
        snprintf(merge, sizeof merge, "%s %s", name[0], name[1]);
        maker_merge(m, merge);
    }
}

static void random_spm(struct vocab_maker *m, struct rng *rng)
{
    maker_open(m, VOCAB_SPM);
    maker_byte_tokens(m);
    add_specials(m, rng);
    maker_token(m, "\u2581", TOKEN_NORMAL, -9);
    for (uint32_t n = rng_below(rng, 30); n; n--) {
        char name[32] = "";
        if (rng_below(rng, 4) == 0)
            strcat(name, "\u2581");
        random_name(rng, name + strlen(name), 1);
        if (maker_find(m, name) < 0) // few scores, so that many are equal
            maker_token(m, name, rng_below(rng, 8) ? TOKEN_NORMAL : TOKEN_UNUSED,
                        -(float)rng_below(rng, 4));
    }
    m->src.add_space_prefix = rng_below(rng, 2);
}

static size_t random_text(struct rng *rng, char *to)
{
    static const char *const rare[] = { " ",    " ",      "1",      "\n", "\xff",
                                        "\xc3", "\u00e9", "\u4e2d", "'s" };
    size_t len = 0;
    for (uint32_t n = rng_below(rng, 40); n; n--) {
        const char *next = rng_below(rng, 6) ? LETTERS[rng_below(rng, 3)] : rare[rng_below(rng, 9)];
        memcpy(to + len, next, strlen(next));
        len += strlen(next);
    }
    return len;
}

static void expect_same(const struct ids *got, const struct ids *want, const char *what,
                        uint32_t seed, const char *text, size_t len)
{
    if (got->n != want->n || (got->n && memcmp(got->id, want->id, got->n * sizeof *got->id) != 0))
        fail_msg("%s differs from the twin: seed %u, text '%.*s'", what, seed, (int)len, text);
}

static void expect_promises(const struct vocab *v, const struct ids *ids, const char *text,
                            size_t len)
{
    struct buf back = { 0 };
    for (size_t i = 0; i < ids->n; i++) {
        assert_true((uint32_t)ids->id[i] < vocab_n_token(v));           // V3
        assert_int_not_equal(vocab_type(v, ids->id[i]), TOKEN_CONTROL); // V1
    }
    assert_int_equal(vocab_decode(v, ids->id, ids->n, true, &back, NULL), OK);
    assert_int_equal(back.len, len);
    assert_memory_equal(buf_text(&back), text, len); // V2
    buf_close(&back);
}

static void check_text(const struct vocab_maker *m, const struct vocab *v, struct rng *rng,
                       uint32_t seed)
{
    char text[TEXT_MAX * 3];
    struct ids got = { 0 }, want = { 0 };
    size_t len = random_text(rng, text);
    size_t from = rng_below(rng, (uint32_t)len + 1);
    size_t to = from + rng_below(rng, (uint32_t)(len - from) + 1);

    assert_int_equal(vocab_encode(v, text, len, 0, &got, NULL), OK);
    twin_encode(&m->src, text, len, 0, 0, &want);
    expect_same(&got, &want, "plain text", seed, text, len);
    expect_promises(v, &got, text, len);

    got.n = want.n = 0;
    assert_int_equal(vocab_encode(v, text, len, VOCAB_SPECIAL, &got, NULL), OK);
    twin_encode(&m->src, text, len, 0, len, &want);
    expect_same(&got, &want, "special text", seed, text, len);

    got.n = want.n = 0;
    size_t middle = from + rng_below(rng, (uint32_t)(to - from) + 1);
    const struct vocab_span spans[] = { { text, from, false },
                                        { text + from, middle - from, true },
                                        { text + middle, to - middle, true },
                                        { text + to, len - to, false } };
    assert_int_equal(vocab_encode_spans(v, spans, 4, false, &got, NULL), OK);
    twin_encode(&m->src, text, len, from, to, &want);
    expect_same(&got, &want, "spans", seed, text, len);
    ids_close(&got);
    ids_close(&want);
}

static void agree(void (*make)(struct vocab_maker *, struct rng *), uint32_t stream)
{
    static struct vocab_maker m;
    for (uint32_t seed = 0; seed < VOCABS; seed++) {
        struct rng rng = rng_seeded(seed, stream);
        make(&m, &rng);
        struct vocab *v = maker_build(&m);
        for (int i = 0; i < TEXTS; i++)
            check_text(&m, v, &rng, seed);
        vocab_free(v);
    }
}

static void bpe_agrees_with_twin(void **state)
{
    (void)state;
    agree(random_bpe, 1);
}

static void spm_agrees_with_twin(void **state)
{
    (void)state;
    agree(random_spm, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe_agrees_with_twin),
        cmocka_unit_test(spm_agrees_with_twin),
    };
    return cmocka_run_group_tests_name("vocab twin", tests, NULL, NULL);
}
