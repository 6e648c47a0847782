/* eval as a user meets it: an answer in place for every line, the same numbers however many run at once. */
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

#include "support/program.h"
#include "support/tiny_model.h"

#define LOGPROBS(...) WORDS("akvifer", "eval", "logprobs", "-q", "-c", "256", __VA_ARGS__)
#define KV(...) WORDS("akvifer", "eval", "kv", "-q", "-c", "4096", __VA_ARGS__)
#define PERPLEXITY(...) WORDS("akvifer", "eval", "perplexity", "-q", __VA_ARGS__)

static const char LINES[] = "{\"ids\": [504, 3575, 282]}\n"
                            "\n"
                            "{\"ids\": [504, 99999999]}\n"
                            "{\"ids\": [1, -2]}\n"
                            "{\"ids\": []}\n"
                            "nonsense\n"
                            "{\"ids\": [504, 3575]}";

/* Line i of what came, as JSON. */
static json_t *line_of(const struct program_end *end, size_t i)
{
    const char *at = buf_text(&end->out);
    for (; i > 0; i--) {
        at = strchr(at, '\n');
        assert_non_null(at);
        at++;
    }
    json_t *line = json_loadb(at, strcspn(at, "\n"), 0, NULL);
    assert_non_null(line);
    return line;
}

static double next_of(const struct program_end *end, size_t i, size_t position)
{
    json_t *line = line_of(end, i);
    const json_t *next = json_array_get(json_object_get(line, "next"), position);
    assert_true(json_is_real(next));
    double x = json_real_value(next);
    json_decref(line);
    return x;
}

static void expect_error(const struct program_end *end, size_t i, const char *words)
{
    json_t *line = line_of(end, i);
    const char *error = json_string_value(json_object_get(line, "error"));
    assert_non_null(error);
    assert_non_null(strstr(error, words));
    json_decref(line);
}

static void wrong_lines_keep_their_place(void **state)
{
    (void)state;
    struct program_end end;
    program_run(&end, LOGPROBS("--top", "1"), LINES, strlen(LINES));
    assert_int_equal(end.exit_code, 1);
    assert_true(next_of(&end, 0, 0) < 0);
    expect_error(&end, 1, "99999999");
    expect_error(&end, 2, "ids[1]");
    expect_error(&end, 3, "no tokens");
    expect_error(&end, 4, "JSON");
    assert_true(next_of(&end, 5, 0) == next_of(&end, 0, 0));
    assert_non_null(strstr(end.err.bytes, "line 3: "));
    assert_non_null(strstr(end.err.bytes, "line 6: "));
    program_end_close(&end);
}

/* More lines than slots, and every bit the same alone. */
static void many_at_once_are_the_same(void **state)
{
    (void)state;
    struct program_end alone, together;
    struct buf lines = { 0 };
    for (int i = 0; i < 20; i++)
        buf_addf(&lines, "{\"ids\": [%d, %d, 504, %d]}\n", 300 + i, 400 + 7 * i, 500 + 3 * i);
    program_run(&alone, LOGPROBS("--exact", "-np", "1"), lines.bytes, lines.len);
    program_run(&together, LOGPROBS("--exact", "-np", "4"), lines.bytes, lines.len);
    assert_int_equal(alone.exit_code, 0);
    assert_int_equal(together.exit_code, 0);
    assert_string_equal(alone.out.bytes, together.out.bytes);
    buf_close(&lines);
    program_end_close(&alone);
    program_end_close(&together);
}

/* What follows a context is told, and its bits are those of the line without one. */
static void contexts_are_not_told(void **state)
{
    static const char lines[] = "{\"ids\": [504, 3575, 282, 4649, 314], \"context\": 2}\n"
                                "{\"ids\": [504, 3575, 282, 4649, 314]}\n"
                                "{\"ids\": [504, 3575, 282, 28, 314], \"context\": 2}\n";
    struct program_end end;
    (void)state;
    program_run(&end, LOGPROBS("--top", "1", "--kv-policy", "full"), lines, strlen(lines));
    assert_int_equal(end.exit_code, 0);
    json_t *line = line_of(&end, 0);
    assert_true(json_is_null(json_array_get(json_object_get(line, "next"), 0)));
    assert_int_equal(json_array_size(json_object_get(line, "next")), 4);
    assert_int_equal(json_array_size(json_array_get(json_object_get(line, "top"), 0)), 0);
    assert_int_equal(json_array_size(json_array_get(json_object_get(line, "top"), 2)), 1);
    json_decref(line);
    for (size_t position = 1; position < 4; position++)
        assert_true(next_of(&end, 0, position) == next_of(&end, 1, position));
    assert_true(next_of(&end, 2, 2) != next_of(&end, 1, 2));
    program_end_close(&end);
}

