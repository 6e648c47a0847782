#include <string.h>

#include "text/jinja_exec.h"

static uint32_t list_length(const struct jnode *n)
{
    uint32_t count = 0;
    for (; n; n = n->next)
        count++;
    return count;
}

/* ---- literals ---- */

static struct jvalue eval_list(struct jrun *r, const struct jnode *n)
{
    struct jvalue l = jlist_new(r, n->kind == JN_LIST ? J_LIST : J_TUPLE);
    for (const struct jnode *item = n->list; item && jrun_ok(r); item = item->next)
        jlist_push(r, l.list, jeval(r, item));
    return l;
}

static struct jvalue eval_dict(struct jrun *r, const struct jnode *n)
{
    struct jvalue d = jdict_new(r);
    for (const struct jnode *key = n->list; key && jrun_ok(r); key = key->next->next) {
        struct jvalue k = jeval(r, key), v = jeval(r, key->next);
        if (jrun_ok(r))
            jdict_set(r, d.dict, k, v);
    }
    return d;
}

static struct jvalue eval_concat(struct jrun *r, const struct jnode *n)
{
    struct jbuild out;
    jbuild_open(&out, r);
    for (const struct jnode *part = n->list; part && jrun_ok(r); part = part->next) {
        struct jvalue v = jeval(r, part);
        jbuild_add(&out, jshow_text(r, &v));
    }
    return jtextv(jbuild_text(&out));
}

/* ---- operators ---- */

static bool compares(struct jrun *r, enum jcompare op, const struct jvalue *a,
                     const struct jvalue *b)
{
    int order;
    switch (op) {
    case JCMP_EQ:
        return jvalue_equal(r, a, b);
    case JCMP_NE:
        return !jvalue_equal(r, a, b);
    case JCMP_IN:
        return jvalue_contains(r, b, a);
    case JCMP_NOT_IN:
        return !jvalue_contains(r, b, a);
    default:
        order = jvalue_compare(r, a, b);
    }
    if (order == JVALUE_UNORDERED)
        return false;
    return op == JCMP_LT   ? order < 0
           : op == JCMP_LE ? order <= 0
           : op == JCMP_GT ? order > 0
                           : order >= 0;
}

static struct jvalue eval_compare(struct jrun *r, const struct jnode *n)
{
    struct jvalue left = jeval(r, n->compare.operand);
    for (const struct jnode *step = n->fallback; step && jrun_ok(r); step = step->fallback) {
        struct jvalue right = jeval(r, step->compare.operand);
        r->line = step->line;
        if (!jrun_ok(r) || !compares(r, step->compare.op, &left, &right))
            return jbool(false);
        left = right;
    }
    return jbool(true);
}

static struct jvalue eval_binary(struct jrun *r, const struct jnode *n)
{
    struct jvalue a = jeval(r, n->pair.left), b = jeval(r, n->pair.right);
    r->line = n->line;
    return jrun_ok(r) ? jop_binary(r, n->pair.op, &a, &b) : a;
}

/* a + b + c. As long as all are plain texts they are gathered in one builder, not copied at each +. */
struct sum {
    struct jvalue value;
    struct jbuild text;
    bool gathering; // then `text` holds what `value` would be
};

static bool is_plain(const struct jvalue *v)
{
    return v->kind == J_TEXT && !v->text.safe;
}

static void sum_add(struct jrun *r, struct sum *s, const struct jvalue *v)
{
    if (s->gathering && is_plain(v)) {
        jbuild_add(&s->text, v->text);
    } else if (!s->gathering && is_plain(&s->value) && is_plain(v)) {
        s->gathering = true;
        jbuild_open(&s->text, r);
        jbuild_add(&s->text, s->value.text);
        jbuild_add(&s->text, v->text);
    } else {
        if (s->gathering)
            s->value = jtextv(jbuild_text(&s->text));
        s->gathering = false;
        s->value = jop_binary(r, JOP_ADD, &s->value, v);
    }
}

static void eval_terms(struct jrun *r, const struct jnode *n, struct sum *s)
{
    if (!jrun_enter(r))
        return;
    if (n->kind == JN_BINARY && n->pair.op == JOP_ADD) {
        eval_terms(r, n->pair.left, s);
        struct jvalue right = jeval(r, n->pair.right);
        r->line = n->line;
        if (jrun_ok(r))
            sum_add(r, s, &right);
    } else {
        s->value = jeval(r, n);
    }
    jrun_leave(r);
}

