/* Clients that others wrote, against akvifer serve with the default model: tests/clients/NAME_client.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/served.h"

static const char PYTHON[] = "build/clients/openai/bin/python"; // tools/install_clients.sh

/* OpenAI's own: what it asks for and how it reads answers and errors. */
static void the_official_client_gets_what_it_expects(void **state)
{
    struct served server = { 0 };
    struct program_end end;
    char url[64];
    (void)state;
    if (access(PYTHON, X_OK) != 0) {
        print_message(
            "skipped: PyPI's openai is not installed (tools/install_clients.sh openai)\n");
        skip();
    }
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "512", "--api-key", "key"));
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1", server.port);
    program_run(&end, WORDS(PYTHON, "tests/clients/openai_client.py", url, "key"), NULL, 0);
    print_message("%s", buf_text(&end.out));
    if (end.exit_code != 0)
        fail_msg("exit code %d: %s", end.exit_code, buf_text(&end.err));
    assert_null(strstr(buf_text(&end.out), "FAILED"));
    assert_non_null(strstr(buf_text(&end.out), "ok test_many_at_once")); // the last of them ran
    program_end_close(&end);
    served_close(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_official_client_gets_what_it_expects),
    };
    return cmocka_run_group_tests_name("clients", tests, NULL, NULL);
}
