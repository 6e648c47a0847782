/* engine/engine.h - the loop: one thread owns every sequence and every block.
 *
 *   submit --> inbox --> waiting --> running --(DONE)--> outbox --> next_event
 *                           ^           |
 *                           +-- pause --+     the youngest, when blocks run out; its tokens stay
 *
 * A step: drain the inbox; plan (rows for running sequences, blocks grown); one forward pass over the mixed batch;
 * sample; post. There is no prefill or decode phase: each sequence catches up by n rows, those that answer by one, the
 * others by what the pace leaves them (engine/pace.h).
 *
 * E1  A request's events do not depend on what else runs, but for how PROMPT events are cut
 *     (docs/NUMERICS.md).
 * E2  The oldest running sequence gets rows in every step, and blocks before any other: everything ends.
 * E3  The KV cap holds in every step (kv/pool.h P4).
 *
 * Threads  any for the functions below; the engine thread runs the loop. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "akvifer.h"
#include "base/note.h"
#include "engine/limits.h"
#include "engine/outbox.h"
#include "engine/sequence.h"
#include "model/model.h"

struct engine;

must_use enum status engine_new(struct engine **out, struct model *m, const struct vocab *vocab,
                                const struct akv_limits *wish, struct note *why);
void engine_free(struct engine *e);

/* n requests, and the id of each: all of them or none. */
must_use enum status engine_submit(struct engine *e, const struct akv_request *r, uint32_t n,
                                   uint64_t *id, struct note *why);
void engine_cancel(struct engine *e, uint64_t id);
/* As akv_submit_is_long. */
bool engine_submit_is_long(const struct engine *e, const struct akv_request *r);

/* What a request would find in the index. Waits for no step. Fails as engine_submit. */
must_use enum status engine_find(struct engine *e, const struct akv_request *r,
                                 struct akv_cache_find *out, struct note *why);
struct outbox_event *engine_take_event(struct engine *e, int timeout_ms);
/* Once it was read: the next token's may be this one. NULL is allowed. */
void engine_give_event(struct engine *e, struct outbox_event *event);
void engine_stats(struct engine *e, struct akv_stats *out);
const struct engine_limits *engine_limits(const struct engine *e);
const char *
engine_heads_told(const struct engine *e); // whence the shares of heads are (heads.told)

/* Of the passes of a model that the public interface opened; to be touched while its engine has nothing to do. */
struct profile *engine_profile(akv_model *m);

#endif
