/* The real sentence encoder against an independent implementation of it: tests/data/golden/minilm.jsonl, by
 * tools/minilm_goldens.py. */
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

#include "base/kmeans.h"
#include "base/mem.h"
#include "model/encoder_in.h"
#include "model/encoder.h"

#define MODEL "models/all-MiniLM-L6-v2.F32.gguf"

enum { D = 384 };

static const double COSINE_LEAST = 0.99999;

static struct encoder *encoder;
static struct gguf *file;
static struct encoder_net net;

static int open_both(void **state)
{
    (void)state;
    const struct kernels *kern;
    struct note why = { "" };
    if (access(MODEL, R_OK) != 0)
        return 0;
    assert_int_equal(kernels_select(&kern, "auto", &why), OK);
    if (encoder_new(&encoder, MODEL, kern, &why) != OK || gguf_open(&file, MODEL, &why) != OK ||
        encoder_load(&net, file, kern, &why) != OK)
        fail_msg("%s", why.text);
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    encoder_unload(&net);
    gguf_close(file);
    encoder_free(encoder);
    return 0;
}

static void expect_ids(const json_t *record, const char *text, size_t len)
{
    const json_t *wanted = json_object_get(record, "ids");
    struct ids got = { 0 };
    wordpiece_encode(net.pieces, text, len, &got);
    for (size_t i = 0; i < got.n && i < json_array_size(wanted); i++)
        if (got.id[i] != json_integer_value(json_array_get(wanted, i)))
            fail_msg("'%s': piece %zu is %d, not %lld", text, i, got.id[i],
                     (long long)json_integer_value(json_array_get(wanted, i)));
    assert_int_equal(got.n, json_array_size(wanted));
    ids_close(&got);
}

static double cosine_with(const json_t *wanted, const char *text, size_t len)
{
    float vector[D];
    double sum = 0, squares = 0;
    struct note why = { "" };
    if (encoder_embed(encoder, "", text, len, vector, &why) != OK)
        fail_msg("%s", why.text);
    assert_int_equal(json_array_size(wanted), D);
    for (size_t i = 0; i < D; i++) {
        const double w = json_number_value(json_array_get(wanted, i));
        sum += w * (double)vector[i];
        squares += w * w;
    }
    assert_true(squares > 0.999 && squares < 1.001);
    return sum;
}

static void pieces_and_vectors_are_those_of_another_program(void **state)
{
    (void)state;
    char *line = NULL;
    size_t room = 0, n = 0, n_vector = 0;
    double worst = 1;
    if (!encoder)
        skip();
    FILE *f = fopen("tests/data/golden/minilm.jsonl", "r");
    assert_non_null(f);
    while (getline(&line, &room, f) > 0) {
        json_t *record = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(record, "text"),
                     *vector = json_object_get(record, "vector");
        expect_ids(record, json_string_value(text), json_string_length(text));
        if (vector) {
            const double c = cosine_with(vector, json_string_value(text), json_string_length(text));
            worst = c < worst ? c : worst;
            n_vector++;
        }
        n++;
        json_decref(record);
    }
    print_message("%zu texts, %zu vectors, the smallest cosine is 1 - %.2g\n", n, n_vector,
                  1 - worst);
    assert_true(n >= 18 && n_vector >= 7);
    assert_true(worst >= COSINE_LEAST);
    free(line);
    fclose(f);
}

static void embed_text(const char *text, float *vector)
{
    struct note why = { "" };
    if (encoder_embed(encoder, "", text, strlen(text), vector, &why) != OK)
        fail_msg("%s", why.text);
}

/* What it is for: a question lies nearer to what answers it than to other talk, without a word in common. */
static void meaning_counts(void **state)
{
    (void)state;
    float question[D], answer[D], other[D];
    if (!encoder)
        skip();
    embed_text("Which dentist did I choose?", question);
    embed_text("The appointment for my toothache is with Dr. Miller at nine.", answer);
    embed_text("We leave from platform four, and the train arrives at noon.", other);
    const float near = dot_of(question, answer, D), far = dot_of(question, other, D);
    print_message("%.3f against %.3f\n", (double)near, (double)far);
    assert_true(near > far + 0.15f);
}

/* A text longer than a run: a row of its end still counts. */
static void the_end_of_a_long_text_counts(void **state)
{
    (void)state;
    struct buf text = { 0 };
    float front[D], whole[D], end[D];
    if (!encoder)
        skip();
    for (int i = 0; i < 40; i++)
        buf_addf(&text, "The train to the coast leaves from platform %d. ", i);
    embed_text(buf_text(&text), front);
    for (int i = 0; i < 20; i++)
        buf_addf(&text, "The dentist pulled tooth %d, and it hurts. ", i);
    embed_text(buf_text(&text), whole);
    embed_text("toothache", end);
    assert_true(dot_of(whole, end, D) > dot_of(front, end, D) + 0.05f);
    buf_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_and_vectors_are_those_of_another_program),
        cmocka_unit_test(meaning_counts),
        cmocka_unit_test(the_end_of_a_long_text_counts),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
