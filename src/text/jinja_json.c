#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "text/jinja_ops.h"

static void add_json(struct jbuild *b, const struct jvalue *v, const struct jjson_style *s,
                     int level);

/* The escape of c, or NULL when it stands for itself. */
static const char *escape_of(uint32_t c, bool ascii_only, char out[16])
{
    static const char plain[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *p = plain; *p; p += 2) {
        if ((unsigned char)*p == c) {
            snprintf(out, 16, "\\%c", p[1]);
            return out;
        }
    }
    if (c >= 0x20 && (c < 0x7f || !ascii_only || c == 0x7f))
        return NULL;
    if (c < 0x10000)
        snprintf(out, 16, "\\u%04x", c);
    else
        snprintf(out, 16, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + (c & 0x3ff));
    return out;
}

static void add_string(struct jbuild *b, struct jtext t, bool ascii_only)
{
    bool trusted = jtext_all_trusted(t);
    char out[16];
    uint32_t c, done = 0;
    jbuild_add_word(b, "\"", trusted);
    for (uint32_t i = 0, n; i < t.len && jrun_ok(b->run); i += n) {
        n = jtext_char_len(t, i);
        utf8_read(t.bytes + i, n, &c);
        const char *escape = escape_of(c, ascii_only, out);
        if (!escape)
            continue;
        jbuild_add(b, jtext_slice(t, done, i));
        jbuild_add_word(b, escape, jtext_trusted_at(t, i));
        done = i + n;
    }
    jbuild_add(b, jtext_slice(t, done, t.len));
    jbuild_add_word(b, "\"", trusted);
}

/* What stands between two items, or between the first or last and its bracket. */
static void add_gap(struct jbuild *b, const struct jjson_style *s, int level, bool comma,
                    bool trusted)
{
    struct jtext word = s->comma, indent = s->indent;
    word.trusted = indent.trusted = trusted;
    if (comma)
        jbuild_add(b, word);
    if (!s->pretty)
        return;
    jbuild_add_word(b, "\n", trusted);
    for (int i = 0; i < level && jrun_step(b->run, 1); i++)
        jbuild_add(b, indent);
}

static void add_list(struct jbuild *b, const struct jvalue *v, const struct jjson_style *s,
                     int level)
{
    uint32_t n = v->list->n;
    jbuild_add_word(b, "[", v->trusted);
    for (uint32_t i = 0; i < n && jrun_step(b->run, 1); i++) {
        add_gap(b, s, level + 1, i > 0, v->trusted);
        add_json(b, &v->list->item[i], s, level + 1);
    }
    if (n > 0)
        add_gap(b, s, level, false, v->trusted);
    jbuild_add_word(b, "]", v->trusted);
}

/* A key is a string in JSON; Python turns numbers, booleans and None into one and refuses the
 * rest. */
static void add_key(struct jbuild *b, const struct jvalue *key, const struct jjson_style *s)
{
    if (key->kind == J_TEXT) {
        add_string(b, key->text, s->ascii_only);
        return;
    }
    if (!jvalue_is_number(key) && key->kind != J_NONE)
        jrun_fail(b->run, "tojson: a %s cannot be a key", jvalue_type(key));
    jbuild_add_word(b, "\"", key->trusted);
    add_json(b, key, s, 0);
    jbuild_add_word(b, "\"", key->trusted);
}

/* The dict with its pairs in order of their keys. */
static const struct jdict *sorted(struct jrun *r, const struct jdict *d)
{
    struct jvalue keys = jlist_new(r, J_LIST), pairs = jdict_list(r, d, JDICT_ITEMS),
                  out = jdict_new(r);
    for (uint32_t i = 0; i < d->n && jrun_step(r, 1); i++)
        jlist_push(r, keys.list, d->pair[i].key);
    jlist_sort(r, pairs.list, keys.list->item, false);
    for (uint32_t i = 0; i < d->n && jrun_step(r, 1); i++)
        jdict_set(r, out.dict, pairs.list->item[i].list->item[0],
                  pairs.list->item[i].list->item[1]);
    return out.dict;
}

static void add_dict(struct jbuild *b, const struct jvalue *v, const struct jjson_style *s,
                     int level)
{
    const struct jdict *d = s->sort_keys ? sorted(b->run, v->dict) : v->dict;
    struct jtext colon = s->colon;
    colon.trusted = v->trusted;
    jbuild_add_word(b, "{", v->trusted);
    for (uint32_t i = 0; i < d->n && jrun_step(b->run, 1); i++) {
        add_gap(b, s, level + 1, i > 0, v->trusted);
        add_key(b, &d->pair[i].key, s);
        jbuild_add(b, colon);
        add_json(b, &d->pair[i].value, s, level + 1);
    }
    if (d->n > 0)
        add_gap(b, s, level, false, v->trusted);
    jbuild_add_word(b, "}", v->trusted);
}

static void add_number(struct jbuild *b, const struct jvalue *v)
{
    char out[JFLOAT_ROOM];
    if (v->kind == J_INT)
        snprintf(out, sizeof out, "%" PRId64, v->whole);
    else if (isfinite(v->real))
        jfloat_print(v->real, out);
    else
        snprintf(out, sizeof out, "%s",
                 isnan(v->real) ? "NaN"
                 : v->real < 0  ? "-Infinity"
                                : "Infinity");
    jbuild_add_word(b, out, v->trusted);
}

static void add_json(struct jbuild *b, const struct jvalue *v, const struct jjson_style *s,
                     int level)
{
    if (!jrun_enter(b->run))
        return;
    if (v->kind == J_TEXT)
        add_string(b, v->text, s->ascii_only);
    else if (v->kind == J_INT || v->kind == J_FLOAT)
        add_number(b, v);
    else if (v->kind == J_BOOL)
        jbuild_add_word(b, v->truth ? "true" : "false", v->trusted);
    else if (v->kind == J_NONE)
        jbuild_add_word(b, "null", v->trusted);
    else if (v->kind == J_LIST || v->kind == J_TUPLE)
        add_list(b, v, s, level);
    else if (v->kind == J_DICT)
        add_dict(b, v, s, level);
    else
        jrun_fail(b->run, "tojson: a value that is %s has no JSON", jvalue_type(v));
    jrun_leave(b->run);
}

struct jtext jshow_json(struct jrun *r, const struct jvalue *v, const struct jjson_style *style)
{
    struct jbuild b;
    jbuild_open(&b, r);
    add_json(&b, v, style, 0);
    return jbuild_text(&b);
}
