/* engine/limits.h - how much of everything this process will take, decided once at start and printed as a plan.
 *
 * L1  One request of n_ctx tokens always fits the KV cap, so the oldest request can always finish.
 * L2  What was asked for is taken as asked, or refused with the numbers; only defaults adapt to the machine. */
#ifndef ENGINE_LIMITS_H
#define ENGINE_LIMITS_H

#include "akvifer.h"
#include "base/buf.h"
#include "base/note.h"
#include "kv/policy.h"
#include "model/model.h"

struct engine_limits {
    uint32_t n_ctx, n_parallel, n_queue, n_ubatch;
    size_t kv_bytes;
    enum kv_type kv_type;
    bool kv_table;
    double step_stretch;  // engine/pace.h
    uint32_t n_cache_min; // positions: of fewer none is reused
    struct kv_shape shape;
    struct kv_choice policy; // of requests that do not say
};

must_use enum status engine_limits_choose(struct engine_limits *out, const struct akv_limits *wish,
                                          const struct model *m, struct note *why);

/* The longest context, at most n_ctx, that a request under such a policy can have, if it prunes what follows too: L1
 * holds for the engine's own policy. */
uint32_t engine_limits_context(const struct engine_limits *l, const struct kv_choice *choice);

/* One line for each class of memory, and what the policy comes to; profile: whence the shares of heads are. */
void engine_plan_text(const struct engine_limits *l, const struct model *m, const char *profile,
                      struct buf *out);

#endif
