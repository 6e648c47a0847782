/* Rope settings of real models, from GGUF keys to frequencies and magnitude, against Hugging Face's formulas
 * (tests/data/golden/rope.json, written by tools/model_goldens.py); and settings that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "model/rope.h"
#include "support/gguf_writer.h"

/* The expected values were computed in float32, powers and logarithms of six digits included. */
static const double ERROR_MAX = 2e-6;

static void add_defaults(struct gguf_writer *w, uint32_t n_rot)
{
    gguf_writer_open(w, 3);
    gguf_write_int(w, "llama.block_count", GGUF_U32, 1);
    gguf_write_int(w, "llama.embedding_length", GGUF_U32, 8 * n_rot);
    gguf_write_int(w, "llama.feed_forward_length", GGUF_U32, 64);
    gguf_write_int(w, "llama.attention.head_count", GGUF_U32, 8);
    gguf_write_float(w, "llama.attention.layer_norm_rms_epsilon", GGUF_F32, 1e-5);
}

static void add_key(struct gguf_writer *w, const char *name, const json_t *value)
{
    char key[128];
    snprintf(key, sizeof key, "llama.%s", name);
    if (json_is_string(value))
        gguf_write_text(w, key, json_string_value(value));
    else if (json_is_integer(value))
        gguf_write_int(w, key, GGUF_U32, json_integer_value(value));
    else
        gguf_write_float(w, key, GGUF_F32, json_real_value(value));
}

static enum status read_back(const struct gguf_writer *w, struct hparams *h, struct note *why)
{
    struct buf file = { 0 };
    struct gguf *g;
    gguf_writer_finish(w, &file);
    enum status st = gguf_open_bytes(&g, file.bytes, file.len, why);
    if (st == OK) {
        st = hparams_read(h, g, "llama", why);
        gguf_close(g);
    }
    buf_close(&file);
    return st;
}

static void check(const json_t *c)
{
    struct gguf_writer w;
    struct note why = { "" };
    struct hparams h;
    struct rope rope;
    float factors[ROPE_PAIRS_MAX];
    const char *key, *name = json_string_value(json_object_get(c, "name"));
    json_t *value;
    size_t i;
    const uint32_t n_rot = (uint32_t)json_integer_value(json_object_get(c, "n_rot"));
    const json_t *list = json_object_get(c, "factors");

    add_defaults(&w, n_rot);
    json_object_foreach(json_object_get(c, "keys"), key, value)
    {
        add_key(&w, key, value);
    }
    if (read_back(&w, &h, &why) != OK)
        fail_msg("%s: %s", name, why.text);
    gguf_writer_close(&w);
    json_array_foreach(list, i, value)
    {
        factors[i] = (float)json_real_value(value);
    }
    rope_init(&rope, &h.rope, h.n_rot, list ? factors : NULL);

    assert_int_equal(rope.n_pair, json_array_size(json_object_get(c, "freq")));
    json_array_foreach(json_object_get(c, "freq"), i, value)
    {
        const double want = json_real_value(value);
        if (!(fabs(rope.freq[i] - want) <= ERROR_MAX * want))
            fail_msg("%s: pair %zu turns by %.9g a position, expected %.9g", name, i, rope.freq[i],
                     want);
    }
    const double magnitude = json_number_value(json_object_get(c, "magnitude"));
    if (!(fabs((double)rope.magnitude - magnitude) <= ERROR_MAX))
        fail_msg("%s: magnitude %.9g, expected %.9g", name, (double)rope.magnitude, magnitude);
}

static void real_models_agree(void **state)
{
    json_t *all = json_load_file("tests/data/golden/rope.json", 0, NULL), *c;
    size_t i;
    (void)state;
    assert_int_equal(json_array_size(all), 11);
    json_array_foreach(all, i, c)
    {
        check(c);
    }
    json_decref(all);
}

/* Angles come from the position itself, in double precision: exact far out, where products of float32 are off. */
static void angles_hold_far_out(void **state)
{
    const struct rope_params p = { .base = 1e4, .factor = 1 };
    struct rope rope;
    float cs[2 * ROPE_PAIRS_MAX];
    (void)state;
    rope_init(&rope, &p, 64, NULL);
    for (uint32_t position = 0; position < 1u << 20; position = position * 3 + 1) {
        rope_angles(&rope, position, cs);
        for (uint32_t i = 0; i < rope.n_pair; i++) {
            const double angle = position * pow(1e4, -2.0 * i / 64);
            assert_true(fabs((double)cs[2 * i] - cos(angle)) < 1e-7);
            assert_true(fabs((double)cs[2 * i + 1] - sin(angle)) < 1e-7);
        }
    }
}

static void refuses(const char *key, const char *text, double number, const char *expected)
{
    struct gguf_writer w;
    struct note why = { "" };
    struct hparams h;
    add_defaults(&w, 64);
    gguf_write_int(&w, "llama.context_length", GGUF_U32, 4096);
    if (text)
        gguf_write_text(&w, key, text);
    else
        gguf_write_float(&w, key, GGUF_F32, number);
    assert_int_equal(read_back(&w, &h, &why), BAD_INPUT);
    if (!strstr(why.text, expected) || !strstr(why.text, key))
        fail_msg("'%s' does not name '%s' and say '%s'", why.text, key, expected);
    gguf_writer_close(&w);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    refuses("llama.rope.scaling.type", "longrope", 0, "is 'longrope'; supported are none, linear");
    refuses("llama.rope.scaling.factor", NULL, -2, "is -2; it must not be below 0");
    refuses("llama.rope.scaling.factor", NULL, (double)INFINITY, "is not a finite number");
    refuses("llama.rope.scaling.yarn_beta_fast", NULL, 0, "is 0; it must be above 0");
    refuses("llama.rope.scaling.yarn_beta_slow", NULL, -1, "is -1; it must be above 0");
    refuses("llama.rope.scaling.yarn_log_multiplier", NULL, -1, "is -1; it must not be below 0");
    refuses("llama.rope.scaling.attn_factor", NULL, 0, "is 0; it must be above 0");
    refuses("llama.rope.freq_base", NULL, 1, "is 1; it must be above 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_models_agree),
        cmocka_unit_test(angles_hold_far_out),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
