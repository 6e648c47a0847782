/* What packaging/ calls is there: the container's and the unit's command lines run, and the libraries named are the
 * program's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bin/lines.h"
#include "support/served.h"

#define CONTAINER "packaging/Containerfile"
#define UNIT "packaging/akvifer.service"
#define CONF "packaging/akvifer.conf"

enum { WORDS_MAX = 32 };

static struct buf container, unit;

/* The rest of the last line that begins so; fails where there is none. Good until the next call but one. */
static const char *rest_of(const struct buf *text, const char *begin)
{
    static char rests[2][1024];
    static unsigned next;
    char *rest = rests[next++ % 2];
    const char *at = buf_text(text), *found = NULL;
    for (; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncmp(at, begin, strlen(begin)) == 0)
            found = at + strlen(begin);
    }
    if (!found)
        fail_msg("no line begins with '%s'", begin);
    snprintf(rest, sizeof rests[0], "%.*s", (int)strcspn(found, "\n"), found);
    return rest;
}

/* Standard output of a shell command, trimmed; fails where that fails. Good until the next call. */
static const char *shell(const char *command)
{
    static char out[4096];
    FILE *p = popen(command, "r");
    assert_non_null(p);
    const size_t n = fread(out, 1, sizeof out - 1, p);
    out[n] = '\0';
    if (pclose(p) != 0)
        fail_msg("%s: %s", command, out);
    while (strlen(out) && out[strlen(out) - 1] == '\n')
        out[strlen(out) - 1] = '\0';
    return out;
}

static unsigned add_json_words(const char **words, unsigned n, json_t *list)
{
    size_t i;
    json_t *word;
    assert_true(json_is_array(list));
    json_array_foreach(list, i, word) words[n++] = json_string_value(word);
    return n;
}

/* ENTRYPOINT and CMD in an environment as ENV says, but for the folder of models. */
static void the_container_serves(void **state)
{
    const char *words[WORDS_MAX] = { 0 };
    struct program_end end;
    (void)state;
    json_t *entry = json_loads(rest_of(&container, "ENTRYPOINT "), 0, NULL);
    json_t *command = json_loads(rest_of(&container, "CMD "), 0, NULL);
    unsigned n = add_json_words(words, 0, entry);
    n = add_json_words(words, n, command);
    assert_string_equal(words[0], "/usr/bin/akvifer"); // where COPY puts it
    assert_string_equal(rest_of(&container, "COPY --from=build "),
                        "/out/usr/bin/akvifer /usr/bin/akvifer");
    assert_string_equal(rest_of(&container, "ENV AKV_MODELS="), rest_of(&container, "VOLUME "));
    words[0] = "akvifer";
    words[n++] = "--dry-run";
    setenv("AKV_ARG_HOST", rest_of(&container, "ENV AKV_ARG_HOST="), 1);
    program_run(&end, words, NULL, 0);
    if (end.exit_code != 0)
        fail_msg("%s", buf_text(&end.err));
    assert_non_null(strstr(buf_text(&end.err), "kv cap"));
    unsetenv("AKV_ARG_HOST");
    program_end_close(&end);
    json_decref(entry);
    json_decref(command);
}

/* `make install` as the recipe calls it puts the program where COPY takes it. */
static void the_container_installs(void **state)
{
    (void)state;
    assert_non_null(strstr(buf_text(&container), "make install DESTDIR=/out PREFIX=/usr\n"));
    const char *plan =
        shell("env -u MAKEFLAGS -u MAKELEVEL make -n install DESTDIR=/out PREFIX=/usr | "
              "grep -c '/out/usr/bin/akvifer$'");
    assert_string_equal(plan, "1");
}

