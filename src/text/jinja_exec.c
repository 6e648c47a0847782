#include "text/jinja_exec.h"

#include <string.h>

#include "text/jinja.h"

/* ---- scopes ---- */

struct jscope *jscope_new(struct jrun *r, struct jscope *parent)
{
    struct jscope *s = jrun_new(r, 1, sizeof *s);
    if (s)
        s->parent = parent;
    return s;
}

static struct jvalue *scope_find(struct jscope *s, const char *name)
{
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->var[i].name == name)
            return &s->var[i].value;
    }
    return NULL;
}

static void scope_set(struct jrun *r, struct jscope *s, const char *name, struct jvalue v)
{
    struct jvalue *known = scope_find(s, name);
    if (known) {
        *known = v;
        return;
    }
    if (s->n == s->room) {
        uint32_t room = s->room ? s->room * 2 : 4;
        struct jvar *var = jrun_new(r, room, sizeof *var);
        if (!var)
            return;
        if (s->n > 0)
            memcpy(var, s->var, s->n * sizeof *var);
        s->var = var;
        s->room = room;
    }
    s->var[s->n++] = (struct jvar){ .name = name, .value = v };
}

static bool is_trusted_name(const struct jrun *r, const char *name)
{
    for (const char *const *t = r->trusted_names; t && *t; t++) {
        if (strcmp(*t, name) == 0)
            return true;
    }
    return false;
}

/* From the innermost scope outwards; the caller's variables are converted when first asked for. */
struct jvalue jscope_get(struct jrun *r, const char *name)
{
    struct jscope *s = r->scope;
    for (;; s = s->parent) {
        struct jvalue *v = scope_find(s, name);
        if (v)
            return *v;
        if (!s->parent)
            break;
    }
    const json_t *given = json_object_get(r->vars, name);
    if (given) {
        struct jvalue v = jvalue_of_json(r, given, is_trusted_name(r, name));
        scope_set(r, s, name, v);
        return v;
    }
    const struct jbuiltin *row = jglobal_find(jtext_of(name));
    struct jvalue nothing = jundefined(jtext_of(name));
    return row ? jfunction(r, row, &nothing) : nothing;
}

/* ---- assignment ---- */

static void assign(struct jrun *r, const struct jnode *target, struct jvalue v);

static void assign_field(struct jrun *r, const struct jnode *target, struct jvalue v)
{
    struct jvalue of = jeval(r, target->attr.of);
    if (of.kind == J_NAMESPACE)
        jdict_set(r, of.dict, jword(target->attr.name), v);
    else
        jrun_fail(r, "'%s' can only be set on a namespace, this is a %s", target->attr.name,
                  jvalue_type(&of));
}

static void assign_tuple(struct jrun *r, const struct jnode *target, const struct jvalue *v)
{
    const struct jlist *items = jvalue_items(r, v);
    uint32_t n = 0;
    for (const struct jnode *t = target->list; t; t = t->next)
        n++;
    if (jrun_ok(r) && n != items->n)
        jrun_fail(r, "%u values cannot be unpacked into %u names", items->n, n);
    const struct jnode *t = target->list;
    for (uint32_t i = 0; t && jrun_ok(r); t = t->next, i++)
        assign(r, t, items->item[i]);
}

static void assign(struct jrun *r, const struct jnode *target, struct jvalue v)
{
    if (!jrun_ok(r))
        return;
    if (target->kind == JN_NAME)
        scope_set(r, r->scope, target->name, v);
    else if (target->kind == JN_ATTR)
        assign_field(r, target, v);
    else
        assign_tuple(r, target, &v);
}

/* ---- captured text ---- */

struct jvalue jexec_capture(struct jrun *r, const struct jnode *first, struct jscope *scope)
{
    struct jbuild out, *outer_out = r->out;
    struct jscope *outer = r->scope;
    if (!scope)
        return jnothing();
    jbuild_open(&out, r);
    r->out = &out;
    r->scope = scope;
    jexec(r, first);
    r->out = outer_out;
    r->scope = outer;
    return jtextv(jbuild_text(&out));
}

/* ---- loops ---- */

/* The items that pass the loop's own `if`, each seen through the loop's target. */
static const struct jlist *filter_items(struct jrun *r, const struct jnode *n,
                                        const struct jlist *all)
{
    struct jvalue kept = jlist_new(r, J_LIST);
    struct jscope *outer = r->scope, *own = jscope_new(r, outer);
    for (uint32_t i = 0; own && i < all->n && jrun_ok(r); i++) {
        own->n = 0;
        r->scope = own;
        assign(r, n->loop.target, all->item[i]);
        struct jvalue test = jeval(r, n->loop.test);
        r->scope = outer;
        if (jvalue_truth(&test))
            jlist_push(r, kept.list, all->item[i]);
    }
    return kept.list;
}

