/* model/unread.c - behind K and V of the last layer go only the rows whose logits somebody asks for.
 *
 *   a prompt of 512    rows of layers 1 .. n - 1, K and V of layer n: 512     the rest of layer n: its last row
 *
 * So a prefill is shorter by most of a layer: of smollm2 one of 30. No bit depends on it, as a row's result does not
 * depend on the other rows of its batch (M1). Where something is written down of a pass (model/taps.h), or rows
 * choose what they read (kv/select.h), all go on. */
#include <assert.h>
#include <string.h>

#include "base/num.h"
#include "model/pass.h"

bool pass_has_unread(const struct pass *p)
{
    const struct pass_taps *t = &p->taps;
    if (t->mass || t->queries || t->moments || t->hidden)
        return false;
    bool some = false;
    for (uint32_t s = 0; s < p->batch->n_seq; s++) {
        some |= p->batch->seq[s].n_unread > 0;
        if (p->batch->seq[s].select)
            return false;
    }
    return some;
}

/* What is left of a sequence, from row `first` on. */
static struct batch_seq seq_left(const struct batch_seq *seq, uint32_t first)
{
    struct batch_seq left = *seq;
    left.first_row = first;
    left.n_row -= seq->n_unread;
    left.position += seq->n_unread;
    left.n_unread = 0;
    return left;
}

static void move_rows(float *rows, size_t width, uint32_t to, uint32_t from, uint32_t n)
{
    memmove(rows + to * width, rows + from * width, n * width * sizeof *rows);
}

void pass_leave_unread(struct pass *p)
{
    const struct hparams *h = p->h;
    p->left = (struct batch){ .id = p->whole->id, .seq = p->left_seq };
    for (uint32_t s = 0; s < p->whole->n_seq; s++) {
        const struct batch_seq *seq = &p->whole->seq[s];
        const uint32_t to = p->left.n_row, from = seq->first_row + seq->n_unread;
        const uint32_t n = seq->n_row - seq->n_unread;
        if (n == 0)
            continue;
        p->left_seq[p->left.n_seq++] = seq_left(seq, to);
        p->left.n_row += n;
        move_rows(p->x, h->n_embd, to, from, n);
        for (int i = 0; i < (h->window ? N_ROPE : 1); i++)
            move_rows(p->angles[i], h->n_rot, to, from, n);
    }
    pass_aim(p, &p->left);
}

uint32_t pass_row_left(const struct pass *p, uint32_t row)
{
    uint32_t n_unread = 0;
    if (p->batch == p->whole)
        return row;
    for (uint32_t s = 0; s < p->whole->n_seq && p->whole->seq[s].first_row <= row; s++) {
        const struct batch_seq *seq = &p->whole->seq[s];
        n_unread += seq->n_unread;
        assert(row >= seq->first_row + min_u32(seq->n_unread, seq->n_row) ||
               row >= seq->first_row + seq->n_row);
    }
    return row - n_unread;
}
