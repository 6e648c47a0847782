#include "engine/topics.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { SEED = 42, LEAST = 2, MOST = 8 };

static enum status cut_segments(struct topics *t, const struct turns *turns, uint32_t n_turn,
                                uint32_t n_base)
{
    t->segment = mem_new(turns->n / n_turn + 1, sizeof *t->segment);
    if (!t->segment)
        return FULL;
    for (uint32_t i = 0; i < turns->n && turns->turn[i].first < n_base; i += n_turn) {
        const uint32_t last = i + n_turn < turns->n ? i + n_turn - 1 : turns->n - 1;
        const uint32_t end = turns->turn[last].end;
        t->segment[t->n++] = (struct stretch){ turns->turn[i].first, end < n_base ? end : n_base };
    }
    return OK;
}

static enum status embed_segments(struct topics *t, const int32_t *ids, struct note *why)
{
    const uint32_t d = t->embedder.dim;
    enum status st = OK;
    t->vector = mem_new((size_t)t->n * d, sizeof *t->vector);
    if (!t->vector)
        return FULL;
    for (uint32_t i = 0; i < t->n && st == OK; i++)
        st = embed(&t->embedder, ids, t->segment[i], t->vector + (size_t)i * d, why);
    return st;
}

/* Each segment is also a part of what its neighbours are: talk stays with a topic for a while, and few words say
 * which. */
static enum status blur(struct topics *t, float part)
{
    const size_t d = t->embedder.dim;
    float *sharp = mem_new(t->n * d, sizeof *sharp);
    if (!sharp)
        return FULL;
    memcpy(sharp, t->vector, t->n * d * sizeof *sharp);
    for (size_t i = 0; i < t->n; i++) {
        float *v = t->vector + i * d;
        for (size_t j = 0; i > 0 && j < d; j++)
            v[j] += part * sharp[(i - 1) * d + j];
        for (size_t j = 0; i + 1 < t->n && j < d; j++)
            v[j] += part * sharp[(i + 1) * d + j];
        unit_vector(v, (uint32_t)d);
    }
    mem_free(sharp);
    return OK;
}

static enum status divide(struct topics *t, uint32_t n_episode)
{
    if (n_episode)
        return kmeans_new(&t->cluster, t->vector, t->n, t->embedder.dim, n_episode, SEED);
    return kmeans_best(&t->cluster, t->vector, t->n, t->embedder.dim, LEAST, MOST, SEED);
}

static struct embed_how how_of(const struct epicache_options *opt, const struct model *m)
{
    static const enum embed_kind kind[] = { [EPICACHE_TFIDF] = EMBED_TFIDF,
                                            [EPICACHE_SELF] = EMBED_HIDDEN,
                                            [EPICACHE_MINILM] = EMBED_ENCODER };
    const float n_layer = rintf(opt->embed_layer * (float)model_hparams(m)->n_layer);
    struct embed_how how = { .kind = kind[opt->embed] };
    if (opt->embed == EPICACHE_SELF && opt->embed_layer == 0)
        how.kind = EMBED_TOKENS;
    how.hidden.n_layer = n_layer < 1 ? 1 : (uint32_t)n_layer;
    how.hidden.asks = opt->embed_of == EPICACHE_ASKED;
    return how;
}

enum status topics_make(struct topics *out, const struct epicache_options *opt,
                        const struct embed_from *from, const int32_t *ids,
                        const struct turns *turns, uint32_t n_base, struct note *why)
{
    struct topics t = { 0 };
    enum status st = cut_segments(&t, turns, opt->n_turn, n_base);
    if (st == OK)
        st = embedder_fit(&t.embedder, how_of(opt, from->model), from, ids, t.segment, t.n, why);
    if (st == OK)
        st = embed_segments(&t, ids, why);
    if (st == OK && opt->blur > 0)
        st = blur(&t, opt->blur);
    if (st == OK)
        st = divide(&t, opt->n_episode);
    if (st != OK) {
        if (st == FULL)
            note_set(why, "no memory for the episodes of a history of %u tokens", n_base);
        topics_close(&t);
        return st;
    }
    *out = t;
    return OK;
}

void topics_close(struct topics *t)
{
    embedder_close(&t->embedder);
    kmeans_close(&t->cluster);
    mem_free(t->segment);
    mem_free(t->vector);
    *t = (struct topics){ 0 };
}

/* The member of an episode nearest to its middle that is not taken yet; n: there is none. */
static uint32_t nearest_left(const struct topics *t, uint32_t episode, const bool *taken)
{
    const uint32_t d = t->embedder.dim;
    const float *middle = t->cluster.centroid + (size_t)episode * d;
    uint32_t best = t->n;
    float most = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->cluster.of[i] != episode || taken[i])
            continue;
        const float near = dot_of(t->vector + (size_t)i * d, middle, d);
        if (best == t->n || near > most) {
            best = i;
            most = near;
        }
    }
    return best;
}

static uint32_t length_of(struct stretch s, uint32_t most)
{
    return s.end - s.first < most ? s.end - s.first : most;
}

enum status topics_text(const struct topics *t, uint32_t episode, const int32_t *ids,
                        uint32_t n_rep, uint32_t n_max, struct ids *out)
{
    bool *taken = mem_new(t->n, sizeof *taken);
    uint32_t left = n_max;
    for (uint32_t r = 0; taken && r < n_rep && left > 0; r++) {
        const uint32_t i = nearest_left(t, episode, taken);
        if (i == t->n || (r > 0 && length_of(t->segment[i], n_max) > left))
            break;
        taken[i] = true;
        left -= length_of(t->segment[i], left);
    }
    for (uint32_t i = 0; taken && i < t->n; i++)
        if (taken[i])
            ids_add_all(out, ids + t->segment[i].first, length_of(t->segment[i], n_max));
    const bool failed = !taken || out->failed;
    mem_free(taken);
    return failed ? FULL : OK;
}
