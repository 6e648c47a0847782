/* What serve is asked for: files of flags, flags of other programs, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bin/lines.h"
#include "bin/serve_args.h"
#include "bin/serve_keys.h"
#include "bin/strangers.h"
#include "bin/verbs.h"
#include "support/temp_dir.h"

struct options {
    int64_t port;
    const char *host, *name;
    bool slots;
    struct flag_texts key;
};

static const struct flag rows[] = {
    { .names = "--port",
      .type = FLAG_INT,
      .at = FLAG_AT(options, port),
      .unit = "PORT",
      .preset = "8080",
      .most = 65535,
      .help = "A port." },
    { .names = "-h --host",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, host),
      .unit = "A",
      .help = "A host." },
    { .names = "--name",
      .type = FLAG_TEXT,
      .at = FLAG_AT(options, name),
      .unit = "N",
      .help = "A name." },
    { .names = "--slots",
      .type = FLAG_SWITCH,
      .at = FLAG_AT(options, slots),
      .preset = "true",
      .help = "Slots." },
    { .names = "--key",
      .type = FLAG_TEXTS,
      .at = FLAG_AT(options, key),
      .unit = "K",
      .help = "Keys." },
};
static const char *const examples[] = { "akvifer test", NULL };
static const struct flag_table table = { .verb = "test",
                                         .summary = "test",
                                         .flag = rows,
                                         .n_flag = FLAG_COUNT(rows),
                                         .examples = examples };

/* Reads a file of this text, then the flags over it. */
static enum status read_over(const char *text, int argc, char **argv, struct options *o,
                             struct config *c, struct note *why)
{
    temp_dir_put("f.conf", text);
    *o = (struct options){ 0 };
    enum status st = config_read(c, in_dir("f.conf"), why);
    if (st == OK)
        st = flags_parse_over(&table, o, c->setting, c->n, argc, argv, NULL, why);
    return st;
}

static void the_command_line_wins(void **state)
{
    char *argv[] = { "test", "--port", "3", NULL };
    struct options o;
    struct config c;
    struct note why = { "" };
    (void)state;
    assert_int_equal(read_over("# all of it\n\nport = 1 # one\nhost=a b\r\n  name = \" #x= \"\n"
                               "no-slots\nkey = a\nkey = b",
                               1, argv, &o, &c, &why),
                     OK);
    assert_int_equal(o.port, 1);
    assert_string_equal(o.host, "a b");
    assert_string_equal(o.name, " #x= ");
    assert_false(o.slots);
    assert_int_equal(o.key.n, 2);
    config_close(&c);
    setenv("AKV_ARG_PORT", "2", 1);
    assert_int_equal(read_over("port = 1\nslots = off\n", 1, argv, &o, &c, &why), OK);
    assert_int_equal(o.port, 2);
    config_close(&c);
    assert_int_equal(read_over("port = 1\nh = b#c\n", 3, argv, &o, &c, &why), OK);
    assert_int_equal(o.port, 3);
    assert_string_equal(o.host, "b#c");
    config_close(&c);
    unsetenv("AKV_ARG_PORT");
}

static void a_section_is_for_its_model(void **state)
{
    static const char text[] =
        "port = 1\nname = all\n[qwen2]\nport = 2\n[ a-b ] # this\nname = ab\n"
        "[qwen2]\nname = q\n";
    static const struct {
        const char *model, *name;
        int port;
    } expected[] = { { "qwen2", "q", 2 },
                     { "smollm2", "all", 1 },
                     { "dir/a-b.gguf", "ab", 1 },
                     { "dir/a-b", "ab", 1 },
                     { "a-b.gguf.gguf", "all", 1 },
                     { "qwen", "all", 1 },
                     { "x/qwen2.5-coder-0.5b-q4_k_m.gguf", "q", 2 } };
    char *argv[] = { "test", NULL };
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        struct options o;
        struct config c;
        struct note why = { "" };
        assert_int_equal(read_over(text, 1, argv, &o, &c, &why), OK);
        config_choose(&c, expected[i].model);
        config_choose(&c, expected[i].model); // the same again
        o = (struct options){ 0 };
        assert_int_equal(flags_parse_over(&table, &o, c.setting, c.n, 1, argv, NULL, &why), OK);
        assert_string_equal(o.name, expected[i].name);
        assert_int_equal(o.port, expected[i].port);
        config_close(&c);
    }
}

