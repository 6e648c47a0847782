/* Filters that give numbers, as jinja2's filters.py and Python's int(), float() and round() have
 * them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_ops.h"

/* The number with the origin of what it was made from. */
static struct jvalue made_from(const struct jvalue *origin, struct jvalue number)
{
    number.trusted = origin->kind == J_TEXT ? jtext_all_trusted(origin->text) : origin->trusted;
    return number;
}

static struct jvalue filter_abs(struct jrun *r, const struct jcall *c)
{
    struct jvalue zero = jint(0);
    if (c->self.kind == J_FLOAT)
        return made_from(&c->self, jfloat(fabs(c->self.real)));
    if (jvalue_is_whole(&c->self) && jvalue_whole(&c->self) >= 0)
        return jop_binary(r, JOP_ADD, &c->self, &zero);
    return jop_negate(r, &c->self);
}

/* ---- reading numbers ---- */

static bool has_prefix(struct jtext t, int base)
{
    char letter = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : 0;
    return letter && t.len > 2 && t.bytes[0] == '0' && (t.bytes[1] | 32) == letter;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* text as an integer of the base, as Python's int(): white space around, underscores between
 * digits. */
static bool parse_int(struct jtext t, int base, int64_t *out)
{
    t = jtext_strip(t, JTEXT_BOTH);
    bool minus = t.len > 0 && t.bytes[0] == '-', after_digit = false;
    uint32_t i = t.len > 0 && (minus || t.bytes[0] == '+');
    i += has_prefix(jtext_slice(t, i, t.len), base) ? 2 : 0;
    *out = 0;
    for (; i < t.len; i++) {
        if (t.bytes[i] == '_' && after_digit && i + 1 < t.len) {
            after_digit = false;
            continue;
        }
        int digit = digit_of(t.bytes[i]);
        if (digit >= base || __builtin_mul_overflow(*out, base, out) ||
            __builtin_sub_overflow(*out, digit, out)) // counted downwards: the least integer fits
            return false;
        after_digit = true;
    }
    return after_digit && (minus || !__builtin_sub_overflow(0, *out, out));
}

static bool parse_float(struct jtext t, double *out)
{
    char copy[64], *end;
    t = jtext_strip(t, JTEXT_BOTH);
    bool hex = t.len > 0 && (memchr(t.bytes, 'x', t.len) || memchr(t.bytes, 'X', t.len));
    if (t.len == 0 || t.len >= sizeof copy || hex)
        return false;
    memcpy(copy, t.bytes, t.len);
    copy[t.len] = 0;
    *out = strtod(copy, &end);
    return end == copy + t.len;
}

static bool read_real(struct jrun *r, const struct jvalue *v, double *out)
{
    if (v->kind == J_UNDEFINED)
        jrun_fail_undefined(r, v, "is no number");
    if (v->kind == J_TEXT)
        return parse_float(v->text, out);
    *out = jvalue_real(v);
    return jvalue_is_number(v);
}

/* A float without its fraction. */
static struct jvalue truncated(struct jrun *r, double d)
{
    if (fabs(d) < 0x1p63)
        return jint((int64_t)d);
    jrun_fail(r, "%g does not fit in 64 bits, the bound of integers", d);
    return jnothing();
}

static struct jvalue filter_int(struct jrun *r, const struct jcall *c)
{
    int64_t whole, base = jarg_int(r, c, 1, 10);
    double real;
    bool text = c->self.kind == J_TEXT && base >= 2 && base <= 36;
    if (text && parse_int(c->self.text, (int)base, &whole))
        return made_from(&c->self, jint(whole));
    if (c->self.kind == J_INT)
        return c->self;
    if (read_real(r, &c->self, &real) && isfinite(real))
        return made_from(&c->self, truncated(r, real));
    return jarg_given(c, 0) ? c->arg[0] : jint(0);
}

static struct jvalue filter_float(struct jrun *r, const struct jcall *c)
{
    double real;
    if (read_real(r, &c->self, &real))
        return made_from(&c->self, jfloat(real));
    return jarg_given(c, 0) ? c->arg[0] : jfloat(0);
}

/* ---- rounding ---- */

enum { PLACES_MAX = 300 };

/* Half to even at a decimal place, on the exact value of the double. */
static double round_real(double d, int places)
{
    char digits[400];
    if (places < 0) {
        double scale = pow(10, -places);
        return nearbyint(d / scale) * scale;
    }
    if (!(fabs(d) < 1e16)) // has no fraction, or is no number
        return d;
    snprintf(digits, sizeof digits, "%.*f", places, d);
    return strtod(digits, NULL);
}

static struct jvalue round_common(struct jrun *r, const struct jvalue *v, int places)
{
    if (v->kind == J_FLOAT)
        return jfloat(round_real(v->real, places));
    return places < 0 ? truncated(r, round_real(jvalue_real(v), places)) : jint(jvalue_whole(v));
}

static struct jvalue filter_round(struct jrun *r, const struct jcall *c)
{
    int64_t places = jarg_int(r, c, 0, 0);
    struct jtext method = jarg_text(r, c, 1, JTEXT("common"));
    if (!jvalue_is_number(&c->self))
        jrun_fail(r, "round: a %s is no number", jvalue_type(&c->self));
    if (places < -PLACES_MAX || places > PLACES_MAX)
        jrun_fail(r, "round: to %lld places; the bound is %d", (long long)places, PLACES_MAX);
    if (!jrun_ok(r))
        return jnothing();
    double scale = pow(10, (double)places), d = jvalue_real(&c->self) * scale;
    if (jtext_is(method, "ceil"))
        return made_from(&c->self, jfloat((ceil(d) + 0.0) / scale)); // 0.0: there is no integer -0
    if (jtext_is(method, "floor"))
        return made_from(&c->self, jfloat((floor(d) + 0.0) / scale));
    if (jtext_is(method, "common"))
        return made_from(&c->self, round_common(r, &c->self, (int)places));
    jrun_fail(r, "round: the method is common, ceil or floor, not '%.*s'", (int)method.len,
              method.bytes);
    return jnothing();
}

static const struct jbuiltin rows[] = {
    { "abs", filter_abs, "", 0 },
    { "float", filter_float, "default", 0 },
    { "int", filter_int, "default base", 0 },
    { "round", filter_round, "precision method", 0 },
};

const struct jbuiltin_table jfilters_of_numbers = JBUILTIN_TABLE(rows);
