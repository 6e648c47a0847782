/* vocab_load: what a file that leaves keys out means, and how each wrong key is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "model/vocab_load.h"
#include "support/gguf_vocab.h"

/* What a case does to a file before it is read. */
typedef void add_keys(struct gguf_writer *w);

static enum status read_back(struct gguf_writer *w, struct vocab **out, struct note *why)
{
    struct buf file = { 0 };
    struct gguf *g;
    gguf_writer_finish(w, &file);
    assert_int_equal(gguf_open_bytes(&g, file.bytes, file.len, why), OK);
    enum status st = model_vocab_load(out, g, why);
    gguf_close(g);
    buf_close(&file); // the vocabulary outlives the file
    return st;
}

static struct vocab *load(void (*make)(struct vocab_maker *), add_keys *add, struct note *why)
{
    static struct vocab_maker m;
    struct gguf_writer w;
    struct vocab *v = NULL;
    make(&m);
    gguf_writer_open(&w, 3);
    gguf_write_vocab(&w, &m);
    add(&w);
    if (read_back(&w, &v, why) != OK)
        fail_msg("%s", why->text);
    gguf_writer_close(&w);
    return v;
}

static void expect_ids(const struct vocab *v, const char *text, unsigned flags, int32_t first,
                       size_t n)
{
    struct ids ids = { 0 };
    assert_int_equal(vocab_encode(v, text, strlen(text), flags, &ids, NULL), OK);
    assert_int_equal(ids.n, n);
    assert_int_equal(ids.id[0], first);
    ids_close(&ids);
}

static void add_nothing(struct gguf_writer *w)
{
    (void)w;
}

static void bpe_defaults(void **state)
{
    (void)state;
    struct note why = { "" };
    struct vocab *v = load(small_bpe, add_nothing, &why);
    assert_non_null(strstr(why.text, "'default'"));
    assert_int_equal(vocab_bos(v), -1);
    assert_int_equal(vocab_eos(v), -1);
    assert_false(vocab_adds_bos(v));
    expect_ids(v, "hello", VOCAB_BOS, vocab_find(v, "hello", 5), 1);
    assert_true(vocab_is_end(v, vocab_find(v, "<|end|>", 7))); // by its name
    vocab_free(v);
}

static void spm_defaults(void **state)
{
    (void)state;
    struct note why = { "" };
    struct vocab *v = load(small_spm, add_nothing, &why);
    assert_string_equal(why.text, "");
    assert_int_equal(vocab_bos(v), 1);
    assert_int_equal(vocab_eos(v), 2);
    assert_true(vocab_adds_bos(v));
    expect_ids(v, "hello", 0, vocab_find(v, "\u2581hello", 8), 1);
    expect_ids(v, "hello", VOCAB_BOS, 1, 2);
    vocab_free(v);
}

static void add_spm_keys(struct gguf_writer *w)
{
    gguf_write_int(w, "tokenizer.ggml.bos_token_id", GGUF_U32, 7);
    gguf_write_int(w, "tokenizer.ggml.eos_token_id", GGUF_U64, 8);
    gguf_write_int(w, "tokenizer.ggml.eot_token_id", GGUF_I32, 9);
    gguf_write_int(w, "tokenizer.ggml.padding_token_id", GGUF_U32, 100000); // beyond: as if absent
    gguf_write_int(w, "tokenizer.ggml.add_bos_token", GGUF_BOOL, 0);
    gguf_write_int(w, "tokenizer.ggml.add_eos_token", GGUF_BOOL, 1);
    gguf_write_int(w, "tokenizer.ggml.add_space_prefix", GGUF_BOOL, 0);
}

static void keys_are_followed(void **state)
{
    (void)state;
    struct note why = { "" };
    struct vocab *v = load(small_spm, add_spm_keys, &why);
    assert_int_equal(vocab_bos(v), 7);
    assert_int_equal(vocab_eos(v), 8);
    assert_true(vocab_is_end(v, 8));
    assert_true(vocab_is_end(v, 9));
    assert_false(vocab_adds_bos(v));
    expect_ids(v, "hello", VOCAB_BOS, vocab_find(v, "hello", 5), 1);
    expect_ids(v, "hello", VOCAB_EOS, vocab_find(v, "hello", 5), 2);
    vocab_free(v);
}

