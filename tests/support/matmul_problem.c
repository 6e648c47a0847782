#include "support/matmul_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kernels/ref/matmul_fns.h"
#include "support/weights.h"

/* The rows of p in the form that the table wants, as ref quantises them; nothing is where they have nothing. */
static void problem_aim(struct problem *p, const struct kernels *k)
{
    memset(p->acts.at, 0xaa, acts_bytes(p->x.n_row, p->x.k));
    acts_place(&p->x, p->x.n_row, p->x.k, kernels_form(k, p->x.n_row), p->acts.at);
    if (p->x.k % QBLOCK == 0)
        ref_quantise(&p->x, 0, p->x.n_row);
    acts_leave_out(&p->x, k->reads_excess ? acts_offsets_of(p->w.type) : 0);
}

struct problem problem_new(enum dtype type, uint32_t n, uint32_t k, uint32_t n_row, struct rng *rng,
                           bool hostile)
{
    struct problem p = { 0 };
    assert_true(packed_shape(&p.w, type, n, k));
    p.rows = guard_new(n * dtype_bytes(type, k), 1);
    p.data = guard_new(p.w.n_panel * p.w.panel_bytes, 64);
    random_weights(p.rows.at, type, n, k, rng, hostile);
    packed_fill(&p.w, p.rows.at, p.data.at, 0, p.w.n_panel);
    p.w.data = p.data.at;

    p.f = guard_new((size_t)n_row * k * sizeof(float), 4);
    p.acts = guard_new(acts_bytes(n_row, k), 64);
    random_floats(p.f.at, (size_t)n_row * k, rng, hostile);
    p.x = (struct acts){ .n_row = n_row, .k = k, .f = p.f.at };
    return p;
}

void problem_free(struct problem *p)
{
    guard_free(&p->rows);
    guard_free(&p->data);
    guard_free(&p->f);
    guard_free(&p->acts);
}

static const float UNWRITTEN = -12345.0f;

struct guarded problem_outputs(const struct kernels *k, struct problem *p, uint32_t first,
                               uint32_t last, size_t stride)
{
    problem_aim(p, k);
    size_t n = (p->x.n_row - 1) * stride + p->w.n;
    struct guarded y = guard_new(n * sizeof(float), 4);
    struct guarded scratch = guard_new(matmul_scratch_bytes(&p->w), 64);
    float *at = y.at;
    for (size_t i = 0; i < n; i++)
        at[i] = UNWRITTEN;
    memset(scratch.at, 0xff,
           matmul_scratch_bytes(&p->w)); // NaNs: who reads before writing shows it
    k->matmul(&p->w, first, last, &p->x, at, stride, scratch.at);
    guard_free(&scratch);
    return y;
}

void problem_expect_equal(const struct kernels *k, const struct problem *p,
                          const struct guarded *want, const struct guarded *got, size_t stride)
{
    size_t n = (p->x.n_row - 1) * stride + p->w.n;
    size_t i = first_difference(want->at, got->at, n);
    if (i < n)
        fail_msg("%s, %s [%u][%u], %u rows: row %zu, output %zu is %a, not %a", k->name,
                 dtype_info(p->w.type)->name, p->w.n, p->w.k, p->x.n_row, i / stride, i % stride,
                 ((float *)got->at)[i], ((float *)want->at)[i]);
}
