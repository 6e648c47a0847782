/* tokenize and render as a user meets them: goldens, wrong lines, other templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/program.h"

static const char *const QWEN2 = "models/qwen2.5-coder-0.5b-q4_k_m.gguf";
static const char *const GEMMA3 = "models/gemma-3-270m-q4_k_m.gguf";

/* ---- goldens ---- */

struct golden {
    json_t *record[256];
    size_t n;
};

static void golden_open(struct golden *g, const char *file)
{
    char path[128], *line = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "tests/data/golden/%s", file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    g->n = 0;
    while (getline(&line, &room, f) > 0) {
        assert_true(g->n < 256);
        g->record[g->n] = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(g->record[g->n++]);
    }
    free(line);
    fclose(f);
}

static void golden_close(struct golden *g)
{
    for (size_t i = 0; i < g->n; i++)
        json_decref(g->record[i]);
}

/* A line of input for every record: its member `from` under the name `to`, and what else a
 * conversation has. */
static void golden_lines(const struct golden *g, const char *from, const char *to, struct buf *out)
{
    const char *const take[] = { from, "tools", "add_generation_prompt" };
    const char *const name[] = { to, "tools", "add_generation_prompt" };
    for (size_t i = 0; i < g->n; i++) {
        json_t *line = json_object();
        for (size_t k = 0; k < 3; k++)
            if (json_object_get(g->record[i], take[k]))
                json_object_set(line, name[k], json_object_get(g->record[i], take[k]));
        char *text = json_dumps(line, JSON_COMPACT);
        buf_add_text(out, text);
        buf_add_byte(out, '\n');
        free(text);
        json_decref(line);
    }
}

/* One way to run the program over a file of goldens, and what must come: `member` of each line
 * equals the record's first of `want` that is there. */
struct way {
    const char *const *words;
    const char *from, *to, *member, *want[2];
};

static void expect_line(const struct way *w, const json_t *record, const char *line, size_t len)
{
    json_t *got = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
    const json_t *want = json_object_get(record, w->want[0]);
    if (!want)
        want = json_object_get(record, w->want[1]);
    if (!got || !json_equal(json_object_get(got, w->member), want))
        fail_msg("%s of '%s': %.*s", w->want[0],
                 json_string_value(json_object_get(record, w->from)), (int)len, line);
    json_decref(got);
}

static void expect_golden(const struct golden *g, const struct way *w)
{
    struct buf lines = { 0 };
    struct program_end end;
    golden_lines(g, w->from, w->to, &lines);
    program_run(&end, w->words, lines.bytes, lines.len);
    assert_int_equal(end.exit_code, 0);
    const char *at = end.out.bytes;
    for (size_t i = 0; i < g->n; i++) {
        expect_line(w, g->record[i], at, strcspn(at, "\n"));
        at += strcspn(at, "\n") + 1;
    }
    assert_int_equal(*at, 0);
    buf_close(&lines);
    program_end_close(&end);
}

static void check_tokens(const char *model, const char *file)
{
    const struct way ways[] = {
        { WORDS("akvifer", "tokenize", "-m", model, "--jsonl"), "text", "text", "ids", { "ids" } },
        { WORDS("akvifer", "tokenize", "-m", model, "--jsonl", "--special"),
          "text",
          "text",
          "ids",
          { "ids_special" } },
        { WORDS("akvifer", "tokenize", "-m", model, "--jsonl", "--detokenize"),
          "ids",
          "ids",
          "text",
          { "detok", "text" } },
        { WORDS("akvifer", "tokenize", "-m", model, "--jsonl", "--detokenize", "--special"),
          "ids_special",
          "ids",
          "text",
          { "detok_special", "text" } },
    };
    struct golden g;
    golden_open(&g, file);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        expect_golden(&g, &ways[i]);
    golden_close(&g);
}

static void check_chats(const char *model, const char *file)
{
    struct way way = {
        WORDS("akvifer", "render", "-m", model), "messages", "messages", "rendered", { "rendered" }
    };
    struct golden g;
    golden_open(&g, file);
    expect_golden(&g, &way);
    way.member = way.want[0] = "ids";
    expect_golden(&g, &way);
    golden_close(&g);
}

static void goldens_of_smollm2(void **state)
{
    (void)state;
    check_tokens("smollm2", "tokens-smollm2.jsonl");
    check_chats("smollm2", "chat-smollm2.jsonl");
}

static void goldens_of_qwen2(void **state)
{
    (void)state;
    if (access(QWEN2, R_OK) != 0)
        skip();
    check_tokens("qwen2", "tokens-qwen2.jsonl");
    check_chats("qwen2", "chat-qwen2.jsonl");
}

static void goldens_of_gemma3(void **state)
{
    (void)state;
    if (access(GEMMA3, R_OK) != 0)
        skip();
    check_tokens("gemma3", "tokens-gemma3.jsonl");
    program_expect(WORDS("akvifer", "tokenize", "-m", "gemma3", "--bos", "-p", ""), NULL, 0,
                   "[2]\n", NULL);
}

