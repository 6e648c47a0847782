#include "gguf/gguf.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf_internal.h"

/* How a split set is named: PREFIX-00002-of-00005.gguf, counted from 1. */
struct split_name {
    size_t prefix_len;
    uint32_t no;
    uint32_t count;
};

enum {
    SPLIT_TAIL = sizeof "-00002-of-00005.gguf" - 1,
    HEADER_BYTES =
        8 << 20, // longer than the headers that people have: read at once, before it is parsed
};

static bool is_split_name(const char *path, struct split_name *out)
{
    size_t len = strlen(path);
    if (len <= SPLIT_TAIL)
        return false;
    const char *pattern = "-ddddd-of-ddddd.gguf", *tail = path + len - SPLIT_TAIL;
    for (size_t i = 0; i < SPLIT_TAIL; i++) {
        bool fits = pattern[i] == 'd' && i < SPLIT_TAIL - 5 ? isdigit((unsigned char)tail[i]) != 0
                                                            : tail[i] == pattern[i];
        if (!fits)
            return false;
    }
    struct split_name name = { .prefix_len = len - SPLIT_TAIL,
                               .no = (uint32_t)strtoul(tail + 1, NULL, 10),
                               .count = (uint32_t)strtoul(tail + 10, NULL, 10) };
    if (name.no < 1 || name.no > name.count)
        return false;
    *out = name;
    return true;
}

static void part_close(struct gguf_part *p)
{
    gguf_header_free(&p->header);
    file_unmap(&p->map);
}

/* Maps and parses one file as part `no`. */
static enum status part_open(struct gguf_part *p, const char *path, uint32_t no, struct note *why)
{
    *p = (struct gguf_part){ 0 };
    enum status st = file_map(&p->map, path, why);
    if (st != OK)
        return st;
    p->bytes = p->map.bytes;
    p->len = p->map.len;
    st = file_fetch(&p->map, 0, HEADER_BYTES, why);
    if (st != OK) {
        part_close(p);
        return st;
    }
    st = gguf_header_parse(&p->header, p->bytes, p->len, no, why);
    if (st != OK) {
        note_prefix(why, "'%s'", path);
        part_close(p);
    }
    return st;
}

/* What a header says about its set; a file without the keys is a set of one. */
static enum status read_split(const struct gguf_header *h, uint32_t *no, uint32_t *count,
                              struct note *why)
{
    *no = 0;
    *count = 1;
    enum status st = gguf_header_u32(h, "split.count", count, why);
    if (st != OK)
        return st == NOT_FOUND ? OK : st;
    if (*count <= 1) {
        *count = 1;
        return OK;
    }
    st = gguf_header_u32(h, "split.no", no, why);
    if (st == NOT_FOUND)
        note_set(why, "key 'split.count' is %u, but there is no key 'split.no'", *count);
    return st == NOT_FOUND ? BAD_INPUT : st;
}

static enum status check_split(const struct gguf_part *p, uint32_t no, uint32_t count,
                               struct note *why)
{
    uint32_t said_no, said_count;
    enum status st = read_split(&p->header, &said_no, &said_count, why);
    if (st != OK)
        return st;
    if (said_no == no && said_count == count)
        return OK;
    note_set(why, "it is named part %u of %u but its header says part %u of %u", no + 1, count,
             said_no + 1, said_count);
    return BAD_INPUT;
}

/* Appends the part that `path` holds to g. */
static enum status add_part(struct gguf *g, const char *path, struct note *why)
{
    struct gguf_part *grown = mem_resize(g->part, (size_t)g->n_part + 1, sizeof *grown);
    if (!grown) {
        note_set(why, "no memory for part %u", g->n_part + 1);
        return FULL;
    }
    g->part = grown;
    enum status st = part_open(&g->part[g->n_part], path, g->n_part, why);
    if (st == OK)
        g->n_part++;
    return st;
}

static enum status add_all_parts(struct gguf *g, const char *path, const struct split_name *name,
                                 struct note *why)
{
    size_t room = name->prefix_len + SPLIT_TAIL + 1;
    char *part_path = mem_new(room, 1);
    enum status st = OK;
    if (!part_path) {
        note_set(why, "no memory for a path of %zu bytes", room);
        return FULL;
    }
    for (uint32_t i = 0; i < name->count && st == OK; i++) {
        snprintf(part_path, room, "%.*s-%05u-of-%05u.gguf", (int)name->prefix_len, path, i + 1,
                 name->count);
        st = add_part(g, part_path, why);
        if (st == OK)
            st = check_split(&g->part[i], i, name->count, why);
        if (st == BAD_INPUT || st == NOT_FOUND)
            note_prefix(why, "part %u of %u", i + 1, name->count);
    }
    mem_free(part_path);
    return st;
}

/* The whole set that `path` belongs to: often just itself. */
static enum status add_file(struct gguf *g, const char *path, struct note *why)
{
    struct split_name name = { .count = 1 };
    uint32_t no, count;
    bool named = is_split_name(path, &name);
    enum status st = add_part(g, path, why);
    if (st != OK)
        return st;
    st = read_split(&g->part[0].header, &no, &count, why);
    if (st != OK)
        goto fail;
    if (count == 1 && name.count == 1)
        return OK;
    if (!named) {
        note_set(why,
                 "it is part %u of %u, and needs the name ...-%05u-of-%05u.gguf so that the "
                 "other parts are found",
                 no + 1, count, no + 1, count);
        st = BAD_INPUT;
        goto fail;
    }
    st = check_split(&g->part[0], name.no - 1, name.count, why);
    if (st != OK)
        goto fail;
    part_close(&g->part[0]); // it was opened to ask; now all of them in order
    g->n_part = 0;
    return add_all_parts(g, path, &name, why);
fail:
    note_prefix(why, "'%s'", path);
    return st;
}