/* One pass over the body. False: the loop is over. */
static bool run_item(struct jrun *r, const struct jnode *n, struct jloop *loop)
{
    struct jvalue self = { .kind = J_LOOP, .trusted = true, .loop = loop };
    assign(r, n->loop.target, loop->items->item[loop->index]);
    scope_set(r, r->scope, r->program->loop, self);
    jexec(r, n->loop.body);
    bool stop = r->flow == JFLOW_BREAK;
    loop->finished |= r->flow == JFLOW_ON;
    r->flow = JFLOW_ON;
    return jrun_ok(r) && !stop;
}

/* Runs the loop over what `iter` gives. The list may grow meanwhile, as in Python. The else part
 * runs when no pass came to the end of the body: also after a break in the first one, as in
 * jinja2. */
static void run_loop(struct jrun *r, const struct jnode *n, const struct jvalue *iter,
                     uint32_t depth)
{
    struct jscope *outer = r->scope, *own = NULL;
    struct jloop *loop = jrun_new(r, 1, sizeof *loop);
    const struct jlist *items = jvalue_items(r, iter);
    if (n->loop.test)
        items = filter_items(r, n, items);
    if (!loop || !jrun_ok(r))
        return;
    *loop = (struct jloop){ .node = n, .outer = outer, .items = items, .depth = depth };
    loop->seen.kind = J_ABSENT;
    bool on = true;
    for (; on && loop->index < items->n && jrun_step(r, 1); loop->index++) {
        if (!own || own->captured)
            own = jscope_new(r, outer);
        if (!own)
            break;
        own->n = 0;
        r->scope = own;
        on = run_item(r, n, loop);
        r->scope = outer;
    }
    if (!loop->finished && jrun_ok(r)) {
        r->scope = jscope_new(r, outer);
        if (r->scope)
            jexec(r, n->loop.otherwise);
        r->scope = outer;
    }
}

struct jvalue jloop_call(struct jrun *r, const struct jloop *l, const struct jargs *args)
{
    struct jbuild out, *outer_out = r->out;
    struct jscope *outer = r->scope;
    if (!l->node->loop.recursive || args->n_pos != 1 || args->n_named > 0) {
        jrun_fail(r, "loop(...) takes one argument, in a loop marked recursive");
        return jnothing();
    }
    if (!jrun_enter(r))
        return jnothing();
    jbuild_open(&out, r);
    r->out = &out;
    r->scope = l->outer;
    run_loop(r, l->node, &args->pos[0], l->depth + 1);
    r->out = outer_out;
    r->scope = outer;
    jrun_leave(r);
    return jtextv(jbuild_text(&out));
}

/* ---- macros ---- */

static struct jvalue macro_value(struct jrun *r, const struct jnode_macro *def)
{
    struct jmacro *m = jrun_new(r, 1, sizeof *m);
    if (!m)
        return jnothing();
    *m = (struct jmacro){ .def = def, .scope = r->scope };
    for (struct jscope *s = r->scope; s; s = s->parent)
        s->captured = true;
    return (struct jvalue){ .kind = J_MACRO, .trusted = true, .macro = m };
}

/* Puts one argument by name where it belongs: a parameter, the caller, or the dict of the rest. */
static void bind_named(struct jrun *r, const struct jnode_macro *def, const struct jnamed *arg,
                       struct jdict *rest)
{
    const struct jinja *t = r->program;
    for (const struct jnode *p = def->params; p; p = p->next) {
        if (!jtext_is(arg->name, p->name))
            continue;
        if (scope_find(r->scope, p->name))
            jrun_fail(r, "macro '%s': argument '%s' is given twice", def->name, p->name);
        scope_set(r, r->scope, p->name, arg->value);
        return;
    }
    if (def->wants_caller && jtext_is(arg->name, t->caller))
        scope_set(r, r->scope, t->caller, arg->value);
    else if (def->wants_kwargs)
        jdict_set(r, rest, jtextv(arg->name), arg->value);
    else
        jrun_fail(r, "macro '%s' takes no argument '%.*s'", def->name, (int)arg->name.len,
                  arg->name.bytes);
}

/* Defaults are evaluated here, so they see the parameters before them. */
static void bind_defaults(struct jrun *r, const struct jnode_macro *def)
{
    for (const struct jnode *p = def->params; p && jrun_ok(r); p = p->next) {
        if (!scope_find(r->scope, p->name))
            scope_set(r, r->scope, p->name,
                      p->fallback ? jeval(r, p->fallback) : jundefined(jtext_of(p->name)));
    }
}

