/* flags: every type, where values come from, what is refused and with which words, help and manual. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bin/bench_attn.h"
#include "bin/bench_kv.h"
#include "bin/bench_steps.h"
#include "bin/bench_stream.h"
#include "bin/bench_taps.h"
#include "bin/verbs.h"

struct options {
    const char *model;
    int64_t n;
    uint64_t seed;
    double temp;
    bool json, tensors;
    uint64_t ram;
    uint32_t kv_type;
};

static const struct flag rows[] = {
    { .names = "-m --model",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, model),
      .unit = "MODEL",
      .preset = "smollm2",
      .help = "A name." },
    { .names = "-n --n-predict --predict",
      .type = FLAG_INT,
      .at = FLAG_AT(options, n),
      .unit = "TOKENS",
      .preset = "-1",
      .shown = "no limit",
      .least = -1,
      .most = 1000,
      .help = "How many." },
    { .names = "-s --seed",
      .type = FLAG_U64,
      .at = FLAG_AT(options, seed),
      .unit = "N",
      .env = "TEST_FLAGS_SEED",
      .help = "The seed." },
    { .names = "--temp",
      .type = FLAG_FLOAT,
      .at = FLAG_AT(options, temp),
      .unit = "T",
      .preset = "0.8",
      .most = (double)INFINITY,
      .help = "Heat." },
    { .names = "--json", .type = FLAG_SWITCH, .at = FLAG_AT(options, json), .help = "As JSON." },
    { .names = "--tensors",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, tensors),
      .preset = "on",
      .help = "All of them." },
    { .names = "--kv-ram",
      .type = FLAG_SIZE,
      .at = FLAG_AT(options, ram),
      .unit = "BYTES",
      .preset = "1G",
      .least = 1024,
      .most = 0x1p40,
      .help = "The cap." },
    { .names = "--kv-type",
      .type = FLAG_ENUM,
      .at = FLAG_AT(options, kv_type),
      .unit = "TYPE",
      .preset = "f16",
      .words = "f32 f16 int8",
      .help = "The type." },
};
static const char *const examples[] = { "akvifer test -m smollm2 --temp 0", NULL };
static const struct flag_table table = { .verb = "test",
                                         .summary = "test flags",
                                         .operands = "[FILE]",
                                         .n_operand_max = 1,
                                         .flag = rows,
                                         .n_flag = FLAG_COUNT(rows),
                                         .examples = examples };

/* Parses the words of one line (split at single spaces). */
static enum status parse(struct options *o, const char *line, struct operands *rest,
                         struct note *why)
{
    static char text[512];
    static char *argv[32];
    int argc = 0;
    strcpy(text, line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    *o = (struct options){ 0 };
    return flags_parse(&table, o, argc, argv, rest, why);
}

static void presets_fill_what_is_not_given(void **state)
{
    (void)state;
    struct options o;
    struct operands rest;
    assert_int_equal(parse(&o, "test", &rest, NULL), OK);
    assert_string_equal(o.model, "smollm2");
    assert_int_equal(o.n, -1);
    assert_int_equal(o.seed, 0);
    assert_true(o.temp == 0.8);
    assert_false(o.json);
    assert_true(o.tensors);
    assert_int_equal(o.ram, 1 << 30);
    assert_int_equal(o.kv_type, 1);
    assert_int_equal(rest.n, 0);
}

static void every_form_is_read(void **state)
{
    (void)state;
    struct options o;
    struct operands rest;
    assert_int_equal(parse(&o,
                           "test -m a.gguf -n 5 --seed=18446744073709551615 --temp 1e-2 --json "
                           "--no-tensors --kv-ram 1.5M --kv-type int8 file",
                           &rest, NULL),
                     OK);
    assert_string_equal(o.model, "a.gguf");
    assert_int_equal(o.n, 5);
    assert_true(o.seed == UINT64_MAX);
    assert_true(o.temp == 0.01);
    assert_true(o.json);
    assert_false(o.tensors);
    assert_int_equal(o.ram, 3 << 19);
    assert_int_equal(o.kv_type, 2);
    assert_int_equal(rest.n, 1);
    assert_string_equal(rest.text[0], "file");

    assert_int_equal(parse(&o, "test --predict 7 -n -1 --json=off file -- ", &rest, NULL), OK);
    assert_int_equal(o.n, -1);
    assert_false(o.json);
    assert_int_equal(parse(&o, "test --kv-ram 2GiB --json -- -m", &rest, NULL), OK);
    assert_true(o.ram == 2ull << 30);
    assert_string_equal(rest.text[0], "-m");
    assert_int_equal(parse(&o, "test -", &rest, NULL), OK); // standard input, by custom
    assert_string_equal(rest.text[0], "-");
}

static void expect_refused(const char *line, const char *words)
{
    struct options o;
    struct note why = { "" };
    assert_int_equal(parse(&o, line, NULL, &why), BAD_INPUT);
    assert_string_equal(why.text, words);
}

static void errors_name_flag_value_and_limit(void **state)
{
    (void)state;
    expect_refused("test -n 5x", "--predict: '5x' is no whole number");
    expect_refused("test -n 1001", "--predict: 1001 is outside of the limits, -1 to 1000");
    expect_refused("test -n 99999999999999999999",
                   "--predict: 99999999999999999999 is too large for 64 bits");
    expect_refused("test -s -1", "--seed: -1 is below 0");
    expect_refused("test --temp -0.5", "--temp: -0.5 is below the least that is allowed, 0");
    expect_refused("test --temp nan", "--temp: 'nan' is no number");
    expect_refused("test --temp inf", "--temp: 'inf' is no number");
    expect_refused("test --kv-ram 5X",
                   "--kv-ram: '5X' is no size (bytes, or a number with K, M, G or T behind it)");
    expect_refused("test --kv-ram 10",
                   "--kv-ram: 10 is outside of the limits, 1024 to 1099511627776");
    expect_refused("test --kv-ram 9999999999T",
                   "--kv-ram: 9999999999T is outside of the limits of a size, 0 to 8388607T");
    expect_refused("test --kv-type f15", "--kv-type: 'f15' is none of: f32 f16 int8");
    expect_refused("test --kv-type f", "--kv-type: 'f' is none of: f32 f16 int8");
    expect_refused("test --json=maybe", "--json: 'maybe' is neither on nor off");
    expect_refused("test -m", "-m needs a value (MODEL)");
    expect_refused("test a b", "'b' is one too many: test takes 1");
}

static void unknown_flags_get_a_hint(void **state)
{
    (void)state;
    expect_refused("test --modle x", "there is no flag --modle; did you mean --model?");
    expect_refused("test --kvtype f16", "there is no flag --kvtype; did you mean --kv-type?");
    expect_refused("test --tens", "there is no flag --tens; did you mean --tensors?");
    expect_refused("test --frobnicate",
                   "there is no flag --frobnicate; `akvifer test --help` lists them");
    expect_refused("test --no-model", "there is no flag --no-model; did you mean --model?");
    expect_refused("test -q", "there is no flag -q; `akvifer test --help` lists them");
    expect_refused("test -mm", "there is no flag -mm; `akvifer test --help` lists them");
    expect_refused("test -model", "there is no flag -model; did you mean --model?");
    expect_refused("test --temperature 1", "there is no flag --temperature; did you mean --temp?");
    expect_refused("test --verzion",
                   "there is no flag --verzion; `akvifer test --help` lists them");
}

static void the_environment_is_weaker_than_the_line(void **state)
{
    (void)state;
    struct options o;
    struct note why = { "" };
    setenv("LLAMA_ARG_N_PREDICT", "3", 1);
    setenv("TEST_FLAGS_SEED", "4", 1);
    setenv("AKV_ARG_JSON", "1", 1);
    assert_int_equal(parse(&o, "test", NULL, &why), OK);
    assert_int_equal(o.n, 3);
    assert_int_equal(o.seed, 4);
    assert_true(o.json);
    setenv("AKV_ARG_PREDICT", "2", 1);
    setenv("AKV_ARG_SEED", "", 1); // empty is unset
    assert_int_equal(parse(&o, "test --no-json", NULL, &why), OK);
    assert_int_equal(o.n, 2);
    assert_int_equal(o.seed, 4);
    assert_false(o.json);
    assert_int_equal(parse(&o, "test -n 1", NULL, &why), OK);
    assert_int_equal(o.n, 1);
    setenv("AKV_ARG_SEED", "x", 1);
    assert_int_equal(parse(&o, "test", NULL, &why), BAD_INPUT);
    assert_string_equal(why.text, "AKV_ARG_SEED: 'x' is no whole number");
    unsetenv("LLAMA_ARG_N_PREDICT");
    unsetenv("TEST_FLAGS_SEED");
    unsetenv("AKV_ARG_JSON");
    unsetenv("AKV_ARG_PREDICT");
    unsetenv("AKV_ARG_SEED");
}

static void help_and_manual_come_from_the_table(void **state)
{
    (void)state;
    struct options o;
    struct buf text = { 0 };
    assert_int_equal(parse(&o, "test -m x --help", NULL, NULL), CANCELED);

    flags_help(&table, &text);
    assert_non_null(strstr(text.bytes, "usage: akvifer test [FILE] [flags]\n"));
    assert_non_null(strstr(text.bytes, "  akvifer test -m smollm2 --temp 0\n"));
    assert_non_null(
        strstr(text.bytes, "  -m, --model MODEL           A name. (default: smollm2)\n"));
    assert_non_null(strstr(text.bytes, "How many. (-1 to 1000; default: no limit)\n"));
    assert_non_null(strstr(text.bytes, "Heat. (at least 0; default: 0.8)\n"));
    assert_non_null(strstr(text.bytes, "The cap. (1K to 1T; default: 1G)\n"));
    assert_non_null(strstr(text.bytes, "The type. (f32 f16 int8; default: f16)\n"));
    assert_non_null(strstr(text.bytes, "The seed. (also $TEST_FLAGS_SEED)\n"));
    assert_non_null(strstr(text.bytes, "  --json                      As JSON.\n"));

    buf_clear(&text);
    flags_manual(&table, &text);
    assert_non_null(strstr(text.bytes, ".SH \"akvifer test\"\n"));
    assert_non_null(strstr(text.bytes, ".B \\-n, \\-\\-n\\-predict, \\-\\-predict TOKENS\n"));
    buf_close(&text);
}

/* What people read: "-c, --ctx-size TOKENS  Longest context of one request. (default: ...)" */
static void every_help_is_a_sentence(void **state)
{
    static const struct flag_table *const tables[] = {
        &flags_of_run,
        &flags_of_tokenize,
        &flags_of_render,
        &flags_of_eval,
        &flags_of_bench,
        &flags_of_bench_kv,
        &flags_of_bench_attention,
        &flags_of_bench_steps,
        &flags_of_bench_stream,
        &flags_of_bench_taps,
        &flags_of_inspect,
        &flags_of_profile,
        &flags_of_pull,
        &flags_of_load,
    };
    (void)state;
    for (size_t t = 0; t < FLAG_COUNT(tables); t++)
        for (size_t i = 0; i < tables[t]->n_flag; i++) {
            const struct flag *f = &tables[t]->flag[i];
            if (f->help[0] < 'A' || f->help[0] > 'Z' || f->help[strlen(f->help) - 1] != '.')
                fail_msg("%s %s: '%s' is no sentence", tables[t]->verb, f->names, f->help);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_fill_what_is_not_given),
        cmocka_unit_test(every_form_is_read),
        cmocka_unit_test(errors_name_flag_value_and_limit),
        cmocka_unit_test(unknown_flags_get_a_hint),
        cmocka_unit_test(the_environment_is_weaker_than_the_line),
        cmocka_unit_test(help_and_manual_come_from_the_table),
        cmocka_unit_test(every_help_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
