/* engine/topics.h - a history divided into episodes: segments that are about the same.
 *
 *   turns --groups of `segment`--> segments --embed--> unit vectors --k-means--> episodes, each with a middle
 *
 * Lifetime  from make to close. Threads  any. */
#ifndef ENGINE_TOPICS_H
#define ENGINE_TOPICS_H

#include "base/kmeans.h"
#include "engine/embed.h"
#include "kv/policy/epicache.h"
#include "text/turns.h"

struct topics {
    struct embedder embedder;
    struct stretch *segment; // [n]
    float *vector;           // [n][embedder.dim]
    uint32_t n;
    struct kmeans cluster;
};

/* Of turns below n_base, one at least. FULL: no memory; others are an encoder's. */
must_use enum status topics_make(struct topics *out, const struct epicache_options *opt,
                                 const struct embed_from *from, const int32_t *ids,
                                 const struct turns *turns, uint32_t n_base, struct note *why);
void topics_close(struct topics *t); // a zeroed one too

/* The segments nearest to the middle of an episode, n_rep at most, at most n_max ids of them together; in their order.
 * FULL: no memory. */
must_use enum status topics_text(const struct topics *t, uint32_t episode, const int32_t *ids,
                                 uint32_t n_rep, uint32_t n_max, struct ids *out);

#endif
