#include "text/jinja_ops.h"

#include <math.h>
#include <string.h>

#include "text/jinja_exec.h"

/* ---- arithmetic ---- */

static struct jvalue no_sense(struct jrun *r, enum jop op, const struct jvalue *a,
                              const struct jvalue *b)
{
    static const char *const sign[] = { "+", "-", "*", "/", "//", "%", "**" };
    const struct jvalue *missing = a->kind == J_UNDEFINED ? a : b;
    if (missing->kind == J_UNDEFINED)
        jrun_fail_undefined(r, missing, "cannot be calculated with");
    else
        jrun_fail(r, "%s %s %s makes no sense", jvalue_type(a), sign[op], jvalue_type(b));
    return jnothing();
}

static struct jvalue too_large(struct jrun *r)
{
    jrun_fail(r, "an integer does not fit in 64 bits, the bound of integers");
    return jnothing();
}

/* Rounds towards minus infinity; b is not 0. */
static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}

/* What is left then: it has the sign of b. */
static int64_t floor_mod(int64_t a, int64_t b)
{
    int64_t m = b == -1 ? 0 : a % b; // the smallest integer % -1 would overflow
    return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

static struct jvalue real_power(struct jrun *r, double base, double exponent)
{
    double result = pow(base, exponent);
    if (base == 0 && exponent < 0)
        jrun_fail(r, "0 to a negative power divides by zero");
    else if (isfinite(base) && isfinite(exponent) && !isfinite(result))
        jrun_fail(r, "%g ** %g is no real number that fits", base, exponent);
    return jfloat(result);
}

static struct jvalue power(struct jrun *r, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0)
        return real_power(r, (double)base, (double)exponent);
    for (;;) { // by squares
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return too_large(r);
        exponent >>= 1;
        if (exponent == 0)
            return jint(result);
        if (__builtin_mul_overflow(base, base, &base))
            return too_large(r);
    }
}

static struct jvalue whole_binary(struct jrun *r, enum jop op, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool divides = op == JOP_DIV || op == JOP_FLOORDIV || op == JOP_MOD;
    if (divides && b == 0) {
        jrun_fail(r, "division by zero");
        return jnothing();
    }
    if (divides && b == -1 && a == INT64_MIN && op == JOP_FLOORDIV)
        return too_large(r);
    switch (op) {
    case JOP_ADD:
        return __builtin_add_overflow(a, b, &result) ? too_large(r) : jint(result);
    case JOP_SUB:
        return __builtin_sub_overflow(a, b, &result) ? too_large(r) : jint(result);
    case JOP_MUL:
        return __builtin_mul_overflow(a, b, &result) ? too_large(r) : jint(result);
    case JOP_DIV:
        return jfloat((double)((long double)a / (long double)b)); // 64 bits are exact there
    case JOP_FLOORDIV:
        return jint(floor_divide(a, b));
    case JOP_MOD:
        return jint(floor_mod(a, b));
    default:
        return power(r, a, b);
    }
}

static double real_mod(double a, double b)
{
    double m = fmod(a, b);
    if (m != 0 && (m < 0) != (b < 0))
        m += b;
    return m == 0 ? copysign(0.0, b) : m;
}

static double real_floordiv(double a, double b)
{
    double exact = (a - real_mod(a, b)) / b; // an integer but for rounding
    double down = floor(exact);
    return exact - down > 0.5 ? down + 1 : down;
}

static struct jvalue real_binary(struct jrun *r, enum jop op, double a, double b)
{
    if ((op == JOP_DIV || op == JOP_FLOORDIV || op == JOP_MOD) && b == 0) {
        jrun_fail(r, "division by zero");
        return jnothing();
    }
    switch (op) {
    case JOP_ADD:
        return jfloat(a + b);
    case JOP_SUB:
        return jfloat(a - b);
    case JOP_MUL:
        return jfloat(a * b);
    case JOP_DIV:
        return jfloat(a / b);
    case JOP_FLOORDIV:
        return jfloat(real_floordiv(a, b));
    case JOP_MOD:
        return jfloat(real_mod(a, b));
    default:
        return real_power(r, a, b);
    }
}

static struct jvalue text_add(struct jrun *r, struct jtext a, struct jtext b)
{
    bool safe = a.safe || b.safe;
    if (safe && !a.safe)
        a = jtext_escape(r, a);
    if (safe && !b.safe)
        b = jtext_escape(r, b);
    struct jtext t = jtext_join2(r, a, b);
    t.safe = safe;
    return jtextv(t);
}

