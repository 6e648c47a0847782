/* Hyperparameters of gemma3 that are not plain numbers: which layers are windowed, in each way that files say it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/model.h"
#include "support/gguf_writer.h"

static const char PATTERN[] = "gemma3.attention.sliding_window_pattern";

static void add_gemma3(struct gguf_writer *w, uint32_t n_layer, uint32_t window)
{
    static const float embedding[64];
    gguf_writer_open(w, 3);
    gguf_write_text(w, "general.architecture", "gemma3");
    gguf_write_int(w, "gemma3.block_count", GGUF_U32, n_layer);
    gguf_write_int(w, "gemma3.context_length", GGUF_U32, 512);
    gguf_write_int(w, "gemma3.embedding_length", GGUF_U32, 16);
    gguf_write_int(w, "gemma3.feed_forward_length", GGUF_U32, 32);
    gguf_write_int(w, "gemma3.attention.head_count", GGUF_U32, 2);
    gguf_write_float(w, "gemma3.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-6);
    gguf_write_tensor(w, "token_embd.weight", DT_F32, 2, (uint64_t[]){ 16, 4 }, embedding,
                      sizeof embedding);
    if (window)
        gguf_write_int(w, "gemma3.attention.sliding_window", GGUF_U32, window);
}

static enum status describe(struct gguf_writer *w, struct hparams *h, struct note *why)
{
    struct buf file = { 0 };
    struct gguf *g;
    const char *arch;
    gguf_writer_finish(w, &file);
    enum status st = gguf_open_bytes(&g, file.bytes, file.len, why);
    if (st == OK) {
        st = model_describe(h, &arch, g, why);
        gguf_close(g);
    }
    buf_close(&file);
    gguf_writer_close(w);
    return st;
}

/* 'w' for a windowed layer, 'f' for one that sees everything. */
static void expect_layers(struct gguf_writer *w, const char *layers)
{
    struct note why = { "" };
    struct hparams h;
    struct kv_shape shape;
    if (describe(w, &h, &why) != OK)
        fail_msg("%s", why.text);
    hparams_kv_shape(&h, KV_F16, &shape);
    for (uint32_t i = 0; i < h.n_layer; i++) {
        const uint32_t window = shape.group[shape.layer_group[i]].window;
        assert_int_equal(window, layers[i] == 'w' ? 24 : 0);
    }
}

static void windowed_layers(void **state)
{
    struct gguf_writer w;
    (void)state;
    add_gemma3(&w, 7, 24);
    expect_layers(&w, "wwwwwfw");

    add_gemma3(&w, 4, 24);
    gguf_write_int(&w, PATTERN, GGUF_U32, 2);
    expect_layers(&w, "wfwf");

    add_gemma3(&w, 3, 24);
    gguf_write_int(&w, PATTERN, GGUF_U32, 1);
    expect_layers(&w, "fff");

    add_gemma3(&w, 4, 24);
    gguf_write_ints(&w, PATTERN, GGUF_BOOL, (int64_t[]){ 1, 0, 0, 1 }, 4);
    expect_layers(&w, "wffw");

    add_gemma3(&w, 2, 0); // no window: the pattern means nothing
    gguf_write_int(&w, PATTERN, GGUF_U32, 2);
    expect_layers(&w, "ff");
}

static void expect_refused(struct gguf_writer *w, const char *words)
{
    struct note why = { "" };
    struct hparams h;
    assert_int_equal(describe(w, &h, &why), BAD_INPUT);
    if (!strstr(why.text, words))
        fail_msg("'%s' does not say '%s'", why.text, words);
}

static void patterns_that_make_no_sense(void **state)
{
    struct gguf_writer w;
    (void)state;
    add_gemma3(&w, 4, 24);
    gguf_write_int(&w, PATTERN, GGUF_U32, 0);
    expect_refused(&w, "'gemma3.attention.sliding_window_pattern' is 0; it must be at least 1");

    add_gemma3(&w, 4, 24);
    gguf_write_ints(&w, PATTERN, GGUF_BOOL, (int64_t[]){ 1, 0, 1 }, 3);
    expect_refused(&w, "is 3 values of type bool; it must be one bool for each of 4 layers");

    add_gemma3(&w, 4, 24);
    gguf_write_ints(&w, PATTERN, GGUF_U32, (int64_t[]){ 1, 0, 1, 0 }, 4);
    expect_refused(&w, "is 4 values of type u32; it must be one bool");

    add_gemma3(&w, 4, 24);
    gguf_write_float(&w, "gemma3.final_logit_softcapping", GGUF_F32, -1);
    expect_refused(&w, "soft caps of 0 and -1 make no sense");

    add_gemma3(&w, 4, 24);
    gguf_write_float(&w, "gemma3.rope.freq_base_swa", GGUF_F32, 0);
    expect_refused(&w, "a local rope base of 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windowed_layers),
        cmocka_unit_test(patterns_that_make_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
