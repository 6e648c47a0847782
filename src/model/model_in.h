/* model/model_in.h - what a model is made of. Private to model.c and to who runs passes of its own over the same
 * weights (hidden.c). */
#ifndef MODEL_MODEL_IN_H
#define MODEL_MODEL_IN_H

#include "model/model.h"
#include "model/pass.h"

struct model {
    char *path;
    struct gguf *file;
    const struct model_arch *arch;
    const struct kernels *kern;
    struct hparams h;
    struct weights weights;
    struct workers *workers;
    struct pass pass;
    struct kv_key fingerprint;
};

#endif
