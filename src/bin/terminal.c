#include "bin/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "bin/flags.h"

enum { STOP_ASKED = 1, END_ASKED = 2, REDRAW_ASKED = 4, RESIZE_ASKED = 8 };

static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCONT, SIGWINCH };
enum { N_CAUGHT = sizeof caught / sizeof *caught };

/* What signals asked for: a handler sets bits and wakes the poll of terminal_read, whatever thread
 * it runs on. */
static _Atomic int asked, end_signal;
static int wake[2] = { -1, -1 };
static struct sigaction before[N_CAUGHT];

static char *line; // what readline gave; NULL: end of input
static bool line_done;

bool terminal_is_there(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

static bool is_styled(void)
{
    return isatty(STDERR_FILENO) && !flags_environment("NO_COLOR");
}

/* ---- signals ---- */

static void on_signal(int number)
{
    int saved = errno;
    if (number == SIGINT)
        asked |= STOP_ASKED;
    else if (number == SIGCONT)
        asked |= REDRAW_ASKED;
    else if (number == SIGWINCH)
        asked |= RESIZE_ASKED;
    else {
        end_signal = number;
        asked |= END_ASKED;
    }
    if (write(wake[1], "", 1) < 0) { // full: it wakes all the same
    }
    errno = saved;
}

static void drain_wake(void)
{
    char bytes[64];
    while (read(wake[0], bytes, sizeof bytes) > 0) {
    }
}

bool terminal_interrupted(void)
{
    int was = atomic_fetch_and(&asked, ~STOP_ASKED);
    return (was & (STOP_ASKED | END_ASKED)) != 0;
}

/* ---- open and close ---- */

/* The locale decides whether readline knows that a character may have several bytes. */
static void set_locale(void)
{
    const char *name = setlocale(LC_CTYPE, "");
    if (!name || strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

enum status terminal_open(struct note *why)
{
    if (pipe2(wake, O_NONBLOCK | O_CLOEXEC) != 0) {
        note_set(why, "cannot open a pipe for signals: %m");
        return IO_ERROR;
    }
    for (int i = 0; i < N_CAUGHT; i++) {
        const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
        sigaction(caught[i], &action, &before[i]);
    }
    set_locale();
    rl_readline_name = "akvifer";
    rl_instream = stdin;
    rl_outstream = stderr;
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_bind_key('\t', rl_insert);
    using_history();
    return OK;
}

void terminal_close(void)
{
    if (wake[0] < 0)
        return;
    for (int i = 0; i < N_CAUGHT; i++)
        sigaction(caught[i], &before[i], NULL);
    close(wake[0]);
    close(wake[1]);
    wake[0] = wake[1] = -1;
    clear_history();
    if (end_signal) {
        signal(end_signal, SIG_DFL);
        raise(end_signal);
    }
}

/* ---- lines ---- */

static void on_line(char *text)
{
    line = text;
    line_done = true;
    rl_callback_handler_remove();
}

/* After Ctrl-C: the line is dropped, and the cursor goes below it. */
static void drop_line(void)
{
    rl_free_line_state();
    rl_callback_sigcleanup();
    rl_callback_handler_remove();
    fputs("^C\n", stderr);
}

/* What signals ask for while a line is typed. OK: go on. */
static enum status obey_signals(void)
{
    drain_wake();
    int was = atomic_exchange(&asked, 0);
    if (was & END_ASKED) {
        rl_callback_handler_remove();
        asked |= END_ASKED;
        return NOT_FOUND;
    }
    if (was & STOP_ASKED) {
        drop_line();
        return CANCELED;
    }
    if (was & RESIZE_ASKED)
        rl_resize_terminal();
    if (was & REDRAW_ASKED) { // back from Ctrl-Z: the shell has changed the terminal's modes
        rl_deprep_terminal(); // which readline does not know, and would leave so
        rl_prep_terminal(1);
        rl_forced_update_display();
    }
    return OK;
}

static enum status read_line(const char *prompt)
{
    line_done = false;
    rl_callback_handler_install(prompt, on_line);
    while (!line_done) {
        struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                               { .fd = wake[0], .events = POLLIN } };
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            rl_callback_handler_remove();
            return NOT_FOUND;
        }
        if (p[1].revents) {
            enum status st = obey_signals();
            if (st != OK)
                return st;
        } else if (p[0].revents) {
            rl_callback_read_char();
        }
    }
    if (line)
        return OK;
    fputc('\n', stderr);
    return NOT_FOUND;
}

/* ---- messages ---- */

static const char *prompt_of(bool first)
{
    if (!is_styled())
        return first ? "> " : ". ";
    return first ? "\001\033[1m\002>\001\033[0m\002 " : "\001\033[2m\002.\001\033[0m\002 ";
}

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len >= n && memcmp(text + len - n, end, n) == 0;
}

/* Adds a line to the message. True: the message goes on. */
static bool add_line(struct buf *out, const char *text, bool *quoted)
{
    size_t len = strlen(text);
    bool opens = out->len == 0 && !*quoted && strncmp(text, "\"\"\"", 3) == 0;
    if (opens) {
        *quoted = true;
        text += 3;
        len -= 3;
    }
    if (*quoted && ends_with(text, len, "\"\"\"")) {
        buf_add(out, text, len - 3);
        return false;
    }
    if (!*quoted && ends_with(text, len, "\\")) {
        buf_add(out, text, len - 1);
        buf_add_byte(out, '\n');
        return true;
    }
    buf_add(out, text, len);
    if (*quoted && !(opens && len == 0))
        buf_add_byte(out, '\n');
    return *quoted;
}

static void remember(const char *text)
{
    HIST_ENTRY *last = history_length ? history_get(history_base + history_length - 1) : NULL;
    if (*text && (!last || strcmp(last->line, text) != 0))
        add_history(text);
}

static enum status read_message(struct buf *out)
{
    bool quoted = false, more = true;
    for (bool first = true; more; first = false) {
        enum status st = read_line(prompt_of(first));
        if (st == NOT_FOUND && !first && !(asked & END_ASKED))
            break; // Ctrl-D ends a message, and then the conversation
        if (st != OK)
            return st;
        more = add_line(out, line, &quoted);
        rl_free(line);
    }
    remember(buf_text(out));
    return OK;
}

enum status terminal_read(struct buf *out)
{
    static bool dropped; // the last message
    atomic_fetch_and(&asked, ~STOP_ASKED);
    buf_clear(out);
    enum status st = read_message(out);
    if (st == CANCELED && dropped)
        st = NOT_FOUND;
    else if (st == CANCELED)
        terminal_remark("(Ctrl-C again, Ctrl-D or /exit leaves)");
    dropped = st == CANCELED;
    return st;
}

void terminal_remark(const char *format, ...)
{
    bool styled = is_styled();
    va_list ap;
    va_start(ap, format);
    if (styled)
        fputs("\033[2m", stderr);
    vfprintf(stderr, format, ap);
    fputs(styled ? "\033[0m\n" : "\n", stderr);
    va_end(ap);
}
