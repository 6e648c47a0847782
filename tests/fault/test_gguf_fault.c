/* gguf with the k-th allocation failing, for every k: FULL with a note, nothing leaked (SAN=address). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "os/file.h"
#include "support/gguf_writer.h"

static void write_small(struct gguf_writer *w)
{
    static const float x[4] = { 1, 2, 3, 4 };
    gguf_writer_open(w, 3);
    gguf_write_text(w, "general.architecture", "llama");
    gguf_write_tensor(w, "a", DT_F32, 1, (uint64_t[]){ 4 }, x, sizeof x);
    gguf_write_tensor(w, "b", DT_F32, 1, (uint64_t[]){ 4 }, x, sizeof x);
}

typedef enum status open_fn(struct gguf **out, const void *arg, struct note *why);

/* Fails each allocation of one opening in turn, until none is left to fail. */
static void expect_full_for_every_k(open_fn *open, const void *arg)
{
    for (uint64_t k = 1;; k++) {
        struct gguf *g = NULL;
        struct note why = { "" };
        mem_fail_at(k);
        enum status st = open(&g, arg, &why);
        uint64_t n_asked = mem_fail_count();
        mem_fail_at(0);
        if (st == OK) {
            assert_true(n_asked == k - 1 && k > 5);
            gguf_close(g);
            return;
        }
        assert_int_equal(st, FULL);
        assert_null(g);
        assert_true(why.text[0]);
    }
}

static enum status open_buf(struct gguf **out, const void *arg, struct note *why)
{
    const struct buf *file = arg;
    return gguf_open_bytes(out, file->bytes, file->len, why);
}

static enum status open_path(struct gguf **out, const void *arg, struct note *why)
{
    return gguf_open(out, arg, why);
}

static void opening_bytes(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct buf file = { 0 };
    write_small(&w);
    gguf_writer_finish(&w, &file);
    gguf_writer_close(&w);
    expect_full_for_every_k(open_buf, &file);
    buf_close(&file);
}

static void opening_a_split_set(void **state)
{
    (void)state;
    char dir[] = "/tmp/akv-fault-XXXXXX", prefix[64], path[2][128];
    struct gguf_writer w;
    assert_non_null(mkdtemp(dir));
    snprintf(prefix, sizeof prefix, "%s/s", dir);
    write_small(&w);
    gguf_writer_save_split(&w, prefix, 2);
    gguf_writer_close(&w);

    snprintf(path[0], sizeof path[0], "%s-00001-of-00002.gguf", prefix);
    snprintf(path[1], sizeof path[1], "%s-00002-of-00002.gguf", prefix);
    expect_full_for_every_k(open_path, path[1]);
    unlink(path[0]);
    unlink(path[1]);
    rmdir(dir);
}

static void reading_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/akv-fault-XXXXXX";
    char *text = NULL;
    size_t len = 0;
    struct note why = { "" };
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);

    mem_fail_at(1);
    assert_int_equal(file_read(&text, &len, path, 100, &why), FULL);
    mem_fail_at(0);
    assert_null(text);
    assert_true(why.text[0]);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_bytes),
        cmocka_unit_test(opening_a_split_set),
        cmocka_unit_test(reading_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
