/* The sentence encoder over a tiny random model: against a plain one in double precision, with all kernels, in several
 * runs, remembered or not; and files that are no encoders. Against another program and the real model:
 * golden/test_minilm.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/encoder.h"
#include "support/temp_dir.h"
#include "support/tiny_encoder.h"
#include "text/wordpiece.h"

enum { D = TINY_ENCODER_EMBD, RUN = TINY_ENCODER_CTX, ROWS_MAX = RUN };

#define FILE_NAME "tiny-encoder.gguf"

static int make(void **state)
{
    if (temp_dir_make(state) != 0)
        return -1;
    tiny_encoder_save(in_dir(FILE_NAME));
    return 0;
}

static struct encoder *open_with(const struct kernels *kern)
{
    struct encoder *e;
    struct note why = { "" };
    assert_int_equal(encoder_new(&e, in_dir(FILE_NAME), kern, &why), OK);
    return e;
}

static const struct kernels *best(void)
{
    const struct kernels *kern;
    struct note why = { "" };
    assert_int_equal(kernels_select(&kern, "auto", &why), OK);
    return kern;
}

static void embed_text(struct encoder *e, const char *text, float *vector)
{
    struct note why = { "" };
    if (encoder_embed(e, "", text, strlen(text), vector, &why) != OK)
        fail_msg("%s", why.text);
}

/* ---- the plain one ---- */

static const float *data_of(const struct gguf *g, const char *format, uint32_t layer,
                            const char *part)
{
    char name[64];
    snprintf(name, sizeof name, format, layer, part);
    const struct gguf_tensor *t = gguf_tensor_find(g, name);
    assert_non_null(t);
    return t->data;
}

static const float *weight_of(const struct gguf *g, uint32_t layer, const char *part)
{
    return data_of(g, "blk.%u.%s.weight", layer, part);
}

static const float *bias_of(const struct gguf *g, uint32_t layer, const char *part)
{
    return data_of(g, "blk.%u.%s.bias", layer, part);
}

static void plain_linear(const struct gguf *g, uint32_t layer, const char *part, const double *x,
                         double *y, uint32_t n_out, uint32_t n_in)
{
    const float *w = weight_of(g, layer, part), *b = bias_of(g, layer, part);
    for (uint32_t o = 0; o < n_out; o++) {
        y[o] = (double)b[o];
        for (uint32_t i = 0; i < n_in; i++)
            y[o] += (double)w[o * n_in + i] * x[i];
    }
}

static void plain_norm(double *x, const float *w, const float *b)
{
    double mean = 0, var = 0;
    for (int i = 0; i < D; i++)
        mean += x[i] / D;
    for (int i = 0; i < D; i++)
        var += (x[i] - mean) * (x[i] - mean) / D;
    for (int i = 0; i < D; i++)
        x[i] = (x[i] - mean) / sqrt(var + 1e-12) * (double)w[i] + (double)b[i];
}

static void plain_attention(const struct gguf *g, uint32_t layer, double x[][D], int n)
{
    static double q[ROWS_MAX][D], k[ROWS_MAX][D], v[ROWS_MAX][D];
    enum { DH = D / TINY_ENCODER_HEADS };
    for (int i = 0; i < n; i++) {
        plain_linear(g, layer, "attn_q", x[i], q[i], D, D);
        plain_linear(g, layer, "attn_k", x[i], k[i], D, D);
        plain_linear(g, layer, "attn_v", x[i], v[i], D, D);
    }
    for (int i = 0; i < n; i++) {
        double got[D] = { 0 }, out[D];
        for (int h = 0; h < TINY_ENCODER_HEADS; h++) {
            double e[ROWS_MAX], sum = 0;
            for (int j = 0; j < n; j++) {
                double s = 0;
                for (int c = h * DH; c < (h + 1) * DH; c++)
                    s += q[i][c] * k[j][c];
                e[j] = exp(s / sqrt(DH));
                sum += e[j];
            }
            for (int j = 0; j < n; j++)
                for (int c = h * DH; c < (h + 1) * DH; c++)
                    got[c] += e[j] / sum * v[j][c];
        }
        plain_linear(g, layer, "attn_output", got, out, D, D);
        for (int c = 0; c < D; c++)
            x[i][c] += out[c];
        plain_norm(x[i], weight_of(g, layer, "attn_output_norm"),
                   bias_of(g, layer, "attn_output_norm"));
    }
}

static void plain_feed_forward(const struct gguf *g, uint32_t layer, double *x)
{
    enum { FF = 56 };
    double wide[FF], y[D];
    plain_linear(g, layer, "ffn_up", x, wide, FF, D);
    for (int i = 0; i < FF; i++)
        wide[i] *= 0.5 * (1 + erf(wide[i] / sqrt(2)));
    plain_linear(g, layer, "ffn_down", wide, y, D, FF);
    for (int i = 0; i < D; i++)
        x[i] += y[i];
    plain_norm(x, weight_of(g, layer, "layer_output_norm"), bias_of(g, layer, "layer_output_norm"));
}

