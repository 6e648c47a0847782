#include "text/jinja_parse.h"

#include <string.h>

static struct jnode *parse_unary(struct jparse *p, bool with_filters);
static struct jnode *parse_primary(struct jparse *p);

static struct jnode *node_pair(struct jparse *p, enum jnode_kind kind, struct jnode *left)
{
    struct jnode *n = jnode_new(p, kind);
    n->pair.left = left;
    return n;
}

/* ---- operators, from loose to tight ---- */

static struct jnode *parse_power(struct jparse *p)
{
    struct jnode *left = parse_unary(p, true);
    while (jparse_at_op(p, JOP2('*', '*'))) {
        struct jnode *n = node_pair(p, JN_BINARY, left);
        jparse_step(p);
        n->pair.op = JOP_POW;
        n->pair.right = parse_unary(p, true);
        left = n;
    }
    return left;
}

static struct jnode *parse_product(struct jparse *p)
{
    static const struct {
        int token;
        enum jop op;
    } ops[] = {
        { '*', JOP_MUL }, { '/', JOP_DIV }, { JOP2('/', '/'), JOP_FLOORDIV }, { '%', JOP_MOD }
    };
    struct jnode *left = parse_power(p);
    for (size_t i = 0; i < 4;) {
        if (!jparse_at_op(p, ops[i].token)) {
            i++;
            continue;
        }
        struct jnode *n = node_pair(p, JN_BINARY, left);
        jparse_step(p);
        n->pair.op = ops[i].op;
        n->pair.right = parse_power(p);
        left = n;
        i = 0;
    }
    return left;
}

static struct jnode *parse_concat(struct jparse *p)
{
    struct jnode *first = parse_product(p);
    if (!jparse_at_op(p, '~'))
        return first;
    struct jnode *n = jnode_new(p, JN_CONCAT);
    struct jnode_list parts = { 0 };
    jnode_list_add(&parts, first);
    while (jparse_skip_op(p, '~'))
        jnode_list_add(&parts, parse_product(p));
    n->list = parts.first;
    return n;
}

static struct jnode *parse_sum(struct jparse *p)
{
    struct jnode *left = parse_concat(p);
    while (jparse_at_op(p, '+') || jparse_at_op(p, '-')) {
        struct jnode *n = node_pair(p, JN_BINARY, left);
        n->pair.op = jparse_at_op(p, '+') ? JOP_ADD : JOP_SUB;
        jparse_step(p);
        n->pair.right = parse_concat(p);
        left = n;
    }
    return left;
}

/* The comparison that stands here, skipped; false when there is none. */
static bool skip_comparison(struct jparse *p, enum jcompare *op)
{
    static const struct {
        int token;
        enum jcompare op;
    } ops[] = { { JOP2('=', '='), JCMP_EQ },
                { JOP2('!', '='), JCMP_NE },
                { JOP2('<', '='), JCMP_LE },
                { JOP2('>', '='), JCMP_GE },
                { '<', JCMP_LT },
                { '>', JCMP_GT } };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (jparse_skip_op(p, ops[i].token)) {
            *op = ops[i].op;
            return true;
        }
    }
    if (jparse_skip_word(p, "in")) {
        *op = JCMP_IN;
        return true;
    }
    if (jparse_at_word(p, "not") && p->ahead.kind == JT_NAME && jtext_is(p->ahead.text, "in")) {
        jparse_step(p);
        jparse_step(p);
        *op = JCMP_NOT_IN;
        return true;
    }
    return false;
}

static struct jnode *compare_node(struct jparse *p, enum jcompare op, struct jnode *operand)
{
    struct jnode *n = jnode_new(p, JN_COMPARE);
    n->compare.op = op;
    n->compare.operand = operand;
    return n;
}

