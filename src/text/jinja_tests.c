/* The tests behind `is`, as jinja2's tests.py has them. */
#include "text/jinja_ops.h"

#define KIND_TEST(name, condition)                                                                 \
    static struct jvalue test_##name(struct jrun *r, const struct jcall *c)                        \
    {                                                                                              \
        enum jkind kind = c->self.kind;                                                            \
        (void)r, (void)kind;                                                                       \
        return jbool(condition);                                                                   \
    }

KIND_TEST(defined, kind != J_UNDEFINED)
KIND_TEST(undefined, kind == J_UNDEFINED)
KIND_TEST(none, kind == J_NONE)
KIND_TEST(boolean, kind == J_BOOL)
KIND_TEST(true, kind == J_BOOL && c->self.truth)
KIND_TEST(false, kind == J_BOOL && !c->self.truth)
KIND_TEST(integer, kind == J_INT)
KIND_TEST(float, kind == J_FLOAT)
KIND_TEST(number, jvalue_is_number(&c->self))
KIND_TEST(string, kind == J_TEXT)
KIND_TEST(mapping, kind == J_DICT)
KIND_TEST(escaped, kind == J_TEXT && c->self.text.safe)
KIND_TEST(callable, kind == J_FUNCTION || kind == J_MACRO || kind == J_LOOP)
KIND_TEST(iterable, kind == J_UNDEFINED || kind == J_TEXT || kind == J_DICT || kind == J_LOOP ||
                        jvalue_is_list(&c->self))
KIND_TEST(sequence, kind == J_UNDEFINED || kind == J_TEXT || kind == J_DICT || kind == J_LIST ||
                        kind == J_TUPLE || kind == J_RANGE)

/* self % argument (or 2), as a number. */
static bool remainder_is(struct jrun *r, const struct jcall *c, struct jvalue by, int64_t expected)
{
    struct jvalue rest = jop_binary(r, JOP_MOD, &c->self, &by), wanted = jint(expected);
    return jrun_ok(r) && jvalue_equal(r, &rest, &wanted);
}

static struct jvalue test_odd(struct jrun *r, const struct jcall *c)
{
    return jbool(remainder_is(r, c, jint(2), 1));
}

static struct jvalue test_even(struct jrun *r, const struct jcall *c)
{
    return jbool(remainder_is(r, c, jint(2), 0));
}

static struct jvalue test_divisibleby(struct jrun *r, const struct jcall *c)
{
    return jbool(remainder_is(r, c, c->arg[0], 0));
}

static struct jvalue test_eq(struct jrun *r, const struct jcall *c)
{
    return jbool(jvalue_equal(r, &c->self, &c->arg[0]));
}

static struct jvalue test_ne(struct jrun *r, const struct jcall *c)
{
    return jbool(!jvalue_equal(r, &c->self, &c->arg[0]));
}

static struct jvalue test_lt(struct jrun *r, const struct jcall *c)
{
    return jbool(jvalue_compare(r, &c->self, &c->arg[0]) < 0);
}

static struct jvalue test_le(struct jrun *r, const struct jcall *c)
{
    return jbool(jvalue_compare(r, &c->self, &c->arg[0]) <= 0);
}

static bool greater(int order, bool or_equal)
{
    return order != JVALUE_UNORDERED && (or_equal ? order >= 0 : order > 0);
}

static struct jvalue test_gt(struct jrun *r, const struct jcall *c)
{
    return jbool(greater(jvalue_compare(r, &c->self, &c->arg[0]), false));
}

static struct jvalue test_ge(struct jrun *r, const struct jcall *c)
{
    return jbool(greater(jvalue_compare(r, &c->self, &c->arg[0]), true));
}

static struct jvalue test_in(struct jrun *r, const struct jcall *c)
{
    return jbool(jvalue_contains(r, &c->arg[0], &c->self));
}

/* The same object: what Python keeps once (none, booleans, small integers) is the same when it is
 * equal. */
static struct jvalue test_sameas(struct jrun *r, const struct jcall *c)
{
    const struct jvalue *a = &c->self, *b = &c->arg[0];
    if (a->kind != b->kind)
        return jbool(false);
    if (a->kind == J_DICT || a->kind == J_NAMESPACE || jvalue_is_list(a))
        return jbool(a->list == b->list);
    return jbool(jvalue_equal(r, a, b));
}

static struct jvalue test_lower(struct jrun *r, const struct jcall *c)
{
    return jbool(jtext_has_case(r, jshow_text(r, &c->self), JTEXT_LOWER));
}

static struct jvalue test_upper(struct jrun *r, const struct jcall *c)
{
    return jbool(jtext_has_case(r, jshow_text(r, &c->self), JTEXT_UPPER));
}

static struct jvalue test_filter(struct jrun *r, const struct jcall *c)
{
    (void)r;
    return jbool(c->self.kind == J_TEXT && jfilter_find(c->self.text));
}

static struct jvalue test_test(struct jrun *r, const struct jcall *c)
{
    (void)r;
    return jbool(c->self.kind == J_TEXT && jtest_find(c->self.text));
}

static const struct jbuiltin rows[] = {
    { "!=", test_ne, "other", 1 },
    { "<", test_lt, "other", 1 },
    { "<=", test_le, "other", 1 },
    { "==", test_eq, "other", 1 },
    { ">", test_gt, "other", 1 },
    { ">=", test_ge, "other", 1 },
    { "boolean", test_boolean, "", 0 },
    { "callable", test_callable, "", 0 },
    { "defined", test_defined, "", 0 },
    { "divisibleby", test_divisibleby, "num", 1 },
    { "eq", test_eq, "other", 1 },
    { "equalto", test_eq, "other", 1 },
    { "escaped", test_escaped, "", 0 },
    { "even", test_even, "", 0 },
    { "false", test_false, "", 0 },
    { "filter", test_filter, "", 0 },
    { "float", test_float, "", 0 },
    { "ge", test_ge, "other", 1 },
    { "greaterthan", test_gt, "other", 1 },
    { "gt", test_gt, "other", 1 },
    { "in", test_in, "seq", 1 },
    { "integer", test_integer, "", 0 },
    { "iterable", test_iterable, "", 0 },
    { "le", test_le, "other", 1 },
    { "lessthan", test_lt, "other", 1 },
    { "lower", test_lower, "", 0 },
    { "lt", test_lt, "other", 1 },
    { "mapping", test_mapping, "", 0 },
    { "ne", test_ne, "other", 1 },
    { "none", test_none, "", 0 },
    { "number", test_number, "", 0 },
    { "odd", test_odd, "", 0 },
    { "sameas", test_sameas, "other", 1 },
    { "sequence", test_sequence, "", 0 },
    { "string", test_string, "", 0 },
    { "test", test_test, "", 0 },
    { "true", test_true, "", 0 },
    { "undefined", test_undefined, "", 0 },
    { "upper", test_upper, "", 0 },
};

static const struct jbuiltin_table tests = JBUILTIN_TABLE(rows);

const struct jbuiltin *jtest_find(struct jtext name)
{
    return jbuiltin_find(&tests, name);
}