/* Adds the rows of one run. */
static void plain_run(const struct gguf *g, const int32_t *ids, int n, double *sum)
{
    static double x[ROWS_MAX][D];
    const float *word = gguf_tensor_find(g, "token_embd.weight")->data,
                *place = gguf_tensor_find(g, "position_embd.weight")->data,
                *kind = gguf_tensor_find(g, "token_types.weight")->data;
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < D; c++)
            x[i][c] = (double)word[ids[i] * D + c] + (double)place[i * D + c] + (double)kind[c];
        plain_norm(x[i], gguf_tensor_find(g, "token_embd_norm.weight")->data,
                   gguf_tensor_find(g, "token_embd_norm.bias")->data);
    }
    for (uint32_t layer = 0; layer < TINY_ENCODER_LAYERS; layer++) {
        plain_attention(g, layer, x, n);
        for (int i = 0; i < n; i++)
            plain_feed_forward(g, layer, x[i]);
    }
    for (int i = 0; i < n; i++)
        for (int c = 0; c < D; c++)
            sum[c] += x[i][c];
}

/* Of words of one letter each: their pieces are known. */
static void plain_embed(const struct gguf *g, const char *letters, double *vector)
{
    enum { FIRST_LETTER = 7, CLS = 2, SEP = 3 };
    const size_t n = strlen(letters);
    double length = 0;
    memset(vector, 0, D * sizeof *vector);
    for (size_t at = 0; at == 0 || at < n; at += RUN - 2) {
        int32_t run[RUN];
        int k = 0;
        run[k++] = CLS;
        for (size_t i = at; i < n && i < at + RUN - 2; i++)
            run[k++] = FIRST_LETTER + letters[i] - 'a';
        run[k++] = SEP;
        plain_run(g, run, k, vector);
    }
    for (int c = 0; c < D; c++)
        length += vector[c] * vector[c];
    for (int c = 0; c < D; c++)
        vector[c] /= sqrt(length);
}

static void vectors_are_those_of_a_plain_encoder(void **state)
{
    (void)state;
    static const char *const letters[] = { "",
                                           "a",
                                           "hello",
                                           "thequickbrownfoxjumps",
                                           "abcdefghijklmnopqrstuv",
                                           "abcdefghijklmnopqrstuvw",
                                           "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz" };
    struct encoder *e = open_with(best());
    struct gguf *g;
    struct note why = { "" };
    double worst = 1;
    assert_int_equal(gguf_open(&g, in_dir(FILE_NAME), &why), OK);
    for (size_t t = 0; t < sizeof letters / sizeof *letters; t++) {
        char text[256] = "";
        double wanted[D], cosine = 0;
        float vector[D];
        for (const char *c = letters[t]; *c; c++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%c ", *c);
        plain_embed(g, letters[t], wanted);
        embed_text(e, text, vector);
        for (int i = 0; i < D; i++)
            cosine += wanted[i] * (double)vector[i];
        worst = cosine < worst ? cosine : worst;
    }
    print_message("smallest cosine 1 - %.2g\n", 1 - worst);
    assert_true(worst > 1 - 1e-5);
    gguf_close(g);
    encoder_free(e);
}

static void all_kernels_and_all_orders_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const text[] = { "trainer gardens", "some words, and some more of them",
                                        "Z\xc3\xbcrich", "" };
    enum { N = sizeof text / sizeof *text };
    const struct kernels *all[8];
    const uint32_t n_kernels = kernels_available(all, 8);
    float first[N][D], again[D];
    for (uint32_t k = 0; k < n_kernels; k++) {
        struct encoder *e = open_with(all[k]);
        for (int pass = 0; pass < 2; pass++) /* the second time it is remembered */
            for (int i = 0; i < N; i++) {
                const int t = pass ? i : N - 1 - i;
                embed_text(e, text[t], k || pass ? again : first[t]);
                if (k || pass)
                    assert_memory_equal(again, first[t], sizeof again);
            }
        encoder_free(e);
    }
}

/* ---- files ---- */

static void expect_refused(const char *without, const char *words)
{
    struct gguf_writer w;
    struct encoder *e;
    struct note why = { "" };
    uint32_t dim;
    gguf_writer_open(&w, 3);
    tiny_encoder_write(&w, without);
    gguf_writer_save(&w, in_dir("wrong.gguf"));
    gguf_writer_close(&w);
    assert_int_equal(encoder_new(&e, in_dir("wrong.gguf"), best(), &why), OK);
    assert_int_equal(encoder_dim(e, &dim, &why), BAD_INPUT);
    if (!strstr(why.text, words) || !strstr(why.text, "wrong.gguf"))
        fail_msg("'%s' lacks '%s'", why.text, words);
    encoder_free(e);
}

