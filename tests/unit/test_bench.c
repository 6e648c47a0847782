/* bench: every form of output says the same, work is what the model's numbers say, peaks count what they do, and
 * medians are medians. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/rng.h"
#include "bin/bench_roof.h"
#include "bin/samples.h"
#include "bin/verbs.h"
#include "support/tiny_model.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

static char printed[1 << 16];
static char tiny[TINY_PATH]; // a model that a test with sanitizers need not wait for

static int make_tiny(void **state)
{
    (void)state;
    tiny_model_save_temporary(tiny_model_of("llama", DT_Q8_0), tiny);
    return 0;
}

static int remove_tiny(void **state)
{
    (void)state;
    return remove(tiny);
}

/* Runs it with standard output (1) or standard error (2) in `printed`. */
static int run(int stream, char **argv)
{
    FILE *file = tmpfile();
    int argc = 0;
    assert_non_null(file);
    while (argv[argc])
        argc++;
    fflush(NULL);
    int old = dup(stream);
    assert_int_equal(dup2(fileno(file), stream), stream);
    int code = verb_bench(argc, argv);
    fflush(NULL);
    assert_int_equal(dup2(old, stream), stream);
    close(old);
    rewind(file);
    size_t n = fread(printed, 1, sizeof printed - 1, file);
    printed[n] = 0;
    fclose(file);
    return code;
}

static int run_form(const char *form)
{
    char *argv[] = { "bench", "-m",   tiny, "-p", "8",  "-n", "2",  "-pg",        "4,2",
                     "-d",    "0,64", "-t", "1",  "-r", "2",  "-o", (char *)form, NULL };
    return run(1, argv);
}

static json_t *parsed(const char *text, size_t len)
{
    struct note why = { "" };
    json_t *json;
    if (json_from_text(&json, text, len, &why) != OK)
        fail_msg("%s in: %s", why.text, text);
    return json;
}

static double number(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", name);
    return json_number_value(value);
}

/* What llama-bench -o jsonl prints, of which its readers miss none. */
static const char *const peer_names[] = {
    "build_commit",   "build_number",
    "cpu_info",       "gpu_info",
    "backends",       "model_filename",
    "model_type",     "model_size",
    "model_n_params", "n_batch",
    "n_ubatch",       "n_threads",
    "cpu_mask",       "cpu_strict",
    "poll",           "type_k",
    "type_v",         "n_gpu_layers",
    "n_cpu_moe",      "split_mode",
    "main_gpu",       "no_kv_offload",
    "flash_attn",     "devices",
    "tensor_split",   "tensor_buft_overrides",
    "load_mode",      "embeddings",
    "no_op_offload",  "no_host",
    "fit_target",     "fit_min_ctx",
    "n_prompt",       "n_gen",
    "n_depth",        "test_time",
    "avg_ns",         "stddev_ns",
    "avg_ts",         "stddev_ts",
    "samples_ns",     "samples_ts",
};

/* A row that agrees with itself. */
static void check_row(const json_t *row)
{
    static const char *const texts[] = { "build_commit",   "cpu_info",   "gpu_info", "backends",
                                         "model_filename", "model_type", "type_k",   "type_v",
                                         "test_time",      "kernels" };
    static const char *const numbers[] = { "build_number", "model_size",     "model_n_params",
                                           "n_batch",      "n_ubatch",       "n_threads",
                                           "stddev_ns",    "stddev_ts",      "n_depth",
                                           "median_ns",    "load",           "roof_int8_ops",
                                           "share_int8",   "roof_fp32_flops" };
    for (size_t i = 0; i < FLAG_COUNT(texts); i++)
        if (!json_is_string(json_object_get(row, texts[i])))
            fail_msg("'%s' is no text", texts[i]);
    for (size_t i = 0; i < FLAG_COUNT(numbers); i++)
        assert_true(number(row, numbers[i]) >= 0);
    for (size_t i = 0; i < FLAG_COUNT(peer_names); i++)
        assert_non_null(json_object_get(row, peer_names[i]));
    const double n = number(row, "n_prompt") + number(row, "n_gen");
    assert_true(n > 0 && number(row, "avg_ts") > 0);
    assert_true(number(row, "median_ts") > 0 && number(row, "median_ns") > 0);
    assert_int_equal(json_array_size(json_object_get(row, "samples_ns")), 2);
    assert_int_equal(json_array_size(json_object_get(row, "samples_ts")), 2);
    assert_float_equal(json_number_value(json_array_get(json_object_get(row, "samples_ts"), 0)) *
                           json_number_value(json_array_get(json_object_get(row, "samples_ns"), 0)),
                       n * 1e9, n * 1e3);
    assert_true(number(row, "n_prompt") > 0 ? json_is_null(json_object_get(row, "share_read"))
                                            : number(row, "share_read") > 0);
}

