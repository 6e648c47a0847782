#include "engine/replay.h"

#include <string.h>

/* The next chunk: its rows, and a space for them. */
static enum status chunk_begin(struct replay *r, const struct replay_text *text,
                               struct kv_space *space, struct note *why)
{
    const struct replay_prefix *prefix = text->prefix;
    const uint32_t left = text->n - r->n_replayed, n = left < REPLAY_CHUNK ? left : REPLAY_CHUNK;
    const enum status st = kv_space_fork_rest(&r->space, space, r->n_past, why);
    if (st != OK)
        return st;
    memcpy(r->ids, prefix->id, prefix->n * sizeof *r->ids);
    if (n > 0)
        memcpy(r->ids + prefix->n, text->ids + r->n_replayed, n * sizeof *r->ids);
    r->n = prefix->n + n;
    r->n_done = 0;
    return OK;
}

static void chunk_end(struct replay *r)
{
    kv_space_free(r->space);
    r->space = NULL;
}

enum status replay_begin(struct replay *r, const struct replay_text *text, struct kv_space *space,
                         struct kv_excerpt *excerpt, uint32_t n_past, struct note *why)
{
    *r = (struct replay){
        .runs = true,
        .n_past = n_past,
        .taps = { .mass = KV_TAP_MASS_PEAK,
                  .into = excerpt,
                  .n_counted = text->past_alone ? n_past : UINT32_MAX },
    };
    const enum status st = chunk_begin(r, text, space, why);
    r->runs = st == OK;
    return st;
}

enum status replay_probe_begin(struct replay *r, const struct replay_text *probe,
                               struct kv_space *space, const struct kv_taps *taps, uint32_t n_past,
                               struct note *why)
{
    *r = (struct replay){
        .runs = true,
        .n_past = n_past,
        .taps = { .into = taps->into,
                  .n_counted = UINT32_MAX,
                  .n_query = taps->n_query,
                  .query = taps->query },
    };
    const enum status st = chunk_begin(r, probe, space, why);
    r->runs = st == OK;
    return st;
}

enum status replay_went_on(struct replay *r, const struct replay_text *text, struct kv_space *space,
                           uint32_t n, bool *over, struct note *why)
{
    r->n_done += n;
    *over = false;
    if (r->space) {
        kv_space_commit(r->space, r->n_past + r->n_done);
        if (r->n_done < r->n)
            return OK;
        r->n_replayed += r->n - text->prefix->n;
        chunk_end(r);
    }
    *over = r->n_replayed == text->n;
    return *over ? OK : chunk_begin(r, text, space, why);
}

void replay_end(struct replay *r)
{
    chunk_end(r);
    r->runs = false;
}
