/* model/gated.c - gate, up, what comes of both, and its codes, of 32 columns at a time: a block of what `down` reads.
 *
 *   x codes --two panels of gate, of up--> [rows][32] of each, this thread's --gate--> --quantise--> a block's codes
 *
 * So neither leaves the second cache. Whole ones are 6 MB a layer in a prefill of 512 tokens of a small model, and went
 * to the third cache and back (1.03x, both cores of a Granite Rapids with AMX; Zen 4 as AVX2 has it, together with slices
 * of rows: 1.00 to 1.03x). Nor is there memory for whole ones of many rows: `gate` has what threads work in, `up` the
 * codes, so that a step of 512 tokens of qwen2 takes 28 MiB and not 45. */
#include "base/num.h"
#include "model/pass.h"

enum { GATED_LEAST = 64, GATED_MOST = 512 }; // rows: of a batch, and at a time

struct gated_job {
    struct pass *p;
    const struct packed *gate, *up;
    kern_gate *fn;
    struct acts out;
    uint32_t n_slice;
    size_t n_float; // of a thread's [rows][32]; it has two of them
};

/* Two panels of a matrix, as one. */
static struct packed block_of(const struct packed *w, uint32_t block)
{
    struct packed two = *w;
    two.data += (size_t)block * (QBLOCK / PANEL) * w->panel_bytes;
    two.n = QBLOCK;
    two.n_panel = QBLOCK / PANEL;
    return two;
}

static void gated_rows(struct gated_job *job, uint32_t block, uint32_t first, uint32_t n,
                       uint32_t worker)
{
    const struct kernels *kern = job->p->kern;
    const struct packed gate = block_of(job->gate, block), up = block_of(job->up, block);
    const struct acts x = acts_slice(&job->p->acts, first, n);
    float *g = job->p->gate + 2 * worker * job->n_float, *u = g + job->n_float;
    void *scratch = job->p->thread[worker].scratch;
    kern->matmul(&gate, 0, gate.n_panel, &x, g, QBLOCK, scratch);
    kern->matmul(&up, 0, up.n_panel, &x, u, QBLOCK, scratch);
    job->fn(g, g, u, n * QBLOCK);
    struct acts column = acts_column(&job->out, first, n, block, g);
    kern->quantise(&column, 0, n);
}

static void gated_part(void *arg, uint32_t part, uint32_t n_part)
{
    struct gated_job *job = arg;
    const uint32_t n_block = job->p->h->n_ff / QBLOCK;
    uint32_t task;
    while (portions_take(job->p->portion, n_part, part, &task)) {
        const struct pass_slice s = pass_slice_at(job->p, task / n_block, job->n_slice);
        for (uint32_t r = 0; r < s.n; r += GATED_MOST)
            gated_rows(job, task % n_block, s.first + r, min_u32(s.n - r, GATED_MOST), part);
    }
}

/* One [rows][32]; a thread has two of them. */
static size_t floats_of(uint32_t n_row)
{
    return (size_t)min_u32(n_row, GATED_MOST) * QBLOCK;
}

/* What is quantised has inputs of whole blocks, so n_embd and n_ff are. */
static bool can_gate(const struct layer_weights *l)
{
    const struct linear *const all[] = { &l->gate, &l->up, &l->down };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->bias || !is_quantised(all[i]->w.type))
            return false;
    return true;
}

struct pass_gated pass_gated_of(const struct hparams *h, const struct weights *w, uint32_t n_thread,
                                uint32_t n_row)
{
    const size_t row = h->n_ff * sizeof(float), whole = n_row * row;
    const size_t of_few = min_u32(n_row, GATED_LEAST - 1) * row;
    const size_t of_threads = 2 * n_thread * floats_of(n_row) * sizeof(float);
    bool can = of_threads <= whole;
    for (uint32_t i = 0; i < h->n_layer && can; i++)
        can = can_gate(&w->layer[i]);
    if (!can)
        return (struct pass_gated){ UINT32_MAX, whole, whole };
    return (struct pass_gated){ .from = GATED_LEAST,
                                .gate_bytes = max_size(of_few, of_threads),
                                .up_bytes = max_size(of_few, acts_bytes(n_row, h->n_ff)) };
}

bool pass_gated_input(struct pass *p, const struct linear *gate, const struct linear *up,
                      enum pass_gate_kind kind)
{
    struct gated_job job = { .p = p,
                             .gate = &gate->w,
                             .up = &up->w,
                             .fn = kind == GATE_SILU ? p->kern->silu_gate : p->kern->gelu_gate,
                             .out.f = p->gate,
                             .n_slice = pass_n_slice(p),
                             .n_float = floats_of(p->n_row) };
    if (p->n_row < p->gated.from)
        return false;
    acts_place(&job.out, p->n_row, p->h->n_ff, kernels_form(p->kern, p->n_row), p->up);
    acts_leave_out(&job.out, p->offsets);
    portions_deal(p->portion, workers_count(p->workers), job.n_slice * (p->h->n_ff / QBLOCK));
    profile_run(&p->profile, PROFILE_GATE_UP, p->workers, gated_part, &job);
    p->acts = job.out;
    return true;
}
