/* Loading a model with the k-th allocation failing, for every k, and from files that are cut
 * short, unreadable or exchanged: a status and a note, no memory, thread or descriptor left behind
 * (SAN=address), and never another answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "akvifer.h"
#include "base/mem.h"
#include "engine/outbox.h"
#include "os/file.h"
#include "os/pages.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

#define TALK "{\"messages\": [{\"role\": \"user\", \"content\": \"hello world\"}]}"

enum { N_ID_MAX = 256, N_ANSWER = 8, TIMEOUT_MS = SANITIZED ? 600000 : 60000 };

static char dir[] = "/tmp/akvifer-fault-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[2][320];
    static unsigned turn;
    char *p = path[turn++ % 2];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static void save(const char *name, uint64_t seed)
{
    static struct vocab_maker vocab;
    struct tiny_model t = tiny_model_of("qwen2", DT_Q4_1);
    small_bpe(&vocab);
    t.vocab = &vocab;
    t.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}{% endfor %}";
    t.n_embd = 64;
    t.n_head = 2;
    t.n_kv_head = 1;
    t.d_head = 32;
    t.n_ff = 96;
    t.n_ctx = 128;
    t.seed = seed;
    tiny_model_save(&t, in_dir(name));
}

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    save("tiny.gguf", 1);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        unlink(in_dir(e->d_name));
    if (d)
        closedir(d);
    return rmdir(dir);
}

static uint32_t count_fds(void)
{
    uint32_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static enum akv_status open_file(akv_model **out, const char *name, struct akv_note *why)
{
    const struct akv_model_params params = { .path = in_dir(name), .n_thread = 2 };
    return akv_model_open(out, &params, why);
}

static akv_model *opened(const char *name)
{
    akv_model *m = NULL;
    struct akv_note why = { "" };
    if (open_file(&m, name, &why) != AKV_OK)
        fail_msg("%s", why.text);
    return m;
}

/* ---- memory ---- */

static enum akv_status ids_of_talk(const akv_model *m, int32_t *ids, size_t *n,
                                   struct akv_note *why)
{
    *n = N_ID_MAX;
    return akv_render_chat(m, TALK, strlen(TALK), ids, n, why);
}

static void expect_talk(const akv_model *m, const int32_t *expected, size_t n_expected)
{
    int32_t ids[N_ID_MAX];
    size_t n;
    struct akv_note why = { "" };
    if (ids_of_talk(m, ids, &n, &why) != AKV_OK)
        fail_msg("%s", why.text);
    assert_int_equal(n, n_expected);
    assert_memory_equal(ids, expected, n * sizeof *ids);
}

/* Some allocations may be done without (PCRE2's machine code, classes of characters): then the
 * model is none the worse. */
static void allocations_of_a_load_fail(void **state)
{
    int32_t expected[N_ID_MAX];
    size_t n_expected;
    struct akv_note why = { "" };
    uint64_t n_asked, k = 0;
    (void)state;
    akv_model *m = opened("tiny.gguf");
    assert_int_equal(ids_of_talk(m, expected, &n_expected, &why), AKV_OK);
    akv_model_close(m);
    const uint32_t n_fd = count_fds();
    do {
        m = NULL;
        why.text[0] = 0;
        mem_fail_at(++k);
        const enum akv_status st = open_file(&m, "tiny.gguf", &why);
        n_asked = mem_fail_count();
        mem_fail_at(0);
        if (st == AKV_OK)
            expect_talk(m, expected, n_expected);
        else
            assert_true(st == AKV_FULL && why.text[0] && !m);
        akv_model_close(m);
        assert_int_equal(count_fds(), n_fd);
    } while (n_asked >= k);
    print_message("failed each of %llu allocations\n", (unsigned long long)k - 1);
    assert_true(k > 50);
}

static void allocations_of_a_talk_fail(void **state)
{
    int32_t expected[N_ID_MAX], ids[N_ID_MAX];
    size_t n_expected, n;
    struct akv_note why = { "" };
    uint64_t n_asked, k = 0;
    (void)state;
    akv_model *m = opened("tiny.gguf");
    assert_int_equal(ids_of_talk(m, expected, &n_expected, &why), AKV_OK);
    do {
        why.text[0] = 0;
        mem_fail_at(++k);
        const enum akv_status st = ids_of_talk(m, ids, &n, &why);
        n_asked = mem_fail_count();
        mem_fail_at(0);
        if (st == AKV_OK)
            assert_true(n == n_expected && memcmp(ids, expected, n * sizeof *ids) == 0);
        else
            assert_true(st == AKV_FULL && why.text[0] && n == N_ID_MAX);
    } while (n_asked >= k);
    assert_true(k > 5);
    akv_model_close(m);
}

/* ---- files ---- */

/* Each call on the file fails in turn: opening, mapping, every read of its header, its tensors' samples and their
 * weights. */