static void bind_args(struct jrun *r, const struct jnode_macro *def, const struct jargs *args)
{
    const struct jinja *t = r->program;
    struct jvalue varargs = jlist_new(r, J_TUPLE), kwargs = jdict_new(r);
    const struct jnode *p = def->params;
    for (size_t i = 0; i < args->n_pos && jrun_ok(r); i++) {
        if (p) {
            scope_set(r, r->scope, p->name, args->pos[i]);
            p = p->next;
        } else if (def->wants_varargs) {
            jlist_push(r, varargs.list, args->pos[i]);
        } else {
            jrun_fail(r, "macro '%s' was given %zu arguments, too many", def->name, args->n_pos);
        }
    }
    for (size_t i = 0; i < args->n_named && jrun_ok(r); i++)
        bind_named(r, def, &args->named[i], kwargs.dict);
    if (def->wants_varargs)
        scope_set(r, r->scope, t->varargs, varargs);
    if (def->wants_kwargs)
        scope_set(r, r->scope, t->kwargs, kwargs);
    if (def->wants_caller && !scope_find(r->scope, t->caller))
        scope_set(r, r->scope, t->caller, jundefined(JTEXT("caller")));
    bind_defaults(r, def);
}

struct jvalue jmacro_call(struct jrun *r, const struct jmacro *m, const struct jargs *args)
{
    struct jscope *outer = r->scope, *own = jscope_new(r, m->scope);
    struct jvalue text = jnothing();
    if (!own || !jrun_enter(r))
        return text;
    r->scope = own;
    bind_args(r, m->def, args);
    r->scope = outer;
    text = jexec_capture(r, m->def->body, own);
    jrun_leave(r);
    return text;
}

/* ---- statements ---- */

static void print(struct jrun *r, const struct jvalue *v)
{
    if (jrun_ok(r) && r->flow == JFLOW_ON)
        jbuild_add(r->out, jshow_text(r, v));
}

static void exec_if(struct jrun *r, const struct jnode *n)
{
    for (; n && jrun_ok(r); n = n->choice.no) {
        struct jvalue test = n->choice.test ? jeval(r, n->choice.test) : jbool(true);
        if (jvalue_truth(&test)) {
            jexec(r, n->choice.yes);
            return;
        }
    }
}

static void exec_set(struct jrun *r, const struct jnode *n)
{
    struct jvalue v = jeval(r, n->set.value);
    r->line = n->line;
    if (r->flow == JFLOW_ON)
        assign(r, n->set.target, v);
}

static void exec_with(struct jrun *r, const struct jnode *n)
{
    struct jscope *outer = r->scope, *own = jscope_new(r, outer);
    if (!own)
        return;
    for (const struct jnode *t = n->with.pairs; t && jrun_ok(r); t = t->next->next) {
        struct jvalue v = jeval(r, t->next); // sees none of the new names
        r->scope = own;
        assign(r, t, v);
        r->scope = outer;
    }
    r->scope = own;
    jexec(r, n->with.body);
    r->scope = outer;
}

/* The macro is called with its arguments and, by name, the block as `caller`. */
static void exec_call_block(struct jrun *r, const struct jnode *n)
{
    struct jvalue caller = macro_value(r, &n->block.caller);
    struct jvalue v = jeval_call(r, n->block.call, &caller);
    print(r, &v);
}

static void exec_node(struct jrun *r, const struct jnode *n)
{
    struct jvalue v;
    switch (n->kind) {
    case JN_DATA:
        jbuild_add(r->out, n->data);
        return;
    case JN_PRINT:
        v = jeval(r, n->expr);
        print(r, &v);
        return;
    case JN_IF:
        exec_if(r, n);
        return;
    case JN_FOR:
        v = jeval(r, n->loop.iter);
        run_loop(r, n, &v, 1);
        return;
    case JN_SET:
        exec_set(r, n);
        return;
    case JN_MACRO:
        scope_set(r, r->scope, n->macro.name, macro_value(r, &n->macro));
        return;
    case JN_CALL_BLOCK:
        exec_call_block(r, n);
        return;
    case JN_WITH:
        exec_with(r, n);
        return;
    default: // JN_BREAK, JN_CONTINUE
        r->flow = n->kind == JN_BREAK ? JFLOW_BREAK : JFLOW_CONTINUE;
    }
}

void jexec(struct jrun *r, const struct jnode *first)
{
    if (!first || !jrun_enter(r))
        return;
    for (const struct jnode *n = first; n && jrun_ok(r) && r->flow == JFLOW_ON; n = n->next) {
        r->line = n->line;
        exec_node(r, n);
    }
    jrun_leave(r);
}