/* Every library that the program is linked with comes from a package that the second stage installs. */
static void the_container_has_the_libraries(void **state)
{
    unsigned n = 0;
    (void)state;
    if (SANITIZED || system("command -v dpkg-query >/dev/null") != 0) {
        print_message("skipped: not as Debian would link it\n");
        skip();
    }
    char *rest =
        (char *)shell("objdump -p ${B:-build}/akvifer | sed -n 's|^ *NEEDED *|*-linux-gnu/|p' | "
                      "xargs dpkg-query -S | sed 's/:.*//' | sort -u");
    for (char *package; (package = strsep(&rest, "\n")); n++) {
        if (strcmp(package, "libc6") != 0 && !strstr(buf_text(&container), package))
            fail_msg("%s is needed, and " CONTAINER " does not install it", package);
    }
    assert_true(n > 5);
}

/* A command line of the unit with our paths for its own. */
static unsigned unit_words(const char **words, const char *key, char *line, size_t room)
{
    unsigned n = 0;
    snprintf(line, room, "%s", rest_of(&unit, key));
    for (char *word; (word = strsep(&line, " ")) && n < WORDS_MAX - 4;)
        words[n++] = word;
    assert_string_equal(words[0], "/usr/local/bin/akvifer");
    words[0] = "akvifer";
    for (unsigned i = 1; i < n; i++) {
        if (strcmp(words[i], "/etc/akvifer/akvifer.conf") == 0)
            words[i] = CONF;
    }
    return n;
}

static void the_unit_serves(void **state)
{
    const char *words[WORDS_MAX] = { 0 };
    char line[1024];
    struct served server = { 0 };
    (void)state;
    unsigned n = unit_words(words, "ExecStartPre=", line, sizeof line);
    assert_string_equal(words[n - 2], "--dry-run");
    program_expect(words, NULL, 0, NULL, NULL);

    memset(words, 0, sizeof words);
    n = unit_words(words, "ExecStart=", line, sizeof line);
    words[n++] = "--port"; // 8080 may be somebody's
    words[n++] = "0";
    served_open(&server, words);
    json_decref(served_json(&server, NULL, "/health", NULL, 200));
    served_close(&server);
}

/* Systemd waits for longer than the server does. */
static void the_unit_waits_for_answers(void **state)
{
    struct buf conf = { 0 };
    struct note why = { "" };
    (void)state;
    assert_int_equal(read_path(CONF, &conf, &why), OK);
    const int drain = atoi(rest_of(&conf, "drain = ")),
              stop = atoi(rest_of(&unit, "TimeoutStopSec="));
    assert_true(drain > 0 && stop > drain + 5);
    assert_string_equal(rest_of(&unit, "KillSignal="), "SIGTERM");
    buf_close(&conf);
}

/* With a program where the unit expects it. */
static void systemd_finds_no_fault(void **state)
{
    (void)state;
    if (system("command -v systemd-analyze >/dev/null") != 0) {
        print_message("skipped: no systemd-analyze\n");
        skip();
    }
    const char *text = shell(
        "d=$(mktemp -d); sed \"s|/usr/local/bin/akvifer|$(readlink -f ${B:-build}/akvifer)|\" " UNIT
        " >$d/akvifer.service; systemd-analyze verify --man=no $d/akvifer.service 2>&1 | "
        "grep 'akvifer' || true; rm -r $d");
    assert_string_equal(text, "");
}

static int read_files(void **state)
{
    struct note why = { "" };
    (void)state;
    curl_global_init(CURL_GLOBAL_ALL);
    setenv("AKV_MODELS", "models", 1);
    setenv("AKV_ARG_CTX_SIZE", "256", 1);
    return read_path(CONTAINER, &container, &why) == OK && read_path(UNIT, &unit, &why) == OK ? 0
                                                                                              : -1;
}

static int close_files(void **state)
{
    (void)state;
    buf_close(&container);
    buf_close(&unit);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_container_serves),
        cmocka_unit_test(the_container_installs),
        cmocka_unit_test(the_container_has_the_libraries),
        cmocka_unit_test(the_unit_serves),
        cmocka_unit_test(the_unit_waits_for_answers),
        cmocka_unit_test(systemd_finds_no_fault),
    };
    return cmocka_run_group_tests_name("packaging", tests, read_files, close_files);
}
