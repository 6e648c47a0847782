/* engine/heads.h - the shares of a model's heads (kv/shares.h): where they are looked for.
 *
 *   1  the file that was named (--kv-profile)
 *   2  the file beside the model, MODEL.gguf.kv.json, as `akvifer profile` writes it
 *   3  those that are part of the program
 *
 * Where there is none, or one of another model or KV type, heads get equal shares, and `told` says why.
 * Lifetime  of the engine, constant. */
#ifndef ENGINE_HEADS_H
#define ENGINE_HEADS_H

#include "kv/shares.h"
#include "model/model.h"

struct heads {
    struct kv_shares shares;
    bool there;
    struct note told; // whence they are, or why there are none
};

/* named, model_path: NULL where there is none. BAD_INPUT, NOT_FOUND, IO_ERROR: the named file is none or does not fit;
 * FULL: no memory. */
must_use enum status heads_open(struct heads *out, const struct model *m,
                                const struct kv_shape *shape, const char *named,
                                const char *model_path, struct note *why);
void heads_close(struct heads *h);

enum { HEADS_MODEL = 33 };
/* The model's name in profiles: its fingerprint, hexadecimal. */
const char *heads_model_name(const struct model *m, char text[HEADS_MODEL]);

#endif
