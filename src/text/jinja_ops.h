/* text/jinja_ops.h - operators of the template language: arithmetic, access, slices, printing.
 *
 * Integers floor as in Python, `/` gives a float, booleans count as 0 and 1. `a.b` asks for a
 * method or field first and for a key then, `a['b']` the other way round; what is not there is
 * undefined, and asking undefined fails. */
#ifndef TEXT_JINJA_OPS_H
#define TEXT_JINJA_OPS_H

#include "text/jinja_run.h"

enum jop { JOP_ADD, JOP_SUB, JOP_MUL, JOP_DIV, JOP_FLOORDIV, JOP_MOD, JOP_POW };

struct jvalue jop_binary(struct jrun *r, enum jop op, const struct jvalue *a,
                         const struct jvalue *b);
struct jvalue jop_negate(struct jrun *r, const struct jvalue *v);
struct jvalue jop_attr(struct jrun *r, const struct jvalue *v, struct jtext name);
struct jvalue jop_item(struct jrun *r, const struct jvalue *v, const struct jvalue *key);
/* v[from:to:step]; J_NONE stands for what was left out. */
struct jvalue jop_slice(struct jrun *r, const struct jvalue *v, const struct jvalue bound[3]);

/* The value behind a dotted path as the filters' `attribute` takes it: "a.b.0", or an integer
 * index. `otherwise` (NULL or none: undefined) stands for each part that is not there. */
struct jvalue jop_path(struct jrun *r, const struct jvalue *v, const struct jvalue *path,
                       const struct jvalue *otherwise);

/* Python's str() and repr(), and json.dumps. */
struct jtext jshow_text(struct jrun *r, const struct jvalue *v);
struct jtext jshow_repr(struct jrun *r, const struct jvalue *v);
const char *jshow_range(struct jrun *r, int64_t first, int64_t end, int64_t step);

struct jjson_style {
    bool ascii_only, sort_keys, pretty;
    struct jtext indent; // of one level, when pretty
    struct jtext comma, colon;
};
struct jtext jshow_json(struct jrun *r, const struct jvalue *v, const struct jjson_style *style);

/* Shortest digits that read back as the same number, the way Python prints them. */
enum { JFLOAT_ROOM = 40 };
void jfloat_print(double d, char out[JFLOAT_ROOM]);

/* "%d items" % values, "{} items".format(values), and dates. */
struct jtext jformat_percent(struct jrun *r, struct jtext format, const struct jargs *args);
struct jtext jformat_braces(struct jrun *r, struct jtext format, const struct jargs *args);
struct jtext jformat_time(struct jrun *r, struct jtext format, long long now);

#endif
