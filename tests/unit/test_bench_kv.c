/* bench kv: small runs come to their end, and options that cannot be measured are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bin/bench_kv.h"
#include "bin/verbs.h"
#include "support/tiny_model.h"

static char printed[1 << 14];

/* Runs it with standard output (1) or standard error (2) in `printed`. */
static int run(int stream, int argc, char **argv)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(NULL);
    int old = dup(stream);
    assert_int_equal(dup2(fileno(file), stream), stream);
    int code = bench_kv(argc, argv);
    fflush(NULL);
    assert_int_equal(dup2(old, stream), stream);
    close(old);
    rewind(file);
    size_t n = fread(printed, 1, sizeof printed - 1, file);
    printed[n] = 0;
    fclose(file);
    return code;
}

static void all_tables_come(void **state)
{
    (void)state;
    struct tiny_model t = tiny_model_of("llama", DT_Q8_0);
    char path[TINY_PATH];
    t.n_ctx = 2112;
    tiny_model_save_temporary(t, path);
    char *argv[] = { "kv", "-m", path,  "--kv-type", "int8", "-r",   "1",
                     "-s", "1",  "-ub", "64",        "-c",   "2112", NULL };
    const int code = run(1, 13, argv);
    remove(path);
    assert_int_equal(code, EXIT_DONE);
    static const char *const expected[] = {
        "One block of 36.0 KiB",
        "take and release",
        "fork 2,048",
        "on, memory there already",
        "blocks of 16 positions",
        "32 sequences that begin with the same 2048 positions hold 1.1 MiB; one holds 1.1 MiB",
        "prefill, 64 tokens a step",
        "decode, 1 sequences",
        "space: blocks of 64 mapped in order",
        "paged: blocks of 16 by table",
    };
    for (size_t i = 0; i < FLAG_COUNT(expected); i++)
        if (!strstr(printed, expected[i]))
            fail_msg("'%s' is missing in:\n%s", expected[i], printed);
    assert_null(strstr(printed, "nan"));
}

static void what_cannot_be_measured_is_refused(void **state)
{
    (void)state;
    char *little[] = { "kv", "--kv-ram", "16M", NULL };
    assert_int_equal(run(2, 3, little), EXIT_USAGE);
    assert_non_null(strstr(printed, "--kv-ram 16.0 MiB is too little"));
    char *absent[] = { "kv", "-m", "nowhere.gguf", NULL };
    assert_int_equal(run(2, 3, absent), EXIT_FAILED);
    assert_non_null(strstr(printed, "nowhere.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_tables_come),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
    };
    return cmocka_run_group_tests_name("bench_kv", tests, NULL, NULL);
}
