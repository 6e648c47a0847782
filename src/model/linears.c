/* model/linears.c - matrices that share their input. Panels of outputs are tasks; of many rows each thread has a slice.
 *
 *   few rows    thread 0: all rows x its panels of all matrices     a weight is read and unpacked once
 *   many        thread 0: its slice of rows x all panels            what a row is made of stays with one core
 *
 * What is done to rows alone (pass_rows) is dealt out in the same slices: norms and codes find them in the second cache
 * of their own core (prefill of smollm2 1.01 to 1.02x, two threads, Granite Rapids; a block is unpacked twice). */
#include "base/num.h"
#include "model/pass.h"

struct linears_job {
    struct pass *p;
    const struct pass_linear *linear;
    uint32_t at_once; // panels a task, all of one matrix
    uint32_t n_task;  // of a slice
    uint32_t n_slice;
};

/* The input's rows, whole tiles of them but for the last ones. */
uint32_t pass_n_slice(const struct pass *p)
{
    const uint32_t n_thread = workers_count(p->workers);
    return p->codes && p->acts.n_row >= SLICE_LEAST * n_thread ? n_thread : 1;
}

struct pass_slice pass_slice_at(const struct pass *p, uint32_t i, uint32_t n_slice)
{
    const uint64_t n_tile = (p->acts.n_row + ACTS_TILE - 1) / ACTS_TILE;
    const uint32_t first = (uint32_t)(n_tile * i / n_slice) * ACTS_TILE;
    const uint32_t last = (uint32_t)(n_tile * (i + 1) / n_slice) * ACTS_TILE;
    return (struct pass_slice){ first, min_u32(last, p->acts.n_row) - first };
}

static void bias_columns(float *y, const struct linear *w, uint32_t n_row, uint32_t first,
                         uint32_t last)
{
    for (uint32_t r = 0; w->bias && r < n_row; r++) {
        for (uint32_t o = first; o < last; o++)
            y[(size_t)r * w->w.n + o] += w->bias[o];
    }
}

static uint32_t tasks_of(const struct linears_job *job, const struct linear *l)
{
    return (l->w.n_panel + job->at_once - 1) / job->at_once;
}

static void linear_task(struct linears_job *job, const struct pass_linear *l, uint32_t task,
                        struct pass_slice slice, void *scratch)
{
    const struct packed *w = &l->w->w;
    const struct acts x = acts_slice(&job->p->acts, slice.first, slice.n);
    float *y = l->y + (size_t)slice.first * w->n;
    const uint32_t first = task * job->at_once, end = first + job->at_once;
    const uint32_t last = end < w->n_panel ? end : w->n_panel;
    job->p->kern->matmul(w, first, last, &x, y, w->n, scratch);
    bias_columns(y, l->w, x.n_row, first * PANEL, last * PANEL < w->n ? last * PANEL : w->n);
}

static void linears_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct linears_job *job = arg;
    uint32_t task;
    while (portions_take(job->p->portion, n_part, part, &task)) {
        const struct pass_linear *l = job->linear;
        const struct pass_slice slice = pass_slice_at(job->p, task / job->n_task, job->n_slice);
        task %= job->n_task;
        for (; task >= tasks_of(job, l->w); l++)
            task -= tasks_of(job, l->w);
        linear_task(job, l, task, slice, job->p->thread[part].scratch);
    }
}

/* Many rows: two panels share what is read of the input. Few: taking a task interrupts the stream of weights (a locked
 * instruction waits for all before it), so large matrices are taken in pieces, but no larger than the ends can even
 * out. */
static uint32_t panels_at_once(const struct pass *p, const struct pass_linear *linear, uint32_t n)
{
    enum { FEW_ROWS = 16, TASKS = 32, MOST = 8 };
    uint32_t n_panel = 0, at_once;
    if (p->acts.n_row > FEW_ROWS)
        return 2;
    for (uint32_t i = 0; i < n; i++)
        n_panel += linear[i].w->w.n_panel;
    at_once = n_panel / (TASKS * workers_count(p->workers));
    return at_once < 1 ? 1 : at_once < MOST ? at_once : MOST;
}

void pass_linears(struct pass *p, enum profile_part part, const struct pass_linear *linear,
                  uint32_t n)
{
    struct linears_job job = { .p = p,
                               .linear = linear,
                               .at_once = panels_at_once(p, linear, n),
                               .n_slice = pass_n_slice(p) };
    for (uint32_t i = 0; i < n; i++)
        job.n_task += tasks_of(&job, linear[i].w);
    portions_deal(p->portion, workers_count(p->workers), job.n_task * job.n_slice);
    profile_run(&p->profile, part, p->workers, linears_part, &job);
}
