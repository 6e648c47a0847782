/* vocab with the k-th allocation failing, for every k: FULL with a note, outputs as before, nothing
 * leaked (SAN=address); then the same call works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "support/small_vocab.h"

#define TEXT "hello world <tool>abcd <|end|> \u4e2d\xff hello\n\nhello<b>1234"

static struct vocab_maker maker;

/* Something that may run out of memory, and what it was given. */
typedef enum status attempt(void *ctx, struct note *why);

/* Fails each allocation of `f` in turn, until there is none left to fail. `spare`: some may be done
 * without; PCRE2's compiler to machine code has the interpreter to fall back on. */
static void fail_every_one(attempt *f, void *ctx, bool spare)
{
    for (uint64_t k = 1;; k++) {
        struct note why = { "" };
        mem_fail_at(k);
        enum status st = f(ctx, &why);
        uint64_t n_asked = mem_fail_count();
        mem_fail_at(0);
        if (n_asked < k) {
            assert_int_equal(st, OK);
            assert_true(k > 2);
            return;
        }
        assert_true((st == FULL && why.text[0]) || (st == OK && spare));
    }
}

static enum status build(void *ctx, struct note *why)
{
    struct vocab *v = NULL;
    enum status st = vocab_new(&v, ctx, why);
    assert_true((st == OK) == (v != NULL));
    if (st == OK) {
        struct ids ids = { 0 };
        mem_fail_at(0);
        assert_int_equal(vocab_encode(v, "hello", 5, 0, &ids, why), OK);
        ids_close(&ids);
    }
    vocab_free(v);
    return st;
}

static enum status encode(void *ctx, struct note *why)
{
    struct ids ids = { 0 };
    enum status st = vocab_encode(ctx, TEXT, strlen(TEXT), VOCAB_SPECIAL | VOCAB_BOS, &ids, why);
    assert_false(ids.failed);
    assert_true(st == OK || ids.n == 0);
    ids_close(&ids);
    return st;
}

static enum status encode_spans(void *ctx, struct note *why)
{
    const struct vocab_span span[] = { { "<|end|>hel", 10, true },
                                       { TEXT, strlen(TEXT), false },
                                       { "lo<|end|>", 9, true } };
    struct ids ids = { 0 };
    enum status st = vocab_encode_spans(ctx, span, 3, true, &ids, why);
    assert_false(ids.failed);
    assert_true(st == OK || ids.n == 0);
    ids_close(&ids);
    return st;
}

static enum status decode(void *ctx, struct note *why)
{
    int32_t id[200];
    struct buf out = { 0 };
    for (int i = 0; i < 200; i++)
        id[i] = i + 40;
    enum status st = vocab_decode(ctx, id, 200, true, &out, why);
    buf_close(&out);
    return st;
}

/* A stream reports by the buffer: either it failed, or all of the text is in it. */
static enum status stream(void *ctx, struct note *why)
{
    struct detok d;
    struct buf out = { 0 };
    detok_open(&d, ctx, true);
    for (int32_t id = 0; id < 200; id++)
        detok_push(&d, id, &out);
    detok_flush(&d, &out);
    assert_true(out.failed || out.len >= 199);
    enum status st = out.failed ? FULL : OK;
    if (out.failed)
        note_set(why, "said by the buffer");
    detok_close(&d);
    buf_close(&out);
    return st;
}

static void use(void)
{
    struct vocab *v = maker_build(&maker);
    fail_every_one(encode, v, false);
    fail_every_one(encode_spans, v, false);
    fail_every_one(decode, v, false);
    fail_every_one(stream, v, false);
    vocab_free(v);
}

static void bpe_runs_out_of_memory(void **state)
{
    (void)state;
    small_bpe(&maker);
    maker.src.add_bos = true;
    maker.src.pre = "deepseek-llm"; // many patterns
    fail_every_one(build, &maker.src, true);
    use();
}

static void spm_runs_out_of_memory(void **state)
{
    (void)state;
    small_spm(&maker);
    fail_every_one(build, &maker.src, true);
    use();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe_runs_out_of_memory),
        cmocka_unit_test(spm_runs_out_of_memory),
    };
    return cmocka_run_group_tests_name("vocab fault", tests, NULL, NULL);
}