static void errors_name_file_and_line(void **state)
{
    static const char *const wrong[][2] = {
        { "port = 1\n\nport = 70000\n", "f.conf:3: port: 70000 is outside" },
        { "prot = 1\n", "f.conf:1: there is no flag prot; did you mean --port?" },
        { "#\nport\n", "f.conf:2: port needs a value" },
        { "no-port\n", "f.conf:1: there is no flag no-port" },
        { "two words = 1\n", "f.conf:1: a line must be" },
        { "= 1\n", "f.conf:1: a line must be" },
        { "name = \"open\n", "f.conf:1: a line must be" },
        { "slots = maybe\n", "f.conf:1: slots: 'maybe' is neither on nor off" },
        { "[m]\nprot = 1\n", "f.conf:2: there is no flag prot" },
        { "[m\n", "f.conf:1: a section must be [model]" },
        { "port = 1\n[ ]\n", "f.conf:2: a section must be [model]" },
    };
    char *argv[] = { "test", NULL };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct options o;
        struct config c;
        struct note why = { "" };
        assert_int_equal(read_over(wrong[i][0], 1, argv, &o, &c, &why), BAD_INPUT);
        if (!strstr(why.text, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], why.text);
        config_close(&c);
    }
    struct config c;
    struct note why = { "" };
    assert_int_equal(config_read(&c, in_dir("absent"), &why), NOT_FOUND);
}

/* Each row of serve, written as its default or as a value that it takes. */
static void every_flag_may_stand_in_a_file(void **state)
{
    static alignas(16) char options[1 << 14]; // the verb's own struct is not to be seen here
    char *argv[] = { "serve", NULL };
    struct buf text = { 0 };
    struct config c;
    struct note why = { "" };
    (void)state;
    for (size_t i = 0; i < flags_of_serve.n_flag; i++) {
        const struct flag *f = &flags_of_serve.flag[i];
        const bool is_text = f->type == FLAG_TEXT || f->type == FLAG_TEXTS;
        const char *value = f->preset ? f->preset : is_text ? "text" : f->words ? f->words : "1";
        assert_true(f->at + sizeof(struct flag_texts) < sizeof options);
        if (strcmp(flag_name(f), "--config") != 0)
            buf_addf(&text, "%s = %s\n", flag_name(f) + 2, f->type == FLAG_SWITCH ? "on" : value);
    }
    temp_dir_put("f.conf", buf_text(&text));
    assert_int_equal(config_read(&c, in_dir("f.conf"), &why), OK);
    assert_int_equal(c.n, flags_of_serve.n_flag - 1);
    if (flags_parse_over(&flags_of_serve, options, c.setting, c.n, 1, argv, NULL, &why) != OK)
        fail_msg("%s", why.text);
    config_close(&c);
    buf_close(&text);
}

/* ---- other programs ---- */

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < flags_of_serve.n_flag; i++) {
        const char *names = flags_of_serve.flag[i].names, *word;
        size_t len;
        while (word_next(&names, &word, &len)) {
            if (strlen(name) == len && memcmp(word, name, len) == 0)
                return true;
        }
    }
    return false;
}

/* llama-server's flags: each is ours, another name of ours, taken with a word, or refused with one; none of ours is a
 * stranger. */
static void every_flag_of_llama_server_has_an_answer(void **state)
{
    struct buf text = { 0 };
    struct note why = { "" };
    unsigned n = 0;
    (void)state;
    assert_int_equal(read_path("tests/data/flags/llama-server.txt", &text, &why), OK);
    char *rest = text.bytes, *line, *name;
    while ((line = strsep(&rest, "\n"))) {
        if (*line == '#' || *line == '\0')
            continue;
        while ((name = strsep(&line, " "))) {
            const char *value = NULL;
            const bool general = strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 ||
                                 strcmp(name, "--version") == 0;
            const bool switched = strcmp(name, "--no-slots") == 0;
            const bool page = strstr(name, "ui") && strlen(name) < 12; // the page's own flag
            if (!general && !is_ours(name) && !switched && !page && !stranger_of(name) &&
                !stranger_renamed(name, &value))
                fail_msg("%s has no answer", name);
            if (is_ours(name) && (stranger_of(name) || stranger_renamed(name, &value)))
                fail_msg("%s is ours, and a stranger", name);
            n++;
        }
    }
    assert_true(n > 300);
    buf_close(&text);
}