/* Lines of a context that others computed have the bits of a line alone, whether they lie together or not. */
static void contexts_may_be_shared(void **state)
{
    static const int context_of[] = { 0, 0, 1, 0, 1, 2 };
    struct buf with = { 0 }, without = { 0 };
    struct program_end shared, alone;
    (void)state;
    for (int i = 0; i < 6; i++) {
        buf_add_text(&with, "{\"ids\": [");
        for (int k = 0; k < 150; k++)
            buf_addf(&with, "%d, ", 300 + 7 * k + 1000 * context_of[i]);
        buf_addf(&with, "%d, 504], \"context\": 150}\n", 700 + i);
    }
    for (size_t at = 0; at < with.len; at++) { // the same without "context"
        const size_t n = strcspn(with.bytes + at, "]");
        buf_add(&without, with.bytes + at, n);
        buf_add_text(&without, "]}\n");
        at += strcspn(with.bytes + at, "\n");
    }
    program_run(&shared, LOGPROBS("--top", "1"), with.bytes, with.len);
    program_run(&alone, LOGPROBS("--top", "1", "-np", "1"), without.bytes, without.len);
    assert_int_equal(shared.exit_code, 0);
    for (size_t i = 0; i < 6; i++)
        for (size_t position = 149; position < 151; position++)
            assert_true(next_of(&shared, i, position) == next_of(&alone, i, position));
    buf_close(&with);
    buf_close(&without);
    program_end_close(&shared);
    program_end_close(&alone);
}

static void wrong_contexts_are_named(void **state)
{
    static const char lines[] = "{\"ids\": [504, 3575, 282], \"context\": 4}\n"
                                "{\"ids\": [504, 3575, 282], \"context\": 0}\n"
                                "{\"ids\": [504, 3575, 282], \"context\": \"2\"}\n";
    static const char *const values[] = { "\"context\" is 4; ", "\"context\" is 0; ",
                                          "\"context\" is \"2\"; " };
    struct program_end end;
    (void)state;
    program_run(&end, LOGPROBS("--top", "1"), lines, strlen(lines));
    assert_int_equal(end.exit_code, 1);
    for (size_t i = 0; i < 3; i++) {
        expect_error(&end, i, values[i]);
        expect_error(&end, i, "from 1 to 3");
    }
    assert_non_null(strstr(end.err.bytes, "line 3: "));
    program_end_close(&end);
    program_expect(LOGPROBS("--kv-policy", "h3o"), "{\"ids\": [504]}\n", 1, NULL, "'h3o'");
}

static void wrong_questions_are_named(void **state)
{
    static const char lines[] = "{\"ids\": [504, 3575, 282], \"context\": 1, \"question\": 3}\n"
                                "{\"ids\": [504, 3575, 282], \"question\": 1}\n"
                                "{\"ids\": [504], \"context\": 1, \"question\": 1}\n";
    struct program_end end;
    (void)state;
    program_run(&end, LOGPROBS("--top", "1"), lines, strlen(lines));
    assert_int_equal(end.exit_code, 1);
    expect_error(&end, 0, "\"question\" is 3; it must be a whole number from 1 to 2, ");
    expect_error(&end, 0, "ids are behind the context");
    expect_error(&end, 1, "\"question\" is of ids behind a \"context\"");
    expect_error(&end, 2, "\"question\" is 1, but no ids are behind the context");
    program_end_close(&end);
}

static void unknown_members_are_named(void **state)
{
    static const char lines[] = "{\"ids\": [504, 3575, 282], \"contxt\": 2}\n"
                                "{\"ids\": [504, 3575, 282], \"policy\": \"h2o\"}\n"
                                "{\"ids\": [504, 3575, 282], \"context\": 2, \"question\": 1}\n";
    struct program_end end;
    (void)state;
    program_run(&end, LOGPROBS("--top", "1"), lines, strlen(lines));
    assert_int_equal(end.exit_code, 1);
    expect_error(&end, 0, "a line has no member \"contxt\" (did you mean \"context\"?)");
    expect_error(&end, 1, "a line has no member \"policy\"");
    assert_true(next_of(&end, 2, 1) < 0);
    program_end_close(&end);
}

