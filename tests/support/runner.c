#include "support/runner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

enum { ROWS_MAX = 1024, RUNS_MAX = 16 };

void runner_open(struct runner *r, const struct runner_config *c)
{
    struct note why = { "" };
    const struct model_params params = { .path = c->path, .cpu = c->cpu, .n_thread = c->n_thread };
    *r = (struct runner){ 0 };
    if (model_open(&r->model, &params, &why) != OK)
        fail_msg("%s", why.text);
    r->n_vocab = model_hparams(r->model)->n_vocab;
    hparams_kv_shape(model_hparams(r->model), c->kv_type, &r->shape);
    const struct kv_pool_config pool = {
        .shape = &r->shape,
        .bytes_max = 12 * kv_sequence_bytes(&r->shape, c->n_position_max, c->n_position_max),
    };
    if (model_reserve(r->model, ROWS_MAX, &why) != OK || kv_pool_new(&r->pool, &pool, &why) != OK)
        fail_msg("%s", why.text);
    const struct kv_spaces_config spaces = {
        .pool = r->pool,
        .n_position_max = c->n_position_max,
        .table = c->table,
        .map_ahead = true,
    };
    if (kv_spaces_new(&r->spaces, &spaces, &why) != OK)
        fail_msg("%s", why.text);
}

void runner_close(struct runner *r)
{
    kv_spaces_free(r->spaces);
    kv_pool_free(r->pool);
    model_close(r->model);
}

void run_open(struct runner *r, struct run *s, const int32_t *ids)
{
    struct note why = { "" };
    *s = (struct run){ .ids = ids };
    if (kv_space_new(&s->space, r->spaces, &why) != OK)
        fail_msg("%s", why.text);
}

void run_close(struct run *s)
{
    kv_space_free(s->space);
}

/* Of a step of n rows those at its beginning whose logits are not asked for. */
static uint32_t unread(const struct run *s, uint32_t n)
{
    if (s->unread)
        return n;
    return s->n_last && s->n_last < n ? n - s->n_last : 0;
}

static void take_logits(struct runner *r, struct run *s, uint32_t first_row, uint32_t n)
{
    for (uint32_t done = unread(s, n); s->logits && done < n; done += LOGIT_ROWS) {
        const uint32_t m = n - done < LOGIT_ROWS ? n - done : LOGIT_ROWS;
        uint32_t row[LOGIT_ROWS];
        for (uint32_t i = 0; i < m; i++)
            row[i] = first_row + done + i;
        memcpy(s->logits + (size_t)(s->n_done + done) * r->n_vocab, model_logits(r->model, row, m),
               (size_t)m * r->n_vocab * sizeof(float));
    }
}

void run_step(struct runner *r, struct run *const *s, const uint32_t *n, uint32_t n_run)
{
    struct batch_seq seq[RUNS_MAX];
    int32_t ids[ROWS_MAX];
    struct batch b = { .id = ids, .seq = seq };
    for (uint32_t i = 0; i < n_run; i++) {
        if (n[i] == 0)
            continue;
        assert_int_equal(kv_space_grow(s[i]->space, s[i]->n_done + n[i]), OK);
        seq[b.n_seq++] = (struct batch_seq){
            .space = s[i]->space,
            .first_row = b.n_row,
            .n_row = n[i],
            .position = s[i]->n_done,
            .excerpt = s[i]->excerpt,
            .taps = s[i]->taps,
            .select = s[i]->select,
            .n_unread = unread(s[i], n[i]),
        };
        memcpy(ids + b.n_row, s[i]->ids + s[i]->n_done, n[i] * sizeof *ids);
        b.n_row += n[i];
    }
    model_forward(r->model, &b);
    for (uint32_t i = 0, row = 0; i < n_run; i++) {
        take_logits(r, s[i], row, n[i]);
        row += n[i];
        s[i]->n_done += n[i];
        kv_space_commit(s[i]->space, s[i]->n_done);
    }
}

void run_all(struct runner *r, const int32_t *ids, uint32_t n, uint32_t chunk, float *logits)
{
    struct run s;
    run_open(r, &s, ids);
    s.logits = logits;
    while (s.n_done < n)
        run_step(r, &(struct run *){ &s },
                 &(uint32_t){ n - s.n_done < chunk ? n - s.n_done : chunk }, 1);
    run_close(&s);
}