static struct jnode *parse_comparison(struct jparse *p)
{
    struct jnode *left = parse_sum(p), *first = NULL, *last = NULL;
    enum jcompare op;
    while (skip_comparison(p, &op)) {
        if (!first)
            first = last = compare_node(p, op, left);
        struct jnode *step = compare_node(p, op, parse_sum(p));
        last->fallback = step;
        last = step;
    }
    return first ? first : left;
}

static struct jnode *parse_not(struct jparse *p)
{
    if (!jparse_at_word(p, "not"))
        return parse_comparison(p);
    struct jnode *n = jnode_new(p, JN_NOT);
    jparse_step(p);
    if (jparse_enter(p)) {
        n->expr = parse_not(p);
        jparse_leave(p);
    }
    return n;
}

static struct jnode *parse_and(struct jparse *p)
{
    struct jnode *left = parse_not(p);
    while (jparse_skip_word(p, "and")) {
        left = node_pair(p, JN_AND, left);
        left->pair.right = parse_not(p);
    }
    return left;
}

static struct jnode *parse_or(struct jparse *p)
{
    struct jnode *left = parse_and(p);
    while (jparse_skip_word(p, "or")) {
        left = node_pair(p, JN_OR, left);
        left->pair.right = parse_and(p);
    }
    return left;
}

static struct jnode *parse_choice(struct jparse *p)
{
    struct jnode *yes = parse_or(p);
    while (jparse_skip_word(p, "if")) {
        struct jnode *n = jnode_new(p, JN_CHOICE);
        n->choice.yes = yes;
        n->choice.test = parse_or(p);
        if (jparse_skip_word(p, "else"))
            n->choice.no = jparse_expr(p, true);
        yes = n;
    }
    return yes;
}

struct jnode *jparse_expr(struct jparse *p, bool choice)
{
    if (!jparse_enter(p))
        return jnode_new(p, JN_CONST);
    struct jnode *n = choice ? parse_choice(p) : parse_or(p);
    jparse_leave(p);
    return n;
}

static bool at_tuple_end(const struct jparse *p, const char *end_word)
{
    return p->now.kind == JT_PRINT_END || p->now.kind == JT_BLOCK_END || p->now.kind == JT_END ||
           jparse_at_op(p, ')') || (end_word && jparse_at_word(p, end_word));
}

/* Items up to the end of a tuple; *is_tuple: there was a comma. */
static struct jnode *parse_items(struct jparse *p, bool choice, const char *end_word,
                                 bool *is_tuple)
{
    struct jnode_list items = { 0 };
    *is_tuple = false;
    while (!at_tuple_end(p, end_word)) {
        jnode_list_add(&items, jparse_expr(p, choice));
        if (!jparse_skip_op(p, ','))
            break;
        *is_tuple = true;
    }
    return items.first;
}

struct jnode *jparse_exprs(struct jparse *p, bool choice, const char *end_word)
{
    bool is_tuple;
    struct jnode *items = parse_items(p, choice, end_word, &is_tuple);
    if (items && !is_tuple)
        return items;
    struct jnode *n = jnode_new(p, JN_TUPLE);
    n->list = items;
    if (!items)
        jparse_expected(p, "an expression");
    return n;
}

/* ---- postfix: access, calls, filters, tests ---- */

/* One argument of a call, with its name if it has one. */
static void parse_arg(struct jparse *p, struct jnode_call *call, struct jnode_list *args)
{
    if (p->now.kind != JT_NAME || p->ahead.kind != JT_OPERATOR || p->ahead.op != '=') {
        if ((args->last && args->last->key) || call->star || call->star_star)
            jparse_fail(p, "an argument by position follows one by name");
        jnode_list_add(args, jparse_expr(p, true));
        return;
    }
    const char *key = jparse_name(p, p->now.text);
    if (call->star_star)
        jparse_fail(p, "an argument follows the ** one");
    jparse_step(p);
    jparse_step(p);
    struct jnode *arg = jparse_expr(p, true);
    arg->key = key;
    jnode_list_add(args, arg);
}

