#include "bin/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/file.h"

extern char **environ;

/* `what` is an argument; in and out become its standard input and output. */
static enum status run_gnuplot(const char *what, int in, int out, struct note *why)
{
    char *argv[] = { (char *)"gnuplot", (char *)"--default-settings", (char *)what, NULL };
    posix_spawn_file_actions_t files;
    pid_t pid;
    int end = 0;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    errno = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (errno != 0) {
        note_set(why,
                 "--plot needs gnuplot, and it does not start: %m; apt-get install gnuplot-nox");
        return IO_ERROR;
    }
    while (waitpid(pid, &end, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(end) && WEXITSTATUS(end) == 0)
        return OK;
    note_set(why, "gnuplot cannot draw the plot: its words are above");
    return IO_ERROR;
}

static enum status check_gnuplot(struct note *why)
{
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    const enum status st = run_gnuplot("--version", nothing, nothing, why);
    if (nothing >= 0)
        close(nothing);
    return st;
}

/* In single quotes only a quote means something. */
void gnuplot_add_quoted(struct buf *out, const char *text)
{
    buf_add_byte(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_add_byte(out, '\'');
        buf_add_byte(out, (unsigned char)*text < 0x20 ? '?' : *text);
    }
    buf_add_byte(out, '\'');
}

enum status gnuplot_open(struct gnuplot *p, const char *path, struct note *why)
{
    *p = (struct gnuplot){ .path = path, .fd = -1 };
    enum status st = check_gnuplot(why);
    if (st != OK)
        return st;
    p->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (p->fd >= 0)
        return OK;
    note_set(why, "cannot write '%s': %m", path);
    return IO_ERROR;
}

enum status gnuplot_draw(struct gnuplot *p, const struct buf *script, struct note *why)
{
    enum status st = FULL;
    const int in = memfd_create("plot", MFD_CLOEXEC);
    if (in < 0 || script->failed) {
        note_set(why, "no memory for the plot");
        goto done;
    }
    st = file_write(in, script->bytes, script->len, "the plot's script", why);
    if (st == OK && lseek(in, 0, SEEK_SET) != 0) {
        note_set(why, "cannot go to the start of the plot's script: %m");
        st = IO_ERROR;
    }
    if (st == OK)
        st = run_gnuplot("-", in, p->fd, why);
done:
    if (in >= 0)
        close(in);
    return st;
}

void gnuplot_close(struct gnuplot *p)
{
    if (p->fd >= 0 && lseek(p->fd, 0, SEEK_END) == 0)
        (void)unlink(p->path);
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}
