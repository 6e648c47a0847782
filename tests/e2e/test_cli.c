/* The program itself: help, version, unknown verbs, the manual page, and inspect as text and JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "support/gguf_writer.h"
#include "support/program.h"
#include "support/temp_dir.h"

#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"
#define GEMMA3 "models/gemma-3-270m-q4_k_m.gguf"

static struct buf said;

static int finish(void **state)
{
    buf_close(&said);
    return temp_dir_remove(state);
}

/* Runs `akvifer WORDS`; what it says on both outputs is in `said`. */
static int akvifer(const char *words)
{
    char command[512], chunk[4096];
    size_t n;
    const char *build = getenv("B");
    snprintf(command, sizeof command, "%s/akvifer %s 2>&1", build ? build : "build", words);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    buf_clear(&said);
    while ((n = fread(chunk, 1, sizeof chunk, p)) > 0)
        buf_add(&said, chunk, n);
    int status = pclose(p);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_said(const char *words)
{
    if (!strstr(buf_text(&said), words))
        fail_msg("'%s' is not in:\n%s", words, buf_text(&said));
}

static void help_lists_the_verbs(void **state)
{
    (void)state;
    assert_int_equal(akvifer("--help"), 0);
    expect_said("usage: akvifer VERB [flags]");
    expect_said("$ akvifer inspect -m smollm2\n");
    assert_int_equal(akvifer(""), 2);
    assert_int_equal(akvifer("--version"), 0);
    expect_said("akvifer 0.");
    assert_int_equal(akvifer("inspekt"), 2);
    expect_said("akvifer: there is no verb 'inspekt'; did you mean inspect?");
    assert_int_equal(akvifer("frobnicate"), 2);
    expect_said("`akvifer --help` lists them");
    assert_int_equal(akvifer("inspect --modle x"), 2);
    expect_said("akvifer inspect: there is no flag --modle; did you mean --model?");
    assert_int_equal(akvifer("bench foo"), 2);
    expect_said("'foo' is no flag; in front of its flags bench takes "
                "[kv|attention|roof|steps|stream|taps]");
    assert_int_equal(akvifer("inspect --version"), 0);
    expect_said("akvifer 0.");
    assert_int_equal(akvifer("inspect --help"), 0);
    expect_said("--kv-type TYPE");
}

/* What was printed has to arrive, whatever the verb. */
static void output_that_is_lost_is_an_error(void **state)
{
    (void)state;
    const char *const lost = "akvifer: cannot write to standard output";
    program_expect_to(WORDS("akvifer", "--help"), "/dev/full", 1, lost);
    program_expect_to(WORDS("akvifer", "--version"), NULL, 1, lost);
    program_expect_to(WORDS("akvifer", "run", "--help"), "/dev/full", 1, lost);
    program_expect_to(WORDS("akvifer", "manual"), "/dev/full", 1, lost);
    program_expect_to(WORDS("akvifer", "inspect"), "/dev/full", 1, lost);
    program_expect_to(WORDS("akvifer", "inspect"), NULL, 1, lost);
    program_expect_to(WORDS("akvifer", "tokenize", "-p", "x"), "/dev/full", 1, "cannot write");
    program_expect_to(WORDS("akvifer", "inspect", "-m", "no-such"), NULL, 1, "there is no file");
}

/* Every verb's table, in troff that has nothing to complain about. */
static void the_manual_page_is_sound(void **state)
{
    (void)state;
    assert_int_equal(akvifer("manual"), 0);
    expect_said(".TH AKVIFER 1");
    expect_said(".SH \"akvifer inspect\"");
    expect_said("\\-\\-ctx\\-size");
    for (const char *line = said.bytes; (line = strchr(line, '\n')) != NULL; line++) {
        assert_true(line[1] != '\''); // would be read as a request
        if (line[1] == '.')
            assert_non_null(strchr("TSBPIRnf", line[2]));
    }
}

static json_t *inspect_json(const char *words)
{
    json_error_t e;
    char line[256];
    snprintf(line, sizeof line, "inspect --json %s", words);
    assert_int_equal(akvifer(line), 0);
    json_t *j = json_loads(said.bytes, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        fail_msg("%s", e.text);
    return j;
}

static json_int_t integer(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static void inspect_knows_the_default_model(void **state)
{
    (void)state;
    json_t *j = inspect_json("-m " SMOLLM2 " --tensors --metadata -c 100");
    assert_int_equal(integer(j, "n_tensor"), 272);
    assert_int_equal(integer(j, "n_param"), 134515008);
    assert_int_equal(integer(j, "n_layer"), 30);
    assert_int_equal(integer(j, "n_vocab"), 49152);
    const json_t *kv = json_object_get(j, "kv");
    assert_int_equal(integer(kv, "bytes_per_token"), 23040);
    assert_int_equal(integer(kv, "n_ctx"), 100);
    assert_int_equal(integer(kv, "bytes"), 2 * 64 * 23040); // whole blocks
    assert_int_equal(json_array_size(json_object_get(j, "tensors")), 272);
    const json_t *meta = json_object_get(j, "metadata");
    assert_int_equal(integer(meta, "llama.context_length"), 8192);
    assert_int_equal(integer(json_object_get(meta, "tokenizer.ggml.tokens"), "n"), 49152);
    json_decref(j);

    assert_int_equal(akvifer("inspect -m " SMOLLM2), 0);
    expect_said("KV cache      f16: 22.5 KiB (23040 bytes) a token; 180.0 MiB for 8192 tokens\n");
    expect_said("Q4_1          210     106.2 M    63.3 MiB\n");
    assert_int_equal(akvifer("inspect -m " SMOLLM2 " --metadata --tensors"), 0);
    expect_said("  llama.attention.layer_norm_rms_epsilon (f32)  1e-05\n");
    expect_said("  Q8_0      28.7 MiB  token_embd.weight [49152, 576]\n");
}

static void inspect_counts_windows(void **state)
{
    (void)state;
    if (access(GEMMA3, R_OK) != 0)
        skip();
    json_t *j = inspect_json("-m " GEMMA3 " -c 32768");
    assert_int_equal(integer(j, "n_layer_windowed"), 15);
    assert_int_equal(integer(j, "window"), 512);
    const json_t *kv = json_object_get(j, "kv");
    json_int_t all = integer(kv, "bytes_without_windows");
    assert_int_equal(all, 32768 * 18432);
    assert_true(integer(kv, "bytes") > all / 6 &&
                integer(kv, "bytes") < all / 5); // 3 of 18, and windows
    json_decref(j);
}

static void inspect_shows_what_it_cannot_run(void **state)
{
    (void)state;
    char path[64], words[128];
    struct gguf_writer w;
    snprintf(path, sizeof path, "%s/odd.gguf", temp_dir());
    gguf_writer_open(&w, 3);
    gguf_write_text(&w, "general.architecture", "odd");
    gguf_write_text(&w, "general.name", "\033[31mred");
    gguf_write_float(&w, "inf", GGUF_F32, 1e39);
    gguf_write_tensor(&w, "t", DT_F32, 1, (uint64_t[]){ 2 }, (float[]){ 1, 2 }, 8);
    gguf_writer_save(&w, path);
    gguf_writer_close(&w);

    snprintf(words, sizeof words, "inspect -m %s --metadata", path);
    assert_int_equal(akvifer(words), 0);
    expect_said("cannot be run by this program: the architecture 'odd' is not supported");
    expect_said("name          ?[31mred\n");
    assert_null(strchr(said.bytes, '\033'));

    snprintf(words, sizeof words, "-m %s --metadata", path);
    json_t *j = inspect_json(words);
    assert_non_null(strstr(json_string_value(json_object_get(j, "cannot_run")), "'odd'"));
    assert_true(json_is_null(json_object_get(json_object_get(j, "metadata"), "inf")));
    json_decref(j);

    snprintf(words, sizeof words, "inspect -m %s/absent.gguf", temp_dir());
    assert_int_equal(akvifer(words), 1);
    expect_said("akvifer inspect: there is no file ");
    snprintf(words, sizeof words, "inspect -m %s", temp_dir());
    assert_int_equal(akvifer(words), 1);
    expect_said("is a directory");
}

/* Before the minutes that a profile takes. */
static void a_profile_that_cannot_be_written_is_told_at_once(void **state)
{
    (void)state;
    program_expect(WORDS("akvifer", "profile", "-o", "/no/such/folder/x.json"), NULL, 1, NULL,
                   "cannot write '/no/such/folder/x.json");
    program_expect(WORDS("akvifer", "profile", "-o", "/tmp"), NULL, 1, NULL,
                   "cannot write '/tmp': it is a folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_lists_the_verbs),
        cmocka_unit_test(output_that_is_lost_is_an_error),
        cmocka_unit_test(the_manual_page_is_sound),
        cmocka_unit_test(inspect_knows_the_default_model),
        cmocka_unit_test(inspect_counts_windows),
        cmocka_unit_test(inspect_shows_what_it_cannot_run),
        cmocka_unit_test(a_profile_that_cannot_be_written_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, temp_dir_make, finish);
}
