#include "bin/load_plot.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "os/file.h"

extern char **environ;

enum { N_POINT = 500 };
static const double LEAST_MS = 0.01; // a logarithmic axis has no 0

/* ---- the program ---- */

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

/* ---- the script ---- */

/* In single quotes only a quote means something. */
static void add_quoted(struct buf *out, const char *text)
{
    buf_add_byte(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_add_byte(out, '\'');
        buf_add_byte(out, (unsigned char)*text < 0x20 ? '?' : *text);
    }
    buf_add_byte(out, '\'');
}

static void add_points(struct buf *out, struct load_series *s)
{
    buf_add_text(out, "$curve << END\n");
    for (int i = 0; i <= N_POINT; i++) {
        const double q = (double)i / N_POINT;
        buf_addf(out, "%.6g %.6g\n", fmax(load_series_quantile(s, q), LEAST_MS), q);
    }
    buf_add_text(out, "END\n");
}

static void add_panel(struct buf *out, const char *name, const char *share, struct load_series *s)
{
    buf_addf(out, "set ylabel 'share of %s'\n", share);
    if (s->n == 0) {
        buf_addf(out, "set title '%s: none'\nplot [1:10] NaN notitle\n", name);
        return;
    }
    add_points(out, s);
    buf_addf(out, "set title '%s: p50 %.4g ms, p90 %.4g ms, p99 %.4g ms'\n", name,
             load_series_quantile(s, 0.5), load_series_quantile(s, 0.9),
             load_series_quantile(s, 0.99));
    buf_add_text(out, "plot $curve with lines linewidth 2 linecolor rgb '#1f6fb2' notitle\n");
}

static void add_script(struct buf *out, struct load_tally *t, const char *title)
{
    buf_add_text(out, "set terminal pngcairo noenhanced size 1280,520\n"
                      "set multiplot layout 1,2 title ");
    add_quoted(out, title);
    buf_add_text(out, "\nset logscale x\nset yrange [0:1]\nset xlabel 'ms'\n"
                      "set grid linecolor rgb '#d0d0d0'\n");
    add_panel(out, "time to first token", "requests", &t->first);
    add_panel(out, "inter-token latency", "gaps", &t->gap);
    buf_add_text(out, "unset multiplot\n");
}

/* ---- both ---- */

enum status load_plot_open(struct load_plot *p, const char *path, struct note *why)
{
    *p = (struct load_plot){ .path = path, .fd = -1 };
    enum status st = check_gnuplot(why);
    if (st != OK)
        return st;
    p->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (p->fd >= 0)
        return OK;
    note_set(why, "cannot write '%s': %m", path);
    return IO_ERROR;
}

enum status load_plot_draw(struct load_plot *p, struct load_tally *t, const char *title,
                           struct note *why)
{
    struct buf script = { 0 };
    enum status st = IO_ERROR;
    const int in = memfd_create("plot", MFD_CLOEXEC);
    add_script(&script, t, title);
    if (in < 0 || script.failed) {
        note_set(why, "no memory for the plot");
        goto done;
    }
    st = file_write(in, script.bytes, script.len, "the plot's script", why);
    if (st == OK && lseek(in, 0, SEEK_SET) != 0) {
        note_set(why, "cannot go to the start of the plot's script: %m");
        st = IO_ERROR;
    }
    if (st == OK)
        st = run_gnuplot("-", in, p->fd, why);
done:
    if (in >= 0)
        close(in);
    buf_close(&script);
    return st;
}

void load_plot_close(struct load_plot *p)
{
    if (p->fd >= 0 && lseek(p->fd, 0, SEEK_END) == 0)
        (void)unlink(p->path);
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}