static enum status check_total(const struct gguf *g, struct note *why)
{
    uint32_t total = (uint32_t)g->n_tensor;
    enum status st = gguf_get_u32(g, "split.tensors.count", &total, why);
    if (st == NOT_FOUND || (st == OK && total == g->n_tensor))
        return OK;
    if (st == OK)
        note_set(why, "key 'split.tensors.count' is %u, but the %u parts hold %zu tensors", total,
                 g->n_part, g->n_tensor);
    return BAD_INPUT;
}

/* One list of tensors out of all parts. */
static enum status join_parts(struct gguf *g, struct note *why)
{
    for (uint32_t i = 0; i < g->n_part; i++)
        g->n_tensor += g->part[i].header.n_tensor;
    g->tensor = mem_new(g->n_tensor, sizeof *g->tensor);
    if (!g->tensor) {
        note_set(why, "no memory for %zu tensors", g->n_tensor);
        return FULL;
    }
    size_t at = 0;
    for (uint32_t i = 0; i < g->n_part; i++) {
        struct gguf_header *h = &g->part[i].header;
        memcpy(g->tensor + at, h->tensor, h->n_tensor * sizeof *h->tensor);
        at += h->n_tensor;
        mem_free(h->tensor);
        h->tensor = NULL;
    }
    enum status st =
        name_index_new(&g->by_name, g->tensor, g->n_tensor, sizeof *g->tensor, "tensor", why);
    return st == OK ? check_total(g, why) : st;
}

enum status gguf_open(struct gguf **out, const char *path, struct note *why)
{
    enum status st = FULL;
    struct gguf *g = mem_new(1, sizeof *g);
    if (!g) {
        note_set(why, "no memory to open '%s'", path);
        return FULL;
    }
    st = add_file(g, path, why);
    if (st != OK)
        goto fail;
    st = join_parts(g, why);
    if (st != OK) {
        note_prefix(why, "'%s'", path);
        goto fail;
    }
    *out = g;
    return OK;
fail:
    gguf_close(g);
    return st;
}

enum status gguf_open_bytes(struct gguf **out, const void *bytes, size_t len, struct note *why)
{
    uint32_t no, count;
    enum status st = FULL;
    struct gguf *g = mem_new(1, sizeof *g);
    if (g)
        g->part = mem_new(1, sizeof *g->part);
    if (!g || !g->part) {
        note_set(why, "no memory to open a GGUF file of %zu bytes", len);
        goto fail;
    }
    g->n_part = 1;
    g->part[0].bytes = bytes;
    g->part[0].len = len;
    st = gguf_header_parse(&g->part[0].header, bytes, len, 0, why);
    if (st == OK)
        st = read_split(&g->part[0].header, &no, &count, why);
    if (st == OK && count > 1) {
        note_set(why, "it is part %u of %u; open it by its path", no + 1, count);
        st = BAD_INPUT;
    }
    if (st == OK)
        st = join_parts(g, why);
    if (st != OK)
        goto fail;
    *out = g;
    return OK;
fail:
    gguf_close(g);
    return st;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    for (uint32_t i = 0; i < g->n_part; i++)
        part_close(&g->part[i]);
    name_index_free(&g->by_name);
    mem_free(g->tensor);
    mem_free(g->part);
    mem_free(g);
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->part[0].header.version;
}

size_t gguf_file_bytes(const struct gguf *g)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < g->n_part; i++)
        sum += g->part[i].len;
    return sum;
}

uint32_t gguf_n_part(const struct gguf *g)
{
    return g->n_part;
}

size_t gguf_n_pair(const struct gguf *g)
{
    return g->part[0].header.n_pair;
}

const struct gguf_pair *gguf_pair_at(const struct gguf *g, size_t i)
{
    assert(i < gguf_n_pair(g));
    return &g->part[0].header.pair[i];
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    return gguf_header_find(&g->part[0].header, key);
}

size_t gguf_n_tensor(const struct gguf *g)
{
    return g->n_tensor;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    assert(i < g->n_tensor);
    return &g->tensor[i];
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name)
{
    return name_index_find(&g->by_name, name);
}

enum status gguf_fetch(const struct gguf *g, const struct gguf_tensor *t, size_t from, size_t bytes,
                       struct note *why)
{
    const struct gguf_part *p = &g->part[t->part];
    const size_t at = (size_t)((const uint8_t *)t->data - (const uint8_t *)p->bytes);
    return file_fetch(&p->map, at + from, bytes, why); // of bytes in memory the map is closed: OK
}

enum file_change gguf_changed(const struct gguf *g, struct note *why)
{
    enum file_change change = FILE_SAME;
    for (uint32_t i = 0; i < g->n_part && change != FILE_RESIZED; i++) {
        const enum file_change its = file_changed(&g->part[i].map, why);
        change = its > change ? its : change;
    }
    return change;
}

void gguf_part_range(const struct gguf *g, uint32_t part, const void **base, size_t *len)
{
    assert(part < g->n_part);
    *base = g->part[part].bytes;
    *len = g->part[part].len;
}
