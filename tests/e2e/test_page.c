/* The page in a real browser (Chromium without a window): it loads without complaints, streams an answer while the map
 * changes, fits a narrow screen, can be used by keys alone, asks for a key and keeps tenants apart, and can be turned
 * off. What is looked at is in tests/support/page_check.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "support/served.h"

enum { NO_BROWSER = 77 };

static struct served server;

static void check(const char *scenario)
{
    char command[200];
    snprintf(command, sizeof command, "python3 tests/support/page_check.py %s http://127.0.0.1:%u",
             scenario, server.port);
    const int end = system(command);
    if (WIFEXITED(end) && WEXITSTATUS(end) == NO_BROWSER) {
        print_message("there is no chromium; `make test` installs it where it may\n");
        skip();
    }
    assert_int_equal(end, 0);
}

static void it_loads_without_complaints(void **state)
{
    (void)state;
    check("loads");
}

static void it_streams_and_the_map_changes(void **state)
{
    (void)state;
    check("streams");
}

static void it_shows_what_a_policy_kept(void **state)
{
    (void)state;
    check("shows_kept_rows");
}

static void it_fits_a_narrow_screen(void **state)
{
    (void)state;
    check("fits_narrow");
}

static void keys_are_enough(void **state)
{
    (void)state;
    check("keyboard_is_enough");
}

static void it_asks_for_a_key_and_keeps_tenants_apart(void **state)
{
    (void)state;
    served_close(&server);
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "1024", "--api-key",
                               "alice", "--api-key", "bob"));
    check("asks_for_a_key");
}

static void it_can_be_turned_off(void **state)
{
    (void)state;
    served_close(&server);
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "1024", "--no-webui"));
    check("is_turned_off");
}

static int open_server(void **state)
{
    (void)state;
    served_open(&server, WORDS("akvifer", "serve", "--port", "0", "-c", "1024"));
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    served_close(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_loads_without_complaints),
        cmocka_unit_test(it_streams_and_the_map_changes),
        cmocka_unit_test(it_shows_what_a_policy_kept),
        cmocka_unit_test(it_fits_a_narrow_screen),
        cmocka_unit_test(keys_are_enough),
        cmocka_unit_test(it_asks_for_a_key_and_keeps_tenants_apart),
        cmocka_unit_test(it_can_be_turned_off),
    };
    return cmocka_run_group_tests_name("page", tests, open_server, close_server);
}
