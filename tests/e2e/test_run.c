/* run as a user meets it: one answer to a prompt, a file or a pipe, and whole conversations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "support/program.h"

#define RUN(...) WORDS("akvifer", "run", "-c", "1024", __VA_ARGS__)
#define RAW(...) RUN("--raw", "-q", "--temp", "0", __VA_ARGS__)

static const char *const SMOLLM2 = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
static const char *const GEMMA3 = "models/gemma-3-270m-q4_k_m.gguf";
static const char FRANCE[] = "The capital of France is"; // greedy: " Paris", ".", "\n", "\n", "The"
static const char PROMPT[] = "\033[1m>\033[0m ";

/* ---- one answer ---- */

static json_t *answer_of(const char *const *words, const char *input)
{
    struct program_end end;
    program_run(&end, words, input, input ? strlen(input) : 0);
    if (end.exit_code != 0)
        fail_msg("exit code %d: %s", end.exit_code, buf_text(&end.err));
    json_t *answer = json_loadb(end.out.bytes, end.out.len, 0, NULL);
    assert_non_null(answer);
    program_end_close(&end);
    return answer;
}

static const char *text_of(const json_t *answer, const char *key)
{
    return json_string_value(json_object_get(answer, key));
}

static json_int_t usage_of(const json_t *answer, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(answer, "usage"), key));
}

