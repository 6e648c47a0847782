#include "bin/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bin/show.h"
#include "os/clock.h"

enum { BAR = 12 }; // so that all of the line fits 80 columns
static const uint64_t APPEAR_NS = 500000000, REDRAW_NS = 100000000;

static struct shown_amount amount(const struct progress *p, uint64_t n)
{
    return p->unit == PROGRESS_BYTES ? show_bytes(n) : show_count(n);
}

void progress_begin(struct progress *p, const char *label, enum progress_unit unit, uint64_t first,
                    uint64_t total)
{
    *p = (struct progress){ .unit = unit, .first = first, .total = total, .start_ns = os_now_ns() };
    snprintf(p->label, sizeof p->label, "%s", label);
    p->on = isatty(STDERR_FILENO);
}

static int add_bar(char *out, size_t room, uint64_t done, uint64_t total)
{
    char bar[BAR + 1];
    double part = (double)done / (double)total;
    int full = (int)(part * BAR);
    memset(bar, '-', BAR);
    memset(bar, '#', (size_t)full);
    bar[BAR] = 0;
    return snprintf(out, room, "  [%s]  %3.0f%%", bar, part * 100);
}

void progress_line(const struct progress *p, uint64_t done, double seconds, int width,
                   char out[PROGRESS_LINE])
{
    uint64_t known = p->total && done > p->total ? p->total : done;
    double rate = seconds > 0 ? (double)(done - p->first) / seconds : 0;
    int n = snprintf(out, PROGRESS_LINE, "%s", p->label);
    if (p->total)
        n += add_bar(out + n, (size_t)(PROGRESS_LINE - n), known, p->total);
    n += snprintf(out + n, (size_t)(PROGRESS_LINE - n), "  %s", amount(p, done).text);
    if (p->total)
        n += snprintf(out + n, (size_t)(PROGRESS_LINE - n), " of %s", amount(p, p->total).text);
    n += snprintf(out + n, (size_t)(PROGRESS_LINE - n), "  %s/s", amount(p, (uint64_t)rate).text);
    if (p->total && rate > 0)
        snprintf(out + n, (size_t)(PROGRESS_LINE - n), "  %s left",
                 show_seconds((uint64_t)((double)(p->total - known) / rate + 0.5)).text);
    if (width > 0 && width < PROGRESS_LINE)
        out[width] = 0;
}

static int terminal_width(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col - 1 : 79;
}

void progress_at(struct progress *p, uint64_t done)
{
    char line[PROGRESS_LINE];
    if (!p->on)
        return;
    const uint64_t now = os_now_ns();
    if (now - p->start_ns < APPEAR_NS || now - p->drawn_ns < REDRAW_NS)
        return;
    p->drawn_ns = now;
    progress_line(p, done, (double)(now - p->start_ns) * 1e-9, terminal_width(), line);
    fprintf(stderr, "\r\033[K%s", line);
}

void progress_end(struct progress *p)
{
    if (p->on && p->drawn_ns)
        fputs("\r\033[K", stderr);
    p->on = false;
}