static void json_and_jsonl_have_a_row_a_test(void **state)
{
    (void)state;
    assert_int_equal(run_form("json"), EXIT_DONE);
    json_t *all = parsed(printed, strlen(printed));
    assert_int_equal(json_array_size(all), 6);
    for (size_t i = 0; i < 6; i++)
        check_row(json_array_get(all, i));
    assert_float_equal(number(json_array_get(all, 5), "n_depth"), 64, 0);
    assert_float_equal(number(json_array_get(all, 5), "n_gen"), 2, 0);
    json_decref(all);

    assert_int_equal(run_form("jsonl"), EXIT_DONE);
    int n = 0;
    for (char *line = printed, *end; (end = strchr(line, '\n')); line = end + 1, n++) {
        json_t *row = parsed(line, (size_t)(end - line));
        check_row(row);
        json_decref(row);
    }
    assert_int_equal(n, 6);
}

static void sequences_do_a_test_together(void **state)
{
    char *argv[] = { "bench", "-m",  tiny, "-p", "4",  "-n", "3",  "-d",   "64",
                     "-npl",  "1,3", "-t", "1",  "-r", "2",  "-o", "json", NULL };
    (void)state;
    assert_int_equal(run(1, argv), EXIT_DONE);
    json_t *all = parsed(printed, strlen(printed));
    assert_int_equal(json_array_size(all), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(all, i);
        const double n = number(row, "n_prompt") + number(row, "n_gen");
        assert_float_equal(number(row, "n_parallel"), i < 2 ? 1 : 3, 0);
        assert_float_equal(
            json_number_value(json_array_get(json_object_get(row, "samples_ts"), 0)) *
                json_number_value(json_array_get(json_object_get(row, "samples_ns"), 0)),
            n * number(row, "n_parallel") * 1e9, n * 1e4);
    }
    json_decref(all);
}

static int count(const char *text, const char *end, char c)
{
    int n = 0;
    for (; text < end; text++)
        n += *text == c;
    return n;
}

static void tables_have_as_many_columns_in_every_row(void **state)
{
    static const struct {
        const char *form;
        char separator;
        int n_line;
    } tables[] = { { "csv", ',', 7 }, { "md", '|', 8 } };
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run_form(tables[i].form), EXIT_DONE);
        char *line = i ? strstr(printed, "\n|") + 1 : printed, *end;
        const int n_column = count(line, strchr(line, '\n'), tables[i].separator);
        int n = 0;
        for (; (end = strchr(line, '\n')); line = end + 1, n++)
            assert_int_equal(count(line, end, tables[i].separator), n_column);
        assert_int_equal(n, tables[i].n_line);
    }
    assert_non_null(strstr(printed, "| pp4+tg2 @ d64 "));
    assert_non_null(strstr(printed, "roofs of 1 thread: "));
}

static void the_machine_is_told_in_numbers(void **state)
{
    static const char *const names[] = { "int8", "fp32", "read", "barrier_ns" };
    char *argv[] = { "bench", "roof", "-m", tiny, "-t", "2", "-o", "jsonl", NULL };
    (void)state;
    assert_int_equal(run(1, argv), EXIT_DONE);
    json_t *row = parsed(printed, strlen(printed));
    assert_true(number(row, "threads") == 2);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(number(row, names[i]) > 0);
    json_decref(row);
}

/* The first token, which is not timed, is half of what one generated token runs. */
static void a_profile_counts_no_more_than_there_was(void **state)
{
    char *argv[] = { "bench", "-m", tiny, "-p", "0",         "-n", "1",
                     "-t",    "1",  "-r", "4",  "--profile", NULL };
    double rest, sampling, waited, kcycles;
    unsigned steps;
    (void)state;
    assert_int_equal(run(1, argv), EXIT_DONE);
    const char *head = strstr(printed, "profile of pp0 tg1 @ d0 x 1, f16: ");
    const char *line = strstr(printed, "  sampling "), *last = strstr(printed, "  rest ");
    assert_true(head && line && last);
    assert_int_equal(sscanf(head, "profile of pp0 tg1 @ d0 x 1, f16: %u steps", &steps), 1);
    assert_int_equal(steps, 8);
    assert_int_equal(sscanf(line, " sampling %lf %lf %lf", &sampling, &waited, &kcycles), 3);
    assert_true(sampling > 0 && waited == 0 && sampling < 100);
    assert_int_equal(sscanf(last, " rest %lf", &rest), 1);
    assert_true(rest >= 0 && rest < 100);
}

static void wrong_lists_are_refused(void **state)
{
    static const struct {
        char *argv[6];
        const char *says;
    } wrong[] = {
        { { "bench", "-p", "12x", NULL }, "-p: '12x' is no list" },
        { { "bench", "-n", "-4", NULL }, "-n: '-4' is no list" },
        { { "bench", "-t", "9999", NULL }, "from 0 to 1024" },
        { { "bench", "-npl", "65", NULL }, "-npl: '65' is no list" },
        { { "bench", "-pg", "512", NULL }, "-pg: '512' is not two numbers" },
        { { "bench", "--kv-type", "q9", NULL }, "'q9' must be f16, f32 or int8" },
        { { "bench", "--kv-type", "", NULL }, "nothing to measure" },
        { { "bench", "-p", "0", "-n", "0", NULL }, "nothing to measure" },
    };
    (void)state;
    for (size_t i = 0; i < FLAG_COUNT(wrong); i++) {
        assert_int_equal(run(2, (char **)wrong[i].argv), EXIT_USAGE);
        if (!strstr(printed, wrong[i].says))
            fail_msg("'%s' is missing in: %s", wrong[i].says, printed);
    }
}

