/* support/still.h - an engine over a tiny model that moves only when it is told to, on a clock that only its work and
 * the test move: what happens is the same in every run.
 *
 *     now = waited + steps * step_ns + rows * row_ns */
#ifndef SUPPORT_STILL_H
#define SUPPORT_STILL_H

#include "engine/engine_in.h"
#include "support/tiny_model.h"

struct still {
    struct model *model;
    struct vocab *vocab;
    struct engine *engine; // NULL: none is open
    uint64_t waited_ns, step_ns, row_ns;
};

/* The tiny model of an architecture, made smaller still; a step costs 1 ms, and 0.1 ms a row. Asserts that it works. */
void still_open(struct still *s, const char *arch);
/* The same over a file. */
void still_open_file(struct still *s, const char *path);
void still_close(struct still *s); // the engine too

/* Bytes of KV that n sequences of n_ctx positions need, at n_ubatch rows a step. */
size_t still_kv_bytes(const struct still *s, double n, uint32_t n_ctx, uint32_t n_ubatch);

void still_engine_open(struct still *s, const struct akv_limits *limits);
void still_engine_close(struct still *s);

/* One step, and then what must hold after each (E3, the lists of pool and index). Something has to be under way. */
void still_turn(struct still *s);
bool still_is_idle(const struct still *s);

/* The next event, or NULL; the caller frees it. */
struct outbox_event *still_event(struct still *s);

#endif