/* ---- tokenize ---- */

static void there_and_back(void **state)
{
    (void)state;
    program_expect(WORDS("akvifer", "tokenize"), "Hello, world!", 0, "[19556, 28, 905, 17]\n",
                   NULL);
    program_expect(WORDS("akvifer", "tokenize"), NULL, 0, "[]\n", NULL);
    program_expect(WORDS("akvifer", "tokenize", "--pieces", "-p", "Hello,"), NULL, 0,
                   "   19556  \"Hello\"\n      28  \",\"\n", NULL);
    program_expect(WORDS("akvifer", "tokenize", "--special", "-p", "<|im_end|>"), NULL, 0, "[2]\n",
                   NULL);
    program_expect(WORDS("akvifer", "tokenize", "--detokenize"), "[19556, 28,905\n17]", 0,
                   "Hello, world!", NULL);
    program_expect(WORDS("akvifer", "tokenize", "-f", program_file("text", "Hello")), NULL, 0,
                   "[19556]\n", NULL);
}

static void wrong_lines_keep_their_place(void **state)
{
    (void)state;
    const char *input = "{\"text\": \"Hello\"}\n\n{\"text\": 1}\n{\"text\": \"Hello\"";
    struct program_end end;
    program_run(&end, WORDS("akvifer", "tokenize", "--jsonl"), input, strlen(input));
    assert_int_equal(end.exit_code, 1);
    assert_string_equal(end.out.bytes,
                        "{\"ids\": [19556]}\n"
                        "{\"error\": \"a line must be an object with a string \\\"text\\\"\"}\n"
                        "{\"error\": \"JSON, column 16: '}' expected near end of file\"}\n");
    assert_non_null(strstr(end.err.bytes, "line 3: "));
    assert_non_null(strstr(end.err.bytes, "line 4: "));
    program_end_close(&end);
}

static void lines_come_from_a_file_too(void **state)
{
    (void)state;
    const char *path = program_file("lines", "{\"text\": \"Hello\"}\n");
    program_expect(WORDS("akvifer", "tokenize", "--jsonl", "-f", path), "{\"text\": \"unread\"}", 0,
                   "{\"ids\": [19556]}\n", NULL);
    program_expect(WORDS("akvifer", "tokenize", "--jsonl", "-f", "/no/such"), NULL, 1, NULL,
                   "cannot open '/no/such'");
    program_expect(WORDS("akvifer", "tokenize", "--jsonl", "-p", "x"), NULL, 2, NULL, "-p");
}

static void wrong_ids_are_named(void **state)
{
    (void)state;
    program_expect(WORDS("akvifer", "tokenize", "--jsonl", "--detokenize"), "{\"ids\": [1, 49152]}",
                   1, "{\"error\": ", "49152");
    program_expect(WORDS("akvifer", "tokenize", "--jsonl", "--detokenize"), "{\"ids\": [1, -1]}", 1,
                   "{\"error\": ", "ids[1]");
    program_expect(WORDS("akvifer", "tokenize", "--detokenize", "-p", "1 x 2"), NULL, 1, NULL,
                   "'x'");
    program_expect(WORDS("akvifer", "tokenize", "-m", "nothing.gguf"), NULL, 1, NULL,
                   "nothing.gguf");
    program_expect(WORDS("akvifer", "tokenize", "-f", "/tmp"), NULL, 1, NULL, "/tmp: ");
}

/* ---- render ---- */

static void through_another_template(void **state)
{
    (void)state;
    const char *path = program_file("t.jinja", "{% for m in messages %}[{{ m.content }}]"
                                               "{% endfor %}<|im_end|>");
    program_expect(WORDS("akvifer", "render", "--template", path),
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"<|im_end|>\"}]}", 0,
                   "{\"rendered\": \"[<|im_end|>]<|im_end|>\", \"ids\": [75, 44, 108, 306, 79, "
                   "486, 108, 46, 77, 2]}\n",
                   NULL);
    program_expect(WORDS("akvifer", "render", "--template", program_file("bad.jinja", "{% for %}")),
                   NULL, 1, NULL, "bad.jinja");
}

static void wrong_conversations_are_named(void **state)
{
    (void)state;
    program_expect(WORDS("akvifer", "render"), "{\"messages\": [{\"content\": \"Hi\"}]}", 1,
                   "{\"error\": ", "messages[0]");
    program_expect(WORDS("akvifer", "render"), "[]", 1, "{\"error\": ", "\"messages\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goldens_of_smollm2),
        cmocka_unit_test(goldens_of_qwen2),
        cmocka_unit_test(goldens_of_gemma3),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(wrong_lines_keep_their_place),
        cmocka_unit_test(lines_come_from_a_file_too),
        cmocka_unit_test(wrong_ids_are_named),
        cmocka_unit_test(through_another_template),
        cmocka_unit_test(wrong_conversations_are_named),
    };
    return cmocka_run_group_tests(tests, program_folder_make, program_folder_remove);
}