static struct jvalue eval_sum(struct jrun *r, const struct jnode *n)
{
    struct sum s = { .value = jnothing() };
    eval_terms(r, n, &s);
    return s.gathering ? jtextv(jbuild_text(&s.text)) : s.value;
}

static struct jvalue eval_logic(struct jrun *r, const struct jnode *n)
{
    struct jvalue left = jeval(r, n->pair.left);
    return jvalue_truth(&left) == (n->kind == JN_AND) ? jeval(r, n->pair.right) : left;
}

static struct jvalue eval_choice(struct jrun *r, const struct jnode *n)
{
    struct jvalue test = jeval(r, n->choice.test);
    if (jvalue_truth(&test))
        return jeval(r, n->choice.yes);
    return n->choice.no ? jeval(r, n->choice.no) : jnothing();
}

static struct jvalue eval_sign(struct jrun *r, const struct jnode *n)
{
    struct jvalue v = jeval(r, n->expr);
    if (n->kind == JN_NEGATE)
        return jop_negate(r, &v);
    struct jvalue zero = jint(0);
    return jop_binary(r, JOP_ADD, &zero, &v);
}

/* ---- access ---- */

static struct jvalue eval_attr(struct jrun *r, const struct jnode *n)
{
    struct jvalue of = jeval(r, n->attr.of);
    r->line = n->line;
    return jop_attr(r, &of, jtext_of(n->attr.name));
}

static struct jvalue eval_item(struct jrun *r, const struct jnode *n)
{
    struct jvalue of = jeval(r, n->item.of), key = jeval(r, n->item.key);
    r->line = n->line;
    return jop_item(r, &of, &key);
}

static struct jvalue eval_slice(struct jrun *r, const struct jnode *n)
{
    struct jvalue of = jeval(r, n->slice.of), bound[3];
    for (int i = 0; i < 3; i++)
        bound[i] = n->slice.bound[i] ? jeval(r, n->slice.bound[i]) : jnone();
    r->line = n->line;
    return jop_slice(r, &of, bound);
}

/* ---- calls ---- */

/* Space for the arguments of a call, and how many there are so far. */
struct arguments {
    struct jvalue *pos;
    struct jnamed *named; // one more than there are names: for a caller
    struct jargs args;
};

static bool arguments_open(struct jrun *r, struct arguments *a, size_t n)
{
    *a = (struct arguments){ 0 };
    a->pos = jrun_new(r, n, sizeof *a->pos);
    a->named = jrun_new(r, n, sizeof *a->named);
    a->args.pos = a->pos;
    a->args.named = a->named;
    return a->pos && a->named;
}

/* Those that are written out: the ones by position, or the ones by name. */
static void add_plain(struct jrun *r, struct arguments *a, const struct jnode *arg, bool named)
{
    for (; arg && jrun_ok(r); arg = arg->next) {
        if (named && arg->key)
            a->named[a->args.n_named++] =
                (struct jnamed){ .name = jtext_of(arg->key), .value = jeval(r, arg) };
        else if (!named && !arg->key)
            a->pos[a->args.n_pos++] = jeval(r, arg);
    }
}

/* The room is counted when the list is at hand: what was evaluated before may have changed it. */
static void add_star(struct jrun *r, struct arguments *a, const struct jvalue *star)
{
    const struct jlist *items = jvalue_items(r, star);
    size_t n = a->args.n_pos;
    struct jvalue *pos = jrun_new(r, n + items->n + 1, sizeof *pos);
    if (!pos)
        return;
    memcpy(pos, a->pos, n * sizeof *pos);
    for (uint32_t i = 0; i < items->n; i++)
        pos[n++] = items->item[i];
    a->args.pos = a->pos = pos;
    a->args.n_pos = n;
}

static void add_star_star(struct jrun *r, struct arguments *a, const struct jvalue *star_star)
{
    size_t n = a->args.n_named;
    if (star_star->kind != J_DICT) {
        jrun_fail(r, "a ** argument must be a dict, it is a %s", jvalue_type(star_star));
        return;
    }
    const struct jdict *d = star_star->dict;
    struct jnamed *named = jrun_new(r, n + d->n + 1, sizeof *named);
    if (!named)
        return;
    memcpy(named, a->named, n * sizeof *named);
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->pair[i].key.kind != J_TEXT)
            jrun_fail(r, "the keys of a ** argument must be strings");
        named[n++] = (struct jnamed){ .name = d->pair[i].key.text, .value = d->pair[i].value };
    }
    a->args.named = a->named = named;
    a->args.n_named = n;
}