static void reads_of_a_load_fail(void **state)
{
    struct akv_note why = { "" };
    uint64_t n_asked, k = 0;
    (void)state;
    const uint32_t n_fd = count_fds();
    do {
        akv_model *m = NULL;
        why.text[0] = 0;
        file_fail_at(++k);
        const enum akv_status st = open_file(&m, "tiny.gguf", &why);
        n_asked = file_fail_count();
        file_fail_at(0);
        if (n_asked >= k)
            assert_true(st == AKV_IO_ERROR && !m && strstr(why.text, "tiny.gguf"));
        else
            assert_int_equal(st, AKV_OK);
        akv_model_close(m);
        assert_int_equal(count_fds(), n_fd);
    } while (n_asked >= k);
    print_message("failed each of %llu calls on files\n", (unsigned long long)k - 1);
    assert_true(k > 40);
}

static void shorten(void *arg, double part)
{
    (void)part;
    assert_int_equal(truncate(arg, os_page_bytes()), 0);
}

/* The file is shortened while its weights are packed. */
static void a_file_that_shrinks_in_a_load_is_refused(void **state)
{
    akv_model *m = NULL;
    struct akv_note why = { "" };
    (void)state;
    save("shrinks.gguf", 1);
    const struct akv_model_params params = { .path = in_dir("shrinks.gguf"),
                                             .n_thread = 2,
                                             .progress = shorten,
                                             .progress_arg =
                                                 (void *)(uintptr_t)in_dir("shrinks.gguf") };
    assert_int_equal(akv_model_open(&m, &params, &why), AKV_IO_ERROR);
    assert_null(m);
    assert_non_null(strstr(why.text, "shrinks.gguf': it was shortened"));
}

/* Every length but the whole one is refused: all short ones, and steps of a prime through the
 * tensors. */
static void a_file_cut_short_is_refused(void **state)
{
    enum { EVERY_BELOW = 600, STEP = 61 };
    struct stat whole;
    (void)state;
    save("cut.gguf", 1);
    assert_int_equal(stat(in_dir("cut.gguf"), &whole), 0);
    const uint32_t n_fd = count_fds();
    for (off_t len = whole.st_size - 1; len >= 0; len -= len > EVERY_BELOW ? STEP : 1) {
        akv_model *m = NULL;
        struct akv_note why = { "" };
        assert_int_equal(truncate(in_dir("cut.gguf"), len), 0);
        const enum akv_status st = open_file(&m, "cut.gguf", &why);
        if (st != AKV_BAD_INPUT || !why.text[0] || m)
            fail_msg("%lld of %lld bytes: status %d, '%s'", (long long)len,
                     (long long)whole.st_size, st, why.text);
    }
    assert_int_equal(count_fds(), n_fd);
}

static void expect_refused(const char *name, enum akv_status expected)
{
    akv_model *m = NULL;
    struct akv_note why = { "" };
    assert_int_equal(open_file(&m, name, &why), expected);
    assert_true(!m && why.text[0]);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    expect_refused("absent.gguf", AKV_NOT_FOUND);
    expect_refused("tiny.gguf/in.gguf", AKV_NOT_FOUND);
    expect_refused(".", AKV_BAD_INPUT);
    assert_int_equal(symlink("circle", in_dir("circle")), 0);
    expect_refused("circle", AKV_IO_ERROR);
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    expect_refused("pipe", AKV_BAD_INPUT); // and not waited for
    if (geteuid() == 0)
        return; // the superuser reads everything
    save("secret.gguf", 1);
    assert_int_equal(chmod(in_dir("secret.gguf"), 0), 0);
    expect_refused("secret.gguf", AKV_IO_ERROR);
}

static void answer(akv_engine *engine, int32_t *token)
{
    const int32_t ids[] = { 72, 101, 108, 108, 111 };
    const struct akv_request r = { .ids = ids,
                                   .n_id = 5,
                                   .n_predict = N_ANSWER,
                                   .sampling = { .top_p = 1, .typical_p = 1, .repeat_penalty = 1 },
                                   .ignore_eos = true };
    struct akv_note why = { "" };
    struct akv_event event;
    uint64_t id;
    uint32_t n = 0;
    if (akv_submit(engine, &r, &id, &why) != AKV_OK)
        fail_msg("%s", why.text);
    do {
        assert_int_equal(akv_next_event(engine, &event, TIMEOUT_MS), AKV_OK);
        if (event.kind == AKV_EVENT_TOKEN)
            token[n++] = event.token;
    } while (event.kind != AKV_EVENT_DONE);
    assert_int_equal(n, N_ANSWER);
}

/* A model file is replaced by renaming (os/file.h): who has the old one open keeps it, embedding
 * rows included. */