static void parse_args(struct jparse *p, struct jnode_call *call)
{
    struct jnode_list args = { 0 };
    jparse_expect_op(p, '(', "(");
    while (p->now.kind != JT_END && !jparse_at_op(p, ')')) {
        if (jparse_skip_op(p, '*')) {
            if (call->star || call->star_star)
                jparse_fail(p, "a second * argument");
            call->star = jparse_expr(p, true);
        } else if (jparse_skip_op(p, JOP2('*', '*'))) {
            if (call->star_star)
                jparse_fail(p, "a second ** argument");
            call->star_star = jparse_expr(p, true);
        } else {
            parse_arg(p, call, &args);
        }
        if (!jparse_at_op(p, ')'))
            jparse_expect_op(p, ',', ", or )");
    }
    jparse_expect_op(p, ')', ")");
    call->args = args.first;
}

static struct jnode *parse_call(struct jparse *p, struct jnode *of)
{
    struct jnode *n = jnode_new(p, JN_CALL);
    n->call.of = of;
    parse_args(p, &n->call);
    return n;
}

static struct jnode *const_node(struct jparse *p, struct jvalue v)
{
    struct jnode *n = jnode_new(p, JN_CONST);
    n->value = v;
    return n;
}

static struct jnode *parse_dot(struct jparse *p, struct jnode *of)
{
    struct jnode *n = jnode_new(p, JN_ATTR);
    jparse_step(p);
    if (p->now.kind == JT_INT) { // a.0 is a[0]
        n->kind = JN_ITEM;
        n->item.of = of;
        n->item.key = const_node(p, jint(p->now.whole));
        jparse_step(p);
        return n;
    }
    n->attr.of = of;
    n->attr.name = jparse_expect_name(p, "a name or number after the dot");
    return n;
}

/* A bound of a slice, or NULL when it was left out. */
static struct jnode *parse_bound(struct jparse *p)
{
    if (jparse_at_op(p, ':') || jparse_at_op(p, ']') || jparse_at_op(p, ','))
        return NULL;
    return jparse_expr(p, true);
}

static struct jnode *parse_brackets(struct jparse *p, struct jnode *of)
{
    struct jnode *n = jnode_new(p, JN_SLICE);
    jparse_step(p);
    struct jnode *first = parse_bound(p);
    if (first && !jparse_at_op(p, ':')) {
        n->kind = JN_ITEM;
        n->item.of = of;
        n->item.key = first;
        jparse_expect_op(p, ']', "]");
        return n;
    }
    n->slice.of = of;
    n->slice.bound[0] = first;
    jparse_expect_op(p, ':', "an index");
    n->slice.bound[1] = parse_bound(p);
    if (jparse_skip_op(p, ':'))
        n->slice.bound[2] = parse_bound(p);
    jparse_expect_op(p, ']', "]");
    return n;
}

static struct jnode *parse_postfix(struct jparse *p, struct jnode *n)
{
    for (;;) {
        if (jparse_at_op(p, '.'))
            n = parse_dot(p, n);
        else if (jparse_at_op(p, '['))
            n = parse_brackets(p, n);
        else if (jparse_at_op(p, '('))
            n = parse_call(p, n);
        else
            return n;
    }
}

static struct jnode *parse_filter(struct jparse *p, struct jnode *of)
{
    struct jnode *n = jnode_new(p, JN_FILTER);
    n->call.of = of;
    n->call.name = jparse_expect_name(p, "the name of a filter");
    n->call.row = jfilter_find(jtext_of(n->call.name));
    if (jparse_at_op(p, '('))
        parse_args(p, &n->call);
    return n;
}

struct jnode *jparse_filters(struct jparse *p, struct jnode *of)
{
    struct jnode *n = parse_filter(p, of);
    while (jparse_skip_op(p, '|'))
        n = parse_filter(p, n);
    return n;
}