/* Evaluates what stands in the parentheses, in Python's order: by position, *, by name, **. The run
 * has failed when it answers false. */
static bool eval_args(struct jrun *r, const struct jnode_call *c, struct arguments *a)
{
    if (!arguments_open(r, a, list_length(c->args) + 1))
        return false;
    add_plain(r, a, c->args, false);
    if (c->star) {
        struct jvalue star = jeval(r, c->star);
        add_star(r, a, &star);
    }
    add_plain(r, a, c->args, true);
    if (c->star_star) {
        struct jvalue star_star = jeval(r, c->star_star);
        add_star_star(r, a, &star_star);
    }
    return jrun_ok(r);
}

struct jvalue jeval_call(struct jrun *r, const struct jnode *n, const struct jvalue *caller)
{
    struct arguments a;
    struct jvalue callee = jeval(r, n->call.of);
    if (!eval_args(r, &n->call, &a))
        return jnothing();
    if (caller)
        a.named[a.args.n_named++] =
            (struct jnamed){ .name = jtext_of(r->program->caller), .value = *caller };
    r->line = n->line;
    return jrun_call(r, &callee, &a.args);
}

static struct jvalue eval_filter_or_test(struct jrun *r, const struct jnode *n)
{
    struct arguments a;
    struct jvalue of = jeval(r, n->call.of);
    if (!eval_args(r, &n->call, &a))
        return jnothing();
    r->line = n->line;
    if (n->call.row)
        return jbuiltin_call(r, n->call.row, &of, &a.args);
    jrun_fail(r, "there is no %s named '%s'", n->kind == JN_FILTER ? "filter" : "test",
              n->call.name);
    return jnothing();
}

struct jvalue jrun_call(struct jrun *r, const struct jvalue *callee, const struct jargs *args)
{
    switch (callee->kind) {
    case J_FUNCTION:
        return jbuiltin_call(r, callee->bound->row, &callee->bound->self, args);
    case J_MACRO:
        return jmacro_call(r, callee->macro, args);
    case J_LOOP:
        return jloop_call(r, callee->loop, args);
    case J_UNDEFINED:
        jrun_fail_undefined(r, callee, "cannot be called");
        return jnothing();
    default:
        jrun_fail(r, "a %s cannot be called", jvalue_type(callee));
        return jnothing();
    }
}

/* ---- all of them ---- */

static struct jvalue eval_node(struct jrun *r, const struct jnode *n)
{
    struct jvalue v;
    switch (n->kind) {
    case JN_CONST:
        return n->value;
    case JN_NAME:
        return jscope_get(r, n->name);
    case JN_LIST:
    case JN_TUPLE:
        return eval_list(r, n);
    case JN_DICT:
        return eval_dict(r, n);
    case JN_ATTR:
        return eval_attr(r, n);
    case JN_ITEM:
        return eval_item(r, n);
    case JN_SLICE:
        return eval_slice(r, n);
    case JN_CALL:
        return jeval_call(r, n, NULL);
    case JN_FILTER:
    case JN_TEST:
        return eval_filter_or_test(r, n);
    case JN_NOT:
        v = jeval(r, n->expr);
        return jbool(!jvalue_truth(&v));
    case JN_NEGATE:
    case JN_PLUS:
        return eval_sign(r, n);
    case JN_AND:
    case JN_OR:
        return eval_logic(r, n);
    case JN_COMPARE:
        return eval_compare(r, n);
    case JN_BINARY:
        return n->pair.op == JOP_ADD ? eval_sum(r, n) : eval_binary(r, n);
    case JN_CONCAT:
        return eval_concat(r, n);
    case JN_CHOICE:
        return eval_choice(r, n);
    default: // JN_BODY: the parser puts no statement here
        return jexec_capture(r, n->body, jscope_new(r, r->scope));
    }
}

struct jvalue jeval(struct jrun *r, const struct jnode *n)
{
    if (!jrun_enter(r))
        return jnothing();
    r->line = n->line;
    struct jvalue v = eval_node(r, n);
    jrun_leave(r);
    return jrun_ok(r) ? v : jnothing();
}
