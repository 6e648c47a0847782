/* os/file with the k-th call failing, for every k; and mappings whose pages cannot be had: a status where one can be
 * given, else the program's last words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/file.h"
#include "os/pages.h"
#include "support/temp_dir.h"

static const char text[] = "what is in the file\n";

/* A file of n bytes in the test's folder. */
static const char *file_of(const char *name, const void *bytes, size_t n)
{
    const char *path = in_dir(name);
    struct note why = { "" };
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write(fd, bytes, n, path, &why), OK);
    close(fd);
    return path;
}

static const char *file_of_pages(const char *name, size_t n)
{
    char *bytes = mem_new(n, os_page_bytes());
    assert_non_null(bytes);
    const char *path = file_of(name, bytes, n * os_page_bytes());
    mem_free(bytes);
    return path;
}

static enum status map_it(const char *path, struct note *why)
{
    struct file_map m;
    enum status st = file_map(&m, path, why);
    if (st != OK)
        return st;
    st = file_fetch(&m, 3, 1 << 20, why); // past its end: what there is
    file_unmap(&m);
    return st;
}

static enum status read_it(const char *path, struct note *why)
{
    char *bytes = NULL;
    size_t len = 0;
    enum status st = file_read(&bytes, &len, path, 1 << 10, why);
    assert_true((st == OK) == (bytes != NULL));
    assert_true(st != OK || (len == sizeof text - 1 && memcmp(bytes, text, len) == 0));
    mem_free(bytes);
    return st;
}

static enum status write_it(const char *path, struct note *why)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    enum status st = file_write(fd, text, sizeof text - 1, path, why);
    close(fd);
    return st;
}

static void every_call_fails(void **state)
{
    enum status (*const all[])(const char *, struct note *) = { map_it, read_it, write_it };
    (void)state;
    const char *path = file_of("small", text, sizeof text - 1);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (uint64_t k = 1, n_asked = k; n_asked >= k; k++) {
            struct note why = { "" };
            file_fail_at(k);
            const enum status st = all[i](path, &why);
            n_asked = file_fail_count();
            file_fail_at(0);
            if (n_asked < k)
                assert_int_equal(st, OK);
            else
                assert_true(st == IO_ERROR && strstr(why.text, path) &&
                            strstr(why.text, "Input/output error"));
        }
    }
}

static uint32_t files_in(const char *folder)
{
    uint32_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *file; (file = readdir(dir));)
        n += file->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void expect_text(const char *path, const char *is)
{
    char *bytes;
    size_t len;
    assert_int_equal(file_read(&bytes, &len, path, 1 << 10, NULL), OK);
    assert_string_equal(bytes, is);
    mem_free(bytes);
}

/* Whichever call fails, the old file is whole, and nothing else is left. */
static void a_file_is_replaced_or_as_it_was(void **state)
{
    (void)state;
    const char *path = file_of("replaced", text, sizeof text - 1);
    const uint32_t n_file = files_in(temp_dir());
    enum status st = IO_ERROR;
    for (uint64_t k = 1; st != OK; k++) {
        struct note why = { "" };
        expect_text(path, text);
        file_fail_at(k);
        st = file_replace(path, "new", 3, &why);
        file_fail_at(0);
        assert_true(st == OK || (st == IO_ERROR && strstr(why.text, path)));
        assert_int_equal(files_in(temp_dir()), n_file);
        assert_true(k < 8);
    }
    expect_text(path, "new");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(file_replace(path, text, sizeof text - 1, NULL), OK);
    expect_text(path, text);
    assert_int_equal(unlink(path), 0);
}

/* What is no file is written to, and stays what it is. */
static void a_pipe_is_written_to(void **state)
{
    (void)state;
    char said[8] = "";
    const char *path = in_dir("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_replace(path, "new", 3, NULL), OK);
    assert_int_equal(read(fd, said, sizeof said), 3);
    assert_string_equal(said, "new");
    close(fd);
    assert_int_equal(unlink(path), 0);
}

/* The system itself says that pages are gone. */
static void pages_that_went_are_an_error(void **state)
{
    struct file_map m;
    struct note why = { "" };
    const size_t page = os_page_bytes();
    (void)state;
    const char *path = file_of_pages("pages", 8);
    assert_int_equal(file_map(&m, path, &why), OK);
    assert_int_equal(file_fetch(&m, 0, m.len, &why), OK);
    assert_int_equal(file_changed(&m, &why), FILE_SAME);
    assert_int_equal(truncate(path, (off_t)(3 * page)), 0);
    assert_int_equal(file_changed(&m, &why), FILE_RESIZED);
    assert_int_equal(file_fetch(&m, 0, 3 * page, &why), OK);
    assert_int_equal(file_fetch(&m, 2 * page, 2 * page, &why), IO_ERROR);
    assert_non_null(strstr(why.text, "it was shortened since it was opened"));
    unlink(path);
    assert_int_equal(file_changed(&m, &why), FILE_SAME); // another's now, or nobody's: ours stays
    file_unmap(&m);
}

/* In a child, whose standard error is the result. */
static int touch_what_went(const char *path, char *said, size_t room)
{
    int out[2], status;
    assert_int_equal(pipe(out), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct file_map m;
        dup2(out[1], STDERR_FILENO);
        file_explain_faults();
        if (file_map(&m, path, NULL) == OK && truncate(path, 0) == 0)
            _exit(*(const volatile uint8_t *)m.bytes + 100);
        _exit(99);
    }
    close(out[1]);
    const ssize_t n = read(out[0], said, room - 1);
    said[n < 0 ? 0 : n] = 0;
    close(out[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void a_fault_names_the_file(void **state)
{
    char said[512];
    (void)state;
    const char *path = file_of_pages("went", 2);
    assert_int_equal(touch_what_went(path, said, sizeof said), 1);
    assert_non_null(strstr(said, path));
    assert_non_null(strstr(said, "was shortened while it was in use, or its disk failed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_fails),       cmocka_unit_test(a_file_is_replaced_or_as_it_was),
        cmocka_unit_test(a_pipe_is_written_to),   cmocka_unit_test(pages_that_went_are_an_error),
        cmocka_unit_test(a_fault_names_the_file),
    };
    return cmocka_run_group_tests_name("file fault", tests, temp_dir_make, temp_dir_remove);
}