/* Whether what follows the name of a test is its one argument, given without parentheses. */
static bool at_bare_arg(const struct jparse *p)
{
    if (p->now.kind == JT_STRING || p->now.kind == JT_INT || p->now.kind == JT_FLOAT)
        return true;
    if (p->now.kind == JT_NAME)
        return !jparse_at_word(p, "else") && !jparse_at_word(p, "or") && !jparse_at_word(p, "and");
    return jparse_at_op(p, '[') || jparse_at_op(p, '{');
}

static struct jnode *parse_test(struct jparse *p, struct jnode *of)
{
    struct jnode *n = jnode_new(p, JN_TEST), *negated = NULL;
    jparse_step(p); // is
    if (jparse_at_word(p, "not")) {
        negated = jnode_new(p, JN_NOT);
        jparse_step(p);
    }
    n->call.of = of;
    n->call.name = jparse_expect_name(p, "the name of a test");
    n->call.row = jtest_find(jtext_of(n->call.name));
    if (jparse_at_op(p, '(')) {
        parse_args(p, &n->call);
    } else if (at_bare_arg(p)) {
        if (jparse_at_word(p, "is"))
            jparse_fail(p, "tests with `is` cannot be chained");
        n->call.args = parse_postfix(p, parse_primary(p));
    }
    if (!negated)
        return n;
    negated->expr = n;
    return negated;
}

static struct jnode *parse_filters_and_tests(struct jparse *p, struct jnode *n)
{
    for (;;) {
        if (jparse_skip_op(p, '|'))
            n = parse_filter(p, n);
        else if (jparse_at_word(p, "is"))
            n = parse_test(p, n);
        else if (jparse_at_op(p, '('))
            n = parse_call(p, n);
        else
            return n;
    }
}

static struct jnode *parse_unary(struct jparse *p, bool with_filters)
{
    struct jnode *n;
    if (jparse_at_op(p, '-') || jparse_at_op(p, '+')) {
        n = jnode_new(p, jparse_at_op(p, '-') ? JN_NEGATE : JN_PLUS);
        jparse_step(p);
        if (jparse_enter(p)) {
            n->expr = parse_unary(p, false);
            jparse_leave(p);
        }
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    return with_filters ? parse_filters_and_tests(p, n) : n;
}

/* ---- literals and names ---- */

static struct jnode *parse_string(struct jparse *p)
{
    struct jnode *n = const_node(p, jtextv(p->now.text));
    jparse_step(p);
    if (p->now.kind != JT_STRING)
        return n;
    struct jnode *all = jnode_new(p, JN_CONCAT); // 'a' 'b' is 'ab'
    struct jnode_list parts = { 0 };
    jnode_list_add(&parts, n);
    for (; p->now.kind == JT_STRING; jparse_step(p))
        jnode_list_add(&parts, const_node(p, jtextv(p->now.text)));
    all->list = parts.first;
    return all;
}

/* A macro takes surplus arguments and a caller only when its body names them. */
static void note_special_name(struct jparse *p, const char *name)
{
    if (!p->macro)
        return;
    p->macro->wants_varargs |= name == p->t->varargs;
    p->macro->wants_kwargs |= name == p->t->kwargs;
    p->macro->wants_caller |= name == p->t->caller;
}

static struct jnode *parse_name(struct jparse *p)
{
    static const struct {
        const char *word;
        struct jvalue value;
    } constants[] = {
        { "true", { .kind = J_BOOL, .trusted = true, .truth = true } },
        { "True", { .kind = J_BOOL, .trusted = true, .truth = true } },
        { "false", { .kind = J_BOOL, .trusted = true } },
        { "False", { .kind = J_BOOL, .trusted = true } },
        { "none", { .kind = J_NONE, .trusted = true } },
        { "None", { .kind = J_NONE, .trusted = true } },
    };
    struct jnode *n = NULL;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (jtext_is(p->now.text, constants[i].word))
            n = const_node(p, constants[i].value);
    }
    if (!n) {
        n = jnode_new(p, JN_NAME);
        n->name = jparse_name(p, p->now.text);
        note_special_name(p, n->name);
    }
    jparse_step(p);
    return n;
}