static void add_llama3(struct gguf_writer *w)
{
    gguf_write_text(w, "tokenizer.ggml.pre", "llama-bpe");
    gguf_write_int(w, "tokenizer.ggml.bos_token_id", GGUF_U32, 3);
}

static void add_llama3_without_bos(struct gguf_writer *w)
{
    gguf_write_text(w, "tokenizer.ggml.pre", "llama-bpe");
}

static void some_pre_tokenizers_add_bos(void **state)
{
    (void)state;
    struct note why = { "" };
    struct vocab *v = load(small_bpe, add_llama3, &why);
    assert_string_equal(why.text, "");
    assert_true(vocab_adds_bos(v));
    vocab_free(v);
    v = load(small_bpe, add_llama3_without_bos, &why);
    assert_false(vocab_adds_bos(v)); // there is none to add
    vocab_free(v);
}

static void types_and_integer_scores(void **state)
{
    (void)state;
    static const char *const token[] = { "a", "b", "ab", "<unk>", "bc", "c" };
    static const int64_t score[] = { 0, 0, 1, 0, 2, 0 };
    struct gguf_writer w;
    struct vocab *v = NULL;
    struct note why = { "" };
    gguf_writer_open(&w, 3);
    gguf_write_text(&w, "tokenizer.ggml.model", "llama");
    gguf_write_texts(&w, "tokenizer.ggml.tokens", token, 6);
    gguf_write_ints(&w, "tokenizer.ggml.scores", GGUF_I32, score, 6);
    gguf_write_int(&w, "tokenizer.ggml.add_space_prefix", GGUF_BOOL, 0);
    assert_int_equal(read_back(&w, &v, &why), OK);
    expect_ids(v, "abc", 0, 0, 2); // a, bc
    assert_int_equal(vocab_type(v, 3), TOKEN_NORMAL);
    vocab_free(v);
    gguf_writer_close(&w);
}

/* ---- refusals ---- */

static const char *const TWO[] = { "a", "b" };

static void wrong_model(struct gguf_writer *w)
{
    gguf_write_text(w, "tokenizer.ggml.model", "bert");
}

static void model_is_a_number(struct gguf_writer *w)
{
    gguf_write_int(w, "tokenizer.ggml.model", GGUF_U32, 1);
}

static void no_tokens(struct gguf_writer *w)
{
    gguf_write_text(w, "tokenizer.ggml.model", "gpt2");
}

static void tokens_are_numbers(struct gguf_writer *w)
{
    no_tokens(w);
    gguf_write_ints(w, "tokenizer.ggml.tokens", GGUF_U32, (int64_t[]){ 1 }, 1);
}

static void token_is_one_text(struct gguf_writer *w)
{
    no_tokens(w);
    gguf_write_text(w, "tokenizer.ggml.tokens", "a");
}

static void no_merges(struct gguf_writer *w)
{
    no_tokens(w);
    gguf_write_texts(w, "tokenizer.ggml.tokens", TWO, 2);
}

static void bpe_of_two(struct gguf_writer *w)
{
    no_merges(w);
    gguf_write_texts(w, "tokenizer.ggml.merges", TWO, 0);
}

static void too_few_types(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_ints(w, "tokenizer.ggml.token_type", GGUF_I32, (int64_t[]){ 1 }, 1);
}

static void types_are_floats(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_floats(w, "tokenizer.ggml.token_type", GGUF_F32, (double[]){ 1, 1 }, 2);
}

static void types_are_texts(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_texts(w, "tokenizer.ggml.token_type", TWO, 2);
}

static void type_is_huge(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_ints(w, "tokenizer.ggml.token_type", GGUF_U64, (int64_t[]){ 1, -1 }, 2);
}

static void scores_are_one(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_float(w, "tokenizer.ggml.scores", GGUF_F32, 1);
}