/* Without a context a policy judges while the line is fed: its first drop is behind the budget. */
static void policies_judge_inside_a_line(void **state)
{
    static const char *const policy[] = { "window:budget=40", "h2o:budget=40",
                                          "h2o-chunked:budget=40,block=48" };
    struct program_end full;
    struct buf line = { 0 };
    (void)state;
    buf_add_text(&line, "{\"ids\": [504");
    for (int i = 1; i < 120; i++)
        buf_addf(&line, ", %d", 300 + 37 * i % 5000);
    buf_add_text(&line, "]}\n");
    program_run(&full, LOGPROBS("--kv-policy", "full"), line.bytes, line.len);
    for (size_t i = 0; i < sizeof policy / sizeof *policy; i++) {
        struct program_end end;
        program_run(&end, LOGPROBS("--kv-policy", policy[i]), line.bytes, line.len);
        assert_int_equal(end.exit_code, 0);
        for (size_t p = 0; p < 40; p++)
            assert_true(next_of(&end, 0, p) == next_of(&full, 0, p));
        assert_true(next_of(&end, 0, 110) != next_of(&full, 0, 110));
        program_end_close(&end);
    }
    program_end_close(&full);
    buf_close(&line);
    program_expect(LOGPROBS("--kv-policy", "kvzip:budget=40"), "{\"ids\": [504, 3575]}\n", 1,
                   "{\"error\": \"kvzip", "kvzip drops rows behind a prompt alone");
}

static void perplexity_of_chunks(void **state)
{
    (void)state;
    struct program_end alone, together;
    struct buf text = { 0 };
    for (int i = 0; i < 40; i++)
        buf_addf(&text, "%d birds sat on the fence, and one flew away.\n", 90 - i);
    const char *path = program_file("text", buf_text(&text));
    program_run(&alone, PERPLEXITY("-f", path, "--ctx", "64", "--chunks", "5", "-np", "1"), NULL,
                0);
    program_run(&together, PERPLEXITY("-f", path, "--ctx", "64", "--chunks", "5"), NULL, 0);
    assert_int_equal(alone.exit_code, 0);
    assert_string_equal(alone.out.bytes, together.out.bytes);
    json_t *line = line_of(&together, 0);
    double all = json_real_value(json_object_get(line, "nll_all")),
           half = json_real_value(json_object_get(line, "nll_second_half"));
    assert_int_equal(json_integer_value(json_object_get(line, "chunks")), 5);
    assert_true(all > half && half > 0 && half < 2); // it repeats itself: soon easy to predict
    json_decref(line);
    program_expect(PERPLEXITY("-f", path, "--ctx", "4", "--chunks", "1"), NULL, 0, "{\"chunks\": 1",
                   NULL);
    program_expect(PERPLEXITY("-f", path, "--ctx", "4096"), NULL, 1, NULL, "a chunk needs 4096");
    program_expect(PERPLEXITY("-f", path, "--ctx", "3"), NULL, 2, NULL, "--ctx is at least 4");
    program_expect(PERPLEXITY("--ctx", "64"), NULL, 2, NULL, "-f FILE");
    program_expect(PERPLEXITY("-f", path, "--ctx", "64", "--kv-policy", "kvzip:budget=20"), NULL, 1,
                   NULL, "kvzip drops rows behind a prompt alone");
    program_expect(
        PERPLEXITY("-f", path, "--ctx", "64", "--chunks", "1", "--kv-policy", "h2o:budget=20"),
        NULL, 0, "{\"chunks\": 1", NULL);
    program_expect(PERPLEXITY("-f", path, "--ctx", "64", "--chunks", "1", "--kv-policy",
                              "h2o:budget=20,block=16"),
                   NULL, 0, "{\"chunks\": 1", NULL);
    buf_close(&text);
    program_end_close(&alone);
    program_end_close(&together);
}

/* A file of JSON must exist, and becomes the caller's. */
static json_t *read_json(const char *path)
{
    json_t *all = json_load_file(path, 0, NULL);
    assert_non_null(all);
    return all;
}

static void expect_png(const char *folder, const char *name)
{
    char path[320], first[4] = "";
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(first, 1, 4, file), 4);
    assert_memory_equal(first, "\x89PNG", 4);
    fclose(file);
}

/* Of full, of a budget that holds everything, and of one that does not: the second has the bits of the first. */
static void expect_rows(const json_t *rows)
{
    const json_t *full = json_array_get(rows, 0), *all = json_array_get(rows, 1),
                 *some = json_array_get(rows, 2);
    assert_int_equal(json_array_size(rows), 3);
    assert_float_equal(json_number_value(json_object_get(full, "kept")), 1, 0);
    assert_float_equal(json_number_value(json_object_get(all, "kept")), 1, 0);
    assert_true(json_number_value(json_object_get(some, "kept")) < 0.5);
    assert_int_equal(json_array_size(json_object_get(full, "items")), 2);
    assert_true(json_equal(json_object_get(full, "items"), json_object_get(all, "items")));
    assert_false(json_equal(json_object_get(full, "items"), json_object_get(some, "items")));
}

