#include "engine/heads.h"

#include <stdio.h>

#include "base/embed.h"
#include "base/mem.h"
#include "os/file.h"

enum { PROFILE_BYTES_MAX = 16 << 20 };

EMBED(profile_smollm2, "src/engine/profiles/smollm2.kv.json");
EMBED(profile_qwen2, "src/engine/profiles/qwen2.kv.json");

const char *heads_model_name(const struct model *m, char text[HEADS_MODEL])
{
    const struct kv_key key = model_fingerprint(m);
    snprintf(text, HEADS_MODEL, "%016llx%016llx", (unsigned long long)key.high,
             (unsigned long long)key.low);
    return text;
}

/* *there: it was read, or could not be, and so is not what is missing. */
static enum status read_file(struct heads *h, const struct kv_shares_id *of, const char *path,
                             bool *there, struct note *why)
{
    char *text;
    size_t len;
    enum status st = file_read(&text, &len, path, PROFILE_BYTES_MAX, why);
    *there = st != NOT_FOUND;
    if (st != OK)
        return st;
    st = kv_shares_read(&h->shares, of, text, len, why);
    mem_free(text);
    if (st != OK)
        note_prefix(why, "'%s'", path);
    return st;
}

/* The file beside the model. A file that is there and does not fit is no error: `unfit` says why. */
static enum status read_beside(struct heads *h, const struct kv_shares_id *of,
                               const char *model_path, struct note *unfit)
{
    struct buf path = { 0 };
    struct note why = { "" };
    buf_addf(&path, "%s.kv.json", model_path);
    bool there = false;
    const enum status st = path.failed ? FULL : read_file(h, of, buf_text(&path), &there, &why);
    if (st == OK)
        note_set(&h->told, "%s", buf_text(&path));
    else if (there)
        *unfit = why;
    buf_close(&path);
    return st;
}

/* One of the program's own that is of this model and KV type. NOT_FOUND: none is. */
static enum status read_own(struct heads *h, const struct kv_shares_id *of)
{
    const char *const own[][2] = { { profile_smollm2, profile_smollm2_end },
                                   { profile_qwen2, profile_qwen2_end } };
    enum status st = NOT_FOUND;
    for (size_t i = 0; i < sizeof own / sizeof *own && st == NOT_FOUND; i++)
        st = kv_shares_read(&h->shares, of, own[i][0], (size_t)(own[i][1] - own[i][0]), NULL);
    if (st == OK)
        note_set(&h->told, "the program's own");
    return st;
}

static enum status look(struct heads *h, const struct kv_shares_id *of, const char *named,
                        const char *model_path, struct note *why)
{
    enum status st = NOT_FOUND;
    struct note unfit = { "" };
    bool there;
    if (named) {
        st = read_file(h, of, named, &there, why);
        note_set(&h->told, "%s", named);
        return st;
    }
    if (model_path)
        st = read_beside(h, of, model_path, &unfit);
    if (st == FULL) {
        note_set(why, "no memory for the profile of a model's heads");
        return FULL;
    }
    if (st != OK)
        st = read_own(h, of);
    if (unfit.text[0]) {
        const struct note instead = h->told;
        note_set(&h->told, "%.100s; %.380s", instead.text, unfit.text);
    }
    return st == OK ? OK : NOT_FOUND;
}

enum status heads_open(struct heads *out, const struct model *m, const struct kv_shape *shape,
                       const char *named, const char *model_path, struct note *why)
{
    char name[HEADS_MODEL];
    const struct kv_shares_id of = { heads_model_name(m, name), kv_type_name(shape->type) };
    const uint32_t g = kv_whole_group(shape);
    *out = (struct heads){ 0 };
    note_set(&out->told, "none: `akvifer profile -m MODEL` measures one");
    if (g == shape->n_group)
        return OK;
    enum status st =
        kv_shares_open(&out->shares, shape->group[g].n_layer, shape->group[g].n_kv_head);
    if (st != OK) {
        note_set(why, "no memory for the shares of a model's heads");
        return st;
    }
    st = look(out, &of, named, model_path, why);
    out->there = st == OK;
    if (!named && st == NOT_FOUND)
        return OK;
    if (st != OK)
        heads_close(out);
    return st;
}

void heads_close(struct heads *h)
{
    kv_shares_close(&h->shares);
    h->there = false;
}
