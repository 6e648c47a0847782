/* Real vocabularies against the tokens of an independent implementation:
 * tests/data/golden/tokens-*.jsonl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "akvifer.h"
#include "base/utf8.h"
#include "gguf/gguf.h"
#include "model/vocab_load.h"
#include "text/vocab.h"

struct model {
    const char *name, *path;
    bool adds_bos;
    const char *ends; // ids that end an answer, with a space around each
};

static const struct model SMOLLM2 = { "smollm2", "models/SmolLM2-135M-Instruct.Q4_1.gguf", false,
                                      " 0 2 4 " };
static const struct model QWEN2 = { "qwen2", "models/qwen2.5-coder-0.5b-q4_k_m.gguf", false,
                                    " 128247 151643 151645 151662 151663 151664 " };
static const struct model GEMMA3 = { "gemma3", "models/gemma-3-270m-q4_k_m.gguf", true,
                                     " 1 106 212 " };

static struct vocab *load(const struct model *m)
{
    struct note why = { "" };
    struct gguf *g;
    struct vocab *v;
    if (gguf_open(&g, m->path, &why) != OK)
        fail_msg("%s", why.text);
    if (model_vocab_load(&v, g, &why) != OK)
        fail_msg("%s: %s", m->path, why.text);
    gguf_close(g);
    return v;
}

/* One record of the file. */
struct record {
    const struct vocab *v;
    const json_t *json;
    const char *text;
    size_t len;
};

static void expect_ids(const struct record *r, const char *key, unsigned flags)
{
    struct note why = { "" };
    struct ids got = { 0 };
    const json_t *want = json_object_get(r->json, key);
    if (vocab_encode(r->v, r->text, r->len, flags, &got, &why) != OK)
        fail_msg("'%s': %s", r->text, why.text);
    size_t skip = flags & VOCAB_BOS && vocab_adds_bos(r->v);
    if (skip)
        assert_int_equal(got.id[0], vocab_bos(r->v));
    bool same = got.n - skip == json_array_size(want);
    for (size_t i = skip; same && i < got.n; i++)
        same = got.id[i] == json_integer_value(json_array_get(want, i - skip));
    if (!same)
        fail_msg("'%s' (%s) gives other tokens", r->text, key);
    ids_close(&got);
}

/* Pushes the ids one by one: every part but the last must end with a whole character. */
static void expect_stream(const struct record *r, const struct ids *ids, bool special,
                          const struct buf *whole)
{
    struct detok d;
    struct buf out = { 0 };
    detok_open(&d, r->v, special);
    for (size_t i = 0; i < ids->n; i++) {
        detok_push(&d, ids->id[i], &out);
        assert_int_equal(utf8_complete(buf_text(&out), out.len), out.len);
        assert_memory_equal(buf_text(&out), buf_text(whole), out.len);
    }
    detok_flush(&d, &out);
    assert_int_equal(out.len, whole->len);
    assert_false(out.failed);
    detok_close(&d);
    buf_close(&out);
}

/* Decodes the golden ids of `ids_key`; the text is that of `text_key`, where absent the input. */
static void expect_text(const struct record *r, const char *ids_key, const char *text_key,
                        bool special)
{
    struct note why = { "" };
    struct ids ids = { 0 };
    struct buf got = { 0 };
    const json_t *list = json_object_get(r->json, ids_key),
                 *text = json_object_get(r->json, text_key);
    const char *want = text ? json_string_value(text) : r->text;
    size_t len = text ? json_string_length(text) : r->len;
    for (size_t i = 0; i < json_array_size(list); i++)
        ids_add(&ids, (int32_t)json_integer_value(json_array_get(list, i)));
    assert_int_equal(vocab_decode(r->v, ids.id, ids.n, special, &got, &why), OK);
    if (got.len != len || memcmp(buf_text(&got), want, len) != 0)
        fail_msg("%s of '%s' is '%s'", text_key, r->text, buf_text(&got));
    expect_stream(r, &ids, special, &got);
    ids_close(&ids);
    buf_close(&got);
}

static void check(const struct record *r)
{
    expect_ids(r, "ids", 0);
    expect_ids(r, "ids_special", VOCAB_SPECIAL);
    expect_ids(r, "ids_special", VOCAB_SPECIAL | VOCAB_BOS);
    expect_text(r, "ids", "detok", true);
    expect_text(r, "ids_special", "detok_special", true);
    if (json_object_get(r->json, "detok_hide_special"))
        expect_text(r, "ids_special", "detok_hide_special", false);
    else
        expect_text(r, "ids_special", "detok_special", false);
}

static void expect_ends(const struct model *m, const struct vocab *v)
{
    for (uint32_t id = 0; id < vocab_n_token(v); id++) {
        char word[16];
        snprintf(word, sizeof word, " %u ", id);
        assert_int_equal(vocab_is_end(v, (int32_t)id), strstr(m->ends, word) != NULL);
    }
}

static void check_model(const struct model *m)
{
    char path[128], *line = NULL;
    size_t room = 0, n = 0;
    struct vocab *v = load(m);
    assert_int_equal(vocab_adds_bos(v), m->adds_bos);
    expect_ends(m, v);
    snprintf(path, sizeof path, "tests/data/golden/tokens-%s.jsonl", m->name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (getline(&line, &room, f) > 0) {
        json_t *json = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        const json_t *text = json_object_get(json, "text");
        struct record r = {
            .v = v, .json = json, .text = json_string_value(text), .len = json_string_length(text)
        };
        check(&r);
        json_decref(json);
        n++;
    }
    assert_true(n > 100);
    free(line);
    fclose(f);
    vocab_free(v);
}

static void smollm2(void **state)
{
    (void)state;
    check_model(&SMOLLM2);
}

static void check_if_there(const struct model *m)
{
    if (access(m->path, R_OK) != 0)
        skip();
    check_model(m);
}

static void qwen2(void **state)
{
    (void)state;
    check_if_there(&QWEN2);
}

static void gemma3(void **state)
{
    (void)state;
    check_if_there(&GEMMA3);
}

/* akv_token_bytes: the parts of a text make the text; control tokens show only when asked for. */
static void tokens_have_bytes(void **state)
{
    (void)state;
    static const char text[] = "Hello, Gr\xc3\xb6\xc3\x9f"
                               "e \xe2\x9c\x93\xf0\x9f\xa6\x94!\n";
    const struct akv_model_params params = { .path = SMOLLM2.path };
    akv_model *m;
    int32_t ids[64];
    size_t n = 64, len;
    struct buf whole = { 0 };
    assert_int_equal(akv_model_open(&m, &params, NULL), AKV_OK);
    assert_int_equal(akv_tokenize(m, text, strlen(text), false, false, ids, &n, NULL), AKV_OK);
    for (size_t i = 0; i < n; i++) {
        const char *part = akv_token_bytes(m, ids[i], false, &len);
        assert_true(len > 0);
        buf_add(&whole, part, len);
    }
    assert_string_equal(whole.bytes, text);
    (void)akv_token_bytes(m, 2, false, &len);
    assert_int_equal(len, 0);
    assert_memory_equal(akv_token_bytes(m, 2, true, &len), "<|im_end|>", 10);
    assert_int_equal(len, 10);
    buf_close(&whole);
    akv_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2),
        cmocka_unit_test(tokens_have_bytes),
        cmocka_unit_test(qwen2),
        cmocka_unit_test(gemma3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