/* A row a policy in every table, the same figures in the file, and pictures; the same however many run together. */
static void kv_policies_are_compared(void **state)
{
    char model[TINY_PATH], folder[256], json[280];
    struct program_end end, alone;
    (void)state;
    tiny_model_save_temporary(tiny_model_of("llama", DT_Q4_1), model);
    snprintf(folder, sizeof folder, "%s", program_file("plots", ""));
    assert_int_equal(unlink(folder), 0); // the program makes it a folder
    snprintf(json, sizeof json, "%s.json", folder);
    program_run(&end,
                KV("-m", model, "--tasks", "book:context=200,tail=8,needle:lengths=640", "--items",
                   "2", "--policies", "window", "--budgets", "100%,30", "--no-controls", "--json",
                   json, "--plot", folder),
                NULL, 0);
    if (end.exit_code != 0)
        fail_msg("%s", end.err.bytes);
    assert_non_null(strstr(end.out.bytes, "| full  "));
    assert_non_null(strstr(end.out.bytes, "needle - "));
    json_t *all = read_json(json);
    const json_t *tasks = json_object_get(all, "tasks");
    assert_int_equal(json_array_size(tasks), 2);
    for (size_t i = 0; i < 2; i++)
        expect_rows(json_object_get(json_array_get(tasks, i), "rows"));
    json_decref(all);
    expect_png(folder, "book.png");
    expect_png(folder, "needle.png");
    expect_png(folder, "needle-map.png");
    program_run(&alone,
                KV("-m", model, "--tasks", "book:context=200,tail=8,needle:lengths=640", "--items",
                   "2", "--policies", "window", "--budgets", "100%,30", "--no-controls", "-np",
                   "1"),
                NULL, 0);
    assert_string_equal(alone.out.bytes, end.out.bytes);
    unlink(model);
    program_end_close(&end);
    program_end_close(&alone);
}

static void wrong_kv_words_are_named(void **state)
{
    (void)state;
    program_expect(KV("--tasks", "needles"), NULL, 2, NULL,
                   "there is no task 'needles'; there are book");
    program_expect(KV("--tasks", "book:tale=3"), NULL, 2, NULL,
                   "book has no option 'tale'; it has items=");
    program_expect(KV("--policies", "auto,h3o"), NULL, 2, NULL, "'h3o'");
    program_expect(KV("--kv-policy", "h2o"), NULL, 2, NULL, "--policies names them");
    program_expect(KV("--policies", "help"), NULL, 0, "sentencekv - ", NULL);
    program_expect(WORDS("akvifer", "bench", "--kv-policy", "help"), NULL, 0, "sentencekv - ",
                   NULL);
    program_expect(KV("--json", "/none/kv.json", "--tasks", "book"), NULL, 1, NULL,
                   "cannot write '/none/kv.json'");
    program_expect(KV("--tasks", "help"), NULL, 0, "needle - one number in prose", NULL);
    program_expect(KV("--tasks", "dialogue", "--data", "/none"), NULL, 1, NULL,
                   "'/none/sgd-longconv");
    program_expect(KV("--tasks", "book", "-c", "512"), NULL, 1, NULL, "a case has 2049 tokens");
}

static void lost_answers_are_an_error(void **state)
{
    (void)state;
    const char *path = program_file("short", "One, two, three, four, five, six.");
    program_expect_to(PERPLEXITY("-f", path, "--ctx", "8"), "/dev/full", 1,
                      "cannot write to standard output: No space left on device");
    program_expect(WORDS("akvifer", "eval", "taste"), NULL, 2, NULL, "perplexity, logprobs and kv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_lines_keep_their_place),
        cmocka_unit_test(many_at_once_are_the_same),
        cmocka_unit_test(contexts_are_not_told),
        cmocka_unit_test(contexts_may_be_shared),
        cmocka_unit_test(wrong_contexts_are_named),
        cmocka_unit_test(wrong_questions_are_named),
        cmocka_unit_test(unknown_members_are_named),
        cmocka_unit_test(policies_judge_inside_a_line),
        cmocka_unit_test(perplexity_of_chunks),
        cmocka_unit_test(kv_policies_are_compared),
        cmocka_unit_test(wrong_kv_words_are_named),
        cmocka_unit_test(lost_answers_are_an_error),
    };
    return cmocka_run_group_tests(tests, program_folder_make, program_folder_remove);
}