static void a_file_replaced_in_use_stays(void **state)
{
    const struct akv_limits limits = { .n_ctx = 64, .n_parallel = 1 };
    int32_t before[N_ANSWER], after[N_ANSWER];
    akv_engine *engine;
    struct akv_note why = { "" };
    (void)state;
    save("used.gguf", 1);
    save("other.gguf", 2);
    akv_model *m = opened("used.gguf");
    if (akv_engine_new(&engine, m, &limits, &why) != AKV_OK)
        fail_msg("%s", why.text);
    answer(engine, before);
    assert_int_equal(rename(in_dir("other.gguf"), in_dir("used.gguf")), 0);
    answer(engine, after);
    assert_memory_equal(before, after, sizeof before);
    akv_engine_free(engine);
    akv_model_close(m);

    m = opened("used.gguf");
    if (akv_engine_new(&engine, m, &limits, &why) != AKV_OK)
        fail_msg("%s", why.text);
    answer(engine, after);
    assert_memory_not_equal(before, after, sizeof before); // it was another model indeed
    akv_engine_free(engine);
    akv_model_close(m);
}

static void expect_no_request(akv_engine *engine, const char *words)
{
    const int32_t id = 72;
    const struct akv_request r = { .ids = &id, .n_id = 1, .n_predict = 1 };
    struct akv_note why = { "" };
    uint64_t ticket;
    assert_int_equal(akv_submit(engine, &r, &ticket, &why), AKV_CORRUPT);
    if (!strstr(why.text, words))
        fail_msg("'%s' is missing in: %s", words, why.text);
}

static void write_bytes(const char *name, off_t at, const char *bytes)
{
    FILE *f = fopen(in_dir(name), "r+b");
    assert_non_null(f);
    assert_int_equal(fseeko(f, at, SEEK_SET), 0);
    assert_true(fputs(bytes, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Written to in place, the mapping shows another model's rows: no request is taken any more. Another time stamp
 * alone changes nothing. */
static void a_file_changed_in_use_is_refused(void **state)
{
    const struct akv_limits limits = { .n_ctx = 64, .n_parallel = 1 };
    const struct timespec long_ago[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
    int32_t before[N_ANSWER], after[N_ANSWER];
    akv_engine *engine;
    struct akv_note why = { "" };
    struct stat whole;
    (void)state;
    save("used.gguf", 1);
    akv_model *m = opened("used.gguf");
    if (akv_engine_new(&engine, m, &limits, &why) != AKV_OK)
        fail_msg("%s", why.text);
    answer(engine, before);
    assert_int_equal(utimensat(AT_FDCWD, in_dir("used.gguf"), long_ago, 0), 0);
    answer(engine, after);
    assert_memory_equal(before, after, sizeof before);
    write_bytes("used.gguf", 0, "another header");
    expect_no_request(engine, "was written to while it is in use");
    assert_int_equal(stat(in_dir("used.gguf"), &whole), 0);
    assert_int_equal(truncate(in_dir("used.gguf"), whole.st_size - 1), 0);
    expect_no_request(engine, "used.gguf");
    akv_engine_free(engine);
    akv_model_close(m);
}

/* The last event of the one request that runs. */
static struct akv_event last_event(akv_engine *engine)
{
    struct akv_event e;
    do
        assert_int_equal(akv_next_event(engine, &e, TIMEOUT_MS), AKV_OK);
    while (e.kind != AKV_EVENT_DONE);
    return e;
}

/* An answer that was under way then is none: it is longer than what the outbox holds, so the engine waits in its
 * middle for a reader. */
static void a_file_changed_under_an_answer_ends_it(void **state)
{
    enum { N_LONG = OUTBOX_MAX + 64 };
    const struct akv_limits limits = { .n_ctx = N_LONG + 8, .n_parallel = 1 };
    const int32_t id = 72;
    const struct akv_request r = { .ids = &id,
                                   .n_id = 1,
                                   .n_predict = N_LONG,
                                   .ignore_eos = true,
                                   .sampling = akv_sampling_default() };
    akv_engine *engine;
    struct akv_event e;
    struct akv_note why = { "" };
    uint64_t ticket;
    (void)state;
    save("used.gguf", 1);
    akv_model *m = opened("used.gguf");
    if (akv_engine_new(&engine, m, &limits, &why) != AKV_OK)
        fail_msg("%s", why.text);
    if (akv_submit(engine, &r, &ticket, &why) != AKV_OK)
        fail_msg("%s", why.text);
    assert_int_equal(akv_next_event(engine, &e, TIMEOUT_MS), AKV_OK);
    assert_int_equal(e.kind, AKV_EVENT_TOKEN);
    write_bytes("used.gguf", 0, "another header");
    e = last_event(engine);
    assert_int_equal(e.stop, AKV_STOP_ERROR);
    assert_int_equal(e.status, AKV_CORRUPT);
    assert_non_null(strstr(e.message, "was written to while it is in use"));
    akv_engine_free(engine);
    akv_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_of_a_load_fail),
        cmocka_unit_test(allocations_of_a_talk_fail),
        cmocka_unit_test(reads_of_a_load_fail),
        cmocka_unit_test(a_file_that_shrinks_in_a_load_is_refused),
        cmocka_unit_test(a_file_changed_in_use_is_refused),
        cmocka_unit_test(a_file_changed_under_an_answer_ends_it),
        cmocka_unit_test(a_file_cut_short_is_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_file_replaced_in_use_stays),
    };
    return cmocka_run_group_tests_name("model fault", tests, make_files, remove_files);
}