static void expect_ids(const json_t *answer, const int *id, size_t n)
{
    const json_t *got = json_object_get(answer, "ids");
    assert_int_equal(json_array_size(got), n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(json_integer_value(json_array_get(got, i)), id[i]);
}

/* The reference's first tokens, which it prefers clearly (margins of 0.8 and more). */
static void greedy_continues_as_the_reference(void **state)
{
    (void)state;
    json_t *a = answer_of(RAW("--json", "-n", "5", "-p", FRANCE), NULL);
    expect_ids(a, (int[]){ 7042, 30, 198, 198, 504 }, 5);
    assert_string_equal(text_of(a, "text"), " Paris.\n\nThe");
    assert_string_equal(text_of(a, "stop"), "length");
    assert_int_equal(usage_of(a, "prompt_tokens"), 5);
    assert_int_equal(usage_of(a, "completion_tokens"), 5);
    json_decref(a);
}

/* At the start whence a policy's shares are and what it cannot touch; behind the answer what became of rows. */
static void a_policy_says_what_it_did(void **state)
{
    (void)state;
    json_t *a = answer_of(RAW("--json", "-n", "3", "-p", FRANCE, "--kv-policy", "window"), NULL);
    const json_t *kv = json_object_get(json_object_get(a, "akvifer"), "kv");
    assert_true(strncmp(text_of(kv, "policy"), "window:budget=20%", 17) == 0);
    assert_int_equal(json_integer_value(json_object_get(kv, "kept_tokens")) +
                         json_integer_value(json_object_get(kv, "dropped_tokens")),
                     7);
    json_decref(a);
    program_expect(RUN("-n", "1", "-p", "Hi", "--kv-policy", "auto"), NULL, 0, "",
                   "kv profile           the program's own");
    if (access("models/gemma-3-270m-q4_k_m.gguf", R_OK) == 0)
        program_expect(RUN("-m", "gemma3", "-n", "1", "-p", "Hi", "--raw", "--kv-policy", "auto"),
                       NULL, 0, "",
                       "kv profile           none: `akvifer profile -m MODEL` measures one\n"
                       "kv windows           15 of 18 layers, which the policy leaves alone");
}

/* An answer that is no whole one says so, unless it is told to be quiet. */
static void a_cut_answer_says_so(void **state)
{
    (void)state;
    program_expect(WORDS("akvifer", "run", "--raw", "--temp", "0", "-n", "1", "-p", FRANCE), NULL,
                   0, " Paris\n", "(cut after 1 token: -n gives it more");
    program_expect(
        WORDS("akvifer", "run", "-c", "8", "--raw", "--temp", "0", "-n", "-1", "-p", FRANCE), NULL,
        0, " Paris.\n", "(cut: the context of 8 tokens is full; -c makes");
    program_expect(WORDS("akvifer", "run", "-q", "--raw", "--temp", "0", "-n", "1", "-p", FRANCE),
                   NULL, 0, " Paris\n", NULL);
}

/* A context longer than the model's is computed, with a warning; one that the memory cannot hold is refused. */
static void long_context_is_warned_of(void **state)
{
    (void)state;
    program_expect(WORDS("akvifer", "run", "-q", "--raw", "--temp", "0", "-c", "9000", "-n", "1",
                         "-p", FRANCE),
                   NULL, 0, " Paris\n",
                   "akvifer: warning: a context of 9000 tokens is asked for (-c), and this model "
                   "was trained for 8192");
    program_expect(WORDS("akvifer", "run", "-q", "-c", "1000000000", "-n", "1", "-p", "x"), NULL, 1,
                   NULL, "a context of 1000000000 tokens needs 23040000000000 bytes of KV, and ");
    program_expect(WORDS("akvifer", "run", "-q", "-c", "9000", "--kv-ram", "100M", "-p", "x"), NULL,
                   1, NULL, "the cap (--kv-ram) is 104857600; raise it to at least ");
}

/* The seed alone decides: not threads, steps, the form of the KV cache, nor the machine. */
static void same_seed_same_answer(void **state)
{
    (void)state;
    json_t *a = answer_of(RUN("-q", "--json", "-s", "7", "-n", "12", "-p", "Hello"), NULL);
    json_t *b = answer_of(
        RUN("-q", "--json", "-s", "7", "-n", "12", "-t", "1", "--kv-map", "table", "-ub", "8"),
        "Hello\n");
    expect_ids(a, (int[]){ 19556, 17, 8109, 288, 957, 1838, 3289, 30, 1073, 359, 346, 1834 }, 12);
    assert_true(json_equal(json_object_get(a, "ids"), json_object_get(b, "ids")));
    assert_string_equal(text_of(a, "text"), text_of(b, "text"));
    assert_int_equal(json_integer_value(json_object_get(a, "seed")), 7);
    json_decref(a);
    json_decref(b);
}

static void stop_texts_and_biases(void **state)
{
    (void)state;
    json_t *a =
        answer_of(RAW("--json", "-n", "5", "-p", FRANCE, "--stop", "never", "--stop", ".\n"), NULL);
    assert_string_equal(text_of(a, "text"), " Paris");
    assert_string_equal(text_of(a, "stop"), "text");
    json_decref(a);

    a = answer_of(
        RAW("--json", "-n", "2", "-p", FRANCE, "-l", "7042=-inf", "--logit-bias", "905+100"), NULL);
    expect_ids(a, (int[]){ 905, 905 }, 2);
    json_decref(a);
}

/* What the model reads shows in the count of tokens. */
static void other_templates_are_read(void **state)
{
    (void)state;
    const char *path = program_file("own.jinja", "{% for m in messages %}<|im_start|>{{ m.role }} "
                                                 "{{ m.content }}<|im_end|>{% endfor %}");
    json_t *a = answer_of(
        RUN("-q", "--json", "-n", "1", "-p", "Hello", "--chat-template-file", path), NULL);
    json_t *b = answer_of(RUN("-q", "--json", "-n", "1", "-p", "Hello", "-sys", "Hello",
                              "--chat-template-file", path),
                          NULL);
    assert_int_equal(usage_of(a, "prompt_tokens"), 4);
    assert_int_equal(usage_of(b, "prompt_tokens"), 8);
    json_decref(a);
    json_decref(b);
    program_expect(
        RUN("-p", "x", "--chat-template-file", program_file("bad.jinja", "a\n{% for %}")), NULL, 1,
        NULL, "line 2");
}

static void answers_go_to_standard_output(void **state)
{
    (void)state;
    program_expect(RUN("--raw", "--temp", "0", "-n", "2", "-p", FRANCE), NULL, 0, " Paris.\n",
                   "kv cap");
    program_expect(RAW("-n", "2", "-f", program_file("prompt", "The capital of France is\n")), NULL,
                   0, " Paris.\n", NULL);
    program_expect(RAW("-n", "2"), FRANCE, 0, " Paris.\n", NULL);
}

/* A copy of the default model whose name would clear the screen, and whose pre-tokenizer has no name. */
static const char *odd_model(void)
{
    const char *path = program_file("odd.gguf", "");
    char command[256];
    snprintf(command, sizeof command, "cp %s %s", SMOLLM2, path);
    assert_int_equal(system(command), 0);
    int fd = open(path, O_RDWR);
    struct stat s;
    assert_true(fd >= 0 && fstat(fd, &s) == 0);
    char *file = mmap(NULL, (size_t)s.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(file != MAP_FAILED);
    char *name = memmem(file, 1 << 16, "general.name", 12);
    char *pre = memmem(file, 1 << 20, "tokenizer.ggml.pre", 18);
    assert_true(name && pre);
    memcpy(name + 12 + 4 + 8, "\033[2J", 4); // behind the type and the length
    pre[17] = '_';
    munmap(file, (size_t)s.st_size);
    close(fd);
    return path;
}

static void odd_models_are_told_of_but_do_not_steer(void **state)
{
    (void)state;
    struct program_end end;
    program_run(&end, RUN("--raw", "-m", odd_model(), "-n", "1", "-p", "Hi"), NULL, 0);
    assert_int_equal(end.exit_code, 0);
    assert_non_null(strstr(end.err.bytes, "no pre-tokenizer: 'default' is used"));
    assert_non_null(strstr(end.err.bytes, "model      ?[2J"));
    assert_null(strchr(end.err.bytes, '\033'));
    program_end_close(&end);
}

/* Whoever cannot be told an answer does not wait for all of it, which would take minutes. */
static void words_that_cannot_be_written_end_it(void **state)
{
    (void)state;
    const char *const *words =
        WORDS("akvifer", "run", "-q", "--ignore-eos", "-c", "8192", "-p", "Tell me a story");
    program_expect_to(words, "/dev/full", 1, "cannot write the answer: No space left on device");
    program_expect_to(words, NULL, 1, "cannot write the answer: Bad file descriptor");
}

static void a_model_without_template_continues(void **state)
{
    (void)state;
    if (access(GEMMA3, R_OK) != 0)
        skip();
    program_expect(RUN("-m", "gemma3", "--temp", "0", "-n", "2"), FRANCE, 0, " the capital\n",
                   "no chat template");
    program_expect(RUN("-m", "gemma3", "-q", "-sys", "Be kind", "-p", "Hi"), NULL, 2, NULL,
                   "system prompt");
}

static void nothing_to_answer(void **state)
{
    (void)state;
    const char *const words = "nothing to answer";
    program_expect(WORDS("akvifer", "run"), NULL, 2, NULL, words);
    program_expect(WORDS("akvifer", "run"), program_closed, 2, NULL, words);
    program_expect(WORDS("akvifer", "run"), "\n", 2, NULL, words);
    program_expect(RUN("-p", ""), "unread", 2, NULL, words);
    program_expect(RUN("-f", program_file("empty", "")), NULL, 2, NULL, words);
    program_expect(WORDS("akvifer", "run", "--kv-policy", "help"), NULL, 0, "sentencekv", NULL);
}

static void wrong_flags(void **state)
{
    (void)state;
    program_expect(RUN("--temprature", "1"), NULL, 2, NULL, "--temp");
    program_expect(RUN("--top-p", "1.5", "-p", "x"), NULL, 2, NULL, "0 to 1");
    program_expect(RUN("--kv-type", "int4", "-p", "x"), NULL, 2, NULL, "f16 f32 int8");
    program_expect(RUN("-l", "x=1", "-p", "x"), NULL, 2, NULL, "ID=VALUE");
    program_expect(RUN("-n", "0", "-p", "x"), NULL, 2, NULL, "--predict: 0 tokens are no answer");
    program_expect(RUN("-n", "-2", "-p", "x"), NULL, 2, NULL, "-2");
    program_expect(RUN("--help"), NULL, 0, "examples:", NULL);
}

static void wrong_requests(void **state)
{
    (void)state;
    const char *words = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    program_expect(RAW("-c", "16", "-p", words), NULL, 1, NULL, "the context holds 16");
    program_expect(RUN("-m", "nothing.gguf", "-p", "x"), NULL, 1, NULL, "nothing.gguf");
    program_expect(RUN("-f", "no/such/file"), NULL, 1, NULL, "no/such/file");
    program_expect(RAW("-n", "1", "-p", "x", "-l", "49152=1"), NULL, 1, NULL, "49152");
}

/* ---- the example of docs/ ---- */

static void the_example_answers(void **state)
{
    (void)state;
    program_expect(WORDS("example", "models/SmolLM2-135M-Instruct.Q4_1.gguf", "Say hello."), NULL,
                   0, " tokens]\n", NULL);
    program_expect(WORDS("example", "no-such-model.gguf", "Hi"), NULL, 1, NULL, "no-such-model");
    program_expect(WORDS("example"), NULL, 2, NULL, "usage");
}

/* ---- conversations ---- */

static void a_conversation(void **state)
{
    (void)state;
    struct terminal_user u;
    user_starts(&u, RUN("-n", "12", "-s", "1"));
    user_sees(&u, "akvifer 0.");
    user_sees(&u, "kernels ");
    user_sees(&u, "KV f16, 22.5 KiB a token: up to 1024 tokens");
    user_sees(&u, "MODEL=qwen2");
    user_types(&u, "Hello\r");
    user_sees(&u, " a second; 31 read, 0 of them reused");
    user_types(&u, "Go \\\ron\r"); // a message of two lines, over the KV of the first turn
    user_sees(&u, " a second; ");
    size_t from = u.read_to;
    user_sees(&u, " of them reused");
    assert_null(strstr(u.seen.bytes + from, " 0 of them reused"));
    user_types(&u, "/kv\r");
    user_sees(&u, "KV in use      ");
    user_sees(&u, " of 1024 tokens, 2 turns");
    user_sees(&u, "weights");
    user_types(&u, "/exit\r");
    assert_int_equal(user_leaves(&u), 0);
}

static void commands_are_obeyed(void **state)
{
    (void)state;
    struct terminal_user u;
    user_starts(&u, RUN("-n", "2", "-s", "1"));
    user_types(&u, "/etc/passwd?\r"); // no command: a message
    user_sees(&u, " a second; ");
    user_types(&u, "/clear\r");
    user_sees(&u, "(a new conversation)");
    user_types(&u, "/kv\r");
    user_sees(&u, "conversation   0 of 1024 tokens, 0 turns");
    user_types(&u, "/sytem x\r");
    user_sees(&u, "did you mean /system");
    user_types(&u, "/system Be brief.\r");
    user_sees(&u, "under this system prompt");
    user_types(&u, "Hi\r");
    user_sees(&u, " a second; 18 read, 3 of them reused"); // "<|im_start|>system\n" is the same
    user_types(&u, "/help\r");
    user_sees(&u, "/exit  ");
    user_types(&u, "\033[A\033[A\r"); // history: Hi
    user_sees(&u, "Hi\r\n");
    user_sees(&u, " a second; ");
    user_types(&u, "/exit\r");
    assert_int_equal(user_leaves(&u), 0);
}

/* A word of an answer, and a space behind it. */
static void user_sees_a_word(struct terminal_user *u)
{
    user_sees(u, " ");
    if (u->read_to < 2 || !isgraph((unsigned char)u->seen.bytes[u->read_to - 2]))
        fail_msg("no word is at the end of:\n%s", u->seen.bytes);
}

static void ctrl_c_stops_drops_and_leaves(void **state)
{
    (void)state;
    struct terminal_user u;
    user_starts(&u, RUN("--ignore-eos", "-s", "1"));
    user_sees(&u, PROMPT);
    user_types(&u, "Tell me a long story\r");
    user_sees(&u, "Tell me a long story\r\n");
    user_sees_a_word(&u); // of an answer without end
    user_types(&u, "\003");
    user_sees(&u, "(stopped)");
    user_sees(&u, PROMPT);
    user_types(&u, "dropped\003");
    user_sees(&u, "^C\r\n");
    user_sees(&u, "Ctrl-C again");
    user_sees(&u, PROMPT);
    user_types(&u, "\"\"\"/exit\rnot a command\"\"\"\r");
    user_sees(&u, "not a command\"\"\"\r\n");
    user_sees_a_word(&u);
    user_types(&u, "\003");
    user_sees(&u, "(stopped)");
    user_sees(&u, PROMPT);
    user_types(&u, "\003");
    user_sees(&u, "Ctrl-C again");
    user_sees(&u, PROMPT);
    user_types(&u, "\003");
    assert_int_equal(user_leaves(&u), 0);
}

static void ctrl_d_and_signals_end_it(void **state)
{
    (void)state;
    struct terminal_user u;
    user_starts(&u, WORDS("akvifer", "run", "-c", "1024"));
    user_sees(&u, PROMPT);
    user_types(&u, "\004");
    assert_int_equal(user_leaves(&u), 0);

    user_starts(&u, WORDS("akvifer", "run", "-c", "1024"));
    user_sees(&u, PROMPT);
    assert_int_equal(kill(u.pid, SIGTERM), 0);
    assert_int_equal(user_leaves(&u), 128 + SIGTERM);

    user_starts(&u, WORDS("akvifer", "run", "-c", "1024"));
    user_sees(&u, PROMPT);
    user_types(&u, "\034"); // Ctrl-\ ends it like the others
    assert_int_equal(user_leaves(&u), 128 + SIGQUIT);

    user_starts(&u, RUN("--ignore-eos", "-p", "Hi")); // an answer without end
    user_sees(&u, "kv cap");
    user_types(&u, "\003");
    assert_int_equal(user_leaves(&u), 128 + SIGINT);
}

static bool is_typed_by_line(const struct terminal_user *u)
{
    struct termios modes;
    assert_int_equal(tcgetattr(u->fd, &modes), 0);
    return (modes.c_lflag & ICANON) != 0;
}

/* A shell gives the terminal back in its own modes: Ctrl-Z, then fg. */
static void back_from_a_stop_the_prompt_edits_again(void **state)
{
    (void)state;
    struct terminal_user u;
    struct termios modes;
    int status;
    user_starts(&u, WORDS("akvifer", "run", "-c", "1024"));
    user_sees(&u, PROMPT);
    assert_false(is_typed_by_line(&u));
    assert_int_equal(kill(u.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(u.pid, &status, WUNTRACED), u.pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(tcgetattr(u.fd, &modes), 0);
    modes.c_lflag |= ICANON | ECHO;
    assert_int_equal(tcsetattr(u.fd, TCSANOW, &modes), 0);
    assert_int_equal(kill(u.pid, SIGCONT), 0);
    user_sees(&u, PROMPT);
    assert_false(is_typed_by_line(&u));
    user_types(&u, "\004");
    assert_int_equal(user_leaves(&u), 0);
}

static void a_full_context_says_so(void **state)
{
    (void)state;
    struct terminal_user u;
    user_starts(&u, RUN("-c", "64", "--ignore-eos", "-s", "1"));
    user_types(&u, "Hello\r");
    user_sees(&u, "the context is full, 64 tokens");
    user_sees(&u, PROMPT);
    user_types(&u, "More\r");
    user_sees(&u, "the context holds 64");
    user_sees(&u, "/clear starts over");
    user_types(&u, "/clear\r");
    user_sees(&u, "(a new conversation)");
    user_types(&u, "Hello\r");
    user_sees(&u, "the context is full, 64 tokens");
    user_sees(&u, PROMPT);
    user_types(&u, "\004");
    assert_int_equal(user_leaves(&u), 0);
}

static void no_color_when_asked(void **state)
{
    (void)state;
    struct terminal_user u;
    setenv("NO_COLOR", "1", 1);
    user_starts(&u, WORDS("akvifer", "run", "-c", "1024"));
    unsetenv("NO_COLOR");
    user_sees(&u, "commands.\r\n");
    user_sees(&u, "> ");
    assert_null(strstr(u.seen.bytes, "\033[1m"));
    assert_null(strstr(u.seen.bytes, "\033[2m"));
    user_types(&u, "/exit\r");
    assert_int_equal(user_leaves(&u), 0);
}

int main(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }); // Ctrl-\ would leave one
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_continues_as_the_reference),
        cmocka_unit_test(a_policy_says_what_it_did),
        cmocka_unit_test(a_cut_answer_says_so),
        cmocka_unit_test(long_context_is_warned_of),
        cmocka_unit_test(same_seed_same_answer),
        cmocka_unit_test(stop_texts_and_biases),
        cmocka_unit_test(other_templates_are_read),
        cmocka_unit_test(answers_go_to_standard_output),
        cmocka_unit_test(odd_models_are_told_of_but_do_not_steer),
        cmocka_unit_test(words_that_cannot_be_written_end_it),
        cmocka_unit_test(a_model_without_template_continues),
        cmocka_unit_test(nothing_to_answer),
        cmocka_unit_test(wrong_flags),
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(the_example_answers),
        cmocka_unit_test(a_conversation),
        cmocka_unit_test(commands_are_obeyed),
        cmocka_unit_test(ctrl_c_stops_drops_and_leaves),
        cmocka_unit_test(ctrl_d_and_signals_end_it),
        cmocka_unit_test(back_from_a_stop_the_prompt_edits_again),
        cmocka_unit_test(a_full_context_says_so),
        cmocka_unit_test(no_color_when_asked),
    };
    return cmocka_run_group_tests(tests, program_folder_make, program_folder_remove);
}