static struct jnode *parse_parentheses(struct jparse *p)
{
    bool is_tuple;
    jparse_step(p);
    struct jnode *items = parse_items(p, true, NULL, &is_tuple);
    struct jnode *n = items;
    if (is_tuple || !items) {
        n = jnode_new(p, JN_TUPLE);
        n->list = items;
    }
    jparse_expect_op(p, ')', ", or )");
    return n;
}

static struct jnode *parse_list(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_LIST);
    struct jnode_list items = { 0 };
    jparse_step(p);
    while (p->now.kind != JT_END && !jparse_at_op(p, ']')) {
        jnode_list_add(&items, jparse_expr(p, true));
        if (!jparse_at_op(p, ']'))
            jparse_expect_op(p, ',', ", or ]");
    }
    jparse_expect_op(p, ']', "]");
    n->list = items.first;
    return n;
}

static struct jnode *parse_dict(struct jparse *p)
{
    struct jnode *n = jnode_new(p, JN_DICT);
    struct jnode_list items = { 0 };
    jparse_step(p);
    while (p->now.kind != JT_END && !jparse_at_op(p, '}')) {
        jnode_list_add(&items, jparse_expr(p, true));
        jparse_expect_op(p, ':', ": and a value");
        jnode_list_add(&items, jparse_expr(p, true));
        if (!jparse_at_op(p, '}'))
            jparse_expect_op(p, ',', ", or }");
    }
    jparse_expect_op(p, '}', "}");
    n->list = items.first;
    return n;
}

static struct jnode *parse_primary(struct jparse *p)
{
    struct jnode *n;
    switch (p->now.kind) {
    case JT_NAME:
        return parse_name(p);
    case JT_STRING:
        return parse_string(p);
    case JT_INT:
        n = const_node(p, jint(p->now.whole));
        jparse_step(p);
        return n;
    case JT_FLOAT:
        n = const_node(p, jfloat(p->now.real));
        jparse_step(p);
        return n;
    default:
        break;
    }
    if (jparse_at_op(p, '('))
        return parse_parentheses(p);
    if (jparse_at_op(p, '['))
        return parse_list(p);
    if (jparse_at_op(p, '{'))
        return parse_dict(p);
    jparse_expected(p, "an expression");
    return jnode_new(p, JN_CONST);
}

/* ---- targets of assignments ---- */

static struct jnode *parse_one_target(struct jparse *p, bool fields)
{
    if (jparse_skip_op(p, '(')) {
        struct jnode *n = jparse_target(p, true, fields);
        jparse_expect_op(p, ')', ", or )");
        return n;
    }
    struct jnode *n = p->now.kind == JT_NAME ? parse_name(p) : jnode_new(p, JN_CONST);
    if (n->kind != JN_NAME) {
        jparse_fail(p, "only a name can be assigned to");
        return n;
    }
    if (!fields || !jparse_skip_op(p, '.'))
        return n;
    struct jnode *field = jnode_new(p, JN_ATTR);
    field->attr.of = n;
    field->attr.name = jparse_expect_name(p, "the name of a field");
    return field;
}

static bool at_target(const struct jparse *p)
{
    return jparse_at_op(p, '(') || (p->now.kind == JT_NAME && !jparse_at_word(p, "in"));
}

struct jnode *jparse_target(struct jparse *p, bool several, bool fields)
{
    if (!jparse_enter(p))
        return jnode_new(p, JN_NAME);
    struct jnode *first = parse_one_target(p, fields);
    jparse_leave(p);
    if (!several || !jparse_at_op(p, ','))
        return first;
    struct jnode *n = jnode_new(p, JN_TUPLE);
    struct jnode_list targets = { 0 };
    jnode_list_add(&targets, first);
    while (jparse_skip_op(p, ',') && at_target(p))
        jnode_list_add(&targets, parse_one_target(p, fields));
    n->list = targets.first;
    return n;
}
