#include "model/encoder.h"

#include <pthread.h>
#include <string.h>

#include "base/kmeans.h"
#include "base/mem.h"
#include "model/encoder_in.h"
#include "model/recall.h"
#include "os/pages.h"

struct encoder {
    char *path;
    const struct kernels *kern;
    pthread_mutex_t lock; // of all that follows
    struct gguf *file;    // NULL: not read yet
    struct encoder_net net;
    struct recall recall;
};

enum status encoder_new(struct encoder **out, const char *path, const struct kernels *kern,
                        struct note *why)
{
    struct encoder *e = mem_new(1, sizeof *e);
    char *copy = mem_copy_text(path, strlen(path));
    if (!e || !copy) {
        note_set(why, "no memory for a sentence encoder");
        mem_free(copy);
        mem_free(e);
        return FULL;
    }
    *e = (struct encoder){ .path = copy, .kern = kern };
    pthread_mutex_init(&e->lock, NULL);
    *out = e;
    return OK;
}

static void forget_all(struct encoder *e)
{
    encoder_unload(&e->net);
    gguf_close(e->file);
    recall_close(&e->recall);
    e->file = NULL;
}

void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    forget_all(e);
    pthread_mutex_destroy(&e->lock);
    mem_free(e->path);
    mem_free(e);
}

/* ---- under the lock ---- */

static enum status load(struct encoder *e, struct note *why)
{
    enum status st = gguf_open(&e->file, e->path, why);
    if (st == OK)
        st = encoder_load(&e->net, e->file, e->kern, why);
    if (st == OK)
        st = recall_open(&e->recall, e->net.n_embd, why);
    if (st == OK)
        return OK;
    note_prefix(why, "the sentence encoder '%s'", e->path);
    forget_all(e);
    return st;
}

static enum status ready(struct encoder *e, struct note *why)
{
    if (!e->file)
        return load(e, why);
    return gguf_changed(e->file, why) == FILE_SAME ? OK : CORRUPT;
}

/* The sum of the rows of all its runs, one at least. */
static enum status compute(const struct encoder_net *net, const char *text, size_t len,
                           float *vector)
{
    struct ids pieces = { 0 };
    int32_t run[ENCODER_RUN];
    const size_t most = net->n_run - 2;
    wordpiece_encode(net->pieces, text, len, &pieces);
    memset(vector, 0, net->n_embd * sizeof *vector);
    for (size_t at = 0; !pieces.failed && (at == 0 || at < pieces.n); at += most) {
        const size_t left = pieces.n - at, n = left < most ? left : most;
        run[0] = net->cls;
        for (size_t i = 0; i < n; i++)
            run[1 + i] = pieces.id[at + i];
        run[1 + n] = net->sep;
        encoder_run(net, run, (uint32_t)n + 2, vector);
    }
    pages_forget(net->word->data, net->word->bytes);
    const bool failed = pieces.failed;
    ids_close(&pieces);
    unit_vector(vector, net->n_embd);
    return failed ? FULL : OK;
}

static enum status find_or_compute(struct encoder *e, const char *salt, const char *text,
                                   size_t len, float *vector)
{
    const struct recall_key key = recall_key_of(salt, 0, text, len);
    if (recall_find(&e->recall, key, vector))
        return OK;
    const enum status st = compute(&e->net, text, len, vector);
    if (st == OK)
        recall_put(&e->recall, key, vector);
    return st;
}

/* ---- callers ---- */

enum status encoder_dim(struct encoder *e, uint32_t *dim, struct note *why)
{
    pthread_mutex_lock(&e->lock);
    const enum status st = ready(e, why);
    if (st == OK)
        *dim = e->net.n_embd;
    pthread_mutex_unlock(&e->lock);
    return st;
}

enum status encoder_embed(struct encoder *e, const char *salt, const char *text, size_t len,
                          float *vector, struct note *why)
{
    pthread_mutex_lock(&e->lock);
    enum status st = ready(e, why);
    if (st == OK) {
        st = find_or_compute(e, salt, text, len, vector);
        if (st != OK)
            note_set(why, "no memory to embed a text of %zu bytes", len);
    }
    pthread_mutex_unlock(&e->lock);
    return st;
}