static struct jvalue list_add(struct jrun *r, const struct jvalue *a, const struct jvalue *b)
{
    struct jvalue sum = jlist_new(r, a->kind);
    sum.trusted = a->trusted && b->trusted;
    for (uint32_t i = 0; i < a->list->n && jrun_step(r, 1); i++)
        jlist_push(r, sum.list, a->list->item[i]);
    for (uint32_t i = 0; i < b->list->n && jrun_step(r, 1); i++)
        jlist_push(r, sum.list, b->list->item[i]);
    return sum;
}

static struct jvalue list_repeat(struct jrun *r, const struct jvalue *l, int64_t times)
{
    struct jvalue all = jlist_new(r, l->kind);
    uint32_t n = l->list->n;
    all.trusted = l->trusted;
    for (; n > 0 && times > 0 && jrun_ok(r); times--) {
        for (uint32_t i = 0; i < n && jrun_step(r, 1); i++)
            jlist_push(r, all.list, l->list->item[i]);
    }
    return all;
}

static struct jvalue repeat(struct jrun *r, const struct jvalue *v, const struct jvalue *times)
{
    if (v->kind != J_TEXT)
        return list_repeat(r, v, jvalue_whole(times));
    struct jtext t = jtext_repeat(r, v->text, jvalue_whole(times));
    t.safe = v->text.safe;
    return jtextv(t);
}

static bool can_repeat(const struct jvalue *v)
{
    return v->kind == J_TEXT || v->kind == J_LIST || v->kind == J_TUPLE;
}

/* text % value: a tuple gives several values. */
static struct jvalue percent(struct jrun *r, struct jtext format, const struct jvalue *v)
{
    struct jargs args = { .pos = v, .n_pos = 1 };
    if (v->kind == J_TUPLE)
        args = (struct jargs){ .pos = v->list->item, .n_pos = v->list->n };
    return jtextv(jformat_percent(r, format, &args));
}

struct jvalue jop_binary(struct jrun *r, enum jop op, const struct jvalue *a,
                         const struct jvalue *b)
{
    struct jvalue result;
    if (jvalue_is_number(a) && jvalue_is_number(b)) {
        if (jvalue_is_whole(a) && jvalue_is_whole(b))
            result = whole_binary(r, op, jvalue_whole(a), jvalue_whole(b));
        else
            result = real_binary(r, op, jvalue_real(a), jvalue_real(b));
        result.trusted = a->trusted && b->trusted;
        return result;
    }
    if (op == JOP_ADD && a->kind == J_TEXT && b->kind == J_TEXT)
        return text_add(r, a->text, b->text);
    if (op == JOP_ADD && a->kind == b->kind && (a->kind == J_LIST || a->kind == J_TUPLE))
        return list_add(r, a, b);
    if (op == JOP_MUL && can_repeat(a) && jvalue_is_whole(b))
        return repeat(r, a, b);
    if (op == JOP_MUL && can_repeat(b) && jvalue_is_whole(a))
        return repeat(r, b, a);
    if (op == JOP_MOD && a->kind == J_TEXT)
        return percent(r, a->text, b);
    return no_sense(r, op, a, b);
}

struct jvalue jop_negate(struct jrun *r, const struct jvalue *v)
{
    struct jvalue zero = jint(0), result;
    if (v->kind == J_FLOAT)
        result = jfloat(-v->real);
    else
        result = jop_binary(r, JOP_SUB, &zero, v);
    result.trusted = v->trusted;
    return result;
}

/* ---- attributes ---- */

static struct jvalue loop_neighbour(const struct jloop *l, int64_t at)
{
    return at >= 0 && at < l->items->n ? l->items->item[at]
                                       : jundefined(JTEXT("no such item of the loop"));
}

static bool loop_attr(const struct jloop *l, struct jtext name, struct jvalue *out)
{
    int64_t i = l->index, n = l->items->n;
    const struct {
        const char *name;
        struct jvalue value;
    } fields[] = {
        { "index", jint(i + 1) },
        { "index0", jint(i) },
        { "revindex", jint(n - i) },
        { "revindex0", jint(n - i - 1) },
        { "first", jbool(i == 0) },
        { "last", jbool(i + 1 == n) },
        { "length", jint(n) },
        { "depth", jint(l->depth) },
        { "depth0", jint(l->depth - 1) },
        { "previtem", loop_neighbour(l, i - 1) },
        { "nextitem", loop_neighbour(l, i + 1) },
    };
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
        if (jtext_is(name, fields[k].name)) {
            *out = fields[k].value;
            return true;
        }
    }
    return false;
}