static void work_follows_from_the_models_numbers(void **state)
{
    struct model_work m;
    struct note why = { "" };
    (void)state;
    assert_int_equal(model_work_read(&m, SMOLLM2, KV_F16, &why), OK);
    const double attn = 2 * 576 * (576 + 192), ffn = 3 * 576 * 1536; // q, o, k, v; gate, up, down
    assert_float_equal(m.token.int8 + m.token.fp32, 2 * 30 * (attn + ffn), 0);
    assert_float_equal(m.logits.int8 + m.logits.fp32, 2.0 * 49152 * 576, 0);

    struct amounts one = work_of_test(&m, 1000, &(struct bench_test){ 0, 1, 99, 1, NULL });
    assert_float_equal(one.int8, m.token.int8 + m.logits.int8, 0);
    assert_float_equal(one.fp32 - m.token.fp32 - m.logits.fp32, 30 * 9 * 4 * 64 * 100, 0);
    assert_float_equal(one.read, 1000 + 30 * 3 * 2 * 64 * 2 * 100, 0);

    struct amounts four = work_of_test(&m, 1000, &(struct bench_test){ 0, 1, 99, 4, NULL });
    assert_float_equal(four.int8, 4 * one.int8, 0);
    assert_float_equal(four.read - 1000, 4 * (one.read - 1000), 0); // weights once for all

    struct amounts read = work_of_test(&m, 1000, &(struct bench_test){ 10, 0, 0, 1, NULL });
    assert_float_equal(read.int8, 10 * m.token.int8 + m.logits.int8, 0);
    assert_true(isnan(read.read));
}

static void peaks_count_what_they_do(void **state)
{
    const struct kernels *k[8];
    (void)state;
    for (uint32_t n = kernels_available(k, 8); n-- > 0;) {
        assert_int_equal(k[n]->peak_int8(0), 0);
        assert_int_equal(k[n]->peak_f32(0), 0);
        assert_true(k[n]->peak_int8(1) > 0 && k[n]->peak_f32(1) > 0);
        assert_int_equal(k[n]->peak_int8(6), 6 * k[n]->peak_int8(1));
        assert_int_equal(k[n]->peak_f32(6), 6 * k[n]->peak_f32(1));
    }
}

static void reading_reads_every_word(void **state)
{
    enum { N = 3 * PEAK_READ, N_WORD = N / sizeof(uint64_t) };
    static _Alignas(64) uint64_t word[N_WORD];
    const struct kernels *k[8];
    struct rng rng = rng_seeded(5, 1);
    uint64_t all = 0;
    (void)state;
    for (uint32_t i = 0; i < N_WORD; i++) {
        word[i] = (uint64_t)rng_u32(&rng) << 32 | rng_u32(&rng);
        all ^= word[i];
    }
    for (uint32_t n = kernels_available(k, 8); n-- > 0;) {
        assert_int_equal(k[n]->peak_read(word, N), all);
        assert_int_equal(k[n]->peak_read(word, 0), 0);
    }
}

static void medians_are_medians(void **state)
{
    static const double x[] = { 9, 1, 4, 2 };
    struct samples s = { 0 };
    (void)state;
    assert_true(isnan(samples_median(&s)) && isnan(samples_mean(&s)));
    samples_add(&s, x[0]);
    assert_float_equal(samples_median(&s), 9, 0);
    assert_float_equal(samples_deviation(&s), 0, 0);
    for (int i = 1; i < 4; i++)
        samples_add(&s, x[i]);
    assert_float_equal(samples_median(&s), 3, 0);
    assert_float_equal(samples_quantile(&s, 0), 1, 0);
    assert_float_equal(samples_largest(&s), 9, 0);
    assert_float_equal(samples_mean(&s), 4, 0);
    assert_float_equal(samples_deviation(&s), sqrt(38.0 / 3), 1e-6);
    for (int i = 0; i < 2 * SAMPLES_MAX; i++)
        samples_add(&s, 0);
    assert_int_equal(s.n, SAMPLES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_and_jsonl_have_a_row_a_test),
        cmocka_unit_test(tables_have_as_many_columns_in_every_row),
        cmocka_unit_test(the_machine_is_told_in_numbers),
        cmocka_unit_test(a_profile_counts_no_more_than_there_was),
        cmocka_unit_test(wrong_lists_are_refused),
        cmocka_unit_test(sequences_do_a_test_together),
        cmocka_unit_test(work_follows_from_the_models_numbers),
        cmocka_unit_test(peaks_count_what_they_do),
        cmocka_unit_test(reading_reads_every_word),
        cmocka_unit_test(medians_are_medians),
    };
    return cmocka_run_group_tests_name("bench", tests, make_tiny, remove_tiny);
}