static void strangers_are_taken_renamed_or_refused(void **state)
{
    char *argv[] = { "serve",       "-ngl",   "99",
                     "-fa",         "on",     "--cache-type-k=q8_0",
                     "-c",          "512",    "--log-disable",
                     "--draft-max", "-1",     "--max-num-seqs",
                     "4",           "--keep", "--port",
                     "9",           NULL };
    char *refused[] = { "serve", "--lora", "a.gguf", NULL };
    static const char *const left[] = { "serve", "--kv-type",  "int8",      "-c",
                                        "512",   "--log-file", "/dev/null", "--parallel",
                                        "4",     "--port",     "9" };
    struct serve_args a;
    struct note why = { "" };
    (void)state;
    assert_int_equal(serve_args_open(&a, 16, argv, &why), OK);
    assert_int_equal(a.argc, sizeof left / sizeof *left);
    for (int i = 0; i < a.argc; i++)
        assert_string_equal(a.argv[i], left[i]);
    assert_null(a.argv[a.argc]);
    serve_args_close(&a);
    assert_int_equal(serve_args_open(&a, 3, refused, &why), BAD_INPUT);
    assert_string_equal(why.text, "--lora is not supported: adapters are not there yet");
}

static void a_file_may_hold_flags_of_others(void **state)
{
    char path[256];
    char *argv[] = { "serve", "--config", path, NULL };
    struct serve_args a;
    struct note why = { "" };
    (void)state;
    temp_dir_put("g.conf", "n-gpu-layers = 99\nctk = q8_0\nport = 1\nlog-disable\n");
    snprintf(path, sizeof path, "%s", in_dir("g.conf"));
    assert_int_equal(serve_args_open(&a, 3, argv, &why), OK);
    assert_int_equal(a.config.n, 3);
    assert_string_equal(a.config.setting[0].name, "kv-type");
    assert_string_equal(a.config.setting[0].value, "int8");
    assert_string_equal(a.config.setting[2].value, "/dev/null");
    serve_args_close(&a);
    temp_dir_put("g.conf", "port = 1\nlora = a.gguf\n");
    assert_int_equal(serve_args_open(&a, 3, argv, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "g.conf:2: lora is not supported"));
    temp_dir_put("g.conf", "[qwen2]\nm = smollm2\n");
    assert_int_equal(serve_args_open(&a, 3, argv, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "g.conf:2: m cannot stand in [qwen2]"));
    temp_dir_put("g.conf", "config = other\n");
    assert_int_equal(serve_args_open(&a, 3, argv, &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "cannot name another"));
}

/* ---- keys ---- */

static void keys_have_tenants(void **state)
{
    const struct flag_texts given = { { "a", "b,c" }, 2 }, empty = { { "" }, 1 }, none = { .n = 0 };
    static struct serve_keys k;
    struct note why = { "" };
    (void)state;
    temp_dir_put("keys", "d\r\n\n  e research group\n");
    assert_int_equal(serve_keys_read(&k, &given, in_dir("keys"), &why), OK);
    assert_int_equal(k.n, 5);
    assert_string_equal(k.key[2].key, "c");
    assert_string_equal(k.key[2].name, "key-3");
    assert_string_equal(k.key[3].key, "d");
    assert_string_equal(k.key[4].key, "e");
    assert_string_equal(k.key[4].name, "research");
    serve_keys_close(&k);
    assert_int_equal(serve_keys_read(&k, &empty, NULL, &why), BAD_INPUT);
    serve_keys_close(&k);
    temp_dir_put("keys", "\n \n");
    assert_int_equal(serve_keys_read(&k, &none, in_dir("keys"), &why), BAD_INPUT);
    assert_non_null(strstr(why.text, "everybody would be let in"));
    serve_keys_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_line_wins),
        cmocka_unit_test(a_section_is_for_its_model),
        cmocka_unit_test(errors_name_file_and_line),
        cmocka_unit_test(every_flag_may_stand_in_a_file),
        cmocka_unit_test(every_flag_of_llama_server_has_an_answer),
        cmocka_unit_test(strangers_are_taken_renamed_or_refused),
        cmocka_unit_test(a_file_may_hold_flags_of_others),
        cmocka_unit_test(keys_have_tenants),
    };
    return cmocka_run_group_tests_name("serve_args", tests, temp_dir_make, temp_dir_remove);
}