static bool macro_attr(struct jrun *r, const struct jmacro *m, struct jtext name,
                       struct jvalue *out)
{
    if (jtext_is(name, "name")) {
        *out = jword(m->def->name);
        return true;
    }
    if (!jtext_is(name, "arguments"))
        return false;
    *out = jlist_new(r, J_TUPLE);
    for (const struct jnode *p = m->def->params; p; p = p->next)
        jlist_push(r, out->list, jword(p->name));
    return true;
}

/* What belongs to the value itself: fields and methods; not the keys of a dict. */
static bool own_attr(struct jrun *r, const struct jvalue *v, struct jtext name, struct jvalue *out)
{
    if (v->kind == J_LOOP && loop_attr(v->loop, name, out))
        return true;
    if (v->kind == J_MACRO && macro_attr(r, v->macro, name, out))
        return true;
    if (v->kind == J_TUPLE && v->list->word &&
        (jtext_is(name, "grouper") || jtext_is(name, "list"))) {
        *out = v->list->item[jtext_is(name, "list")];
        return true;
    }
    if (v->kind == J_NAMESPACE) {
        const struct jvalue *found = jdict_find_word(r, v->dict, name);
        *out = found ? *found : *out;
        return found != NULL;
    }
    if (v->kind == J_CYCLER && jtext_is(name, "current")) {
        *out = v->list->item[v->list->taken];
        return true;
    }
    const struct jbuiltin *method = jmethod_find(v->kind, name);
    if (method)
        *out = jfunction(r, method, v);
    return method != NULL;
}

struct jvalue jop_attr(struct jrun *r, const struct jvalue *v, struct jtext name)
{
    struct jvalue out = jundefined(name);
    if (v->kind == J_UNDEFINED)
        jrun_fail_undefined(r, v, "has no attributes");
    if (own_attr(r, v, name, &out))
        return out;
    if (v->kind == J_DICT) {
        const struct jvalue *found = jdict_find_word(r, v->dict, name);
        return found ? *found : out;
    }
    return out;
}

/* ---- items and slices ---- */

static struct jvalue text_at(struct jrun *r, struct jtext t, int64_t i)
{
    jrun_charge(r, t.len);
    uint32_t n = jtext_n_char(t);
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return jundefined(JTEXT("a character past the end"));
    uint32_t at = jtext_offset(t, (uint32_t)i);
    return jtextv(jtext_slice(t, at, at + jtext_char_len(t, at)));
}

static struct jvalue list_at(const struct jlist *l, int64_t i)
{
    if (i < 0)
        i += l->n;
    return i >= 0 && i < l->n ? l->item[i] : jundefined(JTEXT("an item past the end"));
}

static bool can_index(const struct jvalue *v)
{
    return v->kind == J_TEXT || v->kind == J_LIST || v->kind == J_TUPLE || v->kind == J_RANGE;
}

struct jvalue jop_item(struct jrun *r, const struct jvalue *v, const struct jvalue *key)
{
    struct jvalue out = jundefined(JTEXT("no such item"));
    if (v->kind == J_UNDEFINED)
        jrun_fail_undefined(r, v, "has no items");
    if (v->kind == J_DICT) {
        const struct jvalue *found = jdict_find(r, v->dict, key);
        if (found)
            return *found;
    }
    if (can_index(v) && jvalue_is_whole(key))
        return v->kind == J_TEXT ? text_at(r, v->text, jvalue_whole(key))
                                 : list_at(v->list, jvalue_whole(key));
    if (key->kind == J_TEXT && !own_attr(r, v, key->text, &out))
        out = jundefined(key->text);
    return out;
}

/* Python's rule for the bounds of a slice over n items. */
struct slice {
    int64_t from, to, step;
};

static int64_t clipped(const struct jvalue *bound, int64_t n, int64_t step, int64_t otherwise)
{
    if (bound->kind == J_NONE)
        return otherwise;
    int64_t i = jvalue_whole(bound), low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (i < 0)
        i += n;
    return i < low ? low : i > high ? high : i;
}