static void bos_is_a_text(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_text(w, "tokenizer.ggml.bos_token_id", "a");
}

static void add_bos_is_a_text(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_text(w, "tokenizer.ggml.add_bos_token", "yes");
}

static void adds_bos_without_one(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_int(w, "tokenizer.ggml.add_bos_token", GGUF_BOOL, 1);
}

static void pre_is_unknown(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_text(w, "tokenizer.ggml.pre", "nobody");
}

static void pre_is_a_number(struct gguf_writer *w)
{
    bpe_of_two(w);
    gguf_write_int(w, "tokenizer.ggml.pre", GGUF_U32, 1);
}

static void spm_without_scores(struct gguf_writer *w)
{
    gguf_write_text(w, "tokenizer.ggml.model", "llama");
    gguf_write_texts(w, "tokenizer.ggml.tokens", TWO, 2);
}

static void wrong_files_are_refused(void **state)
{
    static const struct {
        add_keys *add;
        const char *phrase;
    } wrong[] = {
        { add_nothing, "tokenizer.ggml.model is missing" },
        { wrong_model, "tokenizer.ggml.model is 'bert'; there are: gpt2, llama" },
        { model_is_a_number, "tokenizer.ggml.model" },
        { no_tokens, "tokenizer.ggml.tokens is missing" },
        { tokens_are_numbers, "tokenizer.ggml.tokens must be an array of strings" },
        { token_is_one_text, "tokenizer.ggml.tokens must be an array of strings" },
        { no_merges, "tokenizer.ggml.merges is missing" },
        { too_few_types, "tokenizer.ggml.token_type has 1 elements for 2 tokens" },
        { types_are_floats, "tokenizer.ggml.token_type must be an array of integers" },
        { types_are_texts, "tokenizer.ggml.token_type must be an array of numbers" },
        { type_is_huge, "token 1 is of type -1" },
        { scores_are_one, "tokenizer.ggml.scores must be an array of numbers" },
        { bos_is_a_text, "tokenizer.ggml.bos_token_id" },
        { add_bos_is_a_text, "tokenizer.ggml.add_bos_token" },
        { adds_bos_without_one, "wants BOS added" },
        { pre_is_unknown, "'nobody'" },
        { pre_is_a_number, "tokenizer.ggml.pre" },
        { spm_without_scores, "tokenizer.ggml.scores is missing" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct gguf_writer w;
        struct vocab *v = NULL;
        struct note why = { "" };
        gguf_writer_open(&w, 3);
        wrong[i].add(&w);
        assert_int_equal(read_back(&w, &v, &why), BAD_INPUT);
        assert_null(v);
        if (!strstr(why.text, wrong[i].phrase))
            fail_msg("'%s' does not say '%s'", why.text, wrong[i].phrase);
        gguf_writer_close(&w);
    }
}

static void memory_may_run_out(void **state)
{
    (void)state;
    static struct vocab_maker m;
    struct gguf_writer w;
    struct buf file = { 0 };
    struct gguf *g;
    small_bpe(&m);
    gguf_writer_open(&w, 3);
    gguf_write_vocab(&w, &m);
    gguf_write_text(&w, "tokenizer.ggml.pre", "smollm");
    gguf_writer_finish(&w, &file);
    assert_int_equal(gguf_open_bytes(&g, file.bytes, file.len, NULL), OK);
    for (uint64_t k = 1, n_asked = k; n_asked >= k; k++) {
        struct vocab *v = NULL;
        struct note why = { "" };
        mem_fail_at(k);
        enum status st = model_vocab_load(&v, g, &why);
        n_asked = mem_fail_count();
        mem_fail_at(0);
        assert_true(st == OK || (st == FULL && !v && why.text[0]));
        vocab_free(v);
    }
    gguf_close(g);
    gguf_writer_close(&w);
    buf_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe_defaults),
        cmocka_unit_test(spm_defaults),
        cmocka_unit_test(keys_are_followed),
        cmocka_unit_test(some_pre_tokenizers_add_bos),
        cmocka_unit_test(types_and_integer_scores),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests_name("vocab_load", tests, NULL, NULL);
}
