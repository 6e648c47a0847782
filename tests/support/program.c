#include "support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

const char program_closed[] = "";

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void path_of(char *out, size_t room, const char *program)
{
    const char *folder = getenv("B");
    if (strchr(program, '/'))
        snprintf(out, room, "%s", program);
    else
        snprintf(out, room, "%s/%s", folder ? folder : "build", program);
}

/* In the child: becomes the program. */
static void become(const char *const *words)
{
    char path[256];
    path_of(path, sizeof path, words[0]);
    execv(path, (char *const *)words);
    fprintf(stderr, "cannot run %s: %s\n", path, strerror(errno));
    _exit(127);
}

static int exit_code_of(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Appends what is there. False: the other side closed. */
static bool take(int fd, struct buf *out)
{
    char chunk[4096];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n > 0)
        buf_add(out, chunk, (size_t)n);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* ---- with pipes ---- */

struct pipes {
    int in[2], out[2], err[2];
};

static const char TO_PIPE[] = "a pipe"; // as path: standard output is read

static void connect_child(const struct pipes *p, const char *input, const char *to)
{
    if (input == program_closed)
        close(0);
    else if (input)
        dup2(p->in[0], 0);
    else
        dup2(open("/dev/null", O_RDONLY), 0);
    if (to == TO_PIPE)
        dup2(p->out[1], 1);
    else if (to)
        dup2(open(to, O_WRONLY), 1);
    else
        close(1);
    dup2(p->err[1], 2);
}

/* Writes the input and reads both outputs as they come, until both are closed. */
static void exchange(struct pipes *p, pid_t pid, const char *input, size_t len,
                     struct program_end *end)
{
    double limit = now() + PROGRAM_SECONDS;
    size_t sent = 0;
    fcntl(p->in[1], F_SETFL, O_NONBLOCK);
    struct pollfd f[3] = { { .fd = p->in[1], .events = POLLOUT },
                           { .fd = p->out[0], .events = POLLIN },
                           { .fd = p->err[0], .events = POLLIN } };
    while (f[1].fd >= 0 || f[2].fd >= 0) {
        if (sent == len && f[0].fd >= 0) {
            close(f[0].fd);
            f[0].fd = -1;
        }
        if (now() > limit) {
            kill(pid, SIGKILL);
            fail_msg("it still ran after %d s: %s", PROGRAM_SECONDS, buf_text(&end->err));
        }
        poll(f, 3, 100);
        if (f[0].revents & POLLOUT) {
            ssize_t n = write(f[0].fd, input + sent, len - sent);
            sent += n > 0 ? (size_t)n : 0;
        } else if (f[0].revents) {
            sent = len; // it reads no more
        }
        if (f[1].revents && !take(f[1].fd, &end->out))
            f[1].fd = -1;
        if (f[2].revents && !take(f[2].fd, &end->err))
            f[2].fd = -1;
    }
}

static void run_to(struct program_end *end, const char *const *words, const char *input, size_t len,
                   const char *to)
{
    struct pipes p;
    *end = (struct program_end){ 0 };
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(p.in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(p.out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(p.err, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        connect_child(&p, input, to);
        become(words);
    }
    close(p.in[0]);
    close(p.out[1]);
    close(p.err[1]);
    exchange(&p, pid, input, len, end);
    close(p.out[0]);
    close(p.err[0]);
    end->exit_code = exit_code_of(pid);
}

void program_run(struct program_end *end, const char *const *words, const char *input, size_t len)
{
    run_to(end, words, input, len, TO_PIPE);
}

void program_end_close(struct program_end *end)
{
    buf_close(&end->out);
    buf_close(&end->err);
}

static void expect_end(const char *const *words, struct program_end *end, int exit_code,
                       const char *out, const char *err)
{
    bool good = end->exit_code == exit_code;
    good &= out ? strstr(buf_text(&end->out), out) != NULL : end->out.len == 0;
    good &= err ? strstr(buf_text(&end->err), err) != NULL : end->err.len == 0;
    if (!good)
        fail_msg("%s %s %s ...: exit code %d\n%s%s", words[0], words[1] ? words[1] : "",
                 words[1] && words[2] ? words[2] : "", end->exit_code, buf_text(&end->out),
                 buf_text(&end->err));
    program_end_close(end);
}

void program_expect(const char *const *words, const char *input, int exit_code, const char *out,
                    const char *err)
{
    struct program_end end;
    program_run(&end, words, input, input ? strlen(input) : 0);
    expect_end(words, &end, exit_code, out, err);
}

void program_expect_to(const char *const *words, const char *path, int exit_code, const char *err)
{
    struct program_end end;
    run_to(&end, words, NULL, 0, path);
    expect_end(words, &end, exit_code, NULL, err);
}

/* ---- files ---- */

static char folder[] = "/tmp/akv-test-XXXXXX";

int program_folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

int program_folder_remove(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

const char *program_file(const char *name, const char *text)
{
    static char path[4][128];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    FILE *f = fopen(p, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return p;
}

/* ---- on a terminal ---- */

void user_starts(struct terminal_user *u, const char *const *words)
{
    const struct winsize size = { .ws_row = 24, .ws_col = 100 };
    *u = (struct terminal_user){ 0 };
    u->pid = forkpty(&u->fd, NULL, NULL, &size);
    assert_true(u->pid >= 0);
    if (u->pid == 0) {
        setenv("TERM", "xterm", 1);
        become(words);
    }
}

void user_types(struct terminal_user *u, const char *text)
{
    assert_int_equal(write(u->fd, text, strlen(text)), strlen(text));
}

void user_sees(struct terminal_user *u, const char *text)
{
    double limit = now() + PROGRAM_SECONDS;
    for (;;) {
        const char *found = strstr(buf_text(&u->seen) + u->read_to, text);
        if (found) {
            u->read_to = (size_t)(found - u->seen.bytes) + strlen(text);
            return;
        }
        struct pollfd p = { .fd = u->fd, .events = POLLIN };
        poll(&p, 1, 100);
        bool open = !p.revents || take(u->fd, &u->seen);
        if (open && now() < limit)
            continue;
        if (strstr(buf_text(&u->seen) + u->read_to, text))
            continue;
        kill(u->pid, SIGKILL);
        fail_msg("'%s' did not come; on the screen is:\n%s", text, buf_text(&u->seen) + u->read_to);
    }
}

int user_leaves(struct terminal_user *u)
{
    double limit = now() + PROGRAM_SECONDS;
    struct pollfd p = { .fd = u->fd, .events = POLLIN };
    while (!p.revents || take(u->fd, &u->seen)) {
        poll(&p, 1, 100);
        if (now() < limit)
            continue;
        kill(u->pid, SIGKILL);
        fail_msg("it did not end; on the screen is:\n%s", buf_text(&u->seen));
    }
    int code = exit_code_of(u->pid);
    struct termios modes;
    assert_int_equal(tcgetattr(u->fd, &modes), 0);
    assert_int_equal(modes.c_lflag & (ICANON | ECHO), ICANON | ECHO);
    close(u->fd);
    buf_close(&u->seen);
    return code;
}