static bool slice_bounds(struct jrun *r, const struct jvalue bound[3], int64_t n, struct slice *s)
{
    for (int i = 0; i < 3; i++) {
        if (bound[i].kind != J_NONE && !jvalue_is_whole(&bound[i]))
            jrun_fail(r, "a slice has integers for bounds, not a %s", jvalue_type(&bound[i]));
    }
    if (!jrun_ok(r))
        return false;
    s->step = bound[2].kind == J_NONE ? 1 : jvalue_whole(&bound[2]);
    if (s->step == 0)
        jrun_fail(r, "the step of a slice is 0");
    if (s->step > n + 1)
        s->step = n + 1;
    if (s->step < -(n + 1))
        s->step = -(n + 1);
    s->from = clipped(&bound[0], n, s->step, s->step < 0 ? n - 1 : 0);
    s->to = clipped(&bound[1], n, s->step, s->step < 0 ? -1 : n);
    return jrun_ok(r);
}

static bool slice_on(const struct slice *s, int64_t i)
{
    return s->step < 0 ? i > s->to : i < s->to;
}

static struct jvalue text_slice(struct jrun *r, struct jtext t, const struct slice *s)
{
    if (s->step == 1) {
        uint32_t from = jtext_offset(t, (uint32_t)s->from);
        int64_t n = s->to > s->from ? s->to - s->from : 0;
        uint32_t len = jtext_offset(jtext_slice(t, from, t.len), (uint32_t)n);
        return jtextv(jtext_slice(t, from, from + len));
    }
    struct jbuild out;
    struct jvalue text = jtextv(t);
    const struct jlist *l = jvalue_items(r, &text);
    jbuild_open(&out, r);
    for (int64_t i = s->from; slice_on(s, i) && jrun_step(r, 1); i += s->step)
        jbuild_add(&out, l->item[i].text);
    struct jtext result = jbuild_text(&out);
    result.safe = t.safe;
    return jtextv(result);
}

struct jvalue jop_slice(struct jrun *r, const struct jvalue *v, const struct jvalue bound[3])
{
    struct slice s;
    if (v->kind == J_UNDEFINED)
        jrun_fail_undefined(r, v, "has no slices");
    else if (!can_index(v))
        jrun_fail(r, "a %s has no slices", jvalue_type(v));
    if (!jrun_ok(r) || !slice_bounds(r, bound, jvalue_length(r, v), &s))
        return jnothing();
    if (v->kind == J_TEXT)
        return text_slice(r, v->text, &s);
    struct jvalue out = jlist_new(r, v->kind);
    out.trusted = v->trusted;
    for (int64_t i = s.from; slice_on(&s, i) && jrun_step(r, 1); i += s.step)
        jlist_push(r, out.list, v->list->item[i]);
    return out;
}

/* ---- dotted paths ---- */

static struct jvalue path_part(struct jrun *r, const struct jvalue *v, struct jtext part)
{
    struct jvalue key = jtextv(part);
    bool digits = part.len > 0 && part.len < 10;
    int64_t index = 0;
    for (uint32_t i = 0; i < part.len && digits; i++) {
        digits = part.bytes[i] >= '0' && part.bytes[i] <= '9';
        index = index * 10 + (part.bytes[i] - '0');
    }
    if (digits)
        key = jint(index);
    return jop_item(r, v, &key);
}

static struct jvalue unless_missing(struct jvalue v, const struct jvalue *otherwise)
{
    bool replace = v.kind == J_UNDEFINED && otherwise && otherwise->kind != J_NONE;
    return replace ? *otherwise : v;
}

struct jvalue jop_path(struct jrun *r, const struct jvalue *v, const struct jvalue *path,
                       const struct jvalue *otherwise)
{
    struct jvalue here = *v;
    if (path->kind != J_TEXT)
        return unless_missing(jop_item(r, v, path), otherwise);
    for (size_t from = 0; from <= path->text.len && jrun_ok(r);) {
        ptrdiff_t dot = jtext_find(path->text, JTEXT("."), from);
        size_t to = dot < 0 ? path->text.len : (size_t)dot;
        here = path_part(r, &here, jtext_slice(path->text, from, to));
        here = unless_missing(here, otherwise);
        from = to + 1;
    }
    return here;
}