static void what_is_no_encoder_is_refused_with_words(void **state)
{
    (void)state;
    struct encoder *e;
    struct note why = { "" };
    uint32_t dim;
    expect_refused("general.architecture", "architecture");
    expect_refused("bert.block_count", "bert.block_count");
    expect_refused("bert.embedding_length", "bert.embedding_length");
    expect_refused("tokenizer.ggml.tokens", "tokenizer.ggml.tokens");
    expect_refused("token_embd.weight", "token_embd.weight");
    expect_refused("blk.1.ffn_down.bias", "blk.1.ffn_down.bias");
    assert_int_equal(encoder_new(&e, in_dir("none.gguf"), best(), &why), OK);
    assert_int_equal(encoder_dim(e, &dim, &why), NOT_FOUND);
    encoder_free(e);
}

/* A tensor that nobody takes, one of another shape, and another pooling. */
static void another_model_is_refused(void **state)
{
    (void)state;
    static const float zeros[4 * D];
    for (int i = 0; i < 3; i++) {
        struct gguf_writer w;
        struct encoder *e;
        struct note why = { "" };
        uint32_t dim;
        gguf_writer_open(&w, 3);
        tiny_encoder_write(&w, i == 1   ? "token_embd_norm.bias"
                               : i == 2 ? "bert.pooling_type"
                                        : NULL);
        if (i == 2)
            gguf_write_int(&w, "bert.pooling_type", GGUF_U32, 2);
        else
            gguf_write_tensor(&w, i ? "token_embd_norm.bias" : "cls.weight", DT_F32, 1,
                              (uint64_t[]){ i ? D - 8 : D }, zeros,
                              (i ? D - 8 : D) * sizeof *zeros);
        gguf_writer_save(&w, in_dir("other.gguf"));
        gguf_writer_close(&w);
        assert_int_equal(encoder_new(&e, in_dir("other.gguf"), best(), &why), OK);
        assert_int_equal(encoder_dim(e, &dim, &why), BAD_INPUT);
        assert_true(why.text[0]);
        encoder_free(e);
    }
}

static void a_file_that_was_written_to_is_distrusted(void **state)
{
    (void)state;
    struct encoder *e;
    struct note why = { "" };
    float vector[D];
    tiny_encoder_save(in_dir("changing.gguf"));
    assert_int_equal(encoder_new(&e, in_dir("changing.gguf"), best(), &why), OK);
    embed_text(e, "before", vector);
    FILE *f = fopen(in_dir("changing.gguf"), "ab");
    assert_non_null(f);
    assert_int_equal(fputc('x', f), 'x');
    assert_int_equal(fclose(f), 0);
    assert_int_equal(encoder_embed(e, "", "after", 5, vector, &why), CORRUPT);
    assert_non_null(strstr(why.text, "changing.gguf"));
    encoder_free(e);
}

/* What is computed takes memory, what is remembered none. */
static bool is_remembered(struct encoder *e, const char *salt, const char *text)
{
    struct note why = { "" };
    float vector[D];
    mem_fail_at(1);
    const enum status st = encoder_embed(e, salt, text, strlen(text), vector, &why);
    mem_fail_at(0);
    return st == OK;
}

/* model/recall.h L1. */
static void who_has_another_salt_is_a_stranger(void **state)
{
    (void)state;
    struct encoder *e = open_with(best());
    struct note why = { "" };
    float first[D], again[D];
    assert_int_equal(encoder_embed(e, "a", "my text", 7, first, &why), OK);
    assert_true(is_remembered(e, "a", "my text"));
    assert_false(is_remembered(e, "b", "my text"));
    assert_false(is_remembered(e, "", "my text"));
    assert_false(is_remembered(e, "", "amy text"));
    assert_int_equal(encoder_embed(e, "b", "my text", 7, again, &why), OK);
    assert_memory_equal(first, again, sizeof first);
    encoder_free(e);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    float vector[D];
    enum status st = FULL;
    for (uint64_t k = 1; st != OK; k++) {
        struct encoder *e = NULL;
        struct note why = { "" };
        mem_fail_at(k);
        st = encoder_new(&e, in_dir(FILE_NAME), best(), &why);
        if (st == OK)
            st = encoder_embed(e, "", "some text", 9, vector, &why);
        mem_fail_at(0);
        assert_true(st == OK || (st == FULL && why.text[0]));
        if (e) /* it can be asked again */
            embed_text(e, "some text", vector);
        encoder_free(e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_those_of_a_plain_encoder),
        cmocka_unit_test(all_kernels_and_all_orders_give_the_same_bits),
        cmocka_unit_test(what_is_no_encoder_is_refused_with_words),
        cmocka_unit_test(another_model_is_refused),
        cmocka_unit_test(a_file_that_was_written_to_is_distrusted),
        cmocka_unit_test(who_has_another_salt_is_a_stranger),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make, temp_dir_remove);
}
